//! The REST client against the simulated control plane: whole life cycles, tokens, TLS, and what is known after a lost
//! answer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod client_support;

use std::time::Duration;

use client_support::{client_with, new_cluster, patient, secret, settings};
use jiff::SignedDuration;
use runai_cluster_operator::domain::{AgentVersion, ClusterDomain, ClusterName, ClusterUuid, Reason, TenantId};
use runai_cluster_operator::runai::{
    ApiError, Capabilities, Class, DeleteReply, ErrorKind, Limits, NewCluster, Operation, RunaiClient, TlsProblem,
    TokenApi, TransportKind, Verbosity,
};
use runai_simulator::{
    Access, AgentCommand, Config, FaultAction, FaultRule, Listen, Loss, Operation as Endpoint, Phase, Profile,
    ResetPhase, SeedCluster, Simulator, TlsConfig, TokenConfig, TokenFormat,
};

const ID: &str = "operator";
const SECRET: &str = "operator-secret";

fn connect(simulator: &Simulator, limits: Limits) -> RunaiClient {
    client_with(settings(&secret(simulator.url(), ID, SECRET), TokenApi::V1, None, limits))
}

async fn create(client: &RunaiClient, new: &NewCluster) -> Result<ClusterUuid, ApiError> {
    let permit = client.permit(Operation::CreateCluster).await?;
    client.create(new, permit).await.map(|cluster| cluster.uuid)
}

async fn delete(client: &RunaiClient, uuid: ClusterUuid, force: bool) -> DeleteReply {
    let permit = client.permit(Operation::DeleteCluster).await.unwrap();
    client.delete(uuid, force, permit).await.unwrap()
}

#[tokio::test]
async fn a_registration_lives_from_create_to_gone_on_every_control_plane() {
    for profile in [Profile::Cp220, Profile::Cp222, Profile::Cp224, Profile::Cp225, Profile::Cp30] {
        let simulator = Simulator::start(Config::for_profile(profile)).unwrap();
        let client = connect(&simulator, patient());
        let new = NewCluster {
            domain: Some(ClusterDomain::parse("https://a.example.com").unwrap()),
            version: Some(AgentVersion::parse("2.24").unwrap()),
            ..new_cluster("a")
        };
        let uuid = create(&client, &new).await.unwrap();
        assert_eq!(client.token_tenant(), Some(TenantId(1001)));

        let permit = client.permit(Operation::RenameCluster).await.unwrap();
        client.rename(uuid, &ClusterName::parse("b").unwrap(), permit).await.unwrap();
        let seen = client.get(uuid).await.unwrap().unwrap();
        assert_eq!((seen.name.as_str(), seen.version.as_deref(), seen.tenant), ("b", Some("2.24"), TenantId(1001)));
        let short = client.list(Verbosity::Metadata).await.unwrap();
        assert_eq!((short.clusters.len(), short.clusters[0].name.as_str()), (1, "b"));

        assert_eq!(delete(&client, uuid, false).await, DeleteReply::Accepted, "{profile:?}");
        assert!(client.get(uuid).await.unwrap().unwrap().is_deleting());
        let shown = !client.list(Verbosity::Full).await.unwrap().clusters.is_empty();
        assert_eq!(shown, profile != Profile::Cp220, "{profile:?}");
        let learned = client.capabilities().include_requested_for_delete;
        assert_eq!(learned, shown.then_some(true), "what was not seen stays unknown");

        assert_eq!(delete(&client, uuid, true).await, DeleteReply::Done, "{profile:?}");
        assert_eq!(client.get(uuid).await.unwrap(), None);
        assert_eq!(delete(&client, uuid, true).await, DeleteReply::NotFound, "{profile:?}");
    }
}

#[tokio::test]
async fn the_minimal_list_is_probed() {
    for (profile, want) in [(Profile::Cp224, Some(false)), (Profile::Cp225, Some(true)), (Profile::Cp30, Some(true))] {
        let simulator = Simulator::start(Config::for_profile(profile)).unwrap();
        let client = connect(&simulator, patient());
        assert_eq!(client.capabilities(), Capabilities::default());
        assert_eq!(Some(client.probe_minimal().await.unwrap()), want, "{profile:?}");
        assert_eq!(client.capabilities().minimal_list, want);
    }
    let simulator = Simulator::start(Config::default()).unwrap();
    let outage = FaultAction::Status { code: 500, body: None, headers: [].into(), phase: Phase::Pre };
    simulator.add_fault(FaultRule::new(outage).named("outage"));
    simulator.add_fault(FaultRule::on(Endpoint::MinimalList, FaultAction::Reset { phase: ResetPhase::Pre }));
    let client = connect(&simulator, patient());
    client.probe_minimal().await.expect_err("a failure is no answer");
    assert_eq!(client.capabilities().minimal_list, None);
}

#[tokio::test]
async fn every_kind_of_token_works() {
    let formats = [TokenFormat::Jwt, TokenFormat::Opaque, TokenFormat::JwtNoExp, TokenFormat::JwtUrlsafeChars];
    for (format, api) in formats.into_iter().flat_map(|format| [(format, TokenApi::V1), (format, TokenApi::V2)]) {
        let token = TokenConfig { format, ..TokenConfig::default() };
        let simulator = Simulator::start(Config { token, ..Config::default() }).unwrap();
        let client = client_with(settings(&secret(simulator.url(), ID, SECRET), api, None, patient()));
        client.list(Verbosity::Full).await.unwrap();
        client.list(Verbosity::Full).await.unwrap();
        assert_eq!(simulator.counters().token_requests, 1, "{format:?} {api:?}");
        let tenant = (format != TokenFormat::Opaque).then_some(TenantId(1001));
        assert_eq!(client.token_tenant(), tenant, "{format:?} {api:?}");
    }
    let simulator = Simulator::start(Config::for_profile(Profile::Cp218)).unwrap();
    let mut data = secret(simulator.url(), ID, SECRET);
    for (old, new) in [("clientID", "appID"), ("clientSecret", "appSecret")] {
        let value = data.remove(old).unwrap();
        data.insert(new.into(), value);
    }
    client_with(settings(&data, TokenApi::V1, None, patient())).list(Verbosity::Full).await.unwrap();
}

#[tokio::test]
async fn a_revoked_token_is_replaced_once_for_fifty_readers() {
    let simulator = Simulator::start(Config::default()).unwrap();
    let client = connect(&simulator, patient());
    let uuid = create(&client, &new_cluster("a")).await.unwrap();
    simulator.apply(&FaultAction::TokenRevoke { identity: None, phase: Phase::Pre });
    let reads = futures::future::join_all((0..50).map(|_| client.get(uuid))).await;
    assert!(reads.iter().all(|read| read.as_ref().is_ok_and(Option::is_some)));
    assert_eq!(simulator.counters().token_requests, 2);
}

#[tokio::test]
async fn a_revoked_token_costs_a_change_one_attempt_and_creates_nothing() {
    let simulator = Simulator::start(Config::default()).unwrap();
    let client = connect(&simulator, patient());
    client.list(Verbosity::Full).await.unwrap();
    simulator.apply(&FaultAction::TokenRevoke { identity: None, phase: Phase::Pre });
    let error = create(&client, &new_cluster("a")).await.unwrap_err();
    assert_eq!((error.class(), error.status()), (Class::Auth, Some(401)));
    assert_eq!(simulator.counters().create_requests_per_name.values().sum::<u64>(), 1);
    create(&client, &new_cluster("a")).await.expect("the token was renewed meanwhile");
    assert_eq!(simulator.counters().token_requests, 2);
    assert_eq!(simulator.live_clusters().len(), 1);
}

#[tokio::test]
async fn wrong_credentials_and_missing_permissions_are_told_apart() {
    for status in [400, 401, 403] {
        let token = TokenConfig { bad_credential_status: status, ..TokenConfig::default() };
        let simulator = Simulator::start(Config { token, ..Config::default() }).unwrap();
        let client = client_with(settings(&secret(simulator.url(), ID, "wrong-canary"), TokenApi::V1, None, patient()));
        let error = client.list(Verbosity::Full).await.unwrap_err();
        assert_eq!((error.class(), error.reason()), (Class::Auth, Reason::AuthFailed), "{error}");
        assert!(!error.to_string().contains("wrong-canary"), "{error}");
    }
    let simulator = Simulator::start(Config::default()).unwrap();
    let client = connect(&simulator, patient());
    let uuid = create(&client, &new_cluster("a")).await.unwrap();
    simulator.apply(&FaultAction::PermissionLoss { identity: None, actions: vec![Access::Read] });
    let error = client.get(uuid).await.unwrap_err();
    assert_eq!((error.class(), error.reason()), (Class::Auth, Reason::Forbidden), "{error}");
}

#[tokio::test]
async fn after_a_lost_answer_the_client_does_not_claim_to_know() {
    let reset = |phase| FaultAction::Reset { phase };
    let status = |code, phase| FaultAction::Status { code, body: None, headers: [].into(), phase };
    let table = [
        (reset(ResetPhase::Pre), 0),
        (reset(ResetPhase::Mid), 1),
        (reset(ResetPhase::Post), 1),
        (status(500, Phase::Pre), 0),
        (status(502, Phase::Post), 1),
        (status(409, Phase::Post), 1),
        (FaultAction::Garbage { status: 201, variant: runai_simulator::Garbage::Html, phase: Phase::Post }, 1),
        (FaultAction::Truncate { cut: runai_simulator::Cut::Json }, 1),
        (FaultAction::Truncate { cut: runai_simulator::Cut::Length }, 1),
        (FaultAction::Hang { seconds: 30.0, phase: Phase::Post }, 1),
        (FaultAction::LateCommit { seconds: 3600.0, loss: Loss::Reset }, 0),
    ];
    let simulator = Simulator::start(Config::default()).unwrap();
    let limits = Limits { create_deadline: Duration::from_secs(2), ..patient() };
    for (action, commits) in table {
        simulator.reset();
        simulator.add_fault(FaultRule::on(Endpoint::Create, action.clone()));
        // A fresh client each time, since complaints slow a client down.
        let error = create(&connect(&simulator, limits), &new_cluster("a")).await.expect_err(&format!("{action:?}"));
        assert!(!error.certainly_not_sent(), "{action:?}: {error}");
        assert_eq!(simulator.counters().create_requests_per_name["a"], 1, "{action:?}: sent once");
        assert_eq!(simulator.live_clusters().len(), commits, "{action:?}");
    }
}

#[tokio::test]
async fn the_control_planes_clock_is_known_from_its_replies() {
    let simulator = Simulator::start(Config::default()).unwrap();
    simulator.set_clock_skew(SignedDuration::from_secs(3600));
    let client = connect(&simulator, patient());
    assert_eq!((client.control_plane_now(), client.clock_skew()), (None, None));
    client.list(Verbosity::Full).await.unwrap();
    let lag = simulator.now().duration_since(client.control_plane_now().unwrap());
    assert!((SignedDuration::ZERO..SignedDuration::from_secs(5)).contains(&lag), "never ahead, hardly late: {lag:?}");
    let skew = client.clock_skew().unwrap().as_secs();
    assert!((3590..=3600).contains(&skew), "{skew}");
}

#[tokio::test]
async fn tokens_live_by_their_stated_life_and_not_by_clocks() {
    for skew in [-86_400, 86_400] {
        let simulator = Simulator::start(Config::default()).unwrap();
        simulator.set_clock_skew(SignedDuration::from_secs(skew));
        let client = connect(&simulator, patient());
        client.list(Verbosity::Full).await.unwrap();
        client.list(Verbosity::Full).await.unwrap();
        assert_eq!(simulator.counters().token_requests, 1, "{skew}");
    }
}

fn tls_simulator(listen: Listen) -> Simulator {
    Simulator::start_on(Config { tls: TlsConfig { enabled: true }, ..Config::default() }, listen).unwrap()
}

fn tls_client(url: &str, ca: Option<&str>) -> RunaiClient {
    client_with(settings(&secret(url, ID, SECRET), TokenApi::V1, ca, Limits::default()))
}

async fn tls_problem(client: &RunaiClient) -> TlsProblem {
    let error = client.list(Verbosity::Full).await.unwrap_err();
    assert!(error.certainly_not_sent() && error.reason() == Reason::ConnectionFailed, "{error}");
    let ErrorKind::Token(inner) = &error.kind else { panic!("{error:?}") };
    match **inner {
        ErrorKind::Transport(TransportKind::Tls(problem)) => problem,
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tls_failures_name_their_cause() {
    let simulator = tls_simulator(Listen::default());
    let ca = simulator.ca_pem().unwrap();
    tls_client(simulator.url(), Some(&ca)).list(Verbosity::Full).await.unwrap();

    let other = tls_simulator(Listen::default()).ca_pem().unwrap();
    let stranger = tls_client(simulator.url(), Some(&other));
    assert_eq!(tls_problem(&stranger).await, TlsProblem::UnknownCa);
    let message = stranger.list(Verbosity::Full).await.unwrap_err().user_message();
    assert!(message.contains("caBundleRef"), "{message}");

    simulator.apply(&FaultAction::TlsRotate { new_ca: true });
    assert_eq!(tls_problem(&tls_client(simulator.url(), Some(&ca))).await, TlsProblem::UnknownCa);
    let both = format!("{ca}\n{}", simulator.ca_pem().unwrap());
    tls_client(simulator.url(), Some(&both)).list(Verbosity::Full).await.expect("a bundle may hold several");

    let elsewhere = Listen { public: ([127, 0, 0, 2], 0).into(), ..Listen::default() };
    let wrong_host = tls_simulator(elsewhere);
    let client = tls_client(wrong_host.url(), wrong_host.ca_pem().as_deref());
    assert_eq!(tls_problem(&client).await, TlsProblem::WrongHost);

    let plain = Simulator::start(Config::default()).unwrap();
    let url = plain.url().replace("http://", "https://");
    assert_eq!(tls_problem(&tls_client(&url, Some(&ca))).await, TlsProblem::NotTls);
}

/// Bytes of bodies that polls of 30 s take in an hour: a full list each time, or one in five minutes and glances between.
/// `cargo test --workspace --test client_simulator bytes -- --nocapture` prints the table that the documentation quotes.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_polls_take_in_an_hour() {
    const POLLS: u64 = 120;
    const FULL_LISTS: u64 = 12;
    println!(
        "| registrations | gzip | full list | minimal list | full lists alone, per hour | with glances, per hour |"
    );
    for count in [10, 1_000, 10_000] {
        for gzip in [false, true] {
            let simulator = Simulator::start(Config { gzip, ..Config::default() }).unwrap();
            for n in 0..count {
                let name = format!("cluster-{n:05}");
                let seed = SeedCluster {
                    domain: Some(format!("https://{name}.example.com")),
                    version: Some("2.24.37".to_owned()),
                    name,
                    ..SeedCluster::default()
                };
                let uuid = simulator.seed(seed).unwrap();
                simulator.agent(uuid, AgentCommand::Start { after_seconds: 0.0, client_secret: None }).unwrap();
            }
            simulator.advance(Duration::from_secs(60));
            let client = connect(&simulator, patient());
            let bytes_since = |seq| -> u64 {
                let entries = simulator.journal_since(seq);
                entries.iter().filter(|entry| entry.operation != Some(Endpoint::Token)).map(|e| e.response_bytes).sum()
            };
            client.refresh_token_now().await.unwrap();
            let mark = simulator.last_seq();
            assert_eq!(client.list(Verbosity::Full).await.unwrap().clusters.len(), count);
            let full = bytes_since(mark);
            let mark = simulator.last_seq();
            assert_eq!(client.minimal().await.unwrap().unwrap().len(), count);
            let minimal = bytes_since(mark);
            let alone = POLLS * full;
            let with = FULL_LISTS * full + (POLLS - FULL_LISTS) * minimal;
            println!("| {count} | {gzip} | {full} | {minimal} | {alone} | {with} |");
            assert!(with < alone, "{count} {gzip}: glances cost more than they save");
        }
    }
}

/// The gap that no lease can close: from the last look at the fence to the arrival of the request at the control plane.
/// `cargo test --workspace --test client_simulator gap -- --nocapture` prints what the documentation quotes.
#[tokio::test(flavor = "multi_thread")]
async fn the_gap_between_fence_and_arrival_is_short() {
    let simulator = Simulator::start(Config::default()).unwrap();
    let client = connect(&simulator, patient());
    let mut gaps = Vec::new();
    for n in 0..100 {
        let asked = std::sync::Arc::new(std::sync::Mutex::new(None));
        let note = std::sync::Arc::clone(&asked);
        let permit = client.permit(Operation::CreateCluster).await.unwrap();
        let permit = permit.only_if(move || {
            *note.lock().unwrap() = Some(jiff::Timestamp::now());
            true
        });
        let mark = simulator.last_seq();
        client.create(&new_cluster(&format!("n{n}")), permit).await.unwrap();
        let entries = simulator.journal_since(mark);
        let arrived = entries.iter().find(|entry| entry.operation == Some(Endpoint::Create)).unwrap().at;
        let asked = asked.lock().unwrap().unwrap();
        gaps.push(arrived.duration_since(asked).as_secs_f64() * 1000.0);
    }
    gaps.sort_by(f64::total_cmp);
    println!("fence to arrival, a new connection each: {:.2} ms median, {:.2} ms at most of 100", gaps[50], gaps[99]);
    // Leaders stop 5 s before others may begin.
    assert!(gaps[99] < 5000.0, "{gaps:?}");
}
