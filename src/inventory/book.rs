//! What is known, and how a new list or a write of our own changes it.
//!
//! Owns the rule that a list which started before a write must not undo it, and the merging of short lists into what
//! a full one told. Must not poll, wait or send.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::changes::{Changed, differs, liveness_moved};
use super::snapshot::Snapshot;
use crate::domain::{ClusterUuid, RemoteCluster};
use crate::runai::{Listing, Verbosity};

/// One of our own writes: when its reply was seen, and what it left behind.
#[derive(Debug)]
struct Write {
    seen: Instant,
    record: Option<Arc<RemoteCluster>>,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    snapshot: Option<Arc<Snapshot>>,
    /// Writes that no list has confirmed yet.
    writes: BTreeMap<ClusterUuid, Write>,
    /// The sign of life last told for each registration that ever gave one.
    told: HashMap<ClusterUuid, Timestamp>,
}

impl Book {
    pub(super) fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref()
    }

    /// Takes in a complete list. `None` when it was the first one, else what changed.
    pub(super) fn apply(&mut self, listing: Listing, at: Timestamp, granularity: Duration) -> Option<Vec<Changed>> {
        let Listing { clusters, duplicates: _, started, verbosity } = listing;
        self.writes.retain(|_, write| write.seen >= started);
        let old = self.snapshot.take();
        let mut records = Vec::with_capacity(clusters.len());
        for cluster in clusters.into_iter().filter(|cluster| !self.writes.contains_key(&cluster.uuid)) {
            let before = old.as_ref().and_then(|old| old.get(cluster.uuid));
            let now = match (verbosity, before) {
                (Verbosity::Metadata, Some(before)) => fill(cluster, before),
                (Verbosity::Full, _) | (Verbosity::Metadata, None) => cluster,
            };
            records.push(before.filter(|before| ***before == now).cloned().unwrap_or_else(|| Arc::new(now)));
        }
        records.extend(self.writes.values().filter_map(|write| write.record.clone()));
        let new = Snapshot::new(started, at, records);
        let changed = old.map(|old| self.compare(&old, &new, granularity));
        if changed.is_none() {
            self.told = new.iter().filter_map(|record| Some((record.uuid, record.last_liveness?))).collect();
        }
        self.snapshot = Some(Arc::new(new));
        changed
    }

    fn compare(&mut self, old: &Snapshot, new: &Snapshot, granularity: Duration) -> Vec<Changed> {
        let mut changed = Vec::new();
        for record in new.iter() {
            let before = old.get(record.uuid);
            if before.is_some_and(|before| Arc::ptr_eq(before, record)) {
                continue;
            }
            let told = self.told.get(&record.uuid).copied();
            let moved = liveness_moved(record.uuid, told, record.last_liveness, granularity);
            if moved || before.is_none_or(|before| differs(before, record)) {
                changed.push(Changed::new(record.uuid, before.map(AsRef::as_ref), Some(record)));
                if let Some(alive) = record.last_liveness {
                    self.told.insert(record.uuid, alive);
                }
            }
        }
        for record in old.iter().filter(|record| new.get(record.uuid).is_none()) {
            changed.push(Changed::new(record.uuid, Some(record), None));
            self.told.remove(&record.uuid);
        }
        changed
    }

    /// Puts a record that a reply showed in place.
    pub(super) fn wrote(&mut self, record: RemoteCluster, now: Instant) {
        if let Some(alive) = record.last_liveness {
            self.told.entry(record.uuid).or_insert(alive);
        }
        self.put(record.uuid, Some(Arc::new(record)), now);
    }

    /// Notes that a registration is gone.
    pub(super) fn gone(&mut self, uuid: ClusterUuid, now: Instant) -> Option<Changed> {
        let before = self.current(uuid);
        self.put(uuid, None, now);
        self.told.remove(&uuid);
        before.map(|before| Changed::new(uuid, Some(&before), None))
    }

    /// Changes a known record the way a write of ours did. Nothing to do for one that is not known.
    pub(super) fn edit(
        &mut self,
        uuid: ClusterUuid,
        now: Instant,
        edit: impl FnOnce(&mut RemoteCluster),
    ) -> Option<Changed> {
        let before = self.current(uuid)?;
        let mut after = RemoteCluster::clone(&before);
        edit(&mut after);
        let changed = Changed::new(uuid, Some(&before), Some(&after));
        self.put(uuid, Some(Arc::new(after)), now);
        Some(changed)
    }

    fn current(&self, uuid: ClusterUuid) -> Option<Arc<RemoteCluster>> {
        match self.writes.get(&uuid) {
            Some(write) => write.record.clone(),
            None => self.snapshot.as_ref()?.get(uuid).cloned(),
        }
    }

    fn put(&mut self, uuid: ClusterUuid, record: Option<Arc<RemoteCluster>>, now: Instant) {
        if let Some(snapshot) = &mut self.snapshot {
            Arc::make_mut(snapshot).overlay(uuid, record.clone());
        }
        self.writes.insert(uuid, Write { seen: now, record });
    }
}

/// A short list leaves fields out, and it is not documented which. What it does not tell stays as it was; nothing in
/// here ever becomes untold but by a full list.
fn fill(short: RemoteCluster, known: &RemoteCluster) -> RemoteCluster {
    let RemoteCluster {
        uuid,
        tenant,
        name,
        domain,
        version,
        created_at,
        updated_at,
        last_liveness,
        delete_requested_at,
        deleted_at,
        state,
        platform,
        kubernetes_version,
    } = short;
    RemoteCluster {
        uuid,
        tenant,
        name,
        domain: domain.or_else(|| known.domain.clone()),
        version: version.or_else(|| known.version.clone()),
        created_at,
        updated_at: updated_at.or(known.updated_at),
        last_liveness: last_liveness.or(known.last_liveness),
        delete_requested_at: delete_requested_at.or(known.delete_requested_at),
        deleted_at: deleted_at.or(known.deleted_at),
        state: state.or_else(|| known.state.clone()),
        platform: platform.or_else(|| known.platform.clone()),
        kubernetes_version: kubernetes_version.or_else(|| known.kubernetes_version.clone()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::domain::{ClusterState, TenantId};

    pub(in super::super) fn uuid(n: u128) -> ClusterUuid {
        ClusterUuid(uuid::Uuid::from_u128(n))
    }

    pub(in super::super) fn record(n: u128, name: &str) -> RemoteCluster {
        RemoteCluster {
            uuid: uuid(n),
            tenant: TenantId(1001),
            name: name.to_owned(),
            domain: None,
            version: None,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: None,
            last_liveness: None,
            delete_requested_at: None,
            deleted_at: None,
            state: None,
            platform: None,
            kubernetes_version: None,
        }
    }

    fn connected(n: u128, name: &str, alive: i64) -> RemoteCluster {
        RemoteCluster {
            state: Some(ClusterState::Connected),
            platform: Some("eks".into()),
            last_liveness: Some(Timestamp::from_second(alive).unwrap()),
            ..record(n, name)
        }
    }

    const GRANULARITY: Duration = Duration::from_secs(600);

    struct World {
        book: Book,
        now: Instant,
    }

    impl World {
        fn new(first: Vec<RemoteCluster>) -> Self {
            let mut world = Self { book: Book::default(), now: Instant::now() };
            assert_eq!(world.list(first), None, "the first list tells no changes");
            world
        }

        fn tick(&mut self) -> Instant {
            self.now += Duration::from_secs(1);
            self.now
        }

        fn list_from(
            &mut self,
            started: Instant,
            verbosity: Verbosity,
            clusters: Vec<RemoteCluster>,
        ) -> Option<Vec<Changed>> {
            let listing = Listing { clusters, duplicates: Vec::new(), started, verbosity };
            self.book.apply(listing, Timestamp::UNIX_EPOCH, GRANULARITY)
        }

        fn list(&mut self, clusters: Vec<RemoteCluster>) -> Option<Vec<Changed>> {
            let started = self.tick();
            self.list_from(started, Verbosity::Full, clusters)
        }

        fn get(&self, n: u128) -> Option<RemoteCluster> {
            self.book.snapshot().unwrap().get(uuid(n)).map(|record| RemoteCluster::clone(record))
        }
    }

    fn told(changed: Option<Vec<Changed>>) -> Vec<(u128, Option<String>, Option<String>)> {
        let mut told: Vec<_> = changed
            .expect("not the first list")
            .into_iter()
            .map(|changed| (changed.uuid.0.as_u128(), changed.names.0, changed.names.1))
            .collect();
        told.sort();
        told
    }

    #[test]
    fn tells_what_came_went_and_changed() {
        let mut world = World::new(vec![record(1, "a"), record(2, "b"), record(3, "c")]);
        let changed = world.list(vec![record(1, "a"), record(2, "renamed"), record(4, "d")]);
        let text = |name: &str| Some(name.to_owned());
        assert_eq!(told(changed), [(2, text("b"), text("renamed")), (3, text("c"), None), (4, None, text("d"))]);
        assert!(told(world.list(vec![record(1, "a"), record(2, "renamed"), record(4, "d")])).is_empty());
    }

    #[test]
    fn unchanged_records_are_shared_between_snapshots() {
        let mut world = World::new(vec![record(1, "a")]);
        let before = world.book.snapshot().unwrap().get(uuid(1)).unwrap().clone();
        world.list(vec![record(1, "a")]);
        assert!(Arc::ptr_eq(&before, world.book.snapshot().unwrap().get(uuid(1)).unwrap()));
    }

    #[test]
    fn beating_agents_wake_nobody_until_the_granularity_passed() {
        let mut world = World::new(vec![connected(1, "a", 0)]);
        let mut woken = Vec::new();
        for second in (30..=1800).step_by(30) {
            if !told(world.list(vec![connected(1, "a", second)])).is_empty() {
                woken.push(second);
            }
        }
        assert_eq!(woken.len(), 2, "{woken:?}");
        assert!((600..=750).contains(&woken[0]), "{woken:?}");
        assert_eq!(
            world.get(1).unwrap().last_liveness.unwrap().as_second(),
            1800,
            "the snapshot is exact all the same"
        );
    }

    #[test]
    fn another_change_tells_the_sign_of_life_too() {
        let mut world = World::new(vec![connected(1, "a", 0)]);
        assert_eq!(told(world.list(vec![connected(1, "b", 590)])).len(), 1);
        assert!(told(world.list(vec![connected(1, "b", 1180)])).is_empty(), "counted from what was told last");
    }

    #[test]
    fn a_list_that_started_before_a_write_does_not_undo_it() {
        let mut world = World::new(vec![record(1, "a"), record(2, "b"), record(3, "c")]);
        let started = world.tick();
        let now = world.tick();
        world.book.wrote(record(9, "new"), now);
        world.book.edit(uuid(1), now, |record| record.name = "renamed".into());
        world.book.edit(uuid(2), now, |record| record.delete_requested_at = Some(Timestamp::MAX));
        world.book.gone(uuid(3), now);
        let late = world.list_from(started, Verbosity::Full, vec![record(1, "a"), record(2, "b"), record(3, "c")]);
        assert!(told(late).is_empty(), "nothing is told of an old list");
        assert_eq!(world.get(9).unwrap().name, "new");
        assert_eq!(world.get(1).unwrap().name, "renamed");
        assert!(world.get(2).unwrap().is_deleting());
        assert_eq!(world.get(3), None);
        assert_eq!(world.book.snapshot().unwrap().named("new").len(), 1);
        assert_eq!(world.book.snapshot().unwrap().iter().count(), 3);
    }

    #[test]
    fn a_list_that_started_after_a_write_wins() {
        let mut world = World::new(vec![record(1, "a")]);
        let now = world.tick();
        world.book.wrote(record(9, "new"), now);
        world.book.gone(uuid(1), now);
        let changed = world.list(vec![record(1, "a")]);
        assert_eq!(told(changed).len(), 2);
        assert_eq!((world.get(9), world.get(1).map(|record| record.name)), (None, Some("a".into())));
        assert!(world.book.writes.is_empty(), "settled writes are forgotten");
    }

    #[test]
    fn a_write_before_the_first_list_is_kept() {
        let mut world = World { book: Book::default(), now: Instant::now() };
        let started = world.tick();
        let now = world.tick();
        world.book.wrote(record(9, "new"), now);
        assert!(world.book.snapshot().is_none());
        world.list_from(started, Verbosity::Full, vec![record(1, "a")]);
        assert_eq!(world.book.snapshot().unwrap().iter().count(), 2);
    }

    #[test]
    fn a_short_list_does_not_take_away_what_a_full_one_told() {
        let full = connected(1, "a", 50);
        let mut world = World::new(vec![full.clone()]);
        let short = record(1, "a");
        let started = world.tick();
        assert!(told(world.list_from(started, Verbosity::Metadata, vec![short])).is_empty());
        assert_eq!(world.get(1), Some(full));
        let started = world.tick();
        let changed = world.list_from(started, Verbosity::Metadata, vec![record(1, "renamed"), record(2, "new")]);
        assert_eq!(told(changed).len(), 2);
        assert_eq!(world.get(1).unwrap().platform.as_deref(), Some("eks"));
        assert_eq!(told(world.list(vec![record(1, "renamed"), record(2, "new")])).len(), 1, "a full list does");
    }
}
