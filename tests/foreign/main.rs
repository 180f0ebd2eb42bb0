//! Other operators' bugs, replayed: each test is one public bug or advisory, told as a scenario of this operator.
//!
//! What happened there, and why it cannot happen here, is told in docs/reliability.md. The scenarios take turns
//! on a few testbeds; each has a control plane and objects of its own.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../matrix_cluster/gate.rs"]
mod gate;
#[path = "../matrix_cluster/stage.rs"]
mod stage;
#[path = "../e2e/world.rs"]
mod world;

mod advisories;
mod creates;
mod deletes;
mod namespaces;
mod watch;
