//! Calls to the Kubernetes API under a deadline, not too many at once.
//!
//! Owns the deadline, the number of calls under way, and how a failure is put. Retries are the next pass. Watches and
//! the Lease do not go through here.

use std::future::Future;
use std::time::Duration;

use tokio::sync::Semaphore;

/// No single call may hold a pass for longer, the wait for its line included.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// Calls under way at once. Each takes a connection (HTTP/1.1), each connection some 50 kB that stay for a while: three
/// hundred objects that change together must not open three hundred.
static LINES: Semaphore = Semaphore::const_new(16);

/// A call that brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// No answer in time.
    #[error("the Kubernetes API did not answer within {DEADLINE:?}")]
    Timeout,
    /// An answer, but not the one.
    #[error("the Kubernetes API: {}", brief(.0))]
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

    /// The status of the answer, if there was one.
    pub(crate) fn code(&self) -> Option<u16> {
        self.status().map(|status| status.code)
    }

    /// The namespace is being deleted, so that nothing can be made in it.
    pub(crate) fn is_terminating(&self) -> bool {
        let causes = self.status().and_then(|status| status.details.as_ref()).map(|details| details.causes.as_slice());
        causes.unwrap_or_default().iter().any(|cause| cause.reason == "NamespaceTerminating")
    }

    /// With the innermost cause, which the libraries keep to themselves: "connection refused", "unknown issuer".
    pub(crate) fn explained(&self) -> String {
        let mut cause = match self {
            Self::Kube(error) => std::error::Error::source(&**error),
            Self::Timeout => None,
        };
        while let Some(inner) = cause.and_then(std::error::Error::source) {
            cause = Some(inner);
        }
        let told = self.to_string();
        match cause.map(ToString::to_string).filter(|cause| !told.contains(cause)) {
            Some(cause) => format!("{told}: {cause}"),
            None => told,
        }
    }

    /// The credentials are not taken.
    pub(crate) fn is_unauthorized(&self) -> bool {
        self.status().is_some_and(|status| status.code == 401)
    }

    /// The credentials do not suffice.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_forbidden)
    }

    /// Somebody else wrote first.
    pub(crate) fn is_conflict(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_conflict)
    }

    /// The object does not fit its schema: what the API says about it.
    pub(crate) fn unfit(&self) -> Option<&str> {
        self.status().filter(|status| status.is_invalid()).map(|status| status.message.as_str())
    }

    /// The path itself is unknown: the kind is not installed. Said in plain text, without a reason.
    pub(crate) fn is_unknown_kind(&self) -> bool {
        self.status().is_some_and(|status| status.code == 404)
    }

    /// The object is not there any more.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_not_found)
    }
}

/// What the API says is enough; the whole answer would fill a screen.
fn brief(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        other => other.to_string(),
    }
}

/// Waits for a line and then for `request`, but not for ever.
pub(crate) async fn call<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    match tokio::time::timeout(DEADLINE, on_line(request)).await {
        Ok(result) => result.map_err(|error| CallError::Kube(Box::new(error))),
        Err(_elapsed) => Err(CallError::Timeout),
    }
}

/// Runs `request` when there is a line for it.
pub(super) async fn on_line<T>(request: impl Future<Output = T>) -> T {
    // Never closed, so that an error cannot come; if it did, the call would be none the worse.
    let _line = LINES.acquire().await;
    request.await
}
