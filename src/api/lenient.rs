//! Objects as the operator watches them: metadata is always read, spec and status each on their own.
//!
//! Owns the reading of objects that do not fit the schema, so that one broken object neither ends the watch nor is
//! trapped on its deletion, and a broken spec does not hide the status or the other way round.
//! Must not know what is done about a broken part.

use std::fmt::Debug;

use kube::api::ObjectMeta;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::cluster::{RunaiCluster, RunaiClusterSpec};
use super::control_plane::{RunaiControlPlane, RunaiControlPlaneSpec, RunaiControlPlaneStatus};
use super::status::RunaiClusterStatus;
use crate::domain::SpecError;

/// Annotation in which `kubectl apply` repeats the whole object. Never kept in memory.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A value that may have the wrong shape.
#[derive(Clone, Debug, PartialEq)]
pub enum Lenient<T> {
    /// It has the right shape.
    Ok(T),
    /// It has not.
    Err(Box<Undecodable>),
}

/// A value of the wrong shape, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Undecodable {
    /// What does not fit, with the path of the field.
    pub error: String,
    /// The value as it came.
    pub raw: Value,
}

impl<T> Lenient<T> {
    /// The value, if it has the right shape.
    pub fn ok(&self) -> Option<&T> {
        match self {
            Self::Ok(value) => Some(value),
            Self::Err(_) => None,
        }
    }
}

impl<T: DeserializeOwned> Lenient<T> {
    /// Reads a value of any shape.
    #[must_use]
    pub fn from_value(raw: Value) -> Self {
        match serde_path_to_error::deserialize(&raw) {
            Ok(value) => Self::Ok(value),
            // At the root there is no path to name: the error shows as it is.
            Err(error) => Self::Err(Box::new(Undecodable { error: error.to_string(), raw })),
        }
    }
}

impl<T: Serialize> Lenient<T> {
    /// The value as JSON, whatever its shape.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Ok(value) => serde_json::to_value(value).unwrap_or(Value::Null),
            Self::Err(bad) => bad.raw.clone(),
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from_value)
    }
}

impl<T: Serialize> Serialize for Lenient<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Ok(value) => value.serialize(serializer),
            Self::Err(bad) => bad.raw.serialize(serializer),
        }
    }
}

/// A `RunaiCluster` as watched. For reading and for patching parts of it; as a whole it must not be written back, since
/// `managedFields` and kubectl's copy of the object are left out to save memory.
#[derive(kube::Resource, Clone, Debug, PartialEq, Serialize)]
#[resource(inherit = "RunaiCluster")]
pub struct Watched {
    /// Standard metadata, without what only costs memory.
    pub metadata: ObjectMeta,
    /// The spec; absent counts as empty.
    pub spec: Lenient<RunaiClusterSpec>,
    /// The status; `None` before the first write.
    pub status: Lenient<Option<RunaiClusterStatus>>,
}

/// A `RunaiControlPlane` as watched, like [`Watched`].
#[derive(kube::Resource, Clone, Debug, PartialEq, Serialize)]
#[resource(inherit = "RunaiControlPlane")]
pub struct WatchedControlPlane {
    /// Standard metadata, without what only costs memory.
    pub metadata: ObjectMeta,
    /// The spec.
    pub spec: Lenient<RunaiControlPlaneSpec>,
    /// The status; `None` before the first write.
    pub status: Lenient<Option<RunaiControlPlaneStatus>>,
}

impl Watched {
    /// The spec, or why it cannot be used at all.
    ///
    /// # Errors
    /// [`SpecError::Undecodable`] when it does not have the shape of the schema.
    pub fn spec(&self) -> Result<&RunaiClusterSpec, SpecError> {
        readable(&self.spec)
    }

    /// The status, if there is one that can be read.
    #[must_use]
    pub fn status(&self) -> Option<&RunaiClusterStatus> {
        self.status.ok().and_then(Option::as_ref)
    }

    /// Whether somebody asked for the object's deletion.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }
}

impl WatchedControlPlane {
    /// The spec, or why it cannot be used at all.
    ///
    /// # Errors
    /// [`SpecError::Undecodable`] when it does not have the shape of the schema.
    pub fn spec(&self) -> Result<&RunaiControlPlaneSpec, SpecError> {
        readable(&self.spec)
    }

    /// The status, if there is one that can be read.
    #[must_use]
    pub fn status(&self) -> Option<&RunaiControlPlaneStatus> {
        self.status.ok().and_then(Option::as_ref)
    }
}

fn readable<T>(spec: &Lenient<T>) -> Result<&T, SpecError> {
    match spec {
        Lenient::Ok(spec) => Ok(spec),
        Lenient::Err(bad) => Err(SpecError::Undecodable(bad.error.clone())),
    }
}

/// Any object of ours, before its parts are looked at.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

impl Parts {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut parts = Self::deserialize(deserializer)?;
        parts.metadata.managed_fields = None;
        if let Some(annotations) = &mut parts.metadata.annotations {
            annotations.remove(LAST_APPLIED);
        }
        if parts.spec.is_null() {
            parts.spec = Value::Object(serde_json::Map::new());
        }
        Ok(parts)
    }
}

impl<'de> Deserialize<'de> for Watched {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Parts { metadata, spec, status } = Parts::read(deserializer)?;
        Ok(Self { metadata, spec: Lenient::from_value(spec), status: Lenient::from_value(status) })
    }
}

impl<'de> Deserialize<'de> for WatchedControlPlane {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Parts { metadata, spec, status } = Parts::read(deserializer)?;
        Ok(Self { metadata, spec: Lenient::from_value(spec), status: Lenient::from_value(status) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
    use kube::Resource;
    use serde_json::json;

    use super::*;

    fn watched(spec: Value, status: Value) -> Watched {
        serde_json::from_value(json!({
            "apiVersion": "runai-operator.io/v1alpha1",
            "kind": "RunaiCluster",
            "metadata": {
                "name": "a", "namespace": "n", "generation": 2,
                "annotations": { LAST_APPLIED: "{}", "x": "y" },
                "managedFields": [{ "manager": "kubectl" }],
            },
            "spec": spec,
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_sound_object_is_read_without_ballast() {
        let object = watched(json!({ "name": "east" }), json!({ "observedGeneration": 1, "state": "Connected" }));
        assert_eq!(object.spec().unwrap().name.as_deref(), Some("east"));
        assert_eq!(object.status().unwrap().state.as_deref(), Some("Connected"));
        assert_eq!(object.metadata.managed_fields, None);
        assert_eq!(object.metadata.annotations.as_ref().unwrap().len(), 1);
        assert!(!object.is_deleted());
    }

    #[test]
    fn absent_parts_are_empty() {
        let object: Watched = serde_json::from_value(json!({ "metadata": { "name": "a" } })).unwrap();
        assert_eq!(object.spec().unwrap(), &RunaiClusterSpec::default());
        assert_eq!(object.status, Lenient::Ok(None));
    }

    #[test]
    fn a_broken_spec_does_not_hide_the_status() {
        for spec in [json!("text"), json!([1]), json!({ "name": 7 }), json!({ "managementPolicy": "Rule" })] {
            let object = watched(spec.clone(), json!({ "state": "Connected" }));
            assert!(object.spec().unwrap_err().to_string().contains("spec cannot be read"), "{spec}");
            assert_eq!(object.spec.to_value(), spec);
            assert_eq!(object.status().unwrap().state.as_deref(), Some("Connected"));
        }
    }

    #[test]
    fn the_field_that_does_not_fit_is_named() {
        let table = [
            (json!({ "name": 7 }), "spec cannot be read: name: invalid type: integer `7`, expected a string"),
            (
                json!({ "deletion": { "policy": "Keep" } }),
                "spec cannot be read: deletion.policy: unknown variant `Keep`",
            ),
            (json!("text"), "spec cannot be read: invalid type: string"),
        ];
        for (spec, begin) in table {
            let said = watched(spec, json!({})).spec().unwrap_err().to_string();
            assert!(said.starts_with(begin), "{said}");
        }
    }

    #[test]
    fn a_broken_status_does_not_hide_the_spec() {
        for status in [json!("text"), json!([1]), json!({ "uuid": "no" }), json!({ "conditions": 7 })] {
            let object = watched(json!({ "name": "east" }), status.clone());
            assert!(object.status().is_none(), "{status}");
            assert_eq!(object.spec().unwrap().name.as_deref(), Some("east"));
        }
    }

    #[test]
    fn it_is_the_same_resource() {
        assert_eq!(Watched::kind(&()), "RunaiCluster");
        assert_eq!(Watched::api_version(&()), super::super::API_VERSION);
        assert_eq!(Watched::url_path(&(), Some("n")), RunaiCluster::url_path(&(), Some("n")));
        assert_eq!(WatchedControlPlane::url_path(&(), None), RunaiControlPlane::url_path(&(), None));
    }

    #[test]
    fn a_list_survives_a_broken_member() {
        let list: kube::core::ObjectList<Watched> = serde_json::from_value(json!({
            "apiVersion": "runai-operator.io/v1alpha1", "kind": "RunaiClusterList", "metadata": {},
            "items": [
                { "metadata": { "name": "a" }, "spec": {} },
                { "metadata": { "name": "b" }, "spec": 7, "status": "x" },
            ],
        }))
        .unwrap();
        assert_eq!(list.items.len(), 2);
        assert!(list.items[1].spec().is_err());
    }
}
