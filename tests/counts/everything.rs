//! Everything switched on: minimal lists, install credentials, metrics of clusters. What it costs to stand still.

use std::time::Duration;

use runai_simulator::Operation;
use serde_json::json;
use testbed::wait_until;

use crate::LATENCY_MS;
use crate::figures::{Figures, float};
use crate::fleet::Fleet;
use crate::ledger::{Mark, Spent, quiet};
use crate::world::{SOON, Setup, TEAM, World, cluster};

const OBJECTS: usize = 12;
/// Readings of metrics are spread evenly over a minute: so many fall into any minute, give or take one.
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn everything_switched_on_stands_still() {
    let setup = Setup::default().with_minimal_lists().simulator(|config| config.latency_ms = LATENCY_MS);
    let setup = setup.control_plane(json!({ "clusterMetrics": { "enabled": true, "interval": "1m" } }));
    let world = World::start(Setup { log: "info", chart: &["installInfo.enabled=true"], ..setup }).await;
    let fleet = Fleet::new(&world).await;
    fleet.until_control_plane(&world, "True", "Connected").await;
    let objects = (0..OBJECTS).map(|number| {
        let name = format!("all-{number:04}");
        let spec = json!({
            "domain": format!("https://{name}.example.com"), "version": "2.24",
            "installInfo": { "secretName": format!("{name}-install") },
        });
        let mut object = cluster(TEAM, &name, spec);
        object["metadata"]["labels"] = json!({ "batch": "all" });
        object
    });
    world.apply_all(objects.collect()).await;
    fleet.until(&world, "all", OBJECTS, "Ready").await;
    Fleet::start_agents(&world);
    fleet.poll_every(&world, "5s").await;
    fleet.until(&world, "all", OBJECTS, "Connected").await;
    fleet.poll_every(&world, "30s").await;
    let read = wait_until(SOON * 2, "metrics of all clusters", async || {
        let text = world.operator.metrics().await.map_err(|error| error.to_string())?;
        match text.matches("type=\"TOTAL_GPU\"").count() {
            OBJECTS => Ok(()),
            some => Err(format!("{some} of {OBJECTS}")),
        }
    });
    read.await.unwrap();
    quiet(&world, Duration::from_secs(7)).await;

    let mark = Mark::now(&world);
    tokio::time::sleep(MINUTE).await;
    let spent = Spent::since(&world, mark);
    println!("a quiet minute with everything: {spent:?}");
    let mut figures = Figures::new("12 objects, everything switched on, metrics each minute");
    let requests = spent.kubernetes() + spent.others.values().sum::<usize>();
    figures.exactly("a quiet minute: Kubernetes requests but watches and Lease", requests, 0);
    figures.between("a quiet minute: polls", float(spent.polls()), 1.0, 3.0);
    let readings = spent.called(Operation::Metrics);
    figures.between("a quiet minute: readings of metrics", float(readings), float(OBJECTS - 1), float(OBJECTS + 1));
    figures.exactly("a quiet minute: other remote calls", spent.calls() - spent.polls() - readings, 0);
    figures.conclude();
}
