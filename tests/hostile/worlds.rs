//! The operator as a process against many hostile control planes at once, on a real API server.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::wait_until;

use crate::answers;
use crate::client_support::{Act, CANARIES, CLIENT_ID, CLIENT_SECRET, Hostile, Seen};
use crate::kinds::{Kind, kinds};
use crate::plane::{Honest, Plane};
use crate::world::{SHORT_DOUBT, Setup, TEAM, World, cluster, condition, control_plane, message};

/// The chart's limit.
const MEMORY: u64 = 256 * 1024;
const FINALIZER: &str = "runai-operator.io/registration";
/// Objects at the control plane that takes reads and never answers. Each keeps a pass for 20 s, again and again: without
/// rooms for 128 passes per control plane, everybody else would wait for more than a minute.
const STUCK: usize = 700;

struct Stage {
    kind: Kind,
    plane: Plane,
}

impl Stage {
    async fn set(kind: Kind, number: u16) -> Self {
        let plane = Plane::start(number, kind.face.clone()).await;
        Self { kind, plane }
    }

    fn object(&self, which: &str) -> String {
        format!("{}-{which}", self.kind.name)
    }

    fn manifest(&self, which: &str) -> Value {
        cluster(TEAM, &self.object(which), json!({ "controlPlaneRef": { "name": self.kind.name } }))
    }

    /// Nothing was let go, taken for gone, made twice or deleted.
    fn kept(&self, objects: &[Value]) -> Result<(), String> {
        for which in ["live", "leaving"] {
            let name = self.object(which);
            let object = find(objects, &name).ok_or(format!("{name} was let go"))?;
            let record = self.plane.honest.records().into_iter().find(|record| record.name == name);
            let record = record.ok_or(format!("{name} lost its registration"))?;
            if object["status"]["uuid"] != json!(record.uuid) || object["metadata"]["finalizers"] != json!([FINALIZER])
            {
                return Err(format!("{name}: {object}"));
            }
            let reason = condition(object, "Synced").1;
            if ["ExternallyDeleted", "AbsenceUnproven", "OriginChanged", "IdentityConflict"].contains(&reason.as_str())
            {
                return Err(format!("{name} says {reason}"));
            }
        }
        objects.iter().try_for_each(bounded)
    }

    /// The control plane and the object that is being deleted say what is wrong.
    fn named(&self, planes: &[Value], objects: &[Value]) -> Result<(), String> {
        let mut wrong = String::new();
        let plane = find(planes, self.kind.name).ok_or("no control plane")?;
        if let Some(says) = self.kind.plane_says
            && !(condition(plane, "Ready").0 == "False" && message(plane, "Ready").contains(says))
        {
            write!(wrong, "{} does not say {says:?}: {}; ", self.kind.name, plane["status"]["conditions"]).unwrap();
        }
        let leaving = find(objects, &self.object("leaving")).ok_or("no leaving object")?;
        let (reason, words) = self.kind.leaving;
        if condition(leaving, "Synced").1 != reason || !message(leaving, "Synced").contains(words) {
            write!(wrong, "{}: {}; ", self.object("leaving"), leaving["status"]["conditions"]).unwrap();
        }
        let new = find(objects, &self.object("new")).ok_or("no new object")?;
        if !self.kind.slow && condition(new, "Synced").0 != "False" {
            write!(wrong, "{}: {}; ", self.object("new"), new["status"]).unwrap();
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// After all: one registration each for those that stay, none for the one that left.
    fn converged(&self, objects: &[Value]) -> Result<(), String> {
        for which in ["live", "new"] {
            let name = self.object(which);
            let object = find(objects, &name).ok_or(format!("{name} is gone"))?;
            let records = self.plane.honest.records();
            let mine: Vec<_> = records.iter().filter(|record| record.name == name).collect();
            let in_step =
                condition(object, "Ready").0 == "True" && object["metadata"]["finalizers"] == json!([FINALIZER]);
            if !in_step || mine.len() != 1 || object["status"]["uuid"] != json!(mine[0].uuid) {
                return Err(format!("{name}: {} {mine:?}", object["status"]));
            }
            if self.plane.honest.creates(&name) != 1 {
                return Err(format!("{name} was made {} times", self.plane.honest.creates(&name)));
            }
        }
        let name = self.object("leaving");
        if let Some(object) = find(objects, &name) {
            return Err(format!("{name} is still there: {}", object["status"]));
        }
        if self.plane.honest.deletes() != [name.clone()] {
            return Err(format!("{}: deleted {:?}", self.kind.name, self.plane.honest.deletes()));
        }
        Ok(())
    }
}

/// What the API server stores has an end and shows nothing that a terminal would obey.
fn bounded(object: &Value) -> Result<(), String> {
    fn strange(value: &Value) -> bool {
        match value {
            Value::String(text) => text.contains(|c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)),
            Value::Array(all) => all.iter().any(strange),
            Value::Object(all) => all.values().any(strange),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let size = object["status"].to_string().len();
    if size > 16 * 1024 {
        return Err(format!("{name}: a status of {size} bytes"));
    }
    if strange(&object["status"]) { Err(format!("{name}: {}", object["status"])) } else { Ok(()) }
}

fn find<'a>(objects: &'a [Value], name: &str) -> Option<&'a Value> {
    objects.iter().find(|object| object["metadata"]["name"] == name)
}

/// What connects the operator with a control plane.
fn connection(world: &World, name: &str, url: &str) -> [Value; 2] {
    let credentials = [("url", url), ("clientID", CLIENT_ID), ("clientSecret", CLIENT_SECRET)];
    let plane = control_plane(name, name, &json!({ "pollInterval": "5s", "adoptionNamespaces": {} }));
    [world.secret(name, &credentials), plane]
}

async fn delete_all(world: &World, names: Vec<String>) {
    let mut args = vec!["delete", "rcl", "-n", TEAM, "--wait=false"];
    args.extend(names.iter().map(String::as_str));
    world.kubectl(&args).await;
}

async fn planes(world: &World) -> Vec<Value> {
    let list = world.read("/apis/runai-operator.io/v1alpha1/runaicontrolplanes").await.unwrap();
    list["items"].as_array().cloned().unwrap()
}

/// Waits; panics with the operator's log when that takes too long, or when `kept` breaks on the way.
async fn until(world: &World, seconds: u64, what: &str, check: impl AsyncFn() -> Result<(), String>) {
    if let Err(error) = wait_until(Duration::from_secs(seconds), what, async || check().await).await {
        panic!("{error}\n--- operator\n{}", world.tail());
    }
}

/// Most resident memory of a process so far, in KiB.
fn most_memory(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Objects of the honest control plane, from apply to Ready and from delete to gone, in their turn.
async fn serve_the_others(world: &World, round: usize) -> Duration {
    let names: Vec<_> = (0..5).map(|n| format!("good-{round}-{n}")).collect();
    let started = Instant::now();
    world.apply_all(names.iter().map(|name| cluster(TEAM, name, json!({}))).collect()).await;
    until(world, 75, "the others are Ready", async || {
        let objects = world.all().await;
        let late =
            names.iter().find(|name| find(&objects, name).is_none_or(|object| condition(object, "Ready").0 != "True"));
        late.map_or(Ok(()), |name| Err(format!("{name}: {:?}", find(&objects, name))))
    })
    .await;
    delete_all(world, names.clone()).await;
    for name in &names {
        world.until_gone(name).await;
    }
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_hostile_control_planes_at_once_harm_nobody() {
    let mut world = World::start(Setup::default().args(&SHORT_DOUBT)).await;
    let elsewhere = Hostile::start(|_, _| None).await;
    let mut stages = Vec::new();
    for (kind, number) in kinds(&elsewhere.url).into_iter().zip(1..) {
        stages.push(Stage::set(kind, number).await);
    }
    // It lists, and then keeps whoever asks for a registration waiting.
    let hang = |_: &Honest, seen: &Seen, _| seen.path.contains("/clusters/").then_some(Act::Hang);
    let stuck = Plane::start(999, Arc::new(hang)).await;
    stuck.turn_hostile();
    let mut connections = connection(&world, "stuck", &stuck.server.url).to_vec();
    connections.extend(stages.iter().flat_map(|stage| connection(&world, stage.kind.name, &stage.plane.server.url)));
    world.apply_all(connections).await;

    world
        .apply_all(stages.iter().flat_map(|stage| ["live", "leaving"].map(|which| stage.manifest(which))).collect())
        .await;
    until(&world, 60, "all are registered", async || {
        let objects = world.all().await;
        let late = objects.iter().find(|object| condition(object, "Ready").0 != "True");
        late.map_or(Ok(()), |object| Err(object.to_string()))
    })
    .await;
    let calm = most_memory(world.operator.pid());
    let alone = serve_the_others(&world, 0).await;

    stages.iter().for_each(|stage| stage.plane.turn_hostile());
    let spec = json!({ "controlPlaneRef": { "name": "stuck" }, "adoption": { "uuid": answers::UUID } });
    let held = (0..STUCK).map(|n| cluster(TEAM, &format!("stuck-{n}"), spec.clone()));
    world.apply_all(stages.iter().map(|stage| stage.manifest("new")).chain(held).collect()).await;
    delete_all(&world, stages.iter().map(|stage| stage.object("leaving")).collect()).await;
    let beside = serve_the_others(&world, 1).await;
    until(&world, 90, "every hostile control plane is named", async || {
        let (objects, planes) = (world.all().await, planes(&world).await);
        for stage in &stages {
            if let Err(broken) = stage.kept(&objects) {
                panic!("{broken}\n--- operator\n{}", world.tail());
            }
        }
        let open: String = stages.iter().filter_map(|stage| stage.named(&planes, &objects).err()).collect();
        if open.is_empty() { Ok(()) } else { Err(open) }
    })
    .await;
    let late = serve_the_others(&world, 2).await;

    stages.iter().for_each(|stage| stage.plane.turn_honest());
    until(&world, 120, "all converge", async || {
        let objects = world.all().await;
        let quick = stages.iter().filter(|stage| !stage.kind.slow);
        let open: Vec<_> = quick.filter_map(|stage| stage.converged(&objects).err()).collect();
        if open.is_empty() { Ok(()) } else { Err(open.join("\n")) }
    })
    .await;
    let most = most_memory(world.operator.pid());
    println!("memory: {calm} KiB before, {most} KiB at most; others: {alone:?} alone, {beside:?} and {late:?} beside");
    assert!(most < MEMORY, "{most} KiB resident");
    assert!(elsewhere.seen().is_empty(), "redirects were followed: {:?}", elsewhere.seen());
    assert_eq!(world.operator.exit_status(), None, "the operator ended");
    check_log(&world.operator.logs().unwrap());
}

fn check_log(log: &str) {
    let secrets = CANARIES.iter().find(|canary| log.contains(**canary));
    assert_eq!(secrets, None, "a secret or a body came out");
    let panicked = log.lines().find(|line| line.contains("panicked") || line.contains("too many steps"));
    assert_eq!(panicked, None);
    let strange = log.lines().find(|line| line.contains(|c: char| c.is_control() || c == '\u{202e}'));
    assert_eq!(strange, None, "a terminal would obey");
}
