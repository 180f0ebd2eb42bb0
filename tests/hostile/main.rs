//! A control plane that means harm, and bytes that nobody meant.
//!
//! `rows` asks the client about every answer and every endpoint; `worlds` runs the operator against many hostile
//! control planes at once; `corpus` replays what the fuzz targets have found.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../client_support/mod.rs"]
mod client_support;
#[path = "../e2e/world.rs"]
mod world;

mod answers;
mod corpus;
mod kinds;
mod plane;
mod rows;
mod worlds;
