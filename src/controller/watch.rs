//! A watch that survives everything: it keeps a store in step with the API and tells what changed.
//!
//! Owns recovery. `kube::runtime::watcher` restarts a watch that breaks, but it has one gap: when the API refuses to
//! *start* a watch with HTTP 410, it asks again with the same resourceVersion for ever. So the watcher is built anew,
//! which begins with a list, on every 410, after an API server could not be reached at all, after several failures of
//! whatever kind in a row, and when a refused write shows that the watch has fallen silent: a connection may hang without
//! an error, and kube would wait for minutes.
//! It must not know what is watched or what a change means.
//!
//! Guarantee: whoever follows the changes has seen every object that is in the store, and its disappearance, whether
//! it was deleted under our eyes or while we were not looking. A change is told after the store shows it.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt::{Debug, Display},
    hash::Hash,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use kube::{
    Api, Resource, ResourceExt,
    runtime::{
        reflector::{ObjectRef, Store, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{info, warn};

use crate::telemetry::health::Pulse;

/// Pause after a first failure; doubled with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(800);
/// The longest pause.
const LAST_DELAY: Duration = Duration::from_secs(30);
/// A watch that ran for so long without an error works again. A quiet watch gives no better sign.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// Failures in a row after which the watcher is built anew.
const FAILURES_TO_REBUILD: u32 = 5;
/// Repeated failures are logged no more often than this.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// How often a watch that waits for events without an error says that it lives.
const BEAT_EVERY: Duration = Duration::from_secs(10);
/// How long a watch may take to show what a refused write has told of.
const LAG: Duration = Duration::from_secs(10);
/// An annotation that repeats the whole object; of no use here, and large.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What happened to the watched objects.
#[derive(Clone, Debug)]
pub(crate) enum Change<K> {
    /// The object is new or different. The store has it.
    Applied(Arc<K>),
    /// The object was deleted, as it was when it went. The store does not have it.
    Deleted(Arc<K>),
    /// The object went while nobody looked, as last seen. The store does not have it.
    Vanished(Arc<K>),
    /// A full list was taken in; its changes were told before.
    Resynced,
}

/// A supervised watch, see the module's description.
///
/// `K` may be `PartialObjectMeta<T>`: then only metadata are asked for. One object that cannot be decoded breaks
/// the whole list, so kinds whose schema others may loosen belong into a `kube::core::DeserializeGuard`.
pub(crate) struct Watch<K, F>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    what: &'static str,
    api: Api<K>,
    config: watcher::Config,
    writer: Writer<K>,
    store: Store<K>,
    dyntype: K::DynamicType,
    on_change: F,
    pulse: Option<Pulse>,
    doubt: Arc<Notify>,
    synced: watch::Sender<bool>,
    recovery: Recovery,
    /// Between `Init` and `InitDone`: nothing proves life then but progress.
    listing: bool,
}

impl<K, F> Watch<K, F>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default + Eq + Hash + Clone,
    F: FnMut(Change<K>) + Send,
{
    /// Prepares a watch; `what` names it in the log. `on_change` is called in order and must return quickly.
    pub(crate) fn new(
        what: &'static str,
        api: Api<K>,
        config: watcher::Config,
        writer: Writer<K>,
        on_change: F,
    ) -> Self {
        let store = writer.as_reader();
        Self {
            what,
            api,
            config,
            writer,
            store,
            dyntype: K::DynamicType::default(),
            on_change,
            pulse: None,
            doubt: Arc::default(),
            synced: watch::Sender::new(false),
            recovery: Recovery::default(),
            listing: true,
        }
    }

    /// Beats `pulse` as long as the watch makes progress or waits without an error. Its maximal age should be minutes.
    pub(crate) fn with_pulse(mut self, pulse: Pulse) -> Self {
        self.pulse = Some(pulse);
        self
    }

    /// Whoever learns of a version that the store does not have says so by `doubt`: if no event follows, the watch is built
    /// anew.
    pub(crate) fn with_doubt(mut self, doubt: Arc<Notify>) -> Self {
        self.doubt = doubt;
        self
    }

    /// Turns true when the first list is in the store, and stays so.
    pub(crate) fn synced(&self) -> watch::Receiver<bool> {
        self.synced.subscribe()
    }

    /// Watches until it is dropped.
    pub(crate) async fn run(mut self) -> Infallible {
        loop {
            self.watch_until_rebuild().await;
        }
    }

    /// Runs one watcher until a failure or a doubt asks for a new one.
    async fn watch_until_rebuild(&mut self) {
        let mut events = pin!(watcher(self.api.clone(), self.config.clone()));
        let mut doubted = None;
        loop {
            let event = tokio::select! {
                event = timeout(BEAT_EVERY, events.next()) => event,
                () = self.doubt.notified(), if doubted.is_none() && !self.listing => {
                    doubted = Some(Instant::now() + LAG);
                    continue;
                }
                () = sleep_until(doubted.unwrap_or_else(Instant::now)), if doubted.is_some() => {
                    warn!(what = self.what, "objects have changed and the watch does not say so; building it anew");
                    return;
                }
            };
            let event = match event {
                Ok(Some(event)) => event,
                // The stream never ends by itself; if it did, a new one is right.
                Ok(None) => return,
                Err(_quiet) => {
                    self.quiet();
                    continue;
                }
            };
            match event {
                Ok(event) => {
                    self.take(event);
                    // It lives: what was said before is answered, or will be.
                    doubted = None;
                    let _ = self.doubt.notified().now_or_never();
                }
                Err(error) => {
                    let next = self.recovery.failed(is_gone(&error), Instant::now(), fastrand::f64());
                    self.report(&error);
                    sleep(next.delay).await;
                    self.recovery.resumed(Instant::now());
                    if next.rebuild || is_unreachable(&error) {
                        return;
                    }
                }
            }
        }
    }

    /// A pause without events: a sign of life for a watch, none for a list that does not come.
    fn quiet(&mut self) {
        if self.listing {
            return;
        }
        if self.recovery.settle(Instant::now()) {
            info!(what = self.what, "watch works again");
        }
        if self.recovery.failures == 0 {
            self.beat();
        }
    }

    fn take(&mut self, event: Event<K>) {
        let event = event.modify(strip);
        match event {
            // Said by the watcher itself before it asks the API: no sign of life.
            Event::Init => {
                self.listing = true;
                self.writer.apply_watcher_event(&Event::Init);
                return;
            }
            Event::InitApply(_) => self.writer.apply_watcher_event(&event),
            Event::InitDone => self.resync(),
            Event::Apply(ref object) => {
                let key = self.key(object);
                self.writer.apply_watcher_event(&event);
                self.recovered();
                if let Some(stored) = self.store.get(&key) {
                    (self.on_change)(Change::Applied(stored));
                }
            }
            Event::Delete(ref object) => {
                let last = Arc::new(object.clone());
                self.writer.apply_watcher_event(&event);
                self.recovered();
                (self.on_change)(Change::Deleted(last));
            }
        }
        self.beat();
    }

    /// Puts a complete list into the store and tells in which objects it differs from before.
    fn resync(&mut self) {
        let mut before: HashMap<ObjectRef<K>, Arc<K>> =
            self.store.state().into_iter().map(|object| (self.key(&object), object)).collect();
        self.writer.apply_watcher_event(&Event::InitDone);
        let mut changes = Vec::new();
        for object in self.store.state() {
            match before.remove(&self.key(&object)) {
                Some(known) if known.uid() != object.uid() => {
                    changes.extend([Change::Vanished(known), Change::Applied(object)]);
                }
                Some(known) if known.resource_version() == object.resource_version() => (),
                Some(_) | None => changes.push(Change::Applied(object)),
            }
        }
        let vanished = before.into_values().map(Change::Vanished);
        for change in changes.into_iter().chain(vanished).chain([Change::Resynced]) {
            (self.on_change)(change);
        }
        self.listing = false;
        self.synced.send_replace(true);
    }

    fn key(&self, object: &K) -> ObjectRef<K> {
        ObjectRef::from_obj_with(object, self.dyntype.clone())
    }

    /// An event of the watch itself came: list and watch both work.
    fn recovered(&mut self) {
        if self.recovery.succeeded() {
            info!(what = self.what, "watch works again");
        }
    }

    fn beat(&self) {
        if let Some(pulse) = &self.pulse {
            pulse.beat();
        }
    }

    fn report(&mut self, error: &impl Display) {
        if self.recovery.may_log(Instant::now()) {
            let failures = self.recovery.failures;
            warn!(what = self.what, %error, failures, "watch failed; trying on");
        }
    }
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Next {
    delay: Duration,
    rebuild: bool,
}

/// Counts failures and spaces retries.
///
/// A list that succeeds does not count as a recovery: a watch that is refused after each list would otherwise make
/// us list without a pause.
#[derive(Debug, Default)]
struct Recovery {
    /// Failures since the watch last worked.
    failures: u32,
    /// When the last pause ended.
    resumed: Option<Instant>,
    logged: Option<Instant>,
}

impl Recovery {
    /// Takes in a failure at `now`; `jitter` is in 0..1.
    fn failed(&mut self, gone: bool, now: Instant, jitter: f64) -> Next {
        self.settle(now);
        self.failures = self.failures.saturating_add(1);
        let rebuild = gone || self.failures.is_multiple_of(FAILURES_TO_REBUILD);
        if gone && self.failures == 1 {
            return Next { delay: Duration::ZERO, rebuild };
        }
        let doublings = (self.failures - 1).min(16);
        let delay = FIRST_DELAY.saturating_mul(1 << doublings).min(LAST_DELAY);
        Next { delay: delay.mul_f64(1.0 - 0.25 * jitter), rebuild }
    }

    /// The pause after a failure is over.
    fn resumed(&mut self, now: Instant) {
        self.resumed = Some(now);
    }

    /// Forgets old failures when the watch has run long enough since. Tells whether there were any.
    fn settle(&mut self, now: Instant) -> bool {
        let ran = self.resumed.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        ran >= HEALTHY_AFTER && self.succeeded()
    }

    /// Forgets old failures. Tells whether there were any.
    fn succeeded(&mut self) -> bool {
        self.logged = None;
        std::mem::take(&mut self.failures) > 0
    }

    /// Whether this failure may be logged: the first, and then one in a while.
    fn may_log(&mut self, now: Instant) -> bool {
        let due = self.logged.is_none_or(|at| now.saturating_duration_since(at) >= LOG_EVERY);
        if due {
            self.logged = Some(now);
        }
        due
    }
}

/// Whether the API said that our resourceVersion is too old to go on from, in any of the places where it may say so.
fn is_gone(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status,
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => return false,
    };
    status.code == 410 || status.reason == "Expired" || status.reason == "Gone"
}

/// Whether there was no API server to ask. The one that answers next may have been restored from a backup: it takes a
/// resourceVersion of a lost future without a word, and stays silent until its own have caught up.
const fn is_unreachable(error: &watcher::Error) -> bool {
    use kube::Error::{HyperError, Service};
    matches!(error, watcher::Error::WatchStartFailed(Service(_) | HyperError(_)))
}

/// Drops what only takes memory.
fn strip<K: Resource>(object: &mut K) {
    let metadata = object.meta_mut();
    metadata.managed_fields = None;
    if let Some(annotations) = metadata.annotations.as_mut() {
        annotations.remove(LAST_APPLIED);
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
