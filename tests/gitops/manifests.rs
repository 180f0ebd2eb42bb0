//! The manifests for Argo CD and Flux: decoded by those tools' own Go types, and true to the chart and the objects that
//! they speak of.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testbed::TemporaryDirectory;
use tokio::process::Command;

use crate::files::{documents, path, yaml_below};
use crate::judges::{Judges, Readiness};

/// The documents of `gitops/` that are objects of Argo CD or Flux.
fn of_the_tools() -> Vec<Value> {
    let is_theirs = |document: &Value| {
        let version = document["apiVersion"].as_str().unwrap();
        version.starts_with("argoproj.io/") || version.contains(".fluxcd.io/")
    };
    let recordings = path("gitops/argocd/resource_customizations");
    let files = yaml_below("gitops").into_iter().filter(|file| !file.starts_with(&recordings));
    files.flat_map(|file| documents(&file)).filter(is_theirs).collect()
}

fn named<'a>(all: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = all.iter().find(|document| document["kind"] == kind && document["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[tokio::test]
async fn every_manifest_is_one_of_argo_cd_or_flux() {
    let judges = Judges::new().await;
    let all = of_the_tools();
    let kinds: BTreeSet<_> = all.iter().map(|document| document["kind"].as_str().unwrap()).collect();
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["Application", "ApplicationSet", "HelmRelease", "HelmRepository", "Kustomization"]
    );
    for finding in judges.manifests(&all).await {
        assert!(finding.error.is_none(), "{finding:?}");
    }

    // A field that is not there and an expression that is none are seen.
    let mut application = named(&all, "Application", "runai").clone();
    application["spec"]["syncPolicy"]["prune"] = json!(true);
    let mut release = named(&all, "HelmRelease", "gpu-east").clone();
    release["spec"]["dependsOn"][0]["readyExpr"] = json!("dep.status.history");
    let mut kustomization = named(&all, "Kustomization", "runai-clusters").clone();
    kustomization["spec"]["healthCheckExprs"][0]["current"] = json!("status.(");
    for finding in judges.manifests([&application, &release, &kustomization]).await {
        assert!(finding.error.is_some(), "{finding:?}");
    }
}

/// What waits for something goes on at the right time: Flux's own evaluator on the expressions of `dependsOn`.
#[tokio::test]
async fn what_depends_on_something_waits_for_it() {
    let judges = Judges::new().await;
    let release = |status: Value| {
        json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": { "name": "runai-operator", "namespace": "runai-operator" }, "status": status,
        })
    };
    let history = |states: &[&str]| json!({ "history": states.iter().map(|state| json!({ "status": state })).collect::<Vec<_>>() });
    let table = [
        (release(json!({})), false),
        (release(json!({ "conditions": [], "history": [] })), false),
        (release(history(&["pending-install"])), false),
        (release(history(&["failed"])), false),
        (release(history(&["deployed"])), true),
        // While it is upgraded, and after an upgrade that failed, an operator is there.
        (release(history(&["pending-upgrade", "deployed"])), true),
        (release(history(&["failed", "deployed"])), true),
    ];
    for (dependency, ready) in table {
        let answers = judges.ready(&path("gitops/flux/agents/gpu-east.yaml"), [&dependency]).await;
        assert_eq!(answers, [Readiness { ready, error: None }], "{dependency}");
    }

    let clusters = |status: Value| {
        json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": { "name": "runai-clusters", "namespace": "flux-system" }, "status": status,
        })
    };
    let failing = json!([{ "type": "Ready", "status": "False", "reason": "HealthCheckFailed", "message": "" }]);
    let table = [
        (clusters(json!({})), false),
        (clusters(json!({ "lastAttemptedRevision": "main" })), false),
        // Once they were there, a later change of them keeps no agent waiting.
        (clusters(json!({ "lastAppliedRevision": "main", "conditions": failing })), true),
    ];
    let file = path("gitops/flux/kustomizations.yaml");
    for (dependency, ready) in table {
        let answers = judges.ready(&file, [&dependency]).await;
        assert_eq!(answers, [Readiness { ready, error: None }], "{dependency}");
    }
    // Nothing asks about this one.
    let other = judges.ready(&file, [&release(json!({}))]).await;
    assert!(other[0].error.is_some(), "{other:?}");
}

/// Folders that are named exist, waves go operator first, and what depends on something names what is there.
#[test]
fn the_manifests_fit_together() {
    let all = of_the_tools();
    for document in &all {
        let source = [
            &document["spec"]["path"],
            &document["spec"]["source"]["path"],
            &document["spec"]["chart"]["spec"]["chart"],
        ];
        for folder in source.into_iter().filter_map(Value::as_str).filter(|folder| folder.contains('/')) {
            assert!(path(folder).is_dir(), "{folder}");
        }
        for dependency in document["spec"]["dependsOn"].as_array().into_iter().flatten() {
            named(&all, document["kind"].as_str().unwrap(), dependency["name"].as_str().unwrap());
        }
    }
    let wave = |name: &str| {
        let wave = &named(&all, "Application", name)["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"];
        wave.as_str().unwrap().parse::<i32>().unwrap()
    };
    assert!(wave("runai-operator") < wave("runai-clusters"), "the operator outlives the clusters");

    // The Secret that the agent's release reads is the one that a cluster publishes, in the same namespace.
    let clusters = documents(&path("gitops/flux/clusters/clusters.yaml"));
    let cluster = named(&clusters, "RunaiCluster", "gpu-east");
    let release = named(&all, "HelmRelease", "gpu-east");
    let secret = cluster["spec"]["installInfo"]["secretName"].as_str().unwrap();
    let read: Vec<_> = release["spec"]["valuesFrom"].as_array().unwrap().iter().map(|from| &from["name"]).collect();
    assert_eq!(read, [secret, &format!("{secret}-bootstrap")]);
    assert_eq!(cluster["metadata"]["namespace"], release["metadata"]["namespace"]);

    // Flux lets go of a Kustomization whose objects are not gone in time.
    let minutes = |value: &Value| value.as_str().unwrap().strip_suffix('m').unwrap().parse::<u32>().unwrap();
    let dev = &named(&clusters, "RunaiCluster", "gpu-dev")["spec"]["deletion"]["forceAfter"];
    assert!(minutes(dev) < minutes(&named(&all, "Kustomization", "runai-clusters")["spec"]["timeout"]));
}

/// Argo CD's label on the Secrets in which it keeps clusters.
const CLUSTER: (&str, &str) = ("argocd.argoproj.io/secret-type", "cluster");

/// A Secret in which Argo CD keeps a cluster.
pub fn argo_cd_cluster(name: &str) -> Value {
    let server = STANDARD.encode(format!("https://{name}.example.com:6443"));
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "namespace": "argocd", "labels": { (CLUSTER.0): CLUSTER.1 } },
        "data": { "name": STANDARD.encode(name), "server": server },
    })
}

/// The uuid comes from the label of the cluster's Secret, by Argo CD's own renderer; a cluster without it gets no agent.
#[tokio::test]
async fn an_application_set_hands_the_uuid_to_the_agent() {
    let uuid = "9f55255e-11ed-47c7-acef-fc4054768dbc";
    let mut secrets = ["gpu-east", "unregistered", "no-cluster"].map(argo_cd_cluster);
    for labelled in [0, 2] {
        secrets[labelled]["metadata"]["labels"]["runai-operator.io/cluster-uuid"] = json!(uuid);
    }
    secrets[2]["metadata"]["labels"].as_object_mut().unwrap().remove(CLUSTER.0);
    let file = path("gitops/argocd/agents.yaml");
    let judges = Judges::new().await;
    let products = judges.applications(&file, &secrets).await;
    let [east, unregistered, other] = &products[..] else { panic!("{products:?}") };
    assert!(products.iter().all(|product| product.error.is_none()), "{products:?}");
    assert!(unregistered.application.is_none() && other.application.is_none(), "{products:?}");
    let application = east.application.as_ref().unwrap();
    assert_eq!(application["metadata"]["name"], "runai-agent-gpu-east");
    assert_eq!(application["metadata"]["finalizers"], Value::Null, "an agent outlives its Application");
    let spec = &application["spec"];
    assert_eq!(spec["destination"], json!({ "name": "gpu-east", "namespace": "runai" }));
    let values = &spec["source"]["helm"]["valuesObject"];
    assert_eq!(values["cluster"], json!({ "uid": uuid, "url": "https://gpu-east.example.com" }));
    assert!(values["controlPlane"]["clientSecret"].is_null(), "what Argo CD renders it also keeps in its cache");

    // A template that asks for what is not there is seen.
    let directory = TemporaryDirectory::create().unwrap();
    let wrong = directory.path().join("agents.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&wrong, text.replace("{{ .name }}", "{{ .nmae }}")).unwrap();
    let products = judges.applications(&wrong, &secrets[..1]).await;
    assert!(products[0].error.is_some(), "{products:?}");
}

/// Argo CD asks a person before it deregisters one of the example's clusters.
#[test]
fn every_deregistration_by_argo_cd_is_confirmed() {
    let objects = yaml_below("gitops/argocd/clusters").into_iter().flat_map(|file| documents(&file));
    let clusters: Vec<_> = objects.filter(|object| object["kind"] == "RunaiCluster").collect();
    assert!(clusters.len() >= 2, "{clusters:?}");
    for cluster in clusters {
        let options = cluster["metadata"]["annotations"]["argocd.argoproj.io/sync-options"].as_str();
        let options: BTreeSet<_> = options.unwrap_or_default().split(',').collect();
        for option in ["Prune=confirm", "Delete=confirm"] {
            assert!(options.contains(option), "{}: no {option}", cluster["metadata"]["name"]);
        }
    }
}

/// What the guide shows is part of a file.
#[test]
fn the_guide_shows_what_is_in_the_files() {
    let files: Vec<_> = [yaml_below("gitops"), yaml_below("examples")].concat();
    let texts: Vec<_> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let guide = std::fs::read_to_string(path("docs/gitops.md")).unwrap();
    let blocks: Vec<_> = guide.split("```yaml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert!(blocks.len() >= 12, "{}", blocks.len());
    for block in blocks {
        assert!(texts.iter().any(|text| text.contains(block)), "no file holds:\n{block}");
    }
    for named in guide.split('`').filter(|text| text.starts_with("gitops/") || text.starts_with("examples/")) {
        assert!(path(named).exists(), "{named}");
    }
}

/// The values that both tools give the chart are values that it takes.
#[tokio::test(flavor = "multi_thread")]
async fn the_chart_takes_the_values() {
    let all = of_the_tools();
    let chart = path("charts/runai-cluster-operator");
    let helm = testbed::find_all().await.unwrap().helm;
    let directory = TemporaryDirectory::create().unwrap();
    let flux = &named(&all, "HelmRelease", "runai-operator")["spec"]["values"];
    let argocd = &named(&all, "Application", "runai-operator")["spec"]["source"]["helm"]["valuesObject"];
    for (tool, values) in [("flux", flux), ("argocd", argocd)] {
        assert!(values.is_object(), "{tool}");
        let file = directory.path().join(format!("{tool}.yaml"));
        std::fs::write(&file, values.to_string()).unwrap();
        let mut command = Command::new(&helm);
        command.args(["template", "runai-operator", "--namespace", "runai-operator", "--kube-version", "1.36.0"]);
        for home in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(home, directory.path().join("helm"));
        }
        let output = command.arg(&chart).arg("--values").arg(&file).output().await.unwrap();
        let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{tool}: {errors}");
        assert!(text.contains("runai-connection"), "{tool}: the connection Secret is named");
        let kept = text.contains("argocd.argoproj.io/sync-options: Prune=false");
        assert_eq!(kept, tool == "argocd", "{tool}: annotations of the CRDs");
    }
}
