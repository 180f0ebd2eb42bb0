//! What may go wrong, on purpose: lost answers, killed processes, two leaders, an API that lies, an API server that goes.
//!
//! Each scenario ends with the same questions: does every object have exactly one registration, is nothing left behind,
//! and was nothing let go without proof?
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../e2e/world.rs"]
mod world;

mod apiserver;
mod crowd;
mod killed;
mod leaders;
mod lost;
mod network;
mod probes;
mod untrue;
