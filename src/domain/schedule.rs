//! When to come back. Owns the back-off. Must not read the clock: delays are relative, the seed is an argument.

use std::time::Duration;

/// Shortest delay after a failure.
pub const FIRST_DELAY: Duration = Duration::from_secs(1);
/// Longest delay after a failure, and the pace of states that only a person can end.
pub const LONGEST_DELAY: Duration = Duration::from_secs(300);

/// The delay after `failures` failed passes in a row (1, 2, 4 .. 300 s), shortened by up to a quarter by `seed`,
/// so that objects which failed together do not come back together.
#[must_use]
pub fn backoff(failures: u32, seed: u64) -> Duration {
    let doubled = FIRST_DELAY.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1).min(20)).unwrap_or(u32::MAX));
    let full = doubled.min(LONGEST_DELAY);
    let parts = u32::try_from(seed % 1000).unwrap_or(0);
    full - full / 4 * parts / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_five_minutes_and_spreads_downwards() {
        let table = [(0, 1), (1, 1), (2, 2), (3, 4), (8, 128), (9, 256), (10, 300), (u32::MAX, 300)];
        for (failures, seconds) in table {
            assert_eq!(backoff(failures, 0), Duration::from_secs(seconds), "{failures} failures");
            let spread = backoff(failures, 999);
            assert!(spread < backoff(failures, 0) && spread >= Duration::from_secs(seconds) * 3 / 4);
        }
        for seed in [500, 1500] {
            assert_eq!(backoff(3, seed), Duration::from_millis(3500), "half of a quarter less");
        }
    }
}
