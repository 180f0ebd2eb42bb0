//! When the next list is due, and which kind.
//!
//! Owns the poll interval, which polls may be glances, the spacing of fresh lists and the pause after failures. Pure:
//! time, chance and the state of the rate limit are arguments.

use std::time::{Duration, Instant};

use crate::runai::Verbosity;

/// Longest time a fresh list is held back for the sake of the rate limit.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How often the rate limit is looked at while a fresh list is held back.
const LIMITER_TICK: Duration = Duration::from_millis(25);
/// First pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Least age of the last success at which what is known counts as stale.
const LEAST_STALE: Duration = Duration::from_secs(30);

/// Longest time between two full lists while glances show nothing new: what only a full list tells (the last sign of
/// life, platform, Kubernetes version) is at most that old.
const LONGEST_GLANCING: Duration = Duration::from_secs(300);
/// How long no glance is tried after one that was no use.
const GLANCE_PAUSE: Duration = Duration::from_secs(3600);

/// How the inventory behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Time between two polls; each is moved by up to a tenth at random.
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

    /// How long glances may stand in for full lists. Signs of life are told at their granularity all the same.
    fn glancing(&self) -> Duration {
        (self.liveness_granularity / 2).min(LONGEST_GLANCING)
    }
}

/// The state of the rate limit: permits given so far, and requests that wait.
pub(super) type Pressure = (u64, usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A list, now.
    List(Verbosity),
    /// A look at the minimal list, now: whether anything is new.
    Glance,
    /// Look again then.
    Later(Instant),
}

#[derive(Debug)]
pub(super) struct Schedule {
    next_poll: Instant,
    /// Glances may stand in for full lists until then.
    glance_until: Option<Instant>,
    /// No glance before that.
    no_glance_before: Option<Instant>,
    last_start: Option<Instant>,
    granted_then: u64,
    failures: u32,
    not_before: Option<Instant>,
}

impl Schedule {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next_poll: now,
            glance_until: None,
            no_glance_before: None,
            last_start: None,
            granted_then: 0,
            failures: 0,
            not_before: None,
        }
    }

    /// What to do now; `wanted` when somebody waits for a fresh list.
    pub(super) fn due(&self, now: Instant, wanted: bool, pressure: Pressure, options: &Options) -> Due {
        let not_before = self.not_before.unwrap_or(now);
        let poll = self.next_poll.max(not_before);
        if poll <= now {
            // Whoever waits for a list is not served by a glance.
            let glance = !wanted && self.glance_until.is_some_and(|until| now < until);
            return if glance { Due::Glance } else { Due::List(Verbosity::Full) };
        }
        if !wanted {
            return Due::Later(poll);
        }
        match self.fresh_at(now, pressure, options).max(not_before) {
            at if at <= now => Due::List(Verbosity::Metadata),
            at => Due::Later(at.min(poll)),
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
        (last + LONGEST_WAIT).max(spaced).min(now + LIMITER_TICK)
    }

    pub(super) fn started(&mut self, now: Instant, (granted, _): Pressure) {
        self.last_start = Some(now);
        self.granted_then = granted;
    }

    /// A list arrived. `chance` is in [0, 1); `calm` when nothing in it is hidden by the minimal list.
    pub(super) fn succeeded(&mut self, verbosity: Verbosity, now: Instant, chance: f64, calm: bool, options: &Options) {
        (self.failures, self.not_before) = (0, None);
        if verbosity == Verbosity::Full {
            let glances = calm && self.no_glance_before.is_none_or(|at| at <= now);
            self.glance_until = glances.then(|| self.last_start.unwrap_or(now) + options.glancing());
            self.polled(now, chance, options);
        }
    }

    /// A glance showed nothing new.
    pub(super) fn glanced(&mut self, now: Instant, chance: f64, options: &Options) {
        (self.failures, self.not_before) = (0, None);
        self.polled(now, chance, options);
    }

    /// A glance showed something, or failed: a full list says what.
    pub(super) fn look_closer(&mut self, now: Instant) {
        (self.glance_until, self.next_poll) = (None, now);
    }

    /// Glances are no use: there is no minimal list, or it differs from the full one for good.
    pub(super) fn stop_glancing(&mut self, now: Instant) {
        (self.glance_until, self.no_glance_before) = (None, Some(now + GLANCE_PAUSE));
    }

    fn polled(&mut self, now: Instant, chance: f64, options: &Options) {
        let started = self.last_start.unwrap_or(now);
        self.next_poll = started + options.interval.mul_f64(0.9 + 0.2 * chance);
    }

    /// A list failed. `chance` is in [0, 1); `wish` is what the control plane asked for.
    pub(super) fn failed(&mut self, now: Instant, chance: f64, wish: Option<Duration>, options: &Options) {
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16));
        let pause = doubled.min(options.interval).mul_f64(0.9 + 0.2 * chance);
        self.failures = self.failures.saturating_add(1);
        let again = now + pause.max(wish.unwrap_or_default());
        self.not_before = Some(again);
        // The first list that works again should be a full one.
        self.next_poll = self.next_poll.min(again);
        self.glance_until = None;
    }

    /// The interval changed.
    pub(super) fn changed(&mut self, options: &Options) {
        if let Some(last) = self.last_start {
            self.next_poll = self.next_poll.min(last + options.interval);
            self.glance_until = self.glance_until.map(|until| until.min(last + options.glancing()));
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
        schedule.succeeded(Verbosity::Full, now + ms(5), 0.5, false, options);
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
            schedule.succeeded(Verbosity::Full, now, chance, false, &options);
            assert_eq!((schedule.next_poll - now).as_secs_f64().round(), f64::from(seconds));
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
        assert_eq!(schedule.due(at, true, (19, 5), &options), Due::Later(at + LIMITER_TICK));
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
        schedule.succeeded(Verbosity::Metadata, now + ms(310), 0.5, false, &options);
        assert_eq!(schedule.next_poll, now + Duration::from_secs(30));
        let due = schedule.due(now + Duration::from_secs(30), true, IDLE, &options);
        assert_eq!(due, Due::List(Verbosity::Full), "whoever waits is served by the full one");
    }

    /// A schedule after a full list, with the minimal list in use.
    fn glancing(now: Instant, options: &Options) -> Schedule {
        let mut schedule = Schedule::new(now);
        schedule.started(now, IDLE);
        schedule.succeeded(Verbosity::Full, now, 0.5, true, options);
        schedule
    }

    #[test]
    fn glances_stand_in_for_full_lists_for_five_minutes_at_most() {
        let (now, options) = (Instant::now(), Options::default());
        let mut schedule = glancing(now, &options);
        let mut polls = Vec::new();
        for second in 1..=330 {
            let at = now + Duration::from_secs(second);
            match schedule.due(at, false, IDLE, &options) {
                Due::Later(_) => {}
                Due::Glance => {
                    schedule.started(at, IDLE);
                    schedule.glanced(at, 0.5, &options);
                    polls.push((second, "glance"));
                }
                Due::List(verbosity) => {
                    schedule.started(at, IDLE);
                    schedule.succeeded(verbosity, at, 0.5, true, &options);
                    polls.push((second, "list"));
                }
            }
        }
        let glances = (1..=9).map(|n| (30 * n, "glance"));
        assert_eq!(polls, glances.chain([(300, "list"), (330, "glance")]).collect::<Vec<_>>());
    }

    #[test]
    fn signs_of_life_that_are_wanted_often_leave_no_room_for_glances() {
        let (now, mut options) = (Instant::now(), Options::default());
        options.liveness_granularity = Duration::from_secs(40);
        let schedule = glancing(now, &options);
        let due = schedule.due(now + Duration::from_secs(30), false, IDLE, &options);
        assert_eq!(due, Due::List(Verbosity::Full));
    }

    #[test]
    fn what_a_glance_cannot_show_ends_the_glances() {
        let (now, options) = (Instant::now(), Options::default());
        let poll = now + Duration::from_secs(30);
        let full = |schedule: &Schedule, at| schedule.due(at, false, IDLE, &options) == Due::List(Verbosity::Full);
        assert!(!full(&glancing(now, &options), poll));
        // Somebody waits for a list.
        assert_eq!(glancing(now, &options).due(poll, true, IDLE, &options), Due::List(Verbosity::Full));
        // A registration is being deleted, which the minimal list hides.
        assert!(full(&after_full(now, &options), poll));
        // Something is new.
        let mut schedule = glancing(now, &options);
        schedule.look_closer(poll);
        assert!(full(&schedule, poll));
        // A list failed.
        let mut schedule = glancing(now, &options);
        schedule.failed(now, 0.5, None, &options);
        assert!(full(&schedule, poll));
        // Glances are no use: none for an hour, also after the next full list.
        let mut schedule = glancing(now, &options);
        schedule.stop_glancing(now);
        for (later, want) in [(30, true), (3590, true), (3660, false)] {
            let at = now + Duration::from_secs(later);
            schedule.started(at, IDLE);
            schedule.succeeded(Verbosity::Full, at, 0.5, true, &options);
            assert_eq!(full(&schedule, at + Duration::from_secs(31)), want, "{later}");
        }
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
        schedule.succeeded(Verbosity::Full, now, 0.5, false, &options);
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
