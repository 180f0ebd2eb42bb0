//! How fast one control plane may be asked.
//!
//! Owns the adaptive rate: 10/s at first, 5/s more after every healthy second up to 50/s, halved when the control
//! plane complains, back to 10/s after a minute of silence. Must not know what an answer means. The state is pure (time is
//! an argument); the wrapper adds the queue.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::observer::Operation;
use super::sync::lock;

/// Requests per second at first and after [`IDLE`].
const START: f64 = 10.0;
/// Growth per healthy second.
const GROWTH: f64 = 5.0;
/// Ceiling.
const MOST: f64 = 50.0;
/// Floor after repeated complaints.
const LEAST: f64 = 1.0;
/// Largest burst, also at full rate.
const BURST: f64 = 10.0;
/// Silence of the server after which nothing is known of its health any more, whoever asks meanwhile: one that comes
/// back after an outage is not met at full rate.
const IDLE: Duration = Duration::from_secs(60);
/// Bounds for what a server may ask with Retry-After.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A pause up to this long is waited out, a longer one is reported.
const PATIENCE: Duration = Duration::from_secs(1);

const SECOND: Duration = Duration::from_secs(1);

/// Why no permit is to be had right now.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wait {
    /// The next permit grows back after this time.
    Refill(Duration),
    /// The server asked for silence.
    Pause(Duration),
}

#[derive(Debug)]
struct State {
    rate: f64,
    tokens: f64,
    refilled: Instant,
    heard: Instant,
    second: Instant,
    healthy: bool,
    unhealthy: bool,
    slowed: Option<Instant>,
    paused_until: Option<Instant>,
}

impl State {
    fn new(now: Instant) -> Self {
        Self {
            rate: START,
            tokens: BURST,
            refilled: now,
            heard: now,
            second: now,
            healthy: false,
            unhealthy: false,
            slowed: None,
            paused_until: None,
        }
    }

    fn advance(&mut self, now: Instant) {
        if now.saturating_duration_since(self.heard) >= IDLE {
            *self = Self { paused_until: self.paused_until, ..Self::new(now) };
        }
        if now.saturating_duration_since(self.second) >= SECOND {
            if self.healthy && !self.unhealthy {
                self.rate = (self.rate + GROWTH).min(MOST);
            }
            (self.second, self.healthy, self.unhealthy) = (now, false, false);
        }
        let grown = now.saturating_duration_since(self.refilled).as_secs_f64() * self.rate;
        self.tokens = (self.tokens + grown).min(BURST);
        self.refilled = self.refilled.max(now);
    }

    fn pause_left(&self, now: Instant) -> Option<Duration> {
        self.paused_until.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    fn take(&mut self, now: Instant) -> Result<(), Wait> {
        self.advance(now);
        if let Some(left) = self.pause_left(now) {
            return Err(Wait::Pause(left));
        }
        // Adding up small refills loses a little; a hair's breadth must not cost another sleep.
        if self.tokens >= 1.0 - 1e-6 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Wait::Refill(Duration::from_secs_f64((1.0 - self.tokens) / self.rate)))
    }

    /// Takes a permit on credit: those who queue pay for it by waiting a little longer.
    fn take_ahead(&mut self, now: Instant) -> Result<(), Wait> {
        self.advance(now);
        if let Some(left) = self.pause_left(now) {
            return Err(Wait::Pause(left));
        }
        self.tokens -= 1.0;
        Ok(())
    }

    fn answered(&mut self, now: Instant) {
        self.advance(now);
        self.heard = now;
        self.healthy = true;
    }

    /// A 429 or 503. Several within a second are one signal: they answer requests that were sent at the same rate.
    fn complained(&mut self, now: Instant, retry_after: Option<Duration>) {
        self.advance(now);
        self.heard = now;
        self.unhealthy = true;
        if self.slowed.is_none_or(|at| now.saturating_duration_since(at) >= SECOND) {
            self.rate = (self.rate / 2.0).max(LEAST);
            self.tokens = self.tokens.min(0.0);
            self.slowed = Some(now);
        }
        if let Some(pause) = retry_after {
            let until = now + clamp_pause(pause);
            self.paused_until = Some(self.paused_until.map_or(until, |old| old.max(until)));
        }
    }
}

/// What we make of a server's wish for silence.
pub(crate) fn clamp_pause(wish: Duration) -> Duration {
    wish.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

/// The queue in front of one control plane. Each kind of request has its own line, first come, first served, and the lines
/// take turns: whoever registers one cluster does not wait until four hundred others are deleted. A list of registrations
/// may pass, since everybody in the queue is served by it.
#[derive(Debug)]
pub(crate) struct Limiter {
    state: Mutex<State>,
    // Fair locks: whoever holds one is at the head of the line, and of all lines.
    lines: [tokio::sync::Mutex<()>; Operation::ALL.len()],
    turn: tokio::sync::Mutex<()>,
    waiting: AtomicUsize,
    granted: AtomicU64,
}

/// Counts one waiter for as long as it lives, also when its task is cancelled.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Limiter {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State::new(Instant::now())),
            lines: Default::default(),
            turn: tokio::sync::Mutex::default(),
            waiting: AtomicUsize::new(0),
            granted: AtomicU64::new(0),
        }
    }

    /// Waits for its turn. `Err` holds what is left of a pause that is longer than [`PATIENCE`].
    pub(crate) async fn acquire(&self, operation: Operation) -> Result<(), Duration> {
        let _waiting = Waiting::new(&self.waiting);
        let _line = self.lines[operation as usize].lock().await;
        let _turn = self.turn.lock().await;
        self.wait_for(State::take).await
    }

    /// Does not queue; obeys a pause.
    pub(crate) async fn acquire_ahead(&self) -> Result<(), Duration> {
        self.wait_for(State::take_ahead).await
    }

    async fn wait_for(&self, take: impl Fn(&mut State, Instant) -> Result<(), Wait>) -> Result<(), Duration> {
        loop {
            let taken = take(&mut lock(&self.state), Instant::now());
            match taken {
                Ok(()) => {
                    self.granted.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                Err(Wait::Refill(left)) => tokio::time::sleep(left).await,
                Err(Wait::Pause(left)) if left <= PATIENCE => tokio::time::sleep(left).await,
                Err(Wait::Pause(left)) => return Err(left),
            }
        }
    }

    /// An answer that was no complaint.
    pub(crate) fn answered(&self) {
        lock(&self.state).answered(Instant::now());
    }

    /// A 429 or 503.
    pub(crate) fn complained(&self, retry_after: Option<Duration>) {
        lock(&self.state).complained(Instant::now(), retry_after);
    }

    /// How many wait in the queue.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many permits were given so far.
    pub(crate) fn granted(&self) -> u64 {
        self.granted.load(Ordering::Relaxed)
    }

    /// The present rate, in requests per second.
    pub(crate) fn rate(&self) -> f64 {
        lock(&self.state).rate
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Takes as much as is given until `end`, every request answered well; returns how many.
    fn drain(state: &mut State, from: Instant, length: Duration) -> u32 {
        let (mut now, mut taken, mut turns) = (from, 0, 0);
        while now < from + length {
            turns += 1;
            assert!(turns < 10_000, "{taken} permits until {:?}: {state:?}", now - from);
            match state.take(now) {
                Ok(()) => {
                    taken += 1;
                    state.answered(now);
                }
                Err(Wait::Refill(wait) | Wait::Pause(wait)) => now += wait.max(Duration::from_micros(1)),
            }
        }
        taken
    }

    /// Takes what is given at once.
    fn exhaust(state: &mut State, now: Instant) {
        assert!((0..100).any(|_| state.take(now).is_err()), "nothing bounds the burst: {state:?}");
    }

    #[test]
    fn starts_with_a_small_burst_and_then_the_rate() {
        let now = Instant::now();
        let mut state = State::new(now);
        let burst = (0..100).filter(|_| state.take(now).is_ok()).count();
        assert_eq!(burst, 10);
        let Err(Wait::Refill(wait)) = state.take(now) else { panic!("must wait") };
        assert!((ms(99)..=ms(101)).contains(&wait), "{wait:?}");
    }

    #[test]
    fn grows_by_five_per_healthy_second_up_to_fifty() {
        let start = Instant::now();
        let mut state = State::new(start);
        let mut rates = Vec::new();
        for second in 0..12 {
            drain(&mut state, start + SECOND * second, SECOND);
            rates.push(state.rate);
        }
        assert_eq!(rates[0], 10.0);
        assert!(rates.windows(2).all(|pair| pair[1] - pair[0] <= 5.0), "{rates:?}");
        assert_eq!(rates.last(), Some(&50.0), "{rates:?}");
    }

    #[test]
    fn a_second_without_answers_is_not_healthy() {
        let start = Instant::now();
        let mut state = State::new(start);
        for second in 0..30 {
            let _ = state.take(start + SECOND * second);
        }
        assert_eq!(state.rate, 10.0);
    }

    #[test]
    fn is_halved_by_complaints_once_per_second_and_not_below_one() {
        let start = Instant::now();
        let mut state = State::new(start);
        for _ in 0..20 {
            state.complained(start, None);
        }
        assert_eq!(state.rate, 5.0);
        assert!(state.take(start).is_err(), "the burst is gone");
        for second in 1..10 {
            state.complained(start + SECOND * second, None);
        }
        assert_eq!(state.rate, 1.0);
    }

    #[test]
    fn a_second_with_a_complaint_does_not_grow_the_rate() {
        let start = Instant::now();
        let mut state = State::new(start);
        state.complained(start, None);
        state.answered(start + ms(10));
        state.answered(start + ms(1100));
        assert_eq!(state.rate, 5.0);
    }

    #[test]
    fn forgets_after_a_minute_of_silence() {
        let start = Instant::now();
        let mut state = State::new(start);
        drain(&mut state, start, SECOND * 12);
        assert_eq!(state.rate, 50.0);
        state.take(start + SECOND * 73).unwrap();
        assert_eq!(state.rate, 10.0);
    }

    #[test]
    fn requests_that_nobody_answers_do_not_keep_the_rate_up() {
        let start = Instant::now();
        let mut state = State::new(start);
        drain(&mut state, start, SECOND * 12);
        let outage = start + SECOND * 12;
        for probe in 0..60 {
            let _ = state.take_ahead(outage + SECOND * 30 * probe);
        }
        let back = outage + SECOND * 1800;
        assert_eq!(state.rate, 10.0);
        assert!((0..100).filter(|_| state.take(back).is_ok()).count() <= 10, "no more than the burst at once");
    }

    #[test]
    fn retry_after_pauses_everything_within_bounds() {
        let start = Instant::now();
        let table = [(0, 1), (1, 1), (7, 7), (300, 300), (86_400, 300)];
        for (asked, kept) in table {
            let mut state = State::new(start);
            state.complained(start, Some(Duration::from_secs(asked)));
            let Err(Wait::Pause(left)) = state.take(start) else { panic!("must pause") };
            assert_eq!(left, Duration::from_secs(kept), "asked {asked}");
            assert_eq!(state.take_ahead(start), Err(Wait::Pause(left)));
            assert!(state.take(start + left + SECOND).is_ok());
        }
    }

    #[test]
    fn a_shorter_pause_does_not_end_a_longer_one() {
        let start = Instant::now();
        let mut state = State::new(start);
        state.complained(start, Some(SECOND * 60));
        state.complained(start, Some(SECOND));
        assert_eq!(state.pause_left(start), Some(SECOND * 60));
    }

    #[test]
    fn silence_does_not_end_a_pause() {
        let start = Instant::now();
        let mut state = State::new(start);
        state.complained(start, Some(SECOND * 300));
        assert_eq!(state.take(start + SECOND * 61), Err(Wait::Pause(SECOND * 239)));
    }

    #[test]
    fn a_list_passes_the_queue_on_credit() {
        let now = Instant::now();
        let mut state = State::new(now);
        exhaust(&mut state, now);
        assert!(state.take_ahead(now).is_ok());
        let Err(Wait::Refill(wait)) = state.take(now) else { panic!("must wait") };
        assert!(wait > ms(190), "the queue pays for it: {wait:?}");
    }

    #[test]
    fn the_rate_bounds_every_window() {
        let start = Instant::now();
        let mut state = State::new(start);
        let taken = drain(&mut state, start, SECOND * 10);
        // burst + 10 + 15 + ... + 50 + 50
        assert!(taken <= 10 + 10 + 15 + 20 + 25 + 30 + 35 + 40 + 45 + 50 + 50, "{taken}");
        assert!(taken >= 300, "300 objects must fit into ten seconds: {taken}");
    }

    /// A queue that serves nobody must not hang the tests.
    async fn soon<T>(work: impl Future<Output = T>) -> T {
        tokio::time::timeout(SECOND * 10, work).await.expect("half a second is enough")
    }

    /// Callers, each in the queue before the next one comes: their numbers as they are served.
    async fn served(operations: [Operation; 5]) -> Vec<usize> {
        let limiter = std::sync::Arc::new(Limiter::new());
        exhaust(&mut lock(&limiter.state), Instant::now());
        let order = std::sync::Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for (n, operation) in operations.into_iter().enumerate() {
            let (limiter2, order) = (limiter.clone(), order.clone());
            tasks.push(tokio::spawn(async move {
                limiter2.acquire(operation).await.unwrap();
                lock(&order).push(n);
            }));
            while limiter.waiting() <= n {
                tokio::task::yield_now().await;
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!((limiter.waiting(), limiter.granted()), (0, 5));
        lock(&order).clone()
    }

    #[tokio::test]
    async fn serves_in_the_order_of_arrival() {
        assert_eq!(soon(served([Operation::DeleteCluster; 5])).await, [0, 1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn a_create_does_not_wait_for_all_deletions() {
        let operations =
            [0, 1, 2, 3, 4].map(|n| if n < 4 { Operation::DeleteCluster } else { Operation::CreateCluster });
        assert_eq!(soon(served(operations)).await, [0, 4, 1, 2, 3]);
    }

    #[tokio::test]
    async fn a_short_pause_is_waited_out_and_a_long_one_reported() {
        let limiter = Limiter::new();
        let pause = |length| lock(&limiter.state).paused_until = Some(Instant::now() + length);
        pause(ms(20));
        assert_eq!(soon(limiter.acquire(Operation::GetCluster)).await, Ok(()));
        assert_eq!(lock(&limiter.state).pause_left(Instant::now()), None, "it was waited for");
        pause(SECOND * 60);
        for left in [soon(limiter.acquire(Operation::GetCluster)).await, soon(limiter.acquire_ahead()).await] {
            assert!(left.is_err_and(|left| left > SECOND), "{left:?}");
        }
        assert_eq!(limiter.granted(), 1);
    }

    #[tokio::test]
    async fn what_is_granted_and_answered_is_counted() {
        let limiter = Limiter::new();
        assert_eq!((limiter.waiting(), limiter.granted(), limiter.rate()), (0, 0, 10.0));
        soon(limiter.acquire(Operation::GetCluster)).await.unwrap();
        soon(limiter.acquire_ahead()).await.unwrap();
        assert_eq!(limiter.granted(), 2);
        limiter.answered();
        assert!(lock(&limiter.state).healthy);
        limiter.complained(None);
        assert_eq!(limiter.rate(), 5.0);
    }
}
