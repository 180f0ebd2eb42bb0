//! Every render against the schemas of a real API server, by kubeconform.
//!
//! The schemas are made from what the server itself publishes. The kinds of the Prometheus and Grafana operators, which it
//! does not know, are described in `schemas/`, as far as the chart uses them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};
use testbed::{TemporaryDirectory, Tool, workspace_dir};

use crate::helm::{Helm, RELEASE, chart, run, values_files};
use crate::world::Bare;

/// The schema as JSON schema has it: nothing unknown, and the two types that are texts and numbers at once.
fn strict(node: &mut Value) {
    if let Some(map) = node.as_object_mut() {
        let both = map.get("format").is_some_and(|format| format == "int-or-string");
        if both || map.get("x-kubernetes-int-or-string").is_some_and(|flag| flag == true) {
            let description = map.get("description").cloned();
            *map = json!({ "type": ["integer", "string"], "description": description }).as_object().unwrap().clone();
        }
        let free = map.get("x-kubernetes-preserve-unknown-fields").is_some_and(|flag| flag == true);
        if map.get("properties").is_some_and(Value::is_object) && !map.contains_key("additionalProperties") && !free {
            map.insert("additionalProperties".to_owned(), json!(false));
        }
        map.remove("x-kubernetes-group-version-kind");
        // An int64 is a number to JSON schema, and so on. A field of that name stays.
        if map.get("format").is_some_and(Value::is_string) {
            map.remove("format");
        }
        map.values_mut().for_each(strict);
    } else if let Some(items) = node.as_array_mut() {
        items.iter_mut().for_each(strict);
    }
}

/// The definitions that a schema refers to, and those that they refer to.
fn referred(node: &Value, all: &Map<String, Value>, found: &mut Map<String, Value>) {
    match node {
        Value::Object(map) => {
            if let Some(name) = map.get("$ref").and_then(|path| path.as_str()?.strip_prefix("#/definitions/"))
                && !found.contains_key(name)
            {
                found.insert(name.to_owned(), all[name].clone());
                referred(&all[name], all, found);
            }
            map.values().for_each(|below| referred(below, all, found));
        }
        Value::Array(items) => items.iter().for_each(|below| referred(below, all, found)),
        _ => {}
    }
}

/// Writes a schema for each kind under the name that kubeconform looks for; returns how many.
fn write_schemas(openapi: &Value, dir: &Path) -> usize {
    let originals = openapi["definitions"].as_object().unwrap();
    let mut definitions = originals.clone();
    definitions.values_mut().for_each(strict);
    definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = json!({ "type": ["string", "number"] });
    let mut files = BTreeMap::new();
    for (name, original) in originals {
        for kind in original["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let text = |field: &str| kind[field].as_str().unwrap().to_lowercase();
            let group = text("group").split('.').next().unwrap().to_owned();
            let suffix = if group.is_empty() { text("version") } else { format!("{group}-{}", text("version")) };
            let mut schema = definitions[name].clone();
            let mut below = Map::new();
            referred(&schema, &definitions, &mut below);
            schema["definitions"] = Value::Object(below);
            files.insert(format!("{}-{suffix}.json", text("kind")), schema);
        }
    }
    for (name, schema) in &files {
        std::fs::write(dir.join(name), schema.to_string()).unwrap();
    }
    files.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_render_fits_the_schemas_of_the_api_server() {
    let bare = Bare::start().await;
    let openapi = bare.bed.kubectl_ok(&["get", "--raw", "/openapi/v2"]).await.unwrap();
    let schemas = TemporaryDirectory::create().unwrap();
    let count = write_schemas(&serde_json::from_str(&openapi).unwrap(), schemas.path());
    assert!(count > 100, "{count} kinds");
    for entry in std::fs::read_dir(workspace_dir().join("tests/chart/schemas")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, schemas.path().join(path.file_name().unwrap())).unwrap();
    }

    let (helm, kubeconform) = (Helm::three().await, Tool::Kubeconform.find().await.unwrap());
    let location = format!("{}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json", schemas.path().display());
    let rendered = schemas.path().join("rendered.yaml");
    let check = async |text: &str| {
        std::fs::write(&rendered, text).unwrap();
        let file = rendered.display().to_string();
        run(&kubeconform, &[], &["-strict", "-summary", "-schema-location", &location, &file]).await
    };
    for file in values_files() {
        let text = helm.text(RELEASE, &chart(), &["--values", &file.display().to_string()]).await.unwrap();
        let said = check(&text).await.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(said.contains("Invalid: 0, Errors: 0, Skipped: 0"), "{said}");
    }
    let text = helm.text(RELEASE, &chart(), &["--set", "serviceMonitor.enabled=true"]).await.unwrap();
    for (right, wrong) in [
        ("terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: soon"),
        ("enableServiceLinks:", "enableServiceLink:"),
        ("honorLabels:", "honourLabels:"),
        ("  - apiGroups:", "  - apiGroup:"),
    ] {
        assert!(text.contains(right), "{right}");
        let said = check(&text.replace(right, wrong)).await.expect_err(wrong);
        assert!(said.contains("problem validating schema") || said.contains("Invalid: "), "{wrong}: {said}");
    }
}
