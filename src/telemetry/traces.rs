//! Traces: the spans of the operator, and where they are sent.
//!
//! Owns every span that is sent: its name, its fields, what is a root. Off unless the environment names an endpoint; then
//! [`otlp`] sends. Must not know what a pass does, nor put anything into a span that may hold a secret: names of objects,
//! operations, status codes, and results from closed lists only.
//!
//! ```text
//! reconcile  namespace, object, result      one pass over one object
//! ├── runai create_cluster                  one request to the control plane
//! └── patch                                 one request to the Kubernetes API (kube's own span)
//! poll       host                           one look of an inventory at its control plane
//! └── runai list_clusters
//! ```

use tracing::{Metadata, Span, field, info_span};

#[cfg(feature = "otlp")]
mod otlp;
mod settings;

pub use settings::TracesError;

/// Target of our own spans. Logs show them only where traces are sent, since without a trace they add nothing.
pub(super) const TARGET: &str = "runai_cluster_operator::traces";
/// Where kube makes the span of a request to the Kubernetes API. Its fields are method, path and status.
#[cfg(feature = "otlp")]
const KUBE: &str = "kube_client::client::builder";

/// Sends spans until it is told to end.
#[derive(Debug, Default)]
pub struct Traces {
    #[cfg(feature = "otlp")]
    sender: Option<otlp::Sender>,
}

impl Traces {
    /// Whatever the `OTEL_*` variables ask for; nothing, when they name no endpoint or turn traces off.
    ///
    /// # Errors
    /// [`TracesError`] for variables that cannot be followed. The operator works without traces then.
    pub fn from_env() -> Result<Self, TracesError> {
        if !settings::wanted(|name| std::env::var(name).ok())? {
            return Ok(Self::default());
        }
        #[cfg(feature = "otlp")]
        return Ok(Self { sender: Some(otlp::Sender::start()?) });
        #[cfg(not(feature = "otlp"))]
        Err(TracesError::NotBuiltIn)
    }

    /// Whether anything is sent.
    #[must_use]
    pub fn are_sent(&self) -> bool {
        #[cfg(feature = "otlp")]
        return self.sender.is_some();
        #[cfg(not(feature = "otlp"))]
        false
    }

    /// Sends what is left. A collector that does not answer holds the end of the process up for two seconds.
    pub fn end(self) {
        #[cfg(feature = "otlp")]
        if let Some(sender) = self.sender {
            sender.end();
        }
    }

    /// The layer that takes spans.
    #[cfg(feature = "otlp")]
    pub(super) fn layer<S>(&self) -> Option<impl tracing_subscriber::Layer<S> + use<S>>
    where
        S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    {
        self.sender.as_ref().map(otlp::Sender::layer)
    }

    /// The layer that takes spans: there is none.
    #[cfg(not(feature = "otlp"))]
    #[allow(clippy::unused_self, reason = "the same signature as with the feature")]
    pub(super) fn layer(&self) -> Option<tracing_subscriber::layer::Identity> {
        None
    }
}

/// Whether this is one of our own spans.
pub(super) fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET
}

/// The span of a pass, a root. `trace_id` is for the log lines of the pass.
#[must_use]
pub fn pass(namespace: &str, object: &str) -> Span {
    let span = info_span!(
        target: TARGET, parent: None, "reconcile",
        namespace, object, result = field::Empty, trace_id = field::Empty,
    );
    identify(&span);
    span
}

/// A pass ended so.
pub fn passed(span: &Span, result: &'static str) {
    span.record("result", result);
}

/// The span of one look at a control plane, a root.
#[must_use]
pub fn poll(host: &str) -> Span {
    let span = info_span!(target: TARGET, parent: None, "poll", host, trace_id = field::Empty);
    identify(&span);
    span
}

/// The span of one request to a control plane, below the pass or poll that sends it.
#[must_use]
pub fn request(operation: &'static str, method: &str, host: &str) -> Span {
    tracing::debug_span!(
        target: TARGET, "request",
        otel.name = format_args!("runai {operation}"), otel.kind = "client", otel.status_code = field::Empty,
        http.request.method = method, server.address = host, http.response.status_code = field::Empty,
    )
}

/// The status of its answer; `None` when none arrived. By the semantic conventions of OpenTelemetry, 4xx is an error of
/// whoever asked.
pub fn answered(span: &Span, code: Option<u16>) {
    if let Some(code) = code {
        span.record("http.response.status_code", code);
    }
    if code.is_none_or(|code| code >= 400) {
        span.record("otel.status_code", "ERROR");
    }
}

/// Writes the trace's id into its root, where log lines show it.
fn identify(span: &Span) {
    #[cfg(feature = "otlp")]
    if let Some(id) = otlp::trace_id(span) {
        span.record("trace_id", id);
    }
    #[cfg(not(feature = "otlp"))]
    let _ = span;
}
