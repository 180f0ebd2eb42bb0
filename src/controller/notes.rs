//! The operator's notes on an object: annotations and finalizer, to and from the domain's types.
//!
//! Owns their format and the check of their signatures. Must not know what is decided from them.

use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::api::remembered::remembered;
use crate::api::{CLUSTER_UUID, CREATE_PENDING, FINALIZER, REGISTERED_WITH, Watched};
use crate::domain::{
    Annotated, ClusterUuid, CredentialId, Identity, Intent, Marks, Memory, ObjectKey, Origin, Provenance, Recorded,
    TenantId, open_intent,
};

use super::signer::Signer;

/// The signature among the fields of an intent.
const HMAC: &str = "hmac";

/// Value of the annotation `registered-with`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RegisteredWith {
    uuid: ClusterUuid,
    origin: Origin,
    tenant: TenantId,
    credential: CredentialId,
    provenance: Provenance,
    hmac: String,
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
    let noted = with.and_then(|text| serde_json::from_str::<RegisteredWith>(text).ok());
    let Some(noted) = noted else {
        return (Annotated::Misfit(wish), false);
    };
    let named_same = plain.is_none() || wish == Some(noted.uuid);
    if !named_same || !signer.fits(&identity_parts(&noted, key).each_ref().map(String::as_str), &noted.hmac) {
        return (Annotated::Misfit(wish.or(Some(noted.uuid))), false);
    }
    let identity = Identity {
        uuid: noted.uuid,
        provenance: noted.provenance,
        tenant: Some(noted.tenant),
        origin: Some(noted.origin),
        credential: Some(noted.credential),
    };
    (Annotated::Fits(identity), plain.is_none())
}

/// `None` for an identity that lacks a part: a note that does not say all is not written.
fn write_identity(identity: &Identity, key: &ObjectKey, signer: &Signer) -> Option<String> {
    let mut with = RegisteredWith {
        uuid: identity.uuid,
        origin: identity.origin.clone()?,
        tenant: identity.tenant?,
        credential: identity.credential.clone()?,
        provenance: identity.provenance,
        hmac: String::new(),
    };
    with.hmac = signer.sign(&identity_parts(&with, key).each_ref().map(String::as_str));
    serde_json::to_string(&with).ok()
}

fn identity_parts(with: &RegisteredWith, key: &ObjectKey) -> [String; 8] {
    let RegisteredWith { uuid, origin, tenant, credential, provenance, hmac: _ } = with;
    [
        "identity".to_owned(),
        key.namespace.clone(),
        key.name.clone(),
        uuid.to_string(),
        origin.to_string(),
        tenant.to_string(),
        credential.to_string(),
        provenance.as_str().to_owned(),
    ]
}

// ---- intent ----

/// The signature covers every field that is written, also those that only a newer version knows: an open attempt is
/// believed across an upgrade and its way back, or a second request could follow the first.
fn read_intent(text: &str, object: &Watched, key: &ObjectKey, signer: &Signer) -> Option<Intent> {
    let mut fields: Map<String, Value> = serde_json::from_str(text).ok()?;
    let hmac = fields.remove(HMAC)?;
    let fits = signer.fits(&intent_parts(&fields, object, key).each_ref().map(String::as_str), hmac.as_str()?);
    fits.then(|| serde_json::from_value(Value::Object(fields)).ok())?
}

fn write_intent(intent: &Intent, object: &Watched, key: &ObjectKey, signer: &Signer) -> Option<String> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(intent) else { return None };
    let hmac = signer.sign(&intent_parts(&fields, object, key).each_ref().map(String::as_str));
    fields.insert(HMAC.to_owned(), json!(hmac));
    serde_json::to_string(&fields).ok()
}

/// The object's UID has a part in it: an intent does not live on in an object that was made anew.
fn intent_parts(fields: &Map<String, Value>, object: &Watched, key: &ObjectKey) -> [String; 5] {
    [
        "intent".to_owned(),
        key.namespace.clone(),
        key.name.clone(),
        object.uid().unwrap_or_default(),
        Value::Object(fields.clone()).to_string(),
    ]
}

#[cfg(test)]
#[path = "notes_tests.rs"]
mod tests;
