//! Every fault: what the client sees, whether the change was committed, what the journal says.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use runai_simulator::{
    Access, Cut, EnumField, FaultAction, FaultMatch, FaultRule, Garbage, JournalEntry, Loss, Operation, Phase,
    ResetPhase, RetryAfter, SeedCluster, UniqueNames,
};
use serde_json::json;

use crate::common::{Answer, Api, manual, read, uuid_of};

const CLUSTERS: &str = "/api/v1/clusters";

/// The last entry, once its request is over.
async fn last(api: &Api) -> JournalEntry {
    let over = |sim: &runai_simulator::Simulator| sim.journal().last().is_some_and(|entry| entry.finished);
    assert!(api.sim.until(Duration::from_secs(5), over).await, "{:?}", api.sim.journal().last());
    api.sim.journal().pop().unwrap()
}

/// A create that fails on the wire; returns the client's error.
async fn lost_create(api: &Api, name: &str) -> reqwest::Error {
    let request = api.request(Method::POST, CLUSTERS).json(&json!({"name": name}));
    match request.send().await {
        Err(error) => error,
        Ok(response) => response.text().await.unwrap_err(),
    }
}

fn is_reset(error: &reqwest::Error) -> bool {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(inner) = source {
        if inner.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionReset) {
            return true;
        }
        source = inner.source();
    }
    false
}

#[tokio::test]
async fn resets_before_in_the_middle_and_after() {
    let api = Api::with(|_| ()).await;
    for (phase, committed, status) in
        [(ResetPhase::Pre, false, None), (ResetPhase::Mid, true, Some(201)), (ResetPhase::Post, true, None)]
    {
        let name = format!("{phase:?}");
        let rule = FaultRule::on(Operation::Create, FaultAction::Reset { phase }).times(1).named(&name);
        api.sim.add_fault(rule);
        let error = lost_create(&api, &name).await;
        assert!(is_reset(&error), "{phase:?}: {error:?}");
        assert_eq!(api.sim.clusters_named(&name).len(), usize::from(committed), "{phase:?}");
        let entry = last(&api).await;
        assert_eq!((entry.committed, entry.status, &entry.faults[..]), (committed, status, &[name.clone()][..]));
        assert_eq!(entry.body, Some(json!({"name": name})));
        // The budget is used up.
        assert_eq!(api.post(CLUSTERS, json!({"name": format!("{name}-again")})).await.status, 201);
    }
}

#[tokio::test]
async fn replaced_answers_before_and_after_the_commit() {
    let api = Api::with(|_| ()).await;
    let headers = BTreeMap::from([("X-Extra".to_owned(), "1".to_owned())]);
    let status = |phase| FaultAction::Status { code: 503, body: None, headers: headers.clone(), phase };
    let garbage = |variant, status| move |phase| FaultAction::Garbage { status, variant, phase };
    let throttle = |phase| FaultAction::Throttle { retry_after: RetryAfter::Seconds(7), status: 0, phase };
    let redirect = |phase| FaultAction::Redirect { location: "http://127.0.0.1:9/x".to_owned(), status: 0, phase };
    type Check = fn(&Answer) -> bool;
    type Make<'a> = Box<dyn Fn(Phase) -> FaultAction + 'a>;
    let cases: Vec<(Make<'_>, u16, Check)> = vec![
        (Box::new(status), 503, |answer| answer.headers["x-extra"] == "1" && answer.body["code"] == 503),
        (Box::new(garbage(Garbage::Html, 502)), 502, |answer| answer.text.starts_with("<html>")),
        (Box::new(garbage(Garbage::Html, 200)), 200, |answer| answer.headers["content-type"] == "text/html"),
        (Box::new(garbage(Garbage::Empty, 200)), 200, |answer| answer.text.is_empty()),
        (Box::new(garbage(Garbage::EmptyArray, 200)), 200, |answer| answer.text == "[]"),
        (Box::new(garbage(Garbage::EmptyObject, 201)), 201, |answer| answer.text == "{}"),
        (Box::new(garbage(Garbage::Null, 201)), 201, |answer| answer.text == "null"),
        (Box::new(throttle), 429, |answer| answer.headers["retry-after"] == "7"),
        (Box::new(redirect), 307, |answer| answer.headers["location"] == "http://127.0.0.1:9/x"),
    ];
    for (index, (action, code, check)) in cases.into_iter().enumerate() {
        for phase in [Phase::Pre, Phase::Post] {
            let name = format!("{index}-{phase:?}");
            let id = api.sim.add_fault(FaultRule::on(Operation::Create, action(phase)).times(1));
            let answer = api.post(CLUSTERS, json!({"name": name})).await;
            assert_eq!(answer.status, code, "{name}");
            assert!(check(&answer), "{name}: {answer:?}");
            assert!(answer.headers.contains_key("date"));
            let committed = phase == Phase::Post;
            assert_eq!(api.sim.clusters_named(&name).len(), usize::from(committed), "{name}");
            let entry = last(&api).await;
            assert_eq!((entry.committed, entry.status, entry.faults), (committed, Some(code), vec![id]), "{name}");
        }
    }
}

#[tokio::test]
async fn error_bodies_can_be_anything() {
    let api = Api::with(|_| ()).await;
    for (body, text, kind) in [
        (json!("plain words"), "plain words", "text/plain"),
        (json!({"message": "m", "n": 1}), r#"{"message":"m","n":1}"#, "application/json"),
    ] {
        let action = FaultAction::Status { code: 500, body: Some(body), headers: BTreeMap::new(), phase: Phase::Pre };
        api.sim.add_fault(FaultRule::on(Operation::List, action).times(1));
        let answer = api.get(CLUSTERS).await;
        assert_eq!((answer.text.as_str(), answer.headers["content-type"].to_str().unwrap()), (text, kind));
    }
}

#[tokio::test]
async fn retry_after_as_a_date_is_ahead_of_the_virtual_clock() {
    let mut config = manual();
    config.clock_start = Some("2030-01-01T00:00:00Z".parse().unwrap());
    let api = Api::start(config).await;
    let date = FaultAction::Throttle { retry_after: RetryAfter::Date(60), status: 503, phase: Phase::Pre };
    api.sim.add_fault(FaultRule::on(Operation::List, date).times(1));
    let answer = api.get(CLUSTERS).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["retry-after"]),
        (503, &"Tue, 01 Jan 2030 00:01:00 GMT".parse().unwrap())
    );
    let none = FaultAction::Throttle { retry_after: RetryAfter::None, status: 0, phase: Phase::Pre };
    api.sim.add_fault(FaultRule::on(Operation::List, none).times(1));
    assert!(!api.get(CLUSTERS).await.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn truncated_replies() {
    let api = Api::with(|_| ()).await;
    let truncate = |cut| FaultRule::on(Operation::Create, FaultAction::Truncate { cut }).times(1);
    api.sim.add_fault(truncate(Cut::Json));
    let answer = api.post(CLUSTERS, json!({"name": "a"})).await;
    assert_eq!(answer.status, 201);
    assert!(answer.text.starts_with(r#"{"uuid":"#) && answer.body.is_null());
    api.sim.add_fault(truncate(Cut::Length));
    let response = api.request(Method::POST, CLUSTERS).json(&json!({"name": "b"})).send().await.unwrap();
    assert_eq!(response.status(), 201);
    let error = response.text().await.unwrap_err();
    assert!(!is_reset(&error), "an orderly close: {error:?}");
    assert_eq!(api.names("").await, ["a", "b"]);
}

#[tokio::test]
async fn hanging_and_latency() {
    let api = Api::with(|_| ()).await;
    for (phase, committed) in [(Phase::Pre, 0), (Phase::Post, 1)] {
        let name = format!("{phase:?}");
        api.sim.add_fault(FaultRule::on(Operation::Create, FaultAction::Hang { seconds: 30.0, phase }).times(1));
        let request = api.request(Method::POST, CLUSTERS).json(&json!({"name": name}));
        let error = request.timeout(Duration::from_millis(300)).send().await.unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        assert_eq!(api.sim.clusters_named(&name).len(), committed, "{phase:?}");
        let entry = last(&api).await;
        assert_eq!((entry.status, entry.committed), (None, committed == 1), "the client left");
    }
    let latency = FaultAction::Latency { ms: 150, max_ms: 200, phase: Phase::Post };
    api.sim.add_fault(FaultRule::on(Operation::List, latency).times(1));
    api.get(CLUSTERS).await;
    assert!(last(&api).await.duration_ms >= 150);
    api.sim.configure(|config| config.latency_ms = 60);
    api.get(CLUSTERS).await;
    assert!(last(&api).await.duration_ms >= 60);
    assert_eq!(api.sim.counters().concurrent, 0);
}

#[tokio::test]
async fn a_late_commit_comes_after_the_client_gave_up() {
    let api = Api::start(manual()).await;
    let late = |loss| FaultAction::LateCommit { seconds: 30.0, loss };
    api.sim.add_fault(FaultRule::on(Operation::Create, late(Loss::Reset)).times(1));
    assert!(is_reset(&lost_create(&api, "late").await));
    let entry = last(&api).await;
    assert_eq!((entry.committed, api.sim.pending_commits()), (false, 1));
    assert_eq!(api.names("").await, Vec::<String>::new());
    let request = api.request(Method::POST, CLUSTERS).json(&json!({"name": "hang"}));
    api.sim.add_fault(FaultRule::on(Operation::Create, late(Loss::Hang)).times(1));
    assert!(request.timeout(Duration::from_millis(200)).send().await.unwrap_err().is_timeout());
    api.sim.advance(Duration::from_secs(29));
    assert_eq!(api.names("").await, Vec::<String>::new());
    api.sim.advance(Duration::from_secs(1));
    assert_eq!(api.names("").await, ["late", "hang"]);
    let late = api.sim.journal().into_iter().find(|one| one.seq == entry.seq).unwrap();
    let created = api.sim.clusters_named("late").remove(0);
    assert_eq!(
        (late.committed, late.committed_at, late.committed_uuids),
        (true, Some(created.created_at), vec![created.uuid])
    );
    // With unique names, a retry before the late commit wins and the late one comes to nothing.
    api.sim.add_fault(
        FaultRule::on(Operation::Create, FaultAction::LateCommit { seconds: 5.0, loss: Loss::Reset }).times(1),
    );
    lost_create(&api, "twice").await;
    api.create("twice").await;
    api.sim.advance(Duration::from_secs(5));
    assert_eq!((api.sim.clusters_named("twice").len(), api.sim.pending_commits()), (1, 0));
}

#[tokio::test]
async fn duplicates_need_names_that_are_not_unique() {
    let api = Api::with(|_| ()).await;
    api.sim.add_fault(FaultRule::on(Operation::Create, FaultAction::Duplicate));
    api.create("once").await;
    api.sim.set_unique_names(UniqueNames::Off);
    api.create("twice").await;
    assert_eq!((api.sim.clusters_named("once").len(), api.sim.clusters_named("twice").len()), (1, 2));
    assert_eq!(last(&api).await.committed_uuids.len(), 2);
}

#[tokio::test]
async fn stale_reads_show_the_past() {
    let api = Api::start(manual()).await;
    let old = api.create("old").await;
    api.sim.advance(Duration::from_secs(10));
    api.put(&old, json!({"name": "renamed"})).await;
    let new = api.create("new").await;
    api.delete(&format!("{old}?force=true")).await;
    assert_eq!(api.names("").await, ["new"]);
    api.sim.add_fault(FaultRule::new(FaultAction::Stale { seconds: 5.0 }));
    assert_eq!(api.names("").await, ["old"]);
    assert_eq!(api.get(&old).await.body["name"], "old");
    assert_eq!(api.get(&new).await.status, 404);
    api.sim.advance(Duration::from_secs(6));
    assert_eq!(api.names("").await, ["new"]);
    assert_eq!(api.get(&old).await.status, 404);
}

#[tokio::test]
async fn unknown_values_and_wrong_ids() {
    let api = Api::with(|_| ()).await;
    let uuid = api.sim.seed(SeedCluster::named("a").connected()).unwrap();
    let path = format!("{CLUSTERS}/{uuid}");
    let unknown = |field| FaultAction::UnknownEnum { field, value: "Brandnew".to_owned() };
    api.sim.add_fault(FaultRule::new(unknown(EnumField::State)).named("state"));
    assert_eq!(api.get(&path).await.body["status"]["state"], "Brandnew");
    assert_eq!(api.get(CLUSTERS).await.body[0]["status"]["state"], "Brandnew");
    assert_eq!(api.get("/api/v1/clusters/minimal").await.body["clusters"][0]["state"], "Brandnew");
    assert!(api.sim.remove_fault("state"));
    api.sim.add_fault(FaultRule::on(Operation::Get, unknown(EnumField::PlatformType)).times(1));
    assert_eq!(api.get(&path).await.body["status"]["platform"]["type"], "Brandnew");
    let other = uuid::Uuid::from_u128(9);
    api.sim.add_fault(FaultRule::on(Operation::Create, FaultAction::WrongUuid { uuid: Some(other) }).times(1));
    let answer = api.post(CLUSTERS, json!({"name": "b"})).await;
    assert_eq!(answer.body["uuid"], other.to_string());
    assert!(api.sim.cluster(other).is_none());
}

#[tokio::test]
async fn faults_of_identity() {
    let mut api = Api::start(manual()).await;
    let path = api.create("a").await;
    let revoke = |phase| FaultRule::on(Operation::Get, FaultAction::TokenRevoke { identity: None, phase }).times(1);
    api.sim.add_fault(revoke(Phase::Pre));
    assert_eq!(api.get(&path).await.status, 401);
    api.log_in().await;
    api.sim.add_fault(revoke(Phase::Post));
    assert_eq!(api.get(&path).await.status, 200);
    assert_eq!(api.get(&path).await.status, 401);
    api.sim.add_fault(FaultRule::on(Operation::Token, FaultAction::TokenShort { ttl_seconds: 30 }).times(1));
    api.log_in().await;
    api.sim.advance(Duration::from_secs(29));
    assert_eq!(api.get(&path).await.status, 200);
    api.sim.advance(Duration::from_secs(1));
    assert_eq!(api.get(&path).await.status, 401);
    api.log_in().await;
    let loss = FaultAction::PermissionLoss { identity: None, actions: vec![Access::Delete] };
    api.sim.add_fault(FaultRule::on(Operation::Delete, loss).times(1));
    assert_eq!(api.delete(&path).await.status, 403);
    assert_eq!(api.delete(&path).await.status, 403, "from now on");
    let swap = FaultAction::SwapTenant { identity: None, tenant_id: 5, old_tokens: runai_simulator::OldTokens::Move };
    api.sim.add_fault(FaultRule::on(Operation::Get, swap).times(1));
    assert_eq!(api.get(&path).await.status, 404);
    assert_eq!(last(&api).await.tenant_id, Some(5));
}

#[tokio::test]
async fn agents_and_clocks_can_be_disturbed() {
    let api = Api::start(manual()).await;
    let uuid = api.sim.seed(SeedCluster::named("a").connected()).unwrap();
    let state = || api.sim.cluster(uuid).unwrap().state;
    api.sim.apply(&FaultAction::AgentFlap { uuid: None, period_seconds: 300.0 });
    let mut seen = Vec::new();
    for _ in 0..6 {
        api.sim.advance(Duration::from_secs(150));
        seen.push(state());
    }
    assert!(seen.contains(&"Connected".to_owned()) && seen.contains(&"Disconnected".to_owned()), "{seen:?}");
    api.sim.apply(&FaultAction::AgentFlap { uuid: Some(uuid), period_seconds: 0.0 });
    assert_eq!(state(), "Connected");
    let pause = FaultAction::AgentPause { uuid: None };
    api.sim.add_fault(FaultRule::on(Operation::Get, pause).times(1));
    api.get(&format!("{CLUSTERS}/{uuid}")).await;
    api.sim.advance(Duration::from_secs(151));
    assert_eq!(state(), "Disconnected");
    let before = api.sim.now();
    api.sim.add_fault(FaultRule::on(Operation::List, FaultAction::ClockSkew { seconds: -90.0 }).times(1));
    api.get(CLUSTERS).await;
    assert_eq!(before.duration_since(api.sim.now()).as_secs(), 90);
}

#[tokio::test]
async fn rules_match_skip_end_and_draw() {
    let api = Api::start(manual()).await;
    let path = api.create("victim").await;
    api.create("bystander").await;
    let busy = || FaultAction::Status { code: 503, body: None, headers: BTreeMap::new(), phase: Phase::Pre };
    let rule = |matches| FaultRule { matches, ..FaultRule::new(busy()) };
    let status = |method: Method, path: String| {
        let request = api.request(method, &path).header("x-mark", "yes").json(&json!({"name": "victim"}));
        async { request.send().await.unwrap().status().as_u16() }
    };
    let any = FaultMatch::default;
    for (matches, hit, missed) in [
        (
            FaultMatch { method: Some("get".to_owned()), ..any() },
            (Method::GET, path.clone()),
            (Method::PUT, path.clone()),
        ),
        (
            FaultMatch { route: Some("/api/v1/clusters/{clusterUuid}".to_owned()), ..any() },
            (Method::GET, path.clone()),
            (Method::GET, CLUSTERS.to_owned()),
        ),
        (
            FaultMatch { uuid: Some(uuid_of(&path)), ..any() },
            (Method::GET, path.clone()),
            (Method::GET, CLUSTERS.to_owned()),
        ),
        (
            FaultMatch { name: Some("victim".to_owned()), ..any() },
            (Method::GET, path.clone()),
            (Method::GET, CLUSTERS.to_owned()),
        ),
        (
            FaultMatch { query_contains: Some("force".to_owned()), ..any() },
            (Method::GET, format!("{path}?force")),
            (Method::GET, path.clone()),
        ),
    ] {
        let id = api.sim.add_fault(rule(matches.clone()));
        assert_eq!(status(hit.0, hit.1).await, 503, "{matches:?}");
        assert_ne!(status(missed.0, missed.1).await, 503, "{matches:?}");
        assert!(api.sim.remove_fault(&id));
    }
    let marked = FaultMatch { headers: BTreeMap::from([("X-Mark".to_owned(), "no".to_owned())]), ..any() };
    let stranger = FaultMatch { identity: Some("stranger".to_owned()), ..any() };
    for matches in [marked, stranger] {
        api.sim.add_fault(rule(matches));
        assert_eq!(status(Method::GET, path.clone()).await, 200);
        api.sim.clear_faults();
    }
}

#[tokio::test]
async fn rules_skip_end_and_draw() {
    let api = Api::start(manual()).await;
    let busy = || FaultAction::Status { code: 503, body: None, headers: BTreeMap::new(), phase: Phase::Pre };
    let status = || async { api.get(CLUSTERS).await.status.as_u16() };
    api.sim.add_fault(FaultRule { skip: 1, ..FaultRule::new(busy()).times(1) });
    assert_eq!([status().await, status().await, status().await], [200, 503, 200], "the second call");
    api.sim.add_fault(FaultRule { until: Some(api.sim.now()), ..FaultRule::new(busy()) });
    assert_eq!(status().await, 200);
    api.sim.clear_faults();
    api.sim.add_fault(FaultRule { probability: Some(0.5), ..FaultRule::new(busy()) });
    for _ in 0..60 {
        status().await;
    }
    let (_, fired) = api.sim.faults().remove(0);
    assert!((10..50).contains(&fired), "{fired} of 60 with a chance of one half");
}

#[tokio::test]
async fn the_journal_tells_everything_but_secrets() {
    let api = Api::with(|_| ()).await;
    let seq = api.sim.last_seq();
    let body = json!({"name": "a", "domain": "h", "clientSecret": "canary", "note": "canary"});
    let request = api.request(Method::POST, CLUSTERS).header("user-agent", "tester/1").json(&body);
    let answer = read(request.send().await.unwrap()).await;
    let form = "grant_type=client_credentials&client_id=operator&client_secret=canary";
    api.client.post(api.at("/api/v2/token")).body(form).send().await.unwrap();
    let entries = api.sim.journal_since(seq);
    let [create, token] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(
        (create.method.as_str(), create.route.as_str(), create.operation),
        ("POST", CLUSTERS, Some(Operation::Create))
    );
    assert_eq!((create.status, create.committed, create.identity.as_deref()), (Some(201), true, Some("operator")));
    assert_eq!((create.user_agent.as_deref(), create.tenant_id), (Some("tester/1"), Some(1001)));
    assert_eq!(create.response_bytes, answer.text.len() as u64);
    assert_eq!(create.body, Some(json!({"name": "a", "domain": "h"})));
    assert_eq!((token.identity.as_deref(), token.status), (Some("operator"), Some(401)));
    let everything = serde_json::to_string(&api.sim.journal()).unwrap();
    for secret in ["canary", "operator-secret", &api.token] {
        assert!(!everything.contains(secret), "{secret}");
    }
    let counters = api.sim.counters();
    assert_eq!((counters.token_requests, counters.requests), (2, 3));
    api.sim.configure(|config| config.journal_capacity = 2);
    api.get(CLUSTERS).await;
    assert_eq!(api.sim.journal().len(), 2);
    api.sim.clear_journal();
    assert_eq!((api.sim.journal().len(), api.sim.counters().requests), (0, 0));
}
