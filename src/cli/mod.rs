//! The command line: one binary, one subcommand for each thing to do.
//!
//! Owns flags, their environment variables, help texts and exit codes. Must not know how a command is carried out.

mod run;

use std::io::Write;

use clap::{Parser, Subcommand};

pub use run::RunArgs;

use crate::api::crds::{CrdError, crds_yaml};
use crate::controller::RunError;

/// Manages NVIDIA Run:ai cluster registrations as Kubernetes objects.
///
/// A RunaiCluster object asks for one registration in a Run:ai control plane; the operator creates, renames, observes
/// and deletes it through the Clusters API. Start with `crds`, then `run`.
#[derive(Debug, Parser)]
#[command(name = "runai-cluster-operator", version, propagate_version = true)]
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
    /// Standard output is closed, or there are no threads to be had.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Carries out the command.
///
/// # Errors
/// See [`CliError`].
pub fn execute(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        Command::Run(args) => run::execute(*args),
        Command::Crds => {
            let yaml = crds_yaml()?;
            Ok(std::io::stdout().lock().write_all(yaml.as_bytes())?)
        }
    }
}
