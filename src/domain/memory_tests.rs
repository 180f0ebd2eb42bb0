//! Fights, lasting trouble, and the first look after a quarantine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Memory, elapsed};
use crate::domain::ids::Provenance;
use crate::domain::plan::Marks;
use crate::domain::reason::Reason;
use crate::domain::scene_tests::{ATTEMPT, NONCE, OTHER, OURS, at, identity, intent, secs};

#[test]
fn three_renames_within_an_hour_for_one_generation_are_a_fight() {
    let mut memory = Memory::default();
    for (renames, minute) in [(1, 0), (2, 20)] {
        memory.renamed(1, at(minute * 60));
        assert!(!memory.is_fighting(1, at(minute * 60)), "after {renames}");
    }
    memory.renamed(1, at(40 * 60));
    assert!(memory.is_fighting(1, at(40 * 60)));
    assert!(memory.is_fighting(1, at(3599)));
    assert!(!memory.is_fighting(1, at(3600)), "the first one is an hour old");
    assert!(!memory.is_fighting(2, at(40 * 60)), "the spec changed");
}

#[test]
fn a_new_generation_starts_a_new_count_and_old_renames_are_dropped() {
    let mut memory = Memory::default();
    memory.renamed(1, at(0));
    memory.renamed(1, at(1));
    memory.renamed(2, at(2));
    memory.renamed(2, at(3));
    assert!(!memory.is_fighting(2, at(3)));
    memory.renamed(2, at(4000));
    assert_eq!(memory.renames, [at(4000)]);
    memory.renamed(2, at(4000 + 3600));
    assert_eq!(memory.renames, [at(7600)], "an hour is enough");
}

#[test]
fn the_same_trouble_keeps_its_start_and_every_failure_counts() {
    let mut memory = Memory::default();
    memory.pass_ended(Some(Reason::AuthFailed), at(0));
    memory.pass_ended(Some(Reason::AuthFailed), at(59));
    assert_eq!(memory.failures, 2);
    assert!(!memory.has_lasted(Reason::AuthFailed, at(59)));
    assert!(memory.has_lasted(Reason::AuthFailed, at(60)));
    assert!(!memory.has_lasted(Reason::Forbidden, at(60)));

    memory.pass_ended(Some(Reason::Forbidden), at(61));
    assert_eq!(memory.failures, 3);
    assert!(!memory.has_lasted(Reason::Forbidden, at(62)));
    assert!(!memory.has_lasted(Reason::AuthFailed, at(1000)));

    memory.pass_ended(None, at(63));
    assert_eq!((memory.trouble, memory.failures), (None, 0));
    assert!(!memory.has_lasted(Reason::Forbidden, at(1000)));
}

#[test]
fn the_first_look_in_vain_stays_the_first() {
    let mut memory = Memory::default();
    memory.looked_in_vain(ATTEMPT, at(5));
    memory.looked_in_vain(ATTEMPT, at(9));
    assert_eq!(memory.empty_look, Some((ATTEMPT, at(5))));
    memory.looked_in_vain(NONCE, at(10));
    assert_eq!(memory.empty_look, Some((NONCE, at(10))), "another attempt is looked for anew");
}

#[test]
fn a_registration_is_known_from_the_first_question_about_it_on() {
    let mut memory = Memory::default();
    assert_eq!(memory.known_for(OURS, at(5)), secs(0));
    assert_eq!(memory.known_for(OURS, at(125)), secs(120));
    assert_eq!(memory.known_for(OTHER, at(130)), secs(0), "another one");
    assert_eq!(memory.known_for(OURS, at(131)), secs(0), "known anew: less is claimed than is true");
}

#[test]
fn elapsed_is_never_negative() {
    assert_eq!(elapsed(at(1), at(3)), secs(2));
    assert_eq!(elapsed(at(3), at(1)), secs(0));
}

#[test]
fn an_attempt_begins_unsent_and_is_forgotten_when_it_ends() {
    let mut memory = Memory { empty_look: Some((ATTEMPT, at(1))), ..Memory::default() };
    let marks = Marks { identity: None, intent: Some(intent()) };
    memory.intends(&intent());
    let begun = Memory { intent: Some(intent()), unsent: Some(ATTEMPT), ..Memory::default() };
    assert_eq!(memory, begun);
    memory.marked(&marks);
    assert_eq!(memory, begun, "the intent is on the object: nothing has ended");

    memory.learned = Some(identity(OURS, Provenance::Created));
    memory.looked_in_vain(ATTEMPT, at(2));
    memory.marked(&Marks::default());
    let learned = Some(identity(OURS, Provenance::Created));
    assert_eq!(memory, Memory { learned, ..Memory::default() });
    memory.marked(&Marks { identity: memory.learned.clone(), intent: None });
    assert_eq!(memory, Memory::default(), "what was learned is on the object");
}
