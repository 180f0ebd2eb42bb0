//! The fault campaign: rounds of random users and random faults against the real operator, a real API server and the
//! simulated control plane, each judged by an oracle that stands outside.
//!
//! `CHAOS_SEED` and `CHAOS_ROUNDS` choose the rounds; a round depends on its own seed alone, so that one round can be
//! played again: `CHAOS_SEED=<seed> CHAOS_ROUNDS=1`.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod arena;
mod books;
mod deeds;
mod oracle;
mod oracle_tests;
mod regressions;
mod remote;
mod round;
mod schedule;
mod strike;
mod table;

use std::sync::Mutex;

use arena::Arena;
use futures::future::join_all;
use round::Round;
use schedule::Schedule;
use table::Table;

/// Without a wish: a few rounds, always the same.
const SEED: u64 = 2;
const ROUNDS: u64 = 6;
/// Rounds at once, each in an arena of its own: most of a round is waiting.
const ARENAS: usize = 2;

fn wish(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[tokio::test(flavor = "multi_thread")]
async fn campaign() {
    let (seed, rounds) = (wish("CHAOS_SEED", SEED), wish("CHAOS_ROUNDS", ROUNDS));
    println!("CHAOS_SEED={seed} CHAOS_ROUNDS={rounds}");
    let table = Mutex::new(Table::default());
    let seeds: Vec<_> = (seed..seed + rounds).collect();
    let sides = (0..ARENAS.min(seeds.len())).map(|side| play(seeds.iter().copied().skip(side).step_by(ARENAS), &table));
    join_all(sides).await;
    let table = table.into_inner().unwrap();
    println!("{table}");
    assert!(table.is_clean(), "invariants were broken; see above");
}

/// Plays these rounds in one arena, one after the other.
async fn play(seeds: impl Iterator<Item = u64>, table: &Mutex<Table>) {
    let mut arena = Arena::start().await;
    for seed in seeds {
        let schedule = Schedule::draw(seed);
        let verdict = Round::play(&mut arena, &schedule).await;
        let clean = verdict.violations.is_empty();
        if !clean {
            arena.keep_evidence(seed, &verdict.details);
        }
        table.lock().unwrap().add(&schedule, verdict);
        if !clean {
            arena.scrub().await;
        }
    }
}
