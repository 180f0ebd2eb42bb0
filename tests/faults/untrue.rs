//! A control plane that refuses, fails, or answers what cannot be believed: nothing is let go, nothing is sent twice,
//! and the condition says why.
//!
//! Each kind of answer is a control plane of its own with four objects in different states, so that all kinds are
//! watched at the same time, for as long as it takes that a doubt may end and what is known is old.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use runai_simulator::{
    Config, Cut, DisconnectedPolicy, FaultAction, FaultRule, Garbage, Loss, Operation, Phase, Simulator, TokenFormat,
    UniqueNames,
};
use serde_json::{Value, json};
use testbed::wait_until;

use crate::world::{SOON, Setup, TEAM, World, cluster, condition, control_plane, uuid};

/// Long enough for the kinds that a quarantine ends under.
const QUARANTINE: Duration = Duration::from_secs(45);
/// How late the POST in doubt is committed: when all faults are in place.
const LATE: f64 = 12.0;
const FINALIZER: &str = "runai-operator.io/registration";

/// The four objects of each kind.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    /// Registered, nothing to do.
    Live,
    /// Its DELETE was accepted before, and never resolves by itself.
    Going,
    /// Deleted in Kubernetes while the control plane answers wrongly.
    Leaving,
    /// The answer to its POST was lost; the commit comes later.
    Doubt,
}

const ALL: [Who; 4] = [Who::Live, Who::Going, Who::Leaving, Who::Doubt];

impl Who {
    fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Going => "going",
            Self::Leaving => "leaving",
            Self::Doubt => "doubt",
        }
    }
}

/// One kind of answer.
struct Kind {
    name: &'static str,
    faults: Vec<FaultRule>,
    /// The reason that each of [`ALL`] must show; `None`: it may go, by the proof that the documentation describes.
    reasons: [Option<&'static str>; 4],
    /// Whether the doubt must outlast its quarantine. It may not where everything that the control plane says agrees
    /// that nothing is there: then a new attempt is due, so such a kind is watched for a shorter time.
    past_quarantine: bool,
}

fn status(code: u16) -> FaultAction {
    FaultAction::Status { code, body: None, headers: Default::default(), phase: Phase::Pre }
}

fn garbage(variant: Garbage) -> FaultAction {
    FaultAction::Garbage { status: 200, variant, phase: Phase::Pre }
}

/// For every request but those for tokens.
fn everywhere(action: &FaultAction) -> Vec<FaultRule> {
    use Operation::{Create, Delete, Get, List, Minimal, MinimalList, Update};
    let all = [List, MinimalList, Get, Minimal, Create, Update, Delete];
    all.into_iter().map(|operation| FaultRule::on(operation, action.clone())).collect()
}

fn lists(action: &FaultAction) -> Vec<FaultRule> {
    [Operation::List, Operation::MinimalList].map(|operation| FaultRule::on(operation, action.clone())).into()
}

fn by_id(action: &FaultAction) -> Vec<FaultRule> {
    let all = [Operation::Get, Operation::Minimal, Operation::Update, Operation::Delete];
    all.map(|operation| FaultRule::on(operation, action.clone())).into()
}

fn kinds() -> Vec<Kind> {
    let failing = |name, faults, reason| Kind { name, faults, reasons: [Some(reason); 4], past_quarantine: true };
    vec![
        failing("unauthorized", everywhere(&status(401)), "AuthFailed"),
        failing("forbidden", everywhere(&status(403)), "Forbidden"),
        failing("broken", everywhere(&status(500)), "ConnectionFailed"),
        failing("html", everywhere(&garbage(Garbage::Html)), "Undecodable"),
        failing("empty", everywhere(&garbage(Garbage::Empty)), "Undecodable"),
        failing("half-json", everywhere(&FaultAction::Truncate { cut: Cut::Json }), "Undecodable"),
        failing("half-http", everywhere(&FaultAction::Truncate { cut: Cut::Length }), "ConnectionFailed"),
        failing("no-list", [lists(&status(500)), by_id(&status(404))].concat(), "ConnectionFailed"),
        Kind {
            name: "array",
            faults: everywhere(&garbage(Garbage::EmptyArray)),
            // The list looks like that of an empty tenant, but the registrations themselves cannot be read.
            reasons: [Some("Undecodable"); 4],
            past_quarantine: true,
        },
        Kind {
            name: "empty-list",
            faults: lists(&garbage(Garbage::EmptyArray)),
            // By id everything is found and works, which shows that the list is wrong.
            reasons: [Some("Registered"), Some("DeletionRequested"), Some("DeletionRequested"), Some("Undecodable")],
            past_quarantine: true,
        },
        Kind {
            name: "nameless",
            faults: [lists(&garbage(Garbage::EmptyArray)), by_id(&status(404))].concat(),
            // Not listed and not found, but the token does not say whose it is: only where a DELETE was accepted is
            // that a proof.
            reasons: [Some("AbsenceUnproven"), None, Some("AbsenceUnproven"), Some("CreateInDoubt")],
            past_quarantine: false,
        },
    ]
}

/// A kind with its control plane.
struct Stage {
    kind: Kind,
    simulator: Simulator,
    /// When its POST in doubt was sent, at the latest.
    posted: Option<Instant>,
    kept_going: bool,
}

impl Stage {
    fn set(kind: Kind, seed: u64) -> Self {
        // Uuids come from the seed, and no two control planes share one.
        let mut config = Config { seed, ..Config::default() }.full_lists_only();
        config.names.unique = UniqueNames::Off;
        // No agent ever comes: a graceful deletion stays open.
        config.delete.disconnected_policy = DisconnectedPolicy::Wait;
        config.delete.graceful_seconds = 0.5;
        if kind.name == "nameless" {
            config.token.format = TokenFormat::Opaque;
        }
        Self { kind, simulator: Simulator::start(config).unwrap(), posted: None, kept_going: true }
    }

    /// What connects the operator with it.
    fn manifests(&self, world: &World) -> [Value; 2] {
        let name = self.kind.name;
        let secret = world.secret(name, &[("url", self.simulator.url())]);
        [secret, control_plane(name, name, &json!({ "pollInterval": "5s" }))]
    }

    fn object(&self, who: Who) -> String {
        format!("{}-{}", self.kind.name, who.word())
    }

    fn manifest(&self, who: Who) -> Value {
        let name = self.object(who);
        let domain = format!("https://{name}.example.com");
        let spec = json!({ "controlPlaneRef": { "name": self.kind.name }, "domain": domain, "version": "2.24" });
        cluster(TEAM, &name, spec)
    }

    fn posts(&self, who: Who) -> u64 {
        self.simulator.counters().create_requests_per_name.get(&self.object(who)).copied().unwrap_or_default()
    }

    /// What must hold at every moment: no finalizer goes, nothing is posted twice or renamed, what lives is not deleted.
    fn check_kept(&self, objects: &[Value]) -> Result<(), String> {
        for (who, reason) in ALL.into_iter().zip(self.kind.reasons) {
            let name = self.object(who);
            let object = find(objects, &name);
            let held = object.is_some_and(|object| object["metadata"]["finalizers"] == json!([FINALIZER]));
            if reason.is_some() && !held {
                return Err(format!("{name} was let go"));
            }
            if self.posts(who) != 1 {
                return Err(format!("{name}: {} POSTs", self.posts(who)));
            }
        }
        let counters = self.simulator.counters();
        if counters.requests_per_operation.contains_key(&Operation::Update) {
            return Err(format!("{}: a PUT was sent", self.kind.name));
        }
        for who in [Who::Live, Who::Doubt] {
            for record in self.simulator.clusters_named(&self.object(who)) {
                if counters.delete_requests_per_uuid.contains_key(&record.uuid.to_string()) {
                    return Err(format!("{}: a DELETE was sent", record.name));
                }
            }
        }
        Ok(())
    }

    /// Whether every object names the cause, and what they say instead.
    fn causes(&self, objects: &[Value]) -> Result<(), String> {
        let mut wrong = String::new();
        for (who, reason) in ALL.into_iter().zip(self.kind.reasons) {
            let name = self.object(who);
            let Some(object) = find(objects, &name) else {
                continue;
            };
            let (status, said) = condition(object, "Synced");
            match reason {
                None => write!(wrong, "{name} is still there; ").unwrap(),
                Some(reason) if said != reason => write!(wrong, "{name} says {status}/{said}; ").unwrap(),
                Some(_) => {}
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn is_over(&self) -> bool {
        let least =
            if self.kind.past_quarantine { QUARANTINE + Duration::from_secs(8) } else { Duration::from_secs(20) };
        self.posted.is_some_and(|posted| posted.elapsed() >= least)
    }

    /// The control plane comes to its senses, and what was stuck goes on.
    fn come_to_senses(&self) {
        self.simulator.clear_faults();
        self.simulator.configure(|config| config.delete.disconnected_policy = DisconnectedPolicy::Complete);
    }

    /// Live and doubtful objects are Ready, the others are gone, and so are their registrations.
    fn converged(&self, objects: &[Value]) -> Result<(), String> {
        for who in ALL {
            let name = self.object(who);
            let records = self.simulator.clusters_named(&name);
            match (who, find(objects, &name)) {
                (Who::Live | Who::Doubt, Some(object)) if condition(object, "Ready").0 == "True" => {
                    let [record] = records.as_slice() else { return Err(format!("{name}: {records:?}")) };
                    if uuid(object) != record.uuid {
                        return Err(format!("{name}: {} is not {}", uuid(object), record.uuid));
                    }
                }
                (Who::Live | Who::Doubt, other) => return Err(format!("{name}: {other:?}")),
                (Who::Going | Who::Leaving, Some(object)) => return Err(format!("{name} is still there: {object}")),
                // Let go on two answers that agreed, from a server that had accepted the DELETE.
                (Who::Going, None) if !self.kept_going => {}
                (Who::Going | Who::Leaving, None) if records.is_empty() => {}
                (Who::Going | Who::Leaving, None) => return Err(format!("{name} left a registration behind")),
            }
            if self.posts(who) != 1 {
                return Err(format!("{name}: {} POSTs", self.posts(who)));
            }
        }
        Ok(())
    }
}

fn find<'a>(objects: &'a [Value], name: &str) -> Option<&'a Value> {
    objects.iter().find(|object| object["metadata"]["name"] == name)
}

async fn delete_all(world: &World, stages: &[Stage], who: Who) {
    let names: Vec<_> = stages.iter().map(|stage| stage.object(who)).collect();
    crate::crowd::delete(world, &names).await;
}

/// Live, going and leaving objects are registered, the DELETE of the going ones is accepted, and the POST of the
/// doubtful ones is lost.
async fn set_the_stages(world: &World, stages: &mut [Stage]) {
    let manifests = |stage: &Stage| [Who::Live, Who::Going, Who::Leaving].map(|who| stage.manifest(who));
    world.apply_all(stages.iter().flat_map(manifests).collect()).await;
    crate::crowd::until_ready(world, SOON, 3 * stages.len()).await;
    delete_all(world, stages, Who::Going).await;
    for stage in &*stages {
        world
            .until(&stage.object(Who::Going), "DELETE accepted", |o| o["status"]["deleteRequestedAt"].is_string())
            .await;
    }
    for stage in &*stages {
        let loss = FaultAction::LateCommit { seconds: LATE, loss: Loss::Reset };
        stage.simulator.add_fault(FaultRule::on(Operation::Create, loss).times(1));
    }
    world.apply_all(stages.iter().map(|stage| stage.manifest(Who::Doubt)).collect()).await;
    for stage in stages {
        let name = stage.object(Who::Doubt);
        let lost = |simulator: &Simulator| {
            let mut entries = simulator.journal().into_iter();
            entries.any(|entry| entry.finished && entry.body.as_ref().is_some_and(|body| body["name"] == *name))
        };
        assert!(stage.simulator.until(SOON, lost).await, "{}", world.tail());
        stage.posted = Some(Instant::now());
        for fault in &stage.kind.faults {
            stage.simulator.add_fault(fault.clone());
        }
        assert!(stage.simulator.clusters_named(&name).is_empty(), "{name}: committed before the faults were in place");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_prove_nothing_release_nothing_send_nothing_twice_and_are_named() {
    let setup =
        Setup::default().args(&["--create-deadline=4s", &format!("--create-quarantine={}s", QUARANTINE.as_secs())]);
    let world = World::start(setup).await;
    let mut stages: Vec<_> = kinds().into_iter().zip(100..).map(|(kind, seed)| Stage::set(kind, seed)).collect();
    world.apply_all(stages.iter().flat_map(|stage| stage.manifests(&world)).collect()).await;
    set_the_stages(&world, &mut stages).await;
    delete_all(&world, &stages, Who::Leaving).await;

    // Each kind is watched until all its objects name the cause and its time is over; then its control plane recovers.
    let mut open: Vec<&mut Stage> = stages.iter_mut().collect();
    let watched = wait_until(Duration::from_secs(150), "every object names the cause", async || {
        let objects = world.all().await;
        let mut still = String::new();
        let mut rest = Vec::new();
        for stage in open.drain(..) {
            if let Err(broken) = stage.check_kept(&objects) {
                panic!("{broken}\n--- operator\n{}", world.tail());
            }
            let causes = stage.causes(&objects);
            if causes.is_ok() && stage.is_over() {
                stage.kept_going = find(&objects, &stage.object(Who::Going)).is_some();
                stage.come_to_senses();
            } else {
                if let Err(wrong) = causes {
                    write!(still, "{wrong}").unwrap();
                }
                rest.push(stage);
            }
        }
        open = rest;
        if open.is_empty() { Ok(()) } else { Err(format!("{} kinds open; {still}", open.len())) }
    });
    if let Err(error) = watched.await {
        panic!("{error}\n--- operator\n{}", world.tail());
    }

    let converged = wait_until(Duration::from_secs(120), "all kinds converge", async || {
        let objects = world.all().await;
        stages.iter().try_for_each(|stage| stage.converged(&objects))
    });
    if let Err(error) = converged.await {
        panic!("{error}\n--- operator\n{}", world.tail());
    }
}
