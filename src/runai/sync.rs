//! A mutex that outlives a panic.
//!
//! Owns nothing but this one decision: a panic while a lock was held must not take every later pass down with it.
//! Our critical sections only assign, so a poisoned state is still a usable one.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic elsewhere. Never hold the guard across an `await`.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
