//! A model checker over the operator's decision core, compiled from the very files that the operator is built from.
//!
//! `state` is what one moment looks like, `bridge` asks the core, `shell` does what a process does with the answer,
//! `world` is everything else that may happen, `rules` are the invariants, `explore` visits every state, `scenes` are
//! the bounded worlds, `mutant` the mistakes that must be found. `install` has all of these once more, for the Secrets
//! with install credentials. Nothing here is used by the operator.

#[path = "../../../src/domain/mod.rs"]
pub mod domain;

pub mod bridge;
mod calls;
pub mod explore;
mod hands;
pub mod install;
pub mod mutant;
mod question;
pub mod rules;
pub mod scenes;
pub mod shell;
pub mod state;
mod story;
mod tidy;
pub mod world;
