//! Answers to POST that are lost, cut, garbled, or committed after the client has given up.

use std::time::Duration;

use runai_simulator::{
    Cut, FaultAction, FaultMatch, FaultRule, Garbage, Loss, Operation, Phase, ResetPhase, RetryAfter, UniqueNames,
};
use serde_json::json;

use crate::crowd;
use crate::world::{SHORT_DOUBT, Setup, World};

const OBJECTS: usize = 200;

/// Every way to lose the answer to a POST, with the chance of each.
fn losses() -> Vec<(f64, FaultAction)> {
    let late = |seconds, loss| FaultAction::LateCommit { seconds, loss };
    let status = |phase| FaultAction::Status { code: 502, body: None, headers: Default::default(), phase };
    let garbage = |status, variant, phase| FaultAction::Garbage { status, variant, phase };
    vec![
        (0.04, late(1.0, Loss::Reset)),
        (0.04, late(2.5, Loss::Hang)),
        (0.04, late(5.0, Loss::Reset)),
        // The intent may be 5 s old when the POST goes out, and 13 s is still within the quarantine of 15 s.
        (0.05, late(8.0, Loss::Reset)),
        (0.04, late(8.0, Loss::Hang)),
        // Longer than the create deadline of 4 s.
        (0.04, FaultAction::Hang { seconds: 6.0, phase: Phase::Pre }),
        (0.04, FaultAction::Hang { seconds: 6.0, phase: Phase::Post }),
        (0.05, FaultAction::Reset { phase: ResetPhase::Pre }),
        (0.05, FaultAction::Reset { phase: ResetPhase::Mid }),
        (0.05, FaultAction::Reset { phase: ResetPhase::Post }),
        (0.05, status(Phase::Pre)),
        (0.05, status(Phase::Post)),
        (0.04, garbage(200, Garbage::Html, Phase::Pre)),
        (0.04, garbage(201, Garbage::Empty, Phase::Post)),
        (0.04, garbage(201, Garbage::EmptyObject, Phase::Post)),
        (0.05, FaultAction::Truncate { cut: Cut::Json }),
        (0.05, FaultAction::Truncate { cut: Cut::Length }),
    ]
}

/// A gateway may answer anything after the control plane has committed, a wish to come back later included.
#[tokio::test(flavor = "multi_thread")]
async fn statuses_that_come_after_the_commit_leave_one_registration_each() {
    let setup = Setup::default().args(&SHORT_DOUBT).simulator(|config| config.names.unique = UniqueNames::Off);
    let world = World::start(setup).await;
    let status = |code| FaultAction::Status { code, body: None, headers: Default::default(), phase: Phase::Post };
    let later = RetryAfter::Seconds(1);
    let mut faults: Vec<_> =
        [400, 403, 408, 409, 422, 500, 503, 504].map(|code| (code.to_string(), status(code))).into();
    let action = FaultAction::Throttle { retry_after: later, status: 503, phase: Phase::Post };
    faults.push(("503-later".to_owned(), action));
    let mut names = Vec::new();
    for (name, action) in faults {
        let name = format!("after-{name}");
        let matches =
            FaultMatch { operation: Some(Operation::Create), name: Some(name.clone()), ..FaultMatch::default() };
        world.simulator.add_fault(FaultRule { matches, ..FaultRule::new(action) }.times(1));
        names.push(name);
    }
    crowd::apply(&world, &names, |_| json!({})).await;
    let objects = crowd::until_ready(&world, Duration::from_secs(60), names.len()).await;
    let fired: Vec<_> = world.simulator.faults().iter().map(|(_, fired)| *fired).collect();
    assert_eq!(fired, vec![1; names.len()]);
    crowd::assert_one_each(&world, &objects);
    let asked = world.simulator.counters().create_requests_per_name;
    assert!(asked.values().all(|count| *count == 1), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_creates_with_lost_answers_make_two_hundred_registrations() {
    let setup = Setup::default().args(&SHORT_DOUBT).simulator(|config| {
        config.names.unique = UniqueNames::Off;
        config.seed = 20_260_401;
    });
    let world = World::start(setup).await;
    for (chance, action) in losses() {
        world.simulator.add_fault(FaultRule { probability: Some(chance), ..FaultRule::on(Operation::Create, action) });
    }
    let names: Vec<_> = (0..OBJECTS).map(|index| format!("lost-{index:03}")).collect();
    crowd::apply(&world, &names, |index| json!({ "domain": format!("https://lost-{index:03}.example.com") })).await;

    // Every object has had its first attempt under fire before the faults stop.
    let asked = |simulator: &runai_simulator::Simulator| simulator.counters().create_requests_per_name.len() == OBJECTS;
    assert!(world.simulator.until(Duration::from_secs(120), asked).await, "{}", world.tail());
    let fired: u64 = world.simulator.faults().iter().map(|(_, fired)| fired).sum();
    // The chances leave (1 - 0.04)^8 (1 - 0.05)^9, about 45 %, unharmed: of 200 attempts some 110 are hit, 80 is more
    // than four standard deviations below.
    assert!(fired > 80, "only {fired} answers were lost");
    world.simulator.clear_faults();

    let objects = crowd::until_ready(&world, Duration::from_secs(150), OBJECTS).await;
    crowd::assert_one_each(&world, &objects);
    let asked = world.simulator.counters().requests_per_operation;
    assert!(!asked.contains_key(&Operation::Delete), "a doubt is resolved by looking, never by tidying up");
}
