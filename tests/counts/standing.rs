//! Three hundred objects: how fast they come, what they cost when nothing happens, at a restart, and in memory.

use std::time::{Duration, Instant};

use runai_simulator::Operation;
use serde_json::json;

use crate::figures::{Figures, float, percentile};
use crate::fleet::Fleet;
use crate::ledger::{Mark, Spent, quiet, seconds_between, seconds_to_uuid};
use crate::world::{SOON, Setup, World};
use crate::{ALONE, LATENCY_MS};

const OBJECTS: usize = 300;
const LATER: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_objects() {
    let setup = Setup::default().with_minimal_lists().simulator(|config| config.latency_ms = LATENCY_MS);
    let setup = Setup { log: "info", ..setup.control_plane(json!({})) }.args(&["--leader-elect=true"]);
    let mut world = World::start(setup).await;
    let fleet = Fleet::new(&world).await;
    fleet.until_control_plane(&world, "True", "Connected").await;
    let mut figures = Figures::new("300 objects, 30 ms API latency, default settings");
    let idle = Memory::of(&world);
    let alone = ALONE.acquire().await.unwrap();
    come(&world, &fleet, &mut figures).await;
    let busy = Memory::of(&world);
    connect(&world, &fleet).await;
    drop(alone);
    stand(&world, &mut figures).await;
    let settled = Memory::of(&world);
    let _alone = ALONE.acquire().await.unwrap();
    restart(&mut world, &mut figures).await;
    let restarted = Memory::of(&world);
    one_more(&world, &fleet, &mut figures).await;
    rotate(&world, &fleet, &mut figures).await;
    figures.report("memory without objects, MiB (of which anonymous)", idle);
    figures.report("memory after creating them, MiB", busy);
    figures.at_most("memory with 300 objects, MiB", settled.resident, MEMORY_MIB);
    figures.report("memory with 300 objects, MiB (of which anonymous)", settled);
    figures.report("memory after a restart with 300 objects, MiB", restarted);
    figures.conclude();
}

/// Users run the release build. A debug build holds several times as much code in memory.
const MEMORY_MIB: f64 = if cfg!(debug_assertions) { 40.0 } else { 25.0 };

async fn come(world: &World, fleet: &Fleet, figures: &mut Figures) {
    let mark = Mark::now(world);
    fleet.create("first", OBJECTS).await;
    fleet.until(world, "first", OBJECTS, "Ready").await;
    let took = seconds_between(world, mark, "create runaiclusters", "patch runaiclusters/status");
    // By the rate limit alone (10/s, 5/s more each second) it takes 9.5 s.
    figures.at_most("seconds from the first apply to all Ready", took, 30.0);
    quiet(world, Duration::from_secs(1)).await;
    let spent = Spent::since(world, mark);
    // One object may be begun anew when an overloaded API server stalls.
    figures.between("Kubernetes requests to create 300", float(spent.kubernetes()), 1200.0, 1204.0);
    figures.at_most("remote calls to create 300", float(spent.calls()), 1.1 * float(OBJECTS));
    figures.exactly("registrations", world.simulator.live_clusters().len(), OBJECTS);
}

async fn connect(world: &World, fleet: &Fleet) {
    Fleet::start_agents(world);
    // A shorter interval asks at once.
    fleet.poll_every(world, "5s").await;
    fleet.until(world, "first", OBJECTS, "Connected").await;
    fleet.poll_every(world, "30s").await;
    quiet(world, Duration::from_secs(7)).await;
}

/// Agents beat every 30 s; `lastLiveness` is copied every ten minutes only.
async fn stand(world: &World, figures: &mut Figures) {
    let mark = Mark::now(world);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let spent = Spent::since(world, mark);
    println!("a quiet minute: {spent:?}");
    figures.exactly(
        "a quiet minute: Kubernetes requests but watches and Lease",
        spent.kubernetes() + spent.others.values().sum::<usize>(),
        0,
    );
    // Two intervals of 30 s, each moved by up to a tenth.
    figures.between("a quiet minute: polls", float(spent.polls()), 1.0, 3.0);
    figures.exactly("a quiet minute: other remote calls", spent.calls() - spent.polls(), 0);
    figures.report("a quiet minute: Lease requests", spent.lease_renewals);
}

async fn restart(world: &mut World, figures: &mut Figures) {
    world.operator.sigterm_and_wait(SOON).await.unwrap();
    let (mark, started) = (Mark::now(world), Instant::now());
    world.operator = world.another_operator();
    world.operator.wait_ready(SOON).await.unwrap();
    let listed = |spent: &Spent| spent.called(Operation::List) > 0;
    let first = testbed::wait_until(SOON, "the first list", async || {
        let spent = Spent::since(world, mark);
        if listed(&spent) { Ok(()) } else { Err(format!("{spent:?}")) }
    });
    first.await.unwrap();
    figures.report("restart: seconds to the first list", format!("{:.1}", started.elapsed().as_secs_f64()));
    quiet(world, Duration::from_secs(5)).await;
    let spent = Spent::since(world, mark);
    println!("restart: {spent:?}");
    figures.exactly("restart: requests about objects", spent.kubernetes(), 0);
    figures.at_most("restart: remote calls", float(spent.calls()), 3.0);
    figures.exactly("restart: writes", spent.writes(), 0);
}

async fn one_more(world: &World, fleet: &Fleet, figures: &mut Figures) {
    let mark = Mark::now(world);
    for number in 1..=LATER {
        let batch = format!("later-{number:02}");
        fleet.create(&batch, 1).await;
        fleet.until(world, &batch, OBJECTS + number, "Ready").await;
    }
    let took = seconds_to_uuid(world, mark);
    assert_eq!(took.len(), LATER);
    let ms = |percent| format!("{:.0}", percentile(&took, percent) * 1000.0);
    figures.report("one more object, apply to uuid, ms (p50 of 20)", ms(50));
    figures.report("one more object, apply to uuid, ms (p99 of 20)", ms(99));
}

/// A changed Secret is in use without a restart: a wrong one shows, a right one works.
async fn rotate(world: &World, fleet: &Fleet, figures: &mut Figures) {
    let (mark, started) = (Mark::now(world), Instant::now());
    world.connect_secret("connection", &[("clientSecret", "mistyped")]).await;
    fleet.until_control_plane(world, "False", "AuthFailed").await;
    figures.at_most("seconds until a wrong secret shows", started.elapsed().as_secs_f64(), 10.0);

    world.simulator.configure(|config| config.tenants[0].identities[0].client_secret = "rotated-secret".to_owned());
    let started = Instant::now();
    let seq = world.simulator.last_seq();
    world.connect_secret("connection", &[("clientSecret", "rotated-secret")]).await;
    fleet.until_control_plane(world, "True", "Connected").await;
    figures.at_most("seconds until a rotated secret is in use", started.elapsed().as_secs_f64(), 10.0);
    let entries = world.simulator.journal_since(seq);
    let listed = entries.iter().any(|entry| entry.operation == Some(Operation::List) && entry.status == Some(200));
    assert!(listed, "Ready comes from a list with the new secret: {entries:?}");
    quiet(world, Duration::from_secs(2)).await;
    let spent = Spent::since(world, mark);
    println!("rotation: {spent:?}");
    figures.exactly("rotation: requests about objects", spent.kubernetes(), 0);
}

/// Resident memory in MiB, and the part of it that no file backs.
#[derive(Clone, Copy)]
struct Memory {
    resident: f64,
    anonymous: f64,
}

impl Memory {
    fn of(world: &World) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{}/status", world.operator.pid())).unwrap();
        let mib = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
            line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
        };
        Self { resident: mib("VmRSS:"), anonymous: mib("RssAnon:") }
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} ({:.1})", self.resident, self.anonymous)
    }
}
