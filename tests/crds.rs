//! The shipped custom resource definitions are the generated ones, and the schema keeps its promises.
//!
//! After a change of the types: `make crds`, or `UPDATE_CRDS=1 cargo test --test crds`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use runai_cluster_operator::api::{self, crds};
use serde_json::{Value, json};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a shipped file with the generated text, or writes it.
fn check(path: &Path, generated: &str) {
    if std::env::var_os("UPDATE_CRDS").is_some_and(|value| value == "1") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, generated).unwrap();
    }
    let shipped = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        shipped == generated,
        "{} is not what the code generates; run `UPDATE_CRDS=1 cargo test --test crds`",
        path.display()
    );
}

/// The schema of each kind, by plural.
fn schemas() -> Vec<(String, Value)> {
    let schema = |crd: &Value| crd.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap().clone();
    documents().iter().map(|crd| (crd["spec"]["names"]["plural"].as_str().unwrap().to_owned(), schema(crd))).collect()
}

fn documents() -> Vec<Value> {
    crds::crds().unwrap().iter().map(|crd| serde_json::to_value(crd).unwrap()).collect()
}

/// Calls `visit` for every schema node with its path.
fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, visit);
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], visit);
    }
}

#[test]
fn the_shipped_file_is_current() {
    check(&root().join("crds/runai-operator.io.yaml"), &crds::crds_yaml().unwrap());
}

#[test]
fn the_copy_in_the_chart_is_current() {
    let dir = root().join("charts/runai-cluster-operator/files/crds");
    let documents = crds::crd_documents().unwrap();
    for (plural, yaml) in &documents {
        check(&dir.join(format!("{plural}.yaml")), yaml);
    }
    assert_eq!(fs::read_dir(dir).unwrap().count(), documents.len(), "a file that no kind belongs to");
}

#[test]
fn the_text_reads_back_as_the_same_definitions() {
    for ((plural, yaml), crd) in crds::crd_documents().unwrap().iter().zip(crds::crds().unwrap()) {
        let read: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition =
            serde_saphyr::from_str(yaml).unwrap();
        assert_eq!(read, crd, "{plural}");
    }
    assert_eq!(crds::crds_yaml().unwrap(), crds::crds_yaml().unwrap());
}

#[test]
fn names_are_as_documented() {
    let names: Vec<_> = documents().iter().map(|crd| crd["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, [api::CLUSTER_CRD, "runaicontrolplanes.runai-operator.io"]);
    for (crd, (scope, short)) in documents().iter().zip([("Namespaced", "rcl"), ("Cluster", "rcp")]) {
        let spec = &crd["spec"];
        assert_eq!(spec["group"], api::GROUP);
        assert_eq!(spec["scope"], scope);
        assert_eq!(spec["names"]["shortNames"], json!([short]));
        assert_eq!(spec["names"]["categories"], json!(["runai"]));
        assert_eq!(spec["versions"][0]["name"], api::VERSION);
        assert_eq!(spec["versions"][0]["subresources"], json!({ "status": {} }));
    }
    assert_eq!(api::API_VERSION, format!("{}/{}", api::GROUP, api::VERSION));
}

#[test]
fn columns_are_as_documented() {
    let columns: Vec<Vec<String>> = documents()
        .iter()
        .map(|crd| {
            let columns = crd["spec"]["versions"][0]["additionalPrinterColumns"].as_array().unwrap();
            columns
                .iter()
                .map(|column| {
                    let wide = if column["priority"] == 1 { "+" } else { "" };
                    format!("{wide}{}:{}", column["name"].as_str().unwrap(), column["type"].as_str().unwrap())
                })
                .collect()
        })
        .collect();
    assert_eq!(
        columns[0],
        [
            "Ready:string",
            "State:string",
            "Version:string",
            "Last-Seen:date",
            "Age:date",
            "+UUID:string",
            "+Name:string",
            "+Domain:string",
            "+Reason:string",
        ]
    );
    assert_eq!(columns[1], ["Ready:string", "URL:string", "Total:integer", "Managed:integer", "Age:date"]);
}

#[test]
fn every_field_is_described() {
    for (plural, schema) in schemas() {
        let mut missing = Vec::new();
        walk(&plural, &schema, &mut |path, node| {
            let said = node["description"].as_str().is_some_and(|text| text.len() > 10 && !text.contains('\n'));
            let standard = [".metadata", ".spec", "values[]"].iter().any(|end| path.ends_with(end));
            if !said && !standard {
                missing.push(path.to_owned());
            }
        });
        assert!(missing.is_empty(), "without a description: {missing:?}");
    }
}

/// What a description lacks for `kubectl explain` to be enough.
fn untold(description: &str) -> Option<&'static str> {
    let text = description.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if !says(&["default", "required"]) {
        return Some("default");
    }
    (!says(&["may change", "immutable", "fixed once"])).then_some("mutability")
}

#[test]
fn every_field_of_a_spec_says_default_and_mutability() {
    let mut seen = 0;
    for (plural, schema) in schemas() {
        let spec = format!("{plural}.spec");
        walk(&spec, &schema["properties"]["spec"], &mut |path, node| {
            // Of the parts of a label selector Kubernetes says what they are; of an item, its list.
            let selector = [".matchLabels", ".matchExpressions"].iter().any(|part| path.contains(part));
            if path == spec || selector || path.ends_with("[]") {
                return;
            }
            seen += 1;
            let text = node["description"].as_str().unwrap();
            assert_eq!(untold(text), None, "{path}: {text}");
        });
    }
    assert!(seen > 30, "also those below the first level: {seen}");
    assert_eq!(untold("Name of the Secret. Required."), Some("mutability"));
    assert_eq!(untold("Name of the Secret. May change."), Some("default"));
}

#[test]
fn nothing_in_it_makes_tools_see_a_difference() {
    for (plural, schema) in schemas() {
        walk(&plural, &schema, &mut |path, node| {
            assert!(node.get("nullable").is_none(), "{path}: optional fields are absent, never null");
            let default = node.get("default");
            assert!(!default.is_some_and(|value| [json!(null), json!([]), json!({})].contains(value)), "{path}");
            let format = node["format"].as_str();
            assert!(
                format.is_none_or(|format| ["int32", "int64", "date-time"].contains(&format)),
                "{path}: {format:?}"
            );
            for (key, value) in node.as_object().unwrap() {
                assert!(value.as_array().is_none_or(|list| !list.is_empty()), "{path}.{key}: empty list");
            }
        });
    }
    assert!(crds::crds_yaml().unwrap().len() < 256 * 1024, "client-side apply would fail");
}

#[test]
fn an_object_never_seen_is_not_in_order() {
    for (plural, schema) in schemas() {
        assert_eq!(schema["properties"]["status"]["default"], json!({ "observedGeneration": -1 }), "{plural}");
        assert_eq!(schema["properties"]["status"].get("required"), None, "{plural}: a patch may hold any part");
        let conditions = &schema["properties"]["status"]["properties"]["conditions"];
        assert_eq!(conditions["x-kubernetes-list-type"], "map");
        assert_eq!(conditions["x-kubernetes-list-map-keys"], json!(["type"]));
    }
}

#[test]
fn only_what_has_no_default_is_required() {
    let mut required = Vec::new();
    for (plural, schema) in schemas() {
        walk(&plural, &schema["properties"]["spec"], &mut |path, node| {
            for field in node["required"].as_array().into_iter().flatten() {
                required.push(format!("{path}.{}", field.as_str().unwrap()));
            }
        });
    }
    assert_eq!(
        required,
        [
            "runaiclusters.installInfo.secretName",
            "runaicontrolplanes.connectionSecretRef",
            "runaicontrolplanes.adoptionNamespaces.matchExpressions[].key",
            "runaicontrolplanes.adoptionNamespaces.matchExpressions[].operator",
            "runaicontrolplanes.allowedNamespaces.matchExpressions[].key",
            "runaicontrolplanes.allowedNamespaces.matchExpressions[].operator",
            "runaicontrolplanes.caBundleRef.kind",
            "runaicontrolplanes.caBundleRef.name",
            "runaicontrolplanes.connectionSecretRef.name",
        ]
    );
}

#[test]
fn every_rule_has_a_message_for_people() {
    let mut rules = 0;
    for (plural, schema) in schemas() {
        walk(&plural, &schema, &mut |path, node| {
            for rule in node["x-kubernetes-validations"].as_array().into_iter().flatten() {
                rules += 1;
                let message = rule["message"].as_str().unwrap_or_else(|| panic!("{path}: no message"));
                assert!(message.len() > 20 && !message.contains('\n'), "{path}: {message}");
                if path != plural {
                    continue;
                }
                // A rule at the root is judged anew at every write, of a finalizer too: only transitions may stand here.
                assert!(rule["rule"].as_str().unwrap().starts_with("!has(oldSelf.status) ||"), "{path}: {rule}");
            }
        });
    }
    assert!(rules >= 15, "{rules}");
}
