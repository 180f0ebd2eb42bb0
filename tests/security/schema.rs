//! No field of any kind can name a Secret elsewhere, or anything else that the operator would fetch, read or run.

use runai_cluster_operator::api::crds;
use serde_json::{Value, json};

/// Words in the name of a field that leads somewhere. `namespace` is spelled out in `check`.
const LEADS_SOMEWHERE: [&str; 14] = [
    "url", "uri", "host", "endpoint", "server", "address", "file", "path", "image", "command", "template", "script",
    "token", "password",
];

/// Label selectors: they choose among namespaces, and hold nothing but labels.
const SELECTORS: [&str; 2] = ["allowedNamespaces", "adoptionNamespaces"];

/// Told to the control plane and written into the object's own Secret; the operator itself goes nowhere by it.
const TOLD: &str = "remoteClusterUrl";

/// What is wrong with the fields below `schema`, by path.
fn check(path: &str, schema: &Value, found: &mut Vec<String>) {
    if let Some(items) = schema.get("items") {
        check(&format!("{path}[]"), items, found);
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        found.push(format!("{path}: takes any field"));
    }
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, field) in properties {
        let (path, lower) = (format!("{path}.{name}"), name.to_lowercase());
        if SELECTORS.contains(&name.as_str()) {
            let parts: Vec<_> = field["properties"].as_object().unwrap().keys().collect();
            if parts != ["matchExpressions", "matchLabels"] {
                found.push(format!("{path}: is no label selector"));
            }
            continue;
        }
        if lower.contains("namespace") {
            found.push(format!("{path}: names a namespace"));
        }
        // One of a few words leads nowhere.
        if field["enum"].is_null() && name != TOLD && LEADS_SOMEWHERE.iter().any(|word| lower.contains(word)) {
            found.push(format!("{path}: leads somewhere"));
        }
        if let Some(parts) = field["properties"].as_object().filter(|_| name.ends_with("Ref")) {
            let foreign = parts.keys().filter(|part| !["name", "kind", "key"].contains(&part.as_str()));
            found.extend(foreign.map(|part| format!("{path}: refers by {part}")));
        }
        check(&path, field, found);
    }
}

#[test]
fn no_field_names_a_namespace_an_address_or_a_file() {
    let kinds = crds::crds().unwrap();
    assert_eq!(kinds.len(), 2);
    let mut fields = 0;
    for crd in kinds {
        let crd = serde_json::to_value(crd).unwrap();
        for version in crd["spec"]["versions"].as_array().unwrap() {
            let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
            let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
            fields += spec["properties"].as_object().unwrap().len();
            let mut found = Vec::new();
            check(&format!("{kind}.spec"), spec, &mut found);
            assert_eq!(found, Vec::<String>::new());
        }
    }
    assert!(fields > 15, "{fields} fields were looked at");
}

#[test]
fn the_check_finds_what_it_looks_for() {
    let text = || json!({ "type": "string" });
    let cases = [
        (json!({ "secretRef": { "properties": { "name": text(), "namespace": text() } } }), 2),
        (json!({ "list": { "items": { "properties": { "secretNamespace": text() } } } }), 1),
        (json!({ "caRef": { "properties": { "uid": text() } } }), 1),
        (json!({ "baseURL": text() }), 1),
        (json!({ "tokenFile": text() }), 1),
        (json!({ "values": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } }), 1),
        (json!({ "allowedNamespaces": { "properties": { "matchNames": text() } } }), 1),
        (json!({ "connectionSecretRef": { "properties": { "name": text() } }, "name": text() }), 0),
    ];
    for (properties, count) in cases {
        let mut found = Vec::new();
        check("spec", &json!({ "properties": properties }), &mut found);
        assert_eq!(found.len(), count, "{properties}: {found:?}");
    }
}
