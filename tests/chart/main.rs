//! The chart: what it renders, what it refuses, what its papers say, and what becomes of a release on a real API server.
//!
//! After a change of values, of their comments or of metrics: `make docs`, or
//! `UPDATE_DOCS=1 cargo test --workspace --test chart`.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../e2e/world.rs"]
mod world;

mod alerts;
mod dashboard;
mod helm;
mod manifests;
mod metrics;
mod papers;
mod release;
mod render;
mod rollout;
mod values;
