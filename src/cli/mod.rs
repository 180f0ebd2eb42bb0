//! The command line: one binary, one subcommand for each thing to do.
//!
//! Owns flags, their environment variables, help texts and exit codes. Must not know how a command is carried out.
//!
//! ```text
//! run, crds                    the controller and what it needs
//! inventory, export, plan      read a control plane: connect -> kube, credentials
//! doctor                       looks for what is wrong on the way to it: connect -> kube, credentials
//! wait                         follows one object: kube
//! probe                        asks a running operator whether it is ready
//! completions, man             the command line itself
//! output                       how all of them speak
//! ```

mod connect;
mod credentials;
mod doctor;
mod export;
mod inventory;
mod kube;
mod manual;
mod output;
mod plan;
mod probe;
mod run;
mod wait;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use run::RunArgs;

use crate::api::crds::{CrdError, crds_yaml};
use crate::controller::RunError;
use crate::domain::{Reason, Trouble};
use crate::telemetry::ask::AskError;
use crate::telemetry::logs::{self, LogFormat};
use crate::telemetry::traces::Traces;

/// The binary's own name.
const PROGRAM: &str = "runai-cluster-operator";
/// Under this name kubectl finds the binary as a plugin.
const PLUGIN_FILE: &str = "kubectl-runai_cluster";
/// What a user types then.
const PLUGIN: &str = "kubectl runai-cluster";

/// Manages NVIDIA Run:ai cluster registrations as Kubernetes objects.
///
/// A RunaiCluster object asks for one registration in a Run:ai control plane; the operator creates, renames, observes
/// and deletes it through the Clusters API. Start with `crds`, then `run`. The other commands only read.
///
/// Installed under the name kubectl-runai_cluster, it is also `kubectl runai-cluster`.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller until SIGTERM or SIGINT.
    Run(Box<RunArgs>),
    /// Print the CustomResourceDefinitions as YAML: `runai-cluster-operator crds | kubectl apply --server-side -f -`
    Crds,
    /// Check Kubernetes and the control planes, and say what to do about what is wrong.
    ///
    /// Looks at access to Kubernetes, the CRDs, the operator's rights, and for each RunaiControlPlane at its Secret and CA
    /// bundle, name resolution, connection, TLS, token, the right to list, the clocks, and what its version can do. Changes
    /// nothing, and shows no secret. What an earlier finding makes pointless is skipped.
    ///
    /// Exit code: 0 all is well, 1 there are warnings, 2 there are problems.
    Doctor(Box<doctor::DoctorArgs>),
    /// List the registrations of a control plane and the objects that they belong to.
    Inventory(Box<inventory::InventoryArgs>),
    /// Write every registration of a control plane as a RunaiCluster that adopts it.
    ///
    /// Applied, the objects change nothing in the control plane: each adopts its registration by uuid and leaves it when
    /// it is deleted (deletion.policy Orphan). What is left out is said on standard error, with the reason.
    Export(Box<export::ExportArgs>),
    /// Say what the operator would do for the RunaiClusters in a file.
    ///
    /// The looks and the decision are the operator's own, taken live; the first step that would write something is
    /// printed instead of done.
    ///
    /// Exit code: 0 nothing would change, 3 something would, 1 an object needs a person or cannot be planned.
    Plan(Box<plan::PlanArgs>),
    /// Wait until a RunaiCluster is ready, connected or gone.
    ///
    /// Exit code: 0 reached, 124 time is up, 130 interrupted, 1 cannot be reached any more.
    Wait(wait::WaitArgs),
    /// Ask a running operator whether it is ready: probe http://HOST:8081/readyz
    ///
    /// For places without a shell, such as the image of the operator itself. Prints the answer.
    ///
    /// Exit code: 0 ready, 1 not ready or no answer.
    Probe(probe::ProbeArgs),
    /// Print completions for a shell.
    Completions(manual::CompletionsArgs),
    /// Write the man pages of all commands.
    Man(manual::ManArgs),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// See [`RunError`].
    #[error(transparent)]
    Run(#[from] RunError),
    /// See [`run::ArgsError`].
    #[error(transparent)]
    Args(#[from] run::ArgsError),
    /// See [`CrdError`].
    #[error(transparent)]
    Crds(#[from] CrdError),
    /// See [`connect::ConnectError`].
    #[error(transparent)]
    Connect(#[from] connect::ConnectError),
    /// See [`kube::KubeError`].
    #[error(transparent)]
    Kube(#[from] kube::KubeError),
    /// See [`plan::DocumentError`].
    #[error(transparent)]
    Document(plan::DocumentError),
    /// See [`output::WriteError`].
    #[error(transparent)]
    Write(#[from] output::WriteError),
    /// A control plane cannot be connected or does not answer.
    #[error("{0}")]
    ControlPlane(String),
    /// See [`AskError`].
    #[error(transparent)]
    Probe(#[from] AskError),
    /// Standard output is closed, or there are no threads to be had.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl CliError {
    fn control_plane(name: &str, trouble: &Trouble) -> Self {
        Self::ControlPlane(match trouble.reason {
            Reason::ControlPlaneMissing => {
                format!("RunaiControlPlane {name:?} does not exist; correct --control-plane")
            }
            _ => format!("control plane {name:?}: {}", trouble.message),
        })
    }
}

/// The command line and the name that the program was called by.
#[derive(Debug)]
pub struct Invocation {
    cli: Cli,
    program: String,
}

/// Reads the command line. Help, version and mistakes end the process, with the codes 0, 0 and 2.
#[must_use]
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Invocation {
    let args: Vec<OsString> = args.into_iter().collect();
    let called = args.first().map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str);
    let program = called.unwrap_or(PROGRAM).to_owned();
    let mut command = command(&program);
    let matches = command.try_get_matches_from_mut(args).unwrap_or_else(|error| error.exit());
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit());
    Invocation { cli, program }
}

fn command(program: &str) -> clap::Command {
    let command = Cli::command();
    if program == PLUGIN_FILE { command.bin_name(PLUGIN) } else { command }
}

/// Carries out the command.
///
/// # Errors
/// See [`CliError`].
pub fn execute(invocation: Invocation) -> Result<ExitCode, CliError> {
    let Invocation { cli, program } = invocation;
    match cli.command {
        Command::Run(args) => run::execute(*args),
        Command::Crds => {
            output::data(&crds_yaml()?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor(args) => once(doctor::execute(*args)),
        Command::Inventory(args) => once(inventory::execute(*args)),
        Command::Export(args) => once(export::execute(*args)),
        Command::Plan(args) => once(plan::execute(*args)),
        Command::Wait(args) => once(wait::execute(args)),
        Command::Probe(args) => once(probe::execute(args)),
        Command::Completions(args) => manual::completions(&args, Cli::command(), &program),
        Command::Man(args) => manual::man(&args, Cli::command()),
    }
}

/// Runs a command that asks and is done. It logs only when `RUST_LOG` asks for it.
fn once(command: impl Future<Output = Result<ExitCode, CliError>>) -> Result<ExitCode, CliError> {
    if std::env::var_os("RUST_LOG").is_some_and(|filter| !filter.is_empty()) {
        logs::init(LogFormat::Text, &Traces::default()).map_err(run::ArgsError::Log)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }
}
