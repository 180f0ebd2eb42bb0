//! The manifests of `gitops/` and `examples/` on a real API server, applied in the way of each tool, again and again.
//!
//! Nothing may differ afterwards, and nothing may be written to the control plane because of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use runai_simulator::{Operation, SeedCluster};
use serde_json::{Value, json};
use testbed::{Kubectl, OPERATOR_NAMESPACE};

use crate::files::{documents, path, yaml_below};
use crate::world::{Setup, World, condition};

const FINALIZER: &str = "runai-operator.io/registration";
const PLATFORM: &str = "platform";

/// How a tool writes.
#[derive(Clone, Copy)]
struct Tool {
    /// The command that applies a file, without `-f`.
    apply: &'static [&'static str],
    /// The command that shows what an apply would change.
    diff: &'static [&'static str],
    /// What the tool itself adds to the metadata of every object.
    adds: fn(&mut Value),
}

const ARGO_CD: Tool = Tool {
    apply: &["apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller"],
    diff: &["diff", "--server-side", "--force-conflicts", "--field-manager=argocd-controller"],
    adds: |metadata| metadata["annotations"]["argocd.argoproj.io/tracking-id"] = json!("runai-clusters:x"),
};
const FLUX: Tool = Tool {
    apply: &["apply", "--server-side", "--force-conflicts", "--field-manager=kustomize-controller"],
    diff: &["diff", "--server-side", "--force-conflicts", "--field-manager=kustomize-controller"],
    adds: |metadata| {
        metadata["labels"]["kustomize.toolkit.fluxcd.io/name"] = json!("runai-clusters");
        metadata["labels"]["kustomize.toolkit.fluxcd.io/namespace"] = json!("flux-system");
    },
};
const KUBECTL: Tool = Tool { apply: &["apply"], diff: &["diff"], adds: |_| {} };

/// Objects that somebody applies.
struct Applied {
    world: World,
    kubectl: Kubectl,
    tool: Tool,
    manifests: Vec<Value>,
}

impl Applied {
    /// A world in which all objects of these files may live, as yet without them.
    async fn prepare(tool: Tool, files: &[PathBuf]) -> Self {
        let world = World::start(Setup { chart: &["installInfo.enabled=true"], ..Setup::default() }).await;
        // Objects without a namespace go where a user of kubectl is.
        let kubectl = world.bed.kubectl_in_namespace(PLATFORM).unwrap();
        let labelled = json!({ "name": PLATFORM, "labels": { "runai": "enabled" } });
        world.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": labelled })).await;
        let mut manifests: Vec<_> = files.iter().flat_map(|file| documents(file)).filter(is_ours).collect();
        for manifest in &mut manifests {
            (tool.adds)(&mut manifest["metadata"]);
        }
        assert!(!manifests.is_empty(), "{files:?}");
        Self { world, kubectl, tool, manifests }
    }

    async fn run(&self, command: &[&str]) -> String {
        let ran = self.try_to(command).await;
        ran.unwrap_or_else(|error| panic!("{error}\n--- operator\n{}", self.world.tail()))
    }

    /// As [`Applied::run`]; `kubectl diff` fails where something differs.
    async fn try_to(&self, command: &[&str]) -> Result<String, String> {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": self.manifests }).to_string();
        let args: Vec<_> = command.iter().copied().chain(["-f", "-"]).collect();
        self.kubectl.ok_with_input(&args, &list).await.map_err(|error| error.to_string())
    }

    /// kubectl replaces what it has just read, and gives up where somebody wrote in between: a person tries again.
    async fn replace(&self) {
        let replaced = testbed::wait_until(crate::world::SOON, "kubectl replace", async || {
            match self.try_to(&["replace"]).await {
                Err(error) if !error.contains("the object has been modified") => panic!("{error}"),
                done => done,
            }
        });
        replaced.await.unwrap();
    }

    async fn clusters(&self) -> BTreeMap<String, Value> {
        let all = self.world.all_in(PLATFORM).await;
        all.into_iter().map(|object| (object["metadata"]["name"].as_str().unwrap().to_owned(), object)).collect()
    }

    /// Waits until all RunaiClusters are ready for their present spec; returns the uuid of each.
    async fn settled(&self) -> BTreeMap<String, String> {
        let asked = self.manifests.iter().filter(|manifest| manifest["kind"] == "RunaiCluster").count();
        let found = testbed::wait_until(crate::world::SOON, "all clusters to be ready", async || {
            let all = self.clusters().await;
            let rests = |object: &Value| {
                condition(object, "Ready").0 == "True"
                    && object["status"]["observedGeneration"] == object["metadata"]["generation"]
                    && object["metadata"]["finalizers"] == json!([FINALIZER])
                    && object["metadata"]["annotations"]["runai-operator.io/cluster-uuid"] == object["status"]["uuid"]
            };
            // What is only observed has neither a finalizer nor notes.
            let observed = |object: &Value| condition(object, "Ready") == ("True".to_owned(), "Observed".to_owned());
            if all.len() == asked && all.values().all(|object| observed(object) || rests(object)) {
                Ok(all)
            } else {
                Err(format!("{asked} asked for, {:#?}", all.values().collect::<Vec<_>>()))
            }
        });
        let found = found.await.unwrap_or_else(|error| panic!("{error}\n--- operator\n{}", self.world.tail()));
        let uuid = |object: &Value| object["status"]["uuid"].as_str().unwrap().to_owned();
        found.iter().map(|(name, object)| (name.clone(), uuid(object))).collect()
    }

    /// Nothing that the tool would change, no other registration, nothing written since.
    async fn stays(&self, what: &str, uuids: &BTreeMap<String, String>, since: u64) {
        assert_eq!(self.settled().await, *uuids, "{what}: identities");
        assert_eq!(self.run(self.tool.diff).await, "", "{what}: a difference");
        let mut written = self.world.simulator.journal_since(since);
        written.retain(|entry| entry.operation.is_some_and(Operation::is_mutation));
        assert!(written.is_empty(), "{what}: {written:#?}");
    }
}

/// What this API server knows; the tools' own kinds are theirs.
fn is_ours(manifest: &Value) -> bool {
    let version = manifest["apiVersion"].as_str().unwrap();
    version == "v1" || version.starts_with("runai-operator.io/")
}

/// Registered once, whatever is applied how often.
async fn registered_once(applied: &Applied, adopted: &[&str]) -> BTreeMap<String, String> {
    applied.run(applied.tool.apply).await;
    let uuids = applied.settled().await;
    let created = applied.world.simulator.counters().requests_per_operation.get(&Operation::Create).copied();
    assert_eq!(created.unwrap_or_default(), (uuids.len() - adopted.len()) as u64, "one request per cluster");
    let since = applied.world.simulator.last_seq();
    applied.stays("applied once", &uuids, since).await;
    applied.run(applied.tool.apply).await;
    applied.stays("applied twice", &uuids, since).await;
    uuids
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_cd_sees_no_difference_and_the_credentials_carry_nothing_of_its_tracking() {
    let applied = Applied::prepare(ARGO_CD, &yaml_below("gitops/argocd/clusters")).await;
    let uuids = registered_once(&applied, &[]).await;
    assert_eq!(uuids.keys().collect::<Vec<_>>(), ["gpu-east", "gpu-west"]);
    let secret = applied.world.read(&format!("/api/v1/namespaces/{PLATFORM}/secrets/gpu-east-install")).await.unwrap();
    let metadata = json!([secret["metadata"]["labels"], secret["metadata"]["annotations"]]).to_string();
    assert!(!metadata.contains("argocd") && !metadata.contains("app.kubernetes.io/instance"), "{metadata}");
    assert_eq!(secret["metadata"]["ownerReferences"][0]["kind"], "RunaiCluster");
}

#[tokio::test(flavor = "multi_thread")]
async fn flux_sees_no_difference_and_suspends_by_a_change_in_git() {
    let mut applied = Applied::prepare(FLUX, &yaml_below("gitops/flux/clusters")).await;
    let uuids = registered_once(&applied, &[]).await;
    assert_eq!(uuids.keys().collect::<Vec<_>>(), ["gpu-dev", "gpu-east", "gpu-lab", "gpu-west"]);
    let since = applied.world.simulator.last_seq();
    let lab = applied.manifests.iter_mut().find(|manifest| manifest["metadata"]["name"] == "gpu-lab").unwrap();
    lab["spec"]["suspend"] = json!(true);
    lab["spec"]["name"] = json!("Lab");
    applied.run(applied.tool.apply).await;
    let found = testbed::wait_until(crate::world::SOON, "gpu-lab to be suspended", async || {
        let object = applied.clusters().await.remove("gpu-lab").unwrap();
        if condition(&object, "Suspended").0 == "True" { Ok(object) } else { Err(object.to_string()) }
    });
    let object = found.await.unwrap();
    assert_eq!(object["status"]["name"], "gpu-lab", "nothing is renamed while suspended");
    assert_eq!(applied.run(applied.tool.diff).await, "");
    let mut written = applied.world.simulator.journal_since(since);
    written.retain(|entry| entry.operation.is_some_and(Operation::is_mutation));
    assert!(written.is_empty(), "{written:#?}");

    // The annotation by which a person or a pipeline asks for a pass is echoed.
    let now = "runai-operator.io/reconcile-requested-at=now";
    applied.kubectl.ok(&["annotate", "rcl", "gpu-west", now]).await.unwrap();
    let found = testbed::wait_until(crate::world::SOON, "the request to be echoed", async || {
        let object = applied.clusters().await.remove("gpu-west").unwrap();
        let echoed = &object["status"]["lastHandledReconcileAt"];
        if echoed == "now" { Ok(()) } else { Err(echoed.to_string()) }
    });
    found.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_applies_and_replaces_the_examples() {
    let mut applied = Applied::prepare(KUBECTL, &yaml_below("examples")).await;
    let simulator = &applied.world.simulator;
    let legacy = "11111111-2222-3333-4444-555555555555".parse().ok();
    simulator.seed(SeedCluster { uuid: legacy, ..SeedCluster::named("GPU Legacy") }).unwrap();
    simulator.seed(SeedCluster::named("GPU Watched")).unwrap();
    let url = simulator.url().to_owned();
    for manifest in applied.manifests.iter_mut().filter(|manifest| manifest["kind"] == "Secret") {
        // The address and the credentials are the reader's to fill in.
        assert_eq!(manifest["metadata"]["namespace"], OPERATOR_NAMESPACE);
        let filled = json!({ "url": url, "clientID": "operator", "clientSecret": "operator-secret" });
        let keys = |data: &Value| data.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&manifest["stringData"]), keys(&filled));
        manifest["stringData"] = filled;
    }
    let uuids = registered_once(&applied, &["gpu-legacy", "gpu-watched"]).await;
    assert_eq!(uuids.keys().collect::<Vec<_>>(), ["gpu-east", "gpu-legacy", "gpu-watched", "gpu-west"]);

    // Replace takes finalizers and annotations away: both are put back, and the registration is known again.
    let since = applied.world.simulator.last_seq();
    applied.replace().await;
    let replaced = applied.world.all_in(PLATFORM).await;
    assert_eq!(replaced.len(), uuids.len());
    applied.stays("replaced", &uuids, since).await;
    applied.run(applied.tool.apply).await;
    applied.stays("applied again", &uuids, since).await;
}

#[test]
fn nothing_is_left_out() {
    let applied = ["gitops/argocd/clusters", "gitops/flux/clusters", "examples"].map(path);
    for file in yaml_below("gitops").into_iter().chain(yaml_below("examples")) {
        let is_applied = applied.iter().any(|folder| file.starts_with(folder));
        let is_recording = file.starts_with(path("gitops/argocd/resource_customizations"));
        for document in documents(&file).iter().filter(|_| !is_recording && !is_applied) {
            // Decoded in `manifests`, or read by the judges.
            let is_read = document["kind"] == "ConfigMap" && document["metadata"]["name"] == "argocd-cm";
            let is_namespace = document["kind"] == "Namespace";
            assert!(!is_ours(document) || is_read || is_namespace, "{}: {}", file.display(), document["kind"]);
        }
    }
}
