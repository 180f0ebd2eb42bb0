//! The operator's metrics: their names, their labels, and typed handles to move them.
//!
//! Owns the registry and the OpenMetrics text. Label values are words chosen by the code (a reason, an operation, a
//! control plane), never a URL or an error text, so that the number of series stays bounded. Series per object are
//! the business of [`objects`](super::objects). Exposed names carry the prefix `runai_operator_`; a counter gets its
//! suffix `_total` and a measure its unit from the encoder.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::objects::{ClusterMetric, ControlPlaneFacts, ObjectCollector, ObjectFacts, Objects};

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const PREFIX: &str = "runai_operator";

/// Upper bounds in seconds. A pass without remote calls takes a millisecond; one that creates may wait for 20 s.
const RECONCILE_BUCKETS: [f64; 12] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Upper bounds in seconds, up to the total deadline of a remote call.
const API_BUCKETS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
/// Upper bounds in seconds: no wait at all, up to the longest obeyed `Retry-After` of 5 minutes.
const WAIT_BUCKETS: [f64; 9] = [0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 300.0];

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReconcileResult {
    /// The object is as it should be.
    Success,
    /// Nothing failed, but there is more to wait for.
    Waiting,
    /// Something failed; the reason is counted in `reconcile_errors_total`.
    Error,
}

/// What a remote call came back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApiCode {
    /// An HTTP status.
    Status(u16),
    /// No answer: refused, reset, timed out. Shown as `none`.
    None,
}

/// How a token refresh ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefreshResult {
    /// A new token.
    Success,
    /// None.
    Error,
}

impl ReconcileResult {
    /// The metric label, and the result in traces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Waiting => "waiting",
            Self::Error => "error",
        }
    }
}

impl EncodeLabelValue for ReconcileResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

impl EncodeLabelValue for ApiCode {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Status(code) => EncodeLabelValue::encode(code, encoder),
            Self::None => EncodeLabelValue::encode(&"none", encoder),
        }
    }
}

impl EncodeLabelValue for RefreshResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let word = match self {
            Self::Success => "success",
            Self::Error => "error",
        };
        EncodeLabelValue::encode(&word, encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    controller: &'static str,
    result: ReconcileResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabels {
    controller: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    operation: &'static str,
    code: ApiCode,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefreshLabels {
    result: RefreshResult,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// All metrics of the process. Cheap to clone; every clone moves the same series.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    objects: Arc<Objects>,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_duration: Histograms<ControllerLabels>,
    reconcile_errors: Family<ReasonLabels, Counter>,
    api_requests: Family<CallLabels, Counter>,
    api_request_duration: Histograms<OperationLabels>,
    token_refreshes: Family<RefreshLabels, Counter>,
    rate_limit_wait: Histogram,
}

impl Metrics {
    /// Makes and registers all metrics.
    ///
    /// `known_states` are the states for which `cluster_state` shows a series, in the control plane's spelling; a
    /// state beyond them is shown while it lasts. `extra` collectors are rendered with the same prefix.
    pub fn new(known_states: &'static [&'static str], extra: Vec<Box<dyn Collector>>) -> Self {
        let objects = Arc::new(Objects::new(known_states));
        let mut metrics = Self {
            registry: Arc::default(),
            objects: Arc::clone(&objects),
            reconciles: Family::default(),
            reconcile_duration: Family::new_with_constructor(|| Histogram::new(RECONCILE_BUCKETS)),
            reconcile_errors: Family::default(),
            api_requests: Family::default(),
            api_request_duration: Family::new_with_constructor(|| Histogram::new(API_BUCKETS)),
            token_refreshes: Family::default(),
            rate_limit_wait: Histogram::new(WAIT_BUCKETS),
        };
        let mut registry = metrics.register();
        registry.register_collector(Box::new(ObjectCollector(objects)));
        for collector in extra {
            registry.register_collector(collector);
        }
        metrics.registry = Arc::new(registry);
        metrics
    }

    fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register("reconcile", "Passes over objects, by how they ended", self.reconciles.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "Duration of a pass",
            Unit::Seconds,
            self.reconcile_duration.clone(),
        );
        registry.register("reconcile_errors", "Passes that failed, by reason", self.reconcile_errors.clone());
        registry.register("api_requests", "Calls to control planes, by HTTP status", self.api_requests.clone());
        registry.register_with_unit(
            "api_request_duration",
            "Duration of a call to a control plane, without waiting for a permit",
            Unit::Seconds,
            self.api_request_duration.clone(),
        );
        registry.register("token_refresh", "Token requests, by how they ended", self.token_refreshes.clone());
        registry.register_with_unit(
            "rate_limit_wait",
            "Time a call waited for a permit of the rate limiter",
            Unit::Seconds,
            self.rate_limit_wait.clone(),
        );
        registry
    }

    /// Counts one pass of `controller`.
    pub fn reconciled(&self, controller: &'static str, result: ReconcileResult, took: Duration) {
        self.reconciles.get_or_create(&ReconcileLabels { controller, result }).inc();
        self.reconcile_duration.get_or_create(&ControllerLabels { controller }).observe(took.as_secs_f64());
    }

    /// Counts one failed pass under its reason.
    pub fn reconcile_error(&self, reason: &'static str) {
        self.reconcile_errors.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts one remote call.
    pub fn api_request(&self, operation: &'static str, code: ApiCode, took: Duration) {
        self.api_requests.get_or_create(&CallLabels { operation, code }).inc();
        self.api_request_duration.get_or_create(&OperationLabels { operation }).observe(took.as_secs_f64());
    }

    /// Counts one token request.
    pub fn token_refresh(&self, result: RefreshResult) {
        self.token_refreshes.get_or_create(&RefreshLabels { result }).inc();
    }

    /// Records how long one call waited for the rate limiter.
    pub fn rate_limit_wait(&self, waited: Duration) {
        self.rate_limit_wait.observe(waited.as_secs_f64());
    }

    /// Sets what is shown of one object; with `None` all its series vanish.
    pub fn object(&self, namespace: &str, name: &str, facts: Option<&ObjectFacts>) {
        self.objects.object(namespace, name, facts);
    }

    /// Sets what was measured on one cluster, in place of what was before. Ignored for an object that is not shown.
    pub fn measured(&self, namespace: &str, name: &str, numbers: Vec<ClusterMetric>) {
        self.objects.measured(namespace, name, numbers);
    }

    /// Sets what is shown of one control plane; with `None` all its series vanish.
    pub fn control_plane(&self, name: &str, facts: Option<ControlPlaneFacts>) {
        self.objects.control_plane(name, facts);
    }

    /// Gives the question that `leader` asks at each scrape; 0 until then. Only the first call counts.
    pub fn leader_probe(&self, probe: impl Fn() -> bool + Send + Sync + 'static) {
        self.objects.set_leader_probe(Box::new(probe));
    }

    /// Writes all metrics as OpenMetrics text. With many objects this is megabytes: write to something that passes
    /// them on.
    ///
    /// # Errors
    /// Only those of `out`.
    pub fn encode(&self, out: &mut impl fmt::Write) -> fmt::Result {
        text::encode(out, &self.registry)
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
