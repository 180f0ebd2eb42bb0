//! What was asked and what came of it, and counters that tests check invariants with.
//!
//! Owns the ring of entries and the counters. Must not know secrets: bodies come in redacted.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::route::Operation;

/// One request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalEntry {
    /// Counts up from 1 by arrival.
    pub seq: u64,
    /// Virtual time of arrival.
    pub at: Timestamp,
    /// Real milliseconds between the start of the simulator and the arrival.
    pub arrival_ms: u64,
    /// Real milliseconds until the reply was made or the connection was given up.
    pub duration_ms: u64,
    /// HTTP method.
    pub method: String,
    /// Endpoint; `None` for an unknown path or a wrong method.
    pub operation: Option<Operation>,
    /// Path with its parameter by name; the path itself when unknown.
    pub route: String,
    /// Raw query.
    pub query: String,
    /// Id in the path, as written.
    pub path_id: Option<String>,
    /// Client id of the token, or in a token request.
    pub identity: Option<String>,
    /// Tenant that the token acts for.
    pub tenant_id: Option<i32>,
    /// Status of the reply; `None` if none was sent or the client left first.
    pub status: Option<u16>,
    /// A change of registrations was committed because of this request, at once or late.
    pub committed: bool,
    /// Virtual time of the commit.
    pub committed_at: Option<Timestamp>,
    /// Records created, changed or deleted by it.
    pub committed_uuids: Vec<Uuid>,
    /// Rules that fired.
    pub faults: Vec<String>,
    /// Known fields of the body without secrets.
    pub body: Option<Value>,
    /// Bytes of the reply's body.
    pub response_bytes: u64,
    /// `User-Agent` header.
    pub user_agent: Option<String>,
    /// Dealt with: `status` will not change any more.
    pub finished: bool,
}

/// Counters since start or the last clearing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Requests on the public port.
    pub requests: u64,
    /// Token requests, good or bad.
    pub token_requests: u64,
    /// Records created through the API, by name.
    pub creates_per_name: BTreeMap<String, u64>,
    /// Create requests received, by name.
    pub create_requests_per_name: BTreeMap<String, u64>,
    /// Delete requests received, by uuid as written.
    pub delete_requests_per_uuid: BTreeMap<String, u64>,
    /// Deletions begun or done through the API, by uuid.
    pub deletes_per_uuid: BTreeMap<String, u64>,
    /// Requests by endpoint.
    pub requests_per_operation: BTreeMap<Operation, u64>,
    /// Reads by virtual minute (Unix time divided by 60).
    pub reads_per_minute: BTreeMap<i64, u64>,
    /// Most requests in work at one time.
    pub max_concurrent: u64,
    /// Requests in work now.
    pub concurrent: u64,
}

/// The ring of entries with its counters.
#[derive(Debug)]
pub(crate) struct Journal {
    started: Instant,
    entries: VecDeque<JournalEntry>,
    capacity: usize,
    last_seq: u64,
    counters: Counters,
}

impl Journal {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            started: Instant::now(),
            entries: VecDeque::new(),
            capacity: capacity.max(1),
            last_seq: 0,
            counters: Counters::default(),
        }
    }

    /// Notes an arrival; the entry's `seq`, `arrival_ms` and `duration_ms` are filled in.
    pub(crate) fn open(&mut self, mut entry: JournalEntry) -> u64 {
        self.last_seq += 1;
        entry.seq = self.last_seq;
        entry.arrival_ms = self.elapsed_ms();
        let counters = &mut self.counters;
        counters.requests += 1;
        counters.concurrent += 1;
        counters.max_concurrent = counters.max_concurrent.max(counters.concurrent);
        if let Some(operation) = entry.operation {
            *counters.requests_per_operation.entry(operation).or_default() += 1;
            count_operation(counters, operation, &entry);
        }
        while self.entries.len() >= self.capacity {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
        self.last_seq
    }

    pub(crate) fn note(&mut self, seq: u64, change: impl FnOnce(&mut JournalEntry)) {
        if let Some(entry) = self.entry(seq) {
            change(entry);
        }
    }

    /// Notes a commit made because of request `seq`.
    pub(crate) fn committed(&mut self, seq: u64, operation: Operation, name: &str, uuids: &[Uuid], at: Timestamp) {
        for uuid in uuids {
            match operation {
                Operation::Create => *self.counters.creates_per_name.entry(name.to_owned()).or_default() += 1,
                Operation::Delete => *self.counters.deletes_per_uuid.entry(uuid.to_string()).or_default() += 1,
                _ => {}
            }
        }
        self.note(seq, |entry| {
            entry.committed = true;
            entry.committed_at = Some(at);
            entry.committed_uuids.extend(uuids);
        });
    }

    /// Notes the end of a request; `status` is `None` if no reply was sent.
    pub(crate) fn close(&mut self, seq: u64, status: Option<u16>, response_bytes: u64) {
        self.counters.concurrent = self.counters.concurrent.saturating_sub(1);
        let now = self.elapsed_ms();
        self.note(seq, |entry| {
            entry.status = status;
            entry.response_bytes = response_bytes;
            entry.duration_ms = now.saturating_sub(entry.arrival_ms);
            entry.finished = true;
        });
    }

    /// Entries after `seq`, oldest first.
    pub(crate) fn since(&self, seq: u64) -> Vec<JournalEntry> {
        self.entries.iter().filter(|entry| entry.seq > seq).cloned().collect()
    }

    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Forgets entries and counters; sequence numbers go on.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        let concurrent = self.counters.concurrent;
        self.counters = Counters { concurrent, max_concurrent: concurrent, ..Counters::default() };
    }

    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity.max(1);
    }

    fn entry(&mut self, seq: u64) -> Option<&mut JournalEntry> {
        let first = self.entries.front()?.seq;
        let index = usize::try_from(seq.checked_sub(first)?).ok()?;
        self.entries.get_mut(index)
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn count_operation(counters: &mut Counters, operation: Operation, entry: &JournalEntry) {
    match operation {
        Operation::Token | Operation::TokenV2 => counters.token_requests += 1,
        Operation::Create => {
            let name = entry.body.as_ref().and_then(|body| body["name"].as_str()).unwrap_or_default();
            *counters.create_requests_per_name.entry(name.to_owned()).or_default() += 1;
        }
        Operation::Delete => {
            let uuid = entry.path_id.clone().unwrap_or_default().to_lowercase();
            *counters.delete_requests_per_uuid.entry(uuid).or_default() += 1;
        }
        Operation::Update => {}
        Operation::List
        | Operation::Get
        | Operation::MinimalList
        | Operation::Minimal
        | Operation::InstallInfo
        | Operation::Metrics => {
            *counters.reads_per_minute.entry(entry.at.as_second().div_euclid(60)).or_default() += 1;
        }
    }
}
