//! What the campaign and the thought behind it found, each as a scenario of its own that does not depend on chance.
//!
//! Owns the scenarios. Must not know schedules.

use std::time::Duration;

use runai_simulator::{
    FaultAction, FaultMatch, FaultRule, JournalEntry, Operation, ResetPhase, SeedCluster, UniqueNames,
};
use serde_json::{Value, json};
use testbed::wait_until;

use crate::arena::{Arena, NAMESPACE};
use crate::oracle::{condition, uuid};

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(60);

/// An arena in which names are not unique, with one object that is registered.
async fn arena_with(name: &str, spec: Value) -> Arena {
    let arena = Arena::start().await;
    arena.simulator.configure(|config| config.names.unique = UniqueNames::Off);
    apply(&arena, name, spec).await;
    until_ready(&arena, name).await;
    arena
}

async fn apply(arena: &Arena, name: &str, mut spec: Value) {
    spec["domain"] = json!(format!("https://{name}.example.com"));
    let object = json!({ "apiVersion": "runai-operator.io/v1alpha1", "kind": "RunaiCluster",
        "metadata": { "name": name, "namespace": NAMESPACE }, "spec": spec });
    arena.create(&object).await.unwrap();
}

async fn object(arena: &Arena, name: &str) -> Option<Value> {
    arena.objects().await.into_iter().find(|object| object["metadata"]["name"] == *name)
}

async fn until_ready(arena: &Arena, name: &str) -> Value {
    let what = format!("{name} Ready");
    let ready = wait_until(SOON, &what, async || {
        let object = object(arena, name).await.ok_or("gone")?;
        let is_ready = condition(&object, "Ready").is_some_and(|(status, _)| status == "True");
        if is_ready { Ok(object) } else { Err(object["status"].to_string()) }
    });
    ready.await.unwrap()
}

/// From now on every read, a list as well as a read by id, shows the time before now: longer ago than this test takes,
/// and later than the time at which the object of [`arena_with`] was registered.
fn lag(arena: &Arena) {
    arena.simulator.advance(Duration::from_secs(120));
    let matches = FaultMatch { method: Some("GET".to_owned()), ..FaultMatch::default() };
    arena.simulator.add_fault(FaultRule { matches, ..FaultRule::new(FaultAction::Stale { seconds: 100.0 }) });
}

async fn until_made(arena: &Arena, name: &str) {
    let made = |simulator: &runai_simulator::Simulator| !simulator.clusters_named(name).is_empty();
    assert!(arena.simulator.until(SOON, made).await, "{name}: no POST was committed");
}

/// Waits until the operator has asked so often for a list since `seq`.
async fn lists(arena: &Arena, seq: u64, count: usize) {
    let asked = |simulator: &runai_simulator::Simulator| {
        let entries = simulator.journal_since(seq).into_iter();
        entries.filter(|entry| entry.operation == Some(Operation::List) && entry.finished).count() >= count
    };
    assert!(arena.simulator.until(SOON, asked).await);
}

/// A replica that lags shows the time before the create. That does not prove that somebody deleted the registration.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_after_a_create_does_not_make_a_second_registration() {
    let arena = arena_with("before", json!({})).await;
    hide_what_is_made(&arena).await;
}

/// The same where the control plane does not say what time it is, and its clock is ahead of ours by more than the quarantine:
/// its times do not tell how young the registration is.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_does_not_make_a_second_registration_where_no_answer_has_a_date() {
    let mut arena = arena_with("before", json!({})).await;
    arena.simulator.configure(|config| config.date = false);
    // An operator that has never seen one.
    drop(arena.first.take());
    arena.first = Some(arena.operator());
    hide_what_is_made(&arena).await;
}

async fn hide_what_is_made(arena: &Arena) {
    lag(arena);
    apply(arena, "new", json!({ "recreatePolicy": "IfMissing" })).await;
    until_made(arena, "new").await;
    lists(arena, arena.simulator.last_seq(), 4).await;
    arena.simulator.clear_faults();
    let object = until_ready(arena, "new").await;
    let live = arena.simulator.clusters_named("new");
    assert_eq!(live.len(), 1, "{live:?}");
    assert_eq!(Some(live[0].uuid), uuid(&object));
}

/// The same for an object that is deleted soon after: it is not let go without its registration.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_does_not_release_an_object_whose_registration_lives() {
    let arena = arena_with("before", json!({})).await;
    lag(&arena);
    apply(&arena, "short", json!({})).await;
    until_made(&arena, "short").await;
    // The first one that starts after the create does not show what came of it.
    lists(&arena, arena.simulator.last_seq(), 1).await;
    let seq = arena.simulator.last_seq();
    arena.delete("short").await;
    let looked = |simulator: &runai_simulator::Simulator| simulator.journal_since(seq).iter().any(found_nothing);
    assert!(arena.simulator.until(SOON, looked).await);
    arena.simulator.clear_faults();
    let gone = wait_until(SOON, "the object gone", async || match object(&arena, "short").await {
        None => Ok(()),
        Some(object) => Err(object["status"].to_string()),
    });
    gone.await.unwrap();
    assert_eq!(arena.simulator.clusters_named("short"), [], "left behind");
}

fn found_nothing(entry: &JournalEntry) -> bool {
    entry.operation == Some(Operation::Get) && entry.status == Some(404)
}

/// A list whose uuids are not those of its registrations, while a create is in doubt: what it shows is not anybody's
/// registration until a read by id has found it.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_with_wrong_uuids_does_not_resolve_a_doubt() {
    let arena = arena_with("before", json!({})).await;
    let lost = FaultAction::Reset { phase: ResetPhase::Post };
    arena.simulator.add_fault(FaultRule::on(Operation::Create, lost).times(1));
    arena.simulator.add_fault(FaultRule::on(Operation::List, FaultAction::WrongUuid { uuid: None }));
    let seq = arena.simulator.last_seq();
    apply(&arena, "doubt", json!({})).await;
    lists(&arena, seq, 3).await;
    arena.simulator.clear_faults();
    let object = until_ready(&arena, "doubt").await;
    let live = arena.simulator.clusters_named("doubt");
    assert_eq!(live.len(), 1, "{live:?}");
    assert_eq!(Some(live[0].uuid), uuid(&object));
}

/// The same for an adoption by name: what such a list shows is nobody's, and nothing is sent to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_with_wrong_uuids_does_not_hand_out_a_registration() {
    let arena = arena_with("before", json!({})).await;
    let right = arena.simulator.seed(SeedCluster::named("taken")).unwrap();
    let before = arena.simulator.last_seq();
    arena.simulator.add_fault(FaultRule::on(Operation::List, FaultAction::WrongUuid { uuid: None }));
    lists(&arena, before, 1).await;
    let seq = arena.simulator.last_seq();
    apply(&arena, "taken", json!({ "adoption": { "policy": "Required" } })).await;
    let looked = |simulator: &runai_simulator::Simulator| simulator.journal_since(seq).iter().any(found_nothing);
    assert!(arena.simulator.until(SOON, looked).await);
    arena.simulator.clear_faults();
    let object = until_ready(&arena, "taken").await;
    assert_eq!(Some(right), uuid(&object));
    let writes = arena.simulator.journal_since(seq).into_iter().filter(|entry| entry.method != "GET");
    assert_eq!(writes.filter(|entry| !entry.route.contains("token")).count(), 0);
}
