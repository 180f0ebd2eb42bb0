//! The `runai-cluster-operator` binary: installs the TLS provider, parses, dispatches.

use std::process::ExitCode;

use runai_cluster_operator::cli;

fn main() -> ExitCode {
    // kube and reqwest both look for the process-wide provider; the first to install it wins, and it is us.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match cli::execute(cli::parse(std::env::args_os())) {
        Ok(code) => code,
        Err(error) => {
            #[allow(clippy::print_stderr, reason = "the last word, also when logging never began")]
            {
                eprintln!("error: {error}");
            }
            ExitCode::FAILURE
        }
    }
}
