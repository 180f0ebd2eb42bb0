//! The oracle's own ledger: which objects there were, what their users asked of them and when, and which registration
//! came from whose request.
//!
//! Owns that knowledge. It comes from the users' side and from the control plane's journal, never from the operator.

use std::collections::{BTreeMap, BTreeSet};

use runai_simulator::{JournalEntry, Operation};
use uuid::Uuid;

use crate::schedule::Role;

/// One object from its creation to its end. An object made again under the same name is another life.
#[derive(Debug)]
pub struct Life {
    /// Number in the schedule.
    pub slot: usize,
    /// `metadata.name`.
    pub object: String,
    pub uid: String,
    pub role: Role,
    /// Last request of the journal before it was made.
    pub made: u64,
    /// Every `spec.name` it had; the last one counts.
    pub names: Vec<String>,
    /// The generation with which it was suspended, while it is.
    pub suspended: Option<i64>,
    /// Nothing may be sent for it between these requests; no end yet where it is suspended still.
    pub quiet: Vec<(u64, Option<u64>)>,
    /// Last request before its user deleted it.
    pub deleted: Option<u64>,
    /// Its registration stays when it goes.
    pub keeps: bool,
    /// The registration of somebody else that it is about.
    pub foreign: Option<Uuid>,
    /// Reasons for which it may be stalled, by what was done to it from outside.
    pub allowed: BTreeSet<&'static str>,
    /// The registration of somebody else that it was seen to own.
    pub took_over: Option<Uuid>,
    /// It was seen to be gone.
    pub gone: bool,
}

impl Life {
    pub fn desired(&self) -> &str {
        self.names.last().map(String::as_str).unwrap_or_default()
    }

    /// Whether it may have a registration of its own making.
    pub fn may_create(&self) -> bool {
        !matches!(self.role, Role::Observer | Role::Refused | Role::Adopter)
    }
}

/// All lives of a round, oldest first, and the registrations that others made.
#[derive(Debug, Default)]
pub struct Books {
    pub lives: Vec<Life>,
    /// Registrations that somebody else made, with their names.
    pub foreign: BTreeMap<Uuid, String>,
    /// Registrations that somebody else deleted.
    pub deleted_outside: BTreeSet<Uuid>,
    /// Reasons for which objects with these numbers may be stalled from the beginning.
    pub tainted: BTreeMap<usize, BTreeSet<&'static str>>,
}

impl Books {
    /// From now on an object with that number may be stalled for these reasons.
    pub fn taint(&mut self, slot: usize, reasons: &[&'static str]) {
        self.tainted.entry(slot).or_default().extend(reasons);
        for life in self.lives.iter_mut().filter(|life| life.slot == slot) {
            life.allowed.extend(reasons);
        }
    }

    /// The present life of the object with that number.
    pub fn present(&mut self, slot: usize) -> Option<&mut Life> {
        self.lives.iter_mut().rev().find(|life| life.slot == slot)
    }

    pub fn by_uid(&mut self, uid: &str) -> Option<&mut Life> {
        self.lives.iter_mut().find(|life| life.uid == uid)
    }

    /// Whose request made each registration: that of the object which wanted the name at the time.
    pub fn makers(&self, journal: &[JournalEntry]) -> BTreeMap<Uuid, usize> {
        let mut makers = BTreeMap::new();
        for entry in journal.iter().filter(|entry| entry.operation == Some(Operation::Create)) {
            let Some(life) = self.asker(entry) else { continue };
            makers.extend(entry.committed_uuids.iter().map(|uuid| (*uuid, life)));
        }
        makers
    }

    /// The object that a POST was sent for.
    pub fn asker(&self, entry: &JournalEntry) -> Option<usize> {
        let name = sent_name(entry)?;
        self.lives.iter().rposition(|life| life.made <= entry.seq && life.names.iter().any(|known| known == name))
    }

    /// The object that owns a registration: by its own request, or because it was told to take it over.
    pub fn owner(&self, uuid: Uuid, makers: &BTreeMap<Uuid, usize>) -> Option<usize> {
        let adopted = || {
            let name = self.foreign.get(&uuid)?;
            self.lives.iter().rposition(|life| life.role == Role::Adopter && life.names.contains(name))
        };
        makers.get(&uuid).copied().or_else(adopted)
    }
}

/// The name in a request's body.
pub fn sent_name(entry: &JournalEntry) -> Option<&str> {
    entry.body.as_ref()?["name"].as_str()
}

/// The registration in a request's path.
pub fn path_uuid(entry: &JournalEntry) -> Option<Uuid> {
    entry.path_id.as_ref()?.parse().ok()
}

/// A request in one line.
pub fn line(entry: &JournalEntry) -> String {
    let operation = entry.operation.map_or_else(|| entry.method.clone(), |operation| format!("{operation:?}"));
    let subject = entry.path_id.as_deref().or_else(|| sent_name(entry)).unwrap_or_default();
    let status = entry.status.map_or_else(|| "lost".to_owned(), |status| status.to_string());
    let mut line = format!("#{} {:.3}s {operation} {subject} -> {status}", entry.seq, seconds(entry.arrival_ms));
    if entry.committed {
        line.push_str(&format!(", committed {:?}", entry.committed_uuids));
    }
    if !entry.faults.is_empty() {
        line.push_str(&format!(", faults {:?}", entry.faults));
    }
    line
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
