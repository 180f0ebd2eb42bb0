//! One request, one reply.
//!
//! Owns the two HTTP clients, deadlines, body caps, the control plane's clock, and what a broken connection means.
//! Must not retry, must not know tokens or what a body says.

use std::error::Error as StdError;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, Method, Response, Url};
use rustls::CertificateError;
use tracing::Instrument;

use super::error::{ErrorKind, TlsProblem, TransportKind};
use super::headers;
use super::observer::{ClientObserver, Operation};
use super::settings::Settings;
use super::sync::lock;
use crate::telemetry::traces;

/// Body caps in bytes.
pub(crate) const LIST_CAP: usize = 64 * 1024 * 1024;
pub(crate) const OBJECT_CAP: usize = 1024 * 1024;
pub(crate) const ERROR_CAP: usize = 64 * 1024;

/// What is sent.
pub(crate) struct Call {
    pub(crate) operation: Operation,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) bearer: Option<HeaderValue>,
    pub(crate) body: Option<(&'static str, Vec<u8>)>,
    pub(crate) deadline: Duration,
}

impl Call {
    /// A call of the Clusters API; its token comes later.
    pub(crate) fn json(
        operation: Operation,
        method: Method,
        url: Url,
        body: Option<Vec<u8>>,
        deadline: Duration,
    ) -> Self {
        Self { operation, method, url, bearer: None, body: body.map(|body| ("application/json", body)), deadline }
    }
}

/// Status and headers of an answer; the body is still on its way.
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) date: Option<Timestamp>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) content_type: String,
    response: Response,
}

/// A `Date` header and when it was seen.
#[derive(Clone, Copy, Debug)]
struct Clock {
    theirs: Timestamp,
    ours: Timestamp,
    seen: Instant,
}

pub(crate) struct Transport {
    pooled: Client,
    create: Client,
    clock: Mutex<Option<Clock>>,
    observer: Arc<dyn ClientObserver>,
}

impl Transport {
    pub(crate) fn new(settings: &Settings, observer: Arc<dyn ClientObserver>) -> Result<Self, ErrorKind> {
        let pooled = base(settings)?.pool_idle_timeout(Duration::from_secs(90));
        // A create must not meet a connection that is being closed, nor be sent again by anybody.
        let create = base(settings)?.http1_only().pool_max_idle_per_host(0);
        Ok(Self { pooled: build(pooled)?, create: build(create)?, clock: Mutex::new(None), observer })
    }

    /// Sends once. An `Err` means that no status arrived.
    pub(crate) async fn send(&self, call: Call) -> Result<Reply, ErrorKind> {
        let client = match call.operation {
            Operation::CreateCluster => &self.create,
            Operation::Token
            | Operation::ListClusters
            | Operation::GetCluster
            | Operation::RenameCluster
            | Operation::DeleteCluster
            | Operation::ListMinimal
            | Operation::GetMinimal
            | Operation::InstallInfo
            | Operation::Metrics => &self.pooled,
        };
        let host = call.url.host_str().unwrap_or_default();
        let span = traces::request(call.operation.as_str(), call.method.as_str(), host);
        let mut request = client.request(call.method, call.url).timeout(call.deadline);
        if let Some(bearer) = call.bearer {
            request = request.header(AUTHORIZATION, bearer);
        }
        if let Some((content_type, body)) = call.body {
            request = request.header(CONTENT_TYPE, content_type).body(body);
        }
        let started = Instant::now();
        let sent = request.send().instrument(span.clone()).await;
        let code = sent.as_ref().ok().map(|response| response.status().as_u16());
        traces::answered(&span, code);
        self.observer.request(call.operation, code, started.elapsed());
        let response = sent.map_err(|error| classify(&error))?;
        Ok(self.reply(response))
    }

    fn reply(&self, response: Response) -> Reply {
        let headers = response.headers();
        let date = headers::date(headers);
        if let Some(theirs) = date {
            *lock(&self.clock) = Some(Clock { theirs, ours: Timestamp::now(), seen: Instant::now() });
        }
        Reply {
            code: response.status().as_u16(),
            date,
            retry_after: headers::retry_after(headers).map(super::limiter::clamp_pause),
            content_type: headers::content_type(headers),
            response,
        }
    }

    /// The control plane's clock now, by its last `Date` and the time since. Up to a second and a round trip late.
    pub(crate) fn now(&self) -> Option<Timestamp> {
        let clock = (*lock(&self.clock))?;
        let passed = SignedDuration::try_from(clock.seen.elapsed()).ok()?;
        clock.theirs.checked_add(passed).ok()
    }

    /// How far the control plane's clock was ahead of ours at its last `Date`.
    pub(crate) fn skew(&self) -> Option<SignedDuration> {
        let clock = (*lock(&self.clock))?;
        Some(clock.theirs.duration_since(clock.ours))
    }
}

impl Reply {
    /// Hands over the body piece by piece, decompressed, up to `cap` bytes.
    pub(crate) async fn stream(
        &mut self,
        cap: usize,
        mut receive: impl FnMut(&[u8]) -> Result<(), ErrorKind>,
    ) -> Result<(), ErrorKind> {
        let mut seen = 0_usize;
        while let Some(chunk) = self.response.chunk().await.map_err(|error| classify(&error))? {
            seen = seen.saturating_add(chunk.len());
            if seen > cap {
                return Err(ErrorKind::TooLarge { limit: cap });
            }
            receive(&chunk)?;
        }
        Ok(())
    }

    /// The whole body, up to `cap` bytes.
    pub(crate) async fn body(&mut self, cap: usize) -> Result<Vec<u8>, ErrorKind> {
        let mut body = Vec::new();
        self.stream(cap, |chunk| {
            body.extend_from_slice(chunk);
            Ok(())
        })
        .await?;
        Ok(body)
    }
}

fn base(settings: &Settings) -> Result<ClientBuilder, ErrorKind> {
    let builder = Client::builder()
        .user_agent(concat!("runai-cluster-operator/", env!("CARGO_PKG_VERSION")))
        // A 307 would send the client secret on to whatever host it names.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(settings.limits.connect_timeout);
    if settings.url.scheme() != "https" {
        // Without TLS a missing system CA store must not matter.
        return Ok(builder.tls_certs_only([]));
    }
    let certs = settings
        .ca
        .iter()
        .map(|der| Certificate::from_der(der))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| ErrorKind::Construction("the CA bundle cannot be used".to_owned()))?;
    Ok(builder.https_only(true).tls_certs_merge(certs))
}

fn build(builder: ClientBuilder) -> Result<Client, ErrorKind> {
    builder.build().map_err(|error| {
        let no_roots = chain(&error).any(|cause| cause.to_string().contains("No CA certificates"));
        ErrorKind::Construction(if no_roots {
            "this system has no CA certificates; name a CA bundle in `caBundleRef`".to_owned()
        } else {
            "TLS cannot be set up".to_owned()
        })
    })
}

/// Walks the causes. An `io::Error` hides the error it wraps from `source`, so it is unwrapped by hand.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| error.source())
    })
}

/// What a failed exchange means. Only kinds leave here, never the library's text: it may hold the URL or remote bytes.
fn classify(error: &reqwest::Error) -> ErrorKind {
    if error.is_builder() {
        return ErrorKind::Construction("the request is malformed".to_owned());
    }
    if !error.is_connect() {
        let late = error.is_timeout();
        return ErrorKind::Transport(if late { TransportKind::Timeout } else { TransportKind::Broken });
    }
    let tls = chain(error).find_map(|cause| cause.downcast_ref::<rustls::Error>());
    let io = chain(error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    ErrorKind::Transport(if error.is_dns() {
        TransportKind::Dns
    } else if let Some(tls) = tls {
        TransportKind::Tls(tls_problem(tls))
    } else if error.is_timeout() {
        TransportKind::ConnectTimeout
    } else if io == Some(io::ErrorKind::ConnectionRefused) {
        TransportKind::Refused
    } else {
        TransportKind::Unreachable
    })
}

fn tls_problem(error: &rustls::Error) -> TlsProblem {
    match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            // A bad signature is what a renewed authority of the same name looks like.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsProblem::UnknownCa,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsProblem::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsProblem::NotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsProblem::WrongHost
            }
            _ => TlsProblem::Handshake,
        },
        rustls::Error::InvalidMessage(_) => TlsProblem::NotTls,
        _ => TlsProblem::Handshake,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use rustls::pki_types::{ServerName, UnixTime};

    #[test]
    fn a_failed_handshake_is_told_by_its_cause() {
        let time = UnixTime::since_unix_epoch(Duration::ZERO);
        let host = ServerName::try_from("a.b").unwrap();
        let table = [
            (CertificateError::UnknownIssuer, TlsProblem::UnknownCa),
            (CertificateError::BadSignature, TlsProblem::UnknownCa),
            (CertificateError::Expired, TlsProblem::Expired),
            (CertificateError::ExpiredContext { time, not_after: time }, TlsProblem::Expired),
            (CertificateError::NotValidYet, TlsProblem::NotYetValid),
            (CertificateError::NotValidYetContext { time, not_before: time }, TlsProblem::NotYetValid),
            (CertificateError::NotValidForName, TlsProblem::WrongHost),
            (CertificateError::NotValidForNameContext { expected: host, presented: vec![] }, TlsProblem::WrongHost),
            (CertificateError::BadEncoding, TlsProblem::Handshake),
            (CertificateError::Revoked, TlsProblem::Handshake),
        ];
        for (problem, want) in table {
            let error = rustls::Error::InvalidCertificate(problem);
            // As it arrives: wrapped by an I/O error, which hides it from `source`.
            let wrapped = io::Error::other(error);
            let found = chain(&wrapped).find_map(|cause| cause.downcast_ref::<rustls::Error>()).unwrap();
            assert_eq!(tls_problem(found), want, "{found}");
        }
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert_eq!(tls_problem(&plain), TlsProblem::NotTls);
        assert_eq!(tls_problem(&rustls::Error::HandshakeNotComplete), TlsProblem::Handshake);
    }

    #[test]
    fn every_cause_has_its_own_words_and_names_the_way_out() {
        let table = [
            (TransportKind::Tls(TlsProblem::UnknownCa), "caBundleRef"),
            (TransportKind::Tls(TlsProblem::Expired), "has expired"),
            (TransportKind::Tls(TlsProblem::NotYetValid), "clocks"),
            (TransportKind::Tls(TlsProblem::WrongHost), "another host"),
            (TransportKind::Tls(TlsProblem::NotTls), "does not speak TLS"),
            (TransportKind::Tls(TlsProblem::Handshake), "TLS versions"),
            (TransportKind::Dns, "does not resolve"),
            (TransportKind::Refused, "was refused"),
            (TransportKind::Unreachable, "network policies"),
            (TransportKind::ConnectTimeout, "firewalls"),
        ];
        for (kind, says) in table {
            let error = super::super::ApiError {
                operation: Operation::CreateCluster,
                host: "tenant.run.ai".into(),
                kind: ErrorKind::Transport(kind),
            };
            assert!(error.user_message().contains(says), "want {says:?}, got {error}");
            assert!(error.certainly_not_sent(), "{error}");
        }
    }
}
