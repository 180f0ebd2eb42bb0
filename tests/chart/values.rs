//! Values: each is commented, checked by the schema, and told in the README.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::helm::{chart, values_files};

/// Whether the papers are to be written anew.
pub fn updating() -> bool {
    std::env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1")
}

/// Compares a paper with what it should be, or writes it.
pub fn check(path: &Path, wanted: &str) {
    if updating() {
        std::fs::write(path, wanted).unwrap();
    }
    let is = std::fs::read_to_string(path).unwrap();
    assert!(is == wanted, "{} is out of step; run `make docs`", path.display());
}

/// The text with what lies between the two marks replaced.
pub fn between(text: &str, mark: &str, content: &str) -> String {
    let (open, close) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let (head, rest) = text.split_once(&open).unwrap_or_else(|| panic!("no {open}"));
    let (_, tail) = rest.split_once(&close).unwrap_or_else(|| panic!("no {close}"));
    format!("{head}{open}{content}{close}{tail}")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(chart().join(name)).unwrap()
}

fn schema() -> Value {
    serde_json::from_str(&read("values.schema.json")).unwrap()
}

/// The comment above each key, by path.
fn comments(text: &str) -> BTreeMap<String, String> {
    let (mut stack, mut comment, mut found) = (Vec::<String>::new(), Vec::<String>::new(), BTreeMap::new());
    for line in text.lines() {
        let trimmed = line.trim_start();
        if let Some(words) = trimmed.strip_prefix('#') {
            comment.push(words.trim().to_owned());
            continue;
        }
        let said = std::mem::take(&mut comment).join(" ");
        let key = trimmed.split_once(':').map(|(key, _)| key).filter(|key| key.chars().all(char::is_alphanumeric));
        if let Some(key) = key.filter(|key| !key.is_empty()) {
            stack.truncate((line.len() - trimmed.len()) / 2);
            stack.push(key.to_owned());
            found.insert(stack.join("."), said);
        }
    }
    found
}

/// A value with its default, and the node of the schema that checks it.
struct Leaf<'a> {
    path: String,
    default: &'a Value,
    node: &'a Value,
}

/// Goes down as far as the schema tells keys apart.
fn leaves<'a>(path: &str, values: &'a Value, node: &'a Value, found: &mut Vec<Leaf<'a>>) {
    for (key, value) in values.as_object().unwrap() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let node = &node["properties"][key];
        if value.as_object().is_some_and(|map| !map.is_empty()) && node["properties"].is_object() {
            leaves(&path, value, node, found);
        } else {
            found.push(Leaf { path, default: value, node });
        }
    }
}

/// Every object of the schema that tells its keys apart.
fn closed(path: &str, node: &Value, open: &mut Vec<String>) {
    if let Some(properties) = node["properties"].as_object() {
        if node["additionalProperties"] != false {
            open.push(path.to_owned());
        }
        for (key, below) in properties {
            closed(&format!("{path}.{key}"), below, open);
        }
    }
    if node["items"].is_object() {
        closed(&format!("{path}[]"), &node["items"], open);
    }
}

/// Puts the comments into the schema as descriptions.
fn describe(path: &str, node: &mut Value, comments: &BTreeMap<String, String>) {
    let Some(properties) = node.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (key, below) in properties {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if let Some(comment) = comments.get(&path).filter(|comment| !comment.is_empty()) {
            below["description"] = json!(comment);
        }
        describe(&path, below, comments);
    }
}

#[test]
fn every_value_is_commented_and_checked() {
    let text = read("values.yaml");
    let values: Value = serde_saphyr::from_str(&text).unwrap();
    let (comments, mut schema) = (comments(&text), schema());
    describe("", &mut schema, &comments);
    check(&chart().join("values.schema.json"), &format!("{}\n", serde_json::to_string_pretty(&schema).unwrap()));

    let mut all = Vec::new();
    leaves("", &values, &schema, &mut all);
    assert!(all.len() > 80, "{}", all.len());
    for leaf in &all {
        let comment = comments.get(&leaf.path).map(String::as_str).unwrap_or_default();
        assert!(comment.len() > 5, "{}: no comment", leaf.path);
        assert!(leaf.node["type"].is_string() || leaf.node["type"].is_array(), "{}: not in the schema", leaf.path);
    }
    // And nothing is in the schema only.
    let known: Vec<_> = all.iter().map(|leaf| leaf.path.as_str()).collect();
    let mut only = Vec::new();
    in_schema_only("", &schema, &known, &mut only);
    assert_eq!(only, ["enabled"], "that one belongs to a parent chart");
    let mut open = Vec::new();
    closed("", &schema, &mut open);
    assert_eq!(open, [".global"], "the one place for keys of others");
}

fn in_schema_only(path: &str, node: &Value, known: &[&str], only: &mut Vec<String>) {
    for (key, below) in node["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if known.contains(&path.as_str()) {
            continue;
        }
        if known.iter().any(|leaf| leaf.starts_with(&format!("{path}."))) {
            in_schema_only(&path, below, known, only);
        } else {
            only.push(path);
        }
    }
}

/// The files in `ci/` are what the chart is rendered with in the other tests: together they set every value.
#[test]
fn every_value_is_tried() {
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).unwrap();
    let files: Vec<Value> = values_files()[1..]
        .iter()
        .map(|file| serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap())
        .collect();
    assert_eq!(untried(&values, &schema(), &files), Vec::<String>::new());
    // One file less, and some are not.
    let without: Vec<_> = files.iter().filter(|file| file["nameOverride"].is_null()).cloned().collect();
    assert!(untried(&values, &schema(), &without).contains(&"nameOverride".to_owned()));
}

/// Values that no file sets to something else than the default.
fn untried(values: &Value, schema: &Value, files: &[Value]) -> Vec<String> {
    let mut all = Vec::new();
    leaves("", values, schema, &mut all);
    let tried = |leaf: &Leaf<'_>| {
        let pointer = format!("/{}", leaf.path.replace('.', "/"));
        files.iter().filter_map(|file| file.pointer(&pointer)).any(|value| value != leaf.default)
    };
    all.iter().filter(|leaf| !tried(leaf)).map(|leaf| leaf.path.clone()).collect()
}

#[test]
fn the_readme_tells_every_value() {
    let text = read("values.yaml");
    let values: Value = serde_saphyr::from_str(&text).unwrap();
    let (comments, schema) = (comments(&text), schema());
    let mut all = Vec::new();
    leaves("", &values, &schema, &mut all);
    // In the order of the file.
    let place = |path: &str| {
        let mut from = 0;
        for (depth, key) in path.split('.').enumerate() {
            let line = format!("\n{}{key}:", "  ".repeat(depth));
            from += format!("\n{text}")[from..].find(&line).unwrap() + 1;
        }
        from
    };
    all.sort_by_key(|leaf| place(&leaf.path));
    let mut table = String::from("| Value | Default | Meaning |\n| --- | --- | --- |\n");
    for Leaf { path, default, .. } in &all {
        let meaning = comments[path].replace('|', "\\|");
        table.push_str(&format!("| `{path}` | `{default}` | {meaning} |\n"));
    }
    check(&chart().join("README.md"), &between(&read("README.md"), "values", &table));
}

#[test]
fn comments_are_found() {
    let found = comments("# One\n# two.\na:\n  # Three.\n  b: 1\n\n  c:\n    - d: 1\ne: []\n");
    let expected = [("a", "One two."), ("a.b", "Three."), ("a.c", ""), ("e", "")];
    assert_eq!(found, expected.map(|(path, comment)| (path.to_owned(), comment.to_owned())).into());
}
