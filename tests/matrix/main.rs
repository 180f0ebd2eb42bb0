//! The fault matrix, rows 1 to 25 and 49: each fault by itself, and faults in pairs.
//!
//! Two questions end every row, beside "one registration each, nothing left behind": is the end state the one of a run
//! without the fault, and were no more requests spent than the row allows?
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../e2e/world.rs"]
mod world;

mod claims;
mod crash;
mod faults;
mod gate;
mod kube_objects;
mod oracle;
mod outage;
mod pairs;
mod remote;
mod rig;
mod rows;
mod secrets;
mod two;
