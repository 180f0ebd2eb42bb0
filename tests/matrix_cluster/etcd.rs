//! Rows 28 and 32: the store behind the API server goes away, and comes back as it was some time ago.

use std::path::Path;

use runai_simulator::{DisconnectedPolicy, Operation, UniqueNames};
use serde_json::{Value, json};

use crate::stage::{DOUBT, LONG};
use crate::world::{Setup, World, condition, uuid};

/// Copies a directory tree.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn spec(name: &str) -> Value {
    json!({ "domain": format!("https://{name}.example.com") })
}

async fn until_ready(world: &World, name: &str) -> Value {
    world.until_within(LONG, name, "Ready", |object| condition(object, "Ready").0 == "True").await
}

async fn until_stalled(world: &World, name: &str, reason: &str) -> Value {
    let stalled = |object: &Value| condition(object, "Stalled") == ("True".to_owned(), reason.to_owned());
    world.until_within(LONG, name, reason, stalled).await
}

/// Stops both servers and keeps or puts back what etcd has stored.
async fn stopped(world: &mut World, work: impl FnOnce(&Path, &Path)) {
    world.bed.stop_apiserver();
    world.bed.kill_etcd();
    let directory = world.bed.directory().to_owned();
    work(&directory.join("etcd"), &directory.join("etcd-backup"));
    world.bed.start_etcd().unwrap();
    world.bed.start_apiserver().await.unwrap();
}

/// Requests for registrations by name and kind, to compare with a run without any fault.
fn posts(world: &World) -> Vec<(String, u64)> {
    world.simulator.counters().create_requests_per_name.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_28_and_32_the_store_behind_the_api_server_fails_and_goes_back_in_time() {
    let setup = Setup::default().args(&DOUBT).simulator(|config| {
        config.names.unique = UniqueNames::Off;
        config.delete.disconnected_policy = DisconnectedPolicy::Complete;
        config.delete.graceful_seconds = 0.5;
    });
    let mut world = World::start(setup).await;
    row_28_an_api_server_without_its_store_is_waited_for(&mut world).await;
    row_32_a_store_restored_to_an_older_revision_leads_to_no_blind_request(&mut world).await;
}

/// The API server is up and answers every request with an error, as when etcd has no leader.
async fn row_28_an_api_server_without_its_store_is_waited_for(world: &mut World) {
    world.cluster("calm", spec("calm")).await;
    let calm = uuid(&until_ready(world, "calm").await);
    world.cluster("half", spec("half")).await;
    // Wherever the create is by then.
    world.bed.kill_etcd();
    world.simulator.rename(calm, "moved").unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(12)).await;
    assert!(world.operator.exit_status().is_none(), "{}", world.tail());
    world.bed.start_etcd().unwrap();
    until_ready(world, "half").await;
    world
        .until_within(LONG, "calm", "renamed back", |object| {
            object["status"]["name"] == "calm" && condition(object, "Ready").0 == "True"
        })
        .await;
    assert_eq!(posts(world), [("calm".to_owned(), 1), ("half".to_owned(), 1)]);
    assert_eq!(world.simulator.live_clusters().len(), 2);
}

/// Five objects around the moment of the backup: registered before; registered after, known before; made after; deleted
/// after; and being deleted. Restored under a process that remembers, and then under one that does not.
async fn row_32_a_store_restored_to_an_older_revision_leads_to_no_blind_request(world: &mut World) {
    for name in ["before", "deleted"] {
        world.cluster(name, spec(name)).await;
        until_ready(world, name).await;
    }
    let mut waiting = spec("waiting");
    waiting["suspend"] = json!(true);
    world.cluster("waiting", waiting).await;
    world.until_condition("waiting", "Suspended", "True", "Suspended").await;
    stopped(world, copy).await;

    let before = uuid(&until_ready(world, "before").await);
    world.patch("waiting", json!({ "spec": { "suspend": false } })).await;
    let waiting = uuid(&until_ready(world, "waiting").await);
    world.cluster("after", spec("after")).await;
    let after = uuid(&until_ready(world, "after").await);
    let deleted = uuid(&until_ready(world, "deleted").await);
    world.delete("deleted").await;
    world.until_gone_within(LONG, "deleted").await;
    let seq = world.simulator.last_seq();

    stopped(world, |etcd, backup| {
        std::fs::remove_dir_all(etcd).unwrap();
        copy(backup, etcd);
    })
    .await;
    assert!(world.get("after").await.is_none() && world.get("deleted").await.is_some());
    // Older than any read may be, so that an absence counts.
    world.simulator.advance(std::time::Duration::from_secs(120));
    // Unsuspended as before, by whoever applies manifests.
    world.patch("waiting", json!({ "spec": { "suspend": false } })).await;
    for round in ["the process remembers", "the process is new"] {
        assert_eq!(uuid(&until_ready(world, "before").await), before, "{round}");
        let object = until_stalled(world, "deleted", "ExternallyDeleted").await;
        assert_eq!(uuid(&object), deleted, "{round}");
        let found = |object: &Value| {
            let ready = condition(object, "Ready").0 == "True" && object["status"]["uuid"] == json!(waiting);
            ready || condition(object, "Stalled").1 == "NameConflict"
        };
        world.until_within(LONG, "waiting", round, found).await;
        let sent = crate::stage::changes_since(&world.simulator, seq);
        assert_eq!(sent, Vec::<String>::new(), "{round}");
        world.kill_and_restart().await;
    }
    // The manifest of the lost object is applied anew: its registration is there, and is not made again.
    world.cluster("after", spec("after")).await;
    until_stalled(world, "after", "NameConflict").await;
    assert!(world.simulator.cluster(after).unwrap().deleted_at.is_none());
    let deletes = world.simulator.counters().requests_per_operation.get(&Operation::Delete).copied();
    assert_eq!(deletes, Some(1));
    // And life goes on.
    world.cluster("new", spec("new")).await;
    until_ready(world, "new").await;
    world.delete("before").await;
    world.until_gone_within(LONG, "before").await;
}
