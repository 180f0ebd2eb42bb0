//! What all passes share: clients, claims, and what the process remembers of each object.
//!
//! Owns what is known of each object, and when it may be looked at again. Must not know what a pass does.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, ResourceExt};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Mutex as AsyncMutex, Notify};

use crate::api::{
    CLUSTER_UUID, CREATE_PENDING, DEFAULT_CONTROL_PLANE, Lenient, RECONCILE_REQUESTED_AT, REGISTERED_WITH, Watched,
};
use crate::domain::claims::{Holding, NameClaim};
use crate::domain::plan::claimed;
use crate::domain::{Claim, Claims, ClusterUuid, Memory, ObjectKey, Recorded};
use crate::telemetry::metrics::Metrics;

use super::crd_guard::CrdGuard;
use super::events::Events;
use super::lease::Leadership;
use super::notes;
use super::planes::Planes;
use super::publish::Reading;
use super::rooms::Rooms;
use super::secrets::Secrets;
use super::settings::Settings;
use super::signer::Signer;
use super::status;
use super::sync::lock;
use super::watch::Change;

mod waking;

/// Shared by all passes.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    pub(crate) leadership: Leadership,
    pub(crate) signer: Signer,
    pub(crate) planes: Planes,
    pub(crate) claims: Mutex<Claims>,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    pub(crate) crd: CrdGuard,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) rooms: Rooms,
    pub(crate) secrets: Secrets,
    /// The registrations of objects that were gone too soon: what fails on such an object and what hears of its end would
    /// both delete them.
    pub(crate) cleaned_up: AsyncMutex<HashSet<ClusterUuid>>,
    entries: Mutex<HashMap<ObjectKey, Entry>>,
}

/// The objects of one watched namespace, or of all.
#[derive(Debug)]
pub(crate) struct Lane {
    /// `None`: all namespaces.
    pub(crate) namespace: Option<String>,
    pub(crate) store: Store<Watched>,
    pub(crate) queue: UnboundedSender<ObjectRef<Watched>>,
    /// Told when the watch lags.
    pub(crate) doubt: Arc<Notify>,
}

/// What is kept of one object.
#[derive(Debug, Default)]
struct Entry {
    /// The object's UID: a pass over an object that has gone says nothing about the next one of that name.
    uid: Option<String>,
    memory: Memory,
    /// And of its install credentials.
    reading: Reading,
    /// The reply to our last write, as long as it may be newer than the store.
    newest: Option<Arc<Watched>>,
    /// No pass before this moment, unless the object differs from this.
    hold: Option<(Instant, u64)>,
    /// Our finalizer is off: nothing is left to do, whatever the store still shows.
    released: bool,
    /// Woken since the pass began: whatever it found, the next one must not wait.
    woken: bool,
    /// What an object that is not in step waits for.
    waits_for: Option<(Option<ClusterUuid>, Option<String>)>,
}

/// What a pass starts from.
#[allow(clippy::large_enum_variant, reason = "made and taken apart at once")]
pub(crate) enum Start {
    /// Not now: come back after this long.
    Held(Duration),
    /// Not any more: the object is gone or let go.
    Over,
    /// The newest object known, and the memory of it.
    Go(Arc<Watched>, Memory),
}

impl Context {
    #[allow(clippy::too_many_arguments, reason = "called once")]
    pub(crate) fn new(
        client: Client,
        settings: Settings,
        leadership: Leadership,
        signer: Signer,
        planes: Planes,
        metrics: Metrics,
        lanes: Vec<Lane>,
    ) -> Self {
        Self {
            events: Events::new(client.clone()),
            crd: CrdGuard::new(client.clone()),
            secrets: Secrets::new(client.clone(), lanes.len()),
            client,
            rooms: Rooms::new(settings.concurrency),
            settings,
            leadership,
            signer,
            planes,
            claims: Mutex::default(),
            metrics,
            lanes,
            cleaned_up: AsyncMutex::default(),
            entries: Mutex::default(),
        }
    }

    // ---- changes ----

    /// Takes in a change of an object, and wakes it unless it is the echo of our own write.
    pub(crate) fn object_changed(&self, change: Change<Watched>) {
        match change {
            Change::Applied(object) => {
                let key = notes::key_of(&object);
                let (memory, echo) = {
                    let mut entries = lock(&self.entries);
                    let entry = entries.entry(key.clone()).or_default();
                    entry.uid.clone_from(&object.metadata.uid);
                    let echo = entry.newest.as_ref().is_some_and(|newest| !is_newer(&object, newest));
                    // The store has caught up: one copy of each object is enough.
                    if !entry.newest.as_ref().is_some_and(|newest| is_newer(newest, &object)) {
                        entry.newest = None;
                    }
                    (entry.memory.clone(), echo)
                };
                if echo {
                    return;
                }
                self.index(&object, &notes::read(&object, &self.signer, &memory), &memory);
                if let Some(status) = object.status() {
                    self.metrics.object(&key.namespace, &key.name, Some(&status::metrics(status)));
                }
                self.enqueue(&key);
            }
            Change::Deleted(object) | Change::Vanished(object) => self.forget(&object),
            Change::Resynced => self.resynced(),
        }
    }

    /// A list is what the API server holds: one whose store was put back to an older state knows nothing of our last
    /// writes, and they do not count any more.
    fn resynced(&self) {
        let mut entries = lock(&self.entries);
        let ahead: Vec<_> = entries
            .iter_mut()
            .filter_map(|(key, entry)| {
                let written = entry.newest.take().is_some();
                (std::mem::take(&mut entry.released) || written).then(|| key.clone())
            })
            .collect();
        drop(entries);
        for key in ahead {
            self.enqueue(&key);
        }
    }

    /// An object is gone: what it held may be free now, and others may wait for it.
    fn forget(&self, object: &Watched) {
        let key = notes::key_of(object);
        lock(&self.entries).remove(&key);
        let claim = {
            let mut claims = lock(&self.claims);
            let claim = claims.get(&key).cloned().unwrap_or_default();
            claims.set(&key, None);
            claim
        };
        self.metrics.object(&key.namespace, &key.name, None);
        let registered = object.status().and_then(|status| status.name.as_deref());
        let intended = claim.name.as_ref().map(|claim| claim.name.as_str());
        let names = registered.into_iter().chain(intended).collect();
        self.wake_waiting(&key, &claim.holds.iter().map(|held| held.uuid).collect(), &names);
    }

    /// Keeps the claims of an object in step with its notes. Others may wait for a name that it claims no longer, and
    /// nothing else may tell them: it may not be registered, and the news that it was may have come earlier.
    pub(crate) fn index(&self, object: &Watched, recorded: &Recorded, memory: &Memory) {
        let name = recorded.intent.as_ref().map(|intent| NameClaim {
            origin: intent.origin.clone(),
            tenant: intent.tenant,
            name: intent.name.clone(),
        });
        let (key, claim) = (notes::key_of(object), claim(object, claimed(recorded, memory), name));
        let released = {
            let mut claims = lock(&self.claims);
            let before = claims.get(&key).and_then(|before| before.name.clone());
            let released = before.filter(|name| claim.name.as_ref() != Some(name));
            claims.set(&key, Some(claim));
            released
        };
        if let Some(released) = released {
            self.wake_waiting(&key, &HashSet::new(), &HashSet::from([released.name.as_str()]));
        }
    }

    // ---- objects ----

    /// The objects in the store, or those of one control plane.
    pub(crate) fn objects(&self, control_plane: Option<&str>) -> Vec<Arc<Watched>> {
        let all = self.lanes.iter().flat_map(|lane| lane.store.state());
        all.filter(|object| control_plane.is_none_or(|name| control_plane_of(object) == name)).collect()
    }

    // ---- passes ----

    /// Begins a pass over the newest version that is known: what the queue handed over may be older by now.
    pub(crate) fn begin(&self, key: &ObjectKey) -> Start {
        let mut entries = lock(&self.entries);
        let stored = self.lane(key).and_then(|lane| lane.store.get(&reference(key)));
        let (Some(object), Some(entry)) = (stored, entries.get_mut(key)) else { return Start::Over };
        if entry.released {
            return Start::Over;
        }
        let object = match entry.newest.take() {
            Some(newest) if !is_newer(&object, &newest) => {
                entry.newest = Some(Arc::clone(&newest));
                newest
            }
            Some(_) | None => object,
        };
        if let Some((until, unless)) = entry.hold {
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() && unless == fingerprint(&object) {
                return Start::Held(left);
            }
            entry.hold = None;
        }
        entry.woken = false;
        Start::Go(object, entry.memory.clone())
    }

    /// A write was refused since the API has another version than `object`, or none. Tells whether the store has not seen
    /// that yet; then its watch has to prove that it lives.
    pub(crate) fn overtaken(&self, key: &ObjectKey, object: &Watched) -> bool {
        let Some(lane) = self.lane(key) else { return false };
        let lags = lane.store.get(&reference(key)).is_some_and(|stored| !is_newer(&stored, object));
        if lags {
            lane.doubt.notify_one();
        }
        lags
    }

    /// Changes what is remembered of exactly this object.
    fn remember(&self, key: &ObjectKey, object: &Watched, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = lock(&self.entries).get_mut(key).filter(|entry| entry.uid == object.metadata.uid) {
            change(entry);
        }
    }

    /// Keeps what a pass learned, whether it came to an end or not.
    pub(crate) fn keep(&self, key: &ObjectKey, object: &Arc<Watched>, memory: &Memory) {
        let stored = self.lane(key).and_then(|lane| lane.store.get(&reference(key)));
        self.remember(key, object, |entry| {
            entry.memory.clone_from(memory);
            let ahead = stored.is_none_or(|stored| is_newer(object, &stored));
            if ahead && entry.newest.as_ref().is_none_or(|newest| is_newer(object, newest)) {
                entry.newest = Some(Arc::clone(object));
            }
        });
    }

    /// What is remembered of exactly this object.
    pub(crate) fn memory(&self, key: &ObjectKey, object: &Watched) -> Option<Memory> {
        let entries = lock(&self.entries);
        entries.get(key).filter(|entry| entry.uid == object.metadata.uid).map(|entry| entry.memory.clone())
    }

    /// What is remembered of the install credentials.
    pub(crate) fn reading(&self, key: &ObjectKey) -> Reading {
        lock(&self.entries).get(key).map(|entry| entry.reading.clone()).unwrap_or_default()
    }

    /// Remembers it.
    pub(crate) fn keep_reading(&self, key: &ObjectKey, object: &Watched, reading: &Reading) {
        self.remember(key, object, |entry| entry.reading.clone_from(reading));
    }

    /// Begins to listen for news of a uuid and a name. Before the pass looks: what comes while it works is not lost.
    pub(crate) fn listen(&self, key: &ObjectKey, object: &Watched, question: (Option<ClusterUuid>, Option<String>)) {
        self.remember(key, object, |entry| entry.waits_for = Some(question));
    }

    /// Ends the last pass: the finalizer is off.
    pub(crate) fn released(&self, key: &ObjectKey, object: &Watched) {
        self.remember(key, object, |entry| entry.released = true);
    }

    fn lane(&self, key: &ObjectKey) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace))
    }

    /// Ends a pass: no next one before `wait` has passed unless the object changes, and what it waits for.
    pub(crate) fn end(
        &self,
        key: &ObjectKey,
        object: &Watched,
        wait: Option<Duration>,
        waits_for: Option<(Option<ClusterUuid>, Option<String>)>,
    ) {
        self.remember(key, object, |entry| {
            entry.hold = wait.filter(|_| !entry.woken).map(|wait| (Instant::now() + wait, fingerprint(object)));
            entry.waits_for = waits_for;
        });
    }
}

fn reference(key: &ObjectKey) -> ObjectRef<Watched> {
    ObjectRef::new(&key.name).within(&key.namespace)
}

/// A claim of `object`.
pub(crate) fn claim(object: &Watched, holds: Option<Holding>, name: Option<NameClaim>) -> Claim {
    Claim {
        created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
        uid: object.uid().unwrap_or_default(),
        holds,
        name,
    }
}

/// The control plane that an object refers to, also if the rest of its spec cannot be read.
pub(crate) fn control_plane_of(object: &Watched) -> &str {
    match &object.spec {
        Lenient::Ok(spec) => &spec.control_plane_ref.name,
        Lenient::Err(bad) => {
            bad.raw.pointer("/controlPlaneRef/name").and_then(|name| name.as_str()).unwrap_or(DEFAULT_CONTROL_PLANE)
        }
    }
}

/// Whether `a` is a later version than `b`. Kubernetes orders resourceVersions as numbers (KEP-5504); should one not be
/// a number, the store is believed.
fn is_newer(a: &Watched, b: &Watched) -> bool {
    let number = |object: &Watched| object.resource_version().and_then(|version| version.parse::<u64>().ok());
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a > b,
        (_, _) => true,
    }
}

/// Changes of these end a back-off: they are somebody's doing, not the echo of our status.
fn fingerprint(object: &Watched) -> u64 {
    let mut hasher = DefaultHasher::new();
    object.metadata.generation.hash(&mut hasher);
    object.is_deleted().hash(&mut hasher);
    object.finalizers().hash(&mut hasher);
    for name in [CLUSTER_UUID, REGISTERED_WITH, CREATE_PENDING, RECONCILE_REQUESTED_AT] {
        object.annotations().get(name).hash(&mut hasher);
    }
    object.status().and_then(|status| status.uuid).hash(&mut hasher);
    hasher.finish()
}
