//! Specs and changes that the API server must refuse with a clear message, and changes that it must let through.
//!
//! Owns the tables. Used by `cel.rs` (the code refuses the same) and by the tests against a real API server.

#![allow(dead_code, reason = "each test binary uses its own part of the tables")]

use serde_json::{Value, json};

/// Which kind a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `RunaiCluster`, namespaced.
    Cluster,
    /// `RunaiControlPlane`, cluster-scoped.
    ControlPlane,
}

/// A spec that nobody may create.
pub(crate) struct BadSpec {
    /// What is wrong, in a few words; unique in the table.
    pub(crate) name: &'static str,
    /// Which kind.
    pub(crate) kind: Kind,
    /// The whole spec.
    pub(crate) spec: Value,
    /// Field that the API server must name.
    pub(crate) field: &'static str,
    /// Part of what it must say.
    pub(crate) message: &'static str,
}

/// A change of a stored object.
pub(crate) struct Update {
    /// What changes, in a few words; unique in the table.
    pub(crate) name: &'static str,
    /// Which kind.
    pub(crate) kind: Kind,
    /// The spec before.
    pub(crate) before: Value,
    /// The status before, written by the operator. Null: none.
    pub(crate) status: Value,
    /// The spec after.
    pub(crate) after: Value,
    /// Part of what the API server must say; `None` when it must accept the change.
    pub(crate) refusal: Option<&'static str>,
}

/// A whole object.
#[must_use]
pub(crate) fn manifest(kind: Kind, name: &str, spec: &Value) -> Value {
    let kind = match kind {
        Kind::Cluster => "RunaiCluster",
        Kind::ControlPlane => "RunaiControlPlane",
    };
    json!({
        "apiVersion": "runai-operator.io/v1alpha1",
        "kind": kind,
        "metadata": { "name": name },
        "spec": spec,
    })
}

fn cluster(name: &'static str, spec: Value, field: &'static str, message: &'static str) -> BadSpec {
    BadSpec { name, kind: Kind::Cluster, spec, field, message }
}

fn control_plane(name: &'static str, mut spec: Value, field: &'static str, message: &'static str) -> BadSpec {
    let fields = spec.as_object_mut().expect("a spec is an object");
    fields.entry("connectionSecretRef").or_insert_with(|| json!({ "name": "connection" }));
    BadSpec { name, kind: Kind::ControlPlane, spec, field, message }
}

/// Specs that nobody may create.
#[must_use]
pub(crate) fn bad_specs() -> Vec<BadSpec> {
    let mut rows = bad_cluster_specs();
    rows.extend(bad_install_infos());
    rows.extend(bad_control_plane_specs());
    rows
}

fn bad_cluster_specs() -> Vec<BadSpec> {
    const NAME: &str = "name must not begin or end with white space and must not hold control characters; remove them";
    const DOMAIN: &str = "domain must be a host such as runai.example.com, with or without a port, or a URL";
    const VERSION: &str = "version must look like 2.24 or 2.24.37";
    const DURATION: &str = "must be a duration such as 30s, 10m or 1h30m";
    const UUID: &str = "adoption.uuid must have the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    const REF: &str = "controlPlaneRef.name must be an object name";
    vec![
        cluster("empty name", json!({ "name": "" }), "spec.name", "should be at least 1 chars long"),
        cluster("long name", json!({ "name": "x".repeat(254) }), "spec.name", "may not be more than 253"),
        cluster("name with a leading space", json!({ "name": " east" }), "spec.name", NAME),
        cluster("name with a trailing no-break space", json!({ "name": "east\u{a0}" }), "spec.name", NAME),
        cluster("name with a line break inside", json!({ "name": "ea\nst" }), "spec.name", NAME),
        cluster("name with a C1 control inside", json!({ "name": "ea\u{85}st" }), "spec.name", NAME),
        cluster("name of the wrong type", json!({ "name": 7 }), "spec.name", "must be of type string"),
        cluster("empty domain", json!({ "domain": "" }), "spec.domain", "should be at least 1 chars long"),
        cluster("long domain", json!({ "domain": "a.".repeat(127) }), "spec.domain", "may not be more than 253"),
        cluster("domain with a path", json!({ "domain": "https://runai.example.com/app" }), "spec.domain", DOMAIN),
        cluster("domain with another scheme", json!({ "domain": "ftp://runai.example.com" }), "spec.domain", DOMAIN),
        cluster("domain with a user", json!({ "domain": "https://me@runai.example.com" }), "spec.domain", DOMAIN),
        cluster("domain with a space", json!({ "domain": "runai example.com" }), "spec.domain", DOMAIN),
        cluster("domain with port 0", json!({ "domain": "runai.example.com:0" }), "spec.domain", DOMAIN),
        cluster("domain with port 65536", json!({ "domain": "runai.example.com:65536" }), "spec.domain", DOMAIN),
        cluster("domain with an empty label", json!({ "domain": "runai..example.com" }), "spec.domain", DOMAIN),
        cluster("domain with a label of 64", json!({ "domain": "a".repeat(64) }), "spec.domain", DOMAIN),
        cluster("domain with an underscore", json!({ "domain": "run_ai.example.com" }), "spec.domain", DOMAIN),
        cluster("empty version", json!({ "version": "" }), "spec.version", "should be at least 1 chars long"),
        cluster("version in words", json!({ "version": "latest" }), "spec.version", VERSION),
        cluster("version with a v", json!({ "version": "v2.24" }), "spec.version", VERSION),
        cluster("major version only", json!({ "version": "2" }), "spec.version", VERSION),
        cluster("version with a space", json!({ "version": "2.24.1 beta" }), "spec.version", VERSION),
        cluster(
            "long version",
            json!({ "version": format!("2.24.{}", "1".repeat(50)) }),
            "spec.version",
            "may not be more than 50",
        ),
        cluster(
            "unknown managementPolicy",
            json!({ "managementPolicy": "Rule" }),
            "spec.managementPolicy",
            "\"Observe\"",
        ),
        cluster(
            "unknown recreatePolicy",
            json!({ "recreatePolicy": "Always" }),
            "spec.recreatePolicy",
            "\"IfMissing\"",
        ),
        cluster("unknown readyWhen", json!({ "readyWhen": "Always" }), "spec.readyWhen", "\"Connected\""),
        cluster("suspend as text", json!({ "suspend": "yes" }), "spec.suspend", "must be of type boolean"),
        cluster(
            "unknown adoption.policy",
            json!({ "adoption": { "policy": "Yes" } }),
            "spec.adoption.policy",
            "\"IfExists\"",
        ),
        cluster("uuid without hyphens", json!({ "adoption": { "uuid": "1".repeat(32) } }), "spec.adoption.uuid", UUID),
        cluster("uuid in braces", json!({ "adoption": { "uuid": "{1234}" } }), "spec.adoption.uuid", UUID),
        cluster("empty uuid", json!({ "adoption": { "uuid": "" } }), "spec.adoption.uuid", UUID),
        cluster(
            "uuid with a letter too far",
            json!({ "adoption": { "uuid": "g1111111-2222-3333-4444-555555555555" } }),
            "spec.adoption.uuid",
            UUID,
        ),
        cluster(
            "unknown deletion.policy",
            json!({ "deletion": { "policy": "Keep" } }),
            "spec.deletion.policy",
            "\"Orphan\"",
        ),
        cluster(
            "stalledAfter without a unit",
            json!({ "deletion": { "stalledAfter": "60" } }),
            "spec.deletion.stalledAfter",
            DURATION,
        ),
        cluster(
            "stalledAfter of zero",
            json!({ "deletion": { "stalledAfter": "0s" } }),
            "spec.deletion.stalledAfter",
            "at least 1s",
        ),
        cluster(
            "stalledAfter in days",
            json!({ "deletion": { "stalledAfter": "1d" } }),
            "spec.deletion.stalledAfter",
            DURATION,
        ),
        cluster(
            "negative forceAfter",
            json!({ "deletion": { "forceAfter": "-1s" } }),
            "spec.deletion.forceAfter",
            DURATION,
        ),
        cluster("empty forceAfter", json!({ "deletion": { "forceAfter": "" } }), "spec.deletion.forceAfter", DURATION),
        cluster(
            "forceAfter as number",
            json!({ "deletion": { "forceAfter": 60 } }),
            "spec.deletion.forceAfter",
            "must be of type string",
        ),
        cluster(
            "upper case controlPlaneRef",
            json!({ "controlPlaneRef": { "name": "West" } }),
            "spec.controlPlaneRef.name",
            REF,
        ),
        cluster(
            "controlPlaneRef with a namespace",
            json!({ "controlPlaneRef": { "name": "a/b" } }),
            "spec.controlPlaneRef.name",
            REF,
        ),
    ]
}

fn bad_install_infos() -> Vec<BadSpec> {
    const NAME: &str = "installInfo.secretName must be an object name";
    const URL: &str = "installInfo.remoteClusterUrl must be an https URL such as https://runai.example.com";
    const KEY: &str = "must be a name such as team or example.com/team";
    const OWNER: &str = "must not have the prefix kubernetes.io, k8s.io, argocd.argoproj.io, runai-operator.io";
    const VALUE: &str = "must consist of letters, digits, '-', '_' and '.'";
    let row = |name, field: &'static str, value: Value, message| {
        let path = field.strip_prefix("spec.installInfo.").expect("a field of installInfo");
        let mut info = json!({ "secretName": "east" });
        info[path] = value;
        cluster(name, json!({ "installInfo": info }), field, message)
    };
    let name = "spec.installInfo.secretName";
    let url = "spec.installInfo.remoteClusterUrl";
    let (labels, annotations) = ("spec.installInfo.labels", "spec.installInfo.annotations");
    let many: serde_json::Map<_, _> = (0..17).map(|n| (format!("key-{n}"), json!("x"))).collect();
    vec![
        cluster("installInfo without a name", json!({ "installInfo": {} }), name, "Required value"),
        row("upper case secretName", name, json!("East"), NAME),
        row("secretName with a namespace", name, json!("other/east"), NAME),
        row("empty secretName", name, json!(""), "should be at least 1 chars long"),
        row("secretName without room for its ending", name, json!("x".repeat(244)), "may not be more than 243"),
        row("remoteClusterUrl without TLS", url, json!("http://east.example.com"), URL),
        row("remoteClusterUrl without a scheme", url, json!("east.example.com"), URL),
        row("remoteClusterUrl with a path", url, json!("https://east.example.com/app"), URL),
        row("remoteClusterUrl with a user", url, json!("https://me@east.example.com"), URL),
        row("remoteClusterUrl with a query", url, json!("https://east.example.com?a=b"), URL),
        row("label key with a blank", labels, json!({ "a b": "x" }), KEY),
        row("label key with two slashes", labels, json!({ "a/b/c": "x" }), KEY),
        row("label of Kubernetes", labels, json!({ "app.kubernetes.io/name": "x" }), OWNER),
        row("label of Argo CD", labels, json!({ "argocd.argoproj.io/secret-type": "cluster" }), OWNER),
        row("label with a blank in its value", labels, json!({ "team": "a b" }), VALUE),
        row("long label", labels, json!({ "team": "x".repeat(64) }), "may not be more than 63"),
        row("many labels", labels, json!(many.clone()), "must have at most 16 items"),
        row("annotation key with a blank", annotations, json!({ "a b": "x" }), KEY),
        row("annotation of Kubernetes", annotations, json!({ "k8s.io/x": "x" }), OWNER),
        row("annotation of the operator", annotations, json!({ "runai-operator.io/published": "x" }), OWNER),
        row("long annotation", annotations, json!({ "team": "x".repeat(1025) }), "may not be more than 1024"),
        row("many annotations", annotations, json!(many), "must have at most 16 items"),
    ]
}

fn bad_control_plane_specs() -> Vec<BadSpec> {
    const DURATION: &str = "must be a duration such as 30s, 10m or 1h30m";
    const VALUES: &str =
        "values must be given for the operators In and NotIn, and left out for Exists and DoesNotExist";
    const ALLOWED: &str = "spec.allowedNamespaces.matchExpressions";
    let expression = |operator: &str, values: &[&str]| json!({ "allowedNamespaces": { "matchExpressions": [{ "key": "team", "operator": operator, "values": values }] } });
    vec![
        BadSpec {
            name: "no connectionSecretRef",
            kind: Kind::ControlPlane,
            spec: json!({}),
            field: "spec.connectionSecretRef",
            message: "Required value",
        },
        control_plane(
            "connectionSecretRef without a name",
            json!({ "connectionSecretRef": {} }),
            "spec.connectionSecretRef.name",
            "Required value",
        ),
        control_plane(
            "connectionSecretRef with a slash",
            json!({ "connectionSecretRef": { "name": "other/secret" } }),
            "spec.connectionSecretRef.name",
            "connectionSecretRef.name must be an object name",
        ),
        control_plane("unknown tokenApi", json!({ "tokenApi": "V3" }), "spec.tokenApi", "\"V2\""),
        control_plane(
            "caBundleRef without a name",
            json!({ "caBundleRef": { "kind": "Secret" } }),
            "spec.caBundleRef.name",
            "Required value",
        ),
        control_plane(
            "caBundleRef without a kind",
            json!({ "caBundleRef": { "name": "ca" } }),
            "spec.caBundleRef.kind",
            "Required value",
        ),
        control_plane(
            "caBundleRef of another kind",
            json!({ "caBundleRef": { "kind": "Pod", "name": "ca" } }),
            "spec.caBundleRef.kind",
            "\"ConfigMap\"",
        ),
        control_plane(
            "caBundleRef with a path as key",
            json!({ "caBundleRef": { "kind": "Secret", "name": "ca", "key": "a/b" } }),
            "spec.caBundleRef.key",
            "caBundleRef.key must consist of letters",
        ),
        control_plane(
            "caBundleRef with a bad name",
            json!({ "caBundleRef": { "kind": "Secret", "name": "CA" } }),
            "spec.caBundleRef.name",
            "caBundleRef.name must be an object name",
        ),
        control_plane(
            "pollInterval below its floor",
            json!({ "pollInterval": "4999ms" }),
            "spec.pollInterval",
            "at least 5s",
        ),
        control_plane(
            "pollInterval as number",
            json!({ "pollInterval": 30 }),
            "spec.pollInterval",
            "must be of type string",
        ),
        control_plane(
            "clusterMetrics.interval below its floor",
            json!({ "clusterMetrics": { "enabled": true, "interval": "59s" } }),
            "spec.clusterMetrics.interval",
            "at least 1m",
        ),
        control_plane("pollInterval in words", json!({ "pollInterval": "fast" }), "spec.pollInterval", DURATION),
        control_plane("pollInterval with a fraction", json!({ "pollInterval": "7.5s" }), "spec.pollInterval", DURATION),
        control_plane(
            "livenessGranularity of zero",
            json!({ "livenessGranularity": "0s" }),
            "spec.livenessGranularity",
            "at least 1ms",
        ),
        control_plane(
            "no deletions at all",
            json!({ "maxDeletionsPerMinute": 0 }),
            "spec.maxDeletionsPerMinute",
            "greater than or equal to 1",
        ),
        control_plane(
            "deletions as text",
            json!({ "maxDeletionsPerMinute": "30" }),
            "spec.maxDeletionsPerMinute",
            "must be of type integer",
        ),
        control_plane("In without values", expression("In", &[]), ALLOWED, VALUES),
        control_plane("Exists with values", expression("Exists", &["a"]), ALLOWED, VALUES),
        control_plane("unknown operator", expression("Like", &["a"]), ALLOWED, "\"NotIn\""),
    ]
}

/// Changes of stored objects, refused and accepted.
#[must_use]
pub(crate) fn updates() -> Vec<Update> {
    const DOMAIN: &str = "domain cannot be added, changed or removed once the cluster is registered";
    const ADOPTION: &str = "adoption cannot be added, changed or removed once the cluster is registered";
    let registered = || json!({ "uuid": "11111111-2222-3333-4444-555555555555" });
    let row = |name, before: Value, status: Value, after: Value, refusal| Update {
        name,
        kind: Kind::Cluster,
        before,
        status,
        after,
        refusal,
    };
    let (a, b) = (json!({ "domain": "a.example.com" }), json!({ "domain": "b.example.com" }));
    let (never, by_name) = (json!({ "adoption": {} }), json!({ "adoption": { "policy": "IfExists" } }));
    let by_uuid = json!({ "adoption": { "uuid": "11111111-2222-3333-4444-555555555555" } });
    let west = json!({ "controlPlaneRef": { "name": "west" } });
    vec![
        row("domain changed", a.clone(), registered(), b.clone(), Some(DOMAIN)),
        row("domain added", json!({}), registered(), a.clone(), Some(DOMAIN)),
        row("domain removed", a.clone(), registered(), json!({}), Some(DOMAIN)),
        row("domain changed before registration", a.clone(), json!(null), b.clone(), None),
        row("domain added before registration", json!({}), json!({ "observedGeneration": 1 }), a.clone(), None),
        row("domain removed before registration", a.clone(), json!({ "observedGeneration": 1 }), json!({}), None),
        row(
            "domain kept, name changed",
            a.clone(),
            registered(),
            json!({ "domain": "a.example.com", "name": "new" }),
            None,
        ),
        row("adoption added", json!({}), registered(), by_name.clone(), Some(ADOPTION)),
        row("adoption removed", by_uuid.clone(), registered(), json!({}), Some(ADOPTION)),
        row("adoption changed", never, registered(), by_name.clone(), Some(ADOPTION)),
        row("adoption changed before registration", by_name, json!(null), by_uuid, None),
        row(
            "controlPlaneRef changed",
            json!({}),
            json!(null),
            west.clone(),
            Some("controlPlaneRef.name is immutable; to move"),
        ),
        row(
            "controlPlaneRef removed",
            west.clone(),
            json!(null),
            json!({}),
            Some("controlPlaneRef.name is immutable; to move"),
        ),
        row(
            "controlPlaneRef spelled out",
            json!({}),
            json!(null),
            json!({ "controlPlaneRef": { "name": "default" } }),
            None,
        ),
        row(
            "everything mutable changed",
            json!({}),
            registered(),
            json!({
                "name": "New Name", "version": "2.25", "managementPolicy": "Observe", "recreatePolicy": "IfMissing",
                "readyWhen": "Connected", "suspend": true,
                "deletion": { "policy": "Orphan", "stalledAfter": "30m", "forceAfter": "0s" },
            }),
            None,
        ),
    ]
}
