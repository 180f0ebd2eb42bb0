//! What the operator costs: Kubernetes requests by the API server's audit log, remote calls by the simulator's
//! journal, time and memory. Counts are gates; times are gated with slack and reported.
//!
//! `cargo test --test counts -- --nocapture` prints the tables that the documentation quotes. With `--release` the
//! binary is the one that users run, and its memory is gated as such.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod everything;
mod figures;
mod fleet;
mod growth;
mod ledger;
mod standing;
#[path = "../e2e/world.rs"]
mod world;

use tokio::sync::Semaphore;

/// Whoever makes or deletes many objects does it alone; what merely waits needs no quiet machine.
static ALONE: Semaphore = Semaphore::const_new(1);
/// Latency of the control plane's answers, as in the measurements of other operators.
const LATENCY_MS: u64 = 30;
