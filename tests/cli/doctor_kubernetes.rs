//! `doctor` with Kubernetes: access, CRDs, rights, and control planes by their objects. One API server for all of it.

use std::collections::BTreeSet;

use runai_simulator::{Config, Simulator};
use serde_json::{Value, json};
use testbed::{OPERATOR_NAMESPACE, Testbed, workspace_dir};

use crate::doctor::{finding, says};
use crate::roles::{Right, granted};
use crate::tool::{Said, Tool};
use crate::world::{Bare, control_plane};

/// The operator's service account.
pub const ACCOUNT: &str = "runai-operator-runai-cluster-operator";
pub const KUBERNETES: &str = "kubernetes";
const CLUSTERS: &str = "runaiclusters.runai-operator.io";
const PLANES: &str = "runaicontrolplanes.runai-operator.io";

pub async fn apply(bed: &Testbed, object: &Value) {
    bed.kubectl_apply(&object.to_string()).await.unwrap();
}

fn secret(name: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": OPERATOR_NAMESPACE },
        "stringData": data,
    })
}

pub async fn ask(tool: &Tool, more: &[&str], code: i32) -> Value {
    let said = tool.run(&[&["doctor", "-o", "json"], more].concat()).await.exits(code);
    assert!(!format!("{said:?}").contains("operator-secret"), "{said:#?}");
    said.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_in_kubernetes() {
    let bare = Bare::start().await;
    let (bed, tool) = (&bare.bed, Tool::with(bare.bed.kubeconfig()));
    // Up to the end: the control plane that is well.
    let _simulator = control_planes(bed, &tool).await;
    access(bed).await;
    missing_rights(bed, &tool).await;
    definitions(bed, &tool).await;
}

/// From none at all to one that works: what is missing is told at each step.
async fn control_planes(bed: &Testbed, tool: &Tool) -> Simulator {
    let report = ask(tool, &[], 1).await;
    says(&report, KUBERNETES, "access", "ok", "v1.", "");
    says(&report, KUBERNETES, "crd-runaiclusters", "ok", "as this binary's", "");
    says(&report, KUBERNETES, "crd-runaicontrolplanes", "ok", "as this binary's", "");
    says(&report, KUBERNETES, "rbac-objects", "ok", "whoever asks has all", "");
    says(&report, KUBERNETES, "control-planes", "warning", "there is no RunaiControlPlane", "create a Secret");
    let report = ask(tool, &["--control-plane", "prod"], 2).await;
    says(&report, KUBERNETES, "control-planes", "problem", "no RunaiControlPlane \"prod\"", "correct --control-plane");

    let mut config = Config::default();
    config.tls.enabled = true;
    let simulator = Simulator::start(config).unwrap();
    let ca = json!({ "caBundleRef": { "kind": "ConfigMap", "name": "authority", "key": "ca.crt" } });
    apply(bed, &control_plane("prod", "connection", &ca)).await;
    let about = "control plane prod";
    let problem = async |found: &str, advice: &str| {
        let report = ask(tool, &[], 2).await;
        says(&report, about, "connection", "problem", found, advice);
        says(&report, about, "token", "skipped", "there is no connection", "");
    };
    problem("Secret runai-operator/connection does not exist", "create it with the keys").await;
    apply(bed, &secret("connection", &json!({ "url": simulator.url(), "clientID": "operator" }))).await;
    problem("ConfigMap runai-operator/authority with key \"ca.crt\" does not exist", "create it").await;
    let map = |data: Value| {
        let metadata = json!({ "name": "authority", "namespace": OPERATOR_NAMESPACE });
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data })
    };
    apply(bed, &map(json!({ "ca.crt": simulator.ca_pem().unwrap() }))).await;
    problem("Secret runai-operator/connection: key `clientSecret` is missing", "correct the RunaiControlPlane").await;
    let good = json!({ "url": simulator.url(), "clientID": "operator", "clientSecret": "operator-secret" });
    apply(bed, &secret("connection", &good)).await;
    apply(bed, &map(json!({ "ca.crt": "nothing" }))).await;
    problem("the CA bundle holds no certificate", "BEGIN CERTIFICATE").await;
    apply(bed, &map(json!({ "ca.crt": simulator.ca_pem().unwrap() }))).await;

    let report = ask(tool, &[], 0).await;
    says(&report, about, "connection", "ok", "with Secret runai-operator/connection", "");
    says(&report, about, "capabilities", "ok", "2.25", "");

    // A proxy of the environment, here one that nobody listens at, is the way to the control plane alone.
    let mut behind = tool.command(&["doctor", "-o", "json"]);
    for name in ["HTTPS_PROXY", "https_proxy"] {
        behind.env(name, "http://127.0.0.1:9");
    }
    let report =
        Said::of(&behind.env_remove("NO_PROXY").env_remove("no_proxy").output().await.unwrap()).exits(2).json();
    says(&report, KUBERNETES, "access", "ok", "v1.", "");
    says(&report, about, "connect", "problem", "", "");

    // Of several, each is checked, or the one that is named. Advice is for objects here.
    apply(bed, &control_plane("other", "connection", &json!({}))).await;
    let report = ask(tool, &[], 2).await;
    says(&report, about, "list", "ok", "0 registrations", "");
    says(&report, "control plane other", "tls", "problem", "not trusted here", "name it in `caBundleRef`");
    says(&report, KUBERNETES, "control-planes", "ok", "2 RunaiControlPlanes", "");
    let report = ask(tool, &["--control-plane", "prod"], 0).await;
    assert!(!report.to_string().contains("plane other"), "{report:#}");
    bed.kubectl_ok(&["delete", "rcp", "other"]).await.unwrap();
    simulator
}

/// Kubeconfigs with which there is no access.
async fn access(bed: &Testbed) {
    let text = std::fs::read_to_string(bed.kubeconfig()).unwrap();
    let good: Value = serde_saphyr::from_str(&text).unwrap();
    let [port] = testbed::free_ports::<1>().unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut config = good.clone();
        change(&mut config);
        config.to_string()
    };
    let table = [
        (with(&|config| config["users"][0]["user"] = json!({ "token": "canary-token" })), "401", "log in again"),
        (
            with(&|config| config["clusters"][0]["cluster"]["server"] = json!(format!("https://127.0.0.1:{port}"))),
            "refused",
            "check server",
        ),
        (
            with(&|config| config["clusters"][0]["cluster"]["server"] = json!("https://kubernetes.invalid")),
            "kubernetes.invalid",
            "check server",
        ),
        (
            with(&|config| {
                drop(config["clusters"][0]["cluster"].as_object_mut().unwrap().remove("certificate-authority-data"));
            }),
            "certificate",
            "certificate authority",
        ),
    ];
    for (content, found, advice) in table {
        let tool = Tool::alone();
        let file = tool.file("kubeconfig", &content);
        let report = ask(&tool, &["--kubeconfig", &file], 2).await;
        says(&report, KUBERNETES, "access", "problem", found, advice);
        says(&report, KUBERNETES, "rbac-objects", "skipped", "no access", "");
        assert!(!report.to_string().contains("canary-token"), "{report:#}");
    }
}

/// As the doctor writes a right.
pub fn written(right: &Right) -> String {
    let (resource, subresource) =
        right.resource.split_once('/').map_or((&*right.resource, None), |(a, b)| (a, Some(b)));
    let group = if right.group.is_empty() { String::new() } else { format!(".{}", right.group) };
    let subresource = subresource.map_or_else(String::new, |subresource| format!("/{subresource}"));
    let name = right.name.as_ref().map_or_else(String::new, |name| format!(" {name}"));
    let place = right.namespace.as_ref().map_or_else(|| "everywhere".to_owned(), |namespace| format!("in {namespace}"));
    format!("{} {resource}{group}{subresource}{name} {place}", right.verb)
}

pub fn missing(report: &Value) -> BTreeSet<String> {
    let checks = ["rbac-objects", "rbac-connections", "rbac-election"];
    let details = |check: &&str| finding(report, KUBERNETES, check)["details"].as_array().cloned().unwrap_or_default();
    checks.iter().flat_map(details).map(|right| right.as_str().unwrap().to_owned()).collect()
}

/// What the doctor wants is what the chart grants, no more and no less.
async fn missing_rights(bed: &Testbed, tool: &Tool) {
    let chart = workspace_dir().join("charts/runai-cluster-operator");
    let documents = bed.helm_template(&chart.display().to_string(), &[]).await.unwrap();
    let all: BTreeSet<_> = granted(&documents, ACCOUNT).iter().map(written).collect();
    let full = format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{ACCOUNT}");
    for account in [ACCOUNT, &format!("{OPERATOR_NAMESPACE}/{ACCOUNT}"), &full] {
        let report = ask(tool, &["--as", account], 0).await;
        assert_eq!(missing(&report), BTreeSet::new());
        says(&report, KUBERNETES, "rbac-objects", "ok", &format!("{full} has all"), "");
    }
    let report = ask(tool, &["--as", "nobody"], 2).await;
    assert_eq!(missing(&report), all, "{report:#}");
    assert!(all.len() > 20);
    says(&report, KUBERNETES, "rbac-objects", "problem", "nobody may not", "bind the chart's roles");
    says(&report, KUBERNETES, "rbac-connections", "problem", "nobody may not", "bind the chart's roles");
    says(&report, KUBERNETES, "rbac-election", "warning", "nobody may not", "leaderElection.enabled");

    // The operator's own kubeconfig: its rights are seen without --as, those of others are not.
    let login = bed.serviceaccount_kubeconfig(OPERATOR_NAMESPACE, ACCOUNT).await.unwrap();
    let own = Tool::with(login.kubeconfig());
    let report = ask(&own, &[], 0).await;
    assert_eq!(missing(&report), BTreeSet::new());
    says(&report, KUBERNETES, "crd-runaiclusters", "ok", "as this binary's", "");
    says(&report, KUBERNETES, "crd-runaicontrolplanes", "skipped", "may not read it", "");
    let report = ask(&own, &["--as", "nobody"], 1).await;
    says(&report, KUBERNETES, "rbac-objects", "warning", "cannot be asked for", "subjectaccessreviews");

    // One right less.
    let patch = r#"[{"op":"replace","path":"/rules/0/verbs","value":["list","watch"]}]"#;
    bed.kubectl_ok(&["patch", "clusterrole", ACCOUNT, "--type=json", "-p", patch]).await.unwrap();
    testbed::wait_until(crate::world::SOON, "the right is gone", async || {
        let report = tool.run(&["doctor", "-o", "json", "--as", ACCOUNT]).await.json();
        let want = BTreeSet::from(["patch runaiclusters.runai-operator.io everywhere".to_owned()]);
        if missing(&report) == want { Ok(()) } else { Err(format!("{report:#}")) }
    })
    .await
    .unwrap();
}

/// Waits until the finding about the CRD of RunaiClusters is as wanted.
async fn until_found(tool: &Tool, what: &str, wanted: impl Fn(&Value) -> bool) {
    testbed::wait_until(crate::world::SOON, what, async || {
        let report = tool.run(&["doctor", "-o", "json"]).await.json();
        if wanted(finding(&report, KUBERNETES, "crd-runaiclusters")) { Ok(()) } else { Err(format!("{report:#}")) }
    })
    .await
    .unwrap();
}

async fn definitions(bed: &Testbed, tool: &Tool) {
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let patch = async |patch: Value, more: &[&str]| {
        let patch = patch.to_string();
        let args = ["patch", "crd", CLUSTERS, "--type=json", "-p", &patch];
        bed.kubectl_ok(&[&args[..], more].concat()).await.unwrap();
    };
    let add =
        |field: &str| json!([{ "op": "add", "path": format!("{schema}/{field}"), "value": { "type": "string" } }]);
    patch(add("someday"), &[]).await;
    let report = ask(tool, &[], 1).await;
    says(&report, KUBERNETES, "crd-runaiclusters", "warning", "newer than this binary", "that the CRDs came with");
    assert_eq!(finding(&report, KUBERNETES, "crd-runaiclusters")["details"], json!(["spec.someday"]));
    patch(json!([{ "op": "remove", "path": format!("{schema}/suspend") }]), &[]).await;
    let report = ask(tool, &[], 2).await;
    says(&report, KUBERNETES, "crd-runaiclusters", "problem", "older than this binary", "crds | kubectl apply");
    assert_eq!(finding(&report, KUBERNETES, "crd-runaiclusters")["details"], json!(["spec.suspend"]));

    // As after a downgrade from a release with another version.
    let version = json!([
        { "op": "copy", "from": "/spec/versions/0", "path": "/spec/versions/1" },
        { "op": "replace", "path": "/spec/versions/1/name", "value": "v1" },
        { "op": "replace", "path": "/spec/versions/0/storage", "value": false },
    ]);
    patch(version, &[]).await;
    until_found(tool, "v1 is stored", |found| found["details"] == json!(["v1"])).await;
    let report = ask(tool, &[], 2).await;
    says(
        &report,
        KUBERNETES,
        "crd-runaiclusters",
        "problem",
        "versions that this binary does not know",
        "use the operator",
    );

    bed.kubectl_ok(&["delete", "crd", CLUSTERS, PLANES]).await.unwrap();
    let report = ask(tool, &[], 2).await;
    says(&report, KUBERNETES, "crd-runaiclusters", "problem", &format!("CRD {CLUSTERS} is missing"), "kubectl apply");
    says(
        &report,
        KUBERNETES,
        "crd-runaicontrolplanes",
        "problem",
        &format!("CRD {PLANES} is missing"),
        "kubectl apply",
    );
    says(&report, KUBERNETES, "control-planes", "skipped", "their kind is not installed", "");

    // Another definition of the group has the name of the kind.
    let other = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "others.runai-operator.io" },
        "spec": {
            "group": "runai-operator.io", "scope": "Namespaced", "names": { "plural": "others", "kind": "RunaiCluster" },
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object" } },
            }],
        },
    });
    apply(bed, &other).await;
    bed.kubectl_handle().established(&["others.runai-operator.io"]).await.unwrap();
    bed.kubectl_apply(&tool.run(&["crds"]).await.exits(0).stdout).await.unwrap();
    let refused = |found: &Value| found["found"].as_str().unwrap().contains("already in use");
    until_found(tool, "the name is refused", refused).await;
    let report = ask(tool, &[], 2).await;
    says(
        &report,
        KUBERNETES,
        "crd-runaiclusters",
        "problem",
        "does not serve the CRD",
        "remove what stands in its way",
    );
}
