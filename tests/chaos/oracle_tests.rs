//! The oracle itself: each invariant is found broken where it is, and not where it is not.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use runai_simulator::{ClusterView, JournalEntry};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::books::{Books, Life};
use crate::oracle::{self, Look, WHOLE};
use crate::schedule::{Role, Schedule};

const OURS: Uuid = Uuid::from_u128(1);
const SECOND: Uuid = Uuid::from_u128(2);
const FOREIGN: Uuid = Uuid::from_u128(3);

fn life() -> Life {
    Life {
        slot: 0,
        object: "a".to_owned(),
        uid: "uid-a".to_owned(),
        role: Role::Plain,
        made: 10,
        names: vec!["a".to_owned()],
        suspended: None,
        quiet: Vec::new(),
        deleted: None,
        keeps: false,
        foreign: None,
        allowed: Default::default(),
        took_over: None,
        gone: false,
    }
}

fn books(change: impl FnOnce(&mut Life)) -> Books {
    let mut life = life();
    change(&mut life);
    Books { lives: vec![life], foreign: [(FOREIGN, "other".to_owned())].into(), ..Books::default() }
}

fn entry(seq: u64, operation: &str, path: Option<Uuid>, name: Option<&str>, made: &[Uuid]) -> JournalEntry {
    serde_json::from_value(json!({
        "seq": seq, "at": "2026-01-01T00:00:00Z", "arrivalMs": seq * 10, "durationMs": 1, "method": "X", "operation": operation,
        "route": "", "query": "", "pathId": path, "identity": null, "tenantId": 1, "status": 200, "committed": !made.is_empty(),
        "committedAt": null, "committedUuids": made, "faults": [], "body": name.map(|name| json!({ "name": name })),
        "responseBytes": 0, "userAgent": null, "finished": true,
    }))
    .unwrap()
}

fn record(uuid: Uuid) -> ClusterView {
    serde_json::from_value(json!({
        "uuid": uuid, "tenantId": 1, "name": "a", "domain": null, "version": null, "state": "WaitingToConnect",
        "createdAt": "2026-01-01T00:00:00Z", "updatedAt": null, "lastLiveness": null, "deleteRequestedAt": null,
        "deletedAt": null, "agent": null, "clientSecret": "s",
    }))
    .unwrap()
}

fn invariants(found: Vec<oracle::Violation>) -> Vec<&'static str> {
    found.into_iter().map(|violation| violation.invariant).collect()
}

#[test]
fn requests_are_the_right_of_some_object_or_broken() {
    let create = || entry(11, "create", None, Some("a"), &[OURS]);
    let rename = |uuid, name| entry(20, "update", Some(uuid), Some(name), &[]);
    let delete = |uuid| entry(20, "delete", Some(uuid), None, &[]);
    let deleted = |at: u64| move |life: &mut Life| life.deleted = Some(at);
    let rows: Vec<(Books, JournalEntry, &[&str])> = vec![
        (books(|_| ()), rename(OURS, "a"), &[]),
        (books(|_| ()), rename(OURS, "b"), &["I2"]),
        (books(|_| ()), rename(FOREIGN, "a"), &["I2"]),
        (books(|_| ()), delete(OURS), &["I2"]),
        (books(deleted(19)), delete(OURS), &[]),
        (books(deleted(20)), delete(OURS), &["I2"]),
        (books(deleted(19)), delete(FOREIGN), &["I2"]),
        (books(|life| (life.deleted, life.keeps) = (Some(19), true)), delete(OURS), &["I2"]),
        (books(|_| ()), entry(20, "create", None, Some("other"), &[]), &["I2"]),
        (books(|life| life.quiet = vec![(15, None)]), rename(OURS, "a"), &["I5"]),
        (books(|life| life.quiet = vec![(15, Some(19))]), rename(OURS, "a"), &[]),
        (books(|life| life.quiet = vec![(10, Some(12))]), entry(20, "create", None, Some("a"), &[]), &["I5"]),
        (books(|life| life.role = Role::Observer), entry(20, "list", None, None, &[]), &["I5"]),
    ];
    for (index, (books, request, wanted)) in rows.into_iter().enumerate() {
        let found = oracle::requests(&books, &[create(), request]);
        assert_eq!(invariants(found), wanted, "row {index}");
    }
}

#[test]
fn two_live_registrations_and_one_without_its_object_are_found_at_any_time() {
    let makers = BTreeMap::from([(OURS, 0), (SECOND, 0)]);
    let judge = |books: &Books, records: &[ClusterView]| {
        let look = Look { objects: &[], records, makers: &makers, secrets: &[] };
        (invariants(oracle::at_any_time(books, &look)), invariants(oracle::left_behind(books, &look)))
    };
    let deleted = ClusterView { deleted_at: Some(jiff::Timestamp::UNIX_EPOCH), ..record(SECOND) };
    assert_eq!(judge(&books(|_| ()), &[record(OURS), deleted]).0, [""; 0]);
    assert_eq!(judge(&books(|_| ()), &[record(OURS), record(SECOND)]).0, ["I1"]);
    assert_eq!(judge(&books(|life| life.gone = true), &[record(OURS)]), (vec!["I3"], vec!["I3"]));
    let kept = books(|life| (life.gone, life.keeps) = (true, true));
    assert_eq!(judge(&kept, &[record(OURS), record(FOREIGN)]), (vec![], vec![]));
}

#[test]
fn a_secret_that_is_not_whole_or_not_its_owners_is_found() {
    let makers = BTreeMap::from([(OURS, 0)]);
    let whole = || {
        let mut data: BTreeMap<String, String> = WHOLE.iter().map(|key| ((*key).to_owned(), "x".to_owned())).collect();
        data.extend([("uuid".to_owned(), OURS.to_string()), ("clientSecret".to_owned(), "s".to_owned())]);
        data
    };
    let judge = |owner: &str, data: BTreeMap<String, String>| {
        let data = data.into_iter().map(|(key, value)| (key, ByteString(value.into_bytes()))).collect();
        let owner = OwnerReference { uid: owner.to_owned(), ..OwnerReference::default() };
        let metadata =
            ObjectMeta { name: Some("a".to_owned()), owner_references: Some(vec![owner]), ..ObjectMeta::default() };
        let secrets = [Secret { metadata, data: Some(data), ..Secret::default() }];
        let records = [record(OURS), record(FOREIGN)];
        let look = Look { objects: &[], records: &records, makers: &makers, secrets: &secrets };
        oracle::published(&books(|_| ()), &look).len()
    };
    let but = |key: &str, value: &str| {
        let mut data = whole();
        data.insert(key.to_owned(), value.to_owned());
        data
    };
    assert_eq!(judge("uid-a", whole()), 0);
    assert_eq!(judge("uid-b", whole()), 1, "nobody's");
    assert_eq!(judge("uid-a", but("uuid", &FOREIGN.to_string())), 1, "of another registration");
    assert_eq!(judge("uid-a", but("clientSecret", "t")), 1);
    assert_eq!(judge("uid-a", but("clientSecret", "")), 1, "blanked");
    assert_eq!(judge("uid-a", but("values.yaml", "")), 1);
    let mut half = whole();
    half.remove("chartRepoURL");
    assert_eq!(judge("uid-a", half), 1);
    assert_eq!(judge("uid-a", BTreeMap::new()), 8);
}

#[test]
fn a_second_with_more_requests_than_the_limit_is_found() {
    let burst =
        |count: u64| (0..count).map(|at| JournalEntry { arrival_ms: 5000 + at, ..entry(at, "list", None, None, &[]) });
    assert_eq!(oracle::rate(&burst(60).collect::<Vec<_>>(), &[], 1), None);
    assert!(oracle::rate(&burst(61).collect::<Vec<_>>(), &[], 1).is_some());
    assert_eq!(oracle::rate(&burst(61).collect::<Vec<_>>(), &[4500], 1), None, "two processes had a part in it");
}

#[test]
fn a_goal_is_reached_only_when_everything_agrees() {
    let makers = BTreeMap::from([(OURS, 0)]);
    let schedule = Schedule { events: Vec::new(), farewell: Vec::new(), ..Schedule::draw(1) };
    let good = json!({
        "metadata": { "uid": "uid-a", "generation": 2, "finalizers": ["runai-operator.io/registration"],
            "annotations": { "runai-operator.io/cluster-uuid": OURS } },
        "status": { "observedGeneration": 2, "uuid": OURS, "name": "a", "state": "WaitingToConnect",
            "conditions": [{ "type": "Ready", "status": "True", "reason": "Registered" }] },
    });
    let reached = |object: Value, change: fn(&mut Life)| {
        let (books, records) = (books(change), [record(OURS)]);
        let look = Look { objects: &[object], records: &records, makers: &makers, secrets: &[] };
        oracle::goal(&books.lives[0], &look, &schedule, &books).is_ok()
    };
    let but = |path: &str, value: Value| {
        let mut object = good.clone();
        *object.pointer_mut(path).unwrap() = value;
        object
    };
    assert!(reached(good.clone(), |_| ()));
    for (path, value) in [
        ("/metadata/generation", json!(3)),
        ("/metadata/uid", json!("another")),
        ("/metadata/finalizers", json!(null)),
        ("/metadata/annotations", json!({})),
        (
            "/metadata/annotations",
            json!({ "runai-operator.io/cluster-uuid": OURS, "runai-operator.io/create-pending": "{}" }),
        ),
        ("/status/uuid", json!(SECOND)),
        ("/status/name", json!("b")),
        ("/status/state", json!("Connected")),
        ("/status/conditions/0/status", json!("False")),
        ("/status/conditions/0/type", json!("Reconciling")),
    ] {
        assert!(!reached(but(path, value.clone()), |_| ()), "{path} {value}");
    }
    assert!(!reached(good.clone(), |life| life.names.push("b".to_owned())), "not renamed yet");
    assert!(!reached(good.clone(), |life| life.deleted = Some(11)), "still there");
    let stalled = but("/status/conditions/0", json!({ "type": "Stalled", "status": "True", "reason": "NameConflict" }));
    assert!(!reached(stalled.clone(), |_| ()));
    assert!(reached(stalled, |life| life.allowed.extend(["NameConflict"])));
}

#[test]
fn a_schedule_depends_on_its_seed_alone_and_keeps_to_what_is_promised() {
    for seed in 0..3000 {
        let schedule = Schedule::draw(seed);
        assert_eq!(schedule.to_string(), Schedule::draw(seed).to_string());
        assert!(schedule.faults().count() >= 3, "{schedule}");
    }
}
