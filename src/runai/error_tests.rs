//! What every kind of error means and says: one table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use super::{ApiError, Class, ErrorKind, FIRST_DELAY, StatusError, TlsProblem, TransportKind};
use crate::domain::Reason;
use crate::runai::observer::Operation;

const WISH: Duration = Duration::from_secs(7);

fn error(kind: ErrorKind) -> ApiError {
    ApiError { operation: Operation::CreateCluster, host: "cp.example.com".into(), kind }
}

fn status(code: u16) -> StatusError {
    StatusError { code, message: Some("no such luck".to_owned()), retry_after: None, refreshed: false }
}

fn asking(code: u16) -> StatusError {
    StatusError { retry_after: Some(WISH), ..status(code) }
}

/// The request was answered with this status.
fn answered(code: u16) -> ErrorKind {
    ErrorKind::Status(status(code))
}

/// There was no token, for this reason.
fn tokenless(kind: ErrorKind) -> ErrorKind {
    ErrorKind::Token(Box::new(kind))
}

/// Class, reason, whether it was certainly not sent, and words of the message.
#[track_caller]
fn means(kind: ErrorKind, class: Class, reason: Reason, unsent: bool, words: &[&str]) {
    let error = error(kind);
    assert_eq!((error.class(), error.reason(), error.certainly_not_sent()), (class, reason, unsent), "{error:?}");
    let text = error.to_string();
    for word in ["creating the registration at cp.example.com failed: "].iter().chain(words) {
        assert!(text.contains(word), "no {word:?} in {text:?}");
    }
}

#[test]
fn every_status_has_its_class_reason_and_words() {
    let told = "(\"no such luck\")";
    let refused = "refused the request, status";
    let failed = "the control plane failed, status";
    let rows: [(u16, Class, Reason, &str); 18] = [
        (400, Class::Rejected, Reason::Rejected, refused),
        (401, Class::Auth, Reason::AuthFailed, "check the credentials"),
        (402, Class::Rejected, Reason::Rejected, refused),
        (403, Class::Auth, Reason::Forbidden, "lack a permission"),
        (404, Class::Gone, Reason::Rejected, "not found, status 404"),
        (405, Class::Rejected, Reason::Rejected, refused),
        (408, Class::Retry, Reason::ConnectionFailed, "refused the request, status 408"),
        (409, Class::Rejected, Reason::Rejected, refused),
        (410, Class::Gone, Reason::Rejected, "not found, status 410"),
        (422, Class::Rejected, Reason::Rejected, refused),
        (425, Class::Retry, Reason::ConnectionFailed, refused),
        (429, Class::Throttled(None), Reason::Throttled, "asks for fewer requests, status 429"),
        (499, Class::Rejected, Reason::Rejected, refused),
        (500, Class::Retry, Reason::ConnectionFailed, failed),
        (502, Class::Retry, Reason::ConnectionFailed, failed),
        (503, Class::Retry, Reason::ConnectionFailed, failed),
        (504, Class::Retry, Reason::ConnectionFailed, failed),
        (599, Class::Retry, Reason::ConnectionFailed, failed),
    ];
    for (code, class, reason, words) in rows {
        means(answered(code), class, reason, false, &[words, told]);
        assert_eq!(error(answered(code)).status(), Some(code));
        let silent = ErrorKind::Status(StatusError { message: None, ..status(code) });
        assert!(!error(silent).user_message().contains('('), "{code}");
    }
}

#[test]
fn a_wish_for_silence_counts_where_it_belongs() {
    for code in [429, 503] {
        let kind = ErrorKind::Status(asking(code));
        assert_eq!(error(kind.clone()).retry_after(), Some(WISH));
        means(kind, Class::Throttled(Some(WISH)), Reason::Throttled, false, &[]);
    }
    for code in [400, 401, 404, 500, 502] {
        assert_eq!(error(ErrorKind::Status(asking(code))).retry_after(), None, "{code}");
    }
    assert_eq!(
        error(ErrorKind::HeldBack).retry_after(),
        Some(FIRST_DELAY),
        "we were late: the control plane has done nothing"
    );
    assert_eq!(error(ErrorKind::Closed).retry_after(), None);
    let paused = error(ErrorKind::Paused(WISH));
    assert_eq!(paused.retry_after(), Some(WISH));
    let words = ["7 s of it are left"];
    means(paused.kind, Class::Throttled(Some(WISH)), Reason::Throttled, true, &words);
    let nearly_over = ErrorKind::Paused(Duration::from_millis(10));
    means(nearly_over.clone(), nearly_over.class(), Reason::Throttled, true, &["1 s of it are left"]);
}

#[test]
fn without_a_token_nothing_was_sent_and_the_login_is_to_blame() {
    let refused = "no token: the credentials were refused, status";
    let rows: [(u16, Class, Reason, &str); 9] = [
        (400, Class::Auth, Reason::AuthFailed, refused),
        (401, Class::Auth, Reason::AuthFailed, refused),
        (403, Class::Auth, Reason::AuthFailed, refused),
        (404, Class::Gone, Reason::AuthFailed, "no such token endpoint, status 404"),
        (405, Class::Rejected, Reason::AuthFailed, "no such token endpoint, status 405"),
        (422, Class::Rejected, Reason::AuthFailed, "no token: the control plane refused the request"),
        (429, Class::Throttled(None), Reason::Throttled, "no token: the control plane asks for fewer requests"),
        (500, Class::Retry, Reason::ConnectionFailed, "no token: the control plane failed, status 500"),
        (503, Class::Retry, Reason::ConnectionFailed, "no token: the control plane failed, status 503"),
    ];
    for (code, class, reason, words) in rows {
        means(tokenless(answered(code)), class, reason, true, &[words, "(\"no such luck\")"]);
        // It is the status of another request.
        assert_eq!(error(tokenless(answered(code))).status(), None);
    }
    let lost = tokenless(ErrorKind::Transport(TransportKind::Timeout));
    means(lost, Class::Retry, Reason::ConnectionFailed, true, &["no token: no complete answer"]);
}

#[test]
fn a_broken_connection_may_have_carried_the_request() {
    let rows = [
        (TransportKind::Dns, true, "does not resolve"),
        (TransportKind::Refused, true, "was refused"),
        (TransportKind::Unreachable, true, "cannot be reached"),
        (TransportKind::ConnectTimeout, true, "no connection within the time-out"),
        (TransportKind::Tls(TlsProblem::UnknownCa), true, "`caBundleRef`"),
        (TransportKind::Tls(TlsProblem::Expired), true, "has expired"),
        (TransportKind::Tls(TlsProblem::NotYetValid), true, "not valid yet"),
        (TransportKind::Tls(TlsProblem::WrongHost), true, "another host"),
        (TransportKind::Tls(TlsProblem::NotTls), true, "does not speak TLS"),
        (TransportKind::Tls(TlsProblem::Handshake), true, "handshake failed"),
        (TransportKind::Timeout, false, "no complete answer"),
        (TransportKind::Broken, false, "broke before the answer was complete"),
    ];
    for (kind, unsent, words) in rows {
        means(ErrorKind::Transport(kind), Class::Retry, Reason::ConnectionFailed, unsent, &[words]);
        assert_eq!(error(ErrorKind::Transport(kind)).status(), None);
    }
}

#[test]
fn answers_that_are_none_prove_nothing() {
    let what = || "expected a JSON array".to_owned();
    let kinds = [
        (ErrorKind::Undecodable { code: 200, what: what() }, Some(200), "(status 200)"),
        (ErrorKind::Undecodable { code: 200, what: what() }, Some(200), "expected a JSON array"),
        (ErrorKind::UnexpectedStatus { code: 299 }, Some(299), "does not give here"),
        (ErrorKind::UnexpectedStatus { code: 300 }, Some(300), "redirects are not followed"),
        (ErrorKind::UnexpectedStatus { code: 307 }, Some(307), "redirects are not followed"),
        (ErrorKind::UnexpectedStatus { code: 399 }, Some(399), "redirects are not followed"),
        (ErrorKind::TooLarge { limit: 4096 }, None, "larger than 4096 bytes"),
        (ErrorKind::TooMany { limit: 32 << 20 }, None, "more registrations are listed than the 32 MiB"),
    ];
    for (kind, status, words) in kinds {
        assert_eq!(error(kind.clone()).status(), status);
        means(kind, Class::Retry, Reason::Undecodable, false, &[words]);
    }
}

#[test]
fn what_stays_here_was_not_sent() {
    let rows = [
        (ErrorKind::Construction("odd".to_owned()), Class::Bug, Reason::Rejected, "could not be built: odd"),
        (ErrorKind::HeldBack, Class::Retry, Reason::ConnectionFailed, "held back"),
        (ErrorKind::Closed, Class::Retry, Reason::ConnectionFailed, "taken down or replaced"),
    ];
    for (kind, class, reason, words) in rows {
        assert_eq!(error(kind.clone()).status(), None);
        means(kind, class, reason, true, &[words]);
    }
}
