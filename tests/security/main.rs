//! What the chart, the kinds and the rights allow to whom: the lines of SECURITY.md that a Kubernetes API server decides.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../e2e/world.rs"]
mod world;

mod chart;
mod names;
mod rights;
mod roles;
mod schema;
mod users;
