//! Flux's own kustomize-controller on `gitops/flux`: it applies, waits, takes back, prunes and deletes.
//!
//! source-controller does not run: what it would fetch from Git is packed and served here.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as Segment, State};
use axum::http::StatusCode;
use axum::routing::get;
use runai_simulator::{DisconnectedPolicy, Operation, SeedCluster};
use serde_json::{Value, json};
use testbed::{KustomizeController, TemporaryDirectory, wait_until};
use tokio::process::Command;

use crate::files::{documents, path};
use crate::world::{Setup, World, condition, namespace};

const FLUX: &str = "flux-system";
const PLATFORM: &str = "platform";
const KUSTOMIZATION: &str = "runai-clusters";
/// For what Flux does on a busy machine.
const LONG: Duration = Duration::from_secs(180);
/// The folder in which the Kustomization finds the clusters.
const FOLDER: &str = "gitops/flux/clusters";

/// The repository that the Kustomizations take their files from.
struct Repository {
    url: String,
    artifacts: Arc<Mutex<HashMap<String, Bytes>>>,
}

impl Repository {
    async fn start(world: &World) -> Self {
        world.apply(&namespace(FLUX)).await;
        let metadata = json!({ "name": FLUX, "namespace": FLUX });
        let spec = json!({ "interval": "1m", "url": "https://git.example.com/platform", "ref": { "branch": "main" } });
        let kind = "GitRepository";
        world
            .apply(&json!({ "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": kind, "metadata": metadata, "spec": spec }))
            .await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let artifacts = Arc::<Mutex<HashMap<String, Bytes>>>::default();
        let router = Router::new().route("/{name}", get(serve)).with_state(Arc::clone(&artifacts));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, artifacts }
    }

    /// A commit with these clusters.
    async fn commit(&self, world: &World, name: &str, clusters: &[Value]) {
        let directory = TemporaryDirectory::create().unwrap();
        let folder = directory.path().join(FOLDER);
        std::fs::create_dir_all(&folder).unwrap();
        let text: String = clusters.iter().map(|cluster| format!("---\n{cluster}\n")).collect();
        std::fs::write(folder.join("clusters.yaml"), text).unwrap();
        let archive = run("tar", &["-czf", "-", "gitops"], directory.path()).await;
        let file = directory.path().join("archive");
        std::fs::write(&file, &archive).unwrap();
        let digest = String::from_utf8(run("sha256sum", &["archive"], directory.path()).await).unwrap();
        let digest = digest.split_whitespace().next().unwrap();
        let size = archive.len();
        self.artifacts.lock().unwrap().insert(format!("{name}.tar.gz"), archive.into());
        let artifact = json!({
            "path": format!("{name}.tar.gz"), "url": format!("{}/{name}.tar.gz", self.url), "revision": revision(name),
            "digest": format!("sha256:{digest}"), "size": size, "lastUpdateTime": jiff::Timestamp::now().to_string(),
        });
        let patch = json!({ "status": { "artifact": artifact } }).to_string();
        let args = ["patch", "gitrepository", FLUX, "-n", FLUX, "--type=merge", "--subresource=status", "-p", &patch];
        world.kubectl(&args).await;
    }
}

async fn serve(
    State(artifacts): State<Arc<Mutex<HashMap<String, Bytes>>>>,
    Segment(name): Segment<String>,
) -> Result<Bytes, StatusCode> {
    artifacts.lock().unwrap().get(&name).cloned().ok_or(StatusCode::NOT_FOUND)
}

async fn run(program: &str, args: &[&str], directory: &Path) -> Vec<u8> {
    let output = Command::new(program).args(args).current_dir(directory).output().await.unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn revision(name: &str) -> String {
    format!("main@sha1:{name}")
}

/// The Kustomization of the clusters, whose operator is there already.
fn kustomization() -> Value {
    let all = documents(&path("gitops/flux/kustomizations.yaml"));
    let mut found = all.into_iter().find(|document| document["metadata"]["name"] == KUSTOMIZATION).unwrap();
    assert_eq!(found["spec"]["path"], format!("./{FOLDER}"));
    found["spec"].as_object_mut().unwrap().remove("dependsOn").expect("it waits for the operator");
    found
}

/// Waits for what Flux says of the Kustomization.
async fn until_flux(world: &World, flux: &KustomizeController, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let place = format!("/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{FLUX}/kustomizations/{KUSTOMIZATION}");
    let result = wait_until(LONG, what, async || match world.read(&place).await {
        Some(object) if wanted(&object) => Ok(object),
        object => Err(object.unwrap_or_default()["status"].to_string()),
    });
    result.await.unwrap_or_else(|error| panic!("{error}\n--- kustomize-controller\n{}", flux.said()))
}

async fn until_applied(world: &World, flux: &KustomizeController, commit: &str) {
    until_flux(world, flux, commit, |object| {
        object["status"]["lastAppliedRevision"] == revision(commit) && condition(object, "Ready").0 == "True"
    })
    .await;
}

/// As `flux reconcile kustomization`.
async fn reconcile(world: &World, flux: &KustomizeController, token: &str) {
    let patch = json!({ "metadata": { "annotations": { "reconcile.fluxcd.io/requestedAt": token } } }).to_string();
    world.kubectl(&["patch", "kustomization", KUSTOMIZATION, "-n", FLUX, "--type=merge", "-p", &patch]).await;
    until_flux(world, flux, token, |object| {
        object["status"]["lastHandledReconcileAt"] == token && condition(object, "Ready").0 == "True"
    })
    .await;
}

async fn cluster(world: &World, name: &str) -> Option<Value> {
    world.get_in(PLATFORM, name).await
}

async fn suspend(world: &World, name: &str, value: bool) {
    let patch = json!({ "spec": { "suspend": value } }).to_string();
    world.kubectl(&["patch", "rcl", name, "-n", PLATFORM, "--type=merge", "-p", &patch]).await;
}

fn registered(world: &World) -> Vec<String> {
    let mut names: Vec<_> = world.simulator.live_clusters().into_iter().map(|cluster| cluster.name).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn flux_applies_waits_takes_back_prunes_and_deletes() {
    let setup = Setup { chart: &["installInfo.enabled=true"], ..Setup::default() }.simulator(|config| {
        config.delete.graceful_seconds = 1.0;
        config.delete.disconnected_policy = DisconnectedPolicy::Complete;
    });
    let world = World::start(setup).await;
    let flux = KustomizeController::start(&world.bed).await.unwrap();
    let repository = Repository::start(&world).await;
    let clusters = documents(&path(&format!("{FOLDER}/clusters.yaml")));
    let without = |names: &[&str]| -> Vec<Value> {
        let goes = |object: &&Value| !names.iter().any(|name| object["metadata"]["name"] == **name);
        clusters.iter().filter(goes).cloned().collect()
    };

    // It is ready when all clusters are registered, each once.
    repository.commit(&world, "first", &clusters).await;
    world.apply(&kustomization()).await;
    until_applied(&world, &flux, "first").await;
    let all = world.all_in(PLATFORM).await;
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|object| condition(object, "Ready").0 == "True"), "{all:?}");
    assert_eq!(registered(&world), ["GPU West", "gpu-dev", "gpu-east", "gpu-lab"]);

    // Applied again, nothing differs: no object is written, and nothing is sent.
    let (seq, before) = (world.simulator.last_seq(), world.versions_in(PLATFORM).await);
    reconcile(&world, &flux, "again").await;
    reconcile(&world, &flux, "and again").await;
    assert_eq!(world.versions_in(PLATFORM).await, before);
    let reads = [Some(Operation::List), Some(Operation::Get), Some(Operation::Token)];
    let entries = world.simulator.journal_since(seq);
    assert!(entries.iter().all(|entry| reads.contains(&entry.operation)), "{entries:?}");

    // What people change is changed back, but for the cluster that is only made by Flux.
    suspend(&world, "gpu-lab", true).await;
    suspend(&world, "gpu-dev", true).await;
    reconcile(&world, &flux, "changed").await;
    assert_eq!(cluster(&world, "gpu-lab").await.unwrap()["spec"]["suspend"], false);
    assert_eq!(cluster(&world, "gpu-dev").await.unwrap()["spec"]["suspend"], true);
    suspend(&world, "gpu-dev", false).await;

    // A name that somebody else's registration has: said by Flux, at once, with the cluster's own words.
    world.simulator.seed(SeedCluster::named("gpu-taken")).unwrap();
    let taken = json!({
        "apiVersion": "runai-operator.io/v1alpha1", "kind": "RunaiCluster",
        "metadata": { "name": "gpu-taken", "namespace": PLATFORM }, "spec": {},
    });
    repository.commit(&world, "taken", &[clusters.clone(), vec![taken]].concat()).await;
    let object = until_flux(&world, &flux, "taken", |object| {
        object["status"]["lastAttemptedRevision"] == revision("taken")
            && condition(object, "Ready") == ("False".to_owned(), "HealthCheckFailed".to_owned())
    })
    .await;
    let ready = object["status"]["conditions"].as_array().unwrap().iter().find(|one| one["type"] == "Ready").unwrap();
    assert!(ready["message"].as_str().unwrap().contains("RunaiCluster/platform/gpu-taken"), "{ready}");

    // What leaves Git goes, with its registration; not what is never to be deleted by Flux.
    repository.commit(&world, "fewer", &without(&["gpu-east", "gpu-west"])).await;
    until_applied(&world, &flux, "fewer").await;
    wait_until(LONG, "pruned", async || {
        let left = world.versions_in(PLATFORM).await;
        if left.len() == 3 { Ok(()) } else { Err(left.join(", ")) }
    })
    .await
    .unwrap();
    assert_eq!(registered(&world), ["GPU West", "gpu-dev", "gpu-lab", "gpu-taken"]);

    // With the Kustomization all clusters go, and it waits until they are deregistered.
    world.kubectl(&["delete", "kustomization", KUSTOMIZATION, "-n", FLUX, "--timeout=180s"]).await;
    assert_eq!(registered(&world), ["GPU West", "gpu-taken"]);
    let left = world.all_in(PLATFORM).await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["metadata"]["name"], "gpu-west");
    for object in [&left[0], &world.namespace(PLATFORM).await.unwrap()] {
        assert!(object["metadata"]["deletionTimestamp"].is_null(), "{object}");
    }
    let creates = world.simulator.journal().iter().filter(|entry| entry.operation == Some(Operation::Create)).count();
    assert_eq!(creates, 4, "one for each cluster");
}
