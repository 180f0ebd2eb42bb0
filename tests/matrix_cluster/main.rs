//! The fault matrix, rows 26 to 48: what happens to the Kubernetes side, and what others do behind the operator's back.
//!
//! Rows that other tests show in full are not repeated here; docs/reliability.md names them. The rows take turns on
//! a few testbeds; each has a control plane and objects of its own.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/authority.rs"]
mod authority;
#[path = "../e2e/world.rs"]
mod world;

mod admission;
mod crd;
mod crowd;
mod etcd;
mod gate;
mod identity;
mod namespaces;
mod refused;
mod remote;
mod stage;
mod watches;
