//! When the next list is due, and which kind.
//!
//! Owns the poll interval, the spacing of fresh lists and the pause after failures. Pure: time, chance and the state
//! of the rate limit are arguments.

use std::time::{Duration, Instant};

use crate::runai::Verbosity;

/// Longest time a fresh list is held back for the sake of the rate limit.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How often the rate limit is looked at while a fresh list is held back.
const GLANCE: Duration = Duration::from_millis(25);
/// First pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Least age of the last success at which what is known counts as stale.
const LEAST_STALE: Duration = Duration::from_secs(30);

/// How the inventory behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Time between two full lists; each is moved by up to a tenth at random.
    pub interval: Duration,
    /// How much newer a sign of life must be to be told.
    pub liveness_granularity: Duration,
    /// Least time between the starts of two lists of which one is fresh.
    pub fresh_gap: Duration,
    /// Greatest share of fresh lists among all requests while requests queue.
    pub fresh_share: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            liveness_granularity: Duration::from_secs(600),
            fresh_gap: Duration::from_millis(250),
            fresh_share: 0.05,
        }
    }
}

impl Options {
    /// Age of the last success from which on what is known counts as stale.
    pub(super) fn stale_after(&self) -> Duration {
        self.interval.saturating_mul(3).max(LEAST_STALE)
    }
}

/// The state of the rate limit: permits given so far, and requests that wait.
pub(super) type Pressure = (u64, usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Now.
    List(Verbosity),
    /// Look again then.
    Later(Instant),
}

#[derive(Debug)]
pub(super) struct Schedule {
    next_full: Instant,
    last_start: Option<Instant>,
    granted_then: u64,
    failures: u32,
    not_before: Option<Instant>,
}

impl Schedule {
    pub(super) fn new(now: Instant) -> Self {
        Self { next_full: now, last_start: None, granted_then: 0, failures: 0, not_before: None }
    }

    /// What to do now; `wanted` when somebody waits for a fresh list.
    pub(super) fn due(&self, now: Instant, wanted: bool, pressure: Pressure, options: &Options) -> Due {
        let not_before = self.not_before.unwrap_or(now);
        let full = self.next_full.max(not_before);
        if full <= now {
            return Due::List(Verbosity::Full);
        }
        if !wanted {
            return Due::Later(full);
        }
        match self.fresh_at(now, pressure, options).max(not_before) {
            at if at <= now => Due::List(Verbosity::Metadata),
            at => Due::Later(at.min(full)),
        }
    }

    fn fresh_at(&self, now: Instant, (granted, queue): Pressure, options: &Options) -> Instant {
        let Some(last) = self.last_start else { return now };
        let spaced = last + options.fresh_gap;
        #[allow(clippy::cast_precision_loss, reason = "differences of a second's permits are small")]
        let paid = granted.saturating_sub(self.granted_then) as f64 * options.fresh_share >= 1.0;
        if queue == 0 || paid || spaced > now {
            return spaced;
        }
        // Neither earned nor idle: glance at the limiter until either holds, but not for ever.
        (last + LONGEST_WAIT).max(spaced).min(now + GLANCE)
    }

    pub(super) fn started(&mut self, now: Instant, (granted, _): Pressure) {
        self.last_start = Some(now);
        self.granted_then = granted;
    }

    /// A list arrived. `chance` is in [0, 1).
    pub(super) fn succeeded(&mut self, verbosity: Verbosity, now: Instant, chance: f64, options: &Options) {
        (self.failures, self.not_before) = (0, None);
        if verbosity == Verbosity::Full {
            let started = self.last_start.unwrap_or(now);
            self.next_full = started + options.interval.mul_f64(0.9 + 0.2 * chance);
        }
    }

    /// A list failed. `chance` is in [0, 1); `wish` is what the control plane asked for.
    pub(super) fn failed(&mut self, now: Instant, chance: f64, wish: Option<Duration>, options: &Options) {
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16));
        let pause = doubled.min(options.interval).mul_f64(0.9 + 0.2 * chance);
        self.failures = self.failures.saturating_add(1);
        let again = now + pause.max(wish.unwrap_or_default());
        self.not_before = Some(again);
        // The first list that works again should be a full one.
        self.next_full = self.next_full.min(again);
    }

    /// The interval changed.
    pub(super) fn changed(&mut self, options: &Options) {
        if let Some(last) = self.last_start {
            self.next_full = self.next_full.min(last + options.interval);
        }
    }

    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether it is too early for another attempt after a failure.
    pub(super) fn pausing(&self, now: Instant) -> bool {
        self.not_before.is_some_and(|at| now < at)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const IDLE: Pressure = (0, 0);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// A schedule whose last full list started at `now`.
    fn after_full(now: Instant, options: &Options) -> Schedule {
        let mut schedule = Schedule::new(now);
        assert_eq!(schedule.due(now, false, IDLE, options), Due::List(Verbosity::Full));
        schedule.started(now, IDLE);
        schedule.succeeded(Verbosity::Full, now + ms(5), 0.5, options);
        schedule
    }

    #[test]
    fn polls_once_per_interval_and_not_more() {
        let (now, options) = (Instant::now(), Options::default());
        let schedule = after_full(now, &options);
        let next = now + Duration::from_secs(30);
        assert_eq!(schedule.due(now + ms(10), false, IDLE, &options), Due::Later(next));
        assert_eq!(schedule.due(next, false, IDLE, &options), Due::List(Verbosity::Full));
    }

    #[test]
    fn the_interval_moves_by_a_tenth_at_most() {
        let (now, options) = (Instant::now(), Options::default());
        for (chance, seconds) in [(0.0, 27), (0.5, 30), (0.999_999_999, 33)] {
            let mut schedule = Schedule::new(now);
            schedule.started(now, IDLE);
            schedule.succeeded(Verbosity::Full, now, chance, &options);
            assert_eq!((schedule.next_full - now).as_secs_f64().round(), f64::from(seconds));
        }
    }

    #[test]
    fn a_fresh_list_for_a_lone_caller_comes_after_the_gap() {
        let (now, options) = (Instant::now(), Options::default());
        let schedule = after_full(now, &options);
        assert_eq!(schedule.due(now + ms(100), true, IDLE, &options), Due::Later(now + ms(250)));
        assert_eq!(schedule.due(now + ms(250), true, IDLE, &options), Due::List(Verbosity::Metadata));
    }

    #[test]
    fn under_pressure_fresh_lists_are_one_in_twenty_but_never_late_by_more_than_a_second() {
        let (now, options) = (Instant::now(), Options::default());
        let schedule = after_full(now, &options);
        let at = now + ms(300);
        assert_eq!(schedule.due(at, true, (19, 5), &options), Due::Later(at + GLANCE));
        assert_eq!(schedule.due(at, true, (20, 5), &options), Due::List(Verbosity::Metadata));
        assert_eq!(schedule.due(at, true, (0, 0), &options), Due::List(Verbosity::Metadata));
        assert_eq!(schedule.due(now + ms(990), true, (0, 5), &options), Due::Later(now + ms(1000)));
        assert_eq!(schedule.due(now + ms(1000), true, (0, 5), &options), Due::List(Verbosity::Metadata));
    }

    #[test]
    fn a_fresh_list_does_not_replace_a_full_one() {
        let (now, options) = (Instant::now(), Options::default());
        let mut schedule = after_full(now, &options);
        schedule.started(now + ms(300), IDLE);
        schedule.succeeded(Verbosity::Metadata, now + ms(310), 0.5, &options);
        assert_eq!(schedule.next_full, now + Duration::from_secs(30));
        let due = schedule.due(now + Duration::from_secs(30), true, IDLE, &options);
        assert_eq!(due, Due::List(Verbosity::Full), "whoever waits is served by the full one");
    }

    #[test]
    fn failures_are_spaced_from_a_second_to_the_interval() {
        let (mut now, options) = (Instant::now(), Options::default());
        let mut schedule = after_full(now, &options);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            schedule.failed(now, 0.5, None, &options);
            assert_eq!(schedule.due(now, true, IDLE, &options), Due::Later(schedule.not_before.unwrap()));
            pauses.push((schedule.not_before.unwrap() - now).as_secs_f64().round());
            now = schedule.not_before.unwrap();
            assert_eq!(schedule.due(now, false, IDLE, &options), Due::List(Verbosity::Full));
        }
        assert_eq!(pauses, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        schedule.succeeded(Verbosity::Full, now, 0.5, &options);
        assert!(!schedule.pausing(now) && schedule.failures() == 0);
    }

    #[test]
    fn a_wish_for_silence_is_obeyed_beyond_the_interval() {
        let (now, options) = (Instant::now(), Options::default());
        let mut schedule = after_full(now, &options);
        schedule.failed(now, 0.0, Some(Duration::from_secs(300)), &options);
        assert!(schedule.pausing(now + Duration::from_secs(299)));
        assert!(!schedule.pausing(now + Duration::from_secs(300)));
    }

    #[test]
    fn a_shorter_interval_counts_at_once() {
        let (now, mut options) = (Instant::now(), Options::default());
        let mut schedule = after_full(now, &options);
        options.interval = Duration::from_secs(5);
        schedule.changed(&options);
        assert_eq!(schedule.due(now, false, IDLE, &options), Due::Later(now + Duration::from_secs(5)));
    }

    #[test]
    fn stale_after_three_intervals_but_not_before_half_a_minute() {
        let after = |seconds| Options { interval: Duration::from_secs(seconds), ..Options::default() }.stale_after();
        assert_eq!(after(5), Duration::from_secs(30));
        assert_eq!(after(30), Duration::from_secs(90));
    }
}
