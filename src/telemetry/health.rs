//! What `/readyz` and `/livez` answer: named gates that open, and named heartbeats that must not stop.
//!
//! Owns the registers and their verdicts. It must not know HTTP, nor what a gate or a heartbeat stands for.

use std::{
    collections::BTreeMap,
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
    beat: Arc<AtomicU64>,
}

/// One heartbeat. Clones are the same heart. Watching ends when the last of them is dropped: a task that ended in
/// good order is not stuck.
#[derive(Clone, Debug)]
pub struct Pulse {
    origin: Instant,
    /// Milliseconds from `origin` to the last beat.
    beat: Arc<AtomicU64>,
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
        let pulse = Pulse { origin: self.origin, beat: Arc::default() };
        pulse.beat();
        let watched = Watched { max_age, beat: Arc::clone(&pulse.beat) };
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), watched);
        pulse
    }

    /// The names of the hearts that stopped, with the time since their last beat. None: alive.
    pub fn stale(&self) -> Vec<(String, Duration)> {
        let now = self.origin.elapsed();
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|_, watched| Arc::strong_count(&watched.beat) > 1);
        let age = |watched: &Watched| now.saturating_sub(Duration::from_millis(watched.beat.load(Ordering::Relaxed)));
        watched
            .iter()
            .filter(|(_, watched)| age(watched) > watched.max_age)
            .map(|(name, watched)| (name.clone(), age(watched)))
            .collect()
    }
}

impl Pulse {
    /// Says that the watched work went on just now.
    pub fn beat(&self) {
        let now = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat.store(now, Ordering::Relaxed);
    }

    /// When it last beat, counted from a fixed moment of this process.
    #[cfg(test)]
    pub(crate) fn last(&self) -> Duration {
        Duration::from_millis(self.beat.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
