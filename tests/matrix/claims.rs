//! Rows 3 and 7: two registrations of one object, and two objects of one registration.

use std::time::Duration;

use runai_simulator::{FaultAction, FaultRule, Loss, Operation, UniqueNames};
use serde_json::{Value, json};

use crate::kube_objects::Objects;
use crate::oracle::{Cost, Ledger};
use crate::world::{SOON, Setup, World, condition, message, uuid};

/// Pairs of objects that a new process finds.
const ROUNDS: usize = 8;

async fn start(args: &[&str]) -> (World, Objects) {
    let setup = Setup::default().args(args).simulator(|config| config.names.unique = UniqueNames::Off);
    let world = World::start(setup).await;
    let objects = Objects::of(&world).await;
    (world, objects)
}

/// The one assumption broken: the first POST is committed after its quarantine. There are two registrations then; that
/// is said, with both uuids, and nobody tidies up.
#[tokio::test(flavor = "multi_thread")]
async fn row_03_a_commit_after_the_quarantine_is_reported_and_nothing_is_deleted() {
    let (world, objects) = start(&["--create-deadline=1s", "--create-quarantine=11s"]).await;
    let late = FaultAction::LateCommit { seconds: 25.0, loss: Loss::Reset };
    world.simulator.add_fault(FaultRule::on(Operation::Create, late).times(1));
    objects.create("late", json!({ "domain": "https://late.example.com" })).await;
    let object = world.until_ready("late").await;
    assert_eq!(world.simulator.pending_commits(), 1, "the machine was too slow for this test");

    let object = {
        let own = uuid(&object);
        let stalled = world.until_stalled("late", "DuplicateRegistration").await;
        assert_eq!(uuid(&stalled), own, "the object keeps the registration that it knows");
        stalled
    };
    let records = world.simulator.clusters_named("late");
    assert_eq!(records.len(), 2);
    let said = message(&object, "Stalled");
    assert!(records.iter().all(|record| said.contains(&record.uuid.to_string())), "{said}");
    let counters = world.simulator.counters();
    assert_eq!(counters.create_requests_per_name["late"], 2);
    assert!(!counters.requests_per_operation.contains_key(&Operation::Delete), "nothing is deleted on suspicion");

    // The object takes its own along, and only that.
    let twin = records.iter().find(|record| record.uuid != uuid(&object)).unwrap().uuid;
    objects.delete("late").await;
    world.until_gone("late").await;
    let left: Vec<_> = world.simulator.live_clusters().into_iter().map(|record| record.uuid).collect();
    assert_eq!(left, [twin]);
}

/// Who came first has the name, in whatever order the objects' own names sort; of two that a new process finds, one has
/// it. The other one says whose it is, holds nothing back, and has sent nothing.
#[tokio::test(flavor = "multi_thread")]
async fn row_07_of_two_objects_with_one_name_one_registers_and_the_other_writes_nothing() {
    let (mut world, objects) = start(&[]).await;
    let spec = |name: &str| json!({ "name": name, "domain": "https://shared.example.com" });
    for (elder, younger, name) in [("a-elder", "b-younger", "One"), ("d-elder", "c-younger", "Two")] {
        objects.create(elder, spec(name)).await;
        world.until_ready(elder).await;
        objects.create(younger, spec(name)).await;
        is_refused(&world, younger, name).await;
    }

    world.operator.sigkill();
    for round in 0..ROUNDS {
        for side in ["left", "right"] {
            objects.create(&format!("{side}-{round}"), spec(&format!("Both {round}"))).await;
        }
    }
    world.operator = world.another_operator();
    for round in 0..ROUNDS {
        let settled = |object: &Value| ["Ready", "Stalled"].iter().any(|kind| condition(object, kind).0 == "True");
        let [left, right] = ["left", "right"].map(|side| format!("{side}-{round}"));
        let first = objects.seen(SOON, &left, "settled", settled).await.unwrap();
        let second = objects.seen(SOON, &right, "settled", settled).await.unwrap();
        assert_ne!(condition(&first, "Ready").0, condition(&second, "Ready").0, "both or none");
        let refused = if condition(&first, "Ready").0 == "True" { &right } else { &left };
        is_refused(&world, refused, &format!("Both {round}")).await;
    }

    // It stays so over some lists, and costs nothing.
    let before = world.simulator.last_seq();
    world
        .holds(Duration::from_secs(8), "one registration for each name", async || {
            let live = world.simulator.live_clusters().len();
            if live == 2 + ROUNDS { Ok(()) } else { Err(format!("{live} registrations")) }
        })
        .await;
    let changes = world.simulator.journal_since(before).into_iter();
    assert_eq!(changes.filter(|entry| entry.operation.is_some_and(Operation::is_mutation)).count(), 0);
    let posts = world.simulator.counters().requests_per_operation[&Operation::Create];
    assert_eq!(posts, 2 + u64::try_from(ROUNDS).unwrap(), "one POST for each name");
}

/// Refused for its name, with nothing but the status that says so and its Event.
async fn is_refused(world: &World, name: &str, wanted: &str) {
    // At first the other one may only be about to register.
    let told = format!("the name {wanted:?} belongs to registration");
    let object = world.until(name, &told, |object| message(object, "Stalled").starts_with(&told)).await;
    assert_eq!(condition(&object, "Stalled").1, "NameConflict");
    assert!(object["metadata"]["finalizers"].is_null() && object["metadata"]["annotations"].is_null(), "{object}");
    let cost = Ledger::of(world).cost(&world.simulator, name);
    assert_eq!(Cost { statuses: 0, events: 0, ..cost }, Cost::default(), "{name}");
    assert!(cost.statuses <= 2, "told once for each reason: who registers the name, who has it; {cost:?}");
}
