//! A world whose operator is a release: the chart installed by Helm with two replicas, and its pods as processes.
//!
//! Owns the installation, and what two replicas promise when all is over: both did what pods owe (see `pods.rs`), and no
//! registration was made twice. To a scenario it is the world of `tests/e2e/world.rs`. Must not know any scenario.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use jiff::Timestamp;
use runai_simulator::{Operation, Simulator};
use serde_json::json;
use testbed::{OPERATOR_NAMESPACE, Options, RELEASE_NAME, Testbed, workspace_dir};
use uuid::Uuid;

use crate::pods::Pods;

#[path = "../e2e/world.rs"]
mod base;

use base::{Operator, connection, namespace};
pub use base::{SHORT_DOUBT, SOON, Setup, TEAM, cluster, condition, control_plane, message, uuid};

impl Operator for Pods {
    fn said(&self) -> String {
        self.last_words()
    }
}

/// Two replicas and what is around them.
pub struct World {
    base: base::World<Pods>,
    /// What there is to object to was told already.
    told: bool,
}

impl Deref for World {
    type Target = base::World<Pods>;

    fn deref(&self) -> &Self::Target {
        &self.base
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.base
    }
}

impl World {
    /// Installed, both pods ready, one of them leads. The control plane `default` comes from the chart's values.
    pub async fn start(setup: Setup) -> Self {
        let usual = setup.control_plane == Setup::default().control_plane;
        let room = base::World::room().await;
        let options = Options { controller_manager: setup.controller_manager, ..Options::default() };
        let bed = Testbed::start(options).await.unwrap();
        install(&bed, &setup, usual).await;
        let simulator = Simulator::start(setup.simulator).unwrap();
        let secret = connection("connection", simulator.url(), &[]);
        bed.kubectl_apply(&secret.to_string()).await.unwrap();
        let operator = Pods::start(&bed).await;
        assert_eq!(operator.count(), 2);
        let login = operator.login();
        let base = base::World::around(room, bed, simulator, operator, login).await;
        let world = Self { base, told: false };
        if !usual {
            // A scenario with a spec of its own may change it later. One from the values would be put back by the next leader.
            world.apply(&control_plane("default", "connection", &setup.control_plane)).await;
        }
        world.operator.wait_ready(SOON).await.unwrap();
        world.operator.leader().await;
        world
    }

    /// The same pods: what was ended is started again by the kubelet.
    pub fn another_operator(&self) -> Pods {
        self.operator.clone()
    }

    /// Ends the leader by SIGKILL. Then both pods are ready again, and the other one leads, or the same once more.
    pub async fn kill_and_restart(&mut self) {
        self.operator.sigkill();
        self.operator.wait_ready(SOON).await.unwrap();
        self.operator.leader().await;
    }

    /// Ends the pods; everything that two replicas owed and did not do.
    pub fn objections(&mut self) -> Vec<String> {
        if std::mem::replace(&mut self.told, true) {
            return Vec::new();
        }
        let mut objections = self.operator.end();
        objections.extend(registered_twice(&self.simulator));
        objections
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let objections = self.objections();
        // A scenario that has failed has said why.
        if !std::thread::panicking() {
            assert!(objections.is_empty(), "at the end of the scenario:\n{}", objections.join("\n"));
        }
    }
}

/// `helm install` with what the scenario asks for as values: flags as `extraArgs`, the log's filter as `logging.filter`.
async fn install(bed: &Testbed, setup: &Setup, with_control_plane: bool) {
    for name in [TEAM, OPERATOR_NAMESPACE] {
        bed.kubectl_apply(&namespace(name).to_string()).await.unwrap();
    }
    let mut values = json!({
        // The simulator speaks http.
        "allowInsecureHttp": true,
        "replicaCount": 2,
        "logging": { "filter": setup.log },
        "extraArgs": setup.args,
    });
    if with_control_plane {
        values["controlPlane"] = json!({ "existingSecret": "connection", "spec": setup.control_plane });
    }
    // JSON is YAML.
    let file = bed.directory().join("values.yaml");
    std::fs::write(&file, values.to_string()).unwrap();
    let (chart, file) = (workspace_dir().join("charts/runai-cluster-operator"), file.display().to_string());
    let chart = chart.display().to_string();
    let mut args = vec!["install", RELEASE_NAME, &chart, "--namespace", OPERATOR_NAMESPACE, "--values", &file];
    args.extend(setup.chart.iter().flat_map(|setting| ["--set", *setting]));
    bed.helm(&args).await.unwrap().success("helm", &args).unwrap();
}

/// Creates that were committed while a registration of the same name, made before, was still there. Of what others made, and
/// of other control planes than the world's own, the scenarios speak themselves.
fn registered_twice(simulator: &Simulator) -> Vec<String> {
    let mut made: BTreeMap<String, Vec<(Timestamp, Uuid)>> = BTreeMap::new();
    for entry in simulator.journal() {
        let (Some(Operation::Create), Some(at)) = (entry.operation, entry.committed_at) else { continue };
        let name = entry.body.as_ref().and_then(|body| body["name"].as_str()).unwrap_or_default();
        made.entry(name.to_owned()).or_default().extend(entry.committed_uuids.iter().map(|id| (at, *id)));
    }
    let mut twice = Vec::new();
    for (name, mut creates) in made {
        creates.sort_unstable();
        for pair in creates.windows(2) {
            let ((_, first), (at, second)) = (pair[0], pair[1]);
            let record = simulator.cluster(first).filter(|record| record.name == name);
            if record.is_some_and(|record| record.deleted_at.is_none_or(|gone| gone > at)) {
                twice.push(format!("{name} was registered twice: {first}, and {second} at {at}"));
            }
        }
    }
    twice
}
