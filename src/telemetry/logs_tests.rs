//! What reaches the log, in which form, and what never does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use super::{LAST_WORDS, Lines, LogError, LogFormat, Traces, end, init, lines, no_color, subscriber};

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

const TEXT: Lines = Lines::Text { colour: false };

fn log_of(lines: Lines, directives: &str, speak: impl FnOnce()) -> String {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = subscriber(lines, directives, move || writer.clone(), &Traces::default()).unwrap();
    tracing::subscriber::with_default(subscriber, speak);
    let bytes = captured.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn info_is_the_default_level() {
    let log = log_of(TEXT, "", || {
        tracing::info!(cluster = "a", "seen");
        tracing::debug!("hidden");
    });
    assert!(log.contains("INFO") && log.contains("seen") && log.contains("cluster=\"a\""), "{log}");
    assert!(!log.contains("hidden"), "{log}");
    assert!(!log.contains('\u{1b}'), "colour without a terminal: {log}");
}

#[test]
fn the_environment_opens_the_filter_for_the_operator() {
    let log = log_of(TEXT, "trace", || tracing::trace!("deep"));
    assert!(log.contains("deep"), "{log}");
}

#[test]
fn json_is_one_object_per_line() {
    let log = log_of(Lines::Json, "", || {
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
    assert_eq!(lines[0]["target"], module_path!());
    assert!(lines[0]["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{}", lines[0]);
}

#[test]
fn auto_is_text_on_a_terminal_and_json_elsewhere() {
    let coloured = Lines::Text { colour: true };
    for (format, terminal, no_color, expected) in [
        (LogFormat::Text, true, None, coloured),
        (LogFormat::Text, true, Some("1"), TEXT),
        (LogFormat::Text, false, None, TEXT),
        (LogFormat::Json, true, None, Lines::Json),
        (LogFormat::Json, false, None, Lines::Json),
        (LogFormat::Auto, true, None, coloured),
        (LogFormat::Auto, true, Some("1"), TEXT),
        (LogFormat::Auto, false, None, Lines::Json),
    ] {
        assert_eq!(lines(format, terminal, no_color), expected, "{format:?}, {terminal}, {no_color:?}");
    }
}

#[test]
fn the_last_words_are_logged_whatever_the_filter_says() {
    for directives in ["off", "warn,runai_cluster_operator=off", "kube=debug"] {
        let log = log_of(Lines::Json, directives, || {
            tracing::error!("an ordinary one");
            end(&"the port is taken");
        });
        assert!(log.contains("the port is taken") && !log.contains("ordinary"), "{directives}: {log}");
    }
}

/// In a process of its own, since the hook is the process's: this test, run again.
#[test]
fn a_panic_is_a_line_like_any_other() {
    const CHILD: &str = "LOGS_TEST_PANICS";
    if std::env::var_os(CHILD).is_some() {
        init(LogFormat::Json, &Traces::default()).unwrap();
        assert!(std::thread::spawn(|| panic!("a \"quoted\"\nword")).join().is_err());
        return;
    }
    for (backtrace, filter) in [("0", "info"), ("0", "off"), ("1", "off")] {
        let this = concat!(module_path!(), "::a_panic_is_a_line_like_any_other");
        let (_, this) = this.split_once("::").unwrap();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", this, "--nocapture"]).env(CHILD, "1");
        child.env("RUST_LOG", filter).env("RUST_BACKTRACE", backtrace);
        let output = child.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let log = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 1, "{log}");
        let message = lines[0]["message"].as_str().unwrap();
        assert!(message.starts_with("panicked at src/telemetry/logs_tests.rs:"), "{log}");
        assert!(message.ends_with(": a \"quoted\"\nword"), "{log}");
        assert_eq!((&lines[0]["level"], &lines[0]["target"]), (&"ERROR".into(), &LAST_WORDS.into()), "{log}");
        assert_eq!(lines[0]["backtrace"].is_string(), backtrace == "1", "{log}");
    }
}

#[test]
fn libraries_that_see_bodies_stay_silent_at_every_level() {
    let log = log_of(TEXT, "trace,kube_client::client=trace,h2=trace", || {
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
    let Err(error) = subscriber(TEXT, "info,=loud=", std::io::sink, &Traces::default()) else {
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
