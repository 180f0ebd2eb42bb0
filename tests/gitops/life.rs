//! One object from apply to gone, with every version of it that the API server ever had laid before the judges.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, WatchEvent, WatchParams};
use kube::{Api, Client};
use runai_simulator::{AgentCommand, FaultAction, FaultRule, Operation, Phase, RecordPatch};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::files::{documents, path};
use crate::judges::{Judges, Verdict};
use crate::situations::{AGENT_IN_TROUBLE, GOING, STALLED, SUSPENDED, WELL, WORKING};
use crate::world::{SOON, Setup, TEAM, World, condition, uuid};

const NAME: &str = "life";
/// How long a deletion takes by the control plane's clock, which is put forward once the judges have seen the object going.
const LONG: Duration = Duration::from_secs(1000);

/// Everything that a watch of the object has shown.
struct Versions {
    seen: Arc<Mutex<Vec<Value>>>,
    watch: JoinHandle<()>,
}

impl Versions {
    /// Watches until the object is deleted.
    fn follow(client: Client) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kind = GroupVersionKind::gvk("runai-operator.io", "v1alpha1", "RunaiCluster");
        let api: Api<DynamicObject> =
            Api::namespaced_with(client, TEAM, &ApiResource::from_gvk_with_plural(&kind, "runaiclusters"));
        let params = WatchParams::default().fields(&format!("metadata.name={NAME}")).timeout(290);
        let into = Arc::clone(&seen);
        let watch = tokio::spawn(async move {
            let mut events = api.watch(&params, "0").await.unwrap().boxed();
            while let Some(event) = events.next().await {
                match event.unwrap() {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                        into.lock().unwrap().push(serde_json::to_value(object).unwrap());
                    }
                    WatchEvent::Deleted(_) => return,
                    WatchEvent::Bookmark(_) | WatchEvent::Error(_) => {}
                }
            }
        });
        Self { seen, watch }
    }

    /// All versions, once the object is gone.
    async fn all(self) -> Vec<Value> {
        tokio::time::timeout(SOON, self.watch).await.expect("the watch shows the end").unwrap();
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

async fn judged(judges: &Judges, object: &Value, due: [&str; 4]) -> Verdict {
    let verdict = judges.one(object).await;
    assert_eq!(verdict.words(), due, "{verdict:#?} of {object}");
    verdict
}

#[tokio::test(flavor = "multi_thread")]
async fn the_judges_follow_an_object_through_its_whole_life() {
    let judges = Judges::new().await;
    let setup = Setup::default().simulator(|config| config.delete.graceful_seconds = LONG.as_secs_f64());
    let mut world = World::start(setup).await;
    world.operator.sigkill();
    world.cluster(NAME, json!({ "version": "2.24" })).await;
    let versions = Versions::follow(world.bed.client().await.unwrap());
    judged(&judges, &world.get(NAME).await.unwrap(), WORKING).await;

    world.operator = world.another_operator();
    let object = world.until_ready(NAME).await;
    let verdict = judged(&judges, &object, WELL).await;
    assert!(verdict.argocd_message.contains("WaitingToConnect"), "{verdict:?}");

    let id = uuid(&object);
    world.simulator.agent(id, AgentCommand::start()).unwrap();
    let object = world.until_condition(NAME, "Connected", "True", "Connected").await;
    judged(&judges, &object, WELL).await;
    let before = object["status"]["lastLiveness"].clone();
    world.simulator.advance(Duration::from_secs(2000));
    world.until(NAME, "seen again", |object| object["status"]["lastLiveness"] != before).await;

    let forced = |state: &str| RecordPatch { force_state: Some(state.to_owned()), ..RecordPatch::default() };
    world.simulator.patch(id, forced("Disconnected")).unwrap();
    let object = world.until_condition(NAME, "Connected", "False", "Disconnected").await;
    judged(&judges, &object, AGENT_IN_TROUBLE).await;
    world.simulator.patch(id, forced("")).unwrap();
    world.until_condition(NAME, "Connected", "True", "Connected").await;

    let refusal = FaultAction::Status { code: 422, body: None, headers: Default::default(), phase: Phase::Pre };
    world.simulator.add_fault(FaultRule::on(Operation::Update, refusal));
    world.patch(NAME, json!({ "spec": { "name": "life-2" } })).await;
    let object = world.until_stalled(NAME, "Rejected").await;
    judged(&judges, &object, STALLED).await;
    // The fault stays until the name is the old one again: a rename that succeeds after all would be Ready, too.
    world.patch(NAME, json!({ "spec": { "name": NAME } })).await;
    judged(&judges, &world.until_ready(NAME).await, WELL).await;
    world.simulator.clear_faults();

    world.patch(NAME, json!({ "spec": { "suspend": true } })).await;
    let object = world.until_condition(NAME, "Suspended", "True", "Suspended").await;
    judged(&judges, &object, SUSPENDED).await;

    world.delete(NAME).await;
    judged(&judges, &world.get(NAME).await.unwrap(), GOING).await;
    let object = world.until_condition(NAME, "Reconciling", "True", "DeletionRequested").await;
    judged(&judges, &object, GOING).await;
    world.simulator.advance(LONG);
    world.until_gone(NAME).await;
    assert!(world.simulator.live_clusters().is_empty());

    let all = versions.all().await;
    every_version_is_judged_alike(&judges, &all).await;
    liveness_refreshes_no_application(&all);
}

/// In no version that ever was do the judges differ, and none says that all is well before the registration exists.
async fn every_version_is_judged_alike(judges: &Judges, versions: &[Value]) {
    assert!(versions.len() >= 10, "{}", versions.len());
    for (object, verdict) in versions.iter().zip(judges.health(versions).await) {
        let known = [WORKING, WELL, AGENT_IN_TROUBLE, STALLED, SUSPENDED, GOING];
        assert!(known.contains(&verdict.words()), "{verdict:#?} of {object}");
        let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        if verdict.kstatus == "Current" {
            assert!(current && object["status"]["uuid"].is_string(), "{object}");
            assert_eq!(condition(object, "Synced").0, "True", "{object}");
        }
        if verdict.argocd == "Healthy" {
            assert_eq!(condition(object, "Synced").0, "True", "{object}");
        }
    }
}

/// Two versions that only a sign of life tells apart are the same for Argo CD by `ignoreResourceUpdates`.
fn liveness_refreshes_no_application(versions: &[Value]) {
    let configured = documents(&path("gitops/argocd/argocd-cm.yaml")).remove(0);
    let key = "resource.customizations.ignoreResourceUpdates.runai-operator.io_RunaiCluster";
    let rules: Value = serde_saphyr::from_str(configured["data"][key].as_str().unwrap()).unwrap();
    // Argo CD leaves these out by itself.
    let always = ["/metadata/generation", "/metadata/resourceVersion", "/metadata/managedFields"];
    let pointers = rules["jsonPointers"].as_array().unwrap().iter().map(|pointer| pointer.as_str().unwrap());
    let pointers: Vec<_> = pointers.chain(always).collect();
    let without = |object: &Value| {
        let mut object = object.clone();
        for pointer in &pointers {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            object.pointer_mut(parent).and_then(Value::as_object_mut).map(|fields| fields.remove(key));
        }
        object
    };
    let is_sign_of_life = |pair: &&[Value]| {
        let (one, two) = (&pair[0], &pair[1]);
        one["status"]["lastLiveness"].is_string()
            && one["status"]["lastLiveness"] != two["status"]["lastLiveness"]
            && one["status"]["state"] == two["status"]["state"]
            && one["metadata"]["generation"] == two["metadata"]["generation"]
    };
    let pairs: Vec<_> = versions.windows(2).filter(is_sign_of_life).collect();
    assert!(!pairs.is_empty(), "no sign of life was copied");
    for pair in pairs {
        assert_eq!(without(&pair[0]), without(&pair[1]));
    }
}
