//! Random histories of a small world, driven through the real decision core, keep the invariants I1 to I6; and each
//! seeded bug breaks one of them.
//!
//! `PROPTEST_CASES` changes the number of histories, `PROPTEST_RNG_SEED` repeats a run: the seed is printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestCaseError, TestError, TestRunner};
use world::schedule::histories;
use world::{Bug, Move, Setup, World};

/// Histories per run of the core as it is.
const CASES: u32 = 2_000;
/// A seeded bug must show within this many histories.
const CASES_PER_BUG: u32 = 20_000;

fn live(setup: Setup, moves: &[Move], bug: Option<Bug>) -> World {
    let mut world = World::new(setup, bug);
    world.run(moves);
    if world.violation.is_none() {
        world.heal();
    }
    world
}

fn runner(bug: Option<Bug>) -> (TestRunner, u64) {
    let mut config = Config { failure_persistence: None, max_shrink_iters: 1_000, ..Config::default() };
    config.cases = match bug {
        Some(_) => CASES_PER_BUG,
        None if std::env::var_os("PROPTEST_CASES").is_some() => config.cases,
        None => CASES,
    };
    config.rng_algorithm = RngAlgorithm::ChaCha;
    let seed = match (config.rng_seed, bug) {
        (RngSeed::Fixed(seed), _) => seed,
        // Whether a bug is found must not depend on luck.
        (RngSeed::Random, Some(_)) => 1,
        (RngSeed::Random, None) => std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0),
    };
    config.rng_seed = RngSeed::Fixed(seed);
    (TestRunner::new(config), seed)
}

/// The smallest history found that breaks one of `rules`, if any.
fn search(bug: Option<Bug>, rules: Option<&[&str]>) -> (u64, Option<World>) {
    let (mut runner, seed) = runner(bug);
    let result = runner.run(&histories(), |(setup, moves)| match live(setup, &moves, bug).violation {
        None => Ok(()),
        Some(violation) if rules.is_some_and(|rules| !rules.contains(&violation.rule)) => Ok(()),
        Some(violation) => Err(TestCaseError::fail(format!("{}: {}", violation.rule, violation.what))),
    });
    let found = match result {
        Ok(()) => None,
        Err(TestError::Fail(_, (setup, moves))) => Some(live(setup, &moves, bug)),
        Err(TestError::Abort(why)) => panic!("seed {seed}: {why}"),
    };
    (seed, found)
}

fn story(world: &World) -> String {
    format!("{:#?}\n{}", world.setup, world.trace.join("\n"))
}

#[test]
fn every_history_keeps_the_invariants() {
    let (seed, found) = search(None, None);
    println!("seed {seed}");
    if let Some(world) = found {
        panic!("PROPTEST_RNG_SEED={seed}\n{}", story(&world));
    }
}

/// The bug breaks one of the rules that it should break.
#[track_caller]
fn caught(bug: Bug, rules: &[&str]) {
    let (seed, found) = search(Some(bug), Some(rules));
    let world = found.unwrap_or_else(|| panic!("{bug:?} goes unnoticed by {rules:?}; PROPTEST_RNG_SEED={seed}"));
    println!("{bug:?}, seed {seed}\n{}", story(&world));
}

macro_rules! seeded {
    ($($name:ident: $bug:ident breaks $($rule:literal)|+;)+) => {$(
        #[test]
        fn $name() {
            caught(Bug::$bug, &[$($rule),+]);
        }
    )+};
}

seeded! {
    seeded_skip_the_look: SkipTheLook breaks "I1";
    seeded_trust_a_failed_list: TrustAFailedList breaks "I4";
    seeded_forget_the_intent: ForgetTheIntent breaks "I1";
    seeded_leave_the_copy: LeaveTheCopy breaks "I6" | "I1" | "I2" | "I3";
    seeded_skip_the_quarantine: SkipTheQuarantine breaks "I1";
    seeded_skip_the_quarantine_of_the_dying: SkipTheQuarantine breaks "I3";
    seeded_release_on_404: ReleaseOn404 breaks "I3";
    seeded_skip_the_read_by_id: SkipTheReadById breaks "I4" | "I3";
    seeded_trust_an_unsigned_note: TrustAnUnsignedNote breaks "I2";
    seeded_no_compare_and_swap: NoCompareAndSwap breaks "I1";
    seeded_forget_the_tenant: ForgetTheTenant breaks "I1";
    seeded_ignore_observe: IgnoreObserve breaks "I5";
    seeded_ignore_suspend: IgnoreSuspend breaks "I5";
    seeded_ignore_the_deletion_policy: IgnoreTheDeletionPolicy breaks "I5";
    seeded_ignore_the_fight: IgnoreTheFight breaks "fight";
    seeded_ignore_claims: IgnoreClaims breaks "I2";
    seeded_ignore_the_crd: IgnoreTheCrd breaks "I5";
    seeded_leave_the_conditions: LeaveTheConditions breaks "conditions";
}
