//! Names, labels and life time of every series, read from the text that Prometheus reads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{ApiCode, Metrics, ReconcileResult, RefreshResult};
use crate::telemetry::objects::{ClusterMetric, ControlPlaneFacts, ObjectFacts, Registrations};

const STATES: &[&str] = &["Connected", "Disconnected"];

fn metrics() -> Metrics {
    Metrics::new(STATES, Vec::new())
}

fn text(metrics: &Metrics) -> String {
    let mut text = String::new();
    metrics.encode(&mut text).unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    text
}

/// The value of the one series that is spelled exactly so.
fn value(text: &str, series: &str) -> Option<f64> {
    let mut found = text.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    let value = found.next();
    assert_eq!(found.next(), None, "{series} is there twice");
    value
}

fn facts() -> ObjectFacts {
    ObjectFacts {
        uuid: Some("u-1".into()),
        version: Some("2.23.1".into()),
        state: Some("Connected".into()),
        conditions: vec![("Ready".into(), "True".into()), ("Synced".into(), "Unknown".into())],
        last_liveness: Some(1_700_000_000.5),
        deletion_stalled: false,
    }
}

#[test]
fn counters_and_histograms_have_the_documented_names() {
    let metrics = metrics();
    metrics.reconciled("cluster", ReconcileResult::Success, Duration::from_millis(3));
    metrics.reconciled("cluster", ReconcileResult::Waiting, Duration::from_millis(300));
    metrics.reconciled("cluster", ReconcileResult::Error, Duration::from_secs(3));
    metrics.reconcile_error("NameConflict");
    metrics.api_request("list", ApiCode::Status(200), Duration::from_millis(30));
    metrics.api_request("create", ApiCode::None, Duration::from_secs(20));
    metrics.token_refresh(RefreshResult::Success);
    metrics.token_refresh(RefreshResult::Error);
    metrics.rate_limit_wait(Duration::from_millis(50));
    let text = text(&metrics);
    for (series, expected) in [
        (r#"reconcile_total{controller="cluster",result="success"}"#, 1.0),
        (r#"reconcile_total{controller="cluster",result="waiting"}"#, 1.0),
        (r#"reconcile_total{controller="cluster",result="error"}"#, 1.0),
        (r#"reconcile_duration_seconds_count{controller="cluster"}"#, 3.0),
        (r#"reconcile_duration_seconds_bucket{le="0.5",controller="cluster"}"#, 2.0),
        (r#"reconcile_errors_total{reason="NameConflict"}"#, 1.0),
        (r#"api_requests_total{operation="list",code="200"}"#, 1.0),
        (r#"api_requests_total{operation="create",code="none"}"#, 1.0),
        (r#"api_request_duration_seconds_count{operation="list"}"#, 1.0),
        (r#"token_refresh_total{result="success"}"#, 1.0),
        (r#"token_refresh_total{result="error"}"#, 1.0),
        ("rate_limit_wait_seconds_count", 1.0),
        ("leader", 0.0),
        ("deletions_stalled", 0.0),
    ] {
        assert_eq!(value(&text, &format!("runai_operator_{series}")), Some(expected), "{series} in\n{text}");
    }
}

#[test]
fn every_family_is_declared_once_and_with_the_prefix() {
    let metrics = metrics();
    metrics.reconciled("cluster", ReconcileResult::Success, Duration::ZERO);
    metrics.object("team", "a", Some(&facts()));
    let text = text(&metrics);
    let mut families: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let count = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), count, "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.starts_with("runai_operator_"), "{line}");
    }
}

#[test]
fn an_object_shows_its_facts() {
    let metrics = metrics();
    metrics.object("team", "a", Some(&facts()));
    let text = text(&metrics);
    for (series, expected) in [
        (r#"cluster_info{namespace="team",name="a",uuid="u-1",version="2.23.1"}"#, 1.0),
        (r#"cluster_state{namespace="team",name="a",state="Connected"}"#, 1.0),
        (r#"cluster_state{namespace="team",name="a",state="Disconnected"}"#, 0.0),
        (r#"cluster_condition{namespace="team",name="a",type="Ready",status="True"}"#, 1.0),
        (r#"cluster_condition{namespace="team",name="a",type="Ready",status="False"}"#, 0.0),
        (r#"cluster_condition{namespace="team",name="a",type="Ready",status="Unknown"}"#, 0.0),
        (r#"cluster_condition{namespace="team",name="a",type="Synced",status="Unknown"}"#, 1.0),
        (r#"cluster_last_liveness_timestamp_seconds{namespace="team",name="a"}"#, 1_700_000_000.5),
    ] {
        assert_eq!(value(&text, &format!("runai_operator_{series}")), Some(expected), "{series} in\n{text}");
    }
}

#[test]
fn an_object_without_facts_shows_only_that_it_exists() {
    let metrics = metrics();
    metrics.object("team", "a", Some(&ObjectFacts::default()));
    let text = text(&metrics);
    let series: Vec<&str> = text.lines().filter(|line| line.contains(r#"name="a""#)).collect();
    assert_eq!(series, [r#"runai_operator_cluster_info{namespace="team",name="a",uuid="",version=""} 1"#]);
}

#[test]
fn a_state_beyond_the_known_ones_is_shown_while_it_lasts() {
    let metrics = metrics();
    let strange = ObjectFacts { state: Some("Hibernating\"\n".into()), ..facts() };
    metrics.object("team", "a", Some(&strange));
    let series = r#"runai_operator_cluster_state{namespace="team",name="a",state="Hibernating\"\n"}"#;
    assert_eq!(value(&text(&metrics), series), Some(1.0), "{}", text(&metrics));
    metrics.object("team", "a", Some(&facts()));
    assert!(!text(&metrics).contains("Hibernating"));
}

#[test]
fn series_vanish_with_their_object() {
    let metrics = metrics();
    metrics.object("team", "a", Some(&facts()));
    metrics.object("team", "b", Some(&facts()));
    metrics.object("team", "a", None);
    let text = text(&metrics);
    assert!(!text.contains(r#"name="a""#), "{text}");
    assert!(text.contains(r#"name="b""#), "{text}");
}

#[test]
fn stalled_deletions_are_summed_up() {
    let metrics = metrics();
    let stalled = ObjectFacts { deletion_stalled: true, ..facts() };
    for name in ["a", "b"] {
        metrics.object("team", name, Some(&stalled));
    }
    metrics.object("team", "c", Some(&facts()));
    assert_eq!(value(&text(&metrics), "runai_operator_deletions_stalled"), Some(2.0));
    metrics.object("team", "a", None);
    assert_eq!(value(&text(&metrics), "runai_operator_deletions_stalled"), Some(1.0));
}

#[test]
fn a_control_plane_shows_age_and_counts_until_it_goes() {
    let metrics = metrics();
    metrics.control_plane("new", Some(ControlPlaneFacts::default()));
    assert!(!text(&metrics).contains(r#"control_plane="new""#));
    let facts = ControlPlaneFacts {
        inventory_at: Instant::now().checked_sub(Duration::from_secs(1)),
        registrations: Some(Registrations { total: 7, managed: 4, unmanaged: 3, deleting: 2 }),
    };
    metrics.control_plane("default", Some(facts));
    let shown = text(&metrics);
    let age = value(&shown, r#"runai_operator_inventory_age_seconds{control_plane="default"}"#).unwrap();
    assert!((1.0..3600.0).contains(&age), "{age}");
    for (kind, count) in [("total", 7.0), ("managed", 4.0), ("unmanaged", 3.0), ("deleting", 2.0)] {
        let series = format!(r#"runai_operator_inventory_registrations{{control_plane="default",kind="{kind}"}}"#);
        assert_eq!(value(&shown, &series), Some(count), "{shown}");
    }
    metrics.control_plane("default", None);
    assert!(!text(&metrics).contains(r#"control_plane="default""#));
}

#[test]
fn leadership_is_asked_for_at_each_scrape() {
    let metrics = metrics();
    let leads = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&leads);
    metrics.leader_probe(move || asked.load(Ordering::Relaxed));
    assert_eq!(value(&text(&metrics), "runai_operator_leader"), Some(1.0));
    leads.store(false, Ordering::Relaxed);
    assert_eq!(value(&text(&metrics), "runai_operator_leader"), Some(0.0));
}

#[test]
fn what_was_measured_lives_and_dies_with_its_object() {
    let metrics = metrics();
    let number = |kind: &str, labels: &[(&str, &str)], value| ClusterMetric {
        kind: kind.into(),
        labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        value,
    };
    let series = r#"runai_operator_cluster_metric{namespace="team",name="a",type="TOTAL_GPU"}"#;
    metrics.measured("team", "a", vec![number("TOTAL_GPU", &[], 8.0)]);
    assert_eq!(value(&text(&metrics), series), None, "of an object that is not shown");
    metrics.object("team", "a", Some(&facts()));
    metrics.measured("team", "a", vec![number("TOTAL_GPU", &[], 8.0), number("Q", &[("nodepool", "x\"\n")], 0.5)]);
    assert_eq!(value(&text(&metrics), series), Some(8.0));
    let escaped = r#"runai_operator_cluster_metric{namespace="team",name="a",type="Q",nodepool="x\"\n"}"#;
    assert_eq!(value(&text(&metrics), escaped), Some(0.5));
    metrics.measured("team", "a", Vec::new());
    assert!(!text(&metrics).contains("cluster_metric{"));
    metrics.measured("team", "a", vec![number("TOTAL_GPU", &[], 8.0)]);
    metrics.object("team", "a", None);
    metrics.object("team", "a", Some(&facts()));
    assert!(!text(&metrics).contains("cluster_metric{"), "of the object before it");
}
