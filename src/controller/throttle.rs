//! The brake on mass deletions: so many a minute and no more, so that someone can stop it.
//!
//! Owns the count. Kept in memory: a restart lets one minute's worth through again.

use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// Counts the deletions of the last minute.
#[derive(Debug)]
pub(crate) struct Throttle {
    per_minute: usize,
    sent: std::collections::VecDeque<Instant>,
    /// Whether the present hold-up was told already.
    told: bool,
}

/// A deletion has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Until there is room.
    pub(crate) wait: Duration,
    /// The first one of a hold-up: worth telling.
    pub(crate) first: bool,
}

impl Throttle {
    pub(crate) fn new(per_minute: u32) -> Self {
        let per_minute = usize::try_from(per_minute).unwrap_or(usize::MAX);
        Self { per_minute, sent: std::collections::VecDeque::new(), told: false }
    }

    pub(crate) fn set(&mut self, per_minute: u32) {
        self.per_minute = usize::try_from(per_minute).unwrap_or(usize::MAX);
    }

    /// Takes one of this minute's places, or says how long to wait.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Held> {
        while self.sent.front().is_some_and(|first| now.duration_since(*first) >= MINUTE) {
            self.sent.pop_front();
        }
        if self.sent.len() < self.per_minute {
            self.sent.push_back(now);
            // Still the same hold-up while the window is nearly full.
            self.told &= self.sent.len() * 2 > self.per_minute;
            return Ok(());
        }
        let oldest = self.sent.front().copied().unwrap_or(now);
        let wait = MINUTE.saturating_sub(now.duration_since(oldest)).max(Duration::from_millis(100));
        let first = !std::mem::replace(&mut self.told, true);
        Err(Held { wait, first })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lets_so_many_a_minute_through_and_tells_once() {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let mut throttle = Throttle::new(2);
        assert_eq!(throttle.take(at(0)), Ok(()));
        assert_eq!(throttle.take(at(10)), Ok(()));
        assert_eq!(throttle.take(at(20)), Err(Held { wait: Duration::from_secs(40), first: true }));
        assert_eq!(throttle.take(at(21)), Err(Held { wait: Duration::from_secs(39), first: false }));
        assert_eq!(throttle.take(at(60)), Ok(()));
        assert_eq!(throttle.take(at(61)), Err(Held { wait: Duration::from_secs(9), first: false }));
        throttle.set(5);
        assert_eq!(throttle.take(at(61)), Ok(()));
        let quiet = at(600);
        assert_eq!(throttle.take(quiet), Ok(()));
        for _ in 0..4 {
            throttle.take(quiet).unwrap();
        }
        assert!(throttle.take(quiet).unwrap_err().first, "a new hold-up is told again");
    }
}
