//! A whole namespace goes: its registrations go first, also when the credentials were deleted before.

use runai_simulator::{DisconnectedPolicy, Operation};
use serde_json::json;

use crate::support::{eventually, until_plane};
use crate::world::{Setup, TEAM, World, cluster, condition};

async fn until_no_namespace(world: &World, namespace: &str) {
    eventually(world, &format!("namespace {namespace} to go"), async || {
        world.namespace(namespace).await.map_or(Ok(()), |left| Err(left.to_string()))
    })
    .await;
}

async fn fill(world: &World, namespace: &str, names: &[&str]) {
    for name in names {
        // With a version the deletion is graceful: the namespace has to wait for it.
        world.apply(&cluster(namespace, name, json!({ "version": "2.24" }))).await;
    }
    eventually(world, "all objects Ready", async || {
        let objects = world.all_in(namespace).await;
        let ready = objects.iter().filter(|object| condition(object, "Ready").0 == "True").count();
        if ready == names.len() { Ok(()) } else { Err(format!("{objects:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_namespace_takes_its_registrations_along() {
    let setup = Setup { controller_manager: true, ..Setup::default() };
    let world = World::start(setup.simulator(|config| {
        config.delete.graceful_seconds = 1.0;
        config.delete.disconnected_policy = DisconnectedPolicy::Complete;
    }))
    .await;

    fill(&world, TEAM, &["a", "b", "c"]).await;
    assert_eq!(world.simulator.live_clusters().len(), 3);
    world.kubectl(&["delete", "namespace", TEAM, "--wait=false"]).await;
    until_no_namespace(&world, TEAM).await;
    assert!(world.simulator.live_clusters().is_empty());
    // One DELETE per object, none forced.
    assert_eq!(world.simulator.counters().requests_per_operation[&Operation::Delete], 3);

    let other = "team-b";
    world.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": other } })).await;
    fill(&world, other, &["d", "e"]).await;
    world.kubectl(&["delete", "secret", "connection", "-n", testbed::OPERATOR_NAMESPACE]).await;
    until_plane(&world, "Ready", "False", "ConnectionInvalid").await;
    world.kubectl(&["delete", "namespace", other, "--wait=false"]).await;
    until_no_namespace(&world, other).await;
    assert!(world.simulator.live_clusters().is_empty());
    assert_eq!(world.simulator.counters().requests_per_operation[&Operation::Delete], 5);
    assert_eq!(world.simulator.counters().requests_per_operation[&Operation::Create], 5);
}
