//! Install credentials, from the spec to a Secret and away again: the operator as a process with the chart's own rights,
//! against a real API server and the simulated control plane.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod books;
mod life;
mod refused;
#[path = "../e2e/world.rs"]
mod world;
