//! What `/readyz` and `/livez` answer: named gates that open, and named heartbeats that must not stop.
//!
//! Owns the registers and their verdicts. It must not know HTTP, nor what a gate or a heartbeat stands for.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The gates that must be open before the process is ready. Clones share the gates.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    gates: Arc<Mutex<BTreeMap<String, Gate>>>,
}

/// One condition of readiness. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate {
    open: Arc<AtomicBool>,
}

impl Readiness {
    /// The gate of that name; closed when it is new.
    pub fn gate(&self, name: &str) -> Gate {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.entry(name.to_owned()).or_insert_with(|| Gate { open: Arc::default() }).clone()
    }

    /// The names of the closed gates, sorted. None: ready.
    pub fn closed(&self) -> Vec<String> {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.iter().filter(|(_, gate)| !gate.is_open()).map(|(name, _)| name.clone()).collect()
    }
}

impl Gate {
    /// This part is ready.
    pub fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    /// This part is not ready, or not any more.
    pub fn close(&self) {
        self.open.store(false, Ordering::Relaxed);
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }
}

/// The heartbeats without which the process counts as stuck. Clones share them.
#[derive(Clone, Debug)]
pub struct Liveness {
    origin: Instant,
    watched: Arc<Mutex<BTreeMap<String, Watched>>>,
}

#[derive(Debug)]
struct Watched {
    max_age: Duration,
    heart: Arc<Heart>,
}

#[derive(Debug, Default)]
struct Heart {
    /// Milliseconds from the origin to the last beat.
    beat: AtomicU64,
    /// Its task panicked: it will not beat again.
    broken: AtomicBool,
}

/// A heart that stopped.
#[derive(Clone, Debug)]
pub struct Stopped {
    /// What it was called.
    pub name: String,
    /// The time since its last beat.
    pub age: Duration,
    /// Its task panicked.
    pub panicked: bool,
}

/// One heartbeat. Clones are the same heart. Watching ends when the last of them is dropped: a task that ended in
/// good order is not stuck. One that panics drops it too, and counts as stuck from then on.
#[derive(Clone, Debug)]
pub struct Pulse {
    origin: Instant,
    max_age: Duration,
    heart: Arc<Heart>,
}

impl Default for Liveness {
    fn default() -> Self {
        Self { origin: Instant::now(), watched: Arc::default() }
    }
}

impl Liveness {
    /// Watches a heart that must beat at least every `max_age`; its first beat is now.
    /// A name that is watched already is watched anew, and the older pulse counts no more.
    pub fn watch(&self, name: &str, max_age: Duration) -> Pulse {
        let pulse = Pulse { origin: self.origin, max_age, heart: Arc::default() };
        pulse.beat();
        let watched = Watched { max_age, heart: Arc::clone(&pulse.heart) };
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), watched);
        pulse
    }

    /// The hearts that stopped, by name. None: alive.
    pub fn stale(&self) -> Vec<Stopped> {
        let now = self.origin.elapsed();
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|_, watched| watched.heart.is_broken() || Arc::strong_count(&watched.heart) > 1);
        let stopped = |(name, Watched { max_age, heart }): (&String, &Watched)| {
            let (age, panicked) = (now.saturating_sub(heart.last()), heart.is_broken());
            (panicked || age > *max_age).then(|| Stopped { name: name.clone(), age, panicked })
        };
        watched.iter().filter_map(stopped).collect()
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.panicked { "panicked, " } else { "" };
        write!(f, "{} ({how}last seen {} s ago)", self.name, self.age.as_secs())
    }
}

impl Heart {
    fn last(&self) -> Duration {
        Duration::from_millis(self.beat.load(Ordering::Relaxed))
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }
}

impl Default for Pulse {
    /// A heart that nobody watches.
    fn default() -> Self {
        Self { origin: Instant::now(), max_age: Duration::MAX, heart: Arc::default() }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.heart.broken.store(true, Ordering::Relaxed);
        }
    }
}

impl Pulse {
    /// Says that the watched work went on just now.
    pub fn beat(&self) {
        let now = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heart.beat.store(now, Ordering::Relaxed);
    }

    /// How often somebody who merely waits has to beat: well within the maximal age.
    #[must_use]
    pub fn rhythm(&self) -> Duration {
        self.max_age / 4
    }

    /// When it last beat, counted from a fixed moment of this process.
    #[cfg(test)]
    pub(crate) fn last(&self) -> Duration {
        self.heart.last()
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
