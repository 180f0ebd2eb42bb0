//! README.md, docs/install.md and the guides in docs/guides, played: every command is run as it is printed, every manifest
//! is applied, and what the page shows is what came out. With a real API server, the operator as a process, kubectl, helm
//! and git, and a control plane behind https that is the simulator.
//!
//! After a change: `UPDATE_GUIDES=1 cargo test --workspace --test guides`, and look at the difference.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/authority.rs"]
mod authority;
#[path = "../gitops/files.rs"]
mod files;
#[path = "../gitops/judges.rs"]
mod judges;
#[path = "../support/page.rs"]
mod page;

mod canon;
mod cluster;
mod coverage;
mod front;
mod install;
mod kinds;
mod others;
mod pages;
mod player;
mod readme;
mod stage;
