//! The operator killed by SIGKILL again and again, while it creates and while it deletes.

use std::time::Duration;

use futures::future::join_all;
use runai_simulator::{DisconnectedPolicy, FaultAction, FaultRule, Operation, Phase, UniqueNames};
use serde_json::{Value, json};

use crate::crowd;
use crate::world::{SHORT_DOUBT, Setup, World};

const OBJECTS: usize = 50;
/// Objects that come and go while the others are deleted.
const PASSERS_BY: usize = 10;
/// One kill for each batch, while creating and again while deleting.
const BATCH: usize = 4;
const SEED: u64 = 4711;

/// Lets the operator work for a random moment, kills it, and starts it anew at once.
async fn kill_at_random(world: &mut World, rng: &mut fastrand::Rng) {
    tokio::time::sleep(Duration::from_millis(rng.u64(100..2000))).await;
    world.operator.sigkill();
    world.operator = world.another_operator();
}

fn spec(index: usize) -> Value {
    // Without a version a registration is deleted instantly, with one gracefully: both kinds.
    let domain = format!("https://killed-{index:02}.example.com");
    if index.is_multiple_of(2) { json!({ "domain": domain }) } else { json!({ "domain": domain, "version": "2.24" }) }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_killed_again_and_again_registers_each_object_once_and_leaves_nothing_behind() {
    let mut rng = fastrand::Rng::with_seed(SEED);
    let setup = Setup::default()
        .args(&SHORT_DOUBT)
        // A killed leader leaves its lease behind for 15 s; here only one process exists at any time.
        .args(&["--leader-elect=false"])
        .control_plane(json!({ "pollInterval": "5s", "maxDeletionsPerMinute": 1000 }))
        .simulator(|config| {
            config.names.unique = UniqueNames::Off;
            config.delete.disconnected_policy = DisconnectedPolicy::Complete;
            config.delete.graceful_seconds = 1.0;
        });
    let mut world = World::start(setup).await;
    for operation in [Operation::Create, Operation::Delete] {
        // Time before and after the commit in which a kill can strike.
        for phase in [Phase::Pre, Phase::Post] {
            let latency = FaultAction::Latency { ms: 50, max_ms: 600, phase };
            world.simulator.add_fault(FaultRule::on(operation, latency));
        }
    }

    let names: Vec<_> = (0..OBJECTS).map(|index| format!("killed-{index:02}")).collect();
    let mut kills = 0;
    for (batch, names) in names.chunks(BATCH).enumerate() {
        crowd::apply(&world, names, |index| spec(batch * BATCH + index)).await;
        kill_at_random(&mut world, &mut rng).await;
        kills += 1;
    }
    let objects = crowd::until_ready(&world, Duration::from_secs(120), OBJECTS).await;
    crowd::assert_one_each(&world, &objects);
    let unanswered = |operation| {
        let entries = world.simulator.journal().into_iter();
        entries.filter(|entry| entry.operation == Some(operation) && entry.committed && entry.status.is_none()).count()
    };
    assert!(unanswered(Operation::Create) > 0, "no kill came between a commit and its answer");

    let passing: Vec<_> = (0..PASSERS_BY).map(|index| format!("passing-{index}")).collect();
    crowd::apply(&world, &passing, spec).await;
    join_all(passing.iter().map(|name| world.delete_as_seen(name))).await;
    for names in names.chunks(BATCH) {
        crowd::delete(&world, names).await;
        kill_at_random(&mut world, &mut rng).await;
        kills += 1;
    }
    // 13 batches each way.
    assert!(kills >= 20, "{kills}");
    crowd::until_none(&world, Duration::from_secs(120)).await;
    let left = world.simulator.live_clusters();
    assert!(left.is_empty(), "left behind: {left:?}");
    let made = world.simulator.counters().creates_per_name;
    assert!(made.iter().all(|(_, count)| *count == 1), "made more than once: {made:?}");
    assert!(world.operator.exit_status().is_none(), "the last process ended by itself");
}
