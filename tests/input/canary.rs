//! No secret, no token and no body of a remote error comes to light: not in the log at its loudest, nor in Events, status,
//! annotations, metrics or any other object that the operator writes.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use runai_simulator::{FaultAction, FaultMatch, FaultRule, Identity, Operation, Phase};
use serde_json::{Value, json};
use testbed::{OPERATOR_NAMESPACE, OperatorOptions, OperatorProcess, wait_until};
use uuid::Uuid;

use crate::lines;
use crate::world::{SHORT_DOUBT, SOON, Setup, World, condition, control_plane, message, uuid};

/// With characters that a URL, a form and JSON write differently.
const CLIENT_SECRET: &str = "c4nary+client/secret=\"9";
const CLIENT_ID: &str = "c4nary-client-id";
const APP_SECRET: &str = "c4nary-app-secret";
/// In the fields of error bodies that are not `message`.
const DETAIL: &str = "c4nary-detail";
/// In pages.
const PAGE: &str = "c4nary-page";
/// Behind the 256 characters that may be shown.
const TAIL: &str = "c4nary-tail";
/// A token as another server would issue it, quoted by an error.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJjNG5hcnkiOiJ0b2tlbiJ9.c4nary";
/// What may be shown.
const TOLD: &str = "the server told that";

/// An error body that gives everything away.
fn talkative() -> Value {
    let message =
        format!("{TOLD} {CLIENT_SECRET} of {CLIENT_ID} with Bearer {TOKEN} is\u{7} bad {}{TAIL}", "x".repeat(300));
    json!({ "code": 1, "message": message, "detail": DETAIL, "request": { "clientSecret": CLIENT_SECRET } })
}

fn status(code: u16, body: Value) -> FaultAction {
    FaultAction::Status { code, body: Some(body), headers: BTreeMap::new(), phase: Phase::Pre }
}

/// Every way in which a server may give something away.
fn disclosures() -> Vec<(&'static str, FaultAction)> {
    let page = || json!(format!("<html><body>{PAGE} {CLIENT_SECRET}</body></html>"));
    vec![
        ("bad-request", status(400, talkative())),
        ("unauthorised", status(401, talkative())),
        ("forbidden", status(403, talkative())),
        ("failed", status(500, talkative())),
        ("page-as-error", status(502, page())),
        ("page-as-answer", status(200, page())),
        ("odd-list", status(200, json!([{ "uuid": PAGE, "tenantId": CLIENT_SECRET, "name": DETAIL }]))),
        (
            "odd-answer",
            status(
                200,
                json!({ "uuid": PAGE, "clusters": [{ "uuid": PAGE, "name": CLIENT_SECRET }], "accessToken": { "value": TOKEN } }),
            ),
        ),
    ]
}

/// What must not be found, by name.
struct Canaries(BTreeMap<String, Vec<u8>>);

impl Canaries {
    fn text(&mut self, name: &str, value: &str) {
        assert!(value.len() >= 8, "{name} is too short to be told from chance: {value:?}");
        self.0.insert(name.to_owned(), value.as_bytes().to_vec());
    }

    /// A value as it is, as JSON writes it, as a form or URL writes it, and as a Secret's data writes it.
    fn secret(&mut self, name: &str, value: &str) {
        self.text(name, value);
        self.text(&format!("{name} in JSON"), json!(value).to_string().trim_matches('"'));
        self.text(
            &format!("{name} in JSON, twice"),
            json!(json!(value).to_string()).to_string().trim_matches(['"', '\\']),
        );
        let form: String =
            value
                .bytes()
                .map(|b| {
                    if b.is_ascii_alphanumeric() || b == b'-' { char::from(b).to_string() } else { format!("%{b:02X}") }
                })
                .collect();
        self.text(&format!("{name} in a form"), &form);
        self.text(&format!("{name} in base64"), STANDARD_NO_PAD.encode(value).as_str());
    }

    fn found_in(&self, place: &str, bytes: &[u8]) -> Vec<String> {
        let holds = |canary: &[u8]| bytes.windows(canary.len()).any(|window| window == canary);
        self.0.iter().filter(|(_, canary)| holds(canary)).map(|(name, _)| format!("{name} in {place}")).collect()
    }
}

/// Words that look like a token of whatever origin.
fn tokens(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"_-.".contains(c));
    words.filter(|word| word.contains("eyJ") && word.contains('.') && word.len() > 20).collect()
}

#[test]
fn the_search_finds_what_it_looks_for() {
    assert_eq!(tokens(&format!("x Bearer {TOKEN}, y")), [TOKEN]);
    let mut canaries = Canaries(BTreeMap::new());
    canaries.secret("secret", CLIENT_SECRET);
    assert_eq!(canaries.0.len(), 5);
    assert_eq!(canaries.found_in("a log", format!("clientSecret={CLIENT_SECRET}").as_bytes()), ["secret in a log"]);
    let data = json!({ "clientSecret": CLIENT_SECRET }).to_string();
    assert_eq!(canaries.found_in("a body", data.as_bytes()), ["secret in JSON in a body"]);
    assert_eq!(
        canaries.found_in("a form", b"client_secret=c4nary%2Bclient%2Fsecret%3D%229"),
        ["secret in a form in a form"]
    );
    assert_eq!(canaries.found_in("nothing", b"[redacted]"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_comes_to_light() {
    let setup = Setup::default().args(&SHORT_DOUBT).simulator(|config| {
        config.tenants[0].identities = vec![
            Identity::new("operator", "operator-secret"),
            Identity::new(CLIENT_ID, CLIENT_SECRET),
            Identity::new("c4nary-app-id", APP_SECRET),
        ];
    });
    let mut world = World::start(setup).await;
    world.operator.sigterm_and_wait(SOON).await.unwrap();
    let options = OperatorOptions::new(
        env!("CARGO_BIN_EXE_runai-cluster-operator"),
        world.login.kubeconfig(),
        world.bed.directory(),
    );
    let options = SHORT_DOUBT.iter().fold(options, |options, arg| options.arg(*arg));
    let options = options.arg("--log-format=json").env("RUST_LOG", "trace");
    world.operator = OperatorProcess::start(&options).unwrap();
    world.operator.wait_ready(SOON).await.unwrap();

    let client = [("clientID", CLIENT_ID), ("clientSecret", CLIENT_SECRET)];
    world.connect_secret("connection", &client).await;
    world.connect_secret("connection-form", &client).await;
    let url = world.simulator.url().to_owned();
    world.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "connection-app", "namespace": OPERATOR_NAMESPACE },
        "stringData": { "url": url, "appID": "c4nary-app-id", "appSecret": APP_SECRET },
    })).await;
    world.apply(&control_plane("form", "connection-form", &json!({ "tokenApi": "V2", "pollInterval": "5s" }))).await;
    world.apply(&control_plane("app", "connection-app", &json!({ "pollInterval": "5s" }))).await;
    for plane in ["form", "app"] {
        world.cluster(&format!("by-{plane}"), json!({ "controlPlaneRef": { "name": plane } })).await;
        world.until_ready(&format!("by-{plane}")).await;
    }
    changes_that_fail(&world).await;
    lists_and_tokens_that_fail(&world).await;
    search(&world).await;
}

/// Creates, renames and deletions that are answered with too much.
async fn changes_that_fail(world: &World) {
    for (name, _) in disclosures() {
        for verb in ["rename", "delete"] {
            world.cluster(&format!("{verb}-{name}"), json!({})).await;
        }
    }
    for (name, action) in disclosures() {
        for (verb, operation) in [("rename", Operation::Update), ("delete", Operation::Delete)] {
            let id = uuid(&world.until_ready(&format!("{verb}-{name}")).await);
            fault(world, operation, Some(id), None, action.clone());
        }
        fault(world, Operation::Create, None, Some(format!("create-{name}")), action);
    }
    for (name, _) in disclosures() {
        world.cluster(&format!("create-{name}"), json!({})).await;
        world.patch(&format!("rename-{name}"), json!({ "spec": { "name": format!("renamed-{name}") } })).await;
        world.delete(&format!("delete-{name}")).await;
    }
    for (name, action) in disclosures() {
        for verb in ["create", "rename", "delete"] {
            // A PUT or DELETE needs no body in its answer: a 200 with whatever body may count as done.
            if verb != "create" && matches!(action, FaultAction::Status { code: 200, .. }) {
                continue;
            }
            let troubled =
                |object: &Value| condition(object, "Synced").0 != "True" && message(object, "Synced").len() > 20;
            let object = world.until(&format!("{verb}-{name}"), "says what went wrong", troubled).await;
            let said = message(&object, "Synced");
            if verb != "create" && ["bad-request", "failed"].contains(&name) {
                assert!(said.contains(TOLD) && said.contains("[redacted]"), "the message is shown, masked: {said}");
            }
        }
    }
    world.simulator.clear_faults();
}

fn fault(world: &World, operation: Operation, uuid: Option<Uuid>, name: Option<String>, action: FaultAction) {
    let matches = FaultMatch { operation: Some(operation), uuid, name, ..FaultMatch::default() };
    world.simulator.add_fault(FaultRule { matches, ..FaultRule::new(action) });
}

/// The whole control plane fails, in all ways, one after the other.
async fn lists_and_tokens_that_fail(world: &World) {
    for operation in [Operation::List, Operation::Token] {
        for (name, action) in disclosures() {
            // Aimed: a server may quote the secret that it was shown, not one of somebody else.
            let matches = FaultMatch {
                operation: Some(operation),
                identity: Some(CLIENT_ID.to_owned()),
                ..FaultMatch::default()
            };
            world.simulator.add_fault(FaultRule { matches, ..FaultRule::new(action) });
            // Other credentials mean a connection made anew, which logs in and lists at once.
            world.connect_secret("connection", &[("clientID", CLIENT_ID), ("clientSecret", CLIENT_SECRET)]).await;
            plane_is(world, "False", name).await;
            world.simulator.clear_faults();
            world.connect_secret("connection", &[]).await;
            plane_is(world, "True", name).await;
        }
    }
}

/// Waits for the state of the control plane `default`.
async fn plane_is(world: &World, status: &str, what: &str) {
    let what = format!("Ready={status} ({what})");
    let result = wait_until(SOON, &what, async || {
        let object = world.plane("default").await;
        if condition(&object, "Ready").0 == status { Ok(()) } else { Err(object["status"].to_string()) }
    });
    if let Err(error) = result.await {
        panic!("{error}");
    }
}

async fn search(world: &World) {
    let mut canaries = Canaries(BTreeMap::new());
    canaries.secret("client secret", CLIENT_SECRET);
    canaries.secret("app secret", APP_SECRET);
    canaries.secret("the first client's secret", "operator-secret");
    for (name, value) in [("detail", DETAIL), ("page", PAGE), ("tail", TAIL), ("quoted token", TOKEN)] {
        canaries.text(name, value);
    }
    for record in world.simulator.clusters() {
        canaries.text(&format!("client secret of {}", record.name), &record.client_secret);
    }
    let kubeconfig: Value = serde_json::from_str(&std::fs::read_to_string(world.login.kubeconfig()).unwrap()).unwrap();
    canaries.text("Kubernetes token", kubeconfig["users"][0]["user"]["token"].as_str().unwrap());
    let get_key = [
        "get",
        "secret",
        "runai-cluster-operator-identity",
        "-n",
        OPERATOR_NAMESPACE,
        "-o",
        "jsonpath={.data.hmac-key}",
    ];
    let key = world.kubectl(&get_key).await;
    let raw = STANDARD.decode(&key).unwrap();
    assert!(raw.len() >= 32, "{key}");
    canaries.text("identity key in base64", key.trim_end_matches('='));
    canaries.text("identity key in hexadecimal", &raw.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    canaries.text("identity key as a list", format!("{raw:?}").trim_matches(['[', ']']));
    canaries.0.insert("identity key".to_owned(), raw);

    let log = std::fs::read(world.operator.log_file()).unwrap();
    let text = String::from_utf8_lossy(&log).into_owned();
    assert!(text.contains("TRACE"), "the log is at its loudest");
    assert!(text.contains(TOLD), "what may be shown is in the log");
    assert_eq!(lines::objections(&text), Vec::<String>::new());
    let mut places = vec![("the log".to_owned(), log)];
    // Everything in the cluster but Secrets: the operator may have written anywhere.
    let kinds =
        "runaiclusters,runaicontrolplanes,events.events.k8s.io,events,configmaps,leases,namespaces,serviceaccounts";
    let objects = world.kubectl(&["get", kinds, "-A", "-o", "json", "--show-managed-fields"]).await;
    assert!(objects.contains(TOLD), "what may be shown is in a status or Event");
    let metrics = world.operator.metrics().await.unwrap();
    assert!(metrics.contains("runai_operator_api_requests_total"), "{metrics}");
    // The client id is no secret, and nobody's business either.
    for text in [&objects, &metrics] {
        let around =
            |at: usize| text.chars().skip(text[..at].chars().count().saturating_sub(300)).take(600).collect::<String>();
        assert_eq!(text.find(CLIENT_ID).map(around), None);
    }
    places.push(("the objects".to_owned(), objects.into_bytes()));
    places.push(("the metrics".to_owned(), metrics.into_bytes()));

    let mut found = Vec::new();
    for (place, bytes) in &places {
        found.extend(canaries.found_in(place, bytes));
        let text = String::from_utf8_lossy(bytes);
        found.extend(tokens(&text).iter().map(|token| format!("a token in {place}: {token}")));
    }
    assert_eq!(found, Vec::<String>::new());
}
