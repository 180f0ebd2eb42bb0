//! The exporter: OTLP over HTTP, in batches, from a thread of its own.
//!
//! Owns the tracer and its client. The client is the blocking one: the exporter's thread is none of the runtime's, and an
//! asynchronous client would panic there at the first batch. Must not hold the operator up: what does not fit is dropped.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Span, Subscriber, info, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::{TARGET, TracesError};

/// Where kube makes the span of a request to the Kubernetes API. Its fields are method, path and status.
const KUBE: &str = "kube_client::client::builder";
/// Name of the service where `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say none, and of the tracer.
const SERVICE: &str = "runai-cluster-operator";
/// Patience with a collector: for a connection, and when the process ends.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct Sender {
    provider: SdkTracerProvider,
}

impl fmt::Debug for Sender {
    /// Without the exporter, whose headers may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl Sender {
    /// Must not be called from a task: the blocking client waits for a thread of its own.
    pub(super) fn start() -> Result<Self, TracesError> {
        // Not the request's time-out: that is the exporter's, by `OTEL_EXPORTER_OTLP_TIMEOUT`.
        let client = reqwest::blocking::Client::builder()
            .user_agent(concat!("runai-cluster-operator/", env!("CARGO_PKG_VERSION")))
            // A redirect would take the headers of `OTEL_EXPORTER_OTLP_HEADERS` along.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(PATIENCE)
            .build()
            .map_err(|_| TracesError::SetUp("TLS needs the CA certificates of a system".to_owned()))?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Watched { client, accepted: AtomicBool::new(true) })
            .build()
            .map_err(|error| TracesError::SetUp(error.to_string()))?;
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build();
        Ok(Self { provider })
    }

    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let is_sent = |metadata: &Metadata<'_>, context: &Context<'_, S>| {
            // A request outside of passes and polls belongs to no trace: a watch, for example, or the Lease.
            may_be_sent(metadata) && (is_root(metadata) || context.lookup_current().is_some())
        };
        let filter = dynamic_filter_fn(is_sent).with_max_level_hint(LevelFilter::DEBUG);
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(SERVICE))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter)
    }

    pub(super) fn end(self) {
        // What is lost then was told already, or is not worth a word.
        let _ = self.provider.shutdown_with_timeout(PATIENCE);
    }
}

/// Events are not sent: they are the log's.
fn may_be_sent(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && matches!(metadata.target(), TARGET | KUBE)
}

fn is_root(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET && matches!(metadata.name(), "reconcile" | "poll")
}

fn resource() -> Resource {
    let resource = Resource::builder_empty()
        .with_service_name(SERVICE)
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match std::env::var("OTEL_SERVICE_NAME") {
        Ok(name) if !name.is_empty() => resource.with_service_name(name).build(),
        _ => resource.build(),
    }
}

/// The id of a span's trace; `None` when it is not sent.
pub(super) fn trace_id(span: &Span) -> Option<String> {
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| context.trace_id().to_string())
}

/// A client that tells when the collector begins and ceases to take what it is sent.
#[derive(Debug)]
struct Watched {
    client: reqwest::blocking::Client,
    accepted: AtomicBool,
}

#[async_trait::async_trait]
impl HttpClient for Watched {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let answer = self.client.send_bytes(request).await;
        let problem = match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("status {}", answer.status().as_u16())),
            Err(_) => Some("no answer".to_owned()),
        };
        match problem {
            None if !self.accepted.swap(true, Ordering::Relaxed) => info!(host, "traces are taken again"),
            Some(problem) if self.accepted.swap(false, Ordering::Relaxed) => {
                warn!(host, problem, "traces are not taken; the operator works on, and drops what does not fit");
            }
            None | Some(_) => {}
        }
        answer
    }
}
