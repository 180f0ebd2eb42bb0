//! Row 12: the control plane is away, with many objects waiting for it, and comes back.

use std::time::Duration;

use runai_simulator::{Config, FaultAction, FaultRule, JournalEntry, ResetPhase, Simulator, UniqueNames};
use serde_json::{Value, json};
use testbed::wait_until;

use crate::kube_objects::{Objects, is_settled};
use crate::world::{Setup, TEAM, World, condition, control_plane};

/// Objects at the one control plane, and at the other.
const MANY: usize = 240;
const FEW: usize = 6;
/// Longer than the minute after which the rate limit begins anew, and than the first back-offs of an object.
const OUTAGE: Duration = Duration::from_secs(65);
const LIMIT: Duration = Duration::from_secs(180);

struct Plane {
    name: &'static str,
    count: usize,
    simulator: Simulator,
}

impl Plane {
    async fn start(world: &World, name: &'static str, count: usize, seed: u64) -> Self {
        let mut config = Config { seed, ..Config::default() }.full_lists_only();
        config.names.unique = UniqueNames::Off;
        let simulator = Simulator::start(config).unwrap();
        world.connect_secret(name, &[("url", simulator.url())]).await;
        let spec = json!({ "pollInterval": "5s", "maxDeletionsPerMinute": 100_000 });
        world.apply(&control_plane(name, name, &spec)).await;
        Self { name, count, simulator }
    }

    fn object(&self, index: usize) -> String {
        format!("{}-{index:03}", self.name)
    }

    /// A third is there before, a third comes during the outage, and a third goes during it.
    fn third(&self, which: usize) -> impl Iterator<Item = String> + '_ {
        (0..self.count).filter(move |index| index % 3 == which).map(|index| self.object(index))
    }
}

async fn create(objects: &Objects, plane: &Plane, which: usize) {
    for name in plane.third(which) {
        let spec =
            json!({ "controlPlaneRef": { "name": plane.name }, "domain": format!("https://{name}.example.com") });
        objects.create(&name, spec).await;
    }
}

async fn until_all(objects: &Objects, what: &str, wrong: impl Fn(&[Value]) -> Option<String>) {
    let seen = wait_until(LIMIT, what, async || wrong(&objects.all().await).map_or(Ok(()), Err));
    seen.await.unwrap_or_else(|error| panic!("{error}"));
}

fn unready(all: &[Value]) -> Option<String> {
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    all.iter().find(|object| !is_settled(object, &name(object))).map(|object| format!("{}: {object}", name(object)))
}

/// Most requests within any second.
fn busiest_second(entries: &[JournalEntry]) -> usize {
    let times: Vec<_> = entries.iter().map(|entry| entry.arrival_ms).collect();
    let within = |at: u64| times.iter().filter(|time| (at..at + 1000).contains(*time)).count();
    times.iter().map(|at| within(*at)).max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn row_12_an_outage_costs_the_same_for_few_objects_and_for_many_and_ends_without_a_rush() {
    let world = World::start(Setup::default()).await;
    let objects = Objects::of(&world).await;
    let planes = [Plane::start(&world, "many", MANY, 71).await, Plane::start(&world, "few", FEW, 72).await];
    for plane in &planes {
        create(&objects, plane, 0).await;
        create(&objects, plane, 2).await;
    }
    until_all(&objects, "all are Ready", unready).await;

    let before = planes.each_ref().map(|plane| plane.simulator.last_seq());
    for plane in &planes {
        plane.simulator.add_fault(FaultRule::new(FaultAction::Reset { phase: ResetPhase::Pre }));
        create(&objects, plane, 1).await;
        for name in plane.third(2) {
            objects.delete(&name).await;
        }
    }
    // The length of the outage is what is tried.
    tokio::time::sleep(OUTAGE).await;
    let asked = [0, 1].map(|at| planes[at].simulator.journal_since(before[at]));
    println!("requests during the outage: {} for {MANY} objects, {} for {FEW}", asked[0].len(), asked[1].len());
    let held = objects.all().await;
    assert_eq!(held.len(), MANY + FEW, "nothing is let go: {TEAM}");

    let back = planes.each_ref().map(|plane| plane.simulator.last_seq());
    planes.iter().for_each(|plane| plane.simulator.clear_faults());
    until_all(&objects, "two thirds are Ready and one is gone", |all| {
        let left = all.len();
        unready(all).or((left != 2 * (MANY + FEW) / 3).then(|| format!("{left} objects")))
    })
    .await;

    // What was under way when it began may fail once for each object; from then on one probe at a time, a second apart
    // at the least, whoever waits.
    let late = |entries: &[JournalEntry]| {
        let begin = entries.first().map_or(0, |entry| entry.arrival_ms) + 10_000;
        entries.iter().filter(|entry| entry.arrival_ms >= begin).count()
    };
    let (many, few) = (late(&asked[0]), late(&asked[1]));
    assert!(many <= few + 10 && many <= 40, "{many} for {MANY} objects, {few} for {FEW}");
    assert!(few > 0, "nobody asks whether it is back");
    for plane in &planes {
        let live = plane.simulator.live_clusters().len();
        assert_eq!(live, 2 * plane.count / 3, "{}: one registration each, and none of those that went", plane.name);
        let made = plane.simulator.counters().creates_per_name;
        assert!(made.values().all(|count| *count == 1), "{made:?}");
    }
    let after = planes[0].simulator.journal_since(back[0]);
    let (first, most) = (busiest_second(&after[..after.len().min(30)]), busiest_second(&after));
    println!("after it: {} requests, at most {most} in a second, {first} at first", after.len());
    // After a minute without answers the limiter begins anew: 10 a second, and a burst of 10; at most 50 later. A busy
    // machine lets some arrive together.
    assert!(first <= 29 && most <= 90, "{first} requests in a second at first, {most} at most");
    // One change for each object that waited, what proves that a deleted registration is gone, and the lists.
    assert!(after.len() <= 2 * 2 * MANY / 3 + 60, "{} requests for {} objects", after.len(), 2 * MANY / 3);
    let ready = objects.all().await;
    assert!(ready.iter().all(|object| condition(object, "Stalled").0.is_empty()));
}
