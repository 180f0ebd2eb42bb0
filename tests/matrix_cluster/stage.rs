//! A few testbeds for many scenarios: a gate before each API server, and a control plane of its own for each scenario.
//!
//! Tests of one target take turns on them, so that each row is a test with a name of its own and costs seconds. Owns
//! what is shared. Must not know any scenario.

use std::collections::hash_map::DefaultHasher;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use runai_simulator::{Config, DisconnectedPolicy, JournalEntry, Operation, Simulator, UniqueNames};
use serde_json::{Value, json};
use testbed::{Login, wait_until};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::gate::Gate;
use crate::world::{SOON, Setup, TEAM, World, cluster, condition, control_plane};

pub const UUID_NOTE: &str = "runai-operator.io/cluster-uuid";
pub const SIGNED_NOTE: &str = "runai-operator.io/registered-with";
pub const INTENT_NOTE: &str = "runai-operator.io/create-pending";
pub const FINALIZER: &str = "runai-operator.io/registration";
/// Longer than a poll interval (5 s, jittered): what has not happened by then was not going to.
pub const A_WHILE: Duration = Duration::from_secs(8);
/// The shortest doubt that the operator accepts: 5 s to send, 1 s for the answer, 5 s in between.
pub const DOUBT: [&str; 2] = ["--create-deadline=1s", "--create-quarantine=11s"];
const NO_FINALIZER: &str = r#"{"metadata":{"finalizers":null}}"#;
/// Waiting for a watch that has to be built anew, or for a doubt to end, on a busy machine.
pub const LONG: Duration = Duration::from_secs(120);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
/// Scenarios at once. Most of their time they wait for a back-off, a quarantine or a poll.
static TURNS: Semaphore = Semaphore::const_new(4);
/// Testbeds that no scenario is using. One on which a scenario failed does not come back.
static FREE: Mutex<Vec<Stage>> = Mutex::new(Vec::new());

/// A shared testbed. Its processes end with this one: the testbed's reaper sees to that.
pub struct Stage {
    pub world: World,
    pub gate: Gate,
    direct: Login,
}

/// Runs a scenario on a testbed that is its own meanwhile, with an operator that is up and a gate that is open.
pub fn on_stage(scenario: impl AsyncFnOnce(&mut Stage)) {
    RUNTIME.block_on(async {
        let _turn = TURNS.acquire().await.unwrap();
        let free = FREE.lock().unwrap().pop();
        let mut stage = match free {
            Some(stage) => stage,
            None => Stage::set().await,
        };
        let begun = Instant::now();
        stage.reset().await;
        scenario(&mut stage).await;
        println!("{:.1} s", begun.elapsed().as_secs_f64());
        FREE.lock().unwrap().push(stage);
    });
}

impl Stage {
    /// With namespaces that are really deleted, and the operator behind the gate.
    pub async fn set() -> Self {
        let setup = Setup { controller_manager: true, ..Setup::default() }.args(&DOUBT);
        Self::behind_a_gate(World::start(setup).await).await
    }

    pub async fn behind_a_gate(mut world: World) -> Self {
        let gate = Gate::before(&world.bed.url()).await;
        let direct = world.login.clone();
        let kubeconfig = std::fs::read_to_string(direct.kubeconfig()).unwrap();
        let file = world.bed.directory().join("gate.kubeconfig");
        std::fs::write(&file, kubeconfig.replace(&world.bed.url(), &gate.url)).unwrap();
        world.login = Login::new(file);
        world.kill_and_restart().await;
        Self { world, gate, direct }
    }

    async fn reset(&mut self) {
        self.gate.open();
        self.gate.forget();
        if self.world.operator.exit_status().is_some() {
            self.restart().await;
        }
        self.clear().await;
    }

    /// What earlier scenarios left behind goes, and so do their control planes, whose simulators have ended.
    async fn clear(&self) {
        for object in self.world.all().await {
            let name = object["metadata"]["name"].as_str().unwrap();
            self.world.patch(name, json!({ "metadata": { "finalizers": null }, "spec": { "suspend": true } })).await;
            self.world.delete(name).await;
            self.world
                .bed
                .kubectl(&["patch", "rcl", name, "-n", TEAM, "--type=merge", "-p", NO_FINALIZER])
                .await
                .unwrap();
        }
        let planes = self.world.kubectl(&["get", "rcp", "-o", "name"]).await;
        for plane in planes.lines().filter(|line| !line.ends_with("/default")) {
            self.world.kubectl(&["delete", plane]).await;
        }
    }

    /// Whatever the process is doing, another one takes its place.
    pub async fn restart(&mut self) {
        self.world.kill_and_restart().await;
    }

    /// Another operator that sees the API server directly.
    pub fn around_the_gate(&mut self) -> testbed::OperatorProcess {
        let gate = std::mem::replace(&mut self.world.login, self.direct.clone());
        let operator = self.world.another_operator();
        self.world.login = gate;
        operator
    }

    /// A control plane of the scenario's own: names are not unique, deletions resolve within half a second.
    pub async fn plane(&self, name: &str) -> Plane {
        self.plane_with(name, |_| ()).await
    }

    pub async fn plane_with(&self, name: &str, change: impl FnOnce(&mut Config)) -> Plane {
        // Uuids come from the seed, and no two control planes share one.
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let mut config = Config { seed: hasher.finish() >> 16, ..Config::default() }.full_lists_only();
        config.names.unique = UniqueNames::Off;
        config.delete.disconnected_policy = DisconnectedPolicy::Complete;
        config.delete.graceful_seconds = 0.5;
        change(&mut config);
        let simulator = Simulator::start(config).unwrap();
        let plane = Plane { name: name.to_owned(), simulator };
        let secret = self.world.secret(name, &[("url", plane.simulator.url())]);
        let object = control_plane(name, name, &json!({ "pollInterval": "5s", "adoptionNamespaces": {} }));
        self.world.apply_all(vec![secret, object]).await;
        plane
    }

    /// Status and metadata writes of the operator to this object since `since`, refused ones included.
    pub fn writes(&self, name: &str, since: Timestamp) -> usize {
        self.requests(since).iter().filter(|event| event.name == name && event.resource == "runaiclusters").count()
    }

    /// All that the operator asked of the API server since `since`, but for reads.
    pub fn requests(&self, since: Timestamp) -> Vec<testbed::AuditEvent> {
        let mut events = self.world.bed.audit_events(Some(since)).unwrap();
        events.retain(|event| {
            event.user.starts_with("system:serviceaccount:runai-operator:")
                && !["get", "list", "watch"].contains(&event.verb.as_str())
        });
        events
    }

    /// Waits for something that is not one object's state.
    pub async fn eventually<S: Debug>(&self, what: &str, probe: impl AsyncFn() -> Result<(), S>) {
        let probe = async || probe().await.map_err(|seen| format!("{seen:?}"));
        if let Err(error) = wait_until(LONG, what, probe).await {
            panic!("{error}\n--- operator\n{}", self.world.tail());
        }
    }

    /// The control plane has answered once: what comes now does not wait for that.
    pub async fn until_plane_ready(&self, name: &str) {
        self.eventually(&format!("control plane {name} Ready"), async || {
            let object = self.world.plane(name).await;
            if condition(&object, "Ready").0 == "True" { Ok(()) } else { Err(object["status"].clone()) }
        })
        .await;
    }

    /// As [`World::until`], with more time.
    pub async fn until(&self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.world.until_within(LONG, name, what, wanted).await
    }

    pub async fn until_ready(&self, name: &str) -> Value {
        self.until(name, "Ready", |object| condition(object, "Ready").0 == "True").await
    }

    pub async fn until_reason(&self, name: &str, reason: &str) -> Value {
        self.until(name, &format!("Synced/{reason}"), |object| condition(object, "Synced").1 == reason).await
    }

    pub async fn until_gone(&self, name: &str) {
        self.world.until_gone_within(LONG, name).await;
    }

    /// Nothing is sent to this control plane that could change a registration, for a while.
    pub async fn stays_silent(&self, plane: &Plane, what: &str) {
        let seq = plane.simulator.last_seq();
        self.world
            .holds(A_WHILE, what, async || match plane.sent_since(seq) {
                sent if sent.is_empty() => Ok(()),
                sent => Err(format!("{sent:?}")),
            })
            .await;
    }

    /// Takes the finalizer off by force, so that the object goes whatever the operator thinks.
    pub async fn strip_finalizer(&self, name: &str) {
        self.world.patch(name, json!({ "metadata": { "finalizers": null } })).await;
    }

    /// Asks the operator's process to live on: it has not ended by itself.
    pub fn assert_alive(&mut self) {
        assert!(self.world.operator.exit_status().is_none(), "the operator ended:\n{}", self.world.tail());
    }
}

/// A control plane with its simulator.
pub struct Plane {
    pub name: String,
    pub simulator: Simulator,
}

impl Plane {
    /// An object that is registered here under its own name, with a domain.
    pub fn object(&self, name: &str, mut spec: Value) -> Value {
        spec["controlPlaneRef"] = json!({ "name": self.name });
        if spec["domain"].is_null() {
            spec["domain"] = json!(format!("https://{name}.example.com"));
        }
        cluster(TEAM, name, spec)
    }

    pub async fn apply(&self, stage: &Stage, name: &str) {
        stage.world.apply(&self.object(name, json!({}))).await;
    }

    /// What was sent to change registrations, in short: `Create east 201`, `Delete <uuid> 204`.
    pub fn sent(&self) -> Vec<String> {
        self.sent_since(0)
    }

    pub fn sent_since(&self, seq: u64) -> Vec<String> {
        changes_since(&self.simulator, seq)
    }

    /// The one live registration of that name.
    pub fn only(&self, name: &str) -> Uuid {
        let records = self.simulator.clusters_named(name);
        assert_eq!(records.len(), 1, "{name}: {records:?}");
        records[0].uuid
    }

    /// Waits until no registration lives here.
    pub async fn until_nothing_is_left(&self, stage: &Stage) {
        stage
            .eventually("nothing left behind", async || match self.simulator.live_clusters() {
                live if live.is_empty() => Ok(()),
                live => Err(live),
            })
            .await;
    }

    /// How many POSTs with that name arrived, and how many registrations they made.
    pub fn creates(&self, name: &str) -> (u64, u64) {
        let counters = self.simulator.counters();
        let of = |map: &std::collections::BTreeMap<String, u64>| map.get(name).copied().unwrap_or_default();
        (of(&counters.create_requests_per_name), of(&counters.creates_per_name))
    }

    /// Waits until a POST with that name was committed.
    pub async fn committed(&self, name: &str) {
        let committed = |simulator: &Simulator| !simulator.clusters_named(name).is_empty();
        assert!(self.simulator.until(SOON, committed).await, "{name}: no POST was committed");
    }
}

/// Requests that change registrations, in short.
pub fn changes_since(simulator: &Simulator, seq: u64) -> Vec<String> {
    let mut entries = simulator.journal_since(seq);
    entries.retain(|entry| entry.operation.is_some_and(Operation::is_mutation));
    entries.into_iter().map(short).collect()
}

#[allow(clippy::needless_pass_by_value, reason = "a mapping")]
fn short(entry: JournalEntry) -> String {
    let name = || entry.body.as_ref().and_then(|body| body["name"].as_str()).unwrap_or_default().to_owned();
    let subject = entry.path_id.clone().unwrap_or_else(name);
    let status = entry.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    format!("{:?} {subject} {status}", entry.operation.unwrap())
}
