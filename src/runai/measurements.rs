//! The metrics of one cluster, as the control plane measured them.
//!
//! Owns the question and what of the answer is used: of each series the latest value, without any claim about its unit,
//! since none is published. Labels are remote text: their number and length have an end.
//! Facts: `GET /api/v1/clusters/{uuid}/metrics`; values are strings, 207 means that some types are missing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::wire::{describe, kept};

/// Samples asked for: both ends of the window.
const SAMPLES: u32 = 2;
/// Most series of one answer. A type has one, or one for each of its buckets or groups.
const MOST_SERIES: usize = 2000;
/// Most labels of a series.
const MOST_LABELS: usize = 8;
/// Longest name of a label, in characters.
const LONGEST_LABEL: usize = 64;

/// Which metrics, and of when.
#[derive(Clone, Copy, Debug)]
pub struct MetricsQuery<'a> {
    /// The types, in the API's spelling.
    pub types: &'a [&'static str],
    /// Grouped by this, in the API's spelling.
    pub group_by: Option<&'static str>,
    /// Beginning of the window.
    pub start: Timestamp,
    /// Its end.
    pub end: Timestamp,
}

/// The latest value of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// Its type, in the API's spelling.
    pub kind: String,
    /// Its labels and groups, with names that Prometheus takes; sorted by name.
    pub labels: BTreeMap<String, String>,
    /// The value as it came.
    pub value: f64,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The series that have a number.
    pub series: Vec<Measurement>,
    /// Whether the control plane says that types are missing.
    pub partial: bool,
}

impl MetricsQuery<'_> {
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![
            ("start", self.start.to_string()),
            ("end", self.end.to_string()),
            ("numberOfSamples", SAMPLES.to_string()),
            ("metricType", self.types.join(",")),
        ];
        pairs.extend(self.group_by.map(|group| ("groupBy", group.to_owned())));
        pairs
    }
}

#[derive(Deserialize)]
struct RawAnswer {
    measurements: Option<Vec<RawMeasurement>>,
}

#[derive(Deserialize)]
struct RawMeasurement {
    r#type: String,
    labels: Option<BTreeMap<String, Option<String>>>,
    values: Option<Vec<RawValue>>,
    groups: Option<Vec<RawGroup>>,
}

#[derive(Deserialize)]
struct RawGroup {
    key: Option<String>,
    value: Option<String>,
}

#[derive(Deserialize)]
struct RawValue {
    value: Option<String>,
    timestamp: Option<String>,
}

/// Decodes an answer. A series without a number is left out: the agent was not there to measure. The error repeats
/// nothing of the body.
pub(super) fn measurements(body: &[u8]) -> Result<Vec<Measurement>, String> {
    let raw: RawAnswer = serde_json::from_slice(body).map_err(|error| describe(&error))?;
    let raw = raw.measurements.ok_or("missing field `measurements`")?;
    if raw.len() > MOST_SERIES {
        return Err(format!("it holds more than {MOST_SERIES} measurements"));
    }
    Ok(raw.into_iter().filter_map(measurement).collect())
}

fn measurement(raw: RawMeasurement) -> Option<Measurement> {
    let value = latest(raw.values.unwrap_or_default())?;
    let groups = raw.groups.unwrap_or_default().into_iter().filter_map(|group| Some((group.key?, group.value?)));
    let labels = raw.labels.unwrap_or_default().into_iter().filter_map(|(name, value)| Some((name, value?)));
    let mut kept_labels = BTreeMap::new();
    for (name, value) in labels.chain(groups).take(MOST_LABELS) {
        kept_labels.entry(label_name(&name)).or_insert_with(|| kept(value));
    }
    Some(Measurement { kind: kept(raw.r#type), labels: kept_labels, value })
}

/// The value with the latest time; of values without times the last.
fn latest(values: Vec<RawValue>) -> Option<f64> {
    let read = |raw: RawValue| {
        let value = raw.value?.trim().parse::<f64>().ok().filter(|value| value.is_finite())?;
        Some((raw.timestamp.and_then(|at| at.parse::<Timestamp>().ok()), value))
    };
    // `max_by_key` gives the last of equals.
    values.into_iter().filter_map(read).max_by_key(|(at, _)| *at).map(|(_, value)| value)
}

/// A name that Prometheus takes, and none of ours.
fn label_name(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars().take(LONGEST_LABEL) {
        match c {
            'a'..='z' | '0'..='9' | '_' => name.push(c),
            'A'..='Z' => name.push(c.to_ascii_lowercase()),
            _ => name.push('_'),
        }
    }
    let ours = matches!(name.as_str(), "namespace" | "name" | "type");
    if ours || name.starts_with("__") || !name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') {
        name.insert_str(0, "label_");
    }
    name
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::{Value, json};

    use super::*;

    fn read(value: &Value) -> Result<Vec<Measurement>, String> {
        measurements(&serde_json::to_vec(value).unwrap())
    }

    fn one(measurement: &Value) -> Option<Measurement> {
        read(&json!({ "measurements": [measurement] })).unwrap().pop()
    }

    #[test]
    fn the_latest_number_of_a_series_counts() {
        let at =
            |minute: u32, value: Value| json!({"value": value, "timestamp": format!("2026-01-02T03:{minute:02}:00Z")});
        for (values, want) in [
            (json!([at(1, json!("1.5")), at(2, json!("2.5"))]), Some(2.5)),
            (json!([at(2, json!("2.5")), at(1, json!("1.5"))]), Some(2.5)),
            (json!([at(1, json!("1.5")), at(2, json!(null))]), Some(1.5)),
            (json!([{"value": "1"}, {"value": "2", "timestamp": null}]), Some(2.0)),
            (json!([at(1, json!("NaN")), at(2, json!("inf"))]), None),
            (json!([at(1, json!("many"))]), None),
            (json!([]), None),
            (json!(null), None),
        ] {
            let found = one(&json!({"type": "GPU_UTILIZATION", "values": values})).map(|found| found.value);
            assert_eq!(found, want, "{values}");
        }
    }

    #[test]
    fn labels_and_groups_are_labels_that_prometheus_takes() {
        let values = json!([{"value": "1"}]);
        let labels = |labels: Value, groups: Value| {
            let found = one(&json!({"type": "T", "values": values, "labels": labels, "groups": groups})).unwrap();
            found.labels.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(labels(json!({"bucket": "0-25"}), json!(null)), ["bucket=0-25"]);
        assert_eq!(labels(json!(null), json!([{"key": "Nodepool", "value": "default"}])), ["nodepool=default"]);
        assert_eq!(labels(json!({"name": "x", "a b": "y", "1": null}), json!([])), ["a_b=y", "label_name=x"]);
        assert_eq!(labels(json!({"__x": "\u{1b}", "": "e"}), json!([])), ["label_=e", "label___x=\u{fffd}"]);
        let many: serde_json::Map<_, _> = (0..20).map(|n| (format!("l{n}"), json!("x"))).collect();
        assert_eq!(labels(Value::Object(many), json!([])).len(), MOST_LABELS);
        let long = labels(json!({"l": "x".repeat(5000)}), json!([])).remove(0);
        assert!(long.len() < 1000);
    }

    #[test]
    fn what_is_no_answer_is_refused_without_repeating_it() {
        for bad in [
            json!([]),
            json!({}),
            json!({"measurements": null}),
            json!({"measurements": [{"values": []}]}),
            json!({"measurements": [{"type": 5}]}),
            json!({"measurements": [{"type": "T", "values": "canary"}]}),
            json!({"measurements": vec![json!({"type": "T"}); MOST_SERIES + 1]}),
        ] {
            assert!(!read(&bad).expect_err(&bad.to_string()[..40.min(bad.to_string().len())]).contains("canary"));
        }
    }
}
