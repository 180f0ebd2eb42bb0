//! The handle of the operator process, with a small script in the operator's place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{path::Path, time::Duration};

use testbed::{Error, OperatorOptions, OperatorProcess, TemporaryDirectory, wait_until};

const SOON: Duration = Duration::from_secs(30);

fn options(logs: &TemporaryDirectory) -> OperatorOptions {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_operator.py");
    OperatorOptions::new(script, "/dev/null", logs.path())
}

#[tokio::test]
async fn answers_and_obeys_signals() {
    let logs = TemporaryDirectory::create().unwrap();
    let mut operator = OperatorProcess::start(&options(&logs).env("GREETING", "hello")).unwrap();
    operator.wait_ready(SOON).await.unwrap();
    assert_eq!(operator.metrics().await.unwrap(), "hello from /metrics");
    assert_eq!(operator.probe("/livez").await.unwrap(), (200, "hello from /livez".to_owned()));
    assert!(operator.rss_kib().unwrap() > 1000);
    assert!(operator.logs().unwrap().contains("run --namespace runai-operator --allow-insecure-http"));

    operator.sigstop().unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", operator.pid())).unwrap();
    wait_until(SOON, "the process to stop", async || if state().contains(") T") { Ok(()) } else { Err(state()) })
        .await
        .unwrap();
    operator.sigcont().unwrap();
    operator.metrics().await.unwrap();
    assert_eq!(operator.exit_status(), None);

    let status = operator.sigterm_and_wait(SOON).await.unwrap();
    assert_eq!(status.code(), Some(7), "the exit status of the script's own handler");
    assert_eq!(operator.exit_status(), Some(status));
    operator.sigterm().expect("a signal to what has ended is no error");
}

#[tokio::test]
async fn an_early_end_is_reported_with_the_log() {
    let logs = TemporaryDirectory::create().unwrap();
    let mut operator = OperatorProcess::start(&options(&logs).arg("--fail")).unwrap();
    let error = operator.wait_ready(SOON).await.unwrap_err();
    assert!(matches!(&error, Error::Ended { tail, .. } if tail.contains("refused to start")), "{error}");
}

#[tokio::test]
async fn a_killed_and_a_dropped_operator_are_gone() {
    let logs = TemporaryDirectory::create().unwrap();
    let mut killed = OperatorProcess::start(&options(&logs)).unwrap();
    killed.sigkill();
    assert_eq!(killed.exit_status().and_then(|status| status.code()), None, "ended by a signal");
    let dropped = OperatorProcess::start(&options(&logs)).unwrap();
    let place = format!("/proc/{}", dropped.pid());
    assert!(Path::new(&place).exists());
    drop(dropped);
    assert!(!Path::new(&place).exists());
}
