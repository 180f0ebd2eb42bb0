//! Metrics of clusters, from the control plane to `/metrics` and away again: the operator as a process, a real API server,
//! the simulated control plane.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod series;
#[path = "../e2e/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use runai_simulator::{AgentCommand, Operation, Profile};
use serde_json::{Value, json};

use series::{Series, until_series};
use world::{SOON, Setup, World, condition, uuid};

fn wish(more: &Value) -> Value {
    let mut metrics = json!({ "enabled": true, "interval": "1m" });
    metrics.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "clusterMetrics": metrics })
}

fn setup(more: &Value) -> Setup {
    let mut spec = wish(more);
    spec["pollInterval"] = json!("5s");
    Setup::default().with_minimal_lists().control_plane(spec)
}

async fn rewish(world: &World, spec: &Value) {
    let patch = json!({ "spec": spec }).to_string();
    world.kubectl(&["patch", "rcp", "default", "--type=merge", "-p", &patch]).await;
}

/// An object whose agent is connected.
async fn connected(world: &World, name: &str) -> Value {
    world.cluster(name, json!({ "domain": format!("https://{name}.example.com"), "version": "2.24" })).await;
    let object = world.until_ready(name).await;
    let start = AgentCommand::Start { after_seconds: 0.0, client_secret: None };
    world.simulator.agent(uuid(&object), start).unwrap();
    world.until(name, "connected", |object| condition(object, "Connected").0 == "True").await
}

fn readings(world: &World) -> usize {
    let asked = |entry: &runai_simulator::JournalEntry| entry.operation == Some(Operation::Metrics);
    world.simulator.journal().iter().filter(|entry| asked(entry)).count()
}

/// The families with a series of this object.
async fn families_of(world: &World, name: &str) -> BTreeSet<String> {
    let label = format!("name=\"{name}\"");
    let text = world.operator.metrics().await.unwrap();
    let series = text.lines().filter(|line| line.contains(&label));
    series.map(|line| line.split('{').next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_types_are_shown_and_vanish_with_what_they_are_about() {
    let world = World::start(setup(&json!({}))).await;
    let object = connected(&world, "east").await;
    let series = until_series(&world, "all twelve types", |series| series.types("east").len() == 12).await;
    let value = |kind: &str| series.value("east", kind, &[]).unwrap();
    // What the simulated control plane says of a cluster is consistent.
    let total = value("TOTAL_GPU");
    assert!((value("ALLOCATED_GPU") + value("UNALLOCATED_GPU") - total).abs() < 1e-9, "{series:?}");
    assert!((value("TOTAL_GPU_NODES") * 8.0 - total).abs() < 1e-9, "{series:?}");
    for bucket in ["0-25", "25-50", "50-75", "75-100"] {
        assert!(series.value("east", "GPU_UTILIZATION_DISTRIBUTION", &[("bucket", bucket)]).is_some(), "{bucket}");
    }
    assert_eq!(readings(&world), 1, "one request for all types");

    // A cluster without an agent is not asked for.
    world.cluster("west", json!({})).await;
    world.until_ready("west").await;
    connected(&world, "north").await;
    let series = until_series(&world, "another cluster", |series| !series.types("north").is_empty()).await;
    assert!(series.types("west").is_empty() && series.types("east").len() == 12, "{series:?}");

    // Not connected any more, gone, not wanted any more.
    world.simulator.agent(uuid(&object), AgentCommand::Stop).unwrap();
    world.simulator.advance(Duration::from_secs(3600));
    world.until("east", "disconnected", |object| condition(object, "Connected").0 == "False").await;
    until_series(&world, "none of a cluster that is away", |series| series.types("east").is_empty()).await;
    connected(&world, "south").await;
    until_series(&world, "south", |series| !series.types("south").is_empty()).await;
    let families = families_of(&world, "south").await;
    for family in ["cluster_info", "cluster_state", "cluster_condition", "cluster_last_liveness_timestamp_seconds"] {
        assert!(families.contains(&format!("runai_operator_{family}")), "{family}: {families:?}");
    }
    world.patch("south", json!({ "spec": { "deletion": { "policy": "Orphan" } } })).await;
    world.delete("south").await;
    world.until_gone("south").await;
    until_series(&world, "none of an object that is gone", |series| series.types("south").is_empty()).await;
    let gone = testbed::wait_until(SOON, "none of any family", async || match families_of(&world, "south").await {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
    gone.await.unwrap();
    assert!(families_of(&world, "north").await.contains("runai_operator_cluster_info"));
    rewish(&world, &json!({ "clusterMetrics": { "enabled": false } })).await;
    until_series(&world, "none when switched off", Series::is_empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_answers_groups_and_types_that_are_not_known() {
    // By node pool: what cannot be grouped is read as a whole, after one lesson.
    let world = World::start(setup(&json!({ "groupBy": "Nodepool" }))).await;
    connected(&world, "east").await;
    let grouped = [("nodepool", "default")];
    let series =
        until_series(&world, "grouped and plain", |series| series.value("east", "ALLOCATED_GPU", &grouped).is_some())
            .await;
    assert!(series.value("east", "ALLOCATED_GPU", &[("nodepool", "other")]).is_some(), "{series:?}");
    assert_eq!(readings(&world), 1 + 12, "refused together, then each alone");
    // 207: what is missing is missing, the rest is there.
    world.simulator.configure(|config| config.metrics.failing = vec!["GPU_QUOTA".to_owned()]);
    rewish(&world, &json!({ "clusterMetrics": { "groupBy": null, "types": ["TOTAL_GPU", "GPU_QUOTA"] } })).await;
    let series = until_series(&world, "two types", |series| series.value("east", "TOTAL_GPU", &[]).is_some()).await;
    assert_eq!(series.types("east"), ["TOTAL_GPU"]);

    // An old control plane knows nine types less one, and no groups.
    world.simulator.configure(|config| {
        config.metrics.failing.clear();
        config.profile = Profile::Cp220;
    });
    let asked = readings(&world);
    rewish(&world, &json!({ "clusterMetrics": { "groupBy": "Category", "types": null } })).await;
    // No group is taken, and then one type is not: each is asked for alone, twice.
    let lessons = testbed::wait_until(SOON * 3, "the lessons", async || match readings(&world) - asked {
        26 => Ok(()),
        other => Err(format!("{other} readings")),
    });
    lessons.await.unwrap();
    let series = until_series(&world, "old types", |series| series.types("east").len() == 11).await;
    assert!(series.value("east", "UNALLOCATED_GPU", &[]).is_some(), "{series:?}");
    assert!(!series.types("east").contains(&"WORKLOADS_COUNT".to_owned()), "{series:?}");
}
