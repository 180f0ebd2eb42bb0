//! What Kubernetes does while a page is read: pods of the operator that come and go, a cluster that is lost, and tools that
//! look at an object.
//!
//! There is no kubelet. The operator is started as its Deployment in the API server says, from an image that was pushed.
//! Must not know the pages' commands.

use runai_simulator::Operation;
use serde_json::{Value, json};
use testbed::{OPERATOR_NAMESPACE, OperatorProcess, Options, Testbed};

use crate::judges::Judges;
use crate::stage::{DEPLOYMENT, SOON, Stage};

/// A container engine that builds nothing: what may be pushed is what was built, and a registry holds what was pushed.
const ENGINE: &str = r#"#!/bin/sh
case $1 in
info) ;;
buildx)
  while [ $# -gt 0 ]; do
    if [ "$1" = --tag ]; then echo "$2" >> "$REGISTRY/built"; fi
    shift
  done ;;
push) touch "$REGISTRY/built"; grep --quiet --line-regexp --fixed-strings "$2" "$REGISTRY/built" && echo "$2" >> "$REGISTRY/pushed" ;;
*) exit 1 ;;
esac
"#;

/// With the controllers by which namespaces go.
pub fn options() -> Options {
    Options { controller_manager: true, ..Options::default() }
}

/// Does what a remark says; `false` if it is not about the cluster.
pub async fn act(stage: &mut Stage, deed: &str) -> bool {
    match deed {
        "the operator's pod starts" => stage.operator = Some(pod(stage).await),
        "the operator's pod is replaced" => {
            // The new one is ready before the old one is told to end.
            let new = pod(stage).await;
            end(stage).await;
            stage.operator = Some(new);
        }
        "the operator's pod ends" => end(stage).await,
        "the Kubernetes cluster is lost, and a new one made" => {
            stage.operator.take().unwrap().sigkill();
            stage.bed = Testbed::start(options()).await.unwrap();
            stage.write_kubeconfigs();
        }
        "an object was left behind, and is being deleted" => left_behind(stage).await,
        "nothing is left, in Kubernetes or in Run:ai" => nothing_is_left(stage).await,
        other => {
            let object = |head: &str, tail: &str| other.strip_prefix(head)?.strip_suffix(tail)?.split_once('/');
            if let Some((namespace, name)) = object("kstatus, Argo CD and Flux call ", " healthy") {
                healthy(stage, namespace, name).await;
            } else if let Some((namespace, name)) = object("", " has the registration of before") {
                same_registration(stage, namespace, name).await;
            } else {
                return false;
            }
        }
    }
    true
}

/// Gives the reader `docker`.
pub fn engine(stage: &Stage) {
    stage.program("docker", &ENGINE.replace("$REGISTRY", &stage.path("").display().to_string()));
}

/// A pod of the Deployment, ready by its own probe.
async fn pod(stage: &Stage) -> OperatorProcess {
    let deployment = stage.get(&["deployment", DEPLOYMENT, "-n", OPERATOR_NAMESPACE]).await;
    let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
    let pushed = std::fs::read_to_string(stage.path("pushed")).unwrap_or_default();
    assert!(pushed.lines().any(|name| name == image), "no registry has {image}: {pushed:?}");
    let mut pod = stage.bed.pod(OPERATOR_NAMESPACE, DEPLOYMENT).await.unwrap();
    let surroundings = stage.surroundings();
    pod.env.extend(surroundings.map(|(name, value)| (name.to_owned(), value.into_string().unwrap())));
    let binary = env!("CARGO_BIN_EXE_runai-cluster-operator");
    let mut process = OperatorProcess::start_pod(binary, &pod, stage.bed.directory()).unwrap();
    process.wait_ready(SOON).await.unwrap();
    process
}

async fn end(stage: &mut Stage) {
    let mut pod = stage.operator.take().expect("a pod");
    let status = pod.sigterm_and_wait(SOON).await.unwrap();
    assert!(status.success(), "{status}\n{}", pod.logs().unwrap());
}

/// The verdicts on an object and on its control plane, by the tools' own code; of Argo CD with what the cluster's
/// `argocd-cm` holds, where Argo CD is.
async fn healthy(stage: &Stage, namespace: &str, name: &str) {
    let mut judges = Judges::new().await;
    let args = ["get", "configmap", "argocd-cm", "-n", "argocd", "-o", "json", "--ignore-not-found"];
    let config = stage.bed.kubectl_ok(&args).await.unwrap();
    if !config.is_empty() {
        let file = stage.path("argocd-cm.json");
        std::fs::write(&file, config).unwrap();
        judges = judges.with_argocd(&file);
    }
    let object = stage.get(&["runaicluster", name, "-n", namespace]).await;
    let plane = stage.get(&["runaicontrolplane", "default"]).await;
    for (object, verdict) in [&object, &plane].into_iter().zip(judges.health([&object, &plane]).await) {
        assert_eq!(verdict.words(), ["Current", "Healthy", "Healthy", "Current"], "{verdict:?} of {object:#}");
    }
}

/// One registration, the object's own, and one request that ever made any.
async fn same_registration(stage: &Stage, namespace: &str, name: &str) {
    let object = stage.get(&["runaicluster", name, "-n", namespace]).await;
    let live = stage.simulator.live_clusters();
    let [registration] = live.as_slice() else { panic!("one registration: {live:?}") };
    assert_eq!(object["status"]["uuid"], json!(registration.uuid));
    let mut creates = stage.simulator.journal();
    creates.retain(|entry| entry.operation == Some(Operation::Create));
    assert_eq!(creates.len(), 1, "{creates:?}");
}

async fn nothing_is_left(stage: &Stage) {
    let live = stage.simulator.live_clusters();
    assert!(live.is_empty(), "{live:?}");
    let kinds = "customresourcedefinitions,clusterroles,clusterrolebindings,namespaces";
    let left = stage.bed.kubectl_ok(&["get", kinds, "-o", "name"]).await.unwrap();
    let left: Vec<_> = left.lines().filter(|name| name.contains("runai")).collect();
    assert!(left.is_empty(), "{left:?}");
    let left = stage.bed.kubectl_ok(&["get", "roles,rolebindings", "-A", "-o", "name"]).await.unwrap();
    assert!(!left.contains("runai"), "{left}");
}

/// Kind and object are there, the operator is not.
async fn left_behind(stage: &Stage) {
    let install = "runai-cluster-operator crds | kubectl apply --server-side -f -\n\
                   kubectl wait --for=condition=Established --timeout=60s crd/runaiclusters.runai-operator.io";
    stage.run(install).await;
    let metadata: Value =
        json!({ "name": "gpu-west", "namespace": "clusters", "finalizers": ["runai-operator.io/registration"] });
    let kind = json!({ "apiVersion": "runai-operator.io/v1alpha1", "kind": "RunaiCluster" });
    let mut object = kind;
    object["metadata"] = metadata;
    object["spec"] = json!({});
    stage.apply(&object).await;
    stage.run("kubectl delete runaicluster gpu-west -n clusters --wait=false").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_holds_what_was_built_and_pushed() {
    let directory = testbed::TemporaryDirectory::create().unwrap();
    let script = directory.path().join("docker");
    std::fs::write(&script, ENGINE.replace("$REGISTRY", &directory.path().display().to_string())).unwrap();
    let docker = async |args: &[&str]| {
        let mut command = tokio::process::Command::new("sh");
        command.arg(&script).args(args).status().await.unwrap().success()
    };
    assert!(!docker(&["push", "one"]).await, "nobody has built it");
    assert!(docker(&["buildx", "build", "--file", "Dockerfile", "--tag", "one", "."]).await);
    assert!(!docker(&["push", "two"]).await && docker(&["push", "one"]).await);
    assert_eq!(std::fs::read_to_string(directory.path().join("pushed")).unwrap(), "one\n");
}
