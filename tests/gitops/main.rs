//! What GitOps tools make of our objects, said by those tools' own code: kstatus, Argo CD's health scripts, Flux's CEL.
//! The operator as a process, a real API server, and the files of `gitops/` and `examples/` as a user would use them.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../e2e/world.rs"]
mod world;

#[path = "../support/page.rs"]
mod page;
#[path = "../installed/pods.rs"]
mod pods;

mod applied;
mod argocd;
mod commands;
mod files;
mod fleet;
mod flux;
mod judges;
mod kubectl;
mod life;
mod manifests;
mod recorded;
mod recordings;
mod repository;
mod scripts;
mod situations;
mod terminal;
