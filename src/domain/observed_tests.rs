//! Versions, states, and the difference between a snapshot and a fresh look.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{ClusterState, Named, RemoteCluster};
use crate::domain::ids::AgentVersion;
use crate::domain::scene_tests::{OURS, deleted, deleting, fresh, record, snapshot};

#[test]
fn a_longer_version_refines_a_shorter_one() {
    let table = [
        ("2.24", Some("2.24"), true),
        ("2.24", Some("2.24.37"), true),
        ("2.24.37", Some("2.24.37"), true),
        ("2.24", None, true),
        ("2.24", Some("2.240"), false),
        ("2.24", Some("2.2"), false),
        ("2.24.3", Some("2.24.37"), false),
        ("2.24.37", Some("2.24"), false),
        ("2.24", Some("v2.24"), false),
        ("2.24", Some(""), false),
    ];
    for (desired, observed, runs) in table {
        let record = RemoteCluster { version: observed.map(str::to_owned), ..record(OURS, "east") };
        assert_eq!(record.runs(&AgentVersion::parse(desired).unwrap()), runs, "{desired} {observed:?}");
    }
}

#[test]
fn states_keep_their_spelling() {
    let known = ["WaitingToConnect", "Connected", "Disconnected", "MissingPrerequisites", "ServiceIssues", "Unknown"];
    for text in known {
        let state = ClusterState::from_api(text);
        assert!(!matches!(state, ClusterState::Other(_)), "{text}");
        assert_eq!(state.as_str(), text);
    }
    for text in ["connected", "Paused", ""] {
        assert_eq!(ClusterState::from_api(text), ClusterState::Other(text.to_owned()));
        assert_eq!(ClusterState::from_api(text).as_str(), text);
    }
}

#[test]
fn deleting_ends_with_deleted() {
    assert!(!record(OURS, "east").is_deleting());
    assert!(deleting(OURS, "east").is_deleting());
    assert!(!deleted(OURS, "east").is_deleting());
}

#[test]
fn a_look_answers_only_the_question_that_was_asked() {
    let records = [record(OURS, "east")];
    for (named, known, is_fresh) in
        [(Named::NotLooked, false, false), (snapshot(&records), true, false), (fresh(&records), true, true)]
    {
        assert_eq!(named.of("east").is_some(), known);
        assert_eq!(named.fresh("east").is_some(), is_fresh);
        assert_eq!((named.of("west"), named.fresh("west")), (None, None));
    }
}
