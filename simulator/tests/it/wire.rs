//! Redirects, replies about another cluster, and every fault by its JSON name.

use reqwest::{Client, Method};
use runai_simulator::{Config, FaultAction, FaultRule, Operation, Phase, SeedCluster, Simulator};
use serde_json::{Value, json};

use crate::common::{Api, manual, read};

const CLUSTERS: &str = "/api/v1/clusters";

fn redirect(status: u16, location: &str, phase: Phase) -> FaultAction {
    FaultAction::Redirect { location: location.to_owned(), status, phase }
}

/// Operation, status and whether the bearer was known, of each entry after `seq`.
fn trail(sim: &Simulator, seq: u64) -> Vec<(Option<Operation>, Option<u16>, bool)> {
    let short = |entry: runai_simulator::JournalEntry| (entry.operation, entry.status, entry.identity.is_some());
    sim.journal_since(seq).into_iter().map(short).collect()
}

#[tokio::test]
async fn a_redirect_does_nothing_by_itself() {
    let api = Api::with(|_| ()).await;
    for status in [301, 302, 307, 308] {
        for location in ["/api/v1/clusters", "http://127.0.0.1:9/elsewhere", "https://login.example.com/?next=%2F"] {
            for (phase, committed) in [(Phase::Pre, 0), (Phase::Post, 1)] {
                let name = format!("{status} {phase:?} {}", location.len());
                api.sim.add_fault(FaultRule::on(Operation::Create, redirect(status, location, phase)).times(1));
                let answer = api.post(CLUSTERS, json!({"name": name})).await;
                assert_eq!((answer.status.as_u16(), &answer.headers["location"]), (status, &location.parse().unwrap()));
                assert!(answer.text.is_empty());
                assert_eq!(api.sim.clusters_named(&name).len(), committed, "{name}");
            }
        }
    }
}

/// What becomes of a client that follows: the reason why the operator does not.
#[tokio::test]
async fn who_follows_a_redirect_sends_again_or_asks_something_else() {
    let api = Api::with(|_| ()).await;
    let other = Simulator::start(Config::default()).unwrap();
    let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let post = async |name: &str| {
        let request = client.post(api.at(CLUSTERS)).bearer_auth(&api.token).json(&json!({"name": name}));
        read(request.send().await.unwrap()).await.status.as_u16()
    };
    for (status, followed) in
        [(301, Operation::List), (302, Operation::List), (307, Operation::Create), (308, Operation::Create)]
    {
        let answer = if followed == Operation::Create { 201 } else { 200 };
        for (index, location) in [CLUSTERS.to_owned(), api.at(CLUSTERS)].iter().enumerate() {
            let (name, seq) = (format!("{status}-{index}"), api.sim.last_seq());
            api.sim.add_fault(FaultRule::on(Operation::Create, redirect(status, location, Phase::Pre)).times(1));
            assert_eq!(post(&name).await, answer);
            let expected = [(Some(Operation::Create), Some(status), true), (Some(followed), Some(answer), true)];
            assert_eq!(trail(&api.sim, seq), expected);
            assert_eq!(api.sim.clusters_named(&name).len(), usize::from(followed == Operation::Create));
        }
        // Another host is asked the same, but this client keeps its token to itself.
        let seq = other.last_seq();
        let elsewhere = format!("{}{CLUSTERS}", other.url());
        api.sim.add_fault(FaultRule::on(Operation::Create, redirect(status, &elsewhere, Phase::Pre)).times(1));
        assert_eq!(post("elsewhere").await, 401);
        assert_eq!(trail(&other, seq), [(Some(followed), Some(401), false)]);
    }
    assert!(other.clusters().is_empty() && api.sim.clusters_named("elsewhere").is_empty());
}

#[tokio::test]
async fn a_reply_may_be_about_another_cluster() {
    let api = Api::with(|_| ()).await;
    let uuid = api.sim.seed(SeedCluster::named("a").connected()).unwrap();
    let (path, other) = (format!("{CLUSTERS}/{uuid}"), uuid::Uuid::from_u128(9));
    let wrong = |uuid| FaultRule::new(FaultAction::WrongUuid { uuid }).times(1);
    for (path, pointer) in [
        (path.clone(), "/uuid"),
        (CLUSTERS.to_owned(), "/0/uuid"),
        (format!("{CLUSTERS}/minimal"), "/clusters/0/uuid"),
        (format!("{path}/minimal"), "/uuid"),
    ] {
        api.sim.add_fault(wrong(Some(other)));
        let shown = async |path: &str| api.get(path).await.body.pointer(pointer).unwrap().clone();
        assert_eq!(shown(&path).await, other.to_string(), "{path}");
        api.sim.add_fault(wrong(None));
        let drawn = shown(&path).await;
        assert!(drawn.is_string() && drawn != other.to_string() && drawn != uuid.to_string(), "{path}: {drawn}");
        assert_eq!(shown(&path).await, uuid.to_string(), "only as often as asked for");
    }
    // Replies without a uuid stay as they are, errors too.
    api.sim.add_fault(FaultRule::new(FaultAction::WrongUuid { uuid: Some(other) }));
    assert_eq!(api.get(&format!("{CLUSTERS}/{other}")).await.status, 404);
    assert_eq!(api.put(&path, json!({"name": "b"})).await.status, 204);
    assert_eq!((api.sim.cluster(uuid).unwrap().name.as_str(), api.sim.cluster(other)), ("b", None));
}

/// A rule by its JSON name, and the request that it fires for.
fn rules() -> Vec<(Value, Operation)> {
    let rule = |operation: &str, action: Value, on: Operation| {
        (json!({"match": {"operation": operation}, "action": action, "times": 1}), on)
    };
    let get = |action| rule("get", action, Operation::Get);
    let create = |action| rule("create", action, Operation::Create);
    let delete = |action| rule("delete", action, Operation::Delete);
    vec![
        get(json!({"type": "status", "code": 500, "body": {"a": 1}, "headers": {"x-a": "b"}, "phase": "post"})),
        get(json!({"type": "reset"})),
        create(json!({"type": "reset", "phase": "mid"})),
        create(json!({"type": "reset", "phase": "post"})),
        get(json!({"type": "hang", "seconds": 0.01})),
        get(json!({"type": "hang", "seconds": 0.01, "phase": "post"})),
        get(json!({"type": "latency", "ms": 1, "maxMs": 2})),
        get(json!({"type": "garbage", "status": 502})),
        get(json!({"type": "garbage", "status": 200, "variant": "emptyArray"})),
        get(json!({"type": "truncate"})),
        get(json!({"type": "truncate", "cut": "length"})),
        get(json!({"type": "throttle"})),
        get(json!({"type": "throttle", "retryAfter": {"seconds": 1}})),
        get(json!({"type": "throttle", "retryAfter": {"date": 1}, "status": 503})),
        get(json!({"type": "redirect", "location": "/", "status": 308})),
        create(json!({"type": "lateCommit", "seconds": 1})),
        create(json!({"type": "lateCommit", "seconds": 1, "loss": "hang"})),
        rule("token", json!({"type": "tokenShort", "ttlSeconds": 5}), Operation::Token),
        get(json!({"type": "unknownEnum", "field": "state", "value": "New"})),
        get(json!({"type": "unknownEnum", "field": "platformType", "value": "new"})),
        get(json!({"type": "wrongUuid"})),
        get(json!({"type": "stale", "seconds": 5})),
        create(json!({"type": "duplicate"})),
        delete(json!({"type": "stuckDelete"})),
        delete(json!({"type": "slowDelete", "factor": 2})),
        delete(json!({"type": "deleteFailed", "afterSeconds": 1})),
        get(json!({"type": "agentPause"})),
        get(json!({"type": "agentFlap", "periodSeconds": 60})),
        get(json!({"type": "tlsRotate", "newCa": true})),
        get(json!({"type": "permissionLoss", "identity": "nobody", "actions": ["read", "create", "update", "delete"]})),
        get(json!({"type": "swapTenant", "identity": "nobody", "tenantId": 7, "oldTokens": "keep"})),
        get(json!({"type": "clockSkew", "seconds": 1})),
        get(json!({"type": "tokenRevoke", "identity": "operator", "phase": "post"})),
    ]
}

#[tokio::test]
async fn every_fault_has_a_name_and_is_journaled() {
    let mut api = Api::start(manual()).await;
    for (rule, operation) in rules() {
        api.log_in().await;
        let uuid = api.sim.seed(SeedCluster { version: Some("2.24".to_owned()), ..SeedCluster::named("a") }).unwrap();
        let added = api.client.post(format!("{}/__sim/faults", api.sim.control_url())).json(&rule);
        let added = read(added.send().await.unwrap()).await;
        assert_eq!(added.status, 201, "{rule}: {}", added.text);
        let seq = api.sim.last_seq();
        let path = format!("{CLUSTERS}/{uuid}");
        let request = match operation {
            Operation::Create => api.request(Method::POST, CLUSTERS).json(&json!({"name": format!("n{seq}")})),
            Operation::Delete => api.request(Method::DELETE, &path),
            Operation::Token => api.client.post(api.at("/api/v1/token")).json(&json!({})),
            _ => api.request(Method::GET, &path),
        };
        // Whatever comes back, an error included: what it does is the matter of other tests.
        let _ = request.timeout(std::time::Duration::from_millis(300)).send().await;
        let entry = api.sim.journal_since(seq).remove(0);
        assert_eq!(
            (entry.operation, &entry.faults[..]),
            (Some(operation), &[added.body["id"].as_str().unwrap().to_owned()][..])
        );
    }
}
