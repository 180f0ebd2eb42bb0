//! The operator's pure rules, compiled from the very files that the operator is built from, with their unit tests.
//!
//! Owns nothing. Exists to be tested quickly, thousands of times: see `.cargo/mutants.toml`.

#[path = "../../../src/domain/mod.rs"]
pub mod domain;

pub mod runai;
