//! The outcome in a table: how often each fault struck, and what broke.
//!
//! Owns the wording. Must not judge.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::round::Verdict;
use crate::schedule::Schedule;

/// One kind of fault.
#[derive(Debug, Default)]
struct Count {
    rounds: usize,
    /// How often it took effect.
    hits: u64,
    violations: usize,
}

#[derive(Debug, Default)]
pub struct Table {
    faults: BTreeMap<&'static str, Count>,
    settled: Vec<Duration>,
    took: Duration,
    objects: usize,
    changes: usize,
    violations: usize,
    dirty: Vec<u64>,
}

impl Table {
    /// Takes a round in and says how it went.
    pub fn add(&mut self, schedule: &Schedule, verdict: Verdict) {
        let Verdict { violations, settled, took, objects, hits, changes, details } = verdict;
        let broken = violations.len();
        let word = if broken == 0 { "ok" } else { "BROKEN" };
        println!(
            "round {:>3} seed {} {word}: {:.1} s (settled {:.1} s after healing), {objects} objects, {changes} changes; {}",
            self.settled.len() + 1,
            schedule.seed,
            took.as_secs_f64(),
            settled.as_secs_f64(),
            schedule.summary(),
        );
        for violation in &violations {
            println!("  VIOLATION {}: {}", violation.invariant, violation.what);
        }
        if broken > 0 {
            println!("{details}  again with: CHAOS_SEED={} CHAOS_ROUNDS=1", schedule.seed);
            self.dirty.push(schedule.seed);
        }
        for fault in schedule.faults() {
            let count = self.faults.entry(fault.name()).or_default();
            count.rounds += 1;
            count.hits += hits.get(fault.name()).copied().unwrap_or_default();
            count.violations += broken;
        }
        self.settled.push(settled);
        self.took += took;
        self.objects += objects;
        self.changes += changes;
        self.violations += broken;
    }

    pub fn is_clean(&self) -> bool {
        self.violations == 0
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n| Fault | Rounds | Hits | Violations |\n| --- | ---: | ---: | ---: |")?;
        for (name, Count { rounds, hits, violations }) in &self.faults {
            writeln!(f, "| {name} | {rounds} | {hits} | {violations} |")?;
        }
        let mut settled = self.settled.clone();
        settled.sort();
        let at = |part: usize| settled.get((settled.len() * part / 100).min(settled.len().saturating_sub(1)));
        let seconds = |part| at(part).map_or(0.0, Duration::as_secs_f64);
        writeln!(
            f,
            "\n{} rounds in {:.0} s, {} objects, {} changing requests, {} violations; from healing to the goal: \
             median {:.1} s, 95 % {:.1} s, longest {:.1} s",
            self.settled.len(),
            self.took.as_secs_f64(),
            self.objects,
            self.changes,
            self.violations,
            seconds(50),
            seconds(95),
            seconds(100),
        )?;
        if !self.dirty.is_empty() {
            writeln!(f, "seeds with violations: {:?}", self.dirty)?;
        }
        Ok(())
    }
}
