//! `spec.installInfo`, from what is stored to what the domain understands.
//!
//! Owns which names, labels and annotations a published Secret may have. Must not know what goes into it.

use std::collections::BTreeMap;

use super::cluster::InstallInfoSpec;
use super::convert::{check_object_name, in_field, invalid};
use crate::domain::desired::BOOTSTRAP_SUFFIX;
use crate::domain::ids::MAX_NAME;
use crate::domain::{ClusterDomain, InstallSpec, SpecError};

/// Whoever owns these prefixes gives their keys a meaning, on a Secret too: they are not the user's to set.
pub(super) const RESERVED: [&str; 4] = ["kubernetes.io", "k8s.io", "argocd.argoproj.io", "runai-operator.io"];
/// Most labels, and most annotations.
pub(super) const MOST_KEYS: usize = 16;
/// Longest value of a label, as Kubernetes has it.
pub(super) const LONGEST_LABEL: usize = 63;
/// Longest value of an annotation.
pub(super) const LONGEST_ANNOTATION: usize = 1024;

const LABELS: &str = "installInfo.labels";
const ANNOTATIONS: &str = "installInfo.annotations";
const URL: &str = "installInfo.remoteClusterUrl";

/// Validates it.
///
/// # Errors
/// Names the first field that cannot be used, and what is allowed.
pub(super) fn of(spec: &InstallInfoSpec) -> Result<InstallSpec, SpecError> {
    let InstallInfoSpec { secret_name, remote_cluster_url, labels, annotations } = spec;
    check_object_name("installInfo.secretName", secret_name)?;
    if secret_name.len() + BOOTSTRAP_SUFFIX.len() > MAX_NAME {
        return Err(invalid("installInfo.secretName", "must have at most 243 characters"));
    }
    if let Some(url) = remote_cluster_url {
        if !url.starts_with("https://") {
            return Err(invalid(URL, "must be an https URL such as https://runai.example.com"));
        }
        ClusterDomain::parse(url).map_err(in_field(URL))?;
    }
    check_keys(LABELS, labels)?;
    check_keys(ANNOTATIONS, annotations)?;
    if !labels.values().all(|value| is_label_value(value)) {
        return Err(invalid(
            LABELS,
            "a value must have at most 63 characters: letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
        ));
    }
    if annotations.values().any(|value| value.chars().count() > LONGEST_ANNOTATION) {
        return Err(invalid(ANNOTATIONS, "a value must have at most 1024 characters"));
    }
    Ok(InstallSpec {
        secret_name: secret_name.clone(),
        remote_url: remote_cluster_url.clone(),
        labels: labels.clone(),
        annotations: annotations.clone(),
    })
}

fn check_keys(field: &'static str, map: &BTreeMap<String, String>) -> Result<(), SpecError> {
    if map.len() > MOST_KEYS {
        return Err(invalid(field, "must have at most 16 keys"));
    }
    for key in map.keys() {
        if !is_qualified(key) {
            return Err(invalid(
                field,
                "a key must be a name such as team or example.com/team: letters, digits, '-', '_' and '.', at most 63 characters",
            ));
        }
        if is_reserved(key) {
            return Err(invalid(
                field,
                format!("a key must not have the prefix {}, or one below it", RESERVED.join(", ")),
            ));
        }
    }
    Ok(())
}

fn is_reserved(key: &str) -> bool {
    let Some((prefix, _)) = key.split_once('/') else { return false };
    RESERVED
        .iter()
        .any(|owner| prefix.strip_suffix(owner).is_some_and(|below| below.is_empty() || below.ends_with('.')))
}

fn is_qualified(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    !name.is_empty() && is_label_value(name) && prefix.is_none_or(|prefix| check_object_name(LABELS, prefix).is_ok())
}

fn is_label_value(value: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    value.len() <= LONGEST_LABEL
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && edge(value.chars().next())
        && edge(value.chars().next_back())
}
