//! What several scenarios ask: which changes were sent, what the control plane holds, where conditions stand.
//!
//! Owns questions only. Must not know any scenario.

use std::time::Duration;

use runai_simulator::{JournalEntry, Operation, SeedCluster, Simulator};
use serde_json::{Value, json};
use testbed::wait_until;
use uuid::Uuid;

use crate::world::{SOON, World, condition, message};

/// Longer than one poll interval (5 s, jittered): what has not happened by then was not going to.
pub const A_WHILE: Duration = Duration::from_secs(8);

pub const UUID_NOTE: &str = "runai-operator.io/cluster-uuid";
pub const SIGNED_NOTE: &str = "runai-operator.io/registered-with";
pub const INTENT_NOTE: &str = "runai-operator.io/create-pending";
pub const FINALIZER: &str = "runai-operator.io/registration";

/// Every POST, PUT and DELETE of clusters after `since`, committed or not.
pub fn changes(simulator: &Simulator, since: u64) -> Vec<JournalEntry> {
    let mut entries = simulator.journal_since(since);
    entries.retain(|entry| entry.operation.is_some_and(Operation::is_mutation));
    entries
}

/// The same in short: `Update 1111.. 204`, `Create name 201`.
pub fn change_list(simulator: &Simulator, since: u64) -> Vec<String> {
    let short = |entry: JournalEntry| {
        let name = || entry.body.as_ref().and_then(|body| body["name"].as_str()).unwrap_or_default().to_owned();
        let subject = entry.path_id.clone().unwrap_or_else(name);
        format!("{:?} {subject} {:?}", entry.operation.unwrap(), entry.status)
    };
    changes(simulator, since).into_iter().map(short).collect()
}

/// How many requests of this kind were sent for `uuid`, answered or not.
pub fn sent(simulator: &Simulator, operation: Operation, uuid: Uuid) -> usize {
    let id = uuid.to_string();
    let hits = |entry: &JournalEntry| {
        entry.operation == Some(operation) && entry.path_id.as_ref().is_some_and(|path| path.eq_ignore_ascii_case(&id))
    };
    simulator.journal().iter().filter(|entry| hits(entry)).count()
}

/// What the control plane holds, apart from what agents move: one line each, sorted.
pub fn records(simulator: &Simulator) -> Vec<String> {
    let line = |record: runai_simulator::ClusterView| {
        let deleting = record.delete_requested_at.is_some();
        format!("{} {} {} deleting={deleting}", record.tenant_id, record.name, record.uuid)
    };
    let mut lines: Vec<_> = simulator.live_clusters().into_iter().map(line).collect();
    lines.sort();
    lines
}

/// The only living record of that name.
pub fn the(simulator: &Simulator, name: &str) -> Uuid {
    let mut records = simulator.clusters_named(name);
    records.retain(|record| record.deleted_at.is_none());
    assert_eq!(records.len(), 1, "{name}: {records:?}");
    records[0].uuid
}

pub fn seed(simulator: &Simulator, name: &str) -> Uuid {
    simulator.seed(SeedCluster::named(name)).unwrap()
}

/// Nothing is sent that could change a registration for a while.
pub async fn stays_silent(world: &World, since: u64, what: &str) {
    world
        .holds(A_WHILE, what, async || match change_list(&world.simulator, since) {
            list if list.is_empty() => Ok(()),
            list => Err(format!("{list:?}")),
        })
        .await;
}

/// Waits for something that is not one object's state.
pub async fn eventually(world: &World, what: &str, probe: impl AsyncFn() -> Result<(), String>) {
    if let Err(error) = wait_until(SOON, what, async || probe().await).await {
        panic!("{error}\n--- operator\n{}", world.tail());
    }
}

/// The control plane has no living record with this id.
pub async fn until_unregistered(world: &World, uuid: Uuid) {
    eventually(world, &format!("{uuid} to go"), async || match world.simulator.cluster(uuid) {
        Some(record) if record.deleted_at.is_none() => Err(format!("{record:?}")),
        Some(_) | None => Ok(()),
    })
    .await;
}

/// Waits for a condition of the control plane object.
pub async fn until_plane(world: &World, kind: &str, status: &str, reason: &str) {
    eventually(world, &format!("control plane {kind}={status}/{reason}"), async || {
        let plane = world.plane("default").await;
        let is = condition(&plane, kind);
        if is == (status.to_owned(), reason.to_owned()) { Ok(()) } else { Err(plane["status"].to_string()) }
    })
    .await;
}

/// The Events with this reason, about whatever it is.
pub async fn events(world: &World, reason: &str) -> Vec<Value> {
    let selector = format!("--field-selector=reason={reason}");
    let text = world.kubectl(&["get", "events.events.k8s.io", "-A", &selector, "-o", "json"]).await;
    let list: Value = serde_json::from_str(&text).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// Waits for the Event with this reason about an object of `team-a`, and checks that there is one alone; returns it.
pub async fn until_event(world: &World, name: &str, reason: &str) -> Value {
    let about = |event: &Value| event["regarding"]["kind"] == "RunaiCluster" && event["regarding"]["name"] == *name;
    let what = format!("{name}: an Event {reason}");
    let told = wait_until(SOON, &what, async || {
        let mut found = events(world, reason).await;
        found.retain(about);
        if found.is_empty() { Err("none") } else { Ok(found) }
    });
    let mut found = told.await.unwrap_or_else(|error| panic!("{error}\n--- operator\n{}", world.tail()));
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// `Stalled` with one of these reasons.
pub fn stalled_by(object: &Value, reasons: &[&str]) -> bool {
    let (status, reason) = condition(object, "Stalled");
    status == "True" && reasons.contains(&reason.as_str())
}

/// Checks that the message of `Stalled` names every one of `words`.
pub fn says(object: &Value, words: &[&str]) {
    let text = message(object, "Stalled");
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in {text:?}");
    }
}

pub fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][name].as_str()
}

pub fn annotations(pairs: &[(&str, Option<&str>)]) -> Value {
    let map: serde_json::Map<_, _> = pairs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({ "metadata": { "annotations": map } })
}

/// How many status writes the operator made to this object so far, by the API server's audit log.
pub fn status_writes(world: &World, name: &str) -> usize {
    let mut events = world.bed.audit_events(None).unwrap();
    events.retain(|event| {
        event.resource == "runaiclusters"
            && event.subresource == "status"
            && event.verb == "patch"
            && event.name == name
    });
    events.len()
}
