//! The Kubernetes API server goes and comes back, with the data it had.

use std::time::Duration;

use runai_simulator::{AgentCommand, DisconnectedPolicy, FaultAction, FaultRule, Operation, Phase, UniqueNames};
use serde_json::json;

use crate::crowd;
use crate::world::{Setup, World, condition, uuid};

/// Longer than any request, any renewal and any pause between two attempts to watch.
const OUTAGE: Duration = Duration::from_secs(15);
/// Watches are tried again with a back-off.
const BACK: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_outlives_its_api_server() {
    let setup = Setup::default()
        // A leader that cannot renew its lease for 10 s ends, as it must; here nobody else could lead.
        .args(&["--leader-elect=false"])
        .simulator(|config| {
            config.names.unique = UniqueNames::Off;
            config.delete.disconnected_policy = DisconnectedPolicy::Complete;
            config.delete.graceful_seconds = 5.0;
        });
    let mut world = World::start(setup).await;
    let pid = world.operator.pid();
    for name in ["stays", "renamed", "going", "leaving"] {
        world.cluster(name, json!({ "domain": format!("https://{name}.example.com"), "version": "2.24" })).await;
    }
    crowd::until_ready(&world, BACK, 4).await;
    let stays = uuid(&world.get("stays").await.unwrap());

    // One deletion and one create are under way when the API server goes: the answer to the POST comes during the outage.
    world.delete("going").await;
    world.until_condition("going", "Reconciling", "True", "DeletionRequested").await;
    let slow = FaultAction::Latency { ms: 3000, max_ms: 3000, phase: Phase::Post };
    world.simulator.add_fault(FaultRule::on(Operation::Create, slow).times(1));
    world.cluster("half", json!({ "domain": "https://half.example.com" })).await;
    let committed = |simulator: &runai_simulator::Simulator| !simulator.clusters_named("half").is_empty();
    assert!(world.simulator.until(BACK, committed).await, "{}", world.tail());
    world.bed.stop_apiserver();

    world.simulator.agent(stays, AgentCommand::Start { after_seconds: 0.0, client_secret: None }).unwrap();
    tokio::time::sleep(OUTAGE).await;
    assert!(world.operator.exit_status().is_none(), "{}", world.tail());
    assert!(world.simulator.clusters_named("going").is_empty(), "the deletion should have resolved during the outage");
    world.bed.start_apiserver().await.unwrap();

    // What happened during the outage arrives ...
    world.until_within(BACK, "half", "Ready", |object| condition(object, "Ready").0 == "True").await;
    world.until_within(BACK, "stays", "Connected", |object| condition(object, "Connected").0 == "True").await;
    world.until_gone_within(BACK, "going").await;
    // ... and so does what is asked for afterwards: changes, new objects, deletions.
    world.patch("renamed", json!({ "spec": { "name": "renamed-2" } })).await;
    world.cluster("new", json!({ "domain": "https://new.example.com" })).await;
    world.delete("leaving").await;
    world.until_within(BACK, "renamed", "renamed", |object| object["status"]["name"] == "renamed-2").await;
    world.until_within(BACK, "new", "Ready", |object| condition(object, "Ready").0 == "True").await;
    world.until_gone_within(BACK, "leaving").await;

    let mut names: Vec<_> = world.simulator.live_clusters().into_iter().map(|record| record.name).collect();
    names.sort();
    assert_eq!(names, ["half", "new", "renamed-2", "stays"]);
    // Six objects were applied, each posted once: also the one whose answer could not be written down at first.
    let posts = world.simulator.counters().create_requests_per_name;
    assert_eq!((posts.len(), posts.values().sum::<u64>()), (6, 6), "{posts:?}");
    assert!(world.operator.exit_status().is_none(), "{}", world.tail());
    assert_eq!(world.operator.pid(), pid);
}
