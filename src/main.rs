//! The `runai-cluster-operator` binary: installs the TLS provider, parses, dispatches.

use std::process::ExitCode;

use clap::Parser;
use runai_cluster_operator::cli::Cli;

fn main() -> ExitCode {
    // kube and reqwest both look for the process-wide provider; the first to install it wins, and it is us.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match runai_cluster_operator::cli::execute(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[allow(clippy::print_stderr, reason = "the last word, also when logging never began")]
            {
                eprintln!("error: {error}");
            }
            ExitCode::FAILURE
        }
    }
}
