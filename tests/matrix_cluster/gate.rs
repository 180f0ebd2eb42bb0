//! A gate between the operator and the Kubernetes API: it can refuse, hold, lose, mute and falsify.
//!
//! Owns the forwarding and the rules. Must not know any scenario.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use futures::{StreamExt, stream};
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};
use testbed::wait_until;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What becomes of a request.
#[derive(Clone)]
pub enum Act {
    /// It is answered with this status, and nothing happens.
    Refuse(u16),
    /// It is answered with this body, and nothing happens.
    Answer(String),
    /// The answer begins and never goes on; a watch without events.
    Mute,
    /// It has its effect, and the answer waits until the gate is opened.
    Hold,
    /// It has its effect, and the answer is lost.
    Lose,
    /// Nothing happens but the callback.
    Tell,
}

/// Which requests: method and a part of path and query.
#[derive(Clone)]
struct Rule {
    method: Method,
    part: String,
    act: Act,
    times: usize,
    hits: usize,
    then: Arc<dyn Fn() + Send + Sync>,
}

/// A request that passed, or did not.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub target: String,
}

#[derive(Default)]
struct Book {
    rules: Vec<Rule>,
    seen: Vec<Seen>,
}

#[derive(Clone)]
pub struct Gate {
    pub url: String,
    upstream: String,
    book: Arc<Mutex<Book>>,
    /// Counts up whenever the gate is opened: what was held goes on, what was muted ends.
    opened: watch::Sender<u64>,
    client: reqwest::Client,
}

impl Gate {
    /// Stands before the API server at `upstream`, on a port of its own.
    #[allow(clippy::disallowed_methods, reason = "a server of the same testbed, on loopback")]
    pub async fn before(upstream: &str) -> Self {
        let client = reqwest::Client::builder()
            .no_proxy()
            .http1_only()
            .no_gzip()
            .danger_accept_invalid_certs(true)
            .build()
            .unwrap();
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (upstream, book) = (upstream.to_owned(), Arc::default());
        let gate = Self { url, upstream, book, opened: watch::Sender::new(0), client };
        let router = Router::new().fallback(pass).with_state(gate.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        gate
    }

    /// From now on `act` for the first `times` requests of that method with `part` in path or query.
    pub fn rule(&self, method: Method, part: &str, act: Act, times: usize) {
        self.rule_then(method, part, act, times, || ());
    }

    /// The same; `then` is called at each hit, once the request has had its effect (if it has one).
    pub fn rule_then(
        &self,
        method: Method,
        part: &str,
        act: Act,
        times: usize,
        then: impl Fn() + Send + Sync + 'static,
    ) {
        let rule = Rule { method, part: part.to_owned(), act, times, hits: 0, then: Arc::new(then) };
        self.book.lock().unwrap().rules.push(rule);
    }

    /// Takes all rules away; what was held goes on, and what was muted ends.
    pub fn open(&self) {
        self.book.lock().unwrap().rules.clear();
        self.opened.send_modify(|count| *count += 1);
    }

    /// Forgets what was seen.
    pub fn forget(&self) {
        self.book.lock().unwrap().seen.clear();
    }

    /// Requests of that method with `part` in path or query since they were forgotten.
    pub fn count(&self, method: &Method, part: &str) -> usize {
        let book = self.book.lock().unwrap();
        book.seen.iter().filter(|seen| seen.method == method && seen.target.contains(part)).count()
    }

    /// Ends every answer under way, as a load balancer does; rules stay.
    pub fn cut(&self) {
        self.opened.send_modify(|count| *count += 1);
    }

    /// Waits until the rule with `part` has struck so often.
    pub async fn struck(&self, limit: Duration, part: &str, times: usize) {
        wait_until(limit, &format!("the gate to strike {times} times at {part}"), async || {
            let book = self.book.lock().unwrap();
            let hits: usize = book.rules.iter().filter(|rule| rule.part == part).map(|rule| rule.hits).sum();
            let last: Vec<_> = book.seen.iter().rev().take(5).cloned().collect();
            if hits >= times { Ok(()) } else { Err(format!("{hits}; last requests {last:?}")) }
        })
        .await
        .unwrap();
    }

    fn judge(&self, method: &Method, target: &str) -> Option<Rule> {
        let mut book = self.book.lock().unwrap();
        book.seen.push(Seen { method: method.clone(), target: target.to_owned() });
        let hits = |rule: &&mut Rule| rule.hits < rule.times && rule.method == method && target.contains(&rule.part);
        let rule = book.rules.iter_mut().find(hits)?;
        rule.hits += 1;
        Some(rule.clone())
    }

    async fn forward(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        // A client that dies while it sends has asked for nothing.
        let Ok(body) = to_bytes(body, usize::MAX).await else { return broken() };
        let headers = without_hop_headers(parts.headers);
        let sent = self.client.request(parts.method, format!("{}{target}", self.upstream)).headers(headers).body(body);
        match sent.send().await {
            Ok(answer) => {
                let (status, headers) = (answer.status(), without_hop_headers(answer.headers().clone()));
                let mut opened = self.opened.subscribe();
                opened.mark_unchanged();
                let cut = async move {
                    let _ = opened.changed().await;
                };
                let is_watch = target.contains("watch=true");
                let body = answer.bytes_stream();
                let body =
                    if is_watch { Body::from_stream(body.take_until(Box::pin(cut))) } else { Body::from_stream(body) };
                response(status, headers, body)
            }
            Err(error) => response(StatusCode::BAD_GATEWAY, HeaderMap::new(), Body::from(error.to_string())),
        }
    }
}

async fn pass(State(gate): State<Gate>, request: Request) -> Response {
    let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let Some(rule) = gate.judge(request.method(), &target) else { return gate.forward(request).await };
    let mut opened = gate.opened.subscribe();
    opened.mark_unchanged();
    match rule.act {
        Act::Refuse(code) => {
            (rule.then)();
            let status = StatusCode::from_u16(code).unwrap();
            response(status, json_header(), Body::from(refusal(code).to_string()))
        }
        Act::Answer(body) => {
            (rule.then)();
            response(StatusCode::OK, json_header(), Body::from(body))
        }
        Act::Mute => {
            (rule.then)();
            let end = Box::pin(async move {
                let _ = opened.changed().await;
            });
            let silence = stream::pending::<Result<Bytes, std::io::Error>>().take_until(end);
            response(StatusCode::OK, json_header(), Body::from_stream(silence))
        }
        Act::Hold => {
            let answer = whole(gate.forward(request).await).await;
            (rule.then)();
            let _ = opened.changed().await;
            answer
        }
        Act::Lose => {
            let _answer = whole(gate.forward(request).await).await;
            (rule.then)();
            broken()
        }
        Act::Tell => {
            let answer = whole(gate.forward(request).await).await;
            (rule.then)();
            answer
        }
    }
}

/// The answer after its last byte: the effect is complete.
async fn whole(answer: Response) -> Response {
    let (parts, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    Response::from_parts(parts, Body::from(body))
}

/// As the API server says it.
fn refusal(code: u16) -> Value {
    let reason = match code {
        403 => "Forbidden",
        409 => "Conflict",
        410 => "Expired",
        _ => "InternalError",
    };
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code,
        "message": format!("refused at the gate: {reason}"), "metadata": {} })
}

/// One event of a watch that tells of an expired version, after which the server ends it.
pub fn expired() -> Act {
    Act::Answer(format!("{}\n", json!({ "type": "ERROR", "object": refusal(410) })))
}

/// The connection ends in the middle of the answer.
fn broken() -> Response {
    let body = stream::once(async { Err::<Bytes, _>(std::io::Error::other("cut at the gate")) });
    response(StatusCode::OK, HeaderMap::new(), Body::from_stream(body))
}

fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn json_header() -> HeaderMap {
    [(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"))].into_iter().collect()
}

fn without_hop_headers(mut headers: HeaderMap) -> HeaderMap {
    for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}
