//! A real Kubernetes API on loopback for tests and demonstrations.
//!
//! ```text
//! binaries  etcd, kube-apiserver, ...: finds or builds them
//! tools     helm 4, promtool, ...: what tests look at the chart with
//! prometheus  a Prometheus server that scrapes one target
//! gobuild   builds a program of a pinned Go module          (slow only once, under a lock)
//! pki       certificates and keys of one testbed
//! reaper    ends the children when this process dies, even by SIGKILL
//! directory temporary directories
//! process   one child with its log file
//! cluster   Testbed: etcd + API server + controller manager, restarts, kubeconfigs
//! kubectl   kubectl and helm against any kubeconfig
//! chart     renders the chart and applies everything but its Deployments
//! pod       a rendered Deployment as a process
//! operator  the operator process beside it: signals, readiness, metrics, memory
//! audit     who asked the API server for what
//! proxy     TCP between a client and a server, and what may go wrong on the way
//! wait      polling with a deadline
//! ```
//!
//! Everything listens on 127.0.0.1 with ports of its own, keeps its files in a temporary directory of its own and ends
//! with its [`Testbed`] (or with the process), so that several testbeds run side by side.
//!
//! The crate knows the operator only as a binary with a command line, and the simulator only as a URL.

mod argocd;
mod audit;
mod binaries;
mod chart;
mod cluster;
mod directory;
mod error;
mod flux;
mod gobuild;
mod kubeconfig;
mod kubectl;
mod operator;
mod pki;
mod pod;
mod ports;
mod process;
mod prometheus;
mod proxy;
mod reaper;
mod tools;
mod turn;
mod wait;

pub use argocd::ArgoCd;
pub use audit::{AuditEvent, RequestKey, count_by_user};
pub use binaries::{Binaries, build_all, find_all};
pub use chart::{OPERATOR_NAMESPACE, RELEASE_NAME};
pub use cluster::{Options, Testbed};
pub use directory::TemporaryDirectory;
pub use error::Error;
pub use flux::Flux;
pub use gobuild::workspace_dir;
pub use kubeconfig::Login;
pub use kubectl::{Kubectl, Output};
pub use operator::{OperatorOptions, OperatorProcess};
pub use pod::Pod;
pub use ports::free_ports;
pub use prometheus::{Prometheus, Series};
pub use proxy::Proxy;
pub use tools::Tool;
pub use wait::wait_until;

/// Makes aws-lc-rs the TLS provider of this process; repeating it does no harm.
pub fn install_crypto_provider() {
    // An Err means that a provider is installed already, which is what we want.
    let _already = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
