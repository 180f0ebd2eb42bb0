//! `RunaiCluster`: one registration, owned by a user in a namespace.
//!
//! Owns the kind's spec. Its status is in `status`. Must not know how a spec is carried out.

#![allow(clippy::duplicated_attributes, reason = "columns of the same type are no repetition")]
#![allow(unreachable_pub, reason = "KubeSchema repeats each struct inside a function body")]

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DEFAULT_CONTROL_PLANE, rules, schemas, status::RunaiClusterStatus};

/// The wanted registration of one cluster.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "runai-operator.io",
    version = "v1alpha1",
    kind = "RunaiCluster",
    plural = "runaiclusters",
    singular = "runaicluster",
    shortname = "rcl",
    category = "runai",
    namespaced,
    status = "RunaiClusterStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "The registration of one cluster with a Run:ai control plane. The operator creates, renames, observes and deletes the registration to match this object.",
    validation = rules::fixed_once_registered(
        "domain",
        "domain cannot be added, changed or removed once the cluster is registered, since the Run:ai API cannot change it; keep the old value, or delete this object and create a new one"
    ),
    validation = rules::fixed_once_registered(
        "adoption",
        "adoption cannot be added, changed or removed once the cluster is registered; keep the old value, or delete this object with deletion.policy Orphan and create a new one"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the registration is in step with the spec."
    ),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.state",
        description = "State that the control plane reports for the cluster."
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".status.version",
        description = "Version that the cluster runs."
    ),
    printcolumn(
        name = "Last-Seen",
        type_ = "date",
        json_path = ".status.lastLiveness",
        description = "Time since the cluster's last sign of life, coarsely."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the object was created."
    ),
    printcolumn(
        name = "UUID",
        type_ = "string",
        priority = 1,
        json_path = ".status.uuid",
        description = "Identity of the registration."
    ),
    printcolumn(
        name = "Name",
        type_ = "string",
        priority = 1,
        json_path = ".status.name",
        description = "Name of the registration."
    ),
    printcolumn(
        name = "Domain",
        type_ = "string",
        priority = 1,
        json_path = ".status.domain",
        description = "Cluster URL or host as registered."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why the object is ready, or not."
    )
)]
#[serde(rename_all = "camelCase")]
pub struct RunaiClusterSpec {
    /// Control plane that the cluster is registered with. Default: the one named default; immutable.
    #[serde(default)]
    pub control_plane_ref: ControlPlaneRef,
    /// Name of the registration, 1 to 253 characters. Default: the name of this object. May change: the registration is
    /// renamed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::registration_name())]
    pub name: Option<String>,
    /// URL or host under which the cluster is reached, 1 to 253 characters, such as https://runai.example.com. Default
    /// none. Fixed once the cluster is registered: the Run:ai API cannot change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::registration_domain())]
    pub domain: Option<String>,
    /// Desired version of the cluster's agent, 1 to 50 characters, such as 2.24. Default: the control plane's choice. May
    /// change; the version that really runs is in status.version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(validation = rules::agent_version())]
    pub version: Option<String>,
    /// Manage: create, rename and delete the registration. Observe: send no write of any kind, also when this object is
    /// deleted. Default Manage; may change.
    #[serde(default)]
    pub management_policy: ManagementPolicy,
    /// Whether a registration that already exists may be taken over. Default: never. May change until the cluster is
    /// registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption: Option<AdoptionSpec>,
    /// What happens to the registration when this object is deleted. Default: see policy. May change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion: Option<DeletionSpec>,
    /// What to do when somebody else deleted the registration. Never: report it. IfMissing: register again, under a new
    /// uuid that the cluster's agent does not know. Default Never; may change.
    #[serde(default)]
    pub recreate_policy: RecreatePolicy,
    /// What the Ready condition waits for. Registered: the registration matches this spec. Connected: also that the
    /// cluster's agent is connected. Default Registered; may change.
    #[serde(default)]
    pub ready_when: ReadyWhen,
    /// True: send no write to the control plane; a deletion of this object still follows its policy. Default false; may
    /// change.
    #[serde(default)]
    pub suspend: bool,
    /// Publishes what the installation of the cluster's agent needs (credentials, URLs, Helm values) as a Secret in this
    /// object's namespace. Default: not published; may change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install_info: Option<InstallInfoSpec>,
}

/// Where the install credentials go. Needs the operator's right to write Secrets here: the chart's value
/// `installInfo.enabled`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstallInfoSpec {
    /// Name of the Secret. A bootstrap token, where the control plane gives one, goes into a second Secret of this name with
    /// the ending -bootstrap. A Secret that is not this object's is left alone. Required; may change: the Secret moves.
    #[schemars(length(min = 1, max = 243))]
    #[x_kube(validation = rules::object_name("installInfo.secretName"))]
    pub secret_name: String,
    /// URL under which the cluster is reached, such as https://runai.example.com. Default: the registration's domain, else
    /// the control plane's own URL. May change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::remote_cluster_url())]
    pub remote_cluster_url: Option<String>,
    /// Labels of the Secret, such as reconcile.fluxcd.io/watch: Enabled. Default none; may change.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::secret_labels")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Secret. Default none; may change.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::secret_annotations")]
    pub annotations: BTreeMap<String, String>,
}

/// Reference to a `RunaiControlPlane`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlPlaneRef {
    /// Name of a RunaiControlPlane. Default default; immutable.
    #[serde(default = "default_control_plane")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name("controlPlaneRef.name"))]
    #[x_kube(validation = rules::immutable(
        "controlPlaneRef.name",
        "to move a cluster to another control plane, delete this object and create a new one"
    ))]
    pub name: String,
}

fn default_control_plane() -> String {
    DEFAULT_CONTROL_PLANE.to_owned()
}

impl Default for ControlPlaneRef {
    fn default() -> Self {
        Self { name: default_control_plane() }
    }
}

/// Whether the operator may write at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ManagementPolicy {
    /// Create, rename, delete.
    #[default]
    Manage,
    /// Only look.
    Observe,
}

/// Whether and what to take over. Needs a namespace that the control plane's `adoptionNamespaces` selects.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptionSpec {
    /// What to do when a registration with exactly the wanted name exists. Never: report a conflict. IfExists: take it over,
    /// else register. Required: take it over, else wait for it. Default Never; may change until the cluster is registered.
    #[serde(default)]
    pub policy: AdoptionPolicy,
    /// Registration to take over, by its uuid; enough by itself, whatever the policy. Default none; may change until the
    /// cluster is registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    #[x_kube(validation = rules::uuid("adoption.uuid"))]
    pub uuid: Option<String>,
}

/// What to do about a taken name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AdoptionPolicy {
    /// It is a conflict.
    #[default]
    Never,
    /// It is taken over; a free one is registered.
    IfExists,
    /// It is taken over; a free one is waited for.
    Required,
}

/// What happens to the registration when its object is deleted.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletionSpec {
    /// Delete: the registration goes with this object. Orphan: it stays. Default: Delete for a registration that this
    /// object created, Orphan for one that it adopted or observes. May change, also during a deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::deletion_policy")]
    pub policy: Option<DeletionPolicy>,
    /// How long a deletion may take before it is reported as Stalled. Default 1h, at least 1s; may change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    #[x_kube(validation = rules::duration("deletion.stalledAfter", "1s"))]
    pub stalled_after: Option<String>,
    /// How long after the deletion request a forced one is sent, which does not wait for the cluster's agent. Default:
    /// never; 0s means at once. May change, also during a deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    #[x_kube(validation = rules::duration("deletion.forceAfter", "0s"))]
    pub force_after: Option<String>,
}

/// Whether the registration goes with its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It goes.
    Delete,
    /// It stays.
    Orphan,
}

/// What to do when somebody else deleted the registration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RecreatePolicy {
    /// Report it.
    #[default]
    Never,
    /// Register again.
    IfMissing,
}

/// What `Ready` waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReadyWhen {
    /// The registration matches the spec.
    #[default]
    Registered,
    /// And its agent is connected.
    Connected,
}
