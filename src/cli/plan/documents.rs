//! The objects in a file, and what becomes of those in the cluster when it is applied.
//!
//! Owns the reading of manifests, and that a manifest replaces the spec, adds annotations and labels, and leaves the
//! rest of an object as it is. Must not know what is planned.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use kube::ResourceExt;
use kube::api::ObjectMeta;
use serde_json::{Map, Value, json};

use crate::api::crds::crds;
use crate::api::{API_VERSION, GROUP, Lenient, RunaiClusterSpec, Watched, convert};
use crate::cli::output::note;
use crate::domain::{ObjectKey, SpecError};

/// The kind that is planned for.
const KIND: &str = "RunaiCluster";

/// Why a file cannot be planned.
#[derive(Debug, thiserror::Error)]
#[error("{from}: {problem}")]
pub struct DocumentError {
    from: String,
    problem: String,
}

/// One RunaiCluster of a file.
pub(super) struct Manifest {
    /// Where it comes from, for messages.
    from: String,
    value: Value,
}

impl Manifest {
    fn error(&self, problem: impl Into<String>) -> DocumentError {
        DocumentError { from: self.from.clone(), problem: problem.into() }
    }
}

/// The RunaiClusters of these files, in their order; `-` is standard input.
///
/// # Errors
/// When a file cannot be read, or holds none.
pub(super) fn read(files: &[String]) -> Result<Vec<Manifest>, DocumentError> {
    let (mut manifests, schema) = (Vec::new(), schema());
    for file in files {
        let from = if file == "-" { "standard input".to_owned() } else { file.clone() };
        let failed = |problem: String| DocumentError { from: from.clone(), problem };
        let text = load(file).map_err(|error| failed(error.to_string()))?;
        let before = manifests.len();
        for document in parse(&text).map_err(failed)? {
            collect(&from, document, &schema, &mut manifests)?;
        }
        if manifests.len() == before {
            return Err(failed(format!("holds no object of kind {KIND}")));
        }
    }
    Ok(manifests)
}

fn load(file: &str) -> std::io::Result<String> {
    if file == "-" {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
}

/// The documents of a text. What a parser quotes of it is not repeated: Secrets may stand beside what is planned for.
fn parse(text: &str) -> Result<Vec<Value>, String> {
    let options = serde_saphyr::options! { budget: serde_saphyr::budget! { max_documents: 1_000_000, max_events: 50_000_000, max_nodes: 20_000_000 } };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let at = error.location().map(|at| format!(" (line {}, column {})", at.line(), at.column()));
        format!("is neither YAML nor JSON{}", at.unwrap_or_default())
    })
}

/// Takes RunaiClusters out of a document, lists included.
fn collect(from: &str, document: Value, schema: &Value, manifests: &mut Vec<Manifest>) -> Result<(), DocumentError> {
    let failed = |problem: String| DocumentError { from: from.to_owned(), problem };
    let text = |field: &str| document[field].as_str().unwrap_or_default().to_owned();
    let (kind, version) = (text("kind"), text("apiVersion"));
    if kind.is_empty() || version.is_empty() {
        return Err(failed("holds a document without apiVersion and kind".to_owned()));
    }
    if kind.ends_with("List") && document["items"].is_array() {
        let Value::Object(mut list) = document else { return Ok(()) };
        let Some(Value::Array(items)) = list.remove("items") else { return Ok(()) };
        for item in items {
            collect(from, item, schema, manifests)?;
        }
        return Ok(());
    }
    if kind != KIND || version.split('/').next() != Some(GROUP) {
        let name = document["metadata"]["name"].as_str().unwrap_or_default();
        note(&format!("{from}: passed over {kind} {name:?}"));
        return Ok(());
    }
    if version != API_VERSION {
        return Err(failed(format!("holds a {KIND} of {version}; this version knows {API_VERSION}")));
    }
    let manifest = Manifest { from: from.to_owned(), value: document };
    if let Some(path) = unknown_field(&manifest.value["spec"], schema) {
        let advice = "`kubectl explain runaicluster.spec` lists the fields that there are";
        let name = manifest.value["metadata"]["name"].as_str().unwrap_or_default();
        return Err(manifest.error(format!("{KIND} {name:?}: there is no field spec.{path}; {advice}")));
    }
    manifests.push(manifest);
    Ok(())
}

/// The schema of a spec, for the names of its fields.
fn schema() -> Value {
    let read = || {
        // The definitions can be made, or no operator could run.
        let definitions = crds().ok()?;
        let version = definitions.first()?.spec.versions.first()?;
        let schema = serde_json::to_value(version.schema.as_ref()?.open_api_v3_schema.as_ref()?).ok()?;
        schema.pointer("/properties/spec").cloned()
    };
    read().unwrap_or_default()
}

/// The first field that the schema does not know: an API server would drop it, or refuse it on request.
fn unknown_field(value: &Value, schema: &Value) -> Option<String> {
    let (fields, known) = (value.as_object()?, schema["properties"].as_object()?);
    fields.iter().find_map(|(name, value)| match known.get(name) {
        None => Some(name.clone()),
        Some(schema) => unknown_field(value, schema).map(|rest| format!("{name}.{rest}")),
    })
}

/// Which object each manifest is about.
///
/// # Errors
/// When one has no name, manifest and flag name different namespaces, or two are about the same object.
pub(super) fn keys(manifests: &[Manifest], flag: Option<&str>, context: &str) -> Result<Vec<ObjectKey>, DocumentError> {
    let mut keys: Vec<ObjectKey> = Vec::with_capacity(manifests.len());
    let mut seen = HashSet::new();
    for manifest in manifests {
        let key = key(manifest, flag, context)?;
        if !seen.insert(key.clone()) {
            return Err(manifest.error(format!("{KIND} {key} comes twice; remove one of the two")));
        }
        keys.push(key);
    }
    Ok(keys)
}

fn key(manifest: &Manifest, flag: Option<&str>, context: &str) -> Result<ObjectKey, DocumentError> {
    let text = |field: &str| manifest.value["metadata"][field].as_str().filter(|text| !text.is_empty());
    let Some(name) = text("name") else {
        return Err(manifest.error(format!("a {KIND} has no metadata.name; give it one")));
    };
    match (text("namespace"), flag) {
        (Some(own), Some(flag)) if own != flag => Err(manifest
            .error(format!("{KIND} {name:?} is of namespace {own}, --namespace says {flag}; leave one of them out"))),
        (own, flag) => Ok(ObjectKey { namespace: own.or(flag).unwrap_or(context).to_owned(), name: name.to_owned() }),
    }
}

/// Puts each object as it would be after an apply in place of the one that is there, or beside the others. Returns for
/// each whether the API server would refuse it, and why.
pub(super) fn lay_over(
    objects: &mut Vec<Watched>,
    keys: &[ObjectKey],
    manifests: &[Manifest],
) -> Vec<Option<SpecError>> {
    let key_of = |object: &Watched| (object.namespace().unwrap_or_default(), object.name_any());
    let places: HashMap<_, _> = objects.iter().enumerate().map(|(at, object)| (key_of(object), at)).collect();
    let mut refusals = Vec::with_capacity(keys.len());
    for (key, manifest) in keys.iter().zip(manifests) {
        match places.get(&(key.namespace.clone(), key.name.clone())).and_then(|at| objects.get_mut(*at)) {
            Some(object) => refusals.push(apply(object, manifest, true)),
            None => {
                let mut object = fresh(key);
                refusals.push(apply(&mut object, manifest, false));
                objects.push(object);
            }
        }
    }
    refusals
}

/// An object before its first apply.
fn fresh(key: &ObjectKey) -> Watched {
    let metadata = ObjectMeta {
        name: Some(key.name.clone()),
        namespace: Some(key.namespace.clone()),
        generation: Some(0),
        ..ObjectMeta::default()
    };
    Watched { metadata, spec: Lenient::Ok(RunaiClusterSpec::default()), status: Lenient::Ok(None) }
}

fn apply(object: &mut Watched, manifest: &Manifest, exists: bool) -> Option<SpecError> {
    let spec = Lenient::<RunaiClusterSpec>::from_value(match &manifest.value["spec"] {
        Value::Null => json!({}),
        spec => spec.clone(),
    });
    let registered = object.status().is_some_and(|status| status.uuid.is_some());
    let refusal = match (&object.spec, &spec) {
        (Lenient::Ok(old), Lenient::Ok(new)) if exists => convert::transition(old, new, registered).err(),
        (Lenient::Ok(_) | Lenient::Err(_), _) => None,
    };
    if !exists || object.spec != spec {
        object.metadata.generation = object.metadata.generation.map(|generation| generation + 1);
    }
    object.spec = spec;
    for (field, place) in [("annotations", &mut object.metadata.annotations), ("labels", &mut object.metadata.labels)] {
        let empty = Map::new();
        let added = manifest.value["metadata"][field].as_object().unwrap_or(&empty);
        let added = added.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        place.get_or_insert_default().extend(added);
    }
    refusal
}

#[cfg(test)]
#[path = "documents_tests.rs"]
mod tests;
