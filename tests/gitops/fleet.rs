//! A world in which a GitOps tool installs the operator: its pods run as processes once the tool has made the Deployment.
//!
//! Owns what a cluster would do beside the tool: it runs pods, says in the Deployment's status that they run, ends them with
//! the Deployment, and has the connection Secret. Must not know any tool.

use std::time::Duration;

use runai_simulator::Simulator;
use serde_json::{Value, json};
use testbed::{Error, Kubectl, OPERATOR_NAMESPACE, Testbed, wait_until};
use tokio::sync::SemaphorePermit;
use tokio::task::JoinHandle;

use crate::pods::{DEPLOYMENT, Pods};
use crate::repository::Repository;
use crate::world::{Operator, SOON, World, connection};

/// For what tools do on a busy machine.
pub const LONG: Duration = Duration::from_secs(180);
/// The chart, which the examples take from the platform team's own repository.
pub const CHART: &str = "charts/runai-cluster-operator";
/// The pause between two looks at the Deployment.
const LOOK: Duration = Duration::from_millis(500);

/// The operator's pods, and whoever reports them.
pub struct Installed {
    pods: Pods,
    reporter: JoinHandle<()>,
}

impl Operator for Installed {
    fn said(&self) -> String {
        self.pods.last_words()
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        self.reporter.abort();
        let objections = self.pods.end();
        // A scenario that has failed has said why.
        if !std::thread::panicking() {
            assert!(objections.is_empty(), "at the end of the scenario:\n{}", objections.join("\n"));
        }
    }
}

pub type Fleet = World<Installed>;

/// The names that are registered, sorted.
pub fn registered(world: &Fleet) -> Vec<String> {
    let mut names: Vec<_> = world.simulator.live_clusters().into_iter().map(|cluster| cluster.name).collect();
    names.sort();
    names
}

/// Puts in what is a user's: the simulator speaks http, and is to be asked more often than usual.
pub fn settle_in(repository: &Repository, file: &str, indent: usize) {
    repository.copy(CHART);
    let line = "existingSecret: runai-connection\n";
    let more = format!("{line}{0:1$}  spec:\n{0:1$}    pollInterval: 5s\n{0:1$}allowInsecureHttp: true\n", "", indent);
    repository.edit(file, line, &more);
}

/// Waits for the Deployment, and runs its pods. `said`: what the tool has logged.
pub async fn installed(
    room: SemaphorePermit<'static>,
    bed: Testbed,
    simulator: Simulator,
    said: impl FnOnce() -> String,
) -> Fleet {
    let kubectl = bed.kubectl_handle();
    let found = wait_until(LONG, "the Deployment", async || match deployment(&kubectl).await {
        Ok(found) => found.ok_or_else(|| "it is not there".to_owned()),
        Err(error) => Err(error.to_string()),
    });
    let found = found.await.unwrap_or_else(|error| panic!("{error}\n{}", said()));
    let secret = connection("runai-connection", simulator.url(), &[]);
    bed.kubectl_apply(&secret.to_string()).await.unwrap();
    let pods = Pods::start(&bed).await;
    pods.wait_ready(SOON).await.unwrap();
    let login = pods.login();
    let template = found["spec"]["template"].clone();
    let running = pods.clone();
    let reporter = tokio::spawn(async move {
        loop {
            match deployment(&kubectl).await {
                Ok(Some(found)) => report(&kubectl, &found, &template).await,
                Ok(None) => drop(running.end()),
                // Asked again at the next look.
                Err(_) => {}
            }
            tokio::time::sleep(LOOK).await;
        }
    });
    World::around(room, bed, simulator, Installed { pods, reporter }, login).await
}

async fn deployment(kubectl: &Kubectl) -> Result<Option<Value>, Error> {
    let args = ["get", "deployment", DEPLOYMENT, "-n", OPERATOR_NAMESPACE, "--ignore-not-found", "-o", "json"];
    Ok(serde_json::from_str(&kubectl.ok(&args).await?).ok())
}

/// What the Deployment's controller would say of its pods. They are not exchanged here: of another template nothing is said,
/// and whoever waits for it waits in vain.
async fn report(kubectl: &Kubectl, found: &Value, template: &Value) {
    let generation = &found["metadata"]["generation"];
    if found["spec"]["template"] != *template || found["status"]["observedGeneration"] == *generation {
        return;
    }
    let replicas = &found["spec"]["replicas"];
    let condition = |kind: &str, reason: &str| {
        json!({
            "type": kind, "status": "True", "reason": reason, "message": "its pods run",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z",
        })
    };
    let conditions =
        [condition("Available", "MinimumReplicasAvailable"), condition("Progressing", "NewReplicaSetAvailable")];
    let status = json!({
        "observedGeneration": generation, "replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas,
        "availableReplicas": replicas, "conditions": conditions,
    });
    let patch = json!({ "status": status }).to_string();
    let args = ["patch", "deployment", DEPLOYMENT, "-n", OPERATOR_NAMESPACE, "--subresource=status", "--type=merge"];
    if let Err(error) = kubectl.ok(&[&args[..], &["-p", &patch]].concat()).await {
        // Tried again at the next look.
        eprintln!("{error}");
    }
}
