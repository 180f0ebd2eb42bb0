//! docs/api.md: every field of the kinds, from the schema that the API server enforces.

use std::fmt::Write as _;

use runai_cluster_operator::api::crds;
use serde_json::Value;

use crate::{read, root};

const PAGE: &str = "docs/api.md";
const HEAD: &str = "\
# API reference

<!-- Generated from the types; do not edit. After a change: make crds -->

Every field of the kinds of `runai-operator.io/v1alpha1`, as `kubectl explain` shows them too. What the conditions mean is in the
[README](../README.md#runaicluster), what their reasons mean in [troubleshooting](troubleshooting.md).
";

/// A cell of a table: one line, and nothing that ends the cell or opens a tag.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|").replace('<', "&lt;")
}

/// Type, limits and default of a field.
fn form(node: &Value, required: bool) -> String {
    let mut parts = Vec::new();
    let items = &node["items"];
    let kind = node["type"].as_str().unwrap_or("any");
    parts.push(match (kind, items["type"].as_str()) {
        ("array", Some(item)) => format!("list of {item}"),
        ("object", _) if node["additionalProperties"]["type"] == "string" => "map of string to string".to_owned(),
        ("string", _) if node["format"] == "date-time" => "time".to_owned(),
        (kind, _) => kind.to_owned(),
    });
    if required {
        parts.push("**required**".to_owned());
    }
    let choices = node["enum"].as_array().or_else(|| items["enum"].as_array());
    if let Some(choices) = choices {
        let choices: Vec<_> = choices.iter().filter_map(Value::as_str).map(|choice| format!("`{choice}`")).collect();
        parts.push(choices.join(", "));
    }
    for (limit, words) in [
        ("minLength", "at least {} long"),
        ("maxLength", "at most {} long"),
        ("minimum", "at least {}"),
        ("maximum", "at most {}"),
        ("minItems", "at least {} items"),
        ("maxItems", "at most {} items"),
        ("maxProperties", "at most {} entries"),
    ] {
        if let Some(value) = node.get(limit) {
            // Schemas write whole numbers as 0.0, too.
            parts.push(words.replace("{}", value.to_string().trim_end_matches(".0")));
        }
    }
    if let Some(default) = node.get("default") {
        parts.push(format!("default `{default}`"));
    }
    cell(&parts.join("; "))
}

/// The rows of the fields below `path`, depth first.
fn rows(path: &str, schema: &Value, out: &mut String) {
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, node) in schema["properties"].as_object().into_iter().flatten() {
        let here = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let shown = if node["type"] == "array" { format!("{here}[]") } else { here };
        let meaning = cell(node["description"].as_str().unwrap_or_default());
        writeln!(out, "| `{shown}` | {} | {meaning} |", form(node, required.contains(&name.as_str()))).unwrap();
        rows(&shown, if node["items"].is_object() { &node["items"] } else { node }, out);
    }
}

/// What the API server refuses beyond types and limits, each with its field.
fn rules(path: &str, schema: &Value, out: &mut Vec<(String, String)>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = rule["message"].as_str().unwrap_or_default();
        let place = if path.is_empty() { "the object".to_owned() } else { format!("`{path}`") };
        out.push((place, cell(message)));
    }
    for (name, node) in schema["properties"].as_object().into_iter().flatten() {
        rules(if path.is_empty() { name.clone() } else { format!("{path}.{name}") }.as_str(), node, out);
    }
    if schema["items"].is_object() {
        rules(&format!("{path}[]"), &schema["items"], out);
    }
}

fn page(kinds: &[Value]) -> String {
    let mut out = HEAD.to_owned();
    for crd in kinds {
        let (names, version) = (&crd["spec"]["names"], &crd["spec"]["versions"][0]);
        let schema = &version["schema"]["openAPIV3Schema"];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        write!(out, "\n## {}\n\n{}\n\n", text(&names["kind"]), text(&schema["description"])).unwrap();
        let short = text(&names["shortNames"][0]);
        let scope = if crd["spec"]["scope"] == "Cluster" { "Cluster-scoped" } else { "Namespaced" };
        let plural = text(&names["plural"]);
        writeln!(out, "{scope}: `kubectl get {plural}`, or `{short}`; category `{}`.", text(&names["categories"][0]))
            .unwrap();
        for part in ["spec", "status"] {
            write!(out, "\n### {} {part}\n\n| Field | Type | Meaning |\n| --- | --- | --- |\n", text(&names["kind"]))
                .unwrap();
            rows("", &schema["properties"][part], &mut out);
        }
        let mut found = Vec::new();
        rules("", schema, &mut found);
        write!(out, "\n### {} rules\n\n| Where | What the API server says |\n| --- | --- |\n", text(&names["kind"]))
            .unwrap();
        for (place, message) in found {
            writeln!(out, "| {place} | {message} |").unwrap();
        }
    }
    out
}

fn kinds() -> Vec<Value> {
    crds::crds().unwrap().iter().map(|crd| serde_json::to_value(crd).unwrap()).collect()
}

#[test]
fn the_reference_is_current() {
    let generated = page(&kinds());
    if std::env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        std::fs::write(root().join(PAGE), &generated).unwrap();
    }
    assert!(
        read(PAGE) == generated,
        "{PAGE} is not what the types say; run `UPDATE_DOCS=1 cargo test --workspace --test docs`"
    );
}

#[test]
fn every_field_and_rule_is_on_the_page() {
    let mut kinds = kinds();
    let before = page(&kinds);
    assert!(before.contains("| `controlPlaneRef.name` |"), "{before}");
    assert!(before.contains("| `conditions[].reason` |"), "fields of lists, too");
    // A new field, a new rule and a new limit change the page.
    let pointer = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/domain";
    let node = kinds[0].pointer_mut(pointer).unwrap();
    node["maxLength"] = 17.into();
    node["description"] = "a|b <c>\nd".into();
    node["x-kubernetes-validations"] = serde_json::json!([{ "rule": "true", "message": "a rule" }]);
    let after = page(&kinds);
    assert!(after.contains("at most 17 long | a\\|b &lt;c> d |"), "{after}");
    assert!(after.contains("| `spec.domain` | a rule |"), "{after}");
    assert_ne!(before, after);
}
