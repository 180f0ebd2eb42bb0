//! The simulator is what the operator is proven with, so it is measured with somebody else's ruler: the vendor's own
//! Python client. This is the short form of `tests/conformance/run`; `make conformance` runs all of it. The operator is
//! measured with it, too: both have to say the same of one tenant.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../credentials/books.rs"]
mod books;
#[path = "../e2e/world.rs"]
mod world;

#[path = "../metrics/series.rs"]
mod series;
#[path = "../cli/tool.rs"]
mod tool;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Command;

use runai_simulator::{AgentCommand, Config, Operation, RecordPatch, SeedCluster, Simulator};
use serde_json::{Value, json};

use crate::books::{data, secret};
use crate::series::until_series;
use crate::tool::{Tool, credentials};
use crate::world::{Setup, World, uuid};

/// What the script ends with when this machine has no Python with venv.
const SKIPPED: i32 = 77;

/// Runs the script; what it said has to hold `wanted`, unless this machine cannot run it.
fn measured(args: &[&str], wanted: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/run");
    let output = Command::new(script).args(args).output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.code() {
        Some(0) => assert!(text.contains(wanted), "{text}\n{errors}"),
        Some(SKIPPED) => {
            assert!(text.contains("SKIPPED: python3 with venv is not available"), "{text}\n{errors}");
            // Not `eprintln!`, which is shown for failed tests only.
            let mut errors = std::io::stderr();
            writeln!(errors, "tests/conformance: {}", text.trim()).unwrap();
        }
        other => panic!("{script} {args:?} ended with {other:?}\n{text}\n{errors}"),
    }
}

#[test]
fn the_vendors_client_is_content() {
    let simulator = Simulator::start(Config::default()).unwrap();
    let args = ["--short", simulator.url(), simulator.control_url()];
    measured(&args, "runapy: 9 points, 9 passed, 0 failed");
}

/// A registration in every state, with and without what is optional, and some that are being deleted.
fn fill(simulator: &Simulator) {
    let states =
        ["WaitingToConnect", "Connected", "Disconnected", "MissingPrerequisites", "ServiceIssues", "Unknown", "Novel"];
    for (number, state) in states.iter().enumerate() {
        for connected in [true, false] {
            let domain = (number % 2 == 0).then(|| format!("gpu-{number}.example.com"));
            let version = (number % 3 != 0).then(|| "2.24".to_owned());
            let name = format!("{state} größer {connected}");
            let seed = SeedCluster { domain, version, connected, ..SeedCluster::named(&name) };
            let uuid = simulator.seed(seed).unwrap();
            let patch = RecordPatch { force_state: Some((*state).to_owned()), ..RecordPatch::default() };
            simulator.patch(uuid, patch).unwrap();
            if connected {
                // What is compared must not move meanwhile.
                simulator.agent(uuid, AgentCommand::Pause).unwrap();
            }
            if number < 3 {
                let going = SeedCluster { delete_requested_at: Some(simulator.now()), ..SeedCluster::named(&name) };
                let uuid = simulator.seed(going).unwrap();
                let stuck = RecordPatch { stuck_delete: Some(true), ..RecordPatch::default() };
                simulator.patch(uuid, stuck).unwrap();
            }
        }
    }
}

/// What the operator shows of a cluster's metrics, with the window that it asked for.
async fn metrics(world: &World, name: &str) -> Value {
    let uuid = uuid(&world.until_ready(name).await);
    let start = AgentCommand::Start { after_seconds: 0.0, client_secret: None };
    world.simulator.agent(uuid, start).unwrap();
    let series = until_series(world, "all types", |series| series.types(name).len() == 12).await;
    world.simulator.agent(uuid, AgentCommand::Pause).unwrap();
    let state = RecordPatch { force_state: Some("Connected".to_owned()), ..RecordPatch::default() };
    world.simulator.patch(uuid, state).unwrap();
    let journal = world.simulator.journal();
    let asked = journal.iter().rfind(|entry| entry.operation == Some(Operation::Metrics)).unwrap();
    let shown = series.of(name).map(|(labels, value)| {
        let further = |label: &str| !["namespace", "name", "type"].contains(&label);
        let rest: BTreeMap<_, _> = labels.iter().filter(|(label, _)| further(label)).collect();
        json!({ "type": labels["type"], "labels": rest, "value": value })
    });
    json!({ "uuid": uuid, "query": asked.query, "series": shown.collect::<Vec<_>>() })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendors_client_and_the_operator_say_the_same_of_a_tenant() {
    let spec = json!({
        "pollInterval": "5s", "adoptionNamespaces": {}, "clusterMetrics": { "enabled": true, "interval": "1m" },
    });
    let setup = Setup { chart: &["installInfo.enabled=true"], ..Setup::default().control_plane(spec) };
    let world = World::start(setup).await;
    fill(&world.simulator);
    let mut published = Vec::new();
    // With a domain, with another URL, and with neither: then it is the control plane's own.
    let specs = [
        json!({ "domain": "https://east.example.com" }),
        json!({ "domain": "west.example.com", "installInfo": { "remoteClusterUrl": "https://elsewhere.example.com" } }),
        json!({}),
    ];
    for (number, mut spec) in specs.into_iter().enumerate() {
        let (name, held) = (format!("own-{number}"), format!("own-{number}-install"));
        spec["version"] = json!("2.24");
        spec["installInfo"]["secretName"] = json!(held);
        world.cluster(&name, spec).await;
        world.until_condition(&name, "CredentialsPublished", "True", "CredentialsPublished").await;
        let held = data(&secret(&world, &held).await.unwrap());
        let values: Value = serde_saphyr::from_str(&held["values.yaml"]).unwrap();
        let mut row = json!(held);
        row["values"] = values;
        published.push(row);
    }
    let measured_series = metrics(&world, "own-0").await;
    let tool = Tool::alone();
    let [flag, file] = credentials(&tool, &world.simulator);
    let said = tool.run(&["inventory", "-o", "json", &flag, &file]).await.exits(0);
    tool.file("inventory.json", &said.stdout);
    tool.file("published.json", &json!(published).to_string());
    tool.file("measured.json", &measured_series.to_string());
    let directory = tool.directory().to_str().unwrap();
    measured(
        &["--agree", world.simulator.url(), directory],
        "agreed: 7 states, 6 being deleted, 3 install credentials, 15 series, ",
    );
}
