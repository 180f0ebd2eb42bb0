//! The one task that lists.
//!
//! Owns the loop "sleep until due, list or glance, take it in, answer who waits, tell what changed". Decisions are `schedule`'s
//! and `book`'s. Must not be reachable but through its handle.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, oneshot, watch};
use tracing::{Instrument, Span};

use super::book::Book;
use super::changes::{Change, Changed};
use super::handle::Health;
use super::schedule::{Due, Options, Schedule};
use super::snapshot::Snapshot;
use crate::runai::sync::lock;
use crate::runai::{ApiError, Listing, RunaiClient, Verbosity};
use crate::telemetry::health::Pulse;
use crate::telemetry::traces;

/// A glance may differ from the list that follows, since both take time and a replica may lag. After so many in a row it
/// is no accident.
const MOST_VAIN: u32 = 3;

/// The minimal list hides registrations that are being deleted: each is looked at by id. With more of them every poll is a
/// full list.
const MOST_DELETING: usize = 4;

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
    /// Whether the list that is due was called for by a glance.
    called: bool,
    /// Glances in a row that called for a list which showed nothing new.
    vain: u32,
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
            called: false,
            vain: 0,
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

    fn span(&self) -> Span {
        traces::poll(&self.client.settings().host())
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

    /// Looks at minimal data, ten times shorter than full: whether anything is new. It never tells what, and is no evidence
    /// of anything: whatever is new or unclear is left to the full list.
    async fn glance(&self) {
        let known = {
            let mut state = self.state();
            state.schedule.started(Instant::now(), self.client.pressure());
            self.client.capabilities().minimal_list
        };
        let seen = self.look().await;
        self.glanced(seen);
        if self.client.capabilities().minimal_list != known {
            self.tell(Change::Capabilities);
        }
    }

    /// Whether everything is as it was; `None` where a glance cannot tell.
    async fn look(&self) -> Result<Option<bool>, ApiError> {
        let known = self.state().book.snapshot().cloned();
        let Some(known) = known else { return Ok(None) };
        let deleting = known.deleting();
        if deleting.len() > MOST_DELETING {
            return Ok(Some(false));
        }
        let Some(minimal) = self.client.minimal().await? else { return Ok(None) };
        // Read again: our own writes may have come in meanwhile, and the list knows them.
        if !self.state().book.snapshot().is_some_and(|known| known.agrees(&minimal)) {
            return Ok(Some(false));
        }
        for uuid in deleting {
            if self.client.minimal_of(uuid).await?.is_none() {
                return Ok(Some(false));
            }
        }
        Ok(Some(true))
    }

    fn glanced(&self, seen: Result<Option<bool>, ApiError>) {
        let mut guard = self.state();
        let state = &mut *guard;
        let now = Instant::now();
        match seen {
            Ok(Some(true)) => {
                state.schedule.glanced(now, fastrand::f64(), &state.options);
                (state.last_success, state.vain) = (Some(now), 0);
            }
            Ok(Some(false)) => {
                state.called = true;
                state.schedule.look_closer(now);
            }
            Ok(None) => {
                state.schedule.stop_glancing(now);
                state.schedule.look_closer(now);
            }
            Err(error) => {
                tracing::debug!(%error, "the minimal list cannot be read");
                state.schedule.look_closer(now);
            }
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
        state.last_success = Some(now);
        let recovered = state.last_error.take().is_some();
        let changed = state.book.apply(listing, Timestamp::now(), state.options.liveness_granularity);
        let snapshot = state.book.snapshot().cloned();
        match &changed {
            Some(changed) if changed.is_empty() && verbosity == Verbosity::Full && state.called => state.vain += 1,
            Some(changed) if changed.is_empty() => {}
            Some(_) | None => state.vain = 0,
        }
        if verbosity == Verbosity::Full {
            state.called = false;
        }
        if state.vain >= MOST_VAIN {
            tracing::debug!("the minimal list differs from the full one for good");
            state.vain = 0;
            state.schedule.stop_glancing(now);
        }
        let calm = snapshot.as_ref().is_some_and(|snapshot| snapshot.deleting().len() <= MOST_DELETING);
        state.schedule.succeeded(verbosity, now, fastrand::f64(), calm, &state.options);
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

/// Polls until told to stop or until no handle is left. `pulse` beats before each look and while there is none to do.
pub(super) async fn run(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>, pulse: Pulse) {
    loop {
        pulse.beat();
        let step = async {
            match shared.due() {
                Due::List(verbosity) => shared.list(verbosity).instrument(shared.span()).await,
                Due::Glance => shared.glance().instrument(shared.span()).await,
                Due::Later(at) => {
                    let beat = Instant::now().checked_add(pulse.rhythm());
                    let at = beat.map_or(at, |beat| beat.min(at));
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
