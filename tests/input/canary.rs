//! Canaries in every secret and in remote bodies: none of them comes to light, at the most talkative log level, while
//! much goes wrong.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use runai_simulator::{Config, FaultAction, FaultRule, Operation, Phase, Simulator};
use serde_json::{Value, json};
use testbed::{OPERATOR_NAMESPACE, wait_until};

use crate::world::{SOON, Setup, World, condition, control_plane, message};

const SECRET: &str = "canary-secret-5d1f";
const BODY: &str = "canary-body-77aa";
const PAGE: &str = "canary-page-90c2";
const HEADER: &str = "canary-header-1b3e";
/// Stands behind character 256 of the message.
const TAIL: &str = "canary-tail-c4d8";
/// A token that nobody issued.
const TOKEN: &str = "eyJjYW5hcnkiOiJ0b2tlbiJ9.eyJjYW5hcnkiOiJ0b2tlbiJ9.signature";

/// What a gateway that tells too much would say.
fn talkative(code: u16) -> Value {
    let message = format!("gateway says no\u{7}\n for secret {SECRET} and token {TOKEN} {}{TAIL}", "x".repeat(300));
    json!({ "code": code, "message": message, "details": BODY, "stack": [SECRET, BODY], "token": TOKEN })
}

/// A server that refuses all requests of one kind, and how that must be called.
struct Bad {
    name: &'static str,
    operation: Operation,
    code: u16,
    body: Value,
    reason: &'static str,
}

fn bad() -> Vec<Bad> {
    let row = |name, operation, code, reason| Bad { name, operation, code, body: talkative(code), reason };
    let page = json!(format!("<html><title>{PAGE}</title>{SECRET}</html>"));
    // Valid JSON of the wrong shape: what the decoder complains about holds values.
    let shape = json!([{ "uuid": BODY, "name": SECRET, "tenantId": BODY }]);
    vec![
        row("list-500", Operation::List, 500, "ConnectionFailed"),
        row("list-403", Operation::List, 403, "Forbidden"),
        row("list-400", Operation::List, 400, "Rejected"),
        row("token-400", Operation::Token, 400, "AuthFailed"),
        row("token-500", Operation::Token, 500, "ConnectionFailed"),
        row("create-422", Operation::Create, 422, "Rejected"),
        row("create-500", Operation::Create, 500, "CreateInDoubt"),
        Bad { body: page.clone(), ..row("list-page", Operation::List, 200, "Undecodable") },
        Bad { body: page.clone(), ..row("token-page", Operation::Token, 200, "Undecodable") },
        Bad { body: page, ..row("page-502", Operation::List, 502, "ConnectionFailed") },
        Bad { body: shape, ..row("list-shape", Operation::List, 200, "Undecodable") },
    ]
}

fn config(seed: u64) -> Config {
    let mut config = Config { seed, ..Config::default() };
    config.tenants[0].identities[0].client_secret = SECRET.to_owned();
    config
}

async fn connect(world: &World, name: &str, simulator: &Simulator) {
    world.connect_secret(name, &[("url", simulator.url()), ("clientSecret", SECRET)]).await;
    world.apply(&control_plane(name, name, &json!({ "pollInterval": "5s", "adoptionNamespaces": {} }))).await;
    world.cluster(name, json!({ "controlPlaneRef": { "name": name } })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_comes_to_light() {
    let mut world = World::start(Setup { log: "trace", ..Setup::default().simulator(|it| *it = config(1)) }).await;
    world.connect_secret("connection", &[("clientSecret", SECRET)]).await;
    world.cluster("good", json!({})).await;
    world.until_ready("good").await;
    world.patch("good", json!({ "spec": { "name": "renamed" } })).await;
    world.until("good", "renamed", |object| object["status"]["name"] == "renamed").await;

    let mut servers = Vec::new();
    for (row, seed) in bad().into_iter().zip(100..) {
        let server = Simulator::start(config(seed)).unwrap();
        let headers = BTreeMap::from([("x-request-id".to_owned(), HEADER.to_owned())]);
        let action = FaultAction::Status { code: row.code, body: Some(row.body.clone()), headers, phase: Phase::Pre };
        server.add_fault(FaultRule::on(row.operation, action));
        connect(&world, row.name, &server).await;
        servers.push((row, server));
    }
    let mut shown = String::new();
    for (row, _) in &servers {
        let told = |object: &Value| condition(object, "Synced") == ("False".to_owned(), row.reason.to_owned());
        let object = world.until(row.name, row.reason, told).await;
        let said = message(&object, "Synced");
        writeln!(shown, "{}: {said}", row.name).unwrap();
        if row.body.is_object() && row.reason != "CreateInDoubt" {
            assert!(said.contains("(\"gateway says no for secret [redacted] and token [redacted] x"), "{}: {said}", row.name);
            let quoted = said.split('"').nth(1).unwrap();
            assert_eq!(quoted.chars().count(), 256, "{}: {said}", row.name);
        }
    }
    // A Secret that cannot be used is a place to repeat it as well.
    world.connect_secret("unusable", &[("url", &format!("https://a:{SECRET}@h/{BODY}")), ("clientSecret", SECRET)]).await;
    world.apply(&control_plane("unusable", "unusable", &json!({}))).await;
    world.cluster("unusable", json!({ "controlPlaneRef": { "name": "unusable" } })).await;
    world.until_stalled("unusable", "ConnectionInvalid").await;
    // A restart reads the identity key and every annotation once more; the end is logged, too.
    let first = world.operator.logs().unwrap();
    world.operator.sigterm_and_wait(SOON).await.unwrap();
    let first = [first, world.operator.logs().unwrap()].concat();
    world.operator = world.another_operator();
    world.operator.wait_ready(SOON).await.unwrap();
    world.delete("good").await;
    world.until_gone("good").await;
    search(&world, &servers, &first).await;
}

/// Looks for every canary in everything that people see.
async fn search(world: &World, servers: &[(Bad, Simulator)], log: &str) {
    let kinds = "runaiclusters,runaicontrolplanes,events,leases,configmaps";
    let objects = wait_until(SOON, "the Events of all failures", async || {
        let text = world.kubectl(&["get", kinds, "-A", "-o", "json", "--show-managed-fields"]).await;
        let list: Value = serde_json::from_str(&text).unwrap();
        let mut items = list["items"].as_array().unwrap().iter();
        let about = |item: &&Value| item["kind"] == "Event" && item["involvedObject"]["name"] == "list-500";
        if items.any(|item| about(&item)) { Ok(text) } else { Err("no Event yet") }
    })
    .await
    .unwrap();
    let places = [
        ("log before the restart", log.to_owned()),
        ("log after the restart", world.operator.logs().unwrap()),
        ("objects", objects),
        ("metrics", world.operator.metrics().await.unwrap()),
    ];
    // The search is worth something only where there is something to find.
    assert!(places[0].1.contains("TRACE") && places[0].1.contains("gateway says no"), "a log at its most talkative");
    assert!(places[2].1.contains("gateway says no") && places[2].1.contains("\"Lease\""), "conditions, Events, Leases");
    assert!(places[3].1.contains("runai_operator_"), "metrics");

    let mut needles: Vec<(String, String)> = [SECRET, BODY, PAGE, HEADER, TAIL, TOKEN, "eyJ"]
        .into_iter()
        .map(|canary| (canary.to_owned(), canary.to_owned()))
        .collect();
    needles.push(("the secret in base64".to_owned(), STANDARD.encode(SECRET)));
    let key = identity_key(world).await;
    needles.push(("the identity key in base64".to_owned(), STANDARD.encode(&key)));
    let hex = key.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    needles.push(("the identity key as the debug text of bytes".to_owned(), format!("{key:?}")));
    needles.push(("the identity key in hexadecimal".to_owned(), hex));
    for record in servers.iter().map(|(_, server)| server).chain([&world.simulator]).flat_map(Simulator::clusters) {
        assert!(!record.client_secret.is_empty());
        needles.push((format!("the agent's secret of {}", record.uuid), record.client_secret));
    }
    for (place, text) in &places {
        for (what, needle) in &needles {
            if let Some(at) = text.find(needle) {
                let near: String = text[..at].chars().rev().take(300).collect::<Vec<_>>().into_iter().rev().collect();
                panic!("{what} is in {place}, after: {near}");
            }
        }
    }
}

async fn identity_key(world: &World) -> Vec<u8> {
    let args = ["get", "secret", "runai-cluster-operator-identity", "-n", OPERATOR_NAMESPACE, "-o", "jsonpath={.data.hmac-key}"];
    let key = STANDARD.decode(world.kubectl(&args).await.trim()).unwrap();
    assert!(key.len() >= 32, "a key of 256 bits at least");
    key
}
