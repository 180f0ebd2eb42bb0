//! The shell: it observes, asks the domain, acts and reports.
//!
//! Owns all I/O with Kubernetes, the order of start and end, and who may write. Decides nothing about registrations.
//!
//! ```text
//! watch ---> context (claims, memory, who is woken) ---> pass (observe -> plan -> act -> report)
//! lease ----^      ^---- control_plane (connections, inventories) <--- Secrets, CA, namespace labels
//! ```

mod act;
pub(crate) mod calls;
pub(crate) mod clock;
mod cluster_metrics;
mod context;
mod control_plane;
mod crd_guard;
mod events;
#[doc(hidden)]
pub mod fuzzing;
pub(crate) mod lease;
mod look;
mod notes;
mod pass;
mod passes;
mod plane_status;
mod planes;
mod publish;
mod published;
pub(crate) mod rehearsal;
pub(crate) mod rights;
mod rooms;
mod secrets;
mod send;
pub mod settings;
pub(crate) mod signer;
pub(crate) mod source;
mod status;
mod sync;
mod throttle;
mod vanished;
pub(crate) mod watch;

mod start;

pub use start::{RunError, run};
