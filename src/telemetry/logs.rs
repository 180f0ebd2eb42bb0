//! Sets up the process log: format, filter, and a floor under what libraries may say.
//!
//! Logs go to standard error, so that standard output stays free for data. This file must not know what is logged.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt::Display,
    io::{self, IsTerminal},
    panic,
};

use thiserror::Error;
use tracing::{Level, Metadata, Subscriber, error};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, ParseError, filter_fn},
    fmt::MakeWriter,
    layer::SubscriberExt,
    registry::LookupSpan,
    util::{SubscriberInitExt, TryInitError},
};

use super::traces::{self, Traces};

/// The filter used when `RUST_LOG` is absent or empty.
///
/// `kube_client` reports each failed request and `kube_runtime` each failed watch at once and again; the operator
/// reports both itself, with context and not more often than needed.
const DEFAULT_FILTER: &str = "info,kube_client=off,kube_runtime=error";

/// Crates that see whole requests and responses. `kube_client` for one prints a body that it cannot decode as a
/// warning, and such a body may be a Secret. Their events below [`Level::ERROR`] are dropped whatever `RUST_LOG` says.
const WIRE_CRATES: [&str; 10] =
    ["kube_client", "hyper", "hyper_util", "h2", "reqwest", "rustls", "hyper_rustls", "tower", "tower_http", "axum"];

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One readable line per event; coloured on a terminal unless `NO_COLOR` is set.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
    /// Text on a terminal, JSON elsewhere.
    Auto,
}

/// How the lines of this process are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// For people.
    Text {
        /// With colours.
        colour: bool,
    },
    /// For machines.
    Json,
}

/// Target of what is logged whatever `RUST_LOG` says: a panic, and why the process ends.
const LAST_WORDS: &str = "runai_cluster_operator::end";

/// Why logging could not be set up.
#[derive(Debug, Error)]
pub enum LogError {
    /// `RUST_LOG` is not a list of `target=level` directives.
    #[error("RUST_LOG is not a valid filter: {0}; an example is \"info,runai_cluster_operator=debug\"")]
    Filter(#[source] ParseError),
    /// The process has a subscriber already.
    #[error("logging is set up already: {0}")]
    AlreadySet(#[source] TryInitError),
}

/// Installs the process-wide subscriber; panics go to the log from then on. Called once, before anything is logged. Lines of
/// a pass or a poll show its span, and with it the trace's id, where `traces` are sent.
///
/// # Errors
/// [`LogError::Filter`] for a malformed `RUST_LOG`, [`LogError::AlreadySet`] when called twice.
pub fn init(format: LogFormat, traces: &Traces) -> Result<Lines, LogError> {
    let directives = std::env::var("RUST_LOG").unwrap_or_default();
    let lines = lines(format, io::stderr().is_terminal(), std::env::var("NO_COLOR").ok().as_deref());
    subscriber(lines, &directives, io::stderr, traces)?.try_init().map_err(LogError::AlreadySet)?;
    panic::set_hook(Box::new(report));
    Ok(lines)
}

/// Logs why the process ends.
pub fn end(error: &impl Display) {
    error!(target: LAST_WORDS, "{error}");
}

/// Logs a panic in place of the text that Rust writes by itself, which no reader of JSON could take.
fn report(info: &panic::PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("without a message");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let trace = Backtrace::capture();
    let backtrace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
    error!(target: LAST_WORDS, backtrace, "panicked at {place}: {message}");
}

fn lines(format: LogFormat, terminal: bool, no_colour: Option<&str>) -> Lines {
    match format {
        LogFormat::Json => Lines::Json,
        LogFormat::Auto if !terminal => Lines::Json,
        LogFormat::Text | LogFormat::Auto => Lines::Text { colour: terminal && !no_color(no_colour) },
    }
}

/// `NO_COLOR` counts when it is set and not empty (<https://no-color.org>).
fn no_color(value: Option<&str>) -> bool {
    value.is_some_and(|value| !value.is_empty())
}

fn subscriber<W>(lines: Lines, directives: &str, out: W, traces: &Traces) -> Result<impl Subscriber + use<W>, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let directives = if directives.trim().is_empty() { DEFAULT_FILTER } else { directives };
    let filter = EnvFilter::try_new(directives).map_err(LogError::Filter)?;
    let traced = traces.are_sent();
    let speaks = filter_fn(move |metadata| may_speak(metadata) && (traced || !traces::is_ours(metadata)));
    let layer = layer(lines, out).with_filter(filter.or(filter_fn(is_last_word)).and(speaks));
    Ok(tracing_subscriber::registry().with(traces.layer()).with(layer))
}

fn layer<S, W>(lines: Lines, out: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(out);
    match lines {
        Lines::Text { colour } => layer.with_ansi(colour).boxed(),
        Lines::Json => layer.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
    }
}

fn is_last_word(metadata: &Metadata<'_>) -> bool {
    metadata.target() == LAST_WORDS
}

/// Whether an event may be written at all, for reasons of secrecy rather than of interest.
fn may_speak(metadata: &Metadata<'_>) -> bool {
    let root = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() == Level::ERROR || !WIRE_CRATES.contains(&root)
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;
