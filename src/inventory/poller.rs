//! The one task that lists.
//!
//! Owns the loop "sleep until due, list, take it in, answer who waits, tell what changed". Decisions are `schedule`'s
//! and `book`'s. Must not be reachable but through its handle.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, oneshot, watch};

use super::book::Book;
use super::changes::{Change, Changed};
use super::handle::Health;
use super::schedule::{Due, Options, Schedule};
use super::snapshot::Snapshot;
use crate::runai::sync::lock;
use crate::runai::{ApiError, Listing, RunaiClient, Verbosity};

/// Somebody who waits for a list that starts after `since`.
pub(super) struct Waiter {
    pub(super) since: Instant,
    pub(super) answer: oneshot::Sender<Result<Arc<Snapshot>, ApiError>>,
}

/// What handle and poller share.
pub(super) struct Shared {
    pub(super) client: RunaiClient,
    pub(super) wake: Notify,
    state: Mutex<State>,
    changes: UnboundedSender<Change>,
}

pub(super) struct State {
    pub(super) book: Book,
    pub(super) waiters: Vec<Waiter>,
    options: Options,
    schedule: Schedule,
    created: Instant,
    last_success: Option<Instant>,
    last_error: Option<Arc<ApiError>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inventory").field("client", &self.client).finish_non_exhaustive()
    }
}

impl State {
    pub(super) fn health(&self, now: Instant) -> Health {
        let age = self.last_success.map(|at| now.saturating_duration_since(at));
        let silent = age.unwrap_or_else(|| now.saturating_duration_since(self.created));
        Health {
            last_success: age,
            last_error: self.last_error.clone(),
            consecutive_failures: self.schedule.failures(),
            stale: silent > self.options.stale_after(),
        }
    }

    /// While listing pauses after a failure, that failure is the answer to everybody.
    pub(super) fn cached_error(&self, now: Instant) -> Option<ApiError> {
        self.last_error.as_ref().filter(|_| self.schedule.pausing(now)).map(|error| ApiError::clone(error))
    }
}

impl Shared {
    pub(super) fn new(client: RunaiClient, options: Options, changes: UnboundedSender<Change>) -> Self {
        let now = Instant::now();
        let state = State {
            book: Book::default(),
            waiters: Vec::new(),
            options,
            schedule: Schedule::new(now),
            created: now,
            last_success: None,
            last_error: None,
        };
        Self { client, wake: Notify::new(), state: Mutex::new(state), changes }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn set_options(&self, options: Options) {
        let mut state = self.state();
        state.options = options;
        state.schedule.changed(&options);
        drop(state);
        self.wake.notify_one();
    }

    /// Nobody listening is fine: the operator is going down.
    pub(super) fn tell(&self, change: Change) {
        let _ = self.changes.send(change);
    }

    pub(super) fn tell_records(&self, changed: Vec<Changed>) {
        if !changed.is_empty() {
            self.tell(Change::Records(changed));
        }
    }

    fn due(&self) -> Due {
        let pressure = self.client.pressure();
        let state = self.state();
        let wanted = !state.waiters.is_empty();
        state.schedule.due(Instant::now(), wanted, pressure, &state.options)
    }

    async fn list(&self, verbosity: Verbosity) {
        let began = Instant::now();
        let failing = {
            let mut state = self.state();
            state.schedule.started(began, self.client.pressure());
            state.schedule.failures() > 0
        };
        // While listing fails, each poll is one request: the pauses between polls grow, not their weight.
        let listed = if failing { self.client.list_once(verbosity).await } else { self.client.list(verbosity).await };
        match listed {
            Ok(listing) => self.succeeded(listing),
            Err(error) => self.failed(began, error),
        }
    }

    fn succeeded(&self, listing: Listing) {
        let (started, verbosity) = (listing.started, listing.verbosity);
        if !listing.duplicates.is_empty() {
            tracing::debug!(count = listing.duplicates.len(), "registrations were listed twice under one uuid");
        }
        let mut guard = self.state();
        let state = &mut *guard;
        let now = Instant::now();
        state.schedule.succeeded(verbosity, now, fastrand::f64(), &state.options);
        state.last_success = Some(now);
        let recovered = state.last_error.take().is_some();
        let changed = state.book.apply(listing, Timestamp::now(), state.options.liveness_granularity);
        let snapshot = state.book.snapshot().cloned();
        let served: Vec<Waiter> = state.waiters.extract_if(.., |waiter| waiter.since <= started).collect();
        drop(guard);
        if let Some(snapshot) = snapshot {
            for waiter in served {
                let _ = waiter.answer.send(Ok(snapshot.clone()));
            }
        }
        if recovered {
            self.tell(Change::Health { ok: true, error: None });
        }
        match changed {
            None => self.tell(Change::Ready),
            Some(changed) => self.tell_records(changed),
        }
    }

    fn failed(&self, began: Instant, error: ApiError) {
        let mut guard = self.state();
        let state = &mut *guard;
        state.schedule.failed(Instant::now(), fastrand::f64(), error.retry_after(), &state.options);
        let shared = Arc::new(error);
        let first = state.last_error.replace(shared.clone()).is_none();
        // Whoever came while the list was under way would have had to wait for the next one, which pauses now.
        let served = std::mem::take(&mut state.waiters);
        drop(guard);
        tracing::debug!(error = %shared, took = ?began.elapsed(), "listing failed");
        for waiter in served {
            let _ = waiter.answer.send(Err(ApiError::clone(&shared)));
        }
        if first {
            self.tell(Change::Health { ok: false, error: Some(shared) });
        }
    }
}

/// Polls until told to stop or until no handle is left.
pub(super) async fn run(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    loop {
        let step = async {
            match shared.due() {
                Due::List(verbosity) => shared.list(verbosity).await,
                Due::Later(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at.into()) => {}
                        () = shared.wake.notified() => {}
                    }
                }
            }
        };
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => break,
            () = step => {}
        }
    }
    // Their senders drop, which tells them.
    shared.state().waiters.clear();
}
