//! What a published Secret holds, and how one that is found stands to that. Pure.
//!
//! Owns the keys, the Helm values, labels, annotations and the owner reference, and the signature by which the operator
//! knows its own content again after a restart. Must not know when anything is read or written.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::api::{API_VERSION, FIELD_MANAGER, MANAGED_BY, PUBLISHED};
use crate::domain::{InstallSpec, Shelf};
use crate::runai::{InstallInfo, token_life};

use super::signer::Signer;

const UUID: &str = "uuid";
const CLUSTER_NAME: &str = "clusterName";
const CLUSTER_URL: &str = "clusterUrl";
const CONTROL_PLANE_URL: &str = "controlPlaneUrl";
const VERSION: &str = "version";
const CLIENT_SECRET: &str = "clientSecret";
const CHART_REPO_URL: &str = "chartRepoURL";
const REPOSITORY_NAME: &str = "repositoryName";
const BOOTSTRAP_TOKEN: &str = "bootstrapToken";
const VALUES: &str = "values.yaml";

const KIND: &str = "RunaiCluster";
const OPAQUE: &str = "Opaque";

/// The data of a Secret, as text.
pub(super) type Data = BTreeMap<String, String>;

/// The object that a Secret belongs to.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

/// What is known without asking for the install information.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) uuid: String,
    pub(super) cluster_name: String,
    pub(super) cluster_url: String,
    pub(super) control_plane_url: String,
    pub(super) version: String,
}

/// Value of the annotation on a published Secret.
#[derive(Default, Serialize, Deserialize)]
struct Note {
    /// Over namespace, name, owner and data.
    hmac: String,
    /// Keys of the spec's labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
    /// Keys of the spec's annotations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<String>,
}

/// Puts Secrets together for one object, and judges them.
#[derive(Debug)]
pub(super) struct Press<'a> {
    pub(super) owner: &'a Owner,
    pub(super) asked: &'a InstallSpec,
    pub(super) facts: &'a Facts,
    pub(super) signer: &'a Signer,
}

impl Press<'_> {
    /// How the Secret with the values stands: measured against `info` where that was read, else against itself.
    pub(super) fn main_shelf(&self, found: Option<&Secret>, info: Option<&InstallInfo>) -> Shelf {
        let Some(found) = found else { return Shelf::Missing };
        if !self.is_ours(found) {
            return Shelf::Foreign;
        }
        match self.main(Some(found), info) {
            Some(target) => compare(found, &target),
            None if self.intact(found).is_none() => Shelf::Damaged,
            None => Shelf::Outdated,
        }
    }

    /// How the Secret with the bootstrap token stands. A token that is over is of no use to anybody.
    pub(super) fn bootstrap_shelf(&self, found: Option<&Secret>, info: Option<&InstallInfo>, now: Timestamp) -> Shelf {
        let Some(found) = found else { return Shelf::Missing };
        if !self.is_ours(found) {
            return Shelf::Foreign;
        }
        match self.bootstrap(Some(found), info) {
            Some(target) if info.is_none_or(|info| info.bootstrap_token.is_none()) => {
                let is_over = self.token_life(found).is_some_and(|(_, expires)| now >= expires);
                if is_over { Shelf::Outdated } else { compare(found, &target) }
            }
            Some(target) => compare(found, &target),
            None if self.intact(found).is_none() => Shelf::Damaged,
            None => Shelf::Outdated,
        }
    }

    /// The Secret with the values as it should be: from `info`, or from what it holds already. A client secret that it
    /// holds stays where an answer has none any more: agents installed with it still use it.
    pub(super) fn main(&self, found: Option<&Secret>, info: Option<&InstallInfo>) -> Option<Secret> {
        let held = found.and_then(|found| self.intact(found)).filter(|held| self.is_about_this(held));
        let kept = |key: &str| held.as_ref().and_then(|held| held.get(key)).cloned();
        let mut data = match info {
            Some(info) => Data::from([
                (CHART_REPO_URL.to_owned(), info.chart_repo_url.clone()),
                (REPOSITORY_NAME.to_owned(), info.repository_name.clone()),
            ]),
            None => {
                let is_current = |key: &str, now: &String| held.as_ref()?.get(key).filter(|was| *was == now);
                is_current(VERSION, &self.facts.version)?;
                is_current(CLUSTER_URL, &self.facts.cluster_url)?;
                Data::from([
                    (CHART_REPO_URL.to_owned(), kept(CHART_REPO_URL)?),
                    (REPOSITORY_NAME.to_owned(), kept(REPOSITORY_NAME)?),
                ])
            }
        };
        let told = info.and_then(|info| info.client_secret.as_ref()).map(|secret| secret.expose().to_owned());
        let client_secret = told.or_else(|| kept(CLIENT_SECRET));
        let Facts { uuid, cluster_name, cluster_url, control_plane_url, version } = self.facts;
        data.insert(VALUES.to_owned(), values(self.facts, client_secret.as_deref()));
        data.extend(client_secret.map(|secret| (CLIENT_SECRET.to_owned(), secret)));
        for (key, value) in [
            (UUID, uuid),
            (CLUSTER_NAME, cluster_name),
            (CLUSTER_URL, cluster_url),
            (CONTROL_PLANE_URL, control_plane_url),
            (VERSION, version),
        ] {
            data.insert(key.to_owned(), value.clone());
        }
        Some(self.secret(&self.asked.secret_name, found, data))
    }

    /// The Secret with the bootstrap token as it should be: from `info`, or from what it holds already.
    pub(super) fn bootstrap(&self, found: Option<&Secret>, info: Option<&InstallInfo>) -> Option<Secret> {
        let told = info.and_then(|info| info.bootstrap_token.as_ref()).map(|token| token.expose().to_owned());
        let held = || {
            let held = self.intact(found?).filter(|held| self.is_about_this(held))?;
            held.get(BOOTSTRAP_TOKEN).cloned()
        };
        let token = told.or_else(held)?;
        let data = Data::from([
            (UUID.to_owned(), self.facts.uuid.clone()),
            (CONTROL_PLANE_URL.to_owned(), self.facts.control_plane_url.clone()),
            (VALUES.to_owned(), format!("controlPlane:\n  bootstrapToken: {}\n", quoted(&token))),
            (BOOTSTRAP_TOKEN.to_owned(), token),
        ]);
        Some(self.secret(&self.asked.bootstrap_name(), found, data))
    }

    /// Whether the Secret holds a client secret that was written into it.
    pub(super) fn has_client_secret(&self, found: Option<&Secret>) -> bool {
        found.and_then(|found| self.intact(found)).is_some_and(|held| held.contains_key(CLIENT_SECRET))
    }

    /// When the token in a bootstrap Secret was issued and when it is over.
    pub(super) fn token_life(&self, found: &Secret) -> Option<(Timestamp, Timestamp)> {
        self.intact(found)?.get(BOOTSTRAP_TOKEN).and_then(|token| token_life(token))
    }

    /// A Secret is the object's if it says so with the object's own UID; and it must be of the type that we write.
    fn is_ours(&self, found: &Secret) -> bool {
        belongs_to(found, &self.owner.uid) && found.type_.as_deref() == Some(OPAQUE)
    }

    fn is_about_this(&self, held: &Data) -> bool {
        held.get(UUID) == Some(&self.facts.uuid) && held.get(CONTROL_PLANE_URL) == Some(&self.facts.control_plane_url)
    }

    /// What the operator wrote into the Secret, if that is what it holds.
    fn intact(&self, found: &Secret) -> Option<Data> {
        let data = text_of(found)?;
        let name = found.metadata.name.as_deref().unwrap_or_default();
        self.signer.fits(&self.signed(name, &data), &note_of(found)?.hmac).then_some(data)
    }

    fn signed<'t>(&'t self, name: &'t str, data: &'t Data) -> Vec<&'t str> {
        let Owner { namespace, name: owner, uid } = self.owner;
        let head = ["install-info", namespace, name, owner, uid];
        head.into_iter().chain(data.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()])).collect()
    }

    /// Labels and annotations of others stay, so that nobody fights over them; what an earlier spec asked for goes.
    fn secret(&self, name: &str, found: Option<&Secret>, data: Data) -> Secret {
        let earlier = found.and_then(note_of).unwrap_or_default();
        let keep = |map: Option<&BTreeMap<String, String>>, ours: &[String]| {
            let mut map = map.cloned().unwrap_or_default();
            map.retain(|key, _| !ours.contains(key));
            map
        };
        let mut labels = keep(found.and_then(|found| found.metadata.labels.as_ref()), &earlier.labels);
        labels.extend(self.asked.labels.clone());
        labels.insert(MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned());
        let note = Note {
            hmac: self.signer.sign(&self.signed(name, &data)),
            labels: self.asked.labels.keys().cloned().collect(),
            annotations: self.asked.annotations.keys().cloned().collect(),
        };
        let mut annotations = keep(found.and_then(|found| found.metadata.annotations.as_ref()), &earlier.annotations);
        annotations.extend(self.asked.annotations.clone());
        // A note holds texts only: it always serialises.
        annotations.insert(PUBLISHED.to_owned(), serde_json::to_string(&note).unwrap_or_default());
        let others = found.and_then(|found| found.metadata.owner_references.clone()).unwrap_or_default();
        let others = others
            .into_iter()
            .filter(|reference| reference.uid != self.owner.uid && reference.controller != Some(true));
        Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(self.owner.namespace.clone()),
                resource_version: found.and_then(|found| found.metadata.resource_version.clone()),
                uid: found.and_then(|found| found.metadata.uid.clone()),
                labels: Some(labels),
                annotations: Some(annotations),
                owner_references: Some(std::iter::once(self.reference()).chain(others).collect()),
                ..ObjectMeta::default()
            },
            type_: Some(OPAQUE.to_owned()),
            data: Some(data.into_iter().map(|(key, value)| (key, ByteString(value.into_bytes()))).collect()),
            ..Secret::default()
        }
    }

    fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            name: self.owner.name.clone(),
            uid: self.owner.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(false),
        }
    }
}

fn compare(found: &Secret, target: &Secret) -> Shelf {
    let (is, wanted) = (&found.metadata, &target.metadata);
    let same = found.data == target.data
        && found.type_ == target.type_
        && is.labels == wanted.labels
        && is.annotations == wanted.annotations
        && is.owner_references == wanted.owner_references;
    if same { Shelf::Good } else { Shelf::Differs }
}

/// Whether a Secret names this object as the one it belongs to.
pub(super) fn belongs_to(found: &Secret, uid: &str) -> bool {
    owner_of(found).is_some_and(|reference| reference.uid == uid)
}

/// The `RunaiCluster` that a Secret belongs to.
pub(super) fn owner_of(found: &Secret) -> Option<&OwnerReference> {
    let mut references = found.metadata.owner_references.iter().flatten();
    references.find(|reference| reference.controller == Some(true) && reference.kind == KIND)
}

fn note_of(found: &Secret) -> Option<Note> {
    let text = found.metadata.annotations.as_ref()?.get(PUBLISHED)?;
    serde_json::from_str(text).ok()
}

fn text_of(found: &Secret) -> Option<Data> {
    let data = found.data.iter().flatten();
    data.map(|(key, value)| Some((key.clone(), String::from_utf8(value.0.clone()).ok()?))).collect()
}

/// Values of the chart `runai-cluster`.
fn values(facts: &Facts, client_secret: Option<&str>) -> String {
    let secret = client_secret.map(|secret| format!("  clientSecret: {}\n", quoted(secret))).unwrap_or_default();
    format!(
        "cluster:\n  uid: {}\n  url: {}\ncontrolPlane:\n{secret}  url: {}\n",
        quoted(&facts.uuid),
        quoted(&facts.cluster_url),
        quoted(&facts.control_plane_url)
    )
}

/// A double-quoted YAML scalar: whatever the text, it stays one value.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            other => out.push_str(&format!("\\U{:08X}", u32::from(other))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
#[path = "published_tests.rs"]
mod tests;
