//! All registrations, findable by id, name and order, with enough history to look back.
//!
//! Owns the collection. Must not know requests, identities or JSON.

use std::collections::{BTreeSet, HashMap, VecDeque};

use jiff::Timestamp;
use uuid::Uuid;

use crate::clock::{after, seconds};
use crate::config::{Config, UniqueNames};
use crate::record::Record;

/// Changes that can be looked behind by a stale read.
const HISTORY: usize = 20_000;

/// All registrations of all tenants.
#[derive(Debug, Default)]
pub(crate) struct Store {
    records: HashMap<Uuid, Record>,
    /// Live records by creation time; deleted ones are kept in `records` only.
    order: BTreeSet<(Timestamp, Uuid)>,
    /// Lower-case name to every record that has it, deleted ones included.
    by_name: HashMap<String, Vec<Uuid>>,
    deleting: BTreeSet<Uuid>,
    history: VecDeque<Change>,
}

/// A record as it was before a change; `None` if it did not exist.
#[derive(Debug)]
struct Change {
    at: Timestamp,
    uuid: Uuid,
    before: Option<Record>,
}

impl Store {
    pub(crate) fn from_records(records: Vec<Record>) -> Self {
        let mut store = Self::default();
        for record in records {
            store.place(record);
        }
        store
    }

    /// Completes or fails graceful deletions whose time has come.
    pub(crate) fn settle(&mut self, now: Timestamp, config: &Config) {
        let due: Vec<_> = self
            .deleting
            .iter()
            .filter_map(|uuid| Some((*uuid, self.records.get(uuid)?.settles(now, config)?)))
            .collect();
        for (uuid, settlement) in due {
            self.edit(uuid, now, |record| record.settle(settlement));
        }
    }

    pub(crate) fn insert(&mut self, record: Record, now: Timestamp) {
        self.note(now, record.uuid, None);
        self.place(record);
    }

    pub(crate) fn get(&self, uuid: Uuid) -> Option<&Record> {
        self.records.get(&uuid)
    }

    /// Changes a record and keeps the indexes right; `None` if there is no such record.
    pub(crate) fn edit<T>(&mut self, uuid: Uuid, now: Timestamp, change: impl FnOnce(&mut Record) -> T) -> Option<T> {
        let mut record = self.displace(uuid)?;
        let before = record.clone();
        let outcome = change(&mut record);
        // A deletion that completed in the past is noted at its own time, for stale reads.
        let at = match (before.deleted_at, record.deleted_at) {
            (None, Some(deleted)) => deleted.min(now),
            _ => now,
        };
        self.note(at, uuid, Some(before));
        self.place(record);
        Some(outcome)
    }

    /// Changes nothing that an index or the history knows: for `observe`.
    pub(crate) fn observe(&mut self, uuid: Uuid) -> Option<&mut Record> {
        self.records.get_mut(&uuid)
    }

    /// Live records by `createdAt`, then uuid.
    pub(crate) fn live_ids(&self) -> Vec<Uuid> {
        self.order.iter().map(|(_, uuid)| *uuid).collect()
    }

    /// Every record, deleted ones included, by `createdAt`, then uuid.
    pub(crate) fn all(&self) -> Vec<&Record> {
        let mut all: Vec<_> = self.records.values().collect();
        all.sort_by_key(|record| (record.created_at, record.uuid));
        all
    }

    pub(crate) fn live_with_name(&self, name: &str) -> Vec<&Record> {
        let ids = self.by_name.get(&name.to_lowercase());
        let records = ids.into_iter().flatten().filter_map(|uuid| self.records.get(uuid));
        records.filter(|record| record.name == name && !record.is_deleted()).collect()
    }

    /// Whether a new or renamed record of the tenant may not have this name.
    pub(crate) fn name_taken(
        &self,
        tenant: i32,
        name: &str,
        except: Option<Uuid>,
        now: Timestamp,
        config: &Config,
    ) -> bool {
        let names = &config.names;
        let holds = |record: &Record| {
            if let Some(deleted) = record.deleted_at {
                return after(deleted, seconds(names.reuse_delay_seconds)) > now;
            }
            !record.is_deleting() || names.reserved_while_deleting
        };
        let same = |record: &Record| match names.unique {
            UniqueNames::Off => false,
            UniqueNames::On => record.name == name,
            UniqueNames::Ci => true,
        };
        let ids = self.by_name.get(&name.to_lowercase());
        ids.into_iter()
            .flatten()
            .filter(|uuid| Some(**uuid) != except)
            .filter_map(|uuid| self.records.get(uuid))
            .any(|record| record.tenant_id == tenant && same(record) && holds(record))
    }

    /// The collection as it was at `then`, as far as history reaches.
    pub(crate) fn as_of(&self, then: Timestamp) -> Self {
        let Self { records, order, by_name, deleting, history: _ } = self;
        let mut past = Self {
            records: records.clone(),
            order: order.clone(),
            by_name: by_name.clone(),
            deleting: deleting.clone(),
            history: VecDeque::new(),
        };
        for change in self.history.iter().rev().filter(|change| change.at > then) {
            past.displace(change.uuid);
            if let Some(before) = &change.before {
                past.place(before.clone());
            }
        }
        past
    }

    fn note(&mut self, at: Timestamp, uuid: Uuid, before: Option<Record>) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(Change { at, uuid, before });
    }

    fn place(&mut self, record: Record) {
        let uuid = record.uuid;
        if !record.is_deleted() {
            self.order.insert((record.created_at, uuid));
        }
        if record.is_deleting() {
            self.deleting.insert(uuid);
        }
        self.by_name.entry(record.name.to_lowercase()).or_default().push(uuid);
        self.records.insert(uuid, record);
    }

    fn displace(&mut self, uuid: Uuid) -> Option<Record> {
        let record = self.records.remove(&uuid)?;
        self.order.remove(&(record.created_at, uuid));
        self.deleting.remove(&uuid);
        let key = record.name.to_lowercase();
        if let Some(ids) = self.by_name.get_mut(&key) {
            ids.retain(|id| *id != uuid);
            if ids.is_empty() {
                self.by_name.remove(&key);
            }
        }
        Some(record)
    }
}
