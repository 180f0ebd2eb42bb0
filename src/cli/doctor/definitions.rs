//! Whether an installed CRD is the one that this binary was made with.
//!
//! Owns the comparison of two definitions. Pure: it asks nobody.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion,
};
use serde_json::Value;

use crate::api::VERSION;

/// What is wrong with an installed definition, the gravest first.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It is being removed, and with it all objects.
    Deleting,
    /// The API server does not serve it, for this reason.
    NotEstablished(String),
    /// Objects are stored in versions that this binary does not know.
    StoredVersions(Vec<String>),
    /// The version that this binary speaks is not served.
    NotServed,
    /// It lacks these fields.
    Older(Vec<String>),
    /// It has fields that this binary does not know.
    Newer(Vec<String>),
    /// It has the same fields with other rules, at these places.
    Differs(Vec<String>),
}

/// Compares the installed definition with the binary's own.
pub(super) fn judge(own: &CustomResourceDefinition, found: &CustomResourceDefinition) -> Option<Flaw> {
    if found.metadata.deletion_timestamp.is_some() {
        return Some(Flaw::Deleting);
    }
    let status = found.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    if !conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True") {
        let told = conditions.iter().find(|condition| condition.status != "True");
        let why = told.and_then(|condition| condition.message.clone()).unwrap_or_else(|| "no reason given".to_owned());
        return Some(Flaw::NotEstablished(why));
    }
    let stored = status.and_then(|status| status.stored_versions.as_deref()).unwrap_or_default();
    let foreign: Vec<_> = stored.iter().filter(|version| *version != VERSION).cloned().collect();
    if !foreign.is_empty() {
        return Some(Flaw::StoredVersions(foreign));
    }
    let Some(theirs) = version(found).filter(|version| version.served) else { return Some(Flaw::NotServed) };
    let ours = version(own).map(Shape::of).unwrap_or_default();
    ours.against(&Shape::of(theirs))
}

fn version(crd: &CustomResourceDefinition) -> Option<&CustomResourceDefinitionVersion> {
    crd.spec.versions.iter().find(|version| version.name == VERSION)
}

/// A schema as sets that can be compared. Descriptions do not count.
#[derive(Default)]
struct Shape {
    fields: BTreeSet<String>,
    /// Where a rule holds, and the rule.
    rules: BTreeSet<(String, String)>,
}

impl Shape {
    fn of(version: &CustomResourceDefinitionVersion) -> Self {
        let mut shape = Self::default();
        let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        // A schema that came as JSON goes back to it; one that did not would show as a difference.
        shape.read("", &serde_json::to_value(schema).unwrap_or_default());
        shape
    }

    fn read(&mut self, path: &str, schema: &Value) {
        for (key, value) in schema.as_object().into_iter().flatten() {
            match (key.as_str(), value) {
                ("description", _) => {}
                ("properties", Value::Object(properties)) => {
                    for (name, inner) in properties {
                        let field = format!("{path}.{name}");
                        self.fields.insert(field.trim_start_matches('.').to_owned());
                        self.read(&field, inner);
                    }
                }
                ("items" | "additionalProperties", Value::Object(_)) => self.read(&format!("{path}[]"), value),
                _ => {
                    let place = if path.is_empty() { "the object" } else { path.trim_start_matches('.') };
                    self.rules.insert((place.to_owned(), format!("{key}: {value}")));
                }
            }
        }
    }

    fn against(&self, theirs: &Self) -> Option<Flaw> {
        let missing: Vec<_> = self.fields.difference(&theirs.fields).cloned().collect();
        if !missing.is_empty() {
            return Some(Flaw::Older(missing));
        }
        let unknown: Vec<_> = theirs.fields.difference(&self.fields).cloned().collect();
        if !unknown.is_empty() {
            return Some(Flaw::Newer(unknown));
        }
        let places: BTreeSet<_> =
            self.rules.symmetric_difference(&theirs.rules).map(|(place, _)| place.clone()).collect();
        (!places.is_empty()).then(|| Flaw::Differs(places.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::api::crds::crds;
    use serde_json::json;

    /// As an API server gives it back, with one thing changed.
    fn installed(change: impl FnOnce(&mut Value)) -> (CustomResourceDefinition, CustomResourceDefinition) {
        let own = crds().unwrap().remove(0);
        let mut value = serde_json::to_value(&own).unwrap();
        value["status"] = json!({
            "acceptedNames": { "kind": "RunaiCluster", "plural": "runaiclusters" }, "storedVersions": [VERSION],
            "conditions": [{ "type": "Established", "status": "True" }],
        });
        change(&mut value);
        (own, serde_json::from_value(value).unwrap())
    }

    fn flaw(change: impl FnOnce(&mut Value)) -> Option<Flaw> {
        let (own, found) = installed(change);
        judge(&own, &found)
    }

    const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";

    #[test]
    fn the_same_definition_has_no_flaw_and_descriptions_do_not_count() {
        assert_eq!(flaw(|_| ()), None);
        let reworded = flaw(|crd| crd.pointer_mut(SPEC).unwrap()["domain"]["description"] = json!("other words"));
        assert_eq!(reworded, None);
    }

    #[test]
    fn every_flaw_is_seen() {
        let fields = |change: fn(&mut serde_json::Map<String, Value>)| {
            flaw(|crd| change(crd.pointer_mut(SPEC).unwrap().as_object_mut().unwrap()))
        };
        let older = fields(|spec| drop(spec.remove("suspend")));
        assert_eq!(older, Some(Flaw::Older(vec!["spec.suspend".to_owned()])));
        let newer = fields(|spec| drop(spec.insert("description".to_owned(), json!({ "type": "string" }))));
        assert_eq!(newer, Some(Flaw::Newer(vec!["spec.description".to_owned()])));
        let differs = fields(|spec| spec["name"]["maxLength"] = json!(7));
        assert_eq!(differs, Some(Flaw::Differs(vec!["spec.name".to_owned()])));
        let deleting = flaw(|crd| crd["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
        assert_eq!(deleting, Some(Flaw::Deleting));
        let taken = json!([{ "type": "NamesAccepted", "status": "False", "message": "rcl is taken" }]);
        assert_eq!(
            flaw(|crd| crd["status"]["conditions"] = taken),
            Some(Flaw::NotEstablished("rcl is taken".to_owned()))
        );
        let stored = flaw(|crd| crd["status"]["storedVersions"] = json!(["v1alpha1", "v1"]));
        assert_eq!(stored, Some(Flaw::StoredVersions(vec!["v1".to_owned()])));
        assert_eq!(flaw(|crd| crd["spec"]["versions"][0]["served"] = json!(false)), Some(Flaw::NotServed));
        assert_eq!(flaw(|crd| crd["spec"]["versions"][0]["name"] = json!("v1")), Some(Flaw::NotServed));
    }
}
