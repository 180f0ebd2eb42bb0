//! The bounded worlds hold, every mistake is found, and the assumption of I1 is needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use runai_model::explore::{explore, explore_all};
use runai_model::scenes::{BEYOND, QUICK, Scene, mistaken};

/// Fewer would mean that a world has become smaller than it was meant to be.
const LEAST_STATES: usize = 5_000_000;

#[test]
fn nothing_is_found_wrong_in_any_bounded_world() {
    let found = explore_all(QUICK, |scene, found| println!("{:<69}{found}", scene.name));
    for (scene, found) in &found {
        if let Some((breach, story)) = &found.breach {
            panic!("{}: {}: {}\n{story}", scene.name, breach.rule, breach.what);
        }
    }
    let states: usize = found.iter().map(|(_, found)| found.states).sum();
    assert!(states >= LEAST_STATES, "only {states} states");
}

#[test]
fn every_mistake_leads_to_a_counterexample() {
    for (scene, rules) in mistaken() {
        let found = explore(&scene);
        let (breach, story) = found.breach.unwrap_or_else(|| panic!("{:?} goes unnoticed", scene.mutant));
        println!("{:?}: {}: {}\n{story}", scene.mutant, breach.rule, breach.what);
        assert!(rules.contains(&breach.rule), "{:?} is found by {} only", scene.mutant, breach.rule);
    }
}

#[test]
fn at_most_one_needs_the_assumption_and_its_breach_is_reported() {
    let beyond = explore(&BEYOND).breach.map(|(breach, _)| breach.rule);
    assert_eq!(beyond, Some("I1"), "a commit after the quarantine makes a second registration");
    // From every state with a second registration the object comes to say so.
    let reported = explore(&Scene { tolerates_two: true, ..BEYOND });
    assert!(reported.breach.is_none(), "{:?}", reported.breach);
    assert!(reported.states > 1_000);
    // Up to the end of the quarantine all is well.
    assert!(explore(&Scene { commits_late: false, ..BEYOND }).breach.is_none());
}
