//! `RunaiControlPlane`: one connection to a Run:ai control plane, owned by the administrator.
//!
//! Owns the kind's spec and status. Must not know what is in the Secrets it names.

#![allow(clippy::duplicated_attributes, reason = "columns of the same type are no repetition")]
#![allow(unreachable_pub, reason = "KubeSchema repeats each struct inside a function body")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::selector::LabelSelector;
use super::{rules, schemas};

/// Connection to a Run:ai control plane, and who may use it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "runai-operator.io",
    version = "v1alpha1",
    kind = "RunaiControlPlane",
    plural = "runaicontrolplanes",
    singular = "runaicontrolplane",
    shortname = "rcp",
    category = "runai",
    status = "RunaiControlPlaneStatus",
    derive = "PartialEq",
    doc = "A connection to a Run:ai control plane: where it is, which credentials are used, and which namespaces may register clusters with it. Owned by the administrator; cluster-scoped, while its Secrets lie in the operator's own namespace.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the control plane's API answers and its registrations can be listed."
    ),
    printcolumn(
        name = "URL",
        type_ = "string",
        json_path = ".status.url",
        description = "Where the control plane is."
    ),
    printcolumn(
        name = "Total",
        type_ = "integer",
        json_path = ".status.registrations.total",
        description = "Registrations that the control plane lists."
    ),
    printcolumn(
        name = "Managed",
        type_ = "integer",
        json_path = ".status.registrations.managed",
        description = "Registrations that a RunaiCluster object owns."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the object was created."
    )
)]
#[serde(rename_all = "camelCase")]
pub struct RunaiControlPlaneSpec {
    /// Secret with the control plane's URL and credentials. Required; may change.
    pub connection_secret_ref: ConnectionSecretRef,
    /// How tokens are obtained: V1 (POST /api/v1/token with a JSON body) or V2 (the form-encoded OAuth2 endpoint).
    /// Default V1; may change.
    #[serde(default)]
    pub token_api: TokenApi,
    /// Certificate authorities to trust in addition to the system's. Default none; may change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,
    /// Namespaces whose RunaiClusters may use this control plane, by label. Absent (the default) means all. May change;
    /// a namespace that stops being allowed can still delete what it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub allowed_namespaces: Option<LabelSelector>,
    /// Namespaces whose RunaiClusters may adopt or observe registrations that already exist, by label. Absent (the
    /// default) means none; an empty selector means all. May change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub adoption_namespaces: Option<LabelSelector>,
    /// How often all registrations are listed. Default 30s, at least 5s; may change.
    #[serde(default = "default_poll_interval")]
    #[schemars(length(max = 20))]
    #[x_kube(validation = rules::duration("pollInterval", "5s"))]
    pub poll_interval: String,
    /// How coarsely a cluster's last sign of life is copied into the status of its RunaiCluster; a change of state is
    /// always copied at once. Default 10m, greater than zero; may change.
    #[serde(default = "default_liveness_granularity")]
    #[schemars(length(max = 20))]
    #[x_kube(validation = rules::duration("livenessGranularity", "1ms"))]
    pub liveness_granularity: String,
    /// Most deletion requests sent per minute, so that somebody can stop a mass deletion. Default 30, at least 1; may
    /// change.
    #[serde(default = "default_max_deletions")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_deletions_per_minute: i32,
    /// Metrics of the clusters (GPUs, utilization, workloads), read from the control plane and shown to Prometheus. Absent
    /// (the default) means none. May change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_metrics: Option<ClusterMetricsSpec>,
}

/// Which metrics of connected clusters are read, and how often. Each reading is one request for each cluster that a
/// RunaiCluster object owns.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterMetricsSpec {
    /// Whether metrics are read. Default false; may change.
    #[serde(default)]
    pub enabled: bool,
    /// How often each cluster's metrics are read; the readings of all clusters are spread evenly over it. Default 5m, at
    /// least 1m; may change.
    #[serde(default = "default_metrics_interval")]
    #[schemars(length(max = 20))]
    #[x_kube(validation = rules::duration("clusterMetrics.interval", "1m"))]
    pub interval: String,
    /// Which metrics, in the API's spelling. Default all; may change. Types that the control plane does not know are left
    /// out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 12))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub types: Vec<MetricType>,
    /// Splits the metrics that allow it: by node pool, or by category of workload. Default none; may change. Needs a
    /// control plane of 2.23 or newer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<MetricGroup>,
}

/// A metric of a cluster, in the API's spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs, reason = "the API publishes names and no meaning")]
pub enum MetricType {
    TotalGpuNodes,
    GpuUtilization,
    GpuUtilizationDistribution,
    GpuMemoryUtilization,
    CpuUtilization,
    CpuMemoryUtilization,
    TotalGpu,
    GpuQuota,
    AllocatedGpu,
    UnallocatedGpu,
    AvgWorkloadWaitTime,
    WorkloadsCount,
}

impl MetricType {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::TotalGpuNodes,
        Self::GpuUtilization,
        Self::GpuUtilizationDistribution,
        Self::GpuMemoryUtilization,
        Self::CpuUtilization,
        Self::CpuMemoryUtilization,
        Self::TotalGpu,
        Self::GpuQuota,
        Self::AllocatedGpu,
        Self::UnallocatedGpu,
        Self::AvgWorkloadWaitTime,
        Self::WorkloadsCount,
    ];

    /// The API's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TotalGpuNodes => "TOTAL_GPU_NODES",
            Self::GpuUtilization => "GPU_UTILIZATION",
            Self::GpuUtilizationDistribution => "GPU_UTILIZATION_DISTRIBUTION",
            Self::GpuMemoryUtilization => "GPU_MEMORY_UTILIZATION",
            Self::CpuUtilization => "CPU_UTILIZATION",
            Self::CpuMemoryUtilization => "CPU_MEMORY_UTILIZATION",
            Self::TotalGpu => "TOTAL_GPU",
            Self::GpuQuota => "GPU_QUOTA",
            Self::AllocatedGpu => "ALLOCATED_GPU",
            Self::UnallocatedGpu => "UNALLOCATED_GPU",
            Self::AvgWorkloadWaitTime => "AVG_WORKLOAD_WAIT_TIME",
            Self::WorkloadsCount => "WORKLOADS_COUNT",
        }
    }
}

/// Splits the metrics that allow it: by node pool, or by category of workload. Default none; may change. Needs a control
/// plane of 2.23 or newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricGroup {
    /// The category of workloads.
    Category,
    /// The node pool.
    Nodepool,
}

impl MetricGroup {
    /// The API's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Category => "Category",
            Self::Nodepool => "Nodepool",
        }
    }
}

/// Default of `spec.pollInterval`.
pub const DEFAULT_POLL_INTERVAL: &str = "30s";
/// Default of `spec.livenessGranularity`.
pub const DEFAULT_LIVENESS_GRANULARITY: &str = "10m";
/// Default of `spec.clusterMetrics.interval`.
pub const DEFAULT_METRICS_INTERVAL: &str = "5m";
/// Default of `spec.maxDeletionsPerMinute`.
pub const DEFAULT_MAX_DELETIONS: i32 = 30;

fn default_poll_interval() -> String {
    DEFAULT_POLL_INTERVAL.to_owned()
}

fn default_liveness_granularity() -> String {
    DEFAULT_LIVENESS_GRANULARITY.to_owned()
}

fn default_max_deletions() -> i32 {
    DEFAULT_MAX_DELETIONS
}

fn default_metrics_interval() -> String {
    DEFAULT_METRICS_INTERVAL.to_owned()
}

fn default_ca_key() -> String {
    "ca.crt".to_owned()
}

/// Reference to a Secret in the operator's own namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionSecretRef {
    /// Name of a Secret in the operator's own namespace. Its keys: url, and either clientID and clientSecret or appID and
    /// appSecret. Required; may change.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name("connectionSecretRef.name"))]
    pub name: String,
}

/// Which token endpoint is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TokenApi {
    /// `POST /api/v1/token`, JSON.
    #[default]
    V1,
    /// The form-encoded OAuth2 endpoint.
    V2,
}

/// Reference to a CA bundle in the operator's own namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaBundleRef {
    /// What holds the bundle: Secret or ConfigMap. Required; may change.
    pub kind: CaBundleKind,
    /// Name of the Secret or ConfigMap, in the operator's own namespace. Required; may change.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name("caBundleRef.name"))]
    pub name: String,
    /// Key that holds the PEM certificates. Default ca.crt; may change.
    #[serde(default = "default_ca_key")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::data_key("caBundleRef.key"))]
    pub key: String,
}

/// What holds a CA bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CaBundleKind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

impl RunaiControlPlaneSpec {
    /// Whether a namespace with these labels may use the control plane.
    #[must_use]
    pub fn allows(&self, namespace_labels: &BTreeMap<String, String>) -> bool {
        self.allowed_namespaces.as_ref().is_none_or(|selector| selector.selects(namespace_labels))
    }

    /// Whether a namespace with these labels may adopt and observe existing registrations.
    #[must_use]
    pub fn allows_adoption(&self, namespace_labels: &BTreeMap<String, String>) -> bool {
        self.adoption_namespaces.as_ref().is_some_and(|selector| selector.selects(namespace_labels))
    }

    /// Whether [`Self::allows`] or [`Self::allows_adoption`] depend on the labels at all.
    #[must_use]
    pub fn needs_namespace_labels(&self) -> bool {
        [&self.allowed_namespaces, &self.adoption_namespaces].into_iter().flatten().any(|s| !s.is_empty())
    }
}

/// What is known of the control plane. Written by the operator when something changed, never read back.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunaiControlPlaneStatus {
    /// metadata.generation that this status speaks of; -1 before the operator has seen the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the control plane is, from the connection Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Tenant of the registrations seen; absent until one was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<i64>,
    /// What this control plane's API can do, as found out by use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Registrations of the last complete list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registrations: Option<Registrations>,
    /// Ready: whether the API answers and registrations can be listed. Stalled, only while True: what a person must do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
}

/// What the API can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Whether lists can be asked for with metadata only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimal_list: Option<bool>,
    /// Whether lists show registrations that are being deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_requested_for_delete: Option<bool>,
    /// Whether install information comes with a bootstrap token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap_token: Option<bool>,
}

/// How many registrations there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Registrations {
    /// All that the control plane lists.
    pub total: i64,
    /// Those that a RunaiCluster object owns.
    pub managed: i64,
    /// Those that no RunaiCluster object owns.
    pub unmanaged: i64,
    /// Those that are being deleted.
    pub deleting: i64,
}
