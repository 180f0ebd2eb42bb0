//! Gates and heartbeats: who is named when, and who is forgiven.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use super::{Liveness, Readiness};

const HOUR: Duration = Duration::from_secs(3600);

fn told(liveness: &Liveness) -> Vec<String> {
    liveness.stale().iter().map(ToString::to_string).collect()
}

#[test]
fn readiness_names_every_closed_gate() {
    let readiness = Readiness::default();
    assert!(readiness.closed().is_empty());
    let (clusters, crds) = (readiness.gate("clusters synced"), readiness.gate("CRDs served"));
    assert_eq!(readiness.closed(), ["CRDs served", "clusters synced"]);
    crds.open();
    assert_eq!(readiness.closed(), ["clusters synced"]);
    clusters.open();
    assert!(readiness.closed().is_empty());
    readiness.gate("clusters synced").close();
    assert_eq!(readiness.closed(), ["clusters synced"], "the same name is the same gate");
}

#[test]
fn liveness_names_the_heart_that_stopped() {
    let liveness = Liveness::default();
    let _steady = liveness.watch("steady", HOUR);
    let stopped = liveness.watch("stopped", Duration::ZERO);
    let deadline = Instant::now() + Duration::from_secs(5);
    while liveness.stale().is_empty() {
        assert!(Instant::now() < deadline, "a stopped heart was not noticed");
        std::thread::yield_now();
    }
    assert_eq!(told(&liveness), ["stopped (last seen 0 s ago)"]);
    drop(stopped);
    assert!(liveness.stale().is_empty(), "a finished task counts as stuck");
}

#[tokio::test]
async fn a_task_that_panicked_has_stopped_for_good() {
    let liveness = Liveness::default();
    let (quiet, loud) = (liveness.watch("quiet", HOUR), liveness.watch("loud", HOUR));
    let ends = tokio::spawn(async move {
        quiet.beat();
        tokio::task::yield_now().await;
    });
    let panics = tokio::spawn(async move {
        tokio::task::yield_now().await;
        loud.beat();
        panic!("on purpose");
    });
    assert!(ends.await.is_ok() && panics.await.is_err());
    assert_eq!(told(&liveness), ["loud (panicked, last seen 0 s ago)"]);
    let anew = liveness.watch("loud", HOUR);
    assert!(liveness.stale().is_empty(), "begun anew");
    drop(anew);
    assert!(liveness.stale().is_empty());
}

#[test]
fn a_beat_forgives() {
    let liveness = Liveness::default();
    let max_age = Duration::from_millis(400);
    let pulse = liveness.watch("slow", max_age);
    let deadline = Instant::now() + Duration::from_secs(5);
    while liveness.stale().is_empty() {
        assert!(Instant::now() < deadline, "age is not counted");
        std::thread::yield_now();
    }
    let before = Instant::now();
    pulse.beat();
    let stale = liveness.stale();
    // On a machine that stalled in between, the beat may really be old again.
    assert!(stale.is_empty() || before.elapsed() > max_age, "{stale:?}");
}

#[test]
fn watching_anew_replaces_the_older_pulse() {
    let liveness = Liveness::default();
    let _old = liveness.watch("list", Duration::ZERO);
    let _new = liveness.watch("list", HOUR);
    let later = Instant::now() + Duration::from_millis(3);
    while Instant::now() < later {
        std::thread::yield_now();
    }
    assert!(liveness.stale().is_empty());
}
