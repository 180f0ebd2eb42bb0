//! Argo CD's own repository server and application controller on `gitops/argocd`: they fetch, install the operator, sync wave by
//! wave with our health scripts, take back, prune what is confirmed, and delete the waves backwards.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use runai_simulator::{Config, DisconnectedPolicy, Operation, SeedCluster, Simulator};
use serde_json::{Value, json};
use testbed::{ArgoCd, Options, Testbed, wait_until};

use crate::files::path;
use crate::fleet::{Fleet, LONG, installed, registered, settle_in};
use crate::repository::Repository;
use crate::world::{World, condition};

const ARGO_CD: &str = "argocd";
const PLATFORM: &str = "platform";
/// What the examples have in the place of the user's repository.
const EXAMPLE: &str = "https://git.example.com/platform/fleet.git";
const ROOT: &str = "gitops/argocd/app-of-apps.yaml";
const APPS: [&str; 2] = ["gitops/argocd/apps/operator.yaml", "gitops/argocd/apps/clusters.yaml"];
/// The pause between two clicks on Refresh.
const REFRESH: Duration = Duration::from_secs(10);
/// The Application of the clusters.
const CLUSTERS: &str = "runai-clusters";

/// A cluster with Argo CD, whose repository it is.
struct Platform {
    world: Fleet,
    argocd: ArgoCd,
    repository: Repository,
}

impl Platform {
    /// What docs/gitops.md says to do, until Argo CD has installed the operator.
    async fn set_up(simulator: Config) -> Self {
        let room = World::room().await;
        // Argo CD deletes in the foreground, which the garbage collector has to finish.
        let bed = Testbed::start(Options { controller_manager: true, ..Options::default() }).await.unwrap();
        let simulator = Simulator::start(simulator).unwrap();
        let repository = Repository::start().await;
        repository.copy("gitops/argocd");
        settle_in(&repository, APPS[0], 8);
        for file in [ROOT, APPS[0], APPS[1]] {
            repository.edit(file, EXAMPLE, &repository.url());
        }
        repository.commit("first").await;

        ArgoCd::install(&bed).await.unwrap();
        for (manager, file) in [("health", "argocd-cm.yaml"), ("waves", "argocd-cm-applications.yaml")] {
            let (manager, file) =
                (format!("--field-manager=runai-operator-{manager}"), format!("gitops/argocd/{file}"));
            let file = path(&file).display().to_string();
            bed.kubectl_ok(&["apply", "--server-side", &manager, "-n", ARGO_CD, "-f", &file]).await.unwrap();
        }
        let argocd = ArgoCd::start(&bed).await.unwrap();
        bed.kubectl_ok(&["apply", "-f", &repository.path(ROOT).display().to_string()]).await.unwrap();
        let world = installed(room, bed, simulator, || argocd.said()).await;
        Self { world, argocd, repository }
    }

    async fn application(&self, name: &str) -> Option<Value> {
        self.world.read(&format!("/apis/argoproj.io/v1alpha1/namespaces/{ARGO_CD}/applications/{name}")).await
    }

    /// Waits for what Argo CD says of an Application.
    async fn until(&self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until_so(name, what, async || match self.application(name).await {
            Some(object) if wanted(&object) => Ok(object),
            object => Err(object.unwrap_or_default()["status"].to_string()),
        })
        .await
    }

    /// Waits, and clicks on Refresh of an Application now and then: after it has listed everything anew, Argo CD looks at it
    /// by itself only after minutes.
    async fn until_so<T>(&self, application: &str, what: &str, probe: impl AsyncFn() -> Result<T, String>) -> T {
        let args = ["annotate", "application", application, "-n", ARGO_CD, "--overwrite"];
        let refresh = [&args[..], &["argocd.argoproj.io/refresh=normal"]].concat();
        let mut refreshed: Option<Instant> = None;
        let result = wait_until(LONG, what, async || {
            if refreshed.is_none_or(|at| at.elapsed() >= REFRESH) {
                // It may not be there yet, or not any more.
                let clicked = self.world.bed.kubectl(&refresh).await.is_ok_and(|output| output.status.success());
                refreshed = clicked.then(Instant::now);
            }
            probe().await
        });
        result.await.unwrap_or_else(|error| panic!("{error}\n{}", self.said()))
    }

    fn said(&self) -> String {
        format!("--- Argo CD\n{}\n--- operator\n{}", self.argocd.said(), self.world.tail())
    }

    async fn until_healthy(&self, name: &str) -> Value {
        let is = |object: &Value, field: &str, word: &str| object["status"][field]["status"] == word;
        self.until(name, &format!("{name} Healthy"), |object| {
            is(object, "health", "Healthy") && is(object, "sync", "Synced")
        })
        .await
    }

    async fn annotate(&self, application: &str, annotation: &str, value: &str) {
        let setting = format!("{annotation}={value}");
        self.world.kubectl(&["annotate", "application", application, "-n", ARGO_CD, "--overwrite", &setting]).await;
    }

    /// A person confirms what is to be pruned or deleted.
    async fn confirm(&self, application: &str) {
        self.annotate(application, "argocd.argoproj.io/deletion-approved", &Timestamp::now().to_string()).await;
    }

    async fn cluster(&self, name: &str) -> Option<Value> {
        self.world.get_in(PLATFORM, name).await
    }

    /// The names of what was registered, in this order.
    fn created(&self) -> Vec<String> {
        let mut entries = self.world.simulator.journal();
        entries.retain(|entry| entry.operation == Some(Operation::Create));
        let uuids = entries.iter().flat_map(|entry| &entry.committed_uuids);
        uuids.map(|uuid| self.world.simulator.cluster(*uuid).unwrap().name).collect()
    }
}

fn cluster(name: &str, wave: &str) -> String {
    json!({
        "apiVersion": "runai-operator.io/v1alpha1", "kind": "RunaiCluster", "spec": {},
        "metadata": { "name": name, "namespace": PLATFORM, "annotations": { "argocd.argoproj.io/sync-wave": wave } },
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_cd_installs_syncs_wave_by_wave_takes_back_prunes_and_deletes() {
    let mut config = Config::default().full_lists_only();
    config.delete.graceful_seconds = 1.0;
    config.delete.disconnected_policy = DisconnectedPolicy::Complete;
    let platform = Platform::set_up(config).await;
    let world = &platform.world;

    // The operator, and when it works the clusters: the second wave of them when the first is registered.
    for application in ["runai-operator", CLUSTERS, "runai"] {
        platform.until_healthy(application).await;
    }
    let objects = world.all_in(PLATFORM).await;
    assert!(objects.iter().all(|object| condition(object, "Ready").0 == "True"), "{objects:?}");
    assert_eq!(platform.created(), ["gpu-east", "GPU West"]);

    // Another commit that changes nothing here: nothing is written, here or there.
    let (seq, before) = (world.simulator.last_seq(), world.versions_in(PLATFORM).await);
    platform.repository.write("README.md", "Our fleet.");
    let revision = platform.repository.commit("a word").await;
    platform.until(CLUSTERS, "a word", |object| object["status"]["sync"]["revision"] == revision).await;
    platform.until_healthy(CLUSTERS).await;
    assert_eq!(world.versions_in(PLATFORM).await, before);
    let entries = world.simulator.journal_since(seq);
    assert!(!entries.iter().any(|entry| entry.operation.is_some_and(Operation::is_mutation)), "{entries:?}");

    // What people change is changed back.
    let patch = json!({ "spec": { "version": "2.23" } }).to_string();
    world.kubectl(&["patch", "rcl", "gpu-west", "-n", PLATFORM, "--type=merge", "-p", &patch]).await;
    platform
        .until_so(CLUSTERS, "the version to be taken back", async || {
            let west = platform.cluster("gpu-west").await.unwrap();
            if west["spec"]["version"] == "2.24" { Ok(()) } else { Err(west["spec"].to_string()) }
        })
        .await;

    // What has left Git waits for a person, and then goes with its registration.
    platform.repository.remove("gitops/argocd/clusters/gpu-east.yaml");
    let revision = platform.repository.commit("fewer").await;
    platform
        .until(CLUSTERS, "a person to be asked", |object| {
            let operation = &object["status"]["operationState"];
            operation["operation"]["sync"]["revision"] == revision
                && operation["message"].as_str().is_some_and(|message| message.contains("gpu-east"))
        })
        .await;
    let east = platform.cluster("gpu-east").await.unwrap();
    assert!(east["metadata"]["deletionTimestamp"].is_null(), "{east}");
    platform.confirm(CLUSTERS).await;
    platform
        .until_so(CLUSTERS, "gpu-east pruned", async || match platform.cluster("gpu-east").await {
            None => Ok(()),
            Some(object) => Err(object.to_string()),
        })
        .await;
    platform.until_healthy(CLUSTERS).await;
    assert_eq!(registered(world), ["GPU West"]);

    // A cluster that stalls is Degraded in its own words, and the wave after it does not begin.
    world.simulator.seed(SeedCluster::named("gpu-taken")).unwrap();
    for (name, wave) in [("gpu-taken", "2"), ("gpu-later", "3")] {
        platform.repository.write(&format!("gitops/argocd/clusters/{name}.yaml"), &cluster(name, wave));
    }
    platform.repository.commit("taken").await;
    platform.until(CLUSTERS, "Degraded", |object| object["status"]["health"]["status"] == "Degraded").await;
    let object = platform
        .until(CLUSTERS, "a failed sync", |object| {
            let results = object["status"]["operationState"]["syncResult"]["resources"].as_array().cloned();
            let mut results = results.unwrap_or_default().into_iter();
            results.any(|one| one["name"] == "gpu-taken" && one["hookPhase"] == "Failed")
        })
        .await;
    let results = object["status"]["operationState"]["syncResult"]["resources"].as_array().unwrap();
    let taken = results.iter().find(|one| one["name"] == "gpu-taken").unwrap();
    assert!(taken["message"].as_str().unwrap().starts_with("NameConflict: "), "{taken}");
    assert!(platform.cluster("gpu-later").await.is_none());

    // Corrected in Git; the sync that is tried again and again is ended, as by `argocd app terminate-op`.
    for name in ["gpu-taken", "gpu-later"] {
        platform.repository.remove(&format!("gitops/argocd/clusters/{name}.yaml"));
    }
    platform.repository.commit("corrected").await;
    let end = json!({ "status": { "operationState": { "phase": "Terminating" } } }).to_string();
    world.kubectl(&["patch", "application", CLUSTERS, "-n", ARGO_CD, "--type=merge", "-p", &end]).await;
    platform.until_healthy(CLUSTERS).await;
    assert!(platform.cluster("gpu-taken").await.is_none());

    // With the one Application everything goes, backwards: the clusters while the operator is there to deregister them, and
    // when a person has confirmed it.
    world.kubectl(&["delete", "application", "runai", "-n", ARGO_CD, "--wait=false"]).await;
    platform.until(CLUSTERS, "its deletion", |object| !object["metadata"]["deletionTimestamp"].is_null()).await;
    let operator = platform.application("runai-operator").await.unwrap();
    assert!(operator["metadata"]["deletionTimestamp"].is_null(), "{operator}");
    platform.confirm(CLUSTERS).await;
    platform
        .until_so(CLUSTERS, "all Applications gone", async || {
            let left = world.kubectl(&["get", "applications", "-n", ARGO_CD, "-o", "name"]).await;
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
    assert!(world.all_in(PLATFORM).await.is_empty());
    assert_eq!(registered(world), ["GPU West", "gpu-taken"], "what is kept, and what was never ours");
    assert!(world.kubectl(&["get", "deployments", "-A", "-o", "name"]).await.is_empty());
    assert!(world.kubectl(&["get", "crds", "-o", "name"]).await.contains("runaiclusters"), "Prune=false and crds.keep");
}
