//! The clock by which leadership expires: monotonic, and running on while the machine is suspended.
//!
//! Owns reading `CLOCK_BOOTTIME`. It knows nothing of wall-clock time, leases or Kubernetes.
//! `std::time::Instant` is not enough here: on Linux it is `CLOCK_MONOTONIC`, which stands still during a
//! suspend, so that a laptop or a migrated virtual machine would wake up and believe in a lease it lost.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment on the boot-time clock.
///
/// Comparable only within one boot of one machine; never stored and never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Boottime(Duration);

impl Boottime {
    /// The present moment.
    pub(crate) fn now() -> Self {
        let time = clock_gettime(ClockId::Boottime);
        // Neither part is negative on this clock; should a kernel ever say so, zero reads as "long ago".
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
        Self(Duration::new(seconds, nanos))
    }

    /// The time that passed since this moment; zero when it lies ahead.
    pub(crate) fn elapsed(self) -> Duration {
        Self::now().since(self)
    }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment moved forward by `by`.
    #[cfg(test)]
    pub(crate) fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }
}

#[cfg(test)]
#[path = "clock_tests.rs"]
mod tests;
