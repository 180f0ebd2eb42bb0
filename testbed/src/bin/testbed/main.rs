//! `testbed`: the command line of the testbed. Parses, dispatches and turns signals and errors into an end.

mod demo;
mod drawing;
mod picture;
mod sample;
mod stage;
mod suite;
mod up;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// A real Kubernetes API on loopback, with a simulated Run:ai control plane and the operator beside it.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds the Kubernetes binaries that are missing or outdated (minutes, the first time).
    Kube,
    /// Builds the programs that look at the chart (minutes, the first time).
    Tools,
    /// Starts everything and stays up until Ctrl-C.
    Up(Beside),
    /// Takes one RunaiCluster through its life and prints what kubectl shows at every step. With KUBECONFIG set it uses
    /// that cluster in place of an API server of its own.
    Demo(Beside),
    /// Plays ten minutes of a fleet, scraped by Prometheus, and draws docs/dashboard.svg from them.
    Picture {
        #[command(flatten)]
        beside: Beside,
        /// Draws what the last run left in target.
        #[arg(long)]
        redraw: bool,
    },
    /// Builds all test programs and runs them, some at a time.
    Suite {
        /// How many at a time.
        #[arg(long, env = "TEST_LANES", default_value_t = 3)]
        lanes: usize,
        /// Only these; by default all.
        names: Vec<String>,
    },
}

#[derive(Args)]
struct Beside {
    /// The operator's binary; by default the one beside this binary.
    #[arg(long, value_name = "PATH")]
    operator: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    testbed::install_crypto_provider();
    let outcome = match Cli::parse().command {
        Command::Kube => kube().await,
        Command::Tools => tools().await,
        Command::Up(beside) => until_signal(up::run(beside.operator)).await,
        Command::Demo(beside) => demo::run(beside.operator, interrupted()).await,
        Command::Picture { beside, redraw } => until_signal(picture::run(beside.operator, redraw)).await,
        // Tests that were not run have not passed.
        Command::Suite { lanes, names } => tokio::select! {
            outcome = suite::run(lanes, &names) => outcome,
            signal = interrupted() => signal.and_then(|name| Err(testbed::Error::State(format!("{name} before the end")))),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn kube() -> Result<(), testbed::Error> {
    let binaries = testbed::find_all().await?;
    for path in [binaries.etcd, binaries.apiserver, binaries.controller_manager, binaries.kubectl, binaries.helm] {
        println!("{}", path.display());
    }
    Ok(())
}

async fn tools() -> Result<(), testbed::Error> {
    for tool in testbed::Tool::ALL {
        println!("{}", tool.find().await?.display());
    }
    Ok(())
}

/// Runs until the work is done or somebody ends it; both are fine.
async fn until_signal(work: impl Future<Output = Result<(), testbed::Error>>) -> Result<(), testbed::Error> {
    tokio::select! {
        outcome = work => outcome,
        signal = interrupted() => signal.map(|name| eprintln!("\ntestbed: {name}, ending everything")),
    }
}

/// Resolves when this process is asked to end, with the name of the signal.
async fn interrupted() -> Result<&'static str, testbed::Error> {
    let listen =
        |kind| signal(kind).map_err(|source| testbed::Error::Io { what: "listening for signals".to_owned(), source });
    let (mut interrupt, mut terminate, mut hangup) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    Ok(tokio::select! {
        _ = interrupt.recv() => "interrupted",
        _ = terminate.recv() => "terminated",
        _ = hangup.recv() => "terminal closed",
    })
}
