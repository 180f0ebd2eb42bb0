//! Manifests, and what an object says of itself.
//!
//! Owns shapes only. Must not know a world.

use serde_json::{Value, json};
use testbed::OPERATOR_NAMESPACE;

/// A connection Secret to the control plane at `url`; `over` replaces or adds keys.
pub fn connection(name: &str, url: &str, over: &[(&str, &str)]) -> Value {
    let mut data = json!({ "url": url, "clientID": "operator", "clientSecret": "operator-secret" });
    for (key, value) in over {
        data[*key] = json!(value);
    }
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": { "name": name, "namespace": OPERATOR_NAMESPACE }, "stringData": data,
    })
}

pub fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })
}

pub fn control_plane(name: &str, secret: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["connectionSecretRef"] = json!({ "name": secret });
    json!({ "apiVersion": "runai-operator.io/v1alpha1", "kind": "RunaiControlPlane", "metadata": { "name": name }, "spec": spec })
}

#[allow(clippy::needless_pass_by_value, reason = "callers write it in place")]
pub fn cluster(namespace: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "runai-operator.io/v1alpha1", "kind": "RunaiCluster",
        "metadata": { "name": name, "namespace": namespace }, "spec": spec,
    })
}

/// Status and reason of a condition; empty when it is absent.
pub fn condition(object: &Value, kind: &str) -> (String, String) {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind).cloned().unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

/// Message of a condition.
pub fn message(object: &Value, kind: &str) -> String {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind).cloned().unwrap_or_default();
    found["message"].as_str().unwrap_or_default().to_owned()
}

pub fn uuid(object: &Value) -> uuid::Uuid {
    object["status"]["uuid"].as_str().unwrap_or_else(|| panic!("no uuid in {object}")).parse().unwrap()
}

/// What a person who waits wants to see of it.
pub fn brief(object: &Value) -> String {
    json!({ "metadata": {
        "annotations": object["metadata"]["annotations"], "finalizers": object["metadata"]["finalizers"],
        "deletionTimestamp": object["metadata"]["deletionTimestamp"],
    }, "status": object["status"] })
    .to_string()
}
