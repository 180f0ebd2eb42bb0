//! Calls to the Kubernetes API under a deadline.
//!
//! Owns the deadline and how a failure is put. Retries are the next pass.

use std::future::Future;
use std::time::Duration;

/// No single call may hold a pass for longer.
const DEADLINE: Duration = Duration::from_secs(10);

/// A call that brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// No answer in time.
    #[error("the Kubernetes API did not answer within {DEADLINE:?}")]
    Timeout,
    /// An answer, but not the one.
    #[error("the Kubernetes API: {0}")]
    Kube(#[source] Box<kube::Error>),
}

impl CallError {
    fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Kube(error) => match &**error {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::Timeout => None,
        }
    }

    /// Somebody else wrote first.
    pub(crate) fn is_conflict(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_conflict)
    }

    /// The object is not there any more.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_not_found)
    }
}

/// Waits for `request`, but not for ever.
pub(crate) async fn call<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(result) => result.map_err(|error| CallError::Kube(Box::new(error))),
        Err(_elapsed) => Err(CallError::Timeout),
    }
}
