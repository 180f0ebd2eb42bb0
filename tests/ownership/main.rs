//! Who may touch which registration, and when an object lets go of it: the operator as a process against a real
//! Kubernetes API server and the simulated control plane.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../e2e/world.rs"]
mod world;

mod adoption;
mod elsewhere;
mod forgery;
mod hidden;
mod namespaces;
mod notes;
mod outside;
mod stuck;
mod support;
mod uninstall;
