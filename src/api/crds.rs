//! The custom resource definitions, as they are shipped.
//!
//! Owns the last touches to the generated schema. Must not know where the text goes.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::cluster::RunaiCluster;
use super::control_plane::RunaiControlPlane;

/// Why the definitions cannot be put out. Cannot happen with a build that passed its tests.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// The generated schema lost its shape.
    #[error("the generated custom resource definition cannot be read back: {0}")]
    Shape(#[from] serde_json::Error),
    /// YAML cannot be written.
    #[error("the custom resource definition cannot be written as YAML: {0}")]
    Yaml(String),
}

/// The definitions of both kinds, clusters first.
///
/// # Errors
/// When a touched-up schema does not fit the Kubernetes type any more.
pub fn crds() -> Result<Vec<CustomResourceDefinition>, CrdError> {
    [RunaiCluster::crd(), RunaiControlPlane::crd()].into_iter().map(finished).collect()
}

/// The definitions as one YAML document each, in the order of [`crds`].
///
/// # Errors
/// As [`crds`], and when YAML cannot be written.
pub fn crd_documents() -> Result<Vec<(String, String)>, CrdError> {
    crds()?
        .into_iter()
        .map(|crd| {
            let mut value = serde_json::to_value(&crd)?;
            whole_numbers(&mut value);
            let yaml = serde_saphyr::to_string(&value).map_err(|error| CrdError::Yaml(error.to_string()))?;
            Ok((crd.spec.names.plural, format!("{}\n", yaml.trim_end())))
        })
        .collect()
}

/// The definitions as one multi-document YAML text.
///
/// # Errors
/// As [`crd_documents`].
pub fn crds_yaml() -> Result<String, CrdError> {
    Ok(crd_documents()?.iter().map(|(_, yaml)| format!("---\n{yaml}")).collect())
}

fn finished(crd: CustomResourceDefinition) -> Result<CustomResourceDefinition, CrdError> {
    let mut crd = serde_json::to_value(crd)?;
    for version in crd.pointer_mut("/spec/versions").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") {
            tidy(schema);
            if let Some(root) = schema.as_object_mut() {
                root.remove("title");
            }
            // A tool that waits for the object must not take "never seen" for "in order" (kstatus reads this field).
            if let Some(status) = schema.pointer_mut("/properties/status") {
                status["default"] = json!({ "observedGeneration": -1 });
            }
        }
    }
    Ok(serde_json::from_value(crd)?)
}

/// Optional fields are absent, never null; empty defaults say nothing; descriptions flow freely.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.remove("nullable");
            if fields.get("default").is_some_and(|value| value.is_null() || *value == json!([]) || *value == json!({}))
            {
                fields.remove("default");
            }
            if let Some(Value::String(description)) = fields.get_mut("description") {
                *description = flowing(description);
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Writes bounds as `1`, where the Kubernetes type holds `1.0`.
#[allow(clippy::cast_possible_truncation, reason = "only whole numbers far below 2^53 are taken")]
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(float) = number.as_f64().filter(|f| number.is_f64() && f.fract() == 0.0 && f.abs() < 1e15) {
                *value = json!(float as i64);
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Joins the lines of a paragraph.
fn flowing(text: &str) -> String {
    let paragraph = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    text.split("\n\n").map(paragraph).collect::<Vec<_>>().join("\n\n")
}
