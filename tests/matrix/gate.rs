//! A gate between the operator and both APIs: it numbers what takes effect, and can strike right before or after.
//!
//! Owns the forwarding and the trap. Must not know what a strike does, nor what comes after it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode, header};
use testbed::wait_until;
use tokio::net::TcpListener;

/// Many times what an Event takes.
const QUIET: Duration = Duration::from_millis(200);

/// An Event that has not come by then never will.
const TOLD: Duration = Duration::from_secs(10);

/// Something that changes an object or a registration, such as `POST clusters` or `PATCH runaiclusters/status`.
pub type Effect = String;

/// When a trap strikes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// The request has arrived and is not passed on.
    Before,
    /// It has taken effect, and its answer is not passed on.
    After,
}

type Strike = Box<dyn FnOnce() + Send>;

/// Strikes at the `nth` effect of that kind (from 0) since it was set.
struct Trap {
    effect: Effect,
    nth: usize,
    when: When,
    /// The answer is passed on after the strike.
    answers: bool,
    strike: Strike,
}

#[derive(Default)]
struct Log {
    seen: Vec<Effect>,
    trap: Option<Trap>,
    /// From when a trap is set until its strike is over: an effect may be visible to everybody before the strike.
    open: bool,
}

#[derive(Clone)]
pub struct Gate {
    log: Arc<Mutex<Log>>,
    /// For the operator's kubeconfig.
    pub kubernetes: String,
    /// For its connection Secret.
    pub control_plane: String,
}

#[derive(Clone)]
struct Door {
    upstream: String,
    client: reqwest::Client,
    log: Arc<Mutex<Log>>,
}

impl Gate {
    pub async fn open(kubernetes: &str, control_plane: &str) -> Self {
        let log = Arc::new(Mutex::new(Log::default()));
        let kubernetes = door(kubernetes, &log).await;
        let control_plane = door(control_plane, &log).await;
        Self { log, kubernetes, control_plane }
    }

    /// Forgets what was seen.
    pub fn clear(&self) {
        *self.log.lock().unwrap() = Log::default();
    }

    pub fn seen(&self) -> Vec<Effect> {
        self.log.lock().unwrap().seen.clone()
    }

    /// Waits until nothing has come for a moment: Events follow what they tell of.
    pub async fn until_quiet(&self) {
        let mut before = usize::MAX;
        while before != self.seen().len() {
            before = self.seen().len();
            tokio::time::sleep(QUIET).await;
        }
    }

    /// Waits until the trap has struck and so many Events were sent. On a busy machine the last Event may come long after
    /// the object is gone; what never comes is for the caller to find.
    pub async fn until_told(&self, events: usize) {
        let told = wait_until(TOLD, "the trap and the Events", async || {
            let seen = self.told();
            if seen >= events && !self.is_set() { Ok(()) } else { Err(seen) }
        });
        let _ = told.await;
    }

    /// Waits until so many Events were sent, or the trap has struck. Events are sent beside a pass: whoever goes on before
    /// does not know what else is under way when a trap at one of them strikes.
    pub async fn until_told_or_struck(&self, events: usize) {
        let told = wait_until(TOLD, "an Event, or the trap", async || {
            let seen = self.told();
            if seen >= events || !self.is_set() { Ok(()) } else { Err(seen) }
        });
        let _ = told.await;
    }

    fn told(&self) -> usize {
        self.seen().iter().filter(|effect| *effect == "POST events").count()
    }

    /// Whether a trap is still waiting, or about to strike.
    pub fn is_set(&self) -> bool {
        self.log.lock().unwrap().open
    }

    /// The next trap. `answers`: the request is passed on and answered all the same; otherwise the connection breaks.
    pub fn set(&self, effect: &str, nth: usize, when: When, answers: bool, strike: impl FnOnce() + Send + 'static) {
        let trap = Trap { effect: effect.to_owned(), nth, when, answers, strike: Box::new(strike) };
        let mut log = self.log.lock().unwrap();
        log.trap = Some(trap);
        log.open = true;
    }
}

async fn door(upstream: &str, log: &Arc<Mutex<Log>>) -> String {
    #[allow(clippy::disallowed_methods, reason = "a server of the same testbed, on loopback")]
    let client = reqwest::Client::builder()
        .no_proxy()
        .http1_only()
        .no_gzip()
        .redirect(reqwest::redirect::Policy::none())
        .danger_accept_invalid_certs(true)
        .build()
        .unwrap();
    let door = Door { upstream: upstream.to_owned(), client, log: Arc::clone(log) };
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(pass).with_state(door);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// The effect of a request, if it is one on an object, its Events, or a registration.
fn effect(method: &Method, path: &str) -> Option<Effect> {
    let verb = method.as_str();
    if *method == Method::GET {
        return None;
    }
    let kinds = [("/runaiclusters/", "runaiclusters"), ("/team-a/events", "events"), ("/api/v1/clusters", "clusters")];
    let (_, kind) = kinds.into_iter().find(|(part, _)| path.contains(part))?;
    let status = if path.ends_with("/status") { "/status" } else { "" };
    Some(format!("{verb} {kind}{status}"))
}

impl Log {
    /// Notes an effect; the trap, if it is this one's.
    fn note(&mut self, effect: &Effect) -> Option<Trap> {
        let earlier = self.seen.iter().filter(|seen| *seen == effect).count();
        self.seen.push(effect.clone());
        self.trap.take_if(|trap| trap.effect == *effect && trap.nth == earlier)
    }
}

/// No answer: the task ends here, and with it the connection.
fn silence() -> Response {
    let broken = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("struck")) });
    Response::new(Body::from_stream(broken))
}

async fn pass(State(door): State<Door>, request: Request) -> Response {
    let effect = effect(request.method(), request.uri().path());
    let trap = effect.and_then(|effect| door.log.lock().unwrap().note(&effect));
    let Some(Trap { when, answers, strike, .. }) = trap else { return door.forward(request).await };
    match when {
        When::Before => {
            strike();
            door.struck();
            if answers { door.forward(request).await } else { silence() }
        }
        When::After => {
            let (parts, body) = door.forward(request).await.into_parts();
            // All of it: the effect is complete.
            let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
            strike();
            door.struck();
            if answers { Response::from_parts(parts, Body::from(body)) } else { silence() }
        }
    }
}

impl Door {
    fn struck(&self) {
        self.log.lock().unwrap().open = false;
    }

    async fn forward(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        // A client that dies while it sends has asked for nothing.
        let Ok(body) = to_bytes(body, usize::MAX).await else { return silence() };
        let headers = without_hop_headers(parts.headers);
        let sent = self.client.request(parts.method, format!("{}{target}", self.upstream)).headers(headers).body(body);
        match sent.send().await {
            Ok(answer) => {
                let (status, headers) = (answer.status(), without_hop_headers(answer.headers().clone()));
                let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
                *response.status_mut() = status;
                *response.headers_mut() = headers;
                response
            }
            Err(error) => {
                let mut response = Response::new(Body::from(error.to_string()));
                *response.status_mut() = StatusCode::BAD_GATEWAY;
                response
            }
        }
    }
}

fn without_hop_headers(mut headers: HeaderMap) -> HeaderMap {
    for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}
