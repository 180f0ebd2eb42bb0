//! What the operator tells about itself: logs, metrics, traces, and the probes of its health.
//!
//! A leaf: every layer but `domain` may use it, and it uses none of them. What it shows comes in as plain strings
//! and numbers. It must not know Kubernetes objects, the remote API or any decision of the operator.
//!
//! - [`logs`]: the log subscriber, and what third-party crates may never write.
//! - [`metrics`]: the counters and histograms of the operator; [`objects`] holds the series that live and die
//!   with an object.
//! - [`health`]: readiness gates and liveness heartbeats.
//! - [`serve`]: the two HTTP servers, `/metrics` on one address, `/livez` and `/readyz` on another; [`ask`] is their
//!   client.
//! - [`traces`]: the spans of passes and requests, and where they are sent.

pub mod ask;
pub mod health;
pub mod logs;
pub mod metrics;
pub mod objects;
pub mod serve;
pub mod traces;
