//! Status of `RunaiCluster`.
//!
//! Owns its fields. Must not know which of them are read back (`remembered`) nor when they are written.

#![allow(unreachable_pub, reason = "KubeSchema repeats each struct inside a function body")]

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::schemas;
use crate::domain::{ClusterUuid, Intent, Provenance};

/// What is known of the registration. Written by the operator; users have no right to.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunaiClusterStatus {
    /// metadata.generation that this status speaks of; -1 before the operator has seen the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Identity of the registration; absent until there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::text")]
    pub uuid: Option<ClusterUuid>,
    /// Tenant that the registration belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<i64>,
    /// How this object came to own the registration: Created or Adopted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::text")]
    pub origin: Option<Provenance>,
    /// Name of the registration as the control plane has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Cluster URL or host as the control plane has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Version that the cluster runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// State that the control plane reports, as it comes: WaitingToConnect, Connected, Disconnected, MissingPrerequisites,
    /// ServiceIssues, Unknown, or one that this operator does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The cluster's last sign of life, copied as coarsely as the control plane's livenessGranularity says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::time")]
    pub last_liveness: Option<Timestamp>,
    /// When the registration was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::time")]
    pub created_at: Option<Timestamp>,
    /// When the registration was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::time")]
    pub updated_at: Option<Timestamp>,
    /// When the control plane accepted the request to delete the registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::time")]
    pub delete_requested_at: Option<Timestamp>,
    /// Kind of Kubernetes that the cluster runs, as its agent reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Kubernetes version of the cluster, as its agent reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes_version: Option<String>,
    /// Fields in which the registration differs from the spec and which the API cannot change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["field".into()]))]
    pub drift: Vec<Drift>,
    /// Secret in this object's namespace that holds the install credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install_secret_name: Option<String>,
    /// Value of the annotation runai-operator.io/reconcile-requested-at that was last acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// Internal: a create request whose outcome is not known yet. Its fields may change without notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::internal_object")]
    pub create_pending: Option<Box<Intent>>,
    /// Always present: Ready, Synced, Connected. Present where spec.installInfo is: CredentialsPublished. Present only while True: Reconciling, Stalled, Suspended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
}

/// One field in which the registration differs from the spec.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Name of the field below spec.
    pub field: String,
    /// What the spec asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<String>,
    /// What the control plane has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
}
