//! One control plane: from its settings to what its version can do, each step only where the one before it held.
//!
//! Owns the order of these checks and their thresholds. Asks with the operator's own client, so that proxies,
//! authorities and deadlines are the operator's. Must not know where the settings come from.

use std::sync::Arc;

use jiff::SignedDuration;

use super::super::output::count;
use super::report::{Check, Report};
use crate::runai::{
    ApiError, ErrorKind, NoObserver, RunaiClient, Settings, TlsProblem, TokenApi, TransportKind, Verbosity,
};

/// Clocks that differ by more than this deserve a look, in seconds.
const SKEW_WARNING: i64 = 60;
/// Clocks that differ by more than this break tokens and certificates, in seconds.
const SKEW_PROBLEM: i64 = 300;

/// Why nothing follows a broken connection.
const UNREACHED: &str = "it cannot be reached";

/// What comes after the settings.
const AFTER_CONNECTION: [Check; 7] =
    [Check::Dns, Check::Connect, Check::Tls, Check::Token, Check::List, Check::Clock, Check::Capabilities];

/// A control plane under examination.
struct Patient<'a> {
    report: &'a mut Report,
    about: String,
    /// Without Kubernetes: advice must not name objects.
    alone: bool,
}

/// Runs the checks on the control plane `name`. `found` are the settings and where they come from, or why there are none.
pub(super) async fn check(report: &mut Report, name: &str, alone: bool, found: Result<(Settings, String), String>) {
    let mut patient = Patient { report, about: format!("control plane {name}"), alone };
    let (settings, source) = match found {
        Ok(found) => found,
        Err(message) => {
            let otherwise = if alone {
                "correct the credentials file"
            } else {
                "correct the RunaiControlPlane, its connection Secret or its CA bundle"
            };
            patient.report.failed(&patient.about, Check::Connection, &message, otherwise);
            return patient.skip(&AFTER_CONNECTION, "there is no connection");
        }
    };
    let client = match RunaiClient::new(settings.clone(), Arc::new(NoObserver)) {
        Ok(client) => client,
        Err(error) => {
            patient.failed(Check::Connection, &error);
            return patient.skip(&AFTER_CONNECTION, "there is no connection");
        }
    };
    patient.ok(Check::Connection, source);

    let token = client.refresh_token_now().await;
    let reached = patient.network(&settings, token.as_ref().err());

    if !reached {
        return patient.skip(&[Check::Token, Check::List, Check::Clock, Check::Capabilities], UNREACHED);
    }
    let has_token = patient.token(&settings, token.err()).await;
    let listed = has_token && patient.list(&client).await;
    if !has_token {
        patient.skip(&[Check::List], "there is no token");
    }
    patient.clock(client.clock_skew());
    if listed {
        patient.capabilities(&client).await;
    } else {
        patient.skip(&[Check::Capabilities], "registrations cannot be listed");
    }
}

/// How the exchange failed below HTTP, if it did.
const fn transport(error: &ApiError) -> Option<TransportKind> {
    match &error.kind {
        ErrorKind::Transport(kind) => Some(*kind),
        ErrorKind::Token(inner) => match &**inner {
            ErrorKind::Transport(kind) => Some(*kind),
            _ => None,
        },
        _ => None,
    }
}

/// The status by which a token was refused.
fn refusal(error: &ApiError) -> Option<u16> {
    match &error.kind {
        ErrorKind::Token(inner) => match &**inner {
            ErrorKind::Status(status) => Some(status.code),
            _ => None,
        },
        _ => None,
    }
}

/// Which check a broken connection belongs to; `None` where the server was reached.
const fn step(kind: TransportKind) -> Option<usize> {
    match kind {
        TransportKind::Dns => Some(0),
        TransportKind::Refused | TransportKind::Unreachable | TransportKind::ConnectTimeout => Some(1),
        TransportKind::Tls(_) => Some(2),
        TransportKind::Timeout | TransportKind::Broken => None,
    }
}

impl Patient<'_> {
    fn ok(&mut self, check: Check, found: impl Into<String>) {
        self.report.ok(&self.about, check, found);
    }

    fn skip(&mut self, checks: &[Check], why: &str) {
        for &check in checks {
            self.report.skipped(&self.about, check, why);
        }
    }

    fn failed(&mut self, check: Check, error: &ApiError) {
        self.report.failed(
            &self.about,
            check,
            &error.user_message(),
            "run doctor again; ask the control plane's owner",
        );
    }

    /// Name resolution, connection and TLS, as the first request showed them. Whether the server was reached.
    fn network(&mut self, settings: &Settings, error: Option<&ApiError>) -> bool {
        let broken = error.and_then(|error| Some((error, transport(error)?)));
        let broken = broken.and_then(|(error, kind)| Some((error, kind, step(kind)?)));
        let encrypted = settings.origin().as_str().starts_with("https://");
        let steps = [
            (Check::Dns, "the host is found"),
            (Check::Connect, "the server takes connections"),
            (Check::Tls, "the server's certificate is trusted"),
        ];
        for (at, (check, fine)) in steps.into_iter().enumerate() {
            match broken {
                Some((error, kind, failed)) if failed == at => self.unreached(check, error, kind),
                Some((_, _, failed)) if failed < at => self.skip(&[check], UNREACHED),
                _ if check == Check::Tls && !encrypted => self.report.warning(
                    &self.about,
                    check,
                    "there is none: the credentials cross the network in the clear",
                    "use an https URL; http is for a trial on one machine",
                ),
                _ => self.ok(check, fine),
            }
        }
        broken.is_none()
    }

    fn unreached(&mut self, check: Check, error: &ApiError, kind: TransportKind) {
        if self.alone && kind == TransportKind::Tls(TlsProblem::UnknownCa) {
            let message = error.user_message();
            let found = message.rsplit_once("; ").map_or(message.as_str(), |(found, _)| found);
            let advice = "put the certificate of its authority into a file and name that with --ca-file";
            return self.report.problem(&self.about, check, found, advice);
        }
        self.failed(check, error);
    }

    /// Whether there is a token.
    async fn token(&mut self, settings: &Settings, error: Option<ApiError>) -> bool {
        let Some(error) = error else {
            self.ok(Check::Token, "the credentials are good for a token");
            return true;
        };
        let unknown_endpoint = settings.token_api() == TokenApi::V2 && matches!(refusal(&error), Some(404 | 405));
        if unknown_endpoint && first_endpoint_works(settings).await {
            let advice = if self.alone { "use --token-api V1" } else { "set spec.tokenApi to V1" };
            self.report.problem(
                &self.about,
                Check::Token,
                "the control plane is too old for tokenApi V2, which came with 2.24; V1 works",
                format!("{advice}, or upgrade the control plane"),
            );
        } else {
            self.failed(Check::Token, &error);
        }
        false
    }

    /// Whether the registrations can be listed.
    async fn list(&mut self, client: &RunaiClient) -> bool {
        match client.list(Verbosity::Metadata).await {
            Ok(listing) => {
                let tenant = client.token_tenant().map_or_else(String::new, |tenant| format!(" of tenant {tenant}"));
                self.ok(Check::List, format!("{}{tenant}", count(listing.clusters.len(), "registration")));
                true
            }
            Err(error) => {
                self.failed(Check::List, &error);
                false
            }
        }
    }

    fn clock(&mut self, skew: Option<SignedDuration>) {
        let Some(skew) = skew else { return self.skip(&[Check::Clock], "the control plane has not told its time") };
        let seconds = skew.as_secs();
        let apart = seconds.saturating_abs();
        if apart <= SKEW_WARNING {
            return self.ok(Check::Clock, "within a minute of this machine's");
        }
        let direction = if seconds > 0 { "ahead of" } else { "behind" };
        let found = format!("the control plane's clock is {apart} s {direction} this machine's");
        let advice = "set both clocks by NTP: tokens and certificates depend on them";
        if apart > SKEW_PROBLEM {
            self.report.problem(&self.about, Check::Clock, found, advice);
        } else {
            self.report.warning(&self.about, Check::Clock, found, advice);
        }
    }

    async fn capabilities(&mut self, client: &RunaiClient) {
        match client.probe_minimal().await {
            Ok(true) => self.ok(Check::Capabilities, "2.25 or newer"),
            Ok(false) => self.report.warning(
                &self.about,
                Check::Capabilities,
                "the control plane is older than 2.25: it has no minimal list",
                "upgrade it if it is older than 2.22: such a one hides registrations that are being deleted, so that a deletion by somebody else is noticed a minute late",
            ),
            Err(error) => self.failed(Check::Capabilities, &error),
        }
    }
}

/// Whether the same credentials get a token from the first endpoint.
async fn first_endpoint_works(settings: &Settings) -> bool {
    match RunaiClient::new(settings.with_first_token_api(), Arc::new(NoObserver)) {
        Ok(client) => client.refresh_token_now().await.is_ok(),
        Err(_) => false,
    }
}
