//! What a scenario needs to look at Secrets: contents, who wrote them, and what the control plane was asked.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use runai_simulator::{Operation, Profile};
use serde_json::{Value, json};
use testbed::{OPERATOR_NAMESPACE, wait_until};

use crate::world::{SOON, Setup, TEAM, World};

/// A world whose chart grants the right to publish.
pub async fn world(setup: Setup) -> World {
    World::start(Setup { chart: &["installInfo.enabled=true"], ..setup }).await
}

/// The same with a control plane of the third generation.
pub fn third() -> Setup {
    Setup::default().simulator(|config| config.profile = Profile::Cp30)
}

/// A spec that asks for credentials.
pub fn spec(secret: &str) -> Value {
    json!({ "domain": "https://east.example.com", "version": "2.24", "installInfo": { "secretName": secret } })
}

/// The Secret as it is.
pub async fn secret(world: &World, name: &str) -> Option<Value> {
    let args = ["get", "secret", name, "-n", TEAM, "-o", "json", "--ignore-not-found"];
    let text = world.kubectl(&args).await;
    (!text.trim().is_empty()).then(|| serde_json::from_str(&text).unwrap())
}

/// Its data as text.
pub fn data(secret: &Value) -> BTreeMap<String, String> {
    let data = secret["data"].as_object().cloned().unwrap_or_default();
    data.into_iter()
        .map(|(key, value)| (key, String::from_utf8(STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap()))
        .collect()
}

/// Waits until the Secret is there and fulfils `wanted`; returns it.
pub async fn until_secret(world: &World, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let what = format!("Secret {name}: {what}");
    let found = wait_until(SOON, &what, async || match secret(world, name).await {
        Some(secret) if wanted(&secret) => Ok(secret),
        Some(secret) => Err(secret.to_string()),
        None => Err("there is none".to_owned()),
    });
    match found.await {
        Ok(secret) => secret,
        Err(error) => panic!("{error}\n--- operator\n{}", world.tail()),
    }
}

/// Waits until there is no such Secret.
pub async fn until_no_secret(world: &World, name: &str) {
    let what = format!("Secret {name} to go");
    let found = wait_until(SOON, &what, async || match secret(world, name).await {
        None => Ok(()),
        Some(secret) => Err(secret.to_string()),
    });
    if let Err(error) = found.await {
        panic!("{error}\n--- operator\n{}", world.tail());
    }
}

/// How often install information was asked for.
pub fn reads(world: &World) -> u64 {
    world.simulator.counters().requests_per_operation.get(&Operation::InstallInfo).copied().unwrap_or_default()
}

/// The operator's writes to Secrets of the team's namespace, refused ones included.
pub fn writes(world: &World, since: Option<Timestamp>) -> Vec<(String, String, u16)> {
    let events = world.bed.audit_events(since).unwrap();
    let is_write = |verb: &str| ["create", "update", "patch", "delete", "deletecollection"].contains(&verb);
    events
        .iter()
        .filter(|event| event.user.starts_with(&format!("system:serviceaccount:{OPERATOR_NAMESPACE}:")))
        .filter(|event| event.resource == "secrets" && event.namespace == TEAM && is_write(&event.verb))
        .map(|event| (event.verb.clone(), event.name.clone(), event.code))
        .collect()
}

/// Asks for a pass that reads everything anew.
pub async fn request(world: &World, name: &str, value: &str) {
    let note = format!("runai-operator.io/reconcile-requested-at={value}");
    world.kubectl(&["annotate", "rcl", name, "-n", TEAM, "--overwrite", &note]).await;
    world.until(name, "request handled", |object| object["status"]["lastHandledReconcileAt"] == value).await;
}
