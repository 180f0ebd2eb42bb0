//! All test programs of the workspace, some at a time.
//!
//! Most of them wait for intervals and time-outs of the operator, with a processor idle: side by side they take half as
//! long. Owns the order, who runs alone, and the sum of what the programs counted. Must not know what any of them tests.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::Error;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// These measure time or memory: nothing runs beside them.
const ALONE: [&str; 1] = ["counts"];
/// The longest ones first, so that none is left over at the end.
const LONG: [&str; 13] = [
    "matrix",
    "installed",
    "guides",
    "chaos",
    "matrix_cluster",
    "gitops",
    "faults",
    "cli",
    "ownership",
    "foreign",
    "metrics",
    "traces",
    "quick",
];
/// How often it is said what is still running.
const NEWS: Duration = Duration::from_secs(60);

/// One test program.
#[derive(Clone, Debug)]
struct Program {
    /// Its target, and its package where that is another word.
    name: String,
    path: PathBuf,
    /// Where `cargo test` would run it.
    directory: PathBuf,
}

/// What one program counted.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// What all programs came to.
#[derive(Debug, Default)]
struct Sum {
    counts: Counts,
    broken: Vec<String>,
    running: BTreeMap<String, Instant>,
}

/// Builds and runs all test programs, or those named.
///
/// # Errors
/// When something does not build, or a test fails.
pub(crate) async fn run(lanes: usize, names: &[String]) -> Result<(), Error> {
    let started = Instant::now();
    let programs = build().await?;
    let wanted = |program: &Program| names.is_empty() || names.iter().any(|name| program.name.ends_with(name.as_str()));
    let (alone, beside): (Vec<_>, Vec<_>) =
        order(programs.into_iter().filter(wanted).collect()).into_iter().partition(|program| has(&ALONE, program));
    let sum = Arc::new(Mutex::new(Sum::default()));
    let news = tokio::spawn(tell(Arc::clone(&sum)));
    in_lanes(1, alone, &sum).await;
    in_lanes(lanes.max(1), beside, &sum).await;
    news.abort();
    let Sum { counts: Counts { passed, failed, ignored }, broken, running: _ } = &*sum.lock().await;
    let took = started.elapsed().as_secs();
    println!("total: {passed} passed, {failed} failed, {ignored} ignored; {took} s");
    if broken.is_empty() {
        return Ok(());
    }
    Err(Error::State(format!("tests failed: {}", broken.join(", "))))
}

fn has(names: &[&str], program: &Program) -> bool {
    names.iter().any(|name| program.name == *name)
}

fn order(mut programs: Vec<Program>) -> Vec<Program> {
    let rank = |program: &Program| LONG.iter().position(|name| program.name == *name).unwrap_or(LONG.len());
    programs.sort_by_key(|program| (rank(program), program.name.clone()));
    programs
}

/// Builds the test programs; what the compiler says goes to the terminal.
async fn build() -> Result<Vec<Program>, Error> {
    let args = ["test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"];
    let what = || "cargo test --no-run".to_owned();
    let output = Command::new("cargo").args(args).stdin(Stdio::null()).stderr(Stdio::inherit()).output().await;
    let output = output.map_err(|source| Error::Io { what: what(), source })?;
    if !output.status.success() {
        return Err(Error::State("the tests do not build, see above".to_owned()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(messages.filter_map(|message| program(&message)).collect())
}

fn program(message: &Value) -> Option<Program> {
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let path = PathBuf::from(message["executable"].as_str()?);
    let directory = PathBuf::from(message["manifest_path"].as_str()?).parent()?.to_owned();
    let (target, kind) = (message["target"]["name"].as_str()?, message["target"]["kind"][0].as_str()?);
    let name = if kind == "test" { target.to_owned() } else { format!("{kind} {target}") };
    Some(Program { name, path, directory })
}

async fn in_lanes(lanes: usize, programs: Vec<Program>, sum: &Arc<Mutex<Sum>>) {
    let queue = Arc::new(Mutex::new(programs.into_iter()));
    let mut running = JoinSet::new();
    for _ in 0..lanes {
        let (queue, sum) = (Arc::clone(&queue), Arc::clone(sum));
        running.spawn(async move {
            loop {
                let Some(program) = queue.lock().await.next() else { return };
                one(&program, &sum).await;
            }
        });
    }
    running.join_all().await;
}

/// Runs one program and prints what it said, in one piece.
async fn one(program: &Program, sum: &Mutex<Sum>) {
    let started = Instant::now();
    sum.lock().await.running.insert(program.name.clone(), started);
    println!("tests: {} begins", program.name);
    let output = Command::new(&program.path)
        .current_dir(&program.directory)
        .env("CARGO_MANIFEST_DIR", &program.directory)
        .stdin(Stdio::null())
        .output()
        .await;
    let (fine, text) = match output {
        Ok(output) => {
            let text = [output.stdout, output.stderr].map(|part| String::from_utf8_lossy(&part).into_owned()).concat();
            (output.status.success(), text)
        }
        Err(error) => (false, format!("cannot be started: {error}")),
    };
    let mut sum = sum.lock().await;
    sum.running.remove(&program.name);
    println!("tests: {} took {} s\n{text}", program.name, started.elapsed().as_secs());
    let Counts { passed, failed, ignored } = count(&text);
    sum.counts.passed += passed;
    sum.counts.failed += failed;
    sum.counts.ignored += ignored;
    if !fine {
        sum.broken.push(program.name.clone());
    }
}

/// What a program's last line says: `test result: ok. 3 passed; 0 failed; 0 ignored; ...`.
fn count(text: &str) -> Counts {
    let Some(line) = text.lines().rev().find(|line| line.starts_with("test result:")) else { return Counts::default() };
    let number = |word: &str| {
        let before = line.split(word).next().unwrap_or_default();
        before.trim_end().rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
    };
    Counts { passed: number(" passed"), failed: number(" failed"), ignored: number(" ignored") }
}

async fn tell(sum: Arc<Mutex<Sum>>) {
    loop {
        tokio::time::sleep(NEWS).await;
        let sum = sum.lock().await;
        let since: Vec<_> =
            sum.running.iter().map(|(name, at)| format!("{name} ({} s)", at.elapsed().as_secs())).collect();
        println!(
            "tests: {} passed, {} failed so far; running: {}",
            sum.counts.passed,
            sum.counts.failed,
            since.join(", ")
        );
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_last_line_of_a_program_is_read() {
        let text = "test a ... ok\ntest result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.00s\n\n";
        let Counts { passed, failed, ignored } = count(text);
        assert_eq!((passed, failed, ignored), (12, 3, 1));
        let Counts { passed, failed, ignored } = count("killed");
        assert_eq!((passed, failed, ignored), (0, 0, 0));
    }
}
