//! `model quick | deep | mutants [NAME]` (of a world, or of a mistake): explores, prints a table, and for each breach the shortest way to it.

use std::fmt::Debug;
use std::process::ExitCode;

use runai_model::explore::{Found, World, explore, explore_all};
use runai_model::{install, scenes};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (what, only) = (arguments.next(), arguments.next());
    let only = only.as_deref();
    // Both models are explored, whatever comes of the first.
    let fine = match what.as_deref() {
        Some("quick") => [hold(scenes::QUICK, only), hold(install::scenes::QUICK, only)],
        Some("deep") => [hold(scenes::DEEP, only), hold(install::scenes::DEEP, only)],
        Some("mutants") => {
            let of_registrations = scenes::mistaken().into_iter().map(|(scene, rules)| (scene.mutant, scene, rules));
            let of_secrets =
                install::scenes::mistaken().into_iter().map(|(scene, rules)| (scene.mistake, scene, rules));
            [caught(of_registrations, only), caught(of_secrets, only)]
        }
        Some(_) | None => {
            eprintln!("usage: model quick | deep | mutants [NAME]");
            return ExitCode::from(2);
        }
    };
    let fine = fine.iter().all(|found| found.is_none_or(|bad| bad == 0)) && fine.iter().any(Option::is_some);
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many of these worlds are found wrong; `None`: there are none of that name.
fn hold<W: World + Copy>(worlds: &[W], only: Option<&str>) -> Option<usize> {
    let started = std::time::Instant::now();
    let named = |world: &&W| only.is_none_or(|only| world.name().contains(only));
    let worlds: Vec<_> = worlds.iter().filter(named).copied().collect();
    if worlds.is_empty() {
        return None;
    }
    let found = explore_all(&worlds, |world, found| {
        println!("{:<69}{found}", world.name());
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
    Some(breaches)
}

/// How many of these mistakes do not lead to the breach that they should lead to; `None`: there are none of that name.
fn caught<M: Debug, W: World>(
    mistaken: impl Iterator<Item = (M, W, &'static [&'static str])>,
    only: Option<&str>,
) -> Option<usize> {
    let (mut all, mut missed) = (0, 0);
    for (mistake, world, rules) in mistaken {
        let name = format!("{mistake:?}");
        if only.is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let found = explore(&world);
        let breach = found.breach.as_ref().filter(|(breach, _)| rules.contains(&breach.rule));
        println!("{name} in the world where {}: {found}", world.name());
        match breach {
            Some((breach, story)) => println!("{}: {}\n{story}", breach.rule, breach.what),
            None => println!("not caught: {:?}\n", found.breach),
        }
        all += 1;
        missed += usize::from(breach.is_none());
    }
    println!("{all} mistakes, {missed} not caught");
    (all > 0).then_some(missed)
}
