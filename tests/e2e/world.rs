//! A testbed with the chart installed, a simulated control plane, and the operator beside them.
//!
//! Owns what every scenario needs. Must not know any scenario.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use runai_simulator::{Config, Simulator};
use serde_json::{Value, json};
use testbed::{Login, OPERATOR_NAMESPACE, OperatorOptions, OperatorProcess, Options, Testbed, wait_until};
use tokio::sync::{Semaphore, SemaphorePermit};

#[path = "objects.rs"]
mod objects;

pub use objects::*;

/// Testbeds at once: what runs on them mostly waits. More than the shared ones of a target, which are never given back.
static ROOM: Semaphore = Semaphore::const_new(6);

/// A deadline that is never reached when all is well.
pub const SOON: Duration = Duration::from_secs(60);
/// The namespace of the objects under test.
pub const TEAM: &str = "team-a";
const API: &str = "runai-operator.io/v1alpha1";
/// Flags that make doubts short: for servers whose commits the test controls.
pub const SHORT_DOUBT: [&str; 2] = ["--create-deadline=4s", "--create-quarantine=15s"];

/// What a scenario starts from.
pub struct Setup {
    /// The simulator.
    pub simulator: Config,
    /// Flags of the operator.
    pub args: Vec<String>,
    /// Whether namespaces are really deleted and owner references collected.
    pub controller_manager: bool,
    /// Spec of the control plane `default`, beyond its connection Secret.
    pub control_plane: Value,
    /// `RUST_LOG` of the operator.
    pub log: &'static str,
    /// `--set` arguments of the chart.
    pub chart: &'static [&'static str],
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            simulator: Config::default().full_lists_only(),
            args: Vec::new(),
            controller_manager: false,
            control_plane: json!({ "pollInterval": "5s", "adoptionNamespaces": {} }),
            log: "info,runai_cluster_operator=debug",
            chart: &[],
        }
    }
}

impl Setup {
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    pub fn simulator(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.simulator);
        self
    }

    /// Polls may look at the minimal list, as with any control plane of 2.25 or newer.
    pub fn with_minimal_lists(self) -> Self {
        self.simulator(|config| config.capabilities.minimal = None)
    }

    pub fn control_plane(mut self, spec: Value) -> Self {
        self.control_plane = spec;
        self
    }
}

/// The operator of a world, however it runs.
pub trait Operator {
    /// What it has logged, to be shown when something fails.
    fn said(&self) -> String;
}

impl Operator for OperatorProcess {
    fn said(&self) -> String {
        self.logs().unwrap_or_default()
    }
}

pub struct World<O = OperatorProcess> {
    pub operator: O,
    pub simulator: Simulator,
    pub bed: Testbed,
    pub login: Login,
    client: kube::Client,
    args: Vec<String>,
    log: &'static str,
    _room: SemaphorePermit<'static>,
}

impl World {
    /// Everything up, the control plane `default` connected, the namespace `team-a` there, the operator ready.
    pub async fn start(setup: Setup) -> Self {
        let room = ROOM.acquire().await.unwrap();
        let options = Options { controller_manager: setup.controller_manager, ..Options::default() };
        let bed = Testbed::start(options).await.unwrap();
        // Roles in named namespaces need these.
        bed.kubectl_apply(&namespace(TEAM).to_string()).await.unwrap();
        bed.install_chart(setup.chart).await.unwrap();
        let simulator = Simulator::start(setup.simulator).unwrap();
        let login =
            bed.serviceaccount_kubeconfig(OPERATOR_NAMESPACE, "runai-operator-runai-cluster-operator").await.unwrap();
        let operator = start_operator(&bed, &login, &setup.args, setup.log);
        let mut world = Self::around(room, bed, simulator, operator, login).await;
        (world.args, world.log) = (setup.args, setup.log);
        world.connect_secret("connection", &[]).await;
        world.apply(&control_plane("default", "connection", &setup.control_plane)).await;
        world.operator.wait_ready(SOON).await.unwrap();
        world
    }

    /// The permit for one testbed.
    pub async fn room() -> SemaphorePermit<'static> {
        ROOM.acquire().await.unwrap()
    }

    /// Another operator process with the same flags.
    pub fn another_operator(&self) -> OperatorProcess {
        start_operator(&self.bed, &self.login, &self.args, self.log)
    }

    /// Ends the operator by SIGKILL and starts it anew.
    pub async fn kill_and_restart(&mut self) {
        self.operator.sigkill();
        self.operator = self.another_operator();
        self.operator.wait_ready(SOON).await.unwrap();
    }
}

impl<O: Operator> World<O> {
    /// A world of parts that were started elsewhere, with the permit for its testbed.
    pub async fn around(
        room: SemaphorePermit<'static>,
        bed: Testbed,
        simulator: Simulator,
        operator: O,
        login: Login,
    ) -> Self {
        let client = bed.client().await.unwrap();
        Self { operator, simulator, bed, login, client, args: Vec::new(), log: "info", _room: room }
    }

    pub async fn apply(&self, manifest: &Value) {
        self.bed.kubectl_apply(&manifest.to_string()).await.unwrap();
    }

    /// Applies a manifest that has to be refused; returns what was said.
    pub async fn refused(&self, manifest: &Value) -> String {
        self.bed.kubectl_apply(&manifest.to_string()).await.unwrap_err().to_string()
    }

    /// Applies many manifests at once.
    pub async fn apply_all(&self, items: Vec<Value>) {
        self.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items })).await;
    }

    /// Writes a connection Secret to this world's simulator; `over` replaces or adds keys.
    pub async fn connect_secret(&self, name: &str, over: &[(&str, &str)]) {
        self.apply(&self.secret(name, over)).await;
    }

    /// That Secret, to be applied along with others.
    pub fn secret(&self, name: &str, over: &[(&str, &str)]) -> Value {
        connection(name, self.simulator.url(), over)
    }

    pub async fn kubectl(&self, args: &[&str]) -> String {
        self.bed.kubectl_ok(args).await.unwrap()
    }

    /// Applies a RunaiCluster in `team-a`.
    pub async fn cluster(&self, name: &str, spec: Value) {
        self.apply(&cluster(TEAM, name, spec)).await;
    }

    pub async fn patch(&self, name: &str, patch: Value) {
        self.kubectl(&["patch", "rcl", name, "-n", TEAM, "--type=merge", "-p", &patch.to_string()]).await;
    }

    /// Asks for an object's deletion without waiting for it.
    pub async fn delete(&self, name: &str) {
        self.kubectl(&["delete", "rcl", name, "-n", TEAM, "--wait=false"]).await;
    }

    /// Asks for an object's deletion at any moment of its life, also while the operator writes its finalizer.
    ///
    /// Without a condition the API server would look for finalizers first and delete afterwards: one that is written in
    /// between is lost, and the object goes at once. The operator then deletes what it hears was made (row 35), but not
    /// what it hears nothing of: scenarios that lose answers or kill it delete in this way.
    pub async fn delete_as_seen(&self, name: &str) {
        while let Some(object) = self.get(name).await {
            let version = &object["metadata"]["resourceVersion"];
            let condition = json!({ "preconditions": { "resourceVersion": version } }).to_string().into_bytes();
            let path = format!("/apis/{API}/namespaces/{TEAM}/runaiclusters/{name}");
            let request = http::Request::delete(path).header("content-type", "application/json").body(condition);
            match self.client.request::<Value>(request.unwrap()).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(kube::Error::Api(status)) if status.code == 404 => return,
                done => return drop(done.unwrap()),
            }
        }
    }

    /// What the API server has under this path, as the administrator sees it; `None` if there is no such thing.
    ///
    /// Not by kubectl: whoever waits looks four times a second, and many wait at the same time.
    pub async fn read(&self, path: &str) -> Option<Value> {
        let answer = wait_until(SOON, path, async || {
            let request = http::Request::get(path).body(Vec::new()).unwrap();
            match self.client.request::<Value>(request).await {
                Ok(found) => Ok(Some(found)),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        });
        let mut found = answer.await.unwrap_or_else(|error| panic!("{error}\n--- operator\n{}", self.tail()))?;
        // As kubectl shows it.
        let forget = |object: &mut Value| object["metadata"].as_object_mut().map(|meta| meta.remove("managedFields"));
        forget(&mut found);
        found["items"].as_array_mut().into_iter().flatten().for_each(|object| drop(forget(object)));
        Some(found)
    }

    /// The object as it is; `None` if it is gone.
    pub async fn get(&self, name: &str) -> Option<Value> {
        self.get_in(TEAM, name).await
    }

    /// The same in another namespace.
    pub async fn get_in(&self, namespace: &str, name: &str) -> Option<Value> {
        self.read(&format!("/apis/{API}/namespaces/{namespace}/runaiclusters/{name}")).await
    }

    /// All objects of `team-a`; none if there is no such kind.
    pub async fn all(&self) -> Vec<Value> {
        self.all_in(TEAM).await
    }

    /// The same in another namespace.
    pub async fn all_in(&self, namespace: &str) -> Vec<Value> {
        let list = self.read(&format!("/apis/{API}/namespaces/{namespace}/runaiclusters")).await;
        list.map_or_else(Vec::new, |list| list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Name and version of each object in a namespace: the same for as long as nobody writes to any.
    pub async fn versions_in(&self, namespace: &str) -> Vec<String> {
        let all = self.all_in(namespace).await;
        let version = |meta: &Value| format!("{} {}", meta["name"], meta["resourceVersion"]);
        all.iter().map(|object| version(&object["metadata"])).collect()
    }

    /// A control plane object, which has to exist.
    pub async fn plane(&self, name: &str) -> Value {
        self.read(&format!("/apis/{API}/runaicontrolplanes/{name}")).await.unwrap()
    }

    /// A namespace, be it on its way out; `None` if it is gone.
    pub async fn namespace(&self, name: &str) -> Option<Value> {
        self.read(&format!("/api/v1/namespaces/{name}")).await
    }

    /// Waits until the object fulfils `wanted`; returns it.
    pub async fn until(&self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until_within(SOON, name, what, wanted).await
    }

    pub async fn until_within(
        &self,
        limit: Duration,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let what = format!("{name}: {what}");
        let result = wait_until(limit, &what, async || match self.get(name).await {
            Some(object) if wanted(&object) => Ok(object),
            Some(object) => Err(brief(&object)),
            None => Err("the object is gone".to_owned()),
        });
        match result.await {
            Ok(object) => object,
            Err(error) => panic!("{error}\n--- operator\n{}", self.tail()),
        }
    }

    /// Waits until the object is ready as its spec is now, not as it was before a change that the operator has yet to see.
    pub async fn until_ready(&self, name: &str) -> Value {
        self.until(name, "Ready", |object| {
            let is_current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            is_current && condition(object, "Ready").0 == "True"
        })
        .await
    }

    /// Waits until a condition has this status and reason.
    pub async fn until_condition(&self, name: &str, kind: &str, status: &str, reason: &str) -> Value {
        self.until(name, &format!("{kind}={status}/{reason}"), |object| {
            let (is, why) = condition(object, kind);
            is == status && why == reason
        })
        .await
    }

    pub async fn until_stalled(&self, name: &str, reason: &str) -> Value {
        self.until_condition(name, "Stalled", "True", reason).await
    }

    pub async fn until_gone(&self, name: &str) {
        self.until_gone_within(SOON, name).await;
    }

    pub async fn until_gone_within(&self, limit: Duration, name: &str) {
        let what = format!("{name}: gone");
        let result = wait_until(limit, &what, async || match self.get(name).await {
            None => Ok(()),
            Some(object) => Err(brief(&object)),
        });
        if let Err(error) = result.await {
            panic!("{error}\n--- operator\n{}", self.tail());
        }
    }

    /// Holds for the whole of `period`: checked again and again, for what must *not* happen.
    pub async fn holds(&self, period: Duration, what: &str, check: impl AsyncFn() -> Result<(), String>) {
        let end = Instant::now() + period;
        loop {
            if let Err(seen) = check().await {
                panic!("{what} does not hold: {seen}\n--- operator\n{}", self.tail());
            }
            if Instant::now() >= end {
                return;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    pub fn tail(&self) -> String {
        let logs = self.operator.said();
        let lines: Vec<_> = logs.lines().rev().take(60).collect();
        lines.into_iter().rev().fold(String::new(), |mut text, line| {
            let _ = writeln!(text, "{line}");
            text
        })
    }
}

/// A testbed with the chart and nothing beside it: for what the API server alone decides.
pub struct Bare {
    pub bed: Testbed,
    _room: SemaphorePermit<'static>,
}

impl Bare {
    pub async fn start() -> Self {
        let room = ROOM.acquire().await.unwrap();
        let bed = Testbed::start(Options::default()).await.unwrap();
        bed.install_chart(&[]).await.unwrap();
        Self { bed, _room: room }
    }
}

fn start_operator(bed: &Testbed, login: &Login, args: &[String], log: &str) -> OperatorProcess {
    let binary = env!("CARGO_BIN_EXE_runai-cluster-operator");
    let mut options = OperatorOptions::new(binary, login.kubeconfig(), bed.directory());
    for arg in args {
        options = options.arg(arg);
    }
    // A machine that is too busy to renew a Lease would end the operator: only the scenarios about that elect.
    if !args.iter().any(|arg| arg.starts_with("--leader-elect")) {
        options = options.arg("--leader-elect=false");
    }
    OperatorProcess::start(&options.env("RUST_LOG", log)).unwrap()
}
