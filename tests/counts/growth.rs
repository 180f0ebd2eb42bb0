//! How requests grow with the number of objects: batches of 40, 120 and 360, one after the other.

use std::time::Duration;

use runai_simulator::{DisconnectedPolicy, Operation};
use serde_json::json;

use crate::figures::{Figures, fit, float};
use crate::fleet::Fleet;
use crate::ledger::{Mark, Spent, quiet, seconds_between};
use crate::world::{Setup, World};
use crate::{ALONE, LATENCY_MS};

const BATCHES: [(&str, usize); 3] = [("small", 40), ("middle", 120), ("large", 360)];
/// An API server that stalls for five seconds on an overloaded machine makes the operator hold a create back and begin it
/// anew. Half a percent (one in 200) is room for that, and for nothing that happens to every object.
const STALLS: f64 = 1.005;

#[tokio::test(flavor = "multi_thread")]
async fn requests_grow_by_so_many_per_object() {
    let setup = Setup::default()
        .simulator(|config| {
            config.latency_ms = LATENCY_MS;
            // No agents: a connect is a status write of its own. Deletions are graceful all the same.
            config.delete.graceful_seconds = 3.0;
            config.delete.disconnected_policy = DisconnectedPolicy::Complete;
        })
        // The brake on mass deletions would only make the test longer.
        .control_plane(json!({ "maxDeletionsPerMinute": 100_000 }));
    let setup = Setup { log: "info", ..setup };
    let world = World::start(setup).await;
    let fleet = Fleet::new(&world).await;
    fleet.until_control_plane(&world, "True", "Connected").await;
    quiet(&world, Duration::from_secs(1)).await;
    let mut figures = Figures::new("Growth over 40, 120 and 360 objects, 30 ms API latency");
    let alone = ALONE.acquire().await.unwrap();
    create(&world, &fleet, &mut figures).await;
    drop(alone);
    lists_do_not_grow(&world, &fleet, &mut figures).await;
    let _alone = ALONE.acquire().await.unwrap();
    delete(&world, &fleet, &mut figures).await;
    figures.conclude();
}

async fn create(world: &World, fleet: &Fleet, figures: &mut Figures) {
    let (mut kubernetes, mut remote) = (Vec::new(), Vec::new());
    let mut total = 0;
    for (batch, count) in BATCHES {
        total += count;
        let mark = Mark::now(world);
        fleet.create(batch, count).await;
        fleet.until(world, batch, total, "Ready").await;
        quiet(world, Duration::from_secs(1)).await;
        let spent = Spent::since(world, mark);
        let took = seconds_between(world, mark, "create runaiclusters", "patch runaiclusters/status");
        println!("create {count}: {took:.1} s, {spent:?}");
        kubernetes.push((float(count), float(spent.kubernetes())));
        remote.push((float(count), float(spent.calls())));
        // Two metadata writes, one status write, one Event, each once, and no read.
        for (what, each) in [("patch runaiclusters", 2), ("patch runaiclusters/status", 1), ("create events", 1)] {
            let wanted = float(each * count);
            figures.between(
                &format!("create {count}: {what}"),
                float(spent.of(what)),
                wanted,
                wanted + float((each * count).div_ceil(200)),
            );
        }
        figures.exactly(&format!("create {count}: POSTs"), spent.called(Operation::Create), count);
        // The control plane's own status at the pace of the lists, with one Event at most.
        figures.at_most(&format!("create {count}: other Kubernetes requests"), float(spent.others.values().sum()), 4.0);
        figures.report(&format!("create {count}: seconds to all Ready"), format!("{took:.1}"));
    }
    let (slope, constant) = fit(&kubernetes);
    figures.at_most("create: Kubernetes requests per object (slope)", slope, 4.0 * STALLS);
    figures.at_most("create: Kubernetes requests, constant", constant.round(), 5.0);
    let (slope, constant) = fit(&remote);
    figures.at_most("create: remote calls per object (slope)", slope, 1.1);
    figures.at_most("create: remote calls, constant", constant, 15.0);
    let records = world.simulator.live_clusters();
    figures.exactly("registrations after creating 520 objects", records.len(), total);
}

/// With 520 objects, lists still come at the interval and nothing else is asked.
async fn lists_do_not_grow(world: &World, fleet: &Fleet, figures: &mut Figures) {
    fleet.poll_every(world, "5s").await;
    // Longer than an interval: the first look for a minimal list is told in status, once.
    quiet(world, Duration::from_secs(7)).await;
    let mark = Mark::now(world);
    tokio::time::sleep(Duration::from_secs(15)).await;
    let spent = Spent::since(world, mark);
    // An interval of 5 s moves by a tenth: 13.5 to 16.5 s for three.
    figures.between("520 objects: lists in 15 s at a 5 s interval", float(spent.called(Operation::List)), 2.0, 4.0);
    figures.exactly("520 objects: other remote calls in 15 s", spent.calls() - spent.called(Operation::List), 0);
    figures.exactly("520 objects: Kubernetes writes in 15 s", spent.writes(), 0);
}

async fn delete(world: &World, fleet: &Fleet, figures: &mut Figures) {
    let (mut writes, mut reads, mut remote) = (Vec::new(), Vec::new(), Vec::new());
    for (batch, count) in BATCHES {
        let mark = Mark::now(world);
        fleet.delete(world, batch).await;
        quiet(world, Duration::from_secs(1)).await;
        let spent = Spent::since(world, mark);
        let took = seconds_between(world, mark, "deletecollection runaiclusters", "patch runaiclusters");
        println!("delete {count}: {took:.1} s, {spent:?}");
        let crd_reads = spent.of("get customresourcedefinitions");
        writes.push((float(count), float(spent.kubernetes() - crd_reads)));
        reads.push((float(count), float(crd_reads)));
        remote.push((float(count), float(spent.calls())));
        // Asked for once each, and one answer 404 by id that proves the end.
        figures.exactly(&format!("delete {count}: DELETEs"), spent.called(Operation::Delete), count);
        figures.report(&format!("delete {count}: seconds to all gone"), format!("{took:.1}"));
        // One read serves the deletions of a second.
        figures.at_most(&format!("delete {count}: shared reads of the CRD"), float(crd_reads), took.ceil() + 1.0);
    }
    let (slope, _) = fit(&writes);
    // One status write, one Event, one finalizer write.
    figures.at_most("delete: Kubernetes requests per object (slope)", slope, 3.0 * STALLS);
    let (slope, constant) = fit(&reads);
    // One read serves the deletions of a second, and 50 a second are the most.
    figures.at_most("delete: shared reads of the CRD per object (slope)", slope, 0.05);
    figures.at_most("delete: shared reads of the CRD, constant", constant, 6.0);
    let (slope, constant) = fit(&remote);
    // One DELETE and one GET by id; lists at the interval and one behind each group of GETs.
    figures.at_most("delete: remote calls per object (slope)", slope, 2.2);
    figures.report("delete: remote calls, constant", format!("{constant:.1}"));
    figures.exactly("registrations left behind", world.simulator.live_clusters().len(), 0);
}
