//! Many objects go at once: slowed down when people delete them, and without a trace when the kind itself is removed.

use std::time::Duration;

use runai_simulator::Operation;
use serde_json::json;
use testbed::wait_until;

use crate::support::{change_list, changes, events, records, status_writes, until_event, until_plane};
use crate::world::{SOON, Setup, World, control_plane};

const LIMIT: usize = 2;

fn plane(limit: usize) -> serde_json::Value {
    json!({ "pollInterval": "5s", "maxDeletionsPerMinute": limit })
}

async fn throttle_events(world: &World) -> usize {
    let events = events(world, "DeletionThrottled").await;
    assert!(events.iter().all(|event| event["regarding"]["kind"] == "RunaiControlPlane"), "{events:?}");
    events.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_deletion_is_slowed_down_and_an_uninstall_deregisters_nothing() {
    let world = World::start(Setup::default().control_plane(plane(LIMIT))).await;
    let names = ["m1", "m2", "m3", "m4", "m5", "m6", "m7"];
    for name in names {
        world.cluster(name, json!({})).await;
    }
    for name in names {
        world.until_ready(name).await;
    }
    until_plane(&world, "Ready", "True", "Connected").await;
    slowed_down(&world, &names[..5]).await;
    uninstalled(&world, &names[5..]).await;
}

async fn slowed_down(world: &World, names: &[&str]) {
    let seq = world.simulator.last_seq();
    let writes: Vec<_> = names.iter().map(|name| status_writes(world, name)).collect();
    let mut args = vec!["delete", "rcl", "-n", crate::world::TEAM, "--wait=false"];
    args.extend(names);
    world.kubectl(&args).await;
    let deletes =
        || changes(&world.simulator, seq).iter().filter(|entry| entry.operation == Some(Operation::Delete)).count();
    wait_until(SOON, "the first deletions", async || if deletes() == LIMIT { Ok(()) } else { Err(deletes()) })
        .await
        .unwrap();
    // No place is free before a minute has passed.
    world
        .holds(Duration::from_secs(15), "no more than the limit", async || {
            let left = world.all().await.len();
            if deletes() == LIMIT { Ok(()) } else { Err(format!("{} deletes, {left} objects", deletes())) }
        })
        .await;
    assert_eq!(throttle_events(world).await, 1, "said once, on the control plane");
    let waiting = world.all().await.into_iter().filter(|object| object["metadata"]["deletionTimestamp"].is_string());
    let waiting: Vec<_> = waiting.map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(waiting.len(), names.len() - LIMIT, "{waiting:?}");
    for (name, before) in names.iter().zip(writes).filter(|(name, _)| waiting.iter().any(|one| one == *name)) {
        assert_eq!(status_writes(world, name), before, "{name} waits without a write");
    }

    // A person who lifts the limit does not have to wait either.
    world.apply(&control_plane("default", "connection", &plane(100))).await;
    for name in names {
        world.until_gone(name).await;
    }
    assert_eq!(deletes(), names.len());
}

/// `kubectl delete crd`: the objects go, their registrations stay, even right after an ordinary deletion.
async fn uninstalled(world: &World, names: &[&str]) {
    world.cluster("last", json!({ "version": "2.24" })).await;
    world.until_ready("last").await;
    let crd = "runaiclusters.runai-operator.io";
    let others: Vec<_> = records(&world.simulator).into_iter().filter(|record| !record.contains(" last ")).collect();
    assert_eq!(others.len(), 2);
    let seq = world.simulator.last_seq();
    world.delete("last").await;
    let asked = async || match change_list(&world.simulator, seq) {
        list if list.is_empty() => Err("nothing was sent"),
        _ => Ok(()),
    };
    wait_until(SOON, "the last ordinary deletion", asked).await.unwrap();
    world.kubectl(&["delete", "crd", crd, "--wait=false"]).await;
    // Its own deletion was accepted before: it ends as deletions do.
    wait_until(SOON, "the other objects to go", async || {
        let list = world.bed.kubectl(&["get", "rcl", "-A", "-o", "name"]).await.unwrap().stdout;
        let left = list.lines().filter(|line| !line.ends_with("/last")).count();
        if left == 0 { Ok(()) } else { Err(list) }
    })
    .await
    .unwrap();
    world.simulator.remove(crate::support::the(&world.simulator, "last")).unwrap();
    wait_until(SOON, "the CRD to go", async || {
        let left = world.bed.kubectl(&["get", "crd", crd, "--ignore-not-found", "-o", "name"]).await.unwrap().stdout;
        if left.trim().is_empty() { Ok(()) } else { Err(left) }
    })
    .await
    .unwrap();
    assert_eq!(change_list(&world.simulator, seq).len(), 1, "{:?}", change_list(&world.simulator, seq));
    assert_eq!(records(&world.simulator), others, "nothing was deregistered");
    // The objects are gone, and what stays of them is told where it can still be read.
    for name in names {
        let event = until_event(world, name, "Orphaned").await;
        let note = event["note"].as_str().unwrap();
        assert!(note.ends_with("stays: the CRD itself is being deleted"), "{event}");
        let id = crate::support::the(&world.simulator, name);
        assert!(note.contains(&id.to_string()), "{id}: {note}");
    }
}
