//! What an agent reports about its cluster, and its cached JSON text.
//!
//! Owns the shape of the reported part of `status`. Must not know records, time or requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What an agent reports. Field names are those of the API's `ClusterReportedStatus`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AgentReport {
    /// Kubernetes style conditions.
    pub conditions: Vec<ReportedCondition>,
    /// Services of the agent, by name.
    pub operands: BTreeMap<String, Operand>,
    /// Prerequisites on the cluster.
    pub dependencies: Dependencies,
    /// Kind of Kubernetes.
    pub platform: Platform,
    /// Configuration values.
    pub config: ReportedConfig,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedCondition {
    /// Condition type.
    pub r#type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    pub reason: String,
    /// For people; may be empty.
    pub message: String,
    /// When it changed.
    pub last_transition_time: Timestamp,
}

/// State of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operand {
    /// Works.
    pub ready: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Unready for so long that it counts.
    #[serde(default)]
    pub unready_threshold_crossed: bool,
}

/// Prerequisites on the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dependencies {
    /// Those without which features are missing.
    pub required: BTreeMap<String, Dependency>,
    /// The others.
    pub optional: BTreeMap<String, Dependency>,
}

/// One prerequisite.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// Found on the cluster.
    pub available: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its parts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub components: BTreeMap<String, Self>,
}

/// Kind of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Platform {
    /// `vanilla`, `openshift`, `rke`, `gke`, `aks` or `eks`.
    pub r#type: String,
    /// Kubernetes version.
    pub kube_version: String,
}

impl Default for Platform {
    fn default() -> Self {
        Self { r#type: "vanilla".to_owned(), kube_version: "v1.33.4".to_owned() }
    }
}

/// Configuration values; which of them are shown depends on the profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReportedConfig {
    /// Always shown.
    pub workload_ownership_protection: bool,
    /// From 2.19.
    pub subdomain_enabled: bool,
    /// From 2.24.
    pub ingress_class: String,
}

impl Default for ReportedConfig {
    fn default() -> Self {
        Self { workload_ownership_protection: false, subdomain_enabled: true, ingress_class: "nginx".to_owned() }
    }
}

impl Default for AgentReport {
    fn default() -> Self {
        let ready = |name: &str| (name.to_owned(), Operand { ready: true, ..Operand::default() });
        let present = |name: &str| (name.to_owned(), Dependency { available: true, ..Dependency::default() });
        Self {
            conditions: Vec::new(),
            operands: ["runai-agent", "cluster-sync", "assets-sync", "runai-scheduler", "node-scale-adjuster"]
                .into_iter()
                .map(ready)
                .collect(),
            dependencies: Dependencies {
                required: ["nvidia-gpu-operator", "prometheus", "ingress-controller"]
                    .into_iter()
                    .map(present)
                    .collect(),
                optional: ["knative", "kubeflow-training-operator"].into_iter().map(present).collect(),
            },
            platform: Platform::default(),
            config: ReportedConfig::default(),
        }
    }
}

impl AgentReport {
    /// A report of a healthy cluster, with an `Available` condition since `at`.
    #[must_use]
    pub fn healthy(at: Timestamp) -> Self {
        let available = ReportedCondition {
            r#type: "Available".to_owned(),
            status: "True".to_owned(),
            reason: "AllOperandsReady".to_owned(),
            message: String::new(),
            last_transition_time: at,
        };
        Self { conditions: vec![available], ..Self::default() }
    }

    fn misses_prerequisites(&self) -> bool {
        self.dependencies.required.values().any(|dependency| !dependency.available)
    }

    fn has_service_issues(&self) -> bool {
        self.operands.values().any(|operand| !operand.ready && operand.unready_threshold_crossed)
    }
}

/// A report with what is asked of it on every read worked out once: a list of a thousand clusters is
/// mostly this text.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "AgentReport", into = "AgentReport")]
pub(crate) struct CachedReport(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    report: AgentReport,
    /// Members of the `status` object, without braces and without `config`.
    members: String,
    misses_prerequisites: bool,
    has_service_issues: bool,
}

impl From<AgentReport> for CachedReport {
    fn from(report: AgentReport) -> Self {
        let text = |value: Result<String, serde_json::Error>| value.unwrap_or_else(|_| "null".to_owned());
        let mut conditions = text(serde_json::to_string(&report.conditions));
        // jiff writes the shortest form; the API always shows milliseconds.
        for condition in &report.conditions {
            let at = condition.last_transition_time;
            conditions = conditions.replace(&format!("\"{at}\""), &format!("\"{at:.3}\""));
        }
        let members = format!(
            r#""conditions":{conditions},"operands":{},"platform":{},"dependencies":{}"#,
            text(serde_json::to_string(&report.operands)),
            text(serde_json::to_string(&report.platform)),
            text(serde_json::to_string(&report.dependencies)),
        );
        Self(Arc::new(Inner {
            members,
            misses_prerequisites: report.misses_prerequisites(),
            has_service_issues: report.has_service_issues(),
            report,
        }))
    }
}

impl From<CachedReport> for AgentReport {
    fn from(cached: CachedReport) -> Self {
        cached.0.report.clone()
    }
}

impl CachedReport {
    pub(crate) fn report(&self) -> &AgentReport {
        &self.0.report
    }

    pub(crate) fn members(&self) -> &str {
        &self.0.members
    }

    pub(crate) fn misses_prerequisites(&self) -> bool {
        self.0.misses_prerequisites
    }

    pub(crate) fn has_service_issues(&self) -> bool {
        self.0.has_service_issues
    }
}
