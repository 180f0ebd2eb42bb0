//! A run of the operator that brings objects into every situation; what it leaves in them is compared with the files
//! below `gitops/argocd/resource_customizations`, and laid before the judges.
//!
//! After a change: `make recordings`, or `UPDATE_GITOPS=1 cargo test --workspace --test gitops recordings`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use runai_simulator::{
    AgentCommand, Config, FaultAction, FaultMatch, FaultRule, Operation, Phase, RecordPatch, ResetPhase, SeedCluster,
    Simulator,
};
use serde_json::{Value, json};
use testbed::{free_ports, wait_until};

use crate::files::{hold, path, yaml_below};
use crate::judges::{Judges, Verdict};
use crate::recorded::recorded;
use crate::situations::ALL;
use crate::world::{Setup, TEAM, World, cluster, condition, control_plane, uuid};

const LAYOUT: &str = "gitops/argocd/resource_customizations/runai-operator.io";
/// Refused credentials count as stalled after a minute.
const STALLS_AFTER: Duration = Duration::from_secs(61);
const STALLS_WITHIN: Duration = Duration::from_secs(120);

/// The operator with control planes that are well, broken and closed.
struct Stage {
    world: World,
    /// Goes out of service while the run goes on.
    fading: Simulator,
    objects: BTreeMap<(&'static str, &'static str), Value>,
    names: Vec<(String, &'static str)>,
}

fn status(code: u16) -> FaultAction {
    FaultAction::Status { code, body: None, headers: BTreeMap::default(), phase: Phase::Pre }
}

fn for_name(name: &str, operation: Operation, action: FaultAction) -> FaultRule {
    let matches = FaultMatch { operation: Some(operation), name: Some(name.to_owned()), ..FaultMatch::default() };
    FaultRule { matches, ..FaultRule::new(action) }
}

impl Stage {
    async fn set() -> Self {
        let setup = Setup { chart: &["installInfo.enabled=true"], ..Setup::default() };
        let world = World::start(setup.simulator(|config| config.delete.graceful_seconds = 3600.0)).await;
        let fading = Simulator::start(Config { seed: 2, ..Config::default() }).unwrap();
        let [closed]: [u16; 1] = free_ports().unwrap();
        let closed = format!("http://127.0.0.1:{closed}");
        let planes = [
            ("fading", vec![("url", fading.url())]),
            ("refused", vec![("clientSecret", "wrong")]),
            ("unreachable", vec![("url", closed.as_str())]),
        ];
        let spec = json!({ "pollInterval": "5s", "adoptionNamespaces": {} });
        let mut items = vec![control_plane("no-secret", "not-there", &spec)];
        for (name, over) in &planes {
            items.extend([world.secret(name, over), control_plane(name, name, &spec)]);
        }
        world.apply_all(items).await;
        let urls = [world.simulator.url(), fading.url(), &closed];
        let with_scheme = urls.iter().map(|url| ((*url).to_owned(), "https://acme.run.ai"));
        let without =
            urls.iter().filter_map(|url| url.strip_prefix("http://")).map(|host| (host.to_owned(), "acme.run.ai"));
        let names = with_scheme.chain(without).collect();
        Self { world, fading, objects: BTreeMap::new(), names }
    }

    /// Applies an object of this name in `team-a`.
    async fn ask(&self, name: &str, spec: Value) {
        self.world.cluster(name, spec).await;
    }

    fn keep(&mut self, kind: &'static str, name: &'static str, object: &Value) {
        self.objects.insert((kind, name), recorded(object, &self.names));
    }

    /// Keeps the object once the condition has this status and reason, and all of its generation is seen.
    async fn record(&mut self, name: &'static str, kind: &str, status: &str, reason: &str) {
        let object = self.world.until_condition(name, kind, status, reason).await;
        self.keep("RunaiCluster", name, &object);
    }

    async fn record_plane(&mut self, name: &'static str, object: &str, wanted: (&str, &str, &str)) {
        let (kind, status, reason) = wanted;
        let what = format!("{object}: {wanted:?}");
        let found = wait_until(STALLS_WITHIN, &what, async || {
            let found = self.world.plane(object).await;
            let is = condition(&found, kind);
            if is == (status.to_owned(), reason.to_owned()) { Ok(found) } else { Err(found["status"].to_string()) }
        });
        let found = found.await.unwrap();
        self.keep("RunaiControlPlane", name, &found);
    }
}

/// What is wrong with the control plane before anything is asked of it.
fn break_things(simulator: &Simulator) {
    simulator.add_fault(for_name("rejected", Operation::Create, status(422)));
    simulator.add_fault(for_name("renaming-2", Operation::Update, status(503)));
    simulator.add_fault(for_name("in-doubt", Operation::Create, FaultAction::Reset { phase: ResetPhase::Pre }));
    for name in ["ambiguous", "ambiguous", "name-conflict", "observed"] {
        simulator.seed(SeedCluster::named(name)).unwrap();
    }
}

/// Objects that come to rest without further help.
async fn those_that_rest(stage: &mut Stage) {
    break_things(&stage.world.simulator);
    let install = json!({ "domain": "https://waiting.example.com", "version": "2.24", "installInfo": { "secretName": "waiting-install" } });
    let taken = json!({ "version": "2.24", "installInfo": { "secretName": "taken" } });
    let foreign = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "taken", "namespace": TEAM } });
    let specs = [
        ("retrying", json!({ "controlPlaneRef": { "name": "unreachable" } })),
        ("rejected", json!({})),
        ("in-doubt", json!({})),
        ("waiting", install),
        ("agent-awaited", json!({ "readyWhen": "Connected" })),
        ("ambiguous", json!({ "adoption": { "policy": "IfExists" } })),
        ("name-conflict", json!({})),
        ("observed", json!({ "managementPolicy": "Observe" })),
        ("secret-conflict", taken),
        ("suspended-early", json!({ "suspend": true })),
    ];
    let mut items = vec![foreign];
    items.extend(specs.into_iter().map(|(name, spec)| cluster(TEAM, name, spec)));
    stage.world.apply_all(items).await;
    stage.record("retrying", "Reconciling", "True", "ConnectionFailed").await;
    stage.record("rejected", "Stalled", "True", "Rejected").await;
    stage.record("in-doubt", "Reconciling", "True", "CreateInDoubt").await;
    stage.record("waiting", "CredentialsPublished", "True", "CredentialsPublished").await;
    stage.record("agent-awaited", "Ready", "False", "WaitingToConnect").await;
    stage.record("ambiguous", "Stalled", "True", "CreateAmbiguous").await;
    stage.record("name-conflict", "Stalled", "True", "NameConflict").await;
    stage.record("observed", "Connected", "False", "WaitingToConnect").await;
    stage.record("secret-conflict", "Stalled", "True", "SecretConflict").await;
    stage.record("suspended-early", "Suspended", "True", "Suspended").await;
}

/// Objects that are registered first, and then something happens to them.
async fn those_that_are_met(stage: &mut Stage) {
    let names = [
        "connected",
        "disconnected",
        "service-issues",
        "missing-prerequisites",
        "renaming",
        "externally-deleted",
        "suspended",
        "deleting",
        "deletion-stalled",
        "changed",
    ];
    // What was made just now might be missing because a read lags behind.
    let created_at = Some(stage.world.simulator.now() - jiff::SignedDuration::from_hours(1));
    stage.world.simulator.seed(SeedCluster { created_at, ..SeedCluster::named("externally-deleted") }).unwrap();
    let spec = |name: &str| match name {
        "externally-deleted" => json!({ "adoption": { "policy": "IfExists" } }),
        "deletion-stalled" => json!({ "deletion": { "stalledAfter": "1s" } }),
        _ => json!({}),
    };
    stage.world.apply_all(names.iter().map(|name| cluster(TEAM, name, spec(name))).collect()).await;
    for name in names {
        let id = uuid(&stage.world.until_ready(name).await);
        stage.world.simulator.agent(id, AgentCommand::start()).unwrap();
    }
    for name in names {
        stage.world.until_condition(name, "Connected", "True", "Connected").await;
    }
    for (name, state) in [
        ("disconnected", "Disconnected"),
        ("service-issues", "ServiceIssues"),
        ("missing-prerequisites", "MissingPrerequisites"),
    ] {
        let id = uuid(&stage.world.get(name).await.unwrap());
        let forced = RecordPatch { force_state: Some(state.to_owned()), ..RecordPatch::default() };
        stage.world.simulator.patch(id, forced).unwrap();
    }
    stage.world.patch("suspended", json!({ "spec": { "suspend": true } })).await;
    stage.world.patch("renaming", json!({ "spec": { "name": "renaming-2" } })).await;
    stage.world.simulator.remove(uuid(&stage.world.get("externally-deleted").await.unwrap())).unwrap();
    stage.world.delete("deleting").await;
    stage.world.delete("deletion-stalled").await;
    stage.record("connected", "Connected", "True", "Connected").await;
    stage.record("disconnected", "Connected", "False", "Disconnected").await;
    stage.record("service-issues", "Connected", "True", "ServiceIssues").await;
    stage.record("missing-prerequisites", "Connected", "True", "MissingPrerequisites").await;
    stage.record("suspended", "Suspended", "True", "Suspended").await;
    stage.record("renaming", "Reconciling", "True", "ConnectionFailed").await;
    stage.record("externally-deleted", "Stalled", "True", "ExternallyDeleted").await;
    stage.record("deleting", "Reconciling", "True", "DeletionRequested").await;
    stage.record("deletion-stalled", "Stalled", "True", "DeletionStalled").await;
}

async fn control_planes(stage: &mut Stage) {
    stage.record_plane("answers", "default", ("Ready", "True", "Connected")).await;
    stage.record_plane("unreachable", "unreachable", ("Ready", "False", "ConnectionFailed")).await;
    stage.record_plane("no-secret", "no-secret", ("Ready", "False", "ConnectionInvalid")).await;
    stage.record_plane("refused", "refused", ("Stalled", "True", "AuthFailed")).await;
}

/// Refused for so long that a person is needed; a change of the spec gets that said before the next attempt is due.
async fn stays_refused(stage: &mut Stage, since: Instant) {
    let long = wait_until(STALLS_WITHIN, "a minute of refusals", async || match since.elapsed() {
        passed if passed > STALLS_AFTER => Ok(()),
        passed => Err(format!("{passed:?}")),
    });
    long.await.unwrap();
    stage.world.patch("refused", json!({ "spec": { "version": "2.24" } })).await;
    stage.record("refused", "Stalled", "True", "AuthFailed").await;
}

/// What is there when no operator is.
async fn without_operator(stage: &mut Stage) {
    stage.world.operator.sigkill();
    stage.world.patch("changed", json!({ "spec": { "version": "2.25" } })).await;
    stage.ask("unseen", json!({})).await;
    stage.world.apply(&control_plane("unseen", "connection", &json!({}))).await;
    for name in ["changed", "unseen"] {
        let object = stage.world.get(name).await.unwrap();
        stage.keep("RunaiCluster", name, &object);
    }
    let object = stage.world.plane("unseen").await;
    stage.keep("RunaiControlPlane", "unseen", &object);
}

/// The objects of every situation.
async fn run() -> BTreeMap<(&'static str, &'static str), Value> {
    let mut stage = Stage::set().await;
    stage.ask("refused", json!({ "controlPlaneRef": { "name": "refused" } })).await;
    stage.ask("outage", json!({ "controlPlaneRef": { "name": "fading" } })).await;
    stage.world.until_condition("refused", "Reconciling", "True", "AuthFailed").await;
    let refused_at = Instant::now();
    stage.world.until_ready("outage").await;
    for operation in [Operation::List, Operation::MinimalList, Operation::Get, Operation::Minimal] {
        stage.fading.add_fault(FaultRule::on(operation, status(503)));
    }
    those_that_rest(&mut stage).await;
    those_that_are_met(&mut stage).await;
    stage.record("outage", "Ready", "Unknown", "ConnectionFailed").await;
    control_planes(&mut stage).await;
    stays_refused(&mut stage, refused_at).await;
    without_operator(&mut stage).await;
    stage.objects
}

/// The `health_test.yaml` of a kind: what Argo CD shows. It runs no script for what is being deleted.
fn health_test(kind: &str, objects: &BTreeMap<(&str, &str), Value>, verdicts: &[Verdict]) -> String {
    let mut text = "tests:\n".to_owned();
    for (((of, name), object), verdict) in objects.iter().zip(verdicts) {
        if *of == kind && object["metadata"]["deletionTimestamp"].is_null() {
            let message = Value::String(verdict.argocd_message.clone());
            text += &format!(
                "- healthStatus:\n    status: {}\n    message: {message}\n  inputPath: testdata/{name}.yaml\n",
                verdict.argocd
            );
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn every_situation_is_judged_as_the_table_says() {
    let judges = Judges::new().await;
    let objects = run().await;
    assert_eq!(objects.len(), ALL.len(), "{:?}", objects.keys());
    let verdicts = judges.health(objects.values()).await;
    let mut wrong = Vec::new();
    for ((key, object), verdict) in objects.iter().zip(&verdicts) {
        let due = ALL.iter().find(|situation| (situation.kind, situation.name) == *key).unwrap().due;
        if verdict.words() != due {
            wrong.push(format!("{key:?}: due {due:?}, said {verdict:#?} of {}", object["status"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    for ((kind, name), object) in &objects {
        let text = serde_saphyr::to_string(object).unwrap();
        hold(&path(&format!("{LAYOUT}/{kind}/testdata/{name}.yaml")), &format!("{}\n", text.trim_end()));
    }
    let files = yaml_below(LAYOUT).into_iter().filter(|file| file.parent().unwrap().ends_with("testdata"));
    assert_eq!(files.count(), ALL.len(), "a recording of no situation is left over below {LAYOUT}");
    for kind in ["RunaiCluster", "RunaiControlPlane"] {
        let folder = path(&format!("{LAYOUT}/{kind}"));
        hold(&folder.join("health.lua"), &std::fs::read_to_string(path("gitops/argocd/health.lua")).unwrap());
        hold(&folder.join("health_test.yaml"), &health_test(kind, &objects, &verdicts));
    }
}
