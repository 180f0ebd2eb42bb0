//! Rows 21 and 24: certificates and credentials that change under a connection that worked.

use std::time::{Duration, Instant};

use runai_simulator::{Config, FaultAction, Simulator};
use serde_json::{Value, json};
use testbed::OPERATOR_NAMESPACE;

use crate::world::{Setup, World, condition, control_plane, message};

/// Within this a changed Secret is in use, by the promise of the documentation.
const PROMISE: Duration = Duration::from_secs(60);
/// Longer than the first pauses between two refused logins.
const PATIENCE: Duration = Duration::from_secs(20);

async fn bundle(world: &World, pem: &str) {
    world
        .apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "bundle", "namespace": OPERATOR_NAMESPACE },
            "stringData": { "ca.crt": pem },
        }))
        .await;
}

async fn renamed(world: &World, name: &str, to: &str) {
    world.until_within(PROMISE, name, "renamed", |object: &Value| object["status"]["name"] == to).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_21_and_24_certificates_and_credentials_that_change() {
    let world = World::start(Setup::default()).await;
    a_new_ca(&world).await;
    wrong_credentials(&world).await;
}

/// The server comes with a certificate of another CA: nothing is sent to it until the bundle says so.
async fn a_new_ca(world: &World) {
    let mut config = Config { seed: 81, ..Config::default() }.full_lists_only();
    config.tls.enabled = true;
    let simulator = Simulator::start(config).unwrap();
    let old = simulator.ca_pem().unwrap();
    bundle(world, &old).await;
    world.connect_secret("tls", &[("url", simulator.url())]).await;
    let spec = json!({ "pollInterval": "5s", "caBundleRef": { "kind": "Secret", "name": "bundle" } });
    world.apply(&control_plane("tls", "tls", &spec)).await;
    let on_tls = json!({ "controlPlaneRef": { "name": "tls" }, "domain": "https://tls.example.com" });
    world.cluster("tls", on_tls.clone()).await;
    world.until_ready("tls").await;

    simulator.apply(&FaultAction::TlsRotate { new_ca: true });
    let rotated = simulator.last_seq();
    world.patch("tls", json!({ "spec": { "name": "tls-2" } })).await;
    world.cluster("new", on_tls).await;
    // Connections that are open go on; a new one is refused. A create always makes one.
    let object = world.until_condition("new", "Synced", "False", "ConnectionFailed").await;
    let said = message(&object, "Synced");
    assert!(said.contains("not trusted") && said.contains("caBundleRef"), "{said}");
    assert!(object["status"]["uuid"].is_null());
    let posts = |simulator: &Simulator| simulator.counters().create_requests_per_name;
    assert_eq!(posts(&simulator).get("new"), None, "after {rotated}: nothing is sent to a server that is not trusted");

    bundle(world, &simulator.ca_pem().unwrap()).await;
    let changed = Instant::now();
    renamed(world, "tls", "tls-2").await;
    world.until_ready("new").await;
    println!("a changed bundle was in use after {:?}", changed.elapsed());
    assert_eq!(posts(&simulator)["new"], 1);
    for name in ["tls", "new"] {
        world.delete(name).await;
        world.until_gone(name).await;
    }
    assert!(simulator.live_clusters().is_empty());
}

/// Refused logins are few, whatever waits for them, and a corrected Secret counts at once.
async fn wrong_credentials(world: &World) {
    let names: Vec<_> = (0..10).map(|index| format!("login-{index}")).collect();
    for name in &names {
        world.cluster(name, json!({})).await;
    }
    for name in &names {
        world.until_ready(name).await;
    }
    let before = world.simulator.counters();
    world.connect_secret("connection", &[("clientSecret", "wrong")]).await;
    let wrong = Instant::now();
    for name in &names {
        world.patch(name, json!({ "spec": { "name": format!("{name}-2") } })).await;
        world.until(name, "AuthFailed", |object| condition(object, "Synced").1 == "AuthFailed").await;
    }
    // Time has to pass for a storm to show.
    tokio::time::sleep(PATIENCE.saturating_sub(wrong.elapsed())).await;
    let refused = world.simulator.counters().token_requests - before.token_requests;
    // After 1, 2, 4, 8, 16 s, and so on up to a minute; one more at the change of the Secret.
    let allowed = 7 + wrong.elapsed().as_secs() / 60;
    println!("{refused} refused logins in {:?}", wrong.elapsed());
    assert!((1..=allowed).contains(&refused), "{refused} logins in {:?}, for 10 objects", wrong.elapsed());

    world.connect_secret("connection", &[]).await;
    let changed = Instant::now();
    for name in &names {
        renamed(world, name, &format!("{name}-2")).await;
    }
    println!("corrected credentials were in use after {:?}", changed.elapsed());
    assert!(changed.elapsed() < PROMISE, "{:?}", changed.elapsed());
    assert_eq!(world.simulator.live_clusters().len(), names.len());
}
