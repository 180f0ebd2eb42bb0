//! Flux's own controllers on `gitops/flux`: they fetch, install the operator, apply, wait, hand over credentials, take back,
//! prune and delete.

use runai_simulator::{Config, DisconnectedPolicy, Operation, RecordPatch, SeedCluster, Simulator};
use serde_json::{Value, json};
use testbed::{Flux, OPERATOR_NAMESPACE, Options, Testbed, wait_until};

use crate::files::{documents, path};
use crate::fleet::{Fleet, LONG, installed, registered, settle_in};
use crate::repository::Repository;
use crate::world::{World, condition, message, namespace, uuid};

const FLUX: &str = "flux-system";
const PLATFORM: &str = "platform";
/// The Kustomization of the clusters.
const CLUSTERS: &str = "runai-clusters";
/// Files of the repository.
const FILE: &str = "gitops/flux/clusters/clusters.yaml";
const AGENT: &str = "gitops/flux/agents/gpu-east.yaml";
const OPERATOR: &str = "gitops/flux/operator/operator.yaml";

/// A cluster with Flux, whose repository it is.
struct Platform {
    world: Fleet,
    flux: Flux,
    repository: Repository,
}

impl Platform {
    /// What docs/gitops.md says to do, until Flux has installed the operator.
    async fn set_up(simulator: Config) -> Self {
        let room = World::room().await;
        let bed = Testbed::start(Options::default()).await.unwrap();
        let simulator = Simulator::start(simulator).unwrap();
        let repository = Repository::start().await;
        repository.copy("gitops/flux");
        settle_in(&repository, OPERATOR, 4);
        repository.edit(AGENT, "https://runai.jfrog.io/artifactory/api/helm/run-ai-charts", &repository.charts_url());
        repository.publish(&bed, &path("tests/guides/chart"), "2.24.7").await;
        repository.commit("first").await;

        // As `flux bootstrap` leaves it.
        let flux = Flux::start(&bed).await.unwrap();
        let spec = json!({ "interval": "1m", "url": repository.url(), "ref": { "branch": "main" } });
        let source = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "spec": spec,
            "metadata": { "name": FLUX, "namespace": FLUX },
        });
        // The agent goes to this cluster, too, on the way that leads to others.
        let kubeconfig = std::fs::read_to_string(bed.kubeconfig()).unwrap();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "gpu-east-kubeconfig", "namespace": PLATFORM },
            "stringData": { "value": kubeconfig },
        });
        let all = [namespace(FLUX), namespace(PLATFORM), secret, source].map(|object| format!("---\n{object}\n"));
        bed.kubectl_apply(&all.concat()).await.unwrap();
        bed.kubectl_ok(&["apply", "-f", &path("gitops/flux/kustomizations.yaml").display().to_string()]).await.unwrap();
        let world = installed(room, bed, simulator, || flux.said()).await;
        Self { world, flux, repository }
    }

    /// Waits for what is said of an object.
    async fn until(&self, place: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let result = wait_until(LONG, what, async || match self.world.read(place).await {
            Some(object) if wanted(&object) => Ok(object),
            object => Err(object.unwrap_or_default()["status"].to_string()),
        });
        let said = || format!("--- Flux\n{}\n--- operator\n{}", self.flux.said(), self.world.tail());
        result.await.unwrap_or_else(|error| panic!("{error}\n{}", said()))
    }

    async fn until_flux(&self, kustomization: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let place = format!("/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{FLUX}/kustomizations/{kustomization}");
        self.until(&place, what, wanted).await
    }

    async fn until_ready(&self, kustomization: &str) {
        self.until_flux(kustomization, &format!("{kustomization} Ready"), is_ready).await;
    }

    /// Waits until a HelmRelease is installed and works.
    async fn until_released(&self, namespace: &str, name: &str) {
        let place = format!("/apis/helm.toolkit.fluxcd.io/v2/namespaces/{namespace}/helmreleases/{name}");
        self.until(&place, &format!("HelmRelease {name} Ready"), is_ready).await;
    }

    /// Commits these clusters and lets Flux fetch them, as `flux reconcile source git` does. Returns the revision.
    async fn commit(&self, message: &str, clusters: &[Value]) -> String {
        let text: String = clusters.iter().map(|cluster| format!("---\n{cluster}\n")).collect();
        self.repository.write(FILE, &text);
        let revision = format!("main@sha1:{}", self.repository.commit(message).await);
        self.request("gitrepository", FLUX, message).await;
        revision
    }

    async fn request(&self, kind: &str, name: &str, token: &str) {
        let patch = json!({ "metadata": { "annotations": { "reconcile.fluxcd.io/requestedAt": token } } }).to_string();
        self.world.kubectl(&["patch", kind, name, "-n", FLUX, "--type=merge", "-p", &patch]).await;
    }

    /// As `flux reconcile kustomization`.
    async fn reconcile(&self, token: &str) {
        self.request("kustomization", CLUSTERS, token).await;
        self.until_flux(CLUSTERS, token, |object| {
            object["status"]["lastHandledReconcileAt"] == token && is_ready(object)
        })
        .await;
    }

    async fn cluster(&self, name: &str) -> Option<Value> {
        self.world.get_in(PLATFORM, name).await
    }

    async fn suspend(&self, name: &str, value: bool) {
        let patch = json!({ "spec": { "suspend": value } }).to_string();
        self.world.kubectl(&["patch", "rcl", name, "-n", PLATFORM, "--type=merge", "-p", &patch]).await;
    }

    /// What the agent's release was given: uuid and client secret.
    async fn agent(&self) -> Option<(Value, Value)> {
        let config = self.world.read("/api/v1/namespaces/runai/configmaps/runai-agent").await?;
        let secret = self.world.read("/api/v1/namespaces/runai/secrets/runai-agent").await?;
        Some((config["data"]["uid"].clone(), secret["data"]["clientSecret"].clone()))
    }
}

/// Of its present generation.
fn is_ready(object: &Value) -> bool {
    object["status"]["observedGeneration"] == object["metadata"]["generation"] && condition(object, "Ready").0 == "True"
}

#[tokio::test(flavor = "multi_thread")]
async fn flux_installs_applies_waits_hands_over_takes_back_prunes_and_deletes() {
    let mut config = Config::default().full_lists_only();
    config.delete.graceful_seconds = 1.0;
    config.delete.disconnected_policy = DisconnectedPolicy::Complete;
    let platform = Platform::set_up(config).await;
    let world = &platform.world;
    let clusters = documents(&path(FILE));
    let without = |names: &[&str]| -> Vec<Value> {
        let goes = |object: &&Value| !names.iter().any(|name| object["metadata"]["name"] == **name);
        clusters.iter().filter(goes).cloned().collect()
    };

    // Operator, clusters, agents: each ready after the one before, every cluster registered once.
    for kustomization in ["runai-operator", CLUSTERS, "runai-agents"] {
        platform.until_ready(kustomization).await;
    }
    platform.until_released(OPERATOR_NAMESPACE, "runai-operator").await;
    let all = world.all_in(PLATFORM).await;
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|object| condition(object, "Ready").0 == "True"), "{all:?}");
    assert_eq!(registered(world), ["GPU West", "gpu-dev", "gpu-east", "gpu-lab"]);

    // The agent has what the control plane gave out, and gets what it gives out next, without a commit.
    platform.until_released(PLATFORM, "gpu-east").await;
    let id = uuid(&platform.cluster("gpu-east").await.unwrap());
    let (uid, secret) = platform.agent().await.unwrap();
    assert_eq!(uid, json!(id));
    let rotated = RecordPatch { client_secret: Some("rotatedrotatedrotated".to_owned()), ..RecordPatch::default() };
    world.simulator.patch(id, rotated).unwrap();
    let asked =
        json!({ "metadata": { "annotations": { "runai-operator.io/reconcile-requested-at": "1" } } }).to_string();
    world.kubectl(&["patch", "rcl", "gpu-east", "-n", PLATFORM, "--type=merge", "-p", &asked]).await;
    platform
        .until("/api/v1/namespaces/runai/secrets/runai-agent", "the agent's new secret", |found| {
            found["data"]["clientSecret"] != secret
        })
        .await;
    // Flux takes away what was annotated by kubectl.
    platform.reconcile("handed over").await;
    let place = format!("/apis/runai-operator.io/v1alpha1/namespaces/{PLATFORM}/runaiclusters/gpu-east");
    platform
        .until(&place, "no request", |object| {
            object["metadata"]["annotations"]["runai-operator.io/reconcile-requested-at"].is_null()
                && object["status"]["lastHandledReconcileAt"].is_null()
        })
        .await;

    // Applied again, nothing differs: no object is written, and nothing is sent.
    let (seq, before) = (world.simulator.last_seq(), world.versions_in(PLATFORM).await);
    platform.reconcile("again").await;
    platform.reconcile("and again").await;
    assert_eq!(world.versions_in(PLATFORM).await, before);
    let entries = world.simulator.journal_since(seq);
    assert!(!entries.iter().any(|entry| entry.operation.is_some_and(Operation::is_mutation)), "{entries:?}");

    // What people change is changed back, but for the cluster that is only made by Flux.
    platform.suspend("gpu-lab", true).await;
    platform.suspend("gpu-dev", true).await;
    platform.reconcile("changed").await;
    assert_eq!(platform.cluster("gpu-lab").await.unwrap()["spec"]["suspend"], false);
    assert_eq!(platform.cluster("gpu-dev").await.unwrap()["spec"]["suspend"], true);
    platform.suspend("gpu-dev", false).await;

    // A name that somebody else's registration has: said by Flux, at once, with the cluster's own words.
    world.simulator.seed(SeedCluster::named("gpu-taken")).unwrap();
    let taken = json!({
        "apiVersion": "runai-operator.io/v1alpha1", "kind": "RunaiCluster",
        "metadata": { "name": "gpu-taken", "namespace": PLATFORM }, "spec": {},
    });
    let revision = platform.commit("taken", &[clusters.clone(), vec![taken]].concat()).await;
    let object = platform
        .until_flux(CLUSTERS, "taken", |object| {
            object["status"]["lastAttemptedRevision"] == revision
                && condition(object, "Ready") == ("False".to_owned(), "HealthCheckFailed".to_owned())
        })
        .await;
    let words = message(&object, "Ready");
    assert!(words.contains("RunaiCluster/platform/gpu-taken"), "{words}");

    // What leaves Git goes, with its registration; not what is never to be deleted by Flux.
    let revision = platform.commit("fewer", &without(&["gpu-east", "gpu-west"])).await;
    platform
        .until_flux(CLUSTERS, "fewer", |object| object["status"]["lastAppliedRevision"] == revision && is_ready(object))
        .await;
    wait_until(LONG, "pruned", async || {
        let left = world.versions_in(PLATFORM).await;
        if left.len() == 3 { Ok(()) } else { Err(left.join(", ")) }
    })
    .await
    .unwrap();
    assert_eq!(registered(world), ["GPU West", "gpu-dev", "gpu-lab", "gpu-taken"]);

    // With the Kustomization all clusters go, and it waits until they are deregistered.
    world.kubectl(&["delete", "kustomization", CLUSTERS, "-n", FLUX, "--timeout=180s"]).await;
    assert_eq!(registered(world), ["GPU West", "gpu-taken"]);
    let left = world.all_in(PLATFORM).await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["metadata"]["name"], "gpu-west");
    for object in [&left[0], &world.namespace(PLATFORM).await.unwrap()] {
        assert!(object["metadata"]["deletionTimestamp"].is_null(), "{object}");
    }
    let creates = world.simulator.journal().iter().filter(|entry| entry.operation == Some(Operation::Create)).count();
    assert_eq!(creates, 4, "one for each cluster");
}
