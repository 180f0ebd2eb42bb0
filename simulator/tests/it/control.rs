//! The control API over HTTP.

use reqwest::Method;
use serde_json::{Value, json};

use crate::common::{Answer, Api, manual, read};

async fn control(api: &Api, method: Method, path: &str, body: Option<Value>) -> Answer {
    let mut request = api.client.request(method, format!("{}/__sim/{path}", api.sim.control_url()));
    if let Some(body) = body {
        request = request.json(&body);
    }
    read(request.send().await.unwrap()).await
}

#[tokio::test]
async fn the_public_port_has_no_control_paths() {
    let api = Api::with(|_| ()).await;
    assert_eq!(api.get("/__sim/state").await.status, 404);
    assert_ne!(api.sim.url(), api.sim.control_url());
}

#[tokio::test]
async fn configuration_and_clock() {
    let api = Api::start(manual()).await;
    let put = |body| control(&api, Method::PUT, "config", Some(body));
    assert_eq!(put(json!({"names": {"unique": "off"}, "latencyMs": 1})).await.status, 200);
    let config = control(&api, Method::GET, "config", None).await.body;
    assert_eq!(
        (config["names"]["unique"].as_str(), config["names"]["conflictStatus"].as_i64()),
        (Some("off"), Some(409))
    );
    for bad in [json!({"latenzy": 1}), json!({"profile": "cp-9"}), json!({"names": {"uniqe": "off"}})] {
        assert_eq!(put(bad.clone()).await.status, 400, "{bad}");
    }
    let before = api.sim.now();
    control(&api, Method::POST, "clock/advance", Some(json!({"seconds": 90}))).await;
    assert_eq!(api.sim.now().duration_since(before).as_secs(), 90);
    control(&api, Method::POST, "clock/skew", Some(json!({"seconds": -30}))).await;
    assert_eq!(api.sim.now().duration_since(before).as_secs(), 60);
    assert_eq!(control(&api, Method::GET, "clock", None).await.body["skewSeconds"], -30.0);
}

#[tokio::test]
async fn faults_journal_and_counters() {
    let api = Api::with(|_| ()).await;
    let rule = json!({
        "match": {"operation": "list", "method": "GET"},
        "action": {"type": "status", "code": 503, "phase": "pre"},
        "times": 1,
    });
    let id = control(&api, Method::POST, "faults", Some(rule)).await.body["id"].clone();
    assert_eq!(api.get("/api/v1/clusters").await.status, 503);
    assert_eq!(api.get("/api/v1/clusters").await.status, 200);
    let listed = control(&api, Method::GET, "faults", None).await.body;
    assert_eq!((listed[0]["fired"].as_i64(), &listed[0]["rule"]["id"]), (Some(1), &id));
    let journal = control(&api, Method::GET, "journal?since=1", None).await.body;
    assert_eq!(journal.as_array().unwrap().len(), 2);
    assert_eq!((&journal[0]["faults"][0], journal[0]["status"].as_i64()), (&id, Some(503)));
    assert_eq!(control(&api, Method::GET, "counters", None).await.body["tokenRequests"], 1);
    let one = format!("faults/{}", id.as_str().unwrap());
    assert_eq!(control(&api, Method::DELETE, &one, None).await.status, 204);
    assert_eq!(control(&api, Method::DELETE, &one, None).await.status, 404);
    assert_eq!(control(&api, Method::DELETE, "faults", None).await.status, 204);
    let misspelt = json!({"action": {"type": "status", "code": 503, "fase": "pre"}});
    assert_eq!(control(&api, Method::POST, "faults", Some(misspelt)).await.status, 422);
    let revoke = json!({"type": "tokenRevoke"});
    assert_eq!(control(&api, Method::POST, "apply", Some(revoke)).await.status, 204);
    assert_eq!(api.get("/api/v1/clusters").await.status, 401);
    assert_eq!(control(&api, Method::DELETE, "journal", None).await.status, 204);
    assert_eq!(control(&api, Method::GET, "journal", None).await.body, json!([]));
}

#[tokio::test]
async fn clusters_and_agents() {
    let api = Api::start(manual()).await;
    let seeded = control(&api, Method::POST, "clusters", Some(json!({"name": "foreign"}))).await;
    assert_eq!(seeded.status, 201);
    let uuid = seeded.body["uuid"].as_str().unwrap().to_owned();
    let many = control(&api, Method::POST, "clusters", Some(json!([{"name": "x"}, {"name": "y"}]))).await;
    assert_eq!(many.body["uuids"].as_array().unwrap().len(), 2);
    let path = format!("clusters/{uuid}");
    let path_agent = format!("{path}/agent");
    let run = async |body: Value| control(&api, Method::POST, &path_agent, Some(body)).await.status.as_u16();
    assert_eq!(run(json!({"action": "pause"})).await, 409);
    assert_eq!(run(json!({"action": "start"})).await, 204);
    assert_eq!(run(json!({"action": "operand", "name": "cluster-sync", "ready": false})).await, 204);
    let view = || control(&api, Method::GET, &path, None);
    assert_eq!(view().await.body["state"], "ServiceIssues");
    let patch = json!({"name": "renamed", "forceState": "Unknown"});
    assert_eq!(control(&api, Method::PATCH, &path, Some(patch)).await.status, 204);
    assert_eq!(
        (view().await.body["name"].as_str(), view().await.body["state"].as_str()),
        (Some("renamed"), Some("Unknown"))
    );
    assert!(api.names("").await.contains(&"renamed".to_owned()));
    assert_eq!(control(&api, Method::DELETE, &path, None).await.status, 204);
    assert_eq!(run(json!({"action": "start"})).await, 410, "a zombie agent");
    assert_eq!(control(&api, Method::DELETE, &path, None).await.status, 410);
    let nil = format!("clusters/{}", uuid::Uuid::nil());
    assert_eq!(control(&api, Method::GET, &nil, None).await.status, 404);
    assert_eq!(api.get(&format!("/api/v1/clusters/{uuid}")).await.status, 404);
}

#[tokio::test]
async fn snapshot_restore_reset() {
    let api = Api::start(manual()).await;
    let path = api.create("kept").await;
    api.sim.agent(crate::common::uuid_of(&path), runai_simulator::AgentCommand::start()).unwrap();
    let before = api.get(&path).await.body;
    let snapshot = control(&api, Method::POST, "snapshot", None).await.body;
    api.delete(&format!("{path}?force=true")).await;
    api.create("added").await;
    assert_eq!(control(&api, Method::POST, "restore", Some(snapshot)).await.status, 204);
    assert_eq!(api.get(&path).await.body, before);
    assert_eq!(api.names("").await, ["kept"]);
    assert_eq!(control(&api, Method::POST, "restore", Some(json!({"a": 1}))).await.status, 400);
    let state = control(&api, Method::GET, "state", None).await.body;
    assert_eq!((state["clusters"].as_array().unwrap().len(), state["url"].as_str()), (1, Some(api.sim.url())));
    assert_eq!(control(&api, Method::POST, "reset", None).await.status, 204);
    assert!(api.sim.clusters().is_empty() && api.sim.journal().is_empty());
    assert_eq!(api.get("/api/v1/clusters").await.status, 401, "tokens are forgotten too");
}
