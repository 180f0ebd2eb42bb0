//! `model quick | deep | mutants [NAME]` (of a world, or of a mistake): explores, prints a table, and for each breach the shortest way to it.

use std::process::ExitCode;

use runai_model::explore::{Found, explore, explore_all};
use runai_model::scenes::{self, Scene};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (what, only) = (arguments.next(), arguments.next());
    let fine = match what.as_deref() {
        Some("quick") => hold(scenes::QUICK, only.as_deref()),
        Some("deep") => hold(scenes::DEEP, only.as_deref()),
        Some("mutants") => caught(only.as_deref()),
        Some(_) | None => {
            eprintln!("usage: model quick | deep | mutants [NAME]");
            return ExitCode::from(2);
        }
    };
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether nothing is found wrong in any of these worlds.
fn hold(scenes: &[Scene], only: Option<&str>) -> bool {
    let started = std::time::Instant::now();
    let scenes: Vec<_> =
        scenes.iter().filter(|scene| only.is_none_or(|only| scene.name.contains(only))).copied().collect();
    let found = explore_all(&scenes, |scene, found| {
        println!("{:<69}{found}", scene.name);
        if let Some((breach, story)) = &found.breach {
            println!("{}: {}\n{story}", breach.rule, breach.what);
        }
    });
    let sum = |count: fn(&Found) -> usize| found.iter().map(|(_, found)| count(found)).sum::<usize>();
    let breaches = found.iter().filter(|(_, found)| found.breach.is_some()).count();
    println!(
        "{} worlds, {} states, {} transitions, {:.0} s: {breaches} breaches",
        found.len(),
        sum(|found| found.states),
        sum(|found| found.transitions),
        started.elapsed().as_secs_f64()
    );
    breaches == 0 && !found.is_empty()
}

/// Whether every mistake leads to the breach that it should lead to.
fn caught(only: Option<&str>) -> bool {
    let (mut all, mut missed) = (0, 0);
    for (scene, rules) in scenes::mistaken() {
        let name = format!("{:?}", scene.mutant);
        if only.is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let found = explore(&scene);
        let breach = found.breach.as_ref().filter(|(breach, _)| rules.contains(&breach.rule));
        println!("{name} in the world where {}: {found}", scene.name);
        match breach {
            Some((breach, story)) => println!("{}: {}\n{story}", breach.rule, breach.what),
            None => println!("not caught: {:?}\n", found.breach),
        }
        all += 1;
        missed += usize::from(breach.is_none());
    }
    println!("{all} mistakes, {missed} not caught");
    all > 0 && missed == 0
}
