//! Agents and the states derived from them.

use std::time::Duration;

use runai_simulator::{AgentCommand, AgentPhase, Config, OutsideError, RecordPatch, SeedCluster};
use serde_json::json;
use uuid::Uuid;

use crate::common::{Api, manual, uuid_of};

async fn state(api: &Api, uuid: Uuid) -> String {
    let body = api.get(&format!("/api/v1/clusters/{uuid}")).await.body;
    let state = body["status"]["state"].as_str().unwrap().to_owned();
    assert_eq!(Some(state.clone()), api.sim.cluster(uuid).map(|view| view.state), "both faces agree");
    state
}

fn later(api: &Api, seconds: u64) {
    api.sim.advance(Duration::from_secs(seconds));
}

#[tokio::test]
async fn a_cluster_connects_falls_silent_and_comes_back() {
    let mut api = Api::start(manual()).await;
    let uuid = uuid_of(&api.create_with(json!({"name": "a", "domain": "old.host", "version": "2.24"})).await);
    assert_eq!(state(&api, uuid).await, "WaitingToConnect");
    api.sim.agent(uuid, AgentCommand::Start { after_seconds: 10.0, client_secret: None }).unwrap();
    assert_eq!(api.sim.cluster(uuid).unwrap().agent, Some(AgentPhase::Installing));
    assert_eq!(state(&api, uuid).await, "WaitingToConnect");
    later(&api, 10);
    assert_eq!(state(&api, uuid).await, "Connected");
    let first = api.sim.cluster(uuid).unwrap().last_liveness.unwrap();
    later(&api, 65);
    let beat = api.sim.cluster(uuid).unwrap().last_liveness.unwrap();
    assert_eq!(beat.duration_since(first).as_secs(), 60, "beats come every 30 s");
    api.sim.agent(uuid, AgentCommand::Pause).unwrap();
    later(&api, 110);
    assert_eq!(state(&api, uuid).await, "Connected");
    later(&api, 10);
    assert_eq!(state(&api, uuid).await, "Disconnected");
    let updated = api.sim.cluster(uuid).unwrap().updated_at.unwrap();
    assert_eq!(updated, api.sim.now(), "a change of state moves updatedAt when it is seen");
    later(&api, 5);
    assert_eq!(state(&api, uuid).await, "Disconnected");
    assert_eq!(api.sim.cluster(uuid).unwrap().updated_at, Some(updated));
    api.sim.agent(uuid, AgentCommand::start()).unwrap();
    assert_eq!(state(&api, uuid).await, "Connected");
    let report = AgentCommand::Report {
        version: Some("2.25.1".to_owned()),
        domain: Some("https://new.host".to_owned()),
        report: None,
        unreadable: None,
    };
    api.sim.agent(uuid, report).unwrap();
    let view = api.sim.cluster(uuid).unwrap();
    assert_eq!((view.version.as_deref(), view.domain.as_deref()), (Some("2.25.1"), Some("https://new.host")));
    api.sim.agent(uuid, AgentCommand::Stop).unwrap();
    later(&api, 5000);
    api.log_in().await;
    assert_eq!(state(&api, uuid).await, "Disconnected");
    let view = api.sim.cluster(uuid).unwrap();
    assert_eq!((view.version.as_deref(), view.agent), (Some("2.25.1"), None));
}

#[tokio::test]
async fn reports_decide_between_the_other_states() {
    let api = Api::start(manual()).await;
    let uuid = api.sim.seed(SeedCluster::named("a").connected()).unwrap();
    let operand = |ready| AgentCommand::Operand { name: "cluster-sync".to_owned(), ready };
    let dependency = |available| AgentCommand::Dependency { name: "prometheus".to_owned(), available };
    let unreadable = |on| AgentCommand::Report { version: None, domain: None, report: None, unreadable: Some(on) };
    assert_eq!(state(&api, uuid).await, "Connected");
    api.sim.agent(uuid, operand(false)).unwrap();
    assert_eq!(state(&api, uuid).await, "ServiceIssues");
    api.sim.agent(uuid, dependency(false)).unwrap();
    assert_eq!(state(&api, uuid).await, "MissingPrerequisites");
    api.sim.agent(uuid, unreadable(true)).unwrap();
    assert_eq!(state(&api, uuid).await, "Unknown");
    api.sim.agent(uuid, unreadable(false)).unwrap();
    api.sim.agent(uuid, dependency(true)).unwrap();
    api.sim.agent(uuid, operand(true)).unwrap();
    assert_eq!(state(&api, uuid).await, "Connected");
    let force = |text: &str| RecordPatch { force_state: Some(text.to_owned()), ..RecordPatch::default() };
    api.sim.patch(uuid, force("SomethingNew")).unwrap();
    assert_eq!(state(&api, uuid).await, "SomethingNew");
    api.sim.patch(uuid, force("")).unwrap();
    assert_eq!(state(&api, uuid).await, "Connected");
}

#[tokio::test]
async fn a_wrong_secret_is_never_heard_and_a_zombie_is_told() {
    let api = Api::start(manual()).await;
    let path = api.create("a").await;
    let uuid = uuid_of(&path);
    let start = |secret: String| AgentCommand::Start { after_seconds: 0.0, client_secret: Some(secret) };
    api.sim.agent(uuid, start("wrong".to_owned())).unwrap();
    later(&api, 60);
    assert_eq!(state(&api, uuid).await, "WaitingToConnect");
    api.sim.agent(uuid, start(api.sim.cluster(uuid).unwrap().client_secret)).unwrap();
    assert_eq!(state(&api, uuid).await, "Connected");
    api.delete(&format!("{path}?force=true")).await;
    assert!(matches!(api.sim.agent(uuid, AgentCommand::Pause), Err(OutsideError::Deleted(_))));
    assert!(matches!(api.sim.agent(Uuid::nil(), AgentCommand::Pause), Err(OutsideError::Unknown(_))));
}

#[tokio::test]
async fn agents_may_start_by_themselves() {
    let mut config = Config { clock: runai_simulator::ClockMode::Manual, ..Config::default() };
    config.agent.auto_start_seconds = Some(5.0);
    config.agent.reports_domain = Some("agent.host".to_owned());
    let api = Api::start(config).await;
    let uuid = uuid_of(&api.create_with(json!({"name": "a", "domain": "h", "version": "2.20.1"})).await);
    assert_eq!(state(&api, uuid).await, "WaitingToConnect");
    later(&api, 5);
    assert_eq!(state(&api, uuid).await, "Connected");
    let view = api.sim.cluster(uuid).unwrap();
    assert_eq!((view.version.as_deref(), view.domain.as_deref()), (Some("2.20.1"), Some("agent.host")));
}
