//! A collector of OTLP over HTTP: takes what it is sent and shows it.
//!
//! Owns the server and the reading of what came. Must not know the operator.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prost::Message;
use tokio::net::TcpListener;

/// A span as it came.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: String,
    pub id: String,
    /// Empty for a root.
    pub parent: String,
    pub name: String,
    /// By OpenTelemetry's numbers: 1 is internal, 3 is a client.
    pub kind: i32,
    pub failed: bool,
    pub fields: BTreeMap<String, String>,
    /// Of the process that sent it.
    pub resource: BTreeMap<String, String>,
}

#[derive(Default)]
struct Taken {
    spans: Vec<Span>,
    /// Uncompressed.
    bodies: Vec<u8>,
    headers: Vec<HeaderMap>,
    answer: StatusCode,
}

#[derive(Clone)]
pub struct Collector {
    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub url: String,
    taken: Arc<Mutex<Taken>>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let taken = Arc::<Mutex<Taken>>::default();
        let router = Router::new().route("/v1/traces", axum::routing::post(take)).with_state(Arc::clone(&taken));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, taken }
    }

    /// From now on requests are answered with this status.
    pub fn answer(&self, status: StatusCode) {
        self.lock().answer = status;
    }

    pub fn spans(&self) -> Vec<Span> {
        self.lock().spans.clone()
    }

    /// Roots of passes over an object.
    pub fn passes(&self, object: &str) -> Vec<Span> {
        let of = |span: &Span| span.name == "reconcile" && span.fields.get("object").is_some_and(|name| name == object);
        self.spans().into_iter().filter(of).collect()
    }

    /// Names of the spans of a trace that have this parent.
    pub fn below(&self, parent: &Span) -> BTreeSet<String> {
        let spans = self.spans();
        let below = spans.iter().filter(|span| span.trace == parent.trace && span.parent == parent.id);
        below.map(|span| span.name.clone()).collect()
    }

    /// Everything that came, as it came.
    pub fn bodies(&self) -> Vec<u8> {
        self.lock().bodies.clone()
    }

    /// Headers of each request.
    pub fn headers(&self) -> Vec<HeaderMap> {
        self.lock().headers.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap()
    }
}

async fn take(State(taken): State<Arc<Mutex<Taken>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut body = body.to_vec();
    if headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
        body = plain;
    }
    let mut taken = taken.lock().unwrap();
    taken.headers.push(headers);
    if !taken.answer.is_success() {
        return taken.answer;
    }
    let sent = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    taken.bodies.extend(body);
    for of_process in sent.resource_spans {
        let resource = fields(&of_process.resource.unwrap_or_default().attributes);
        for span in of_process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            taken.spans.push(Span {
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                kind: span.kind,
                failed: span.status.is_some_and(|status| status.code == 2),
                fields: fields(&span.attributes),
                resource: resource.clone(),
            });
        }
    }
    StatusCode::OK
}

fn fields(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    pairs.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
