//! Rules that cut across endpoints: order of checks, profiles, secrets, changes while running, determinism.

use std::time::Duration;

use reqwest::Method;
use runai_simulator::{
    Access, AgentCommand, ClockMode, Config, FaultAction, FaultRule, Listen, NullStyle, Operation, OtherGrant, Phase,
    Profile, RecordPatch, SeedCluster, ServerCertificate, Simulator, SimulatorError, TlsConfig,
};
use serde_json::{Value, json};

use crate::common::{Api, manual, read, uuid_of};

const CLUSTERS: &str = "/api/v1/clusters";

#[tokio::test]
async fn each_check_comes_before_the_next() {
    let api = Api::start(manual()).await;
    api.create("a").await;
    let unknown = format!("{CLUSTERS}/{}", uuid::Uuid::nil());
    let status = async |method: Method, path: &str| api.call(method, path, None).await.status.as_u16();
    // Path, token, rate, faults, id, right, existence, parameters: all wrong, then one less wrong at a time.
    let bad = format!("{CLUSTERS}/not-a-uuid?verbosity=x");
    let busy = FaultAction::Status { code: 503, body: None, headers: Default::default(), phase: Phase::Pre };
    api.sim.configure(|config| (config.limits.rps, config.limits.burst) = (1e-6, 1.0));
    assert_eq!(status(Method::GET, CLUSTERS).await, 200, "the only permit");
    api.sim.add_fault(FaultRule::new(busy).named("busy"));
    api.sim.apply(&FaultAction::PermissionLoss { identity: None, actions: Access::all() });
    assert_eq!(status(Method::PATCH, &bad).await, 405);
    assert_eq!(api.client.get(api.at(&bad)).send().await.unwrap().status(), 401);
    assert_eq!(status(Method::GET, &bad).await, 429);
    api.sim.configure(|config| config.limits.rps = 0.0);
    assert_eq!(status(Method::GET, &bad).await, 503);
    api.sim.clear_faults();
    assert_eq!(status(Method::GET, &bad).await, 400);
    assert_eq!(status(Method::GET, &format!("{unknown}?verbosity=x")).await, 403);
    api.sim.apply(&FaultAction::PermissionLoss { identity: None, actions: Vec::new() });
    for (method, path) in [
        (Method::GET, format!("{unknown}?verbosity=x")),
        (Method::DELETE, format!("{unknown}?force=x")),
        (Method::PUT, unknown.clone()),
        (Method::GET, format!("{unknown}/cluster-install-info")),
        (Method::GET, format!("{unknown}/metrics")),
    ] {
        assert_eq!(status(method, &path).await, 404, "{path}");
    }
    let overridden = api.request(Method::POST, CLUSTERS).header("x-http-method-override", "DELETE");
    assert_eq!(overridden.json(&json!({"name": "b"})).send().await.unwrap().status(), 201, "no such header");
}

/// What a client can tell a profile by.
#[derive(Debug, PartialEq)]
struct Seen {
    credentials: bool,
    expires_in: bool,
    token_v2: bool,
    /// Status of `force=nonsense` and of a plain DELETE of a connected cluster.
    deletes: (u16, u16),
    /// Status of `includeRequestedForDelete=nonsense`.
    include: u16,
    requested_at: bool,
    minimal: bool,
    long_names: bool,
    metrics: Vec<&'static str>,
    grouped: bool,
    subdomain: bool,
    ingress_class: bool,
    bootstrap: bool,
    repository: &'static str,
}

const JFROG: &str = "https://runai.jfrog.io/artifactory/api/helm/run-ai-charts";
const NGC: &str = "https://helm.ngc.nvidia.com/nvidia/runai-oss";

/// What belongs to 2.25; the others say how they differ.
fn newest() -> Seen {
    Seen {
        credentials: true,
        expires_in: true,
        token_v2: true,
        deletes: (400, 202),
        include: 400,
        requested_at: true,
        minimal: true,
        long_names: false,
        metrics: vec!["TOTAL_GPU", "UNALLOCATED_GPU", "WORKLOADS_COUNT"],
        grouped: true,
        subdomain: true,
        ingress_class: true,
        bootstrap: false,
        repository: JFROG,
    }
}

async fn look(profile: Profile) -> Seen {
    let mut config = Config::for_profile(profile);
    config.null_style = NullStyle::Null;
    let api = Api::start(config).await;
    let seed = |name: &str| {
        let seed = SeedCluster { version: Some("2.24.1".to_owned()), ..SeedCluster::named(name).connected() };
        format!("{CLUSTERS}/{}", api.sim.seed(seed).unwrap())
    };
    let (one, two) = (seed("one"), seed("two"));
    let status = async |path: &str| api.get(path).await.status.as_u16();
    let body = json!({"grantType": "client_credentials", "clientID": "operator", "clientSecret": "operator-secret"});
    let form = "grant_type=client_credentials&client_id=operator&client_secret=operator-secret";
    let app = json!({"grantType": "app_token", "appID": "operator", "appSecret": "operator-secret"});
    let full = api.get(&one).await.body;
    let info = api.get(&format!("{one}/cluster-install-info?version=2.20")).await.body;
    let (end, start) = (api.sim.now(), api.sim.now() - jiff::SignedDuration::from_mins(5));
    let metric = async |query: &str| status(&format!("{one}/metrics?start={start}&end={end}&{query}")).await;
    let mut metrics = Vec::new();
    for kind in ["TOTAL_GPU", "UNALLOCATED_GPU", "WORKLOADS_COUNT"] {
        if metric(&format!("metricType={kind}")).await == 200 {
            metrics.push(kind);
        }
    }
    let grouped = metric("metricType=ALLOCATED_GPU&groupBy=Nodepool").await == 200;
    Seen {
        credentials: api.post("/api/v1/token", body).await.status == 200,
        expires_in: api.post("/api/v1/token", app).await.body.get("expiresIn").is_some(),
        token_v2: api.client.post(api.at("/api/v2/token")).body(form).send().await.unwrap().status() == 200,
        deletes: (
            api.delete(&format!("{one}?force=nonsense")).await.status.as_u16(),
            api.delete(&two).await.status.as_u16(),
        ),
        include: status(&format!("{CLUSTERS}?includeRequestedForDelete=nonsense")).await,
        requested_at: full.get("deleteRequestedAt").is_some(),
        minimal: status(&format!("{CLUSTERS}/minimal")).await == 200,
        long_names: api.post(CLUSTERS, json!({"name": "x".repeat(254)})).await.status == 201,
        metrics,
        grouped,
        subdomain: full["status"]["config"].get("subdomainEnabled").is_some(),
        ingress_class: full["status"]["config"].get("ingressClass").is_some(),
        bootstrap: info.get("bootstrapToken").is_some() && info.get("clientSecret").is_none(),
        repository: if info["chartRepoURL"] == NGC { NGC } else { JFROG },
    }
}

#[tokio::test]
async fn what_sets_the_profiles_apart() {
    let v224 = || Seen { minimal: false, long_names: true, ..newest() };
    let v222 = || Seen {
        expires_in: false,
        token_v2: false,
        metrics: vec!["TOTAL_GPU", "UNALLOCATED_GPU"],
        grouped: false,
        ingress_class: false,
        ..v224()
    };
    let v220 = || Seen { include: 200, ..v222() };
    let v218 = Seen {
        credentials: false,
        deletes: (204, 204),
        requested_at: false,
        metrics: vec!["TOTAL_GPU"],
        subdomain: false,
        ..v220()
    };
    for (profile, expected) in [
        (Profile::Cp218, v218),
        (Profile::Cp220, v220()),
        (Profile::Cp222, v222()),
        (Profile::Cp224, v224()),
        (Profile::Cp225, newest()),
        (Profile::Cp30, Seen { bootstrap: true, repository: NGC, ..newest() }),
        (Profile::StrictDoc, Seen { deletes: (500, 202), include: 500, ..newest() }),
    ] {
        assert_eq!(look(profile).await, expected, "{profile:?}");
    }
}

#[tokio::test]
async fn strict_doc_maps_what_is_not_listed() {
    let api = Api::profile(Profile::StrictDoc).await;
    let path = api.create_with(json!({"name": "a", "version": "2.25"})).await;
    api.create("b").await;
    let unknown = format!("{CLUSTERS}/{}", uuid::Uuid::nil());
    let name = |name: &str| Some(json!({"name": name}));
    for (method, path, body, status) in [
        (Method::POST, CLUSTERS, name("a"), 500),
        (Method::POST, CLUSTERS, name(""), 500),
        (Method::PUT, &unknown, name("c"), 400),
        (Method::PUT, &path, name("b"), 400),
        (Method::DELETE, &unknown, None, 500),
        (Method::GET, &unknown, None, 404),
        (Method::GET, &format!("{path}/cluster-install-info?version=x"), None, 404),
    ] {
        assert_eq!(api.call(method.clone(), path, body).await.status, status, "{method} {path}");
    }
    api.sim.configure(|config| (config.limits.rps, config.limits.burst) = (0.5, 1.0));
    api.get(CLUSTERS).await;
    let refused = api.get(CLUSTERS).await;
    assert_eq!((refused.status.as_u16(), &refused.headers["retry-after"]), (503, &"2".parse().unwrap()));
}

#[tokio::test]
async fn an_agent_is_heard_with_the_right_secret_only() {
    let api = Api::start(manual()).await;
    let path = api.create("a").await;
    let (uuid, info) = (uuid_of(&path), format!("{path}/cluster-install-info?version=2.24"));
    let state = || api.sim.cluster(uuid).unwrap().state;
    api.sim.agent(uuid, AgentCommand::start()).unwrap();
    api.sim.advance(Duration::from_secs(60));
    let heard = api.sim.cluster(uuid).unwrap().last_liveness;
    api.sim.configure(|config| config.install_info.rotate_on_read = true);
    let fresh = api.get(&info).await.body["clientSecret"].as_str().unwrap().to_owned();
    api.sim.advance(Duration::from_secs(121));
    assert_eq!((state().as_str(), api.sim.cluster(uuid).unwrap().last_liveness), ("Disconnected", heard));
    let start = |secret: &str| AgentCommand::Start { after_seconds: 0.0, client_secret: Some(secret.to_owned()) };
    api.sim.agent(uuid, start(&fresh)).unwrap();
    assert_eq!(state(), "Connected");
    let same = RecordPatch { client_secret: Some(fresh.clone()), ..RecordPatch::default() };
    api.sim.patch(uuid, same).unwrap();
    api.sim.advance(Duration::from_secs(300));
    assert_eq!(state(), "Connected", "the same secret is no new one");
    let other = RecordPatch { client_secret: Some("other".to_owned()), ..RecordPatch::default() };
    api.sim.patch(uuid, other).unwrap();
    api.sim.advance(Duration::from_secs(300));
    assert_eq!(state(), "Disconnected");
}

#[tokio::test]
async fn bootstrap_tokens_end_and_can_be_used_up() {
    let mut config = manual();
    config.profile = Profile::Cp30;
    let mut api = Api::start(config).await;
    let (mine, other) = (api.create("mine").await, api.create("other").await);
    let token = async |api: &Api, path: &str| {
        let info = api.get(&format!("{path}/cluster-install-info?version=3.0")).await.body;
        info["bootstrapToken"].as_str().unwrap().to_owned()
    };
    let connects = |api: &Api, token: &str| {
        let uuid = uuid_of(&mine);
        api.sim.agent(uuid, AgentCommand::Bootstrap { token: token.to_owned() }).unwrap();
        api.sim.cluster(uuid).unwrap().state == "Connected"
    };
    let silence = |api: &Api| {
        api.sim.agent(uuid_of(&mine), AgentCommand::Pause).unwrap();
        api.sim.advance(Duration::from_secs(121));
    };
    assert!(!connects(&api, "made up"));
    assert!(!connects(&api, &token(&api, &other).await), "another cluster's");
    let first = token(&api, &mine).await;
    assert!(connects(&api, &first));
    silence(&api);
    assert!(connects(&api, &first), "good until it expires");
    silence(&api);
    api.sim.advance(Duration::from_secs(2 * 3600));
    assert!(!connects(&api, &first), "two hours are over");
    api.log_in().await;
    api.sim.configure(|config| config.install_info.single_use_bootstrap = true);
    let once = token(&api, &mine).await;
    assert!(connects(&api, &once));
    silence(&api);
    assert!(!connects(&api, &once), "used up");
}

#[tokio::test]
async fn a_control_plane_is_upgraded_while_it_runs() {
    let api = Api::profile(Profile::Cp224).await;
    let path = api.create_with(json!({"name": "a", "version": "2.24"})).await;
    let info = format!("{path}/cluster-install-info?version=2.24");
    assert!(api.get(&info).await.body["clientSecret"].is_string());
    assert_eq!(api.get(&format!("{CLUSTERS}/minimal")).await.status, 400);
    let upgrade = api.client.put(format!("{}/__sim/config", api.sim.control_url())).json(&json!({"profile": "cp-3.0"}));
    assert_eq!(upgrade.send().await.unwrap().status(), 200);
    let new = api.get(&info).await.body;
    assert!(new["bootstrapToken"].is_string() && new.get("clientSecret").is_none(), "{new}");
    assert_eq!(api.get(&format!("{CLUSTERS}/minimal")).await.status, 200);
    assert_eq!(api.names("").await, ["a"], "records and tokens live on");
}

#[tokio::test]
async fn grants_that_are_off_unless_asked_for() {
    let mut config = Config::default();
    config.token.grants = vec![OtherGrant::Password, OtherGrant::RefreshToken];
    let api = Api::start(config).await;
    let token =
        async |body: Value| read(api.client.post(api.at("/api/v1/token")).json(&body).send().await.unwrap()).await;
    let password = |word: &str| json!({"grantType": "password", "username": "operator", "password": word});
    assert_eq!(token(password("wrong")).await.status, 400);
    let first = token(password("operator-secret")).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let refresh = json!({"grantType": "refresh_token", "refreshToken": first.body["refreshToken"]});
    let second = token(refresh.clone()).await;
    assert_eq!(second.status, 200, "{}", second.text);
    for answer in [&first, &second] {
        let bearer = answer.body["accessToken"].as_str().unwrap();
        assert_eq!(api.client.get(api.at(CLUSTERS)).bearer_auth(bearer).send().await.unwrap().status(), 200);
    }
    assert_eq!(token(refresh).await.status, 400, "used up");
    assert_eq!(token(json!({"grantType": "refresh_token"})).await.status, 400);
    api.sim.configure(|config| config.token.grants.clear());
    let plain = token(json!({"grantType": "app_token", "appID": "operator", "appSecret": "operator-secret"})).await;
    assert!(plain.body.get("refreshToken").is_none());
    assert_eq!(token(password("operator-secret")).await.status, 400);
}

#[tokio::test]
async fn metrics_are_empty_where_the_agent_was_silent() {
    let api = Api::start(manual()).await;
    let uuid = api.sim.seed(SeedCluster::named("a")).unwrap();
    let start = api.sim.now();
    let minutes = |minutes: u64| api.sim.advance(Duration::from_secs(60 * minutes));
    minutes(10);
    api.sim.agent(uuid, AgentCommand::start()).unwrap();
    minutes(10);
    api.sim.agent(uuid, AgentCommand::Pause).unwrap();
    minutes(10);
    api.sim.agent(uuid, AgentCommand::start()).unwrap();
    minutes(5);
    api.sim.agent(uuid, AgentCommand::Stop).unwrap();
    minutes(5);
    let end = api.sim.now();
    let query = format!("start={start}&end={end}&numberOfSamples=9&metricType=TOTAL_GPU");
    let answer = api.get(&format!("{CLUSTERS}/{uuid}/metrics?{query}")).await.body;
    let shown = answer["measurements"][0]["values"].as_array().unwrap().iter().map(|value| {
        let at: jiff::Timestamp = value["timestamp"].as_str().unwrap().parse().unwrap();
        at.duration_since(start).as_mins()
    });
    // Samples every five minutes: it ran from 10 to 20 and from 30 to 35.
    assert_eq!(shown.collect::<Vec<_>>(), [10, 15, 30], "{answer}");
}

#[tokio::test]
async fn every_read_can_be_stale() {
    let api = Api::start(manual()).await;
    let old = api.create("old").await;
    api.sim.advance(Duration::from_secs(10));
    let new = api.create("new").await;
    api.put(&old, json!({"name": "renamed"})).await;
    let time = |at: &str| format!("metricType=TOTAL_GPU&start={at}&end=2100-01-01T00:00:00Z");
    let reads =
        ["", "/minimal", "/cluster-install-info?version=2.24", &format!("/metrics?{}", time("2000-01-01T00:00:00Z"))];
    for read in reads {
        assert_eq!(api.get(&format!("{new}{read}")).await.status, 200, "{read}");
    }
    api.sim.add_fault(FaultRule::new(FaultAction::Stale { seconds: 5.0 }));
    for read in reads {
        assert_eq!(api.get(&format!("{new}{read}")).await.status, 404, "{read}");
        assert_eq!(api.get(&format!("{old}{read}")).await.status, 200, "{read}");
    }
    let minimal = api.get(&format!("{CLUSTERS}/minimal")).await.body;
    assert_eq!((minimal["clusters"].as_array().unwrap().len(), &minimal["clusters"][0]["name"]), (1, &json!("old")));
    assert_eq!(api.get(&format!("{old}/minimal")).await.body["name"], "old");
}

#[tokio::test]
async fn times_of_a_record_never_go_back() {
    let api = Api::start(manual()).await;
    let path = api.create_with(json!({"name": "a", "version": "2.24"})).await;
    api.sim.advance(Duration::from_secs(60));
    api.put(&path, json!({"name": "b"})).await;
    api.sim.set_clock_skew(jiff::SignedDuration::from_secs(-90));
    assert_eq!(api.put(&path, json!({"name": "c"})).await.status, 204);
    assert_eq!(api.delete(&path).await.status, 202);
    assert_eq!(api.delete(&format!("{path}?force=true")).await.status, 204);
    let view = api.sim.cluster(uuid_of(&path)).unwrap();
    let (updated, requested, deleted) = (view.updated_at, view.delete_requested_at, view.deleted_at);
    assert!(Some(view.created_at) <= updated && Some(view.created_at) <= requested, "{view:?}");
    assert!(updated <= deleted && requested <= deleted, "{view:?}");
}

/// Every reply of a fixed conversation.
async fn conversation(seed: u64) -> Vec<String> {
    let start = Some("2030-01-01T00:00:00Z".parse().unwrap());
    let mut config = Config { seed, clock_start: start, ..manual() };
    config.list.order = runai_simulator::ListOrder::Shuffle;
    config.install_info.control_plane_url = Some("https://runai.example.com".to_owned());
    let api = Api::start(config).await;
    let flaky = FaultAction::Status { code: 503, body: None, headers: Default::default(), phase: Phase::Pre };
    let mut said = vec![api.token.clone()];
    for name in ["a", "b", "c", "d"] {
        said.push(api.post(CLUSTERS, json!({"name": name})).await.text);
    }
    api.sim.add_fault(FaultRule { probability: Some(0.5), ..FaultRule::on(Operation::List, flaky) });
    for _ in 0..10 {
        said.push(api.get(CLUSTERS).await.text);
        api.sim.advance(Duration::from_secs(7));
    }
    let id = api.sim.clusters()[0].uuid;
    said.push(api.get(&format!("{CLUSTERS}/{id}/cluster-install-info?version=2.24")).await.text);
    said
}

#[tokio::test]
async fn the_same_seed_says_the_same() {
    let first = conversation(7).await;
    assert_eq!(first, conversation(7).await);
    let other = conversation(8).await;
    assert!(first.iter().zip(&other).filter(|(one, two)| one != two).count() >= 10, "another seed, other words");
}

#[tokio::test]
async fn clock_and_seed_can_be_changed_while_it_runs() {
    let api = Api::with(|_| ()).await;
    let before = api.sim.now();
    let set = async |patch: Value| {
        let request = api.client.put(format!("{}/__sim/config", api.sim.control_url())).json(&patch);
        assert_eq!(request.send().await.unwrap().status(), 200, "{patch}");
    };
    set(json!({"clock": "manual"})).await;
    let stopped = api.sim.now();
    assert!(stopped >= before && stopped.duration_since(before).as_secs() < 60, "it goes on from the present");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(api.sim.now(), stopped);
    set(json!({"clockStart": "2040-01-01T00:00:00Z"})).await;
    assert_eq!(api.sim.now().to_string(), "2040-01-01T00:00:00Z");
    set(json!({"clock": "real"})).await;
    assert!(api.sim.until(Duration::from_secs(5), |sim| sim.now().to_string() != "2040-01-01T00:00:00Z").await);
    assert_eq!(api.sim.config().clock, ClockMode::Real);
    let draw = async || {
        set(json!({"seed": 0})).await;
        set(json!({"seed": 99})).await;
        api.sim.seed(SeedCluster::named("a")).map_err(|error| error.to_string())
    };
    let drawn = draw().await.unwrap();
    assert_eq!(draw().await, Err(format!("cluster {drawn} exists already")), "the same numbers again");
}

#[test]
fn the_control_api_stays_on_this_machine() {
    let listen = Listen { control: "0.0.0.0:0".parse().unwrap(), ..Listen::default() };
    let refused = Simulator::start_on(Config::default(), listen).unwrap_err();
    assert!(matches!(refused, SimulatorError::Exposed(_)), "{refused}");
}

#[tokio::test]
async fn a_certificate_of_ones_own() {
    crate::common::install_provider();
    let directory = std::env::temp_dir().join(format!("runai-simulator-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let own = ServerCertificate { certificate: directory.join("tls.crt"), key: directory.join("tls.key") };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&own.certificate, made.cert.pem()).unwrap();
    std::fs::write(&own.key, made.signing_key.serialize_pem()).unwrap();
    let config = |own: &ServerCertificate| Config {
        tls: TlsConfig { enabled: true },
        server_certificate: Some(own.clone()),
        ..Config::default()
    };
    let sim = Simulator::start(config(&own)).unwrap();
    let trusted = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([trusted]).build().unwrap();
    assert_eq!(client.get(format!("{}{CLUSTERS}", sim.url())).send().await.unwrap().status(), 401);
    std::fs::remove_dir_all(&directory).unwrap();
    let missing = Simulator::start(config(&own)).unwrap_err();
    assert!(missing.to_string().contains("tls."), "{missing}");
}
