//! One object from apply to gone: register, connect, rename, delete.

use std::time::Duration;

use runai_simulator::{AgentCommand, Operation};
use serde_json::json;

use crate::world::{Setup, World, condition, uuid};

#[tokio::test(flavor = "multi_thread")]
async fn an_object_becomes_a_registration_connects_is_renamed_and_goes() {
    let setup = Setup::default().with_minimal_lists().simulator(|config| config.delete.graceful_seconds = 2.0);
    let world = World::start(setup).await;
    world.cluster("east", json!({ "domain": "https://east.example.com", "version": "2.24" })).await;

    let object = world.until_ready("east").await;
    let id = uuid(&object);
    assert_eq!(condition(&object, "Synced"), ("True".to_owned(), "Registered".to_owned()));
    assert_eq!(condition(&object, "Connected"), ("False".to_owned(), "WaitingToConnect".to_owned()));
    let records = world.simulator.live_clusters();
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].uuid, records[0].name.as_str()), (id, "east"));
    assert_eq!(object["metadata"]["finalizers"], json!(["runai-operator.io/registration"]));
    assert!(object["metadata"]["annotations"]["runai-operator.io/create-pending"].is_null());

    let start = AgentCommand::Start { after_seconds: 0.0, client_secret: None };
    world.simulator.agent(id, start).unwrap();
    let object = world.until_condition("east", "Connected", "True", "Connected").await;
    assert!(object["status"]["lastLiveness"].is_string());

    world.patch("east", json!({ "spec": { "name": "east-2" } })).await;
    world.until("east", "renamed", |object| object["status"]["name"] == "east-2").await;
    assert_eq!(world.simulator.live_clusters()[0].name, "east-2");

    world.delete("east").await;
    world.until_condition("east", "Reconciling", "True", "DeletionRequested").await;
    world.until_gone_within(Duration::from_secs(60), "east").await;
    assert!(world.simulator.live_clusters().is_empty());
    let counters = world.simulator.counters();
    assert_eq!(counters.requests_per_operation[&Operation::Delete], 1);
    assert_eq!(counters.requests_per_operation[&Operation::Create], 1);
}
