//! The bounded worlds hold, every mistake is found, and the assumption of I1 is needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Debug;

use runai_model::explore::{World, explore, explore_all};
use runai_model::install;
use runai_model::scenes::{self, BEYOND, Scene};

/// Fewer would mean that a world has become smaller than it was meant to be.
const LEAST_STATES: usize = 5_000_000;
/// The same for install credentials.
const LEAST_STATES_OF_SECRETS: usize = 1_500_000;

/// Explores these worlds; how many states they have.
fn hold<W: World>(worlds: &[W]) -> usize {
    let found = explore_all(worlds, |world, found| println!("{:<69}{found}", world.name()));
    for (world, found) in &found {
        if let Some((breach, story)) = &found.breach {
            panic!("{}: {}: {}\n{story}", world.name(), breach.rule, breach.what);
        }
    }
    found.iter().map(|(_, found)| found.states).sum()
}

fn caught<W: World>(mistake: impl Debug, world: &W, rules: &[&str]) {
    let (breach, story) = explore(world).breach.unwrap_or_else(|| panic!("{mistake:?} goes unnoticed"));
    println!("{mistake:?}: {}: {}\n{story}", breach.rule, breach.what);
    assert!(rules.contains(&breach.rule), "{mistake:?} is found by {} only", breach.rule);
}

#[test]
fn nothing_is_found_wrong_in_any_bounded_world() {
    let states = hold(scenes::QUICK);
    assert!(states >= LEAST_STATES, "only {states} states");
}

#[test]
fn nothing_is_found_wrong_with_published_secrets() {
    let states = hold(install::scenes::QUICK);
    assert!(states >= LEAST_STATES_OF_SECRETS, "only {states} states");
}

#[test]
fn every_mistake_leads_to_a_counterexample() {
    for (world, rules) in scenes::mistaken() {
        caught(world.mutant, &world, rules);
    }
    for (world, rules) in install::scenes::mistaken() {
        caught(world.mistake, &world, rules);
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
