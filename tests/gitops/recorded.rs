//! An object as a recording: what differs from run to run made the same, the rest as it was.
//!
//! Owns what counts as different from run to run. Must not know any situation.

use serde_json::{Value, json};
use uuid::Uuid;

pub const TIME: &str = "2026-06-01T12:00:00Z";
pub const UUID: &str = "11111111-2222-3333-4444-555555555555";
const UUID_LENGTH: usize = 36;

/// The object without what the API server adds, with one time, one uuid, and `names` in place of addresses.
pub fn recorded(object: &Value, names: &[(String, &str)]) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| !["uid", "resourceVersion", "managedFields", "labels"].contains(&key.as_str()));
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        for (key, value) in annotations {
            // Signed.
            if ["runai-operator.io/registered-with", "runai-operator.io/create-pending"].contains(&key.as_str()) {
                *value = json!("(signed)");
            }
        }
    }
    if object["status"]["createPending"].is_object() {
        object["status"]["createPending"] = json!({});
    }
    // Learnt and counted while other objects come and go.
    if let Some(status) = object["status"].as_object_mut() {
        status.retain(|key, _| !["capabilities", "registrations"].contains(&key.as_str()));
    }
    same(&mut object, names);
    object
}

fn same(value: &mut Value, names: &[(String, &str)]) {
    match value {
        Value::String(text) => {
            let named = names.iter().fold(text.clone(), |text, (real, shown)| text.replace(real, shown));
            *text = if named.parse::<jiff::Timestamp>().is_ok() { TIME.to_owned() } else { without_uuids(&named) };
        }
        Value::Array(items) => items.iter_mut().for_each(|item| same(item, names)),
        Value::Object(fields) => fields.values_mut().for_each(|field| same(field, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

pub fn without_uuids(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_uuid = rest.get(..UUID_LENGTH).is_some_and(|part| Uuid::try_parse(part).is_ok());
        let length = if is_uuid { UUID_LENGTH } else { first.len_utf8() };
        out.push_str(if is_uuid { UUID } else { &rest[..length] });
        rest = &rest[length..];
    }
    out
}

#[test]
fn only_what_differs_from_run_to_run_is_made_the_same() {
    let object = json!({
        "metadata": {
            "name": "a", "uid": "x", "creationTimestamp": "2020-01-01T00:00:00Z",
            "annotations": { "runai-operator.io/registered-with": "secret", "other": "kept" },
        },
        "status": {
            "observedGeneration": 2,
            "message": "registration 0a0a0a0a-1111-2222-3333-444444444444 at http://127.0.0.1:12 (é), and 0a0a0a0a-1111",
        },
    });
    let expected = json!({
        "metadata": {
            "name": "a", "creationTimestamp": TIME,
            "annotations": { "runai-operator.io/registered-with": "(signed)", "other": "kept" },
        },
        "status": {
            "observedGeneration": 2,
            "message": format!("registration {UUID} at https://acme.run.ai (é), and 0a0a0a0a-1111"),
        },
    });
    assert_eq!(recorded(&object, &[("http://127.0.0.1:12".to_owned(), "https://acme.run.ai")]), expected);
}
