//! Row 1: the operator ends right before and right after each of its effects, in each of two ways.
//!
//! Kill points are numbered by a gate in front of both APIs: nothing in the operator knows of them.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::gate::{Effect, When};
use crate::kube_objects::is_settled;
use crate::oracle::{Extra, Ledger, Run, differences, state_of};
use crate::rig::Rig;

/// The shortest that the operator accepts: 5 s to send, 1 s for the answer, 5 s in between.
const DOUBT: [&str; 3] = ["--create-deadline=1s", "--create-quarantine=11s", "--leader-elect=false"];
/// All that a pass still has to do after SIGTERM.
const DRAIN: Duration = Duration::from_secs(10);

/// Registered, renamed, deleted.
const EVENTS: usize = 3;

/// The PATCH that takes the finalizer off: after those of intent and identity.
const LAST_PATCH: usize = 2;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// SIGKILL: out of memory, a lost node.
    Kill,
    /// SIGTERM, and the request under way is answered.
    Term,
}

/// How a registration goes: two ways through the plan.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Going {
    /// Without a version: the DELETE is answered with 204.
    AtOnce,
    /// With one: 202, and the next list shows the end. Five seconds, so only deletions are tried this way.
    Gracefully,
}

/// Where and how.
#[derive(Clone, Debug)]
struct Point {
    effect: Effect,
    nth: usize,
    when: When,
    end: End,
}

impl Rig {
    /// One object is made, renamed and deleted, and so many Events tell of it.
    async fn live(&mut self, name: &str, going: Going, events: usize) -> Run {
        let mut spec = json!({ "domain": format!("https://{name}.example.com") });
        if going == Going::Gracefully {
            spec["version"] = json!("2.24");
        }
        self.objects.create(name, spec).await;
        let made = self.until(name, "Ready", |object| is_settled(object, name)).await;
        let mut states = vec![state_of(&made, &self.world.simulator, name)];
        self.gate.until_told_or_struck(1).await;
        let renamed = format!("{name}-2");
        self.objects.rename(name, &renamed).await;
        let object = self.until(name, "renamed", |object| is_settled(object, &renamed)).await;
        states.push(state_of(&object, &self.world.simulator, name));
        self.gate.until_told_or_struck(2).await;
        self.objects.delete(name).await;
        let gone = self.until(name, "gone", Value::is_null).await;
        states.push(state_of(&gone, &self.world.simulator, name));
        self.gate.until_told(events).await;
        self.settle().await;
        self.gate.until_quiet().await;
        Run { states, cost: Ledger::of(&self.world).cost(&self.world.simulator, name) }
    }
}

/// Every effect of a run, from the first `from` on, each before and after.
fn points(effects: &[Effect], from: &str, end: End) -> Vec<Point> {
    let mut points = Vec::new();
    let first = effects.iter().position(|effect| effect == from).unwrap();
    for (index, effect) in effects.iter().enumerate().skip(first) {
        let nth = effects[..index].iter().filter(|earlier| *earlier == effect).count();
        for when in [When::Before, When::After] {
            points.push(Point { effect: effect.clone(), nth, when, end });
        }
    }
    points
}

impl Point {
    /// A new process cannot know whether the POST of a written intent was sent: it waits and says so, looks, takes the
    /// intent back, and begins anew. Everything else is taken up where it was left.
    fn extra(&self) -> Extra {
        let left_an_intent = match (self.effect.as_str(), self.nth, self.when) {
            ("PATCH runaiclusters", 0, When::After) | ("POST clusters", _, When::Before) => self.end == End::Kill,
            _ => false,
        };
        // Nor that the DELETE was answered with "gone": until no read can lag any more it says that it waits.
        let forgot_an_answer = match (self.effect.as_str(), self.when) {
            ("DELETE clusters", When::After) => self.end == End::Kill,
            ("PATCH runaiclusters", When::Before) => self.end == End::Kill && self.nth >= LAST_PATCH,
            _ => false,
        };
        match (left_an_intent, forgot_an_answer) {
            (true, _) => Extra { marks: 2, statuses: 2, events: 1, ..Extra::NONE },
            (false, true) => Extra { statuses: 1, ..Extra::NONE },
            (false, false) => Extra::NONE,
        }
    }

    /// A killed process takes along the Event that it was about to publish; after SIGTERM nothing is lost.
    fn may_lose_an_event(&self) -> bool {
        self.end == End::Kill
    }
}

/// The run without a strike, then one for each point.
async fn strike_everywhere(rig: &mut Rig, going: Going, from: &str, end: End) -> String {
    rig.gate.clear();
    let calm = rig.live(&format!("calm-{going:?}").to_lowercase(), going, EVENTS).await;
    let effects = rig.gate.seen();
    println!("{going:?}: {effects:?}, {:?}", calm.cost);
    let mut wrong = String::new();
    for (number, point) in points(&effects, from, end).iter().enumerate() {
        let started = Instant::now();
        let name = format!("point-{going:?}-{number:02}").to_lowercase();
        rig.gate.clear();
        match point.end {
            End::Kill => rig.arm(&point.effect, point.nth, point.when, false, Signal::KILL),
            End::Term => rig.arm(&point.effect, point.nth, point.when, true, Signal::TERM),
        }
        let run = rig.live(&name, going, EVENTS - usize::from(point.may_lose_an_event())).await;
        let mut found = differences(&calm, &run, point.extra());
        if rig.gate.is_set() {
            found += "\n  the trap was not reached";
        }
        if run.cost.events + usize::from(point.may_lose_an_event()) < calm.cost.events {
            found += &format!("\n  {} Events", run.cost.events);
        }
        let ended = rig.ended.pop().unwrap_or_default();
        if ended > DRAIN {
            found += &format!("\n  the process ended after {ended:?}");
        }
        println!("{:.1} s {point:?} ended in {ended:?}, {:?}", started.elapsed().as_secs_f64(), run.cost);
        if !found.is_empty() {
            wrong += &format!("\n{name} {point:?}:{found}");
        }
    }
    wrong
}

async fn try_all(end: End) {
    let mut rig = Rig::start(&DOUBT).await;
    let mut wrong = strike_everywhere(&mut rig, Going::AtOnce, "PATCH runaiclusters", end).await;
    wrong += &strike_everywhere(&mut rig, Going::Gracefully, "DELETE clusters", end).await;
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_01_a_kill_at_any_effect_changes_neither_the_outcome_nor_the_count() {
    try_all(End::Kill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_01_sigterm_at_any_effect_ends_in_time_and_loses_nothing() {
    try_all(End::Term).await;
}
