//! `probe`: asks a running operator whether it is ready, where there is no shell to do it.
//!
//! Owns how long to ask, and what the end of it means.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::CliError;
use super::output::{data, note};
use super::run::period;
use crate::telemetry::ask::{AskError, Asker};

/// Time between two questions.
const PAUSE: Duration = Duration::from_secs(1);

/// Flags of `probe`.
#[derive(Debug, Args)]
pub(super) struct ProbeArgs {
    /// Where to ask, such as http://runai-operator:8081/readyz.
    #[arg(value_name = "URL")]
    url: String,

    /// How long to ask again while there is no answer or a bad one; 0s means once.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = period)]
    timeout: Duration,
}

pub(super) async fn execute(args: ProbeArgs) -> Result<ExitCode, CliError> {
    let asker = Asker::new(&args.url)?;
    let begun = Instant::now();
    let mut said = String::new();
    loop {
        match asker.ask().await {
            Ok(text) => {
                data(&text)?;
                return Ok(ExitCode::SUCCESS);
            }
            Err(error @ (AskError::Silent(_) | AskError::No { .. })) if begun.elapsed() + PAUSE < args.timeout => {
                let text = error.to_string();
                // Once is enough.
                if text != said {
                    note(&text);
                    said = text;
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
