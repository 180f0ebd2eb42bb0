//! The REST face: a client for the Run:ai Clusters API.
//!
//! Owns requests, tokens, the rate limit, wire types, and the error type that says what a failure means. Depends on
//! `domain` alone. Must not know Kubernetes, the controller, or what anybody wants to achieve: one call here is one
//! request there (reads may be repeated briefly, changes never).
//!
//! ```text
//! client -> attempts -> auth, limiter -> transport -> reqwest
//!               \-----> list -> split, wire, install, minimal, measurements   settings, error, headers, redact: leaves
//! ```

mod attempts;
mod auth;
mod client;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod headers;
mod install;
mod limiter;
mod list;
mod measurements;
mod minimal;
mod observer;
mod redact;
mod settings;
mod split;
pub(crate) mod sync;
mod transport;
mod wire;

pub use client::{Capabilities, DeleteReply, Listing, Permit, RunaiClient, Verbosity};
pub use error::{ApiError, Class, ErrorKind, StatusError, TlsProblem, TransportKind};
pub use install::{InstallInfo, token_life};
pub use measurements::{Measured, Measurement, MetricsQuery};
pub use minimal::MinimalCluster;
pub use observer::{ClientObserver, NoObserver, Operation};
pub use redact::{Secret, sanitize};
pub use settings::{Limits, Settings, SettingsError, TokenApi};
pub use wire::NewCluster;
