//! The operator as a process, logged in with the chart's own rights, against a real Kubernetes API server and the
//! simulated control plane over HTTP.
//!
//! Each test has a testbed of its own, so that none sees another's objects. At most two run at once: an API server and
//! etcd take a core while they start.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod life;
mod unseen;
mod world;
