//! A release made by Helm itself, and its pods as processes: with the arguments, the environment, the files and the login
//! that the Deployment in the API server gives them.

use std::path::Path;

use runai_simulator::{Config, Operation, Simulator};
use serde_json::{Value, json};
use testbed::{Login, OPERATOR_NAMESPACE, OperatorProcess, Options, Pod, RELEASE_NAME, Testbed, Tool};
use tokio::sync::SemaphorePermit;

use crate::helm::chart;
use crate::world::{SOON, TEAM, World, namespace};

/// The Deployment.
pub const DEPLOYMENT: &str = "runai-operator-runai-cluster-operator";
/// The settings of most releases here: the control plane is the simulator, which speaks http.
pub const SIMPLE: &[&str] =
    &["controlPlane.existingSecret=connection", "controlPlane.spec.pollInterval=5s", "allowInsecureHttp=true"];

/// Runs Helm as administrator; panics with what it says when it fails.
pub async fn helm(bed: &Testbed, args: &[&str]) -> String {
    helm_of(bed, &bed.binaries().helm, args).await
}

/// The same with another version of Helm.
pub async fn helm_of(bed: &Testbed, helm: &Path, args: &[&str]) -> String {
    bed.run_helm(helm, args).await.unwrap().success("helm", args).unwrap()
}

/// `helm install` or `helm upgrade` of a chart as the usual release.
pub async fn release(bed: &Testbed, verb: &str, chart: &Path, settings: &[&str]) -> String {
    release_by(bed, &bed.binaries().helm, verb, chart, settings).await
}

async fn release_by(bed: &Testbed, by: &Path, verb: &str, chart: &Path, settings: &[&str]) -> String {
    let chart = chart.display().to_string();
    let mut args = vec![verb, RELEASE_NAME, &chart, "--namespace", OPERATOR_NAMESPACE];
    args.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    helm_of(bed, by, &args).await
}

pub async fn uninstall(bed: &Testbed) {
    helm(bed, &["uninstall", RELEASE_NAME, "--namespace", OPERATOR_NAMESPACE]).await;
}

/// What the Deployment says.
pub async fn pod(bed: &Testbed) -> Pod {
    bed.pod(OPERATOR_NAMESPACE, DEPLOYMENT).await.unwrap()
}

/// One pod of it, ready by its own probe.
pub async fn start(bed: &Testbed) -> (OperatorProcess, Login) {
    let pod = pod(bed).await;
    assert!(pod.probes["readinessProbe"].ends_with("/readyz") && pod.probes["livenessProbe"].ends_with("/livez"));
    let binary = env!("CARGO_BIN_EXE_runai-cluster-operator");
    let mut process = OperatorProcess::start_pod(binary, &pod, bed.directory()).unwrap();
    process.wait_ready(SOON).await.unwrap();
    assert_eq!(pod.probes["readinessProbe"], format!("http://{}/readyz", process.health_address()));
    (process, pod.login)
}

/// Ends a pod as a kubelet does.
pub async fn stop(process: &mut OperatorProcess) {
    let status = process.sigterm_and_wait(SOON).await.unwrap();
    assert!(status.success(), "{status}");
}

/// A Secret that leads to the simulator.
pub fn connection(simulator: &Simulator) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "connection", "namespace": OPERATOR_NAMESPACE },
        "stringData": { "url": simulator.url(), "clientID": "operator", "clientSecret": "operator-secret" },
    })
}

/// A world whose operator is a pod of a release of this chart, in namespaces that are there before.
pub async fn world(chart: &Path, settings: &[&str]) -> World {
    let room = World::room().await;
    let bed = Testbed::start(Options::default()).await.unwrap();
    let helm = bed.binaries().helm.clone();
    world_by(room, bed, &helm, chart, settings).await
}

/// The same of a release of Helm 4, which applies on the server's side.
pub async fn world_of_helm_4(settings: &[&str]) -> World {
    let helm = Tool::Helm4.find().await.unwrap();
    let room = World::room().await;
    let bed = Testbed::start(Options::default()).await.unwrap();
    world_by(room, bed, &helm, &chart(), &[SIMPLE, settings].concat()).await
}

async fn world_by(room: SemaphorePermit<'static>, bed: Testbed, helm: &Path, chart: &Path, settings: &[&str]) -> World {
    let simulator = Simulator::start(Config::default()).unwrap();
    for manifest in [namespace(TEAM), namespace(OPERATOR_NAMESPACE), connection(&simulator)] {
        bed.kubectl_apply(&manifest.to_string()).await.unwrap();
    }
    release_by(&bed, helm, "install", chart, settings).await;
    let (operator, login) = start(&bed).await;
    World::around(room, bed, simulator, operator, login).await
}

/// The same of the project's chart.
pub async fn simple(settings: &[&str]) -> World {
    world(&chart(), &[SIMPLE, settings].concat()).await
}

/// Requests that changed something, or meant to.
pub fn remote_writes(simulator: &Simulator) -> Vec<(Operation, Option<u16>)> {
    let journal = simulator.journal().into_iter();
    journal
        .filter_map(|entry| Some((entry.operation.filter(|operation| operation.is_mutation())?, entry.status)))
        .collect()
}
