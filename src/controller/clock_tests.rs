//! The boot-time clock: forward only, and saturating at its edges.

use std::time::{Duration, Instant};

use super::Boottime;

#[test]
fn it_moves_forward_at_least_as_fast_as_the_monotonic_clock() {
    let (boot, monotonic) = (Boottime::now(), Instant::now());
    while monotonic.elapsed() < Duration::from_millis(5) {
        std::hint::spin_loop();
    }
    assert!(boot.elapsed() >= Duration::from_millis(5));
}

#[test]
fn differences_saturate_at_zero() {
    let early = Boottime::now();
    let late = early.after(Duration::from_secs(7));
    assert_eq!(late.since(early), Duration::from_secs(7));
    assert_eq!(early.since(late), Duration::ZERO);
    assert_eq!(late.elapsed(), Duration::ZERO);
}
