//! The virtual clock: the only source of time for everything the simulator says.
//!
//! Owns "now". Must not know who asks. Delays on the wire (latency, hanging) use real time instead.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use crate::config::ClockMode;

/// A clock that runs with the machine or by hand, and can be off.
#[derive(Debug)]
pub(crate) struct Clock {
    mode: ClockMode,
    base: Timestamp,
    started: Instant,
    /// Sum of all advances; never negative.
    advanced: SignedDuration,
    /// How far the server's clock is off; may be negative, may be stepped.
    skew: SignedDuration,
}

impl Clock {
    pub(crate) fn new(mode: ClockMode, start: Option<Timestamp>) -> Self {
        Self {
            mode,
            base: start.unwrap_or_else(Timestamp::now),
            started: Instant::now(),
            advanced: SignedDuration::ZERO,
            skew: SignedDuration::ZERO,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let elapsed = match self.mode {
            ClockMode::Real => SignedDuration::try_from(self.started.elapsed()).unwrap_or(SignedDuration::ZERO),
            ClockMode::Manual => SignedDuration::ZERO,
        };
        let offset = elapsed.saturating_add(self.advanced).saturating_add(self.skew);
        let now = self.base.checked_add(offset).unwrap_or(self.base);
        // The API shows milliseconds; finer time would make records differ from their own replies.
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    pub(crate) fn advance(&mut self, by: SignedDuration) {
        self.advanced = self.advanced.saturating_add(by.max(SignedDuration::ZERO));
    }

    /// Goes on from the present, by itself or by hand.
    pub(crate) fn set_mode(&mut self, mode: ClockMode) {
        if mode != self.mode {
            let (now, skew) = (self.now(), self.skew);
            self.rebase(now.checked_sub(skew).unwrap_or(now));
            (self.mode, self.skew) = (mode, skew);
        }
    }

    pub(crate) fn set_skew(&mut self, skew: SignedDuration) {
        self.skew = skew;
    }

    pub(crate) fn skew(&self) -> SignedDuration {
        self.skew
    }

    /// Starts again at `now`, without a skew: used when a snapshot is restored.
    pub(crate) fn rebase(&mut self, now: Timestamp) {
        self.base = now;
        self.started = Instant::now();
        self.advanced = SignedDuration::ZERO;
        self.skew = SignedDuration::ZERO;
    }
}

/// Seconds as a duration; not a number counts as zero.
pub(crate) fn seconds(value: f64) -> SignedDuration {
    if value.is_nan() {
        return SignedDuration::ZERO;
    }
    SignedDuration::try_from_secs_f64(value).unwrap_or(SignedDuration::MAX)
}

/// `at + by`, or the end of time.
pub(crate) fn after(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// RFC 3339, UTC, milliseconds.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// The form of the HTTP `Date` header.
pub(crate) fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
