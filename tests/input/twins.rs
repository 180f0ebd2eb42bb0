//! Objects that get in each other's way, and namespaces that may or may not use a control plane.

use runai_simulator::{Operation, SeedCluster};
use serde_json::{Value, json};
use testbed::wait_until;
use uuid::Uuid;

use crate::world::{SOON, Setup, TEAM, World, cluster, condition, control_plane, message, uuid};

/// Requests that change registrations, since `seq`.
fn mutations(world: &World, seq: u64) -> Vec<(Operation, Option<String>)> {
    let journal = world.simulator.journal_since(seq).into_iter();
    journal
        .filter_map(|entry| Some((entry.operation?, entry.path_id)))
        .filter(|(operation, _)| operation.is_mutation())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_want_the_same_and_namespaces_that_may_not() {
    let world = World::start(Setup::default()).await;
    one_name(&world).await;
    a_name_of_somebody_else(&world).await;
    one_uuid(&world).await;
    namespaces(&world).await;
}

/// Two objects, made at once, ask for one name: one gets it, the other says whose it is and waits.
async fn one_name(world: &World) {
    let twins = ["twin-a", "twin-b"].map(|name| cluster(TEAM, name, json!({ "name": "Twin" })));
    world.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": twins })).await;
    let settled = wait_until(SOON, "one twin Ready, the other Stalled/NameConflict", async || {
        let all = world.all().await;
        let winner = all.iter().find(|object| condition(object, "Ready").0 == "True").cloned();
        let loser = all.iter().find(|object| condition(object, "Stalled").1 == "NameConflict").cloned();
        winner.zip(loser).ok_or_else(|| format!("{all:?}"))
    });
    let (winner, loser) = settled.await.unwrap();
    let said = message(&loser, "Stalled");
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    for part in ["\"Twin\"", &format!("{TEAM}/{}", name(&winner)), "choose another spec.name"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(condition(&loser, "Ready"), ("False".to_owned(), "NameConflict".to_owned()));
    assert_eq!(mutations(world, 0), [(Operation::Create, None)], "one POST for the two of them");
    world.patch(&name(&loser), json!({ "spec": { "name": "Other Twin" } })).await;
    world.until_ready(&name(&loser)).await;
    assert_eq!(world.simulator.clusters_named("Twin").len(), 1);
    assert_eq!(world.simulator.clusters_named("Other Twin").len(), 1);
}

/// A registration that no object owns keeps its name: the message has the uuid, and how to adopt it.
async fn a_name_of_somebody_else(world: &World) {
    let taken = world.simulator.seed(SeedCluster::named("Taken")).unwrap();
    let seq = world.simulator.last_seq();
    world.cluster("wants-taken", json!({ "name": "Taken" })).await;
    let object = world.until_stalled("wants-taken", "NameConflict").await;
    let said = message(&object, "Stalled");
    for part in ["\"Taken\"", &taken.to_string(), "choose another spec.name", &format!("spec.adoption.uuid: {taken}")] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(mutations(world, seq), []);
    // The message's own advice works.
    world.patch("wants-taken", json!({ "spec": { "adoption": { "uuid": taken } } })).await;
    let object = world.until_ready("wants-taken").await;
    assert_eq!((uuid(&object), condition(&object, "Synced").1.as_str()), (taken, "Adopted"));
    assert_eq!(mutations(world, seq), [], "adoption writes nothing");
}

/// Two objects ask for one uuid: the first keeps it.
async fn one_uuid(world: &World) {
    let id = world.simulator.seed(SeedCluster::named("Shared")).unwrap();
    let seq = world.simulator.last_seq();
    let spec = json!({ "name": "Shared", "adoption": { "uuid": id } });
    world.cluster("shared-a", spec.clone()).await;
    world.until_ready("shared-a").await;
    world.cluster("shared-b", spec).await;
    let object = world.until_stalled("shared-b", "AlreadyClaimed").await;
    let said = message(&object, "Stalled");
    for part in [&id.to_string(), &format!("{TEAM}/shared-a"), "remove one of the two objects"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(object["status"]["uuid"].is_null() && object["metadata"]["finalizers"].is_null(), "{object}");
    // An adopted registration stays when its object goes, and is then free for the other.
    world.delete("shared-a").await;
    world.until_gone("shared-a").await;
    assert_eq!(uuid(&world.until_ready("shared-b").await), id);
    assert_eq!(mutations(world, seq), []);
    // A uuid that does not exist is said, and correctable.
    let unknown = Uuid::from_u128(7);
    world.cluster("lost", json!({ "adoption": { "uuid": unknown } })).await;
    let object = world.until_stalled("lost", "AdoptionTargetMissing").await;
    let said = message(&object, "Stalled");
    assert!(said.contains(&unknown.to_string()) && said.contains("correct spec.adoption.uuid"), "{said}");
    assert_eq!(mutations(world, seq), []);
}

/// A namespace without the label gets nothing; with it, all; without it again, only deletion.
async fn namespaces(world: &World) {
    let spec = json!({
        "pollInterval": "5s",
        "allowedNamespaces": { "matchLabels": { "runai": "enabled" } },
        "adoptionNamespaces": { "matchLabels": { "runai": "enabled" } },
    });
    world.apply(&control_plane("chosen", "connection", &spec)).await;
    let on = |name: &str| json!({ "name": name, "controlPlaneRef": { "name": "chosen" } });
    let seq = world.simulator.last_seq();
    world.cluster("guest", on("Guest")).await;
    let object = world.until_stalled("guest", "NamespaceNotAllowed").await;
    let said = message(&object, "Stalled");
    for part in ["\"chosen\"", TEAM, "spec.allowedNamespaces"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(mutations(world, seq), []);

    world.kubectl(&["label", "namespace", TEAM, "runai=enabled"]).await;
    let id = uuid(&world.until_ready("guest").await);
    world.kubectl(&["label", "namespace", TEAM, "runai-"]).await;
    world.until_stalled("guest", "NamespaceNotAllowed").await;
    let seq = world.simulator.last_seq();
    world.patch("guest", json!({ "spec": { "name": "Guest 2" } })).await;
    world.cluster("late", on("Late")).await;
    world.until_stalled("late", "NamespaceNotAllowed").await;
    let seen = |object: &Value| object["status"]["observedGeneration"] == object["metadata"]["generation"];
    let object = world.until("guest", "the new spec is seen", seen).await;
    assert_eq!(condition(&object, "Stalled").1, "NamespaceNotAllowed");
    assert_eq!(uuid(&object), id, "what is known stays");
    assert_eq!(mutations(world, seq), [], "no rename, no create");

    world.delete("guest").await;
    world.until_gone("guest").await;
    assert_eq!(
        mutations(world, seq),
        [(Operation::Delete, Some(id.to_string()))],
        "what a namespace has it can delete"
    );
    world.delete("late").await;
    world.until_gone("late").await;
}
