//! # runai-cluster-operator
//!
//! Keeps NVIDIA Run:ai cluster registrations in step with `RunaiCluster` objects.
//!
//! ```text
//! main -> cli -> controller -> inventory -> runai -> domain
//!                          \-> api ---------------->/
//! telemetry: a leaf that all but domain may use
//! ```
//!
//! One pass over one object is *observe -> plan -> act -> report*. [`domain`] decides and does no I/O; [`controller`]
//! does the I/O and decides nothing. [`api`] is the Kubernetes face, [`runai`] the REST face: they never see each
//! other. `tests/architecture.rs` keeps these arrows.

pub mod api;
pub mod cli;
pub mod controller;
pub mod domain;
pub mod inventory;
pub mod runai;
pub mod telemetry;
