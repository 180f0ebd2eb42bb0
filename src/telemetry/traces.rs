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

use tracing::{Metadata, Span, Subscriber, field, info_span};
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

#[cfg_attr(not(feature = "otlp"), path = "traces/nowhere.rs")]
mod otlp;
mod settings;

pub use settings::TracesError;

/// Target of our own spans. Logs show them only where traces are sent, since without a trace they add nothing.
pub(super) const TARGET: &str = "runai_cluster_operator::traces";

/// Sends spans until it is told to end.
#[derive(Debug, Default)]
pub struct Traces {
    sender: Option<otlp::Sender>,
}

impl Traces {
    /// Whatever the `OTEL_*` variables ask for; nothing, when they name no endpoint or turn traces off.
    ///
    /// # Errors
    /// [`TracesError`] for variables that cannot be followed. The operator works without traces then.
    pub fn from_env() -> Result<Self, TracesError> {
        let wanted = settings::wanted(|name| std::env::var(name).ok())?;
        Ok(Self { sender: wanted.then(otlp::Sender::start).transpose()? })
    }

    /// Whether anything is sent.
    #[must_use]
    pub fn are_sent(&self) -> bool {
        self.sender.is_some()
    }

    /// Sends what is left. A collector that does not answer holds the end of the process up for two seconds.
    pub fn end(self) {
        if let Some(sender) = self.sender {
            sender.end();
        }
    }

    /// The layer that takes spans.
    pub(super) fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        self.sender.as_ref().map(otlp::Sender::layer::<S>)
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
    if let Some(id) = otlp::trace_id(span) {
        span.record("trace_id", id);
    }
}
