//! One fault of the control plane by itself, in each phase of an object's life.
//!
//! Each row has a control plane of its own with one object that is made, renamed and deleted; all rows live at the same
//! time. The run without a fault is a row like the others. Owns the lives; the table is in `rows`.

use std::fmt::Write as _;
use std::time::Duration;

use futures::future::join_all;
use runai_simulator::{Config, DisconnectedPolicy, FaultRule, Profile, SeedCluster, Simulator, UniqueNames};
use serde_json::{Value, json};

use crate::kube_objects::{Objects, is_settled};
use crate::oracle::{Ledger, Run, differences, state_of};
use crate::rows::{Kind, Row, rows};
use crate::world::{Setup, World, condition, control_plane};

/// Two doubts, back-off and a busy machine.
const PHASE: Duration = Duration::from_secs(120);
/// Some poll intervals of 5 s.
const POLLS: Duration = Duration::from_secs(30);
/// Answers within 2 s, and the shortest quarantine for that.
const DOUBT: [&str; 2] = ["--create-deadline=2s", "--create-quarantine=12s"];

/// A control plane with its row.
struct Stage {
    row: Row,
    simulator: Simulator,
    /// Somebody else's registration that is being deleted and keeps the name.
    holder: Option<uuid::Uuid>,
}

impl Stage {
    fn set(row: Row, seed: u64) -> Self {
        // Uuids come from the seed, and no two control planes share one.
        let mut config = Config { seed, ..Config::default() }.full_lists_only();
        config.names.unique = UniqueNames::Off;
        config.delete.disconnected_policy = DisconnectedPolicy::Complete;
        config.delete.graceful_seconds = 0.5;
        match row.kind {
            Kind::Usual => {}
            Kind::Upgraded => config.profile = Profile::Cp224,
            Kind::Held => (config.names.unique, config.list.hide_deleting) = (UniqueNames::On, true),
            Kind::HeldStrict => {
                config.profile = Profile::StrictDoc;
                (config.names.unique, config.list.hide_deleting) = (UniqueNames::On, true);
            }
        }
        let simulator = Simulator::start(config).unwrap();
        let is_held = matches!(row.kind, Kind::Held | Kind::HeldStrict) && row.shows.is_some();
        let holder = is_held.then(|| {
            let deleting = Some(simulator.now());
            let holder = SeedCluster { delete_requested_at: deleting, ..SeedCluster::named(row.name) };
            let uuid = simulator.seed(holder).unwrap();
            let stuck = runai_simulator::RecordPatch { stuck_delete: Some(true), ..Default::default() };
            simulator.patch(uuid, stuck).unwrap();
            uuid
        });
        Self { row, simulator, holder }
    }

    /// What connects the operator with it.
    fn manifests(&self, world: &World) -> [Value; 2] {
        let name = self.row.name;
        let secret = world.secret(name, &[("url", self.simulator.url())]);
        [secret, control_plane(name, name, &json!({ "pollInterval": "5s" }))]
    }

    /// Waits until the object is where it was sent, with `rules` let loose on the way; then, with the faults over, until
    /// everything looks as in the run without faults. Returns how it looks.
    async fn rest(
        &self,
        objects: &Objects,
        rules: &[FaultRule],
        what: &str,
        done: impl Fn(&Value) -> bool,
        calm: Option<&Value>,
    ) -> Result<Value, String> {
        let name = self.row.name;
        let holds = self.holder.filter(|_| what == "made");
        if let Some(reason) = self.row.shows.filter(|_| !rules.is_empty() || holds.is_some()) {
            let shown = |object: &Value| condition(object, "Synced").1 == reason;
            let object = objects.seen(PHASE, name, &format!("shows {reason} before it is {what}"), shown).await?;
            if what == "gone" && object["metadata"]["finalizers"] != json!(["runai-operator.io/registration"]) {
                return Err(format!("{name} was let go: {object}"));
            }
            if let Some(holder) = holds {
                self.simulator.remove(holder).unwrap();
            }
            self.simulator.clear_faults();
        }
        objects.seen(PHASE, name, what, &done).await?;
        // Reads go on at rest: what has not struck does so at the next list.
        let struck = |simulator: &Simulator| simulator.faults().iter().all(|(_, fired)| *fired > 0);
        if !self.simulator.until(POLLS, struck).await {
            return Err(format!("{name}: faults that never struck: {:?}", self.simulator.faults()));
        }
        self.simulator.clear_faults();
        let state = |object: &Value| state_of(object, &self.simulator, name);
        let calm = |object: &Value| done(object) && calm.is_none_or(|calm| state(object) == *calm);
        objects.seen(PHASE, name, &format!("{what}, as without faults"), calm).await.map(|object| state(&object))
    }

    fn let_loose(&self, rules: &[FaultRule]) {
        for rule in rules {
            self.simulator.add_fault(rule.clone());
        }
    }

    /// The states of the object at each rest; `calm` are those of the run without faults.
    async fn live(&self, objects: &Objects, calm: Option<&[Value]>) -> Result<Vec<Value>, String> {
        let Row { name, making, renaming, deleting, .. } = &self.row;
        let at = |phase: usize| calm.map(|states| &states[phase]);
        let (renamed, domain) = (format!("{name}-2"), format!("https://{name}.example.com"));
        let spec = json!({ "controlPlaneRef": { "name": name }, "domain": domain, "version": "2.24" });
        self.let_loose(making);
        objects.create(name, spec).await;
        let made = self.rest(objects, making, "made", |object| is_settled(object, name), at(0)).await?;

        self.let_loose(renaming);
        if self.row.kind == Kind::Upgraded && self.row.is_faulty {
            self.simulator.configure(|config| config.profile = Profile::Cp30);
        }
        objects.rename(name, &renamed).await;
        let moved = self.rest(objects, renaming, "renamed", |object| is_settled(object, &renamed), at(1)).await?;

        self.let_loose(deleting);
        objects.delete(name).await;
        let gone = self.rest(objects, deleting, "gone", Value::is_null, at(2)).await?;
        Ok(vec![made, moved, gone])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_single_remote_faults_end_as_if_nothing_had_happened() {
    let world = World::start(Setup::default().args(&DOUBT)).await;
    let elsewhere = Simulator::start(Config::default()).unwrap();
    let stages: Vec<_> =
        rows(elsewhere.url()).into_iter().zip(1000..).map(|(row, seed)| Stage::set(row, seed)).collect();
    world.apply_all(stages.iter().flat_map(|stage| stage.manifests(&world)).collect()).await;
    let objects = Objects::of(&world).await;
    let (calm, faulty): (Vec<_>, Vec<_>) = stages.iter().partition(|stage| !stage.row.is_faulty);
    let calm_lives = join_all(calm.iter().map(|stage| stage.live(&objects, None))).await;
    let calm: Vec<_> = calm.iter().zip(calm_lives.into_iter().map(Result::unwrap)).collect();
    let alike = |stage: &Stage| calm.iter().find(|(calm, _)| calm.row.kind == stage.row.kind).unwrap();
    let lives = join_all(faulty.iter().map(|stage| stage.live(&objects, Some(&alike(stage).1)))).await;

    let ledger = Ledger::of(&world);
    let run = |stage: &Stage, states| Run { states, cost: ledger.cost(&stage.simulator, stage.row.name) };
    let mut wrong = String::new();
    for (stage, life) in faulty.iter().zip(lives) {
        let row = &stage.row;
        let found = match life {
            Ok(states) => {
                let (calm, states_of_calm) = alike(stage);
                let (calm, run) = (run(calm, states_of_calm.clone()), run(stage, states));
                println!("row {:02} {:<18} {:?}, without faults {:?}", row.row, row.name, run.cost, calm.cost);
                differences(&calm, &run, row.extra)
            }
            Err(error) => error,
        };
        if !found.is_empty() {
            writeln!(wrong, "row {:02} {}: {found}", row.row, row.name).unwrap();
        }
    }
    if elsewhere.counters().requests != 0 {
        wrong += "a redirect was followed\n";
    }
    assert!(wrong.is_empty(), "{wrong}\n--- operator\n{}", world.tail());
}
