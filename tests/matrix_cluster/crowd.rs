//! Row 40: four hundred objects at once, and all of them deleted at once. (The row says ten thousand: that would be a
//! matter of minutes; what is bounded per object is bounded here.)

use std::time::Duration;

use runai_simulator::{JournalEntry, Operation, Simulator};
use serde_json::{Value, json};

use crate::stage::{Plane, Stage, on_stage};
use crate::world::{TEAM, condition, control_plane};

const OBJECTS: usize = 400;
/// For all of them on a busy machine.
const LIMIT: Duration = Duration::from_secs(200);
/// A debug build needs some 35 MiB; what grew with every request would not stay below twice that.
const MOST_MEMORY_KIB: u64 = 80 * 1024;

#[test]
fn row_40_four_hundred_objects_come_and_go_and_a_newcomer_is_served_in_its_turn() {
    on_stage(async |stage| {
        let plane = stage.plane("crowd").await;
        let spec = json!({ "pollInterval": "5s", "maxDeletionsPerMinute": 100_000 });
        stage.world.apply(&control_plane("crowd", "crowd", &spec)).await;
        stage.until_plane_ready("crowd").await;
        let names: Vec<_> = (0..OBJECTS).map(|number| format!("crowd-{number:04}")).collect();
        let items: Vec<_> = names.iter().map(|name| plane.object(name, json!({}))).collect();
        for items in items.chunks(OBJECTS / 4) {
            stage.world.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items })).await;
        }
        let mut memory = stage.world.operator.rss_kib().unwrap();
        let registered = |simulator: &Simulator| simulator.live_clusters().len() == OBJECTS;
        until(stage, &plane, &mut memory, registered, |objects: &[Value]| {
            objects.iter().filter(|object| condition(object, "Ready").0 != "True").count()
        })
        .await;
        assert_eq!(plane.simulator.live_clusters().len(), OBJECTS);
        assert!(names.iter().all(|name| plane.creates(name) == (1, 1)), "each posted once");

        // All go at once, and one comes in the middle of that: while kubectl still names one object after the other, and not
        // applied by kubectl, which on a busy machine takes as long to start as the deletions take.
        let client = stage.world.bed.client().await.unwrap();
        let path = format!("/apis/runai-operator.io/v1alpha1/namespaces/{TEAM}/runaiclusters");
        let newcomer = plane.object("newcomer", json!({})).to_string().into_bytes();
        let newcomer = http::Request::post(path).header("content-type", "application/json").body(newcomer).unwrap();
        let seq = plane.simulator.last_seq();
        let begun = |_: &_| deletes(&plane, seq).len() >= OBJECTS / 10;
        tokio::join!(stage.world.kubectl(&["delete", "rcl", "-n", TEAM, "--all", "--wait=false"]), async {
            assert!(plane.simulator.until(LIMIT, begun).await);
            client.request::<Value>(newcomer).await.unwrap();
        });
        let gone = |simulator: &Simulator| simulator.live_clusters().len() <= 1;
        until(stage, &plane, &mut memory, gone, |objects: &[Value]| objects.len().saturating_sub(1)).await;
        stage.until_ready("newcomer").await;
        assert_eq!(deletes(&plane, seq).len(), OBJECTS, "each deleted once");
        let entries = plane.simulator.journal_since(seq);
        let position = |wanted: &dyn Fn(&JournalEntry) -> bool| entries.iter().position(wanted).unwrap();
        let newcomer = position(&|entry| entry.operation == Some(Operation::Create));
        let last =
            entries.len() - 1 - entries.iter().rev().position(|e| e.operation == Some(Operation::Delete)).unwrap();
        assert!(newcomer < last, "the newcomer waited for all others: {newcomer} of {last}");
        assert!(memory < MOST_MEMORY_KIB, "{memory} KiB");
        rate(&plane);
        println!("row 40: {OBJECTS} objects, {memory} KiB at most, newcomer at request {newcomer} of {last}");
    });
}

fn deletes(plane: &Plane, seq: u64) -> Vec<JournalEntry> {
    let mut entries = plane.simulator.journal_since(seq);
    entries.retain(|entry| entry.operation == Some(Operation::Delete));
    entries
}

/// Waits until the control plane is as wanted and `left` counts no object, and keeps the most memory seen meanwhile.
async fn until(
    stage: &Stage,
    plane: &Plane,
    memory: &mut u64,
    wanted: impl Fn(&Simulator) -> bool,
    left: impl Fn(&[Value]) -> usize,
) {
    let end = std::time::Instant::now() + LIMIT;
    loop {
        *memory = (*memory).max(stage.world.operator.rss_kib().unwrap());
        // The control plane first: listing hundreds of objects is work for the API server.
        let count = if wanted(&plane.simulator) { left(&stage.world.all().await) } else { OBJECTS };
        if count == 0 {
            return;
        }
        assert!(std::time::Instant::now() < end, "{count} objects left\n{}", stage.world.tail());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// The limiter's promise: 50 a second at most, once it has grown, and a burst of 10.
fn rate(plane: &Plane) {
    let arrivals: Vec<_> = plane.simulator.journal().iter().map(|entry| entry.arrival_ms).collect();
    for (index, start) in arrivals.iter().enumerate() {
        let within = arrivals[index..].iter().take_while(|at| **at < start + 1000).count();
        // Requests that were let go one after the other may arrive together on a busy machine.
        assert!(within <= 100, "{within} requests in one second");
    }
}
