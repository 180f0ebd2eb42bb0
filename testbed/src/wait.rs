//! Polling with a deadline: the only way this project waits for something in a test.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use crate::Error;

/// The pause between two looks grows from the first to the second of these.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// Calls `probe` until it gives `Ok`, and returns that value.
///
/// An `Err` means "not yet" and says what was seen instead; the last one becomes part of the error when `deadline` is
/// over. A single probe that hangs is cut off at the deadline too.
///
/// # Errors
/// [`Error::Deadline`] with `what`, the time waited and the last state.
pub async fn wait_until<T, S: Display>(
    deadline: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<T, S>,
) -> Result<T, Error> {
    let start = Instant::now();
    let mut last = "the first look has not ended".to_owned();
    let mut pause = PAUSES.0;
    loop {
        let left = deadline.saturating_sub(start.elapsed());
        match tokio::time::timeout(left, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(state)) => last = state.to_string(),
            Err(_elapsed) => {}
        }
        if start.elapsed() >= deadline {
            return Err(Error::Deadline { what: what.to_owned(), waited: start.elapsed(), last });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(PAUSES.1);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[tokio::test]
    async fn gives_the_value_of_the_first_success() {
        let mut looks = 0;
        let got = wait_until(Duration::from_secs(5), "the third look", async || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(looks) }
        });
        assert_eq!(got.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn says_the_last_state_also_when_a_probe_hangs() {
        let mut looks = 0;
        let error = wait_until(Duration::from_millis(200), "a miracle", async || {
            looks += 1;
            if looks > 1 {
                std::future::pending::<()>().await;
            }
            Err::<(), _>("still nothing")
        })
        .await
        .unwrap_err();
        assert!(error.to_string().contains("a miracle; last state: still nothing"), "{error}");
    }
}
