//! One shared list per control plane, kept as a snapshot, and who changed.
//!
//! Owns polling, the sharing of fresh looks, the place of our own writes in the snapshot, and which changes are worth
//! waking somebody for. Depends on `runai` and `domain`. Must not know Kubernetes or what an object wants: it tells
//! uuids and names, the controller finds the objects.
//!
//! `handle` is what the rest of the operator holds, `poller` the one task behind it; `book`, `changes`, `schedule` and
//! `snapshot` are pure and take the time as an argument.

mod book;
mod changes;
mod handle;
mod poller;
mod schedule;
mod snapshot;

pub use changes::{Change, Changed};
pub use handle::{Health, Inventory};
pub use schedule::Options;
pub use snapshot::{Counts, Snapshot};
