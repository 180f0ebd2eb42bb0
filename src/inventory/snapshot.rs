//! All registrations of one control plane at one time.
//!
//! Owns look-up by uuid and by exact name, lean enough for 10,000 records: two sorted indexes over shared records,
//! and a small overlay for what we wrote since. Must not know where records come from.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use crate::domain::{ClusterUuid, RemoteCluster, TenantId};
use crate::runai::MinimalCluster;

/// A record, or its absence, that is newer than the list.
pub(super) type Overlay = BTreeMap<ClusterUuid, Option<Arc<RemoteCluster>>>;

/// What one list held, with our own later writes in place.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When the list was started: everything before is in it.
    pub started: Instant,
    /// When the list was complete, for people.
    pub taken_at: Timestamp,
    listed: Arc<Listed>,
    overlay: Overlay,
}

#[derive(Debug)]
struct Listed {
    /// Sorted by uuid.
    records: Vec<Arc<RemoteCluster>>,
    /// Positions in `records`, sorted by name.
    by_name: Vec<u32>,
    tenant: Option<TenantId>,
}

/// How many registrations there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// All that are not marked as deleted.
    pub total: usize,
    /// Those of them whose deletion was asked for.
    pub deleting: usize,
}

impl Snapshot {
    pub(super) fn new(started: Instant, taken_at: Timestamp, mut records: Vec<Arc<RemoteCluster>>) -> Self {
        records.sort_unstable_by_key(|record| record.uuid);
        records.shrink_to_fit();
        let mut by_name: Vec<u32> = (0..).take(records.len()).collect();
        by_name.sort_unstable_by(|&a, &b| name_at(&records, a).cmp(name_at(&records, b)));
        let tenant = one_tenant(&records);
        Self { started, taken_at, listed: Arc::new(Listed { records, by_name, tenant }), overlay: Overlay::new() }
    }

    /// Puts one of our own writes in place.
    pub(super) fn overlay(&mut self, uuid: ClusterUuid, record: Option<Arc<RemoteCluster>>) {
        self.overlay.insert(uuid, record);
    }

    /// The tenant of the listed records; `None` when there are none or they differ.
    #[must_use]
    pub fn tenant(&self) -> Option<TenantId> {
        self.listed.tenant
    }

    /// Whether the list held no record at all.
    #[must_use]
    pub fn listed_nothing(&self) -> bool {
        self.listed.records.is_empty()
    }

    /// The registration of that uuid. `None` proves nothing: scope and hidden deletions look the same.
    #[must_use]
    pub fn get(&self, uuid: ClusterUuid) -> Option<&Arc<RemoteCluster>> {
        match self.overlay.get(&uuid) {
            Some(own) => own.as_ref(),
            None => self.listed.get(uuid),
        }
    }

    /// The registrations of exactly that name, deleting ones included.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<RemoteCluster> {
        let listed = &self.listed;
        let from = listed.by_name.partition_point(|&at| name_at(&listed.records, at) < name);
        let same = listed.by_name[from..].iter().filter_map(|&at| listed.records.get(at as usize));
        let old =
            same.take_while(|record| record.name == name).filter(|record| !self.overlay.contains_key(&record.uuid));
        let own = self.overlay.values().flatten().filter(|record| record.name == name);
        old.chain(own).map(|record| RemoteCluster::clone(record)).collect()
    }

    /// All registrations, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<RemoteCluster>> {
        let old = self.listed.records.iter().filter(|record| !self.overlay.contains_key(&record.uuid));
        old.chain(self.overlay.values().flatten())
    }

    /// Whether the minimal list holds just these registrations but those that are being deleted, and says the same of each.
    pub(super) fn agrees(&self, minimal: &[MinimalCluster]) -> bool {
        let same = |one: &MinimalCluster| self.get(one.uuid).is_some_and(|record| one.agrees(record));
        let mut uuids: Vec<_> = minimal.iter().map(|one| one.uuid).collect();
        uuids.sort_unstable();
        uuids.dedup();
        let Counts { total, deleting } = self.counts();
        uuids.len() == total - deleting && minimal.iter().all(same)
    }

    /// The registrations that are being deleted.
    pub(super) fn deleting(&self) -> Vec<ClusterUuid> {
        self.iter().filter(|record| record.is_deleting()).map(|record| record.uuid).collect()
    }

    /// How many registrations there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for record in self.iter().filter(|record| record.deleted_at.is_none()) {
            counts.total += 1;
            counts.deleting += usize::from(record.is_deleting());
        }
        counts
    }
}

impl Listed {
    fn get(&self, uuid: ClusterUuid) -> Option<&Arc<RemoteCluster>> {
        let at = self.records.binary_search_by(|record| record.uuid.cmp(&uuid)).ok()?;
        self.records.get(at)
    }
}

fn name_at(records: &[Arc<RemoteCluster>], at: u32) -> &str {
    records.get(at as usize).map_or("", |record| &record.name)
}

fn one_tenant(records: &[Arc<RemoteCluster>]) -> Option<TenantId> {
    let first = records.first()?.tenant;
    let same = |record: &Arc<RemoteCluster>| record.tenant.cmp(&first) == Ordering::Equal;
    records.iter().all(same).then_some(first)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::super::book::tests::{record, uuid};
    use super::*;

    fn snapshot(records: Vec<RemoteCluster>) -> Snapshot {
        Snapshot::new(Instant::now(), Timestamp::UNIX_EPOCH, records.into_iter().map(Arc::new).collect())
    }

    fn uuids(records: &[RemoteCluster]) -> Vec<ClusterUuid> {
        let mut found: Vec<_> = records.iter().map(|record| record.uuid).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn finds_by_uuid_and_by_exact_name() {
        let snapshot = snapshot(vec![record(3, "b"), record(1, "a"), record(2, "b"), record(4, "B")]);
        assert_eq!(snapshot.get(uuid(1)).unwrap().name, "a");
        assert!(snapshot.get(uuid(9)).is_none());
        assert_eq!(uuids(&snapshot.named("b")), [uuid(2), uuid(3)]);
        assert_eq!(uuids(&snapshot.named("B")), [uuid(4)]);
        assert!(snapshot.named("").is_empty() && snapshot.named("z").is_empty() && snapshot.named("aa").is_empty());
    }

    #[test]
    fn our_own_writes_are_in_place() {
        let mut snapshot = snapshot(vec![record(1, "a"), record(2, "b")]);
        snapshot.overlay(uuid(1), None);
        snapshot.overlay(uuid(2), Some(Arc::new(record(2, "a"))));
        snapshot.overlay(uuid(3), Some(Arc::new(record(3, "a"))));
        assert!(snapshot.get(uuid(1)).is_none());
        assert_eq!(uuids(&snapshot.named("a")), [uuid(2), uuid(3)]);
        assert!(snapshot.named("b").is_empty());
        assert_eq!(snapshot.iter().count(), 2);
        assert_eq!(snapshot.counts(), Counts { total: 2, deleting: 0 });
    }

    #[test]
    fn counts_deleting_and_leaves_out_deleted() {
        let mut deleting = record(1, "a");
        deleting.delete_requested_at = Some(Timestamp::UNIX_EPOCH);
        let mut deleted = deleting.clone();
        deleted.uuid = uuid(2);
        deleted.deleted_at = Some(Timestamp::UNIX_EPOCH);
        let snapshot = snapshot(vec![deleting, deleted, record(3, "c")]);
        assert_eq!(snapshot.counts(), Counts { total: 2, deleting: 1 });
    }

    #[test]
    fn the_tenant_is_known_when_all_records_agree() {
        assert_eq!(snapshot(vec![]).tenant(), None);
        assert!(snapshot(vec![]).listed_nothing());
        assert_eq!(snapshot(vec![record(1, "a"), record(2, "b")]).tenant(), Some(TenantId(1001)));
        let mut foreign = record(3, "c");
        foreign.tenant = TenantId(7);
        assert_eq!(snapshot(vec![record(1, "a"), foreign]).tenant(), None);
    }
}
