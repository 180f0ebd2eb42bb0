//! What the user asks for, parsed once: later code has nothing to doubt.
//!
//! Owns the validated form of a spec. Must not know the Kubernetes schema it came from.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ids::{AgentVersion, ClusterDomain, ClusterName, ClusterUuid, IdError};

/// Default of `spec.deletion.stalledAfter`.
pub const DEFAULT_STALLED_AFTER: Duration = Duration::from_secs(3600);

/// The validated spec of a live object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Registration name.
    pub name: ClusterName,
    /// Cluster URL or host; sent once, at create.
    pub domain: Option<ClusterDomain>,
    /// Desired agent version; sent at create.
    pub version: Option<AgentVersion>,
    /// Whether the operator may write at all.
    pub management: Management,
    /// Whether and what to take over.
    pub adoption: Adoption,
    /// What to do when somebody else deleted the registration.
    pub recreate: RecreatePolicy,
    /// What `Ready` waits for.
    pub ready_when: ReadyWhen,
    /// No remote write while set; a deletion still follows its policy.
    pub suspend: bool,
    /// Where to publish the install credentials, if anywhere.
    pub install: Option<InstallSpec>,
}

/// `spec.installInfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallSpec {
    /// The Secret, in the object's namespace.
    pub secret_name: String,
    /// URL under which the cluster is reached, if it is not the domain.
    pub remote_url: Option<String>,
    /// Labels of the Secret, beside the operator's own.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Secret, beside the operator's own.
    pub annotations: BTreeMap<String, String>,
}

impl InstallSpec {
    /// The Secret for the bootstrap token.
    #[must_use]
    pub fn bootstrap_name(&self) -> String {
        bootstrap_name(&self.secret_name)
    }
}

/// The Secret for the bootstrap token beside the Secret `name`.
#[must_use]
pub fn bootstrap_name(name: &str) -> String {
    format!("{name}{BOOTSTRAP_SUFFIX}")
}

/// What the name of a bootstrap Secret ends in.
pub const BOOTSTRAP_SUFFIX: &str = "-bootstrap";

/// What cleanup needs. Read leniently, so that a bad spec cannot hold an object back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Whether the operator may write at all.
    pub management: Management,
    /// What the user chose; by default it depends on the provenance.
    pub policy: Option<DeletionPolicy>,
    /// After this long an open deletion is called stalled.
    pub stalled_after: Duration,
    /// After this long, counted from the delete request, a forced deletion is sent. Unset: never.
    pub force_after: Option<Duration>,
}

/// `spec.managementPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Management {
    /// Create, rename, delete.
    #[default]
    Manage,
    /// No remote write of any kind, also on delete.
    Observe,
}

/// `spec.adoption`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Adoption {
    /// By name.
    pub policy: AdoptionPolicy,
    /// By uuid: stronger than the policy.
    pub uuid: Option<ClusterUuid>,
}

/// `spec.adoption.policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AdoptionPolicy {
    /// A taken name is a conflict.
    #[default]
    Never,
    /// A taken name is taken over, a free one is registered.
    IfExists,
    /// A taken name is taken over, a free one is waited for.
    Required,
}

/// `spec.deletion.policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// Delete the registration with the object.
    Delete,
    /// Leave it.
    Orphan,
}

/// `spec.recreatePolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RecreatePolicy {
    /// Report only.
    #[default]
    Never,
    /// Register again.
    IfMissing,
}

/// `spec.readyWhen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReadyWhen {
    /// The registration matches the spec.
    #[default]
    Registered,
    /// And its agent is connected.
    Connected,
}

/// A spec that cannot be used. Nothing is written remotely for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A field's value is not allowed.
    #[error("spec.{field}: {source}")]
    Field {
        /// Path below `spec`.
        field: &'static str,
        /// What is wrong and what is allowed.
        source: IdError,
    },
    /// Two fields contradict each other, or a value has the wrong form.
    #[error("spec.{field}: {problem}")]
    Invalid {
        /// Path below `spec`.
        field: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The spec does not have the shape of this version's schema.
    #[error("spec cannot be read: {0}; correct it, `kubectl explain` shows what the spec of this kind may hold")]
    Undecodable(String),
}
