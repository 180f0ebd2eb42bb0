//! Changes of registrations and their commit.
//!
//! Owns the effect of POST, PUT and DELETE. Must not know HTTP, faults or how a request got here.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::config::{Config, GetAfter};
use crate::fault::FaultAction;
use crate::record::Record;
use crate::render::{self, Style, Verbosity};
use crate::reply::Reply;
use crate::route::Operation;
use crate::state::State;
use crate::validate::NewCluster;
use crate::version::Version;

/// A validated change by somebody who may make it.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Create { tenant: i32, cluster: NewCluster, copies: usize },
    Update { uuid: Uuid, name: String },
    Delete { uuid: Uuid, force: bool, faults: Vec<FaultAction> },
}

impl State {
    /// Carries out a change, notes it in the journal under `seq`, and says what the client would see.
    pub(crate) fn commit(&mut self, change: &Change, seq: u64, now: Timestamp) -> Reply {
        match change {
            Change::Create { tenant, cluster, copies } => self.create(*tenant, cluster, *copies, seq, now),
            Change::Update { uuid, name } => self.update(*uuid, name, seq, now),
            Change::Delete { uuid, force, faults } => self.delete(*uuid, *force, faults, seq, now),
        }
    }

    fn create(&mut self, tenant: i32, cluster: &NewCluster, copies: usize, seq: u64, now: Timestamp) -> Reply {
        let config = Arc::clone(&self.config);
        if self.store.name_taken(tenant, &cluster.name, None, now, &config) {
            return Reply::message(config.names.conflict_status, "a cluster with this name exists already");
        }
        if config.requests.max_clusters.is_some_and(|most| self.tenant_size(tenant) >= most) {
            return Reply::message(403, "the licence allows no more clusters");
        }
        let copies = if self.names_are_unique() { 1 } else { copies.max(1) };
        let mut uuids = Vec::with_capacity(copies);
        for _ in 0..copies {
            let mut record = self.new_record(tenant, &cluster.name, now);
            record.domain.clone_from(&cluster.domain);
            record.requested_version.clone_from(&cluster.version);
            self.auto_start(&mut record);
            uuids.push(record.uuid);
            self.store.insert(record, now);
        }
        self.journal.committed(seq, Operation::Create, &cluster.name, &uuids, now);
        let caps = self.caps;
        let style = Style { config: &config, caps: &caps, now };
        let mut body = String::new();
        if let Some(record) = uuids.first().and_then(|uuid| self.store.observe(*uuid)) {
            render::cluster(&mut body, record, Verbosity::Full, style);
        }
        Reply::json(201, body)
    }

    fn tenant_size(&self, tenant: i32) -> usize {
        let ids = self.store.live_ids();
        ids.iter().filter_map(|uuid| self.store.get(*uuid)).filter(|record| record.tenant_id == tenant).count()
    }

    fn update(&mut self, uuid: Uuid, name: &str, seq: u64, now: Timestamp) -> Reply {
        let config = Arc::clone(&self.config);
        let Some(record) = self.store.get(uuid).filter(|record| !record.is_deleted()) else {
            return not_found();
        };
        if record.is_deleting() && config.delete.put_during != 204 {
            return Reply::message(config.delete.put_during, "the cluster is being deleted");
        }
        if self.store.name_taken(record.tenant_id, name, Some(uuid), now, &config) {
            return Reply::message(config.names.conflict_status, "a cluster with this name exists already");
        }
        self.store.edit(uuid, now, |record| {
            name.clone_into(&mut record.name);
            record.touch(now);
        });
        self.journal.committed(seq, Operation::Update, name, &[uuid], now);
        Reply::no_content()
    }

    fn delete(&mut self, uuid: Uuid, force: bool, faults: &[FaultAction], seq: u64, now: Timestamp) -> Reply {
        let config = Arc::clone(&self.config);
        let Some(record) = self.store.get(uuid).filter(|record| !record.is_deleted()) else {
            return unknown_delete(&config);
        };
        let name = record.name.clone();
        let instant = (force && self.caps.graceful_delete) || !self.deletes_gracefully(record, now);
        if instant {
            self.store.edit(uuid, now, |record| record.delete(now));
            self.journal.committed(seq, Operation::Delete, &name, &[uuid], now);
            return Reply::no_content();
        }
        if record.is_deleting() && config.delete.repeat != 202 {
            return Reply::message(config.delete.repeat, "the cluster is being deleted already");
        }
        let repeated = record.is_deleting();
        self.store.edit(uuid, now, |record| {
            record.request_deletion(now);
            for fault in faults {
                record.deletion.obey(fault);
            }
        });
        if !repeated {
            self.journal.committed(seq, Operation::Delete, &name, &[uuid], now);
        }
        // With a graceful time of zero it is gone at once, but the answer is the same.
        self.store.settle(now, &config);
        Reply::message(202, "deletion of the cluster has begun")
    }

    /// By the version that the cluster reported, else the one asked for.
    fn deletes_gracefully(&self, record: &Record, now: Timestamp) -> bool {
        let version = record.version(now, &self.config).and_then(Version::parse);
        let graceful = version.map_or(self.config.delete.null_version == 202, |known| known >= Version::new(2, 20));
        self.caps.graceful_delete && (graceful || record.is_deleting())
    }

    /// Whether a read by id finds this record.
    pub(crate) fn readable(&self, record: &Record) -> bool {
        let delete = &self.config.delete;
        match (record.is_deleted(), record.is_deleting()) {
            (true, _) => delete.get_after == GetAfter::Tombstone,
            (false, true) => delete.get_during == 200,
            (false, false) => true,
        }
    }
}

/// The answer to a DELETE of an id that the caller cannot see.
pub(crate) fn unknown_delete(config: &Config) -> Reply {
    match config.delete.unknown_id {
        204 => Reply::no_content(),
        404 => not_found(),
        other => Reply::message(other, "cluster could not be deleted"),
    }
}

pub(crate) fn not_found() -> Reply {
    Reply::message(404, "no cluster with this id")
}
