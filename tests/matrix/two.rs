//! Rows 9 and 10: two processes that act at once, and one that sleeps between its intent and its POST.

use std::time::Duration;

use runai_simulator::{Operation, UniqueNames};
use rustix::process::Signal;
use serde_json::json;
use testbed::wait_until;

use crate::gate::When;
use crate::kube_objects::{Objects, is_settled};
use crate::oracle::Ledger;
use crate::rig::Rig;
use crate::world::{SOON, Setup, World};

const OBJECTS: usize = 40;
/// The shortest that the operator accepts.
const DOUBT: [&str; 2] = ["--create-deadline=1s", "--create-quarantine=11s"];
/// Longer than a POST may follow its intent.
const SLEEP: Duration = Duration::from_secs(7);

fn names() -> impl Iterator<Item = String> {
    (0..OBJECTS).map(|index| format!("both-{index:02}"))
}

/// Both processes work on every object at the same time. The compare-and-swap of the intent decides who creates.
#[tokio::test(flavor = "multi_thread")]
async fn row_09_two_processes_without_a_lease_create_each_registration_once() {
    let setup = Setup::default().args(&DOUBT).simulator(|config| {
        config.names.unique = UniqueNames::Off;
        (config.latency_ms, config.latency_jitter_ms) = (20, 80);
    });
    let world = World::start(setup).await;
    let mut other = world.another_operator();
    other.wait_ready(SOON).await.unwrap();
    let objects = Objects::of(&world).await;
    for name in names() {
        objects.create(&name, json!({ "domain": format!("https://{name}.example.com") })).await;
    }
    for name in names() {
        objects.seen(SOON, &name, "Ready", |object| is_settled(object, &name)).await.unwrap();
    }
    for name in names() {
        objects.rename(&name, &format!("{name}-2")).await;
    }
    for name in names() {
        let renamed = format!("{name}-2");
        objects.seen(SOON, &name, "renamed", |object| is_settled(object, &renamed)).await.unwrap();
    }
    assert_eq!(world.simulator.live_clusters().len(), OBJECTS);
    for name in names() {
        objects.delete(&name).await;
    }
    for name in names() {
        objects.seen(SOON, &name, "gone", serde_json::Value::is_null).await.unwrap();
    }
    assert!(world.simulator.live_clusters().is_empty());

    let ledger = Ledger::of(&world);
    let costs: Vec<_> = names().map(|name| (ledger.cost(&world.simulator, &name), name)).collect();
    for (cost, name) in &costs {
        // A rename and a deletion are the same whoever asks for them; of a POST there is one.
        assert_eq!((cost.posts, cost.created, cost.deleted), (1, 1, 1), "{name}: {cost:?}");
        assert!(cost.puts <= 2 && cost.deletes <= 2, "{name}: {cost:?}");
        // Three writes of metadata for each process, and as many that lose the race and are refused.
        assert!(cost.marks <= 12 && cost.statuses <= 12 && cost.events <= 6, "{name}: {cost:?}");
    }
    let contended = costs.iter().filter(|(cost, _)| cost.marks > 3).count();
    println!("{contended} of {OBJECTS} objects were written by both");
    assert!(contended > 0, "the two never met: nothing is shown");
}

/// The intent is written, and the process sleeps before it learns of that. When it wakes, the time to send has passed.
#[tokio::test(flavor = "multi_thread")]
async fn row_10_a_process_that_sleeps_after_its_intent_does_not_send_late() {
    let mut rig = Rig::start(&[&DOUBT[..], &["--leader-elect=false"]].concat()).await;
    rig.gate.clear();
    rig.arm("PATCH runaiclusters", 0, When::After, true, Signal::STOP);
    rig.objects.create("sleepy", json!({ "domain": "https://sleepy.example.com" })).await;
    let asleep = wait_until(SOON, "the intent", async || rig.struck().ok_or("not struck"));
    asleep.await.unwrap();
    tokio::time::sleep(SLEEP).await;
    assert!(!rig.gate.seen().contains(&"POST clusters".to_owned()));
    rig.world.operator.sigcont().unwrap();
    rig.objects.seen(SOON, "sleepy", "Ready", |object| is_settled(object, "sleepy")).await.unwrap();
    let cost = Ledger::of(&rig.world).cost(&rig.world.simulator, "sleepy");
    // The first intent went unused: it was taken back, and another one written, before anything was sent.
    assert_eq!((cost.posts, cost.created, cost.marks), (1, 1, 4), "{cost:?}\n{}", rig.world.tail());
    let seen = rig.gate.seen();
    let intents = seen.iter().take_while(|effect| *effect != "POST clusters");
    assert_eq!(intents.filter(|effect| *effect == "PATCH runaiclusters").count(), 3, "{seen:?}");
}

/// The same, and meanwhile a standby takes over and resolves the doubt; the sleeper wakes and ends.
#[tokio::test(flavor = "multi_thread")]
async fn row_10_a_leader_that_wakes_after_a_takeover_sends_nothing() {
    let mut rig = Rig::start(&[&DOUBT[..], &["--leader-elect"]].concat()).await;
    // The operator that the gate replaced may still hold the lease.
    rig.objects.create("first", json!({})).await;
    rig.until("first", "Ready", |object| is_settled(object, "first")).await;
    let mut standby = rig.launch();
    standby.wait_ready(SOON).await.unwrap();
    rig.gate.clear();
    rig.arm("PATCH runaiclusters", 0, When::After, true, Signal::STOP);
    rig.objects.create("taken", json!({ "domain": "https://taken.example.com" })).await;
    let object = rig.objects.seen(SOON, "taken", "Ready by the standby", |object| is_settled(object, "taken")).await;
    let before = rig.world.simulator.last_seq();
    rig.world.operator.sigcont().unwrap();
    let status = rig.world.operator.wait_exit(SOON).await.unwrap();
    assert!(!status.success(), "the old leader must end itself: {status}");
    let by_the_sleeper = rig.world.simulator.journal_since(before).into_iter();
    let changes = by_the_sleeper.filter(|entry| entry.operation.is_some_and(Operation::is_mutation)).count();
    assert_eq!(changes, 0, "{}", standby.logs().unwrap());
    let cost = Ledger::of(&rig.world).cost(&rig.world.simulator, "taken");
    assert_eq!((cost.posts, cost.created), (1, 1), "{cost:?}");
    // Nor did it write over what the standby wrote.
    assert_eq!(rig.objects.get("taken").await.unwrap()["status"]["uuid"], object.unwrap()["status"]["uuid"]);
}
