//! The commands that only read, as a user starts them: the real binary against the simulated control plane, and where
//! Kubernetes has a part in it, a real API server with the operator beside it.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../e2e/world.rs"]
mod world;

#[path = "../security/roles.rs"]
mod roles;

#[path = "../support/page.rs"]
mod page;

mod alone;
mod doctor;
mod doctor_kubernetes;
mod doctor_namespaces;
mod manual;
mod planning;
mod probing;
mod recordings;
mod roundtrip;
mod tool;
mod waiting;
