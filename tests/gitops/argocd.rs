//! Argo CD's own sync engine on `gitops/argocd/clusters`: wave by wave, with our health scripts, and with confirmed pruning.
//!
//! Around this engine Argo CD has a server, a repository server and Redis; these do not run here.

use runai_simulator::{DisconnectedPolicy, Operation, SeedCluster};
use serde_json::{Value, json};

use crate::files::{documents, yaml_below};
use crate::judges::{Judges, Synced};
use crate::world::{Setup, World, condition};

const PLATFORM: &str = "platform";

/// The names of what was registered, in this order.
fn created(world: &World) -> Vec<String> {
    let mut entries = world.simulator.journal();
    entries.retain(|entry| entry.operation == Some(Operation::Create));
    let uuids = entries.iter().flat_map(|entry| &entry.committed_uuids);
    uuids.map(|uuid| world.simulator.cluster(*uuid).unwrap().name).collect()
}

fn about<'a>(all: &'a [Synced], name: &str) -> &'a Synced {
    all.iter().find(|one| one.name == name).unwrap_or_else(|| panic!("nothing is said of {name}: {all:?}"))
}

fn cluster(name: &str, wave: &str) -> Value {
    json!({
        "apiVersion": "runai-operator.io/v1alpha1", "kind": "RunaiCluster", "spec": {},
        "metadata": { "name": name, "namespace": PLATFORM, "annotations": { "argocd.argoproj.io/sync-wave": wave } },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_cd_syncs_wave_by_wave_and_prunes_what_is_confirmed() {
    let judges = Judges::new().await;
    // Argo CD deletes in the foreground, which the garbage collector has to finish.
    let setup = Setup { chart: &["installInfo.enabled=true"], controller_manager: true, ..Setup::default() };
    let setup = setup.simulator(|config| {
        config.delete.graceful_seconds = 1.0;
        config.delete.disconnected_policy = DisconnectedPolicy::Complete;
    });
    let world = World::start(setup).await;
    let kubeconfig = world.bed.kubeconfig();
    let all: Vec<_> = yaml_below("gitops/argocd/clusters").iter().flat_map(|file| documents(file)).collect();
    assert_eq!(all.len(), 3, "a namespace and two clusters");

    // The second wave begins when the first is registered.
    let synced = judges.sync(kubeconfig, &[], &all).await.unwrap();
    assert!(synced.iter().all(|one| one.status == "Synced"), "{synced:?}");
    let objects = world.all_in(PLATFORM).await;
    assert!(objects.iter().all(|object| condition(object, "Ready").0 == "True"), "{objects:?}");
    assert_eq!(created(&world), ["gpu-east", "GPU West"]);

    // Once more: nothing is written, here or there.
    let before = world.versions_in(PLATFORM).await;
    let seq = world.simulator.last_seq();
    judges.sync(kubeconfig, &[], &all).await.unwrap();
    assert_eq!(world.versions_in(PLATFORM).await, before);
    let changes = [Some(Operation::Create), Some(Operation::Update), Some(Operation::Delete)];
    assert!(world.simulator.journal_since(seq).iter().all(|entry| !changes.contains(&entry.operation)));

    // A cluster that stalls fails the sync in its own words, and the wave after it does not begin.
    world.simulator.seed(SeedCluster::named("gpu-taken")).unwrap();
    let more = [all.clone(), vec![cluster("gpu-taken", "2"), cluster("gpu-later", "3")]].concat();
    let synced = judges.sync(kubeconfig, &[], &more).await.unwrap();
    let taken = about(&synced, "gpu-taken");
    assert_eq!(taken.phase, "Failed", "{taken:?}");
    assert!(taken.message.starts_with("NameConflict: "), "{taken:?}");
    assert!(world.get_in(PLATFORM, "gpu-later").await.is_none());

    // What has left Git waits for a person, and then goes with its registration.
    let fewer: Vec<_> = all.iter().filter(|object| object["metadata"]["name"] != "gpu-east").cloned().collect();
    let synced = judges.sync(kubeconfig, &["-timeout", "5s"], &fewer).await.unwrap_err();
    assert!(!synced.iter().any(|one| one.name == "gpu-east" && one.status == "Pruned"), "{synced:?}");
    let east = world.get_in(PLATFORM, "gpu-east").await.unwrap();
    assert!(east["metadata"]["deletionTimestamp"].is_null(), "{east}");
    judges.sync(kubeconfig, &["-confirmed"], &fewer).await.unwrap();
    assert_eq!(world.versions_in(PLATFORM).await.len(), 1, "gone when Argo CD has done");
    let live = world.simulator.live_clusters();
    let mut names: Vec<_> = live.iter().map(|cluster| cluster.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["GPU West", "gpu-taken"]);
}
