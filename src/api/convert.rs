//! From a stored spec to what the domain understands.
//!
//! Owns the re-check of every rule that the schema carries (an object may be older than a rule) and the lenient reading
//! of what a deletion needs. Must not know the status.

use std::time::Duration;

use serde_json::Value;

use super::cluster::{
    AdoptionPolicy, AdoptionSpec, DeletionPolicy, DeletionSpec, ManagementPolicy, ReadyWhen, RecreatePolicy,
    RunaiClusterSpec,
};
use super::control_plane::{ClusterMetricsSpec, MetricGroup, MetricType, RunaiControlPlaneSpec};
use super::duration;
use super::install;
use super::lenient::Lenient;
use super::selector::{LabelOperator, LabelRequirement, LabelSelector};
use crate::domain::desired::DEFAULT_STALLED_AFTER;
use crate::domain::{
    self, AgentVersion, ClusterDomain, ClusterName, Deletion, Desired, IdError, Management, SpecError,
};

/// Floor of `spec.pollInterval`.
pub const MIN_POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Floor of `spec.clusterMetrics.interval`.
pub const MIN_METRICS_INTERVAL: Duration = Duration::from_secs(60);
/// Floor of `spec.deletion.stalledAfter`.
pub const MIN_STALLED_AFTER: Duration = Duration::from_secs(1);

/// Validates the spec of a live object called `object_name`.
///
/// # Errors
/// Names the first field that cannot be used, and what is allowed.
pub fn desired(object_name: &str, spec: &RunaiClusterSpec) -> Result<Desired, SpecError> {
    let RunaiClusterSpec {
        control_plane_ref,
        name,
        domain,
        version,
        management_policy,
        adoption,
        deletion,
        recreate_policy,
        ready_when,
        suspend,
        install_info,
    } = spec;
    check_object_name("controlPlaneRef.name", &control_plane_ref.name)?;
    check_deletion(deletion.as_ref())?;
    Ok(Desired {
        name: ClusterName::parse(name.as_deref().unwrap_or(object_name)).map_err(in_field("name"))?,
        domain: domain.as_deref().map(ClusterDomain::parse).transpose().map_err(in_field("domain"))?,
        version: version.as_deref().map(AgentVersion::parse).transpose().map_err(in_field("version"))?,
        management: (*management_policy).into(),
        adoption: adoption_of(adoption.as_ref())?,
        recreate: match recreate_policy {
            RecreatePolicy::Never => domain::RecreatePolicy::Never,
            RecreatePolicy::IfMissing => domain::RecreatePolicy::IfMissing,
        },
        ready_when: match ready_when {
            ReadyWhen::Registered => domain::ReadyWhen::Registered,
            ReadyWhen::Connected => domain::ReadyWhen::Connected,
        },
        suspend: *suspend,
        install: install_info.as_ref().map(install::of).transpose()?,
    })
}

/// Whether the schema lets a spec change like that; `registered` is whether the object's status holds a uuid.
///
/// # Errors
/// Names the first field that must stay as it is, and the way out.
pub fn transition(old: &RunaiClusterSpec, new: &RunaiClusterSpec, registered: bool) -> Result<(), SpecError> {
    let fixed = |field: &'static str, what: &str| {
        Err(invalid(field, format!("cannot be added, changed or removed once the cluster is registered; {what}")))
    };
    if old.control_plane_ref != new.control_plane_ref {
        return Err(invalid(
            "controlPlaneRef.name",
            "is immutable; to move a cluster to another control plane, delete this object and create a new one",
        ));
    }
    if registered && old.domain != new.domain {
        return fixed("domain", "keep the old value, or delete this object and create a new one");
    }
    if registered && old.adoption != new.adoption {
        return fixed(
            "adoption",
            "keep the old value, or delete this object with deletion.policy Orphan and create a new one",
        );
    }
    Ok(())
}

/// Reads what a deletion needs from a spec of any shape. Never fails: a duration that cannot be read is its default, a
/// policy that cannot be read counts as the one that deletes nothing.
#[must_use]
pub fn deletion(spec: &Lenient<RunaiClusterSpec>) -> Deletion {
    match spec {
        Lenient::Ok(spec) => {
            let RunaiClusterSpec { management_policy, deletion, .. } = spec;
            let DeletionSpec { policy, stalled_after, force_after } = deletion.clone().unwrap_or_default();
            Deletion {
                management: (*management_policy).into(),
                policy: policy.map(Into::into),
                stalled_after: stalled_after.as_deref().and_then(stalled).unwrap_or(DEFAULT_STALLED_AFTER),
                force_after: force_after.as_deref().and_then(|text| duration::parse(text).ok()),
            }
        }
        Lenient::Err(bad) => deletion_of_value(&bad.raw),
    }
}

fn deletion_of_value(spec: &Value) -> Deletion {
    let at = |pointer: &str| spec.pointer(pointer).filter(|value| !value.is_null());
    let text = |pointer: &str| at(pointer).and_then(Value::as_str);
    Deletion {
        management: at("/managementPolicy").map_or(Management::Manage, |value| match value.as_str() {
            Some("Manage") => Management::Manage,
            _ => Management::Observe,
        }),
        policy: at("/deletion").and_then(|deletion| match deletion.as_object() {
            None => Some(domain::DeletionPolicy::Orphan),
            Some(_) => at("/deletion/policy").map(|value| match value.as_str() {
                Some("Delete") => domain::DeletionPolicy::Delete,
                _ => domain::DeletionPolicy::Orphan,
            }),
        }),
        stalled_after: text("/deletion/stalledAfter").and_then(stalled).unwrap_or(DEFAULT_STALLED_AFTER),
        force_after: text("/deletion/forceAfter").and_then(|text| duration::parse(text).ok()),
    }
}

fn stalled(text: &str) -> Option<Duration> {
    duration::parse(text).ok().filter(|value| *value >= MIN_STALLED_AFTER)
}

/// The validated numbers of a control plane's spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlaneSettings {
    /// How often registrations are listed.
    pub poll_interval: Duration,
    /// How coarsely `lastLiveness` is copied.
    pub liveness_granularity: Duration,
    /// Most deletion requests per minute.
    pub max_deletions_per_minute: u32,
    /// Which metrics of clusters are read; `None` where none are.
    pub cluster_metrics: Option<ClusterMetrics>,
}

/// The validated wish for metrics of clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterMetrics {
    /// How often each cluster's are read.
    pub interval: Duration,
    /// Which.
    pub types: Vec<MetricType>,
    /// What they are split by, where they allow it.
    pub group_by: Option<MetricGroup>,
}

/// Validates the spec of a control plane.
///
/// # Errors
/// Names the first field that cannot be used, and what is allowed.
pub fn settings(spec: &RunaiControlPlaneSpec) -> Result<ControlPlaneSettings, SpecError> {
    let RunaiControlPlaneSpec {
        connection_secret_ref,
        token_api: _,
        ca_bundle_ref,
        allowed_namespaces,
        adoption_namespaces,
        poll_interval,
        liveness_granularity,
        max_deletions_per_minute,
        cluster_metrics,
    } = spec;
    check_object_name("connectionSecretRef.name", &connection_secret_ref.name)?;
    if let Some(ca) = ca_bundle_ref {
        check_object_name("caBundleRef.name", &ca.name)?;
        let key_ok = !ca.key.is_empty()
            && ca.key.len() <= domain::ids::MAX_NAME
            && ca.key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        if !key_ok {
            return Err(invalid(
                "caBundleRef.key",
                "must consist of letters, digits, '-', '_' and '.', such as ca.crt",
            ));
        }
    }
    check_selector("allowedNamespaces.matchExpressions", allowed_namespaces.as_ref())?;
    check_selector("adoptionNamespaces.matchExpressions", adoption_namespaces.as_ref())?;
    Ok(ControlPlaneSettings {
        poll_interval: at_least("pollInterval", poll_interval, MIN_POLL_INTERVAL)?,
        liveness_granularity: at_least("livenessGranularity", liveness_granularity, Duration::from_millis(1))?,
        max_deletions_per_minute: u32::try_from(*max_deletions_per_minute)
            .ok()
            .filter(|count| *count > 0)
            .ok_or_else(|| invalid("maxDeletionsPerMinute", "must be at least 1"))?,
        cluster_metrics: cluster_metrics.as_ref().map(metrics_of).transpose()?.flatten(),
    })
}

fn metrics_of(spec: &ClusterMetricsSpec) -> Result<Option<ClusterMetrics>, SpecError> {
    let ClusterMetricsSpec { enabled, interval, types, group_by } = spec;
    let interval = at_least("clusterMetrics.interval", interval, MIN_METRICS_INTERVAL)?;
    let mut types = if types.is_empty() { MetricType::ALL.to_vec() } else { types.clone() };
    types.sort_unstable();
    types.dedup();
    Ok(enabled.then_some(ClusterMetrics { interval, types, group_by: *group_by }))
}

fn adoption_of(spec: Option<&AdoptionSpec>) -> Result<domain::Adoption, SpecError> {
    let Some(AdoptionSpec { policy, uuid }) = spec else {
        return Ok(domain::Adoption::default());
    };
    Ok(domain::Adoption {
        policy: match policy {
            AdoptionPolicy::Never => domain::AdoptionPolicy::Never,
            AdoptionPolicy::IfExists => domain::AdoptionPolicy::IfExists,
            AdoptionPolicy::Required => domain::AdoptionPolicy::Required,
        },
        uuid: uuid.as_deref().map(str::parse).transpose().map_err(in_field("adoption.uuid"))?,
    })
}

fn check_deletion(spec: Option<&DeletionSpec>) -> Result<(), SpecError> {
    let Some(DeletionSpec { policy: _, stalled_after, force_after }) = spec else {
        return Ok(());
    };
    if let Some(text) = stalled_after {
        at_least("deletion.stalledAfter", text, MIN_STALLED_AFTER)?;
    }
    if let Some(text) = force_after {
        at_least("deletion.forceAfter", text, Duration::ZERO)?;
    }
    Ok(())
}

/// A selector without the values that its operator needs would silently select nothing, or everything.
fn check_selector(field: &'static str, selector: Option<&LabelSelector>) -> Result<(), SpecError> {
    let sound = |requirement: &LabelRequirement| match requirement.operator {
        LabelOperator::In | LabelOperator::NotIn => !requirement.values.is_empty(),
        LabelOperator::Exists | LabelOperator::DoesNotExist => requirement.values.is_empty(),
    };
    if selector.is_none_or(|selector| selector.match_expressions.iter().all(sound)) {
        Ok(())
    } else {
        Err(invalid(
            field,
            "values must be given for the operators In and NotIn, and left out for Exists and DoesNotExist",
        ))
    }
}

fn at_least(field: &'static str, text: &str, floor: Duration) -> Result<Duration, SpecError> {
    let value = duration::parse(text).map_err(|error| invalid(field, error.to_string()))?;
    if value < floor {
        return Err(invalid(field, format!("must be at least {}", duration::format(floor))));
    }
    Ok(value)
}

/// An RFC 1123 subdomain, which every object of a Kubernetes API is named by.
pub(super) fn check_object_name(field: &'static str, name: &str) -> Result<(), SpecError> {
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= domain::ids::MAX_NAME && name.split('.').all(label_ok) {
        Ok(())
    } else {
        Err(invalid(field, "must be an object name: lower case letters, digits, '-' and '.', at most 253 characters"))
    }
}

pub(super) fn in_field(field: &'static str) -> impl Fn(IdError) -> SpecError {
    move |source| SpecError::Field { field, source }
}

pub(super) fn invalid(field: &'static str, problem: impl Into<String>) -> SpecError {
    SpecError::Invalid { field, problem: problem.into() }
}

impl From<ManagementPolicy> for Management {
    fn from(policy: ManagementPolicy) -> Self {
        match policy {
            ManagementPolicy::Manage => Self::Manage,
            ManagementPolicy::Observe => Self::Observe,
        }
    }
}

impl From<DeletionPolicy> for domain::DeletionPolicy {
    fn from(policy: DeletionPolicy) -> Self {
        match policy {
            DeletionPolicy::Delete => Self::Delete,
            DeletionPolicy::Orphan => Self::Orphan,
        }
    }
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
