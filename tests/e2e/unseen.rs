//! A change that no operator has seen yet: whoever waits for the object is not told that all is well.

use runai_simulator::SeedCluster;
use serde_json::json;

use crate::world::{Setup, TEAM, World};

async fn wait(world: &World, name: &str, timeout: &str) -> (bool, String) {
    let timeout = format!("--timeout={timeout}");
    let args = ["wait", "--for=condition=Ready", "-n", TEAM, &timeout, &format!("rcl/{name}")];
    let output = world.bed.kubectl(&args).await.unwrap();
    (output.status.success(), output.stdout + &output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_wait_is_not_content_with_what_was_true_before_the_change() {
    let mut world = World::start(Setup::default()).await;
    world.cluster("east", json!({})).await;
    world.until_ready("east").await;
    assert!(wait(&world, "east", "1s").await.0);

    world.operator.sigstop().unwrap();
    world.patch("east", json!({ "spec": { "name": "east-2" } })).await;
    let object = world.get("east").await.unwrap();
    assert_eq!((&object["metadata"]["generation"], &object["status"]["observedGeneration"]), (&json!(2), &json!(1)));
    let (done, said) = wait(&world, "east", "1s").await;
    assert!(!done && said.contains("timed out"), "{said}");
    world.operator.sigcont().unwrap();
    let (done, said) = wait(&world, "east", "60s").await;
    assert!(done, "{said}\n{}", world.tail());
    assert_eq!(world.get("east").await.unwrap()["status"]["name"], "east-2");

    // The same with a change that cannot be carried out: it never becomes true of the new generation.
    world.simulator.seed(SeedCluster::named("taken")).unwrap();
    world.patch("east", json!({ "spec": { "name": "taken" } })).await;
    world.until_stalled("east", "NameConflict").await;
    assert!(!wait(&world, "east", "1s").await.0);
}
