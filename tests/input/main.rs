//! Bad input: whatever people, Secrets, servers and old objects hand over is refused with a message that names the place
//! and the way out, changes nothing, and gives nothing away.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/bad_specs.rs"]
mod bad_specs;
mod broken;
mod canary;
mod command;
mod connections;
mod lines;
mod rows;
mod schema;
mod twins;
#[path = "../e2e/world.rs"]
mod world;
