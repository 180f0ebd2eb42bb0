//! Tests of `convert`: every rule of the schema holds in code too, and a deletion can be read from anything.

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

use serde_json::json;

use super::*;

fn spec(json: Value) -> RunaiClusterSpec {
    serde_json::from_value(json).unwrap()
}

fn problem(json: Value) -> String {
    desired("object", &spec(json)).unwrap_err().to_string()
}

#[test]
fn an_empty_spec_is_complete() {
    let desired = desired("object", &spec(json!({}))).unwrap();
    assert_eq!(desired.name.as_str(), "object");
    assert_eq!(desired.domain, None);
    assert_eq!(desired.version, None);
    assert_eq!(desired.management, Management::Manage);
    assert_eq!(desired.adoption, domain::Adoption::default());
    assert_eq!(desired.recreate, domain::RecreatePolicy::Never);
    assert_eq!(desired.ready_when, domain::ReadyWhen::Registered);
    assert!(!desired.suspend);
}

#[test]
fn every_field_arrives() {
    let desired = desired(
        "object",
        &spec(json!({
            "controlPlaneRef": { "name": "west" },
            "name": "East 1",
            "domain": "https://runai.example.com:8443",
            "version": "2.24",
            "managementPolicy": "Observe",
            "adoption": { "policy": "Required", "uuid": "AAAAAAAA-2222-3333-4444-555555555555" },
            "deletion": { "policy": "Orphan", "stalledAfter": "2h", "forceAfter": "0s" },
            "recreatePolicy": "IfMissing",
            "readyWhen": "Connected",
            "suspend": true,
        })),
    )
    .unwrap();
    assert_eq!(desired.name.as_str(), "East 1");
    assert_eq!(desired.domain.unwrap().as_str(), "https://runai.example.com:8443");
    assert_eq!(desired.version.unwrap().as_str(), "2.24");
    assert_eq!(desired.management, Management::Observe);
    assert_eq!(desired.adoption.policy, domain::AdoptionPolicy::Required);
    assert_eq!(desired.adoption.uuid.unwrap().to_string(), "aaaaaaaa-2222-3333-4444-555555555555");
    assert_eq!(desired.recreate, domain::RecreatePolicy::IfMissing);
    assert_eq!(desired.ready_when, domain::ReadyWhen::Connected);
    assert!(desired.suspend);
}

#[test]
fn a_bad_value_names_its_field() {
    let table = [
        (json!({ "name": "" }), "spec.name"),
        (json!({ "name": " a" }), "spec.name"),
        (json!({ "name": "a\tb" }), "spec.name"),
        (json!({ "name": "x".repeat(254) }), "spec.name"),
        (json!({ "domain": "https://a/b" }), "spec.domain"),
        (json!({ "domain": "" }), "spec.domain"),
        (json!({ "version": "latest" }), "spec.version"),
        (json!({ "adoption": { "uuid": "1" } }), "spec.adoption.uuid"),
        (json!({ "controlPlaneRef": { "name": "Default" } }), "spec.controlPlaneRef.name"),
        (json!({ "controlPlaneRef": { "name": "" } }), "spec.controlPlaneRef.name"),
        (json!({ "controlPlaneRef": { "name": "a".repeat(254) } }), "spec.controlPlaneRef.name"),
        (json!({ "deletion": { "stalledAfter": "soon" } }), "spec.deletion.stalledAfter"),
        (json!({ "deletion": { "stalledAfter": "0s" } }), "spec.deletion.stalledAfter: must be at least 1s"),
        (json!({ "deletion": { "forceAfter": "-1s" } }), "spec.deletion.forceAfter"),
    ];
    for (spec, field) in table {
        let problem = problem(spec.clone());
        assert!(problem.starts_with(field), "{spec}: {problem}");
    }
}

#[test]
fn a_deletion_is_read_from_a_sound_spec() {
    let read = |json: Value| deletion(&Lenient::from_value(json));
    assert_eq!(
        read(json!({})),
        Deletion {
            management: Management::Manage,
            policy: None,
            stalled_after: DEFAULT_STALLED_AFTER,
            force_after: None,
        }
    );
    assert_eq!(
        read(json!({
            "managementPolicy": "Observe",
            "deletion": { "policy": "Delete", "stalledAfter": "2m", "forceAfter": "10m" },
        })),
        Deletion {
            management: Management::Observe,
            policy: Some(domain::DeletionPolicy::Delete),
            stalled_after: Duration::from_secs(120),
            force_after: Some(Duration::from_secs(600)),
        }
    );
}

#[test]
fn a_broken_spec_does_not_hold_a_deletion_back() {
    let read = |json: Value| {
        let spec = Lenient::<RunaiClusterSpec>::from_value(json);
        (spec.ok().is_some(), deletion(&spec))
    };
    // `name: 7` makes the whole spec undecodable; what a deletion needs is still read.
    let (decoded, broken) = read(json!({
        "name": 7, "managementPolicy": "Manage",
        "deletion": { "policy": "Delete", "stalledAfter": "2m", "forceAfter": "10m" },
    }));
    assert!(!decoded);
    assert_eq!(broken.management, Management::Manage);
    assert_eq!(broken.policy, Some(domain::DeletionPolicy::Delete));
    assert_eq!(broken.stalled_after, Duration::from_secs(120));
    assert_eq!(broken.force_after, Some(Duration::from_secs(600)));

    for nothing in [json!("text"), json!([]), json!({ "name": 7 }), json!({ "name": 7, "deletion": null })] {
        let (decoded, deletion) = read(nothing);
        assert!(!decoded);
        assert_eq!((deletion.management, deletion.policy), (Management::Manage, None));
    }
    for durations in [json!({ "stalledAfter": "x", "forceAfter": "x" }), json!({ "stalledAfter": 7, "forceAfter": 7 })]
    {
        let (_, deletion) = read(json!({ "deletion": durations }));
        assert_eq!((deletion.stalled_after, deletion.force_after), (DEFAULT_STALLED_AFTER, None));
    }
}

#[test]
fn an_unreadable_policy_deletes_nothing() {
    let read = |json: Value| deletion(&Lenient::from_value(json));
    for policy in [json!("Remove"), json!(7), json!({})] {
        assert_eq!(read(json!({ "managementPolicy": policy })).management, Management::Observe);
        assert_eq!(read(json!({ "deletion": { "policy": policy } })).policy, Some(domain::DeletionPolicy::Orphan));
    }
    assert_eq!(read(json!({ "deletion": "Orphan" })).policy, Some(domain::DeletionPolicy::Orphan));
}

fn control_plane(mut more: Value) -> Result<ControlPlaneSettings, SpecError> {
    if more.get("connectionSecretRef").is_none() {
        more["connectionSecretRef"] = json!({ "name": "connection" });
    }
    settings(&serde_json::from_value(more).unwrap())
}

#[test]
fn control_plane_defaults() {
    assert_eq!(
        control_plane(json!({})).unwrap(),
        ControlPlaneSettings {
            poll_interval: Duration::from_secs(30),
            liveness_granularity: Duration::from_secs(600),
            max_deletions_per_minute: 30,
            cluster_metrics: None,
        }
    );
}

#[test]
fn control_plane_rules() {
    let table = [
        (json!({ "pollInterval": "4s" }), "spec.pollInterval: must be at least 5s"),
        (json!({ "pollInterval": "fast" }), "spec.pollInterval: must be a duration"),
        (json!({ "livenessGranularity": "0s" }), "spec.livenessGranularity: must be at least 1ms"),
        (json!({ "maxDeletionsPerMinute": 0 }), "spec.maxDeletionsPerMinute"),
        (json!({ "maxDeletionsPerMinute": -1 }), "spec.maxDeletionsPerMinute"),
        (json!({ "connectionSecretRef": { "name": "A" } }), "spec.connectionSecretRef.name"),
        (json!({ "caBundleRef": { "kind": "Secret", "name": "" } }), "spec.caBundleRef.name"),
        (json!({ "caBundleRef": { "kind": "Secret", "name": "a", "key": "a/b" } }), "spec.caBundleRef.key"),
        (json!({ "caBundleRef": { "kind": "ConfigMap", "name": "a", "key": "" } }), "spec.caBundleRef.key"),
        (json!({ "clusterMetrics": { "interval": "59s" } }), "spec.clusterMetrics.interval: must be at least 1m"),
    ];
    for (spec, field) in table {
        let problem = control_plane(spec.clone()).unwrap_err().to_string();
        assert!(problem.starts_with(field), "{spec}: {problem}");
    }
    assert!(control_plane(json!({ "pollInterval": "5s", "maxDeletionsPerMinute": 1 })).is_ok());
}

#[test]
fn cluster_metrics_are_off_unless_switched_on_and_all_unless_chosen() {
    let read = |spec: Value| control_plane(json!({ "clusterMetrics": spec })).unwrap().cluster_metrics;
    assert_eq!(read(json!({})), None);
    assert_eq!(read(json!({ "enabled": false, "types": ["TOTAL_GPU"] })), None);
    let all = read(json!({ "enabled": true })).unwrap();
    assert_eq!((all.interval, all.types.len(), all.group_by), (Duration::from_secs(300), 12, None));
    let some = json!({ "enabled": true, "interval": "1h", "types": ["TOTAL_GPU", "GPU_QUOTA", "TOTAL_GPU"], "groupBy": "Nodepool" });
    let some = read(some).unwrap();
    assert_eq!(some.types, [MetricType::TotalGpu, MetricType::GpuQuota]);
    assert_eq!((some.interval, some.group_by), (Duration::from_secs(3600), Some(MetricGroup::Nodepool)));
    for kind in MetricType::ALL {
        assert_eq!(json!(kind), json!(kind.as_str()), "one spelling");
    }
}

#[test]
fn namespace_selectors() {
    let labels = std::collections::BTreeMap::from([("team".to_owned(), "a".to_owned())]);
    let spec = |more: Value| {
        let mut spec = json!({ "connectionSecretRef": { "name": "c" } });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value::<RunaiControlPlaneSpec>(spec).unwrap()
    };
    let absent = spec(json!({}));
    assert!(absent.allows(&labels) && !absent.allows_adoption(&labels) && !absent.needs_namespace_labels());
    let all = spec(json!({ "allowedNamespaces": {}, "adoptionNamespaces": {} }));
    assert!(all.allows(&labels) && all.allows_adoption(&labels) && !all.needs_namespace_labels());
    let some = spec(json!({
        "allowedNamespaces": { "matchLabels": { "team": "b" } },
        "adoptionNamespaces": { "matchLabels": { "team": "a" } },
    }));
    assert!(!some.allows(&labels) && some.allows_adoption(&labels) && some.needs_namespace_labels());
}
