//! One request from arrival to reply: the fixed order of faults, checks and the change.
//!
//! Owns that order and everything that waits. Must not know what endpoints answer.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use jiff::Timestamp;

use crate::auth::Session;
use crate::clock::{http_date, seconds};
use crate::connection::Breaker;
use crate::distortion::{Delivery, Ending, after_the_change, real, replacement};
use crate::endpoints::{self, Call};
use crate::fault::{FaultAction, Fired, Phase, ResetPhase, Subject};
use crate::inbound::{BODY_LIMIT, Inbound};
use crate::journal::JournalEntry;
use crate::query::Query;
use crate::reply::Reply;
use crate::route::{Operation, Routed, route};
use crate::state::State;
use crate::validate;

/// The state and its lock, shared by all connections and both ports.
#[derive(Debug)]
pub(crate) struct Shared(Mutex<State>);

impl Shared {
    pub(crate) fn new(state: State) -> Self {
        Self(Mutex::new(state))
    }

    /// Never held across a wait.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection is given up without a reply.
#[derive(Debug, thiserror::Error)]
#[error("connection given up on purpose")]
pub(crate) struct GivenUp;

/// Serves one request of the public port.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    breaker: Breaker,
    request: Request<Incoming>,
) -> Result<Response<Body>, GivenUp> {
    let inbound = read(request).await.ok_or(GivenUp)?;
    let Opened { entry, routed, fired } = open(&shared, &inbound);
    tokio::time::sleep(entry.delay(&fired, Phase::Pre)).await;
    let delivery = match &fired.terminal {
        Some(FaultAction::Reset { phase: ResetPhase::Pre }) => Delivery::Silence(Duration::ZERO),
        Some(FaultAction::Hang { seconds, phase: Phase::Pre }) => Delivery::Silence(real(*seconds)),
        _ => shared.state().execute(&Asked { seq: entry.seq, inbound: &inbound, routed: &routed, fired: &fired }),
    };
    let late = entry.delay(&fired, Phase::Post);
    if !late.is_zero() {
        tokio::time::sleep(late).await;
    }
    deliver(entry, &breaker, &inbound, delivery).await
}

async fn read(request: Request<Incoming>) -> Option<Inbound> {
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => Some(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => None,
        // The client left while it was sending.
        Err(_) => return None,
    };
    Some(Inbound {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body,
    })
}

/// A request in work; its journal entry is closed even if the client leaves first.
struct OpenEntry {
    shared: Arc<Shared>,
    seq: u64,
    /// Configured delay plus its jitter, drawn once.
    base_delay: Duration,
    closed: bool,
}

impl OpenEntry {
    /// Returns the time to show.
    fn close(mut self, status: Option<u16>, bytes: usize) -> Option<Timestamp> {
        self.closed = true;
        let mut state = self.shared.state();
        state.journal.close(self.seq, status, u64::try_from(bytes).unwrap_or(u64::MAX));
        state.config.date.then(|| state.clock.now())
    }

    fn delay(&self, fired: &Fired, when: Phase) -> Duration {
        let base = if when == Phase::Pre { self.base_delay } else { Duration::ZERO };
        let mut state = self.shared.state();
        let drawn = fired.modifiers.iter().map(|fault| match fault {
            FaultAction::Latency { ms, max_ms, phase } if *phase == when => state.rng.u64(*ms..=(*max_ms).max(*ms)),
            _ => 0,
        });
        base + Duration::from_millis(drawn.sum())
    }
}

impl Drop for OpenEntry {
    fn drop(&mut self) {
        if !self.closed {
            self.shared.state().journal.close(self.seq, None, 0);
        }
    }
}

/// A request that has passed the faults of connection and arrival.
struct Asked<'r> {
    seq: u64,
    inbound: &'r Inbound,
    routed: &'r Routed,
    fired: &'r Fired,
}

struct Opened {
    entry: OpenEntry,
    routed: Routed,
    fired: Fired,
}

/// Notes the arrival and lets the fault rules look at it.
fn open(shared: &Arc<Shared>, inbound: &Inbound) -> Opened {
    let mut guard = shared.state();
    let state = &mut *guard;
    let now = state.tick();
    let routed = route(&inbound.method, &inbound.path, &state.caps);
    let session = state.auth.check(&state.config, inbound.header("authorization"), now);
    let mut entry = arrival(inbound, &routed, session, now);
    let uuid = routed.path_id().and_then(|id| validate::path_uuid(id).ok());
    let stored_name = uuid.and_then(|uuid| state.store.get(uuid)).map(|record| record.name.as_str());
    let sent_name = entry.body.as_ref().and_then(|body| body["name"].as_str());
    let subject = Subject {
        operation: entry.operation,
        method: inbound.method.as_str(),
        identity: entry.identity.as_deref(),
        name: sent_name.or(stored_name),
        uuid,
        headers: &inbound.headers,
        query: &inbound.query,
    };
    let fired = state.faults.fire(&subject, now, &mut state.rng);
    entry.faults.clone_from(&fired.ids);
    let seq = state.journal.open(entry);
    for modifier in fired.modifiers.iter().filter(|modifier| acts_on_arrival(modifier)) {
        state.apply(modifier, uuid);
    }
    let jitter = state.rng.u64(0..=state.config.latency_jitter_ms);
    let base_delay = Duration::from_millis(state.config.latency_ms + jitter);
    drop(guard);
    Opened { entry: OpenEntry { shared: Arc::clone(shared), seq, base_delay, closed: false }, routed, fired }
}

/// Others act after the change, or on the deletion that the request starts.
fn acts_on_arrival(modifier: &FaultAction) -> bool {
    !matches!(
        modifier,
        FaultAction::TokenRevoke { phase: Phase::Post, .. }
            | FaultAction::StuckDelete
            | FaultAction::SlowDelete { .. }
            | FaultAction::DeleteFailed { .. }
    )
}

/// A journal entry as far as it is known on arrival.
fn arrival(inbound: &Inbound, routed: &Routed, session: Option<Session>, now: Timestamp) -> JournalEntry {
    let operation = routed.operation();
    let (client_id, tenant_id) = session.map(|session| (session.client_id, session.tenant)).unzip();
    JournalEntry {
        seq: 0,
        at: now,
        arrival_ms: 0,
        duration_ms: 0,
        method: inbound.method.to_string(),
        operation,
        route: operation.map_or_else(|| inbound.path.clone(), |operation| operation.template().to_owned()),
        query: inbound.query.clone(),
        path_id: routed.path_id().map(str::to_owned),
        identity: client_id.or_else(|| inbound.token_identity(routed)),
        tenant_id,
        status: None,
        committed: false,
        committed_at: None,
        committed_uuids: Vec::new(),
        faults: Vec::new(),
        body: inbound.redacted(routed),
        response_bytes: 0,
        user_agent: inbound.header("user-agent").map(str::to_owned),
        finished: false,
    }
}

impl State {
    /// Everything that happens at one instant: checks, faults before, the change, faults after.
    fn execute(&mut self, asked: &Asked<'_>) -> Delivery {
        let Asked { seq: _, inbound, routed, fired } = *asked;
        let now = self.tick();
        let terminal = fired.terminal.as_ref();
        let refused = self.refuse(inbound, routed, now);
        let early = terminal.and_then(|fault| replacement(fault, Phase::Pre, now));
        let (reply, reached) = match (routed, refused) {
            (routed, Err(refusal)) => (self.listed(routed.operation(), refusal), false),
            (Routed::To(operation, _), Ok(session)) => match early {
                Some(reply) => (reply, false),
                None => (self.run(asked, *operation, session.as_ref(), now), true),
            },
            (Routed::WrongMethod(_) | Routed::Unknown, Ok(_)) => (Reply::message(404, "no such path"), false),
        };
        for modifier in &fired.modifiers {
            if matches!(modifier, FaultAction::TokenRevoke { phase: Phase::Post, .. }) {
                self.apply(modifier, None);
            }
        }
        let delivery = if reached { after_the_change(reply, terminal, now) } else { Delivery::Whole(reply) };
        let takes_gzip = || inbound.header("accept-encoding").is_some_and(|kinds| kinds.contains("gzip"));
        match delivery {
            Delivery::Whole(reply) if self.config.gzip && !reply.body.is_empty() && takes_gzip() => {
                Delivery::Whole(reply.gzipped())
            }
            other => other,
        }
    }

    /// The reply with a code that is listed for the endpoint, if the profile knows no others.
    fn listed(&self, operation: Option<Operation>, reply: Reply) -> Reply {
        match operation {
            Some(operation) if self.caps.documented_codes_only => endpoints::documented(operation, reply),
            Some(_) | None => reply,
        }
    }

    /// Steps 3 to 5: path, authentication, rate. Token requests have no session.
    fn refuse(&mut self, inbound: &Inbound, routed: &Routed, now: Timestamp) -> Result<Option<Session>, Reply> {
        let operation = match routed {
            Routed::To(operation, _) => *operation,
            Routed::WrongMethod(allow) => {
                return Err(Reply::message(405, "method is not allowed").with_header("allow", *allow));
            }
            Routed::Unknown => return Err(Reply::message(404, "no such path")),
        };
        if operation.is_token() {
            return Ok(None);
        }
        let session = self.auth.check(&self.config, inbound.header("authorization"), now);
        let session = session.ok_or_else(|| Reply::message(401, "token is missing or not valid"))?;
        self.take_permit(&session.client_id, now)
            .map_err(|wait| Reply::message(429, "too many requests").with_header("retry-after", wait.to_string()))?;
        Ok(Some(session))
    }

    /// Steps 7 to 10, and what modifiers make of the reply.
    fn run(&mut self, asked: &Asked<'_>, operation: Operation, session: Option<&Session>, now: Timestamp) -> Reply {
        let Asked { seq, inbound, routed, fired } = *asked;
        let late = match fired.terminal {
            Some(FaultAction::LateCommit { seconds: by, .. }) => Some(seconds(by)),
            _ => None,
        };
        let mut reply = match session {
            None if operation == Operation::TokenV2 => self.token_v2(inbound, &fired.modifiers, now),
            None => self.token_v1(inbound, &fired.modifiers, now),
            Some(session) => {
                self.journal.note(seq, |entry| entry.tenant_id = Some(session.tenant));
                self.answer(&Call {
                    seq,
                    operation,
                    path_id: routed.path_id(),
                    session,
                    inbound,
                    query: Query::parse(&inbound.query),
                    modifiers: &fired.modifiers,
                    late,
                    now,
                })
            }
        };
        reply = self.listed(Some(operation), reply);
        for modifier in &fired.modifiers {
            self.distort(&mut reply, modifier);
        }
        reply
    }
}

async fn deliver(
    entry: OpenEntry,
    breaker: &Breaker,
    inbound: &Inbound,
    delivery: Delivery,
) -> Result<Response<Body>, GivenUp> {
    let request_id = inbound.header("x-request-id").map_or_else(|| format!("sim-{}", entry.seq), str::to_owned);
    match delivery {
        Delivery::Silence(wait) => {
            tokio::time::sleep(wait).await;
            entry.close(None, 0);
            breaker.trip();
            Err(GivenUp)
        }
        Delivery::Whole(reply) => {
            let body = reply.body.clone();
            let date = entry.close(Some(reply.status), body.len());
            Ok(response(&reply, &request_id, date, Body::from(body)))
        }
        Delivery::Half(reply, ending) => {
            let half = reply.body.slice(..reply.body.len() / 2);
            let length = reply.body.len();
            let date = entry.close(Some(reply.status), half.len());
            let breaker = breaker.clone();
            let rest = futures::stream::once(async move {
                // Pending once, so that the first half is on the wire before the connection breaks.
                tokio::time::sleep(Duration::from_millis(10)).await;
                if matches!(ending, Ending::Reset) {
                    breaker.trip();
                }
                Err::<Bytes, GivenUp>(GivenUp)
            });
            let first = futures::stream::once(async move { Ok::<_, Infallible>(half) });
            let body = first.map(|part| part.map_err(|never| match never {})).chain(rest);
            let mut response = response(&reply, &request_id, date, Body::from_stream(body));
            response.headers_mut().insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
            Ok(response)
        }
    }
}

fn response(reply: &Reply, request_id: &str, date: Option<Timestamp>, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let mut set = |name: &str, value: &str| {
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
        if let Some((name, value)) = parsed {
            headers.insert(name, value);
        }
    };
    if let Some(date) = date {
        set("date", &http_date(date));
    }
    set("x-request-id", request_id);
    if !reply.content_type.is_empty() {
        set("content-type", reply.content_type);
    }
    for (name, value) in &reply.headers {
        set(name, value);
    }
    response
}
