//! What can go wrong between us and a control plane, and what to do about it.
//!
//! Owns the error type of the REST face, its classes and the words for the user. Must not hold a remote body, a URL
//! beyond its host, or a secret: everything in here may be printed anywhere.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::observer::Operation;
use crate::domain::Reason;
use crate::domain::schedule::FIRST_DELAY;

/// A failed call: which, to which host, and how. Cheap to clone, so that callers that waited together share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// What was being done.
    pub operation: Operation,
    /// Host and port of the control plane.
    pub host: Arc<str>,
    /// How it failed.
    pub kind: ErrorKind,
}

impl std::error::Error for ApiError {}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.user_message())
    }
}

/// The ways in which a call fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request could not be built. A defect of ours, or of the platform's TLS set-up.
    Construction(String),
    /// No complete answer arrived.
    Transport(TransportKind),
    /// No token could be had; the request itself was not sent.
    Token(Box<Self>),
    /// An error status.
    Status(StatusError),
    /// A status that promises an API answer, with a body that is none. Says what was expected, never what came.
    Undecodable {
        /// The status.
        code: u16,
        /// What was expected and what kind of thing came instead.
        what: String,
    },
    /// A status that this endpoint does not have, for example a redirect.
    UnexpectedStatus {
        /// The status.
        code: u16,
    },
    /// The body grew beyond what is read.
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The registrations of a list take more memory than is meant for them.
    TooMany {
        /// The limit in bytes.
        limit: usize,
    },
    /// The control plane asked for silence and it has not passed yet; nothing was sent.
    Paused(Duration),
    /// The permit's own condition did not hold any more; nothing was sent.
    HeldBack,
    /// The connection was taken down while the call waited; nothing was sent.
    Closed,
}

/// An answer with a status of 400 and above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusError {
    /// The status.
    pub code: u16,
    /// The `message` of the JSON body, sanitized.
    pub message: Option<String>,
    /// When the control plane wants to be asked again, clamped.
    pub retry_after: Option<Duration>,
    /// After a 401 on a change: whether a new token was had, so that the next attempt has better prospects.
    pub refreshed: bool,
}

/// Where on its way a request broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportKind {
    /// The host name does not resolve.
    Dns,
    /// Nobody listens.
    Refused,
    /// The host cannot be reached.
    Unreachable,
    /// No connection within the connect time-out.
    ConnectTimeout,
    /// The TLS handshake failed.
    Tls(TlsProblem),
    /// The deadline passed; the request may have arrived.
    Timeout,
    /// The connection broke; the request may have arrived.
    Broken,
}

/// Why a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsProblem {
    /// The certificate comes from an authority that is not trusted here.
    UnknownCa,
    /// The certificate, or one of its chain, has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate is for another host.
    WrongHost,
    /// The peer does not speak TLS.
    NotTls,
    /// Anything else, for example no common protocol version.
    Handshake,
}

/// What a caller does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Try again later.
    Retry,
    /// Try again, not before the given time.
    Throttled(Option<Duration>),
    /// The credentials or their permissions do not suffice.
    Auth,
    /// The registration is not there for us. Not a proof that it does not exist.
    Gone,
    /// The control plane understood and refused.
    Rejected,
    /// We built something that cannot be sent.
    Bug,
}

impl TransportKind {
    /// Whether the request certainly did not reach the control plane.
    #[must_use]
    pub const fn certainly_not_sent(self) -> bool {
        match self {
            Self::Dns | Self::Refused | Self::Unreachable | Self::ConnectTimeout | Self::Tls(_) => true,
            Self::Timeout | Self::Broken => false,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Dns => "the host name does not resolve; check `url` in the connection Secret and the cluster's DNS",
            Self::Refused => {
                "the connection was refused; check host and port of `url`, or wait for the control plane to come up"
            }
            Self::Unreachable => "the host cannot be reached; check `url`, network policies and the proxy settings",
            Self::ConnectTimeout => "no connection within the time-out; check `url`, network policies and firewalls",
            Self::Tls(problem) => problem.text(),
            Self::Timeout => "no complete answer within the deadline",
            Self::Broken => "the connection broke before the answer was complete, or the answer is not proper HTTP",
        }
    }
}

impl TlsProblem {
    const fn text(self) -> &'static str {
        match self {
            Self::UnknownCa => {
                "the server's certificate comes from an authority that is not trusted here; put that CA certificate into a ConfigMap or Secret and name it in `caBundleRef`"
            }
            Self::Expired => {
                "the server's certificate, or one of its chain, has expired; renew it, and check the clock of this node"
            }
            Self::NotYetValid => {
                "the server's certificate is not valid yet; check the clocks of the server and of this node"
            }
            Self::WrongHost => {
                "the server's certificate is for another host; `url` must use a name that the certificate holds"
            }
            Self::NotTls => "the server does not speak TLS on this port; check scheme and port of `url`",
            Self::Handshake => "the TLS handshake failed; check the server's TLS versions and certificate",
        }
    }
}

impl ErrorKind {
    /// See [`Class`].
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Construction(_) => Class::Bug,
            Self::Transport(_)
            | Self::Undecodable { .. }
            | Self::UnexpectedStatus { .. }
            | Self::TooLarge { .. }
            | Self::TooMany { .. } => Class::Retry,
            Self::HeldBack | Self::Closed => Class::Retry,
            Self::Paused(left) => Class::Throttled(Some(*left)),
            Self::Token(inner) => match &**inner {
                // A token endpoint says "bad request" for bad credentials (runai-domain A7).
                Self::Status(status) if matches!(status.code, 400 | 401 | 403) => Class::Auth,
                other => other.class(),
            },
            Self::Status(status) => status.class(),
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Transport(_) | Self::HeldBack | Self::Closed => Reason::ConnectionFailed,
            Self::Undecodable { .. } | Self::UnexpectedStatus { .. } | Self::TooLarge { .. } | Self::TooMany { .. } => {
                Reason::Undecodable
            }
            Self::Construction(_) => Reason::Rejected,
            Self::Paused(_) => Reason::Throttled,
            Self::Token(inner) => match &**inner {
                // Whatever 4xx the token endpoint gives but "slow down": the way we log in does not work.
                Self::Status(status) if status.code < 500 && status.code != 429 => Reason::AuthFailed,
                other => other.reason(),
            },
            Self::Status(status) => status.reason(),
        }
    }

    fn certainly_not_sent(&self) -> bool {
        match self {
            Self::Construction(_) | Self::Token(_) | Self::Paused(_) | Self::HeldBack | Self::Closed => true,
            Self::Transport(kind) => kind.certainly_not_sent(),
            Self::Status(_)
            | Self::Undecodable { .. }
            | Self::UnexpectedStatus { .. }
            | Self::TooLarge { .. }
            | Self::TooMany { .. } => false,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Construction(what) => format!("the request could not be built: {what}"),
            Self::Transport(kind) => kind.text().to_owned(),
            Self::Token(inner) => match &**inner {
                Self::Status(status) => format!("no token: {}", status.token_text()),
                other => format!("no token: {}", other.text()),
            },
            Self::Status(status) => status.text(),
            Self::Undecodable { code, what } => format!(
                "the answer (status {code}) is not what the Run:ai API gives: {what}; check that `url` leads to the \
                 control plane itself and not to a proxy or login page"
            ),
            Self::UnexpectedStatus { code: code @ 300..400 } => format!(
                "unexpected status {code}; redirects are not followed, so `url` must be the control plane's own address"
            ),
            Self::UnexpectedStatus { code } => format!(
                "unexpected status {code}, which the Run:ai API does not give here; check that `url` leads to the \
                 control plane itself"
            ),
            Self::TooLarge { limit } => format!("the answer is larger than {limit} bytes and was not read"),
            Self::TooMany { limit } => format!(
                "more registrations are listed than the {} MiB that are meant for them hold, some 90000; give the \
                 service account a narrower scope",
                limit / (1024 * 1024)
            ),
            Self::Paused(left) => {
                format!("the control plane asked for a pause, {} s of it are left", left.as_secs().max(1))
            }
            Self::HeldBack => "it was held back: the time in which it may be sent has passed".to_owned(),
            Self::Closed => "the connection was taken down or replaced meanwhile".to_owned(),
        }
    }
}

impl StatusError {
    const fn class(&self) -> Class {
        match self.code {
            429 => Class::Throttled(self.retry_after),
            503 if self.retry_after.is_some() => Class::Throttled(self.retry_after),
            401 | 403 => Class::Auth,
            404 | 410 => Class::Gone,
            408 | 425 | 500.. => Class::Retry,
            _ => Class::Rejected,
        }
    }

    fn reason(&self) -> Reason {
        match self.code {
            429 => Reason::Throttled,
            503 if self.retry_after.is_some() => Reason::Throttled,
            401 => Reason::AuthFailed,
            403 => Reason::Forbidden,
            408 | 425 | 500.. => Reason::ConnectionFailed,
            _ => Reason::Rejected,
        }
    }

    fn said(&self) -> String {
        self.message.as_ref().map_or_else(String::new, |message| format!(" (\"{message}\")"))
    }

    fn text(&self) -> String {
        let said = self.said();
        let code = self.code;
        match code {
            401 => format!("the token was refused, status 401{said}; check the credentials in the connection Secret"),
            403 => format!(
                "the credentials lack a permission, status 403{said}; give the service account a role that may \
                 manage clusters in this scope"
            ),
            429 => format!("the control plane asks for fewer requests, status 429{said}"),
            404 | 410 => format!("not found, status {code}{said}"),
            500.. => format!("the control plane failed, status {code}{said}"),
            _ => format!("the control plane refused the request, status {code}{said}"),
        }
    }

    fn token_text(&self) -> String {
        let said = self.said();
        let code = self.code;
        match code {
            400 | 401 | 403 => format!(
                "the credentials were refused, status {code}{said}; check the client id and secret in the connection \
                 Secret, and `tokenApi`"
            ),
            404 | 405 => {
                format!("the control plane has no such token endpoint, status {code}{said}; check `url` and `tokenApi`")
            }
            _ => self.text(),
        }
    }
}

impl ApiError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> Class {
        self.kind.class()
    }

    /// Whether the request certainly never reached the control plane, so that a create may be tried again at once.
    /// False also for answers: those say themselves what happened.
    #[must_use]
    pub fn certainly_not_sent(&self) -> bool {
        self.kind.certainly_not_sent()
    }

    /// The reason for conditions, Events and metrics.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.kind.reason()
    }

    /// The status of the answer to the request itself, if there was one (a refused token is not).
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match &self.kind {
            ErrorKind::Status(status) => Some(status.code),
            ErrorKind::Undecodable { code, .. } | ErrorKind::UnexpectedStatus { code } => Some(*code),
            ErrorKind::Construction(_)
            | ErrorKind::Transport(_)
            | ErrorKind::Token(_)
            | ErrorKind::TooLarge { .. }
            | ErrorKind::TooMany { .. }
            | ErrorKind::Paused(_)
            | ErrorKind::HeldBack
            | ErrorKind::Closed => None,
        }
    }

    /// When to try again, where that is known better than by a back-off: how long the control plane wants to be left alone,
    /// or soon where we were late ourselves, which says nothing about the control plane.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match (self.class(), &self.kind) {
            (_, ErrorKind::HeldBack) => Some(FIRST_DELAY),
            (Class::Throttled(after), _) => after,
            (Class::Retry | Class::Auth | Class::Gone | Class::Rejected | Class::Bug, _) => None,
        }
    }

    /// One sentence: what failed, where, why, and what to do.
    #[must_use]
    pub fn user_message(&self) -> String {
        format!("{} at {} failed: {}", self.operation.describe(), self.host, self.kind.text())
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
