//! What reaches the log, in which form, and what never does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use super::{LogError, LogFormat, Traces, no_color, subscriber};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn log_of(format: LogFormat, directives: &str, speak: impl FnOnce()) -> String {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = subscriber(format, directives, false, move || writer.clone(), &Traces::default()).unwrap();
    tracing::subscriber::with_default(subscriber, speak);
    let bytes = captured.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn info_is_the_default_level() {
    let log = log_of(LogFormat::Text, "", || {
        tracing::info!(cluster = "a", "seen");
        tracing::debug!("hidden");
    });
    assert!(log.contains("INFO") && log.contains("seen") && log.contains("cluster=\"a\""), "{log}");
    assert!(!log.contains("hidden"), "{log}");
    assert!(!log.contains('\u{1b}'), "colour without a terminal: {log}");
}

#[test]
fn the_environment_opens_the_filter_for_the_operator() {
    let log = log_of(LogFormat::Text, "trace", || tracing::trace!("deep"));
    assert!(log.contains("deep"), "{log}");
}

#[test]
fn json_is_one_object_per_line() {
    let log = log_of(LogFormat::Json, "", || {
        let _span = tracing::info_span!("pass", namespace = "team").entered();
        tracing::warn!(uuid = "u-1", "careful");
        tracing::warn!("again");
    });
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["message"], "careful");
    assert_eq!(lines[0]["uuid"], "u-1");
    assert_eq!(lines[0]["level"], "WARN");
    assert_eq!(lines[0]["span"]["namespace"], "team");
}

#[test]
fn libraries_that_see_bodies_stay_silent_at_every_level() {
    let log = log_of(LogFormat::Text, "trace,kube_client::client=trace,h2=trace", || {
        tracing::warn!(target: "kube_client::client", "canary-secret-body");
        tracing::trace!(target: "h2::codec::framed_read", "canary-secret-frame");
        tracing::debug!(target: "reqwest::connect", "canary-secret-url");
        tracing::error!(target: "kube_client::client::builder", "failed with status 500");
        tracing::info!(target: "h2o", "not a wire crate");
    });
    assert!(!log.contains("canary"), "{log}");
    assert!(log.contains("failed with status 500") && log.contains("not a wire crate"), "{log}");
}

#[test]
fn a_malformed_filter_is_named() {
    let Err(error) = subscriber(LogFormat::Text, "info,=loud=", false, std::io::sink, &Traces::default()) else {
        panic!("accepted a malformed filter");
    };
    assert!(matches!(error, LogError::Filter(_)));
    assert!(error.to_string().contains("RUST_LOG"), "{error}");
}

#[test]
fn no_color_counts_when_not_empty() {
    assert!(no_color(Some("1")));
    assert!(!no_color(Some("")));
    assert!(!no_color(None));
}
