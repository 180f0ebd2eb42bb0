//! What the API server refuses, the code refuses too: a stored object may be older than a rule.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/bad_specs.rs"]
mod bad_specs;

use std::collections::BTreeSet;

use bad_specs::{Kind, bad_specs, updates};
use runai_cluster_operator::api::{RunaiClusterSpec, RunaiControlPlaneSpec, convert, crds};
use serde_json::Value;

/// What the code says about a spec, from decoding to the last check.
fn refusal(kind: Kind, spec: &Value) -> Option<String> {
    match kind {
        Kind::Cluster => match serde_json::from_value::<RunaiClusterSpec>(spec.clone()) {
            Ok(spec) => convert::desired("object", &spec).err().map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        },
        Kind::ControlPlane => match serde_json::from_value::<RunaiControlPlaneSpec>(spec.clone()) {
            Ok(spec) => convert::settings(&spec).err().map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        },
    }
}

#[test]
fn the_code_refuses_every_bad_spec() {
    for row in bad_specs() {
        assert!(refusal(row.kind, &row.spec).is_some(), "{}: accepted {}", row.name, row.spec);
    }
}

#[test]
fn the_code_takes_every_spec_that_may_be_stored() {
    for row in updates() {
        for spec in [&row.before, &row.after] {
            assert_eq!(refusal(row.kind, spec), None, "{}: {spec}", row.name);
        }
    }
}

#[test]
fn names_in_the_tables_are_unique() {
    let names: Vec<_> = bad_specs().iter().map(|row| row.name).chain(updates().iter().map(|row| row.name)).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    assert!(names.len() >= 60);
}

/// A rule that no row breaks would be a rule that nobody tried.
#[test]
fn every_rule_is_broken_by_some_row() {
    let mut expected = String::new();
    for row in bad_specs() {
        expected.push_str(&format!("{} {}\n", row.field, row.message));
    }
    for row in updates() {
        expected.push_str(row.refusal.unwrap_or_default());
        expected.push('\n');
    }
    for crd in crds::crds().unwrap() {
        let crd = serde_json::to_value(crd).unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        visit("", schema, &mut |path, rule| {
            let message = rule["message"].as_str().unwrap();
            let tried = expected.lines().any(|line| {
                let (field, fragment) =
                    line.split_once(' ').filter(|(field, _)| field.starts_with("spec.")).unwrap_or(("", line));
                let place = field.is_empty() || path.starts_with(field);
                !fragment.is_empty() && place && message.contains(fragment)
            });
            assert!(tried, "no row breaks the rule at {path}: {message}");
        });
    }
}

/// What `spec` says must be in the decoded and encoded one: a field with a typing error would be lost on the way.
fn lost(path: &str, spec: &Value, again: &Value) -> Vec<String> {
    match (spec, again) {
        (Value::Object(fields), Value::Object(known)) => {
            let below =
                |name: &String| lost(&format!("{path}.{name}"), &fields[name], known.get(name).unwrap_or(&Value::Null));
            fields.keys().flat_map(below).collect()
        }
        _ if spec == again => Vec::new(),
        _ => vec![path.to_owned()],
    }
}

#[test]
fn every_example_can_be_used() {
    let mut kinds = BTreeSet::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        for object in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
            let spec = &object["spec"];
            let again = match object["kind"].as_str().unwrap() {
                "RunaiCluster" => {
                    assert_eq!(refusal(Kind::Cluster, spec), None, "{name}");
                    serde_json::to_value(serde_json::from_value::<RunaiClusterSpec>(spec.clone()).unwrap())
                }
                "RunaiControlPlane" => {
                    assert_eq!(refusal(Kind::ControlPlane, spec), None, "{name}");
                    serde_json::to_value(serde_json::from_value::<RunaiControlPlaneSpec>(spec.clone()).unwrap())
                }
                _ => Ok(spec.clone()),
            };
            assert_eq!(lost("spec", spec, &again.unwrap()), Vec::<String>::new(), "{name}");
            kinds.insert(object["kind"].as_str().unwrap().to_owned());
        }
    }
    assert!(["RunaiCluster", "RunaiControlPlane", "Secret"].iter().all(|kind| kinds.contains(*kind)), "{kinds:?}");
    assert_eq!(lost("spec", &serde_json::json!({ "nmae": 1 }), &serde_json::json!({ "name": 1 })), ["spec.nmae"]);
}

fn visit(path: &str, node: &Value, found: &mut impl FnMut(&str, &Value)) {
    for rule in node["x-kubernetes-validations"].as_array().into_iter().flatten() {
        // Both selectors share one type: the table tries the first.
        if !path.starts_with("spec.adoptionNamespaces") {
            found(path, rule);
        }
    }
    for (name, property) in node["properties"].as_object().into_iter().flatten() {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        visit(&below, property, found);
    }
    if node["items"].is_object() {
        visit(path, &node["items"], found);
    }
}
