//! What the kubelet of the tests lets pass, and what a world objects to at its end: each promise is broken on purpose.

use std::fs::File;
use std::io::Write as _;

use runai_simulator::{FaultAction, FaultRule, Operation, UniqueNames};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use testbed::{OPERATOR_NAMESPACE, wait_until};

use crate::world::{SOON, Setup, World};

fn signal(world: &World, pod: usize, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(world.operator.pid(pod)).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

async fn until_objection(world: &World, words: &str) {
    let told = wait_until(SOON, words, async || {
        let objections = world.operator.objections();
        if objections.iter().any(|objection| objection.contains(words)) {
            Ok(())
        } else {
            Err(format!("{objections:?}"))
        }
    });
    told.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_is_by_design_and_crashes_hangs_panics_and_second_registrations_are_not() {
    let mut world = World::start(Setup::default().simulator(|config| config.names.unique = UniqueNames::Off)).await;
    a_lease_is_lost(&world).await;
    assert_eq!(world.operator.objections(), [""; 0]);

    let leader = world.operator.leader().await;
    let standby = 1 - leader;
    signal(&world, standby, Signal::STOP);
    until_objection(&world, &format!("pod {standby} was ready and does not answer")).await;
    signal(&world, standby, Signal::CONT);
    signal(&world, leader, Signal::ABORT);
    until_objection(&world, &format!("pod {leader} ended")).await;
    world.operator.wait_ready(SOON).await.unwrap();
    let log = &world.operator.log_files()[standby];
    writeln!(File::options().append(true).open(log).unwrap(), "thread 'main' panicked at here").unwrap();
    // A server that takes one request for two.
    world.simulator.add_fault(FaultRule::on(Operation::Create, FaultAction::Duplicate).times(1));
    world.cluster("east", json!({})).await;
    assert!(world.simulator.until(SOON, |simulator| simulator.clusters_named("east").len() == 2).await);

    let objections = world.objections();
    assert_eq!(objections.len(), 4, "{objections:#?}");
    for words in ["does not answer", "SIGABRT", "a panic: thread 'main'", "east was registered twice"] {
        assert!(objections.iter().any(|objection| objection.contains(words)), "{words}: {objections:#?}");
    }
    assert_eq!(world.operator.losses(), 1);
}

/// As when a renewal comes too late: somebody else has the Lease. The leader ends, and is started again.
async fn a_lease_is_lost(world: &World) {
    let leader = world.operator.leader().await;
    let before = world.operator.pid(leader);
    let other = json!({ "spec": { "holderIdentity": "somebody-else" } }).to_string();
    let args = ["patch", "lease", "runai-cluster-operator", "-n", OPERATOR_NAMESPACE, "--type=merge", "-p", &other];
    world.kubectl(&args).await;
    let ended = wait_until(SOON, "the leader to end", async || {
        let losses = world.operator.losses();
        if losses == 1 { Ok(()) } else { Err(losses) }
    });
    ended.await.unwrap();
    world.operator.wait_ready(SOON).await.unwrap();
    assert_ne!(world.operator.pid(leader), before);
}
