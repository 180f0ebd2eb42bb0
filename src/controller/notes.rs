//! The operator's notes on an object: annotations and finalizer, to and from the domain's types.
//!
//! Owns their format and the check of their signatures. Must not know what is decided from them.

use jiff::Timestamp;
use kube::ResourceExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::api::remembered::remembered;
use crate::api::{CLUSTER_UUID, CREATE_PENDING, FINALIZER, REGISTERED_WITH, Watched};
use crate::domain::{
    Annotated, ClusterUuid, CredentialId, Identity, Intent, Marks, Memory, ObjectKey, Origin, Provenance, Recorded,
    TenantId, open_intent,
};

use super::signer::Signer;

/// The signature among the fields of a note.
const HMAC: &str = "hmac";

/// Value of the annotation `registered-with`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RegisteredWith {
    uuid: ClusterUuid,
    origin: Origin,
    tenant: TenantId,
    credential: CredentialId,
    provenance: Provenance,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<Timestamp>,
}

/// Namespace and name.
pub(crate) fn key_of(object: &Watched) -> ObjectKey {
    ObjectKey { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}

/// What is written on `object`, put together with what the process remembers.
pub(crate) fn read(object: &Watched, signer: &Signer, memory: &Memory) -> Recorded {
    let key = key_of(object);
    let status = remembered(&object.status);
    let (annotated, incomplete) = read_identity(object, &key, signer);
    let pending = annotation(object, CREATE_PENDING);
    let noted = pending.and_then(|text| read_intent(text, object, &key, signer));
    let identified = status.identity.is_some() || matches!(annotated, Annotated::Fits(_)) || memory.learned.is_some();
    Recorded {
        status: status.identity,
        annotated,
        incomplete,
        foreign_intent: pending.is_some() && noted.is_none(),
        intent_annotated: noted.is_some(),
        intent_told: status.intent.is_some(),
        intent: open_intent(noted, status.intent, identified, memory),
        finalizer: object.finalizers().iter().any(|finalizer| finalizer == FINALIZER),
        delete_requested_at: status.delete_requested_at,
    }
}

/// A JSON merge patch that makes the metadata say `marks`, if nobody else has written in between.
pub(crate) fn mark_patch(object: &Watched, marks: &Marks, signer: &Signer) -> Value {
    let key = key_of(object);
    let mut annotations = Map::new();
    let (uuid, with) = match &marks.identity {
        Some(identity) => (json!(identity.uuid), json!(write_identity(identity, &key, signer))),
        None => (Value::Null, Value::Null),
    };
    let pending = marks.intent.as_ref().map(|intent| write_intent(intent, object, &key, signer));
    for (name, value) in [(CLUSTER_UUID, uuid), (REGISTERED_WITH, with), (CREATE_PENDING, json!(pending))] {
        if !value.is_null() || object.annotations().contains_key(name) {
            annotations.insert(name.to_owned(), value);
        }
    }
    let mut finalizers = object.finalizers().to_vec();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) && object.metadata.deletion_timestamp.is_none() {
        finalizers.push(FINALIZER.to_owned());
    }
    json!({ "metadata": {
        "resourceVersion": object.resource_version(),
        "annotations": annotations,
        "finalizers": finalizers,
    }})
}

/// A JSON merge patch that takes our finalizer off, and nobody else's.
pub(crate) fn release_patch(object: &Watched) -> Value {
    let rest: Vec<_> = object.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).collect();
    json!({ "metadata": { "resourceVersion": object.resource_version(), "finalizers": rest } })
}

fn annotation<'a>(object: &'a Watched, name: &str) -> Option<&'a str> {
    object.annotations().get(name).map(String::as_str)
}

// ---- identity ----

fn read_identity(object: &Watched, key: &ObjectKey, signer: &Signer) -> (Annotated, bool) {
    let plain = annotation(object, CLUSTER_UUID);
    let with = annotation(object, REGISTERED_WITH);
    if plain.is_none() && with.is_none() {
        return (Annotated::Nothing, false);
    }
    let wish = plain.and_then(|text| text.parse::<ClusterUuid>().ok());
    let Some((noted, signed)) = with.and_then(|text| open(text, signer, |fields| identity_parts(fields, key))) else {
        return (Annotated::Misfit(wish), false);
    };
    let RegisteredWith { uuid, origin, tenant, credential, provenance, created } = noted;
    let named_same = plain.is_none() || wish == Some(uuid);
    if !named_same || !signed {
        return (Annotated::Misfit(wish.or(Some(uuid))), false);
    }
    let identity = Identity {
        uuid,
        provenance,
        tenant: Some(tenant),
        origin: Some(origin),
        credential: Some(credential),
        created,
    };
    (Annotated::Fits(identity), plain.is_none())
}

/// `None` for an identity that lacks a part: a note that does not say all is not written.
fn write_identity(identity: &Identity, key: &ObjectKey, signer: &Signer) -> Option<String> {
    let with = RegisteredWith {
        uuid: identity.uuid,
        origin: identity.origin.clone()?,
        tenant: identity.tenant?,
        credential: identity.credential.clone()?,
        provenance: identity.provenance,
        created: identity.created,
    };
    seal(&with, signer, |fields| identity_parts(fields, key))
}

fn identity_parts(fields: &Map<String, Value>, key: &ObjectKey) -> Vec<String> {
    vec!["identity".to_owned(), key.namespace.clone(), key.name.clone(), Value::Object(fields.clone()).to_string()]
}

// ---- intent ----

fn read_intent(text: &str, object: &Watched, key: &ObjectKey, signer: &Signer) -> Option<Intent> {
    let (intent, signed) = open(text, signer, |fields| intent_parts(fields, object, key))?;
    signed.then_some(intent)
}

fn write_intent(intent: &Intent, object: &Watched, key: &ObjectKey, signer: &Signer) -> Option<String> {
    seal(intent, signer, |fields| intent_parts(fields, object, key))
}

/// The object's UID has a part in it: an intent does not live on in an object that was made anew.
fn intent_parts(fields: &Map<String, Value>, object: &Watched, key: &ObjectKey) -> Vec<String> {
    vec![
        "intent".to_owned(),
        key.namespace.clone(),
        key.name.clone(),
        object.uid().unwrap_or_default(),
        Value::Object(fields.clone()).to_string(),
    ]
}

// ---- signatures ----

/// A note and whether its signature fits. The signature covers every field that is written, also those that only a newer
/// version knows: a note is believed across an upgrade and its way back, or a second request could follow the first.
fn open<T: DeserializeOwned>(
    text: &str,
    signer: &Signer,
    parts: impl Fn(&Map<String, Value>) -> Vec<String>,
) -> Option<(T, bool)> {
    let mut fields: Map<String, Value> = serde_json::from_str(text).ok()?;
    let hmac = fields.remove(HMAC)?;
    let signed = signer.fits(&strs(&parts(&fields)), hmac.as_str()?);
    Some((serde_json::from_value(Value::Object(fields)).ok()?, signed))
}

fn seal(note: &impl Serialize, signer: &Signer, parts: impl Fn(&Map<String, Value>) -> Vec<String>) -> Option<String> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(note) else { return None };
    let hmac = signer.sign(&strs(&parts(&fields)));
    fields.insert(HMAC.to_owned(), json!(hmac));
    serde_json::to_string(&fields).ok()
}

fn strs(parts: &[String]) -> Vec<&str> {
    parts.iter().map(String::as_str).collect()
}

#[cfg(test)]
#[path = "notes_tests.rs"]
mod tests;
