//! When two notes speak of the same registration, and the stored form of an intent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Identity, Intent, open_intent};
use crate::domain::ids::{CredentialId, Origin, Provenance, TenantId};
use crate::domain::memory::Memory;
use crate::domain::scene_tests::{OTHER, OURS, identity, intent};

#[test]
fn notes_agree_unless_they_contradict() {
    let whole = identity(OURS, Provenance::Created);
    let table = [
        (whole.clone(), true),
        (Identity { tenant: None, ..whole.clone() }, true),
        (Identity { origin: None, credential: None, ..whole.clone() }, true),
        (Identity { provenance: Provenance::Adopted, ..whole.clone() }, true),
        (Identity { credential: Some(CredentialId::new("client:b")), ..whole.clone() }, true),
        (Identity { uuid: OTHER, ..whole.clone() }, false),
        (Identity { tenant: Some(TenantId(2)), ..whole.clone() }, false),
        (Identity { origin: Some(Origin::new("https://other.example.com")), ..whole.clone() }, false),
    ];
    for (note, agrees) in table {
        assert_eq!(whole.agrees_with(&note), agrees, "{note:?}");
        assert_eq!(note.agrees_with(&whole), agrees, "{note:?}");
    }
}

#[test]
fn an_intent_is_read_back_as_it_was_written() {
    let whole = Intent { replaces: Some(OTHER), seen: vec![OURS], ..intent() };
    let bare = Intent { domain: None, remote_time: None, tenant: None, ..intent() };
    for intent in [whole, bare] {
        let text = serde_json::to_string(&intent).unwrap();
        assert_eq!(serde_json::from_str::<Intent>(&text).unwrap(), intent, "{text}");
    }
    let text = serde_json::to_string(&intent()).unwrap();
    assert!(text.contains("\"localTime\":") && text.contains("\"remoteTime\":"), "{text}");
    assert!(!text.contains("seen") && !text.contains("replaces"), "{text}");
}

#[test]
fn of_several_copies_of_an_intent_one_counts() {
    let numbered = |n: u128| Intent { attempt: uuid::Uuid::from_u128(n), ..intent() };
    let [noted, mine, told] = [1, 2, 3].map(numbered);
    let none = Memory::default();
    let sent = Memory { intent: Some(mine.clone()), ..Memory::default() };
    let unsent = Memory { unsent: Some(mine.attempt), ..sent.clone() };
    let (noted, mine, told) = (Some(noted), Some(mine), Some(told));
    // Annotated, in status, whether an identity is known, the process's memory, which one counts.
    let table = [
        (&None, &None, false, &none, &None),
        (&noted, &told, false, &sent, &noted),
        (&None, &told, false, &sent, &mine),
        (&None, &told, false, &none, &told),
        (&None, &told, false, &unsent, &told),
        (&None, &None, false, &unsent, &mine),
        (&None, &told, true, &none, &None),
        (&None, &told, true, &sent, &mine),
        (&noted, &told, true, &none, &noted),
    ];
    for (row, (annotated, status, identified, memory, counts)) in table.into_iter().enumerate() {
        assert_eq!(open_intent(annotated.clone(), status.clone(), identified, memory), *counts, "row {row}");
    }
}
