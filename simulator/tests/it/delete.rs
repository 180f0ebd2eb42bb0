//! Delete semantics by profile, version, force and knobs.

use std::time::Duration;

use runai_simulator::{
    AgentCommand, DisconnectedPolicy, FaultAction, FaultRule, GetAfter, Operation, Profile, SeedCluster,
};
use serde_json::json;

use crate::common::{Api, manual, uuid_of};

fn later(api: &Api, seconds: u64) {
    api.sim.advance(Duration::from_secs(seconds));
}

/// A connected cluster of version 2.24.
fn connected(api: &Api, name: &str) -> String {
    let seed = SeedCluster { version: Some("2.24.1".to_owned()), ..SeedCluster::named(name).connected() };
    format!("/api/v1/clusters/{}", api.sim.seed(seed).unwrap())
}

#[tokio::test]
async fn status_by_profile_version_and_force() {
    for (profile, version, query, status) in [
        (Profile::Cp218, Some("2.20"), "", 204),
        (Profile::Cp218, Some("2.20"), "?force=false", 204),
        (Profile::Cp220, Some("2.9"), "", 204),
        (Profile::Cp220, Some("2.19.9"), "", 204),
        (Profile::Cp220, Some("2.20"), "", 202),
        (Profile::Cp220, Some("2.20"), "?force=true", 204),
        (Profile::Cp224, Some("2.24.37"), "?force=1", 204),
        (Profile::Cp225, Some("2.25"), "?force=FALSE", 202),
        (Profile::Cp225, None, "", 204),
        (Profile::Cp30, Some("3.0.1"), "", 202),
    ] {
        let api = Api::profile(profile).await;
        let seed = SeedCluster { version: version.map(str::to_owned), ..SeedCluster::named("a") };
        let uuid = api.sim.seed(seed).unwrap();
        let answer = api.delete(&format!("/api/v1/clusters/{uuid}{query}")).await;
        assert_eq!(answer.status, status, "{profile:?} {version:?} {query}");
        let view = api.sim.cluster(uuid).unwrap();
        assert_eq!(view.deleted_at.is_some(), status == 204);
        assert_eq!(view.delete_requested_at.is_some(), status == 202);
        if status == 202 {
            assert_eq!(answer.body["code"], 202);
        } else {
            assert!(answer.text.is_empty());
        }
    }
}

#[tokio::test]
async fn a_graceful_deletion_takes_live_agent_time() {
    let api = Api::start(manual()).await;
    let path = connected(&api, "a");
    assert_eq!(api.delete(&path).await.status, 202);
    let requested = api.get(&path).await.body["deleteRequestedAt"].clone();
    assert!(requested.is_string());
    assert_eq!(api.names("").await, Vec::<String>::new());
    assert_eq!(api.names("?includeRequestedForDelete=true").await, ["a"]);
    assert_eq!(api.put(&path, json!({"name": "b"})).await.status, 409);
    assert_eq!(api.post("/api/v1/clusters", json!({"name": "a"})).await.status, 409);
    later(&api, 15);
    api.sim.agent(uuid_of(&path), AgentCommand::Pause).unwrap();
    later(&api, 1000);
    assert_eq!(api.delete(&path).await.status, 202);
    assert_eq!(api.get(&path).await.body["deleteRequestedAt"], requested, "a second request changes nothing");
    api.sim.agent(uuid_of(&path), AgentCommand::start()).unwrap();
    later(&api, 4);
    assert_eq!(api.get(&path).await.status, 200);
    later(&api, 1);
    assert_eq!(api.get(&path).await.status, 404);
    assert_eq!(api.delete(&path).await.status, 404);
    assert_eq!(api.names("?includeRequestedForDelete=true").await, Vec::<String>::new());
    assert_eq!(api.sim.cluster(uuid_of(&path)).unwrap().deleted_at, Some(api.sim.now()));
    assert_eq!(api.sim.counters().deletes_per_uuid[&uuid_of(&path).to_string()], 1);
    api.create("a").await;
}

#[tokio::test]
async fn force_ends_a_graceful_deletion() {
    let api = Api::start(manual()).await;
    let seed = SeedCluster { version: Some("2.24".to_owned()), ..SeedCluster::named("never-connected") };
    let path = format!("/api/v1/clusters/{}", api.sim.seed(seed).unwrap());
    assert_eq!(api.delete(&path).await.status, 202);
    later(&api, 3000);
    assert_eq!(api.get(&path).await.status, 200, "without an agent it waits for ever");
    assert_eq!(api.delete(&format!("{path}?force=true")).await.status, 204);
    assert_eq!(api.get(&path).await.status, 404);
}

#[tokio::test]
async fn lists_hide_deleting_clusters_before_222_and_by_knob() {
    for (profile, hide, shown) in
        [(Profile::Cp220, false, 0), (Profile::Cp222, false, 1), (Profile::Cp225, false, 1), (Profile::Cp225, true, 0)]
    {
        let api = Api::profile(profile).await;
        api.sim.configure(|config| config.list.hide_deleting = hide);
        let path = connected(&api, "a");
        assert_eq!(api.delete(&path).await.status, 202);
        assert_eq!(api.names("?includeRequestedForDelete=true").await.len(), shown, "{profile:?} {hide}");
        assert_eq!(api.get(&path).await.status, 200);
    }
}

#[tokio::test]
async fn knobs() {
    let api = Api::start(manual()).await;
    let nil = format!("/api/v1/clusters/{}", uuid::Uuid::nil());
    for unknown in [404, 204, 500] {
        api.sim.configure(|config| config.delete.unknown_id = unknown);
        assert_eq!(api.delete(&nil).await.status, unknown);
    }
    let path = connected(&api, "a");
    api.sim.configure(|config| {
        config.delete.get_during = 404;
        config.delete.get_after = GetAfter::Tombstone;
        config.delete.repeat = 409;
        config.names.reserved_while_deleting = false;
    });
    assert_eq!(api.delete(&path).await.status, 202);
    assert_eq!(api.get(&path).await.status, 404);
    assert_eq!(api.delete(&path).await.status, 409);
    api.create("a").await;
    later(&api, 21);
    let tombstone = api.get(&path).await;
    assert_eq!(tombstone.status, 200);
    assert!(tombstone.body["deletedAt"].is_string());
    api.sim.configure(|config| config.delete.null_version = 202);
    let path = api.create("never").await;
    assert_eq!(api.delete(&path).await.status, 202);
    api.sim.configure(|config| config.delete.disconnected_policy = DisconnectedPolicy::Complete);
    later(&api, 20);
    assert!(api.sim.cluster(uuid_of(&path)).unwrap().deleted_at.is_some());
}

#[tokio::test]
async fn stuck_slow_and_failing_deletions() {
    let api = Api::start(manual()).await;
    let uuid = |path: &str| uuid_of(path);
    let delete = |action| FaultRule::on(Operation::Delete, action).times(1);
    let (stuck, slow, failing) = (connected(&api, "stuck"), connected(&api, "slow"), connected(&api, "failing"));
    for (path, action) in [
        (&stuck, FaultAction::StuckDelete),
        (&slow, FaultAction::SlowDelete { factor: 3.0 }),
        (&failing, FaultAction::DeleteFailed { after_seconds: 10.0 }),
    ] {
        api.sim.add_fault(delete(action));
        assert_eq!(api.delete(path).await.status, 202);
    }
    later(&api, 59);
    assert!(api.sim.cluster(uuid(&slow)).unwrap().deleted_at.is_none());
    assert_eq!(api.get(&failing).await.body["status"]["state"], "ServiceIssues");
    later(&api, 1);
    assert!(api.sim.cluster(uuid(&slow)).unwrap().deleted_at.is_some());
    later(&api, 2000);
    for path in [&stuck, &failing] {
        let view = api.sim.cluster(uuid(path)).unwrap();
        assert!(view.delete_requested_at.is_some() && view.deleted_at.is_none());
    }
    assert_eq!(api.delete(&format!("{stuck}?force=true")).await.status, 204);
}
