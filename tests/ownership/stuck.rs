//! A deletion that never resolves says so, and every way out that it names works.

use jiff::{SignedDuration, Timestamp};
use runai_simulator::Operation;
use serde_json::{Value, json};

use crate::support::{changes, says, sent, stays_silent, until_event, until_unregistered};
use crate::world::{Setup, World, message, uuid};

/// When a stalled deletion is forced, as the message says it.
fn forced_at(object: &Value) -> Timestamp {
    let text = message(object, "Stalled");
    let (_, rest) = text.split_once("spec.deletion.forceAfter has it forced at ").unwrap_or_else(|| panic!("{text}"));
    rest.split_once(';').unwrap().0.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_never_resolves_names_ways_out_that_work() {
    let world = World::start(Setup::default().simulator(|config| config.delete.stuck = true)).await;
    let names = ["forced", "orphaned", "removed", "early"];
    for name in names {
        let mut deletion = json!({ "stalledAfter": "3s" });
        match name {
            "early" => deletion["forceAfter"] = json!("5s"),
            "orphaned" => deletion["forceAfter"] = json!("2h"),
            _ => {}
        }
        world.cluster(name, json!({ "version": "2.24", "deletion": deletion })).await;
    }
    let mut ids = Vec::new();
    for name in names {
        ids.push(uuid(&world.until_ready(name).await));
    }
    for name in names {
        world.delete(name).await;
    }
    for name in &names[..3] {
        let object = world.until_stalled(name, "DeletionStalled").await;
        says(&object, &["spec.deletion.forceAfter", "spec.deletion.policy: Orphan", "in the control plane"]);
        assert_eq!(object["metadata"]["finalizers"], json!(["runai-operator.io/registration"]));
        let event = until_event(&world, name, "DeletionStalled").await;
        assert_eq!(
            (&event["type"], &event["note"]),
            (&json!("Warning"), &json!(message(&object, "Stalled"))),
            "{event}"
        );
        if *name == "orphaned" {
            let asked: Timestamp = object["status"]["deleteRequestedAt"].as_str().unwrap().parse().unwrap();
            let late = forced_at(&object).duration_since(asked) - SignedDuration::from_hours(2);
            assert!(late.abs() < SignedDuration::from_secs(5), "{late:?}: {object}");
        }
    }
    // A limit that was set beforehand needs nobody.
    world.until_gone("early").await;
    until_unregistered(&world, ids[3]).await;
    let seq = world.simulator.last_seq();
    stays_silent(&world, seq, "an open deletion is asked for once").await;

    world.patch("forced", json!({ "spec": { "deletion": { "forceAfter": "1s" } } })).await;
    world.until_gone("forced").await;
    until_unregistered(&world, ids[0]).await;
    let queries: Vec<_> = changes(&world.simulator, 0)
        .into_iter()
        .filter(|entry| entry.path_id == Some(ids[0].to_string()))
        .map(|e| e.query)
        .collect();
    assert_eq!(queries.len(), 2, "{queries:?}");
    assert!(!queries[0].contains("force=true") && queries[1].contains("force=true"), "{queries:?}");

    world.patch("orphaned", json!({ "spec": { "deletion": { "policy": "Orphan" } } })).await;
    world.until_gone("orphaned").await;
    assert!(world.simulator.cluster(ids[1]).unwrap().deleted_at.is_none(), "it was let go, not deleted");

    world.simulator.remove(ids[2]).unwrap();
    world.until_gone("removed").await;
    for id in [ids[1], ids[2]] {
        assert_eq!(sent(&world.simulator, Operation::Delete, id), 1);
    }
}
