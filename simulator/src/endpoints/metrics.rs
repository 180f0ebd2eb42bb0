//! Cluster metrics: made-up but consistent numbers.
//!
//! Owns parameters and shapes of the metrics endpoint. Must not know faults.

use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock::rfc3339;
use crate::config::Config;
use crate::endpoints::Call;
use crate::profile::Capabilities;
use crate::record::Record;
use crate::reply::Reply;
use crate::state::State;

const SINCE_218: [&str; 8] = [
    "GPU_UTILIZATION",
    "GPU_MEMORY_UTILIZATION",
    "CPU_UTILIZATION",
    "CPU_MEMORY_UTILIZATION",
    "TOTAL_GPU",
    "GPU_QUOTA",
    "ALLOCATED_GPU",
    "AVG_WORKLOAD_WAIT_TIME",
];
const SINCE_219: [&str; 3] = ["TOTAL_GPU_NODES", "GPU_UTILIZATION_DISTRIBUTION", "UNALLOCATED_GPU"];
const SINCE_223: &str = "WORKLOADS_COUNT";
const GROUPABLE: [&str; 3] = ["ALLOCATED_GPU", "GPU_UTILIZATION", "WORKLOADS_COUNT"];

/// Most samples of one request.
const MOST_SAMPLES: i64 = 1000;

/// A checked request.
struct Wanted<'q> {
    types: Vec<&'q str>,
    times: Vec<Timestamp>,
    group_by: Option<&'static str>,
    nodepool: Option<&'q str>,
}

impl State {
    pub(super) fn metrics(&mut self, call: &Call<'_>, uuid: Uuid) -> Result<Reply, Reply> {
        let config = Arc::clone(&self.config);
        let past = self.past(call);
        let now = past.as_ref().map_or(call.now, |(_, then)| *then);
        let record = self.visible(past.as_ref().map_or(&self.store, |(store, _)| store), call.session, uuid)?;
        let wanted = wanted(call, &config, &self.caps)?;
        let fails = |kind: &&str| config.metrics.failing.iter().any(|failing| failing == kind);
        let partial = wanted.types.iter().any(fails);
        let mut measurements = Vec::new();
        for kind in wanted.types.iter().filter(|kind| !fails(kind)) {
            measurements.extend(measure(kind, &wanted, record, now));
        }
        let csv = call.inbound.header("accept").is_some_and(|accept| accept.starts_with("text/csv"));
        if csv {
            return Ok(Reply::text(200, "text/csv", as_csv(&measurements)));
        }
        let status = if partial { 207 } else { 200 };
        Ok(Reply::value(status, &json!({"measurements": measurements})))
    }
}

fn wanted<'q>(call: &'q Call<'_>, config: &Config, caps: &Capabilities) -> Result<Wanted<'q>, Reply> {
    let bad = |message: String| Reply::message(400, &message);
    let query = &call.query;
    let time = |key: &str| {
        let text = query.get(key).filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| bad(format!("parameter {key} is required")))?;
        parse_time(text, config.metrics.strict_time).ok_or_else(|| bad(format!("parameter {key} must be a time")))
    };
    let (start, end) = (time("start")?, time("end")?);
    if start >= end {
        return Err(bad("start must be before end".to_owned()));
    }
    let samples = query.number("numberOfSamples").map_err(bad)?.unwrap_or(20);
    if !(0..=MOST_SAMPLES).contains(&samples) {
        return Err(bad(format!("numberOfSamples must be 0 to {MOST_SAMPLES}")));
    }
    let types = query.list("metricType");
    let known = |kind: &&str| {
        SINCE_218.contains(kind)
            || (caps.metrics_219 && SINCE_219.contains(kind))
            || (caps.metrics_223 && *kind == SINCE_223)
    };
    if types.is_empty() || !types.iter().all(known) {
        return Err(bad("metricType is missing or unknown".to_owned()));
    }
    let group_by = match query.get("groupBy") {
        None | Some("") => None,
        Some(_) if !caps.metrics_223 => return Err(bad("groupBy is not supported".to_owned())),
        Some(text) => {
            let kinds = ["Category", "Nodepool", "Project", "Department"];
            let kind = kinds.into_iter().find(|kind| kind.eq_ignore_ascii_case(text));
            Some(kind.ok_or_else(|| bad("groupBy is unknown".to_owned()))?)
        }
    };
    if group_by.is_some() && !types.iter().all(|kind| GROUPABLE.contains(kind)) {
        return Err(Reply::message(422, "a metric of this type cannot be grouped"));
    }
    let nodepool = query.get("nodepoolName").filter(|name| !name.is_empty());
    Ok(Wanted { types, times: spread(start, end, samples), group_by, nodepool })
}

/// RFC 3339; without an offset it is taken as UTC, unless that is refused.
fn parse_time(text: &str, strict: bool) -> Option<Timestamp> {
    let naive = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    text.parse().ok().or_else(|| if strict { None } else { naive() })
}

/// Evenly spaced times, both ends included.
fn spread(start: Timestamp, end: Timestamp, samples: i64) -> Vec<Timestamp> {
    let span = i64::try_from(end.duration_since(start).as_millis()).unwrap_or(i64::MAX);
    let at = |index: i64| {
        let offset = if samples > 1 { i128::from(span) * i128::from(index) / i128::from(samples - 1) } else { 0 };
        let offset = SignedDuration::from_millis(i64::try_from(offset).unwrap_or(span));
        start.checked_add(offset).unwrap_or(end)
    };
    (0..samples).map(at).collect()
}

/// Measurements of one type: one, or one per group or bucket.
fn measure(kind: &str, wanted: &Wanted<'_>, record: &Record, now: Timestamp) -> Vec<Value> {
    let live = |at: &&Timestamp| record.was_live(**at, now);
    let size = u64::from(record.uuid.as_bytes()[0] % 8 + 1);
    let series = |share: u64, of: u64, labels: Value, groups: Value| {
        let value = |at: &Timestamp| json!({"value": number(kind, size, *at, share, of), "timestamp": rfc3339(*at)});
        let values: Vec<Value> = wanted.times.iter().filter(live).map(value).collect();
        let mut measurement = json!({"type": kind, "values": values});
        if !labels.is_null() {
            measurement["labels"] = labels;
        }
        if !groups.is_null() {
            measurement["groups"] = groups;
        }
        measurement
    };
    let pool = wanted.nodepool.map_or(Value::Null, |name| json!({"nodepool": name}));
    if kind == "GPU_UTILIZATION_DISTRIBUTION" {
        let buckets = ["0-25", "25-50", "50-75", "75-100"];
        return buckets.into_iter().map(|bucket| series(1, 4, json!({"bucket": bucket}), Value::Null)).collect();
    }
    match wanted.group_by {
        None => vec![series(1, 1, pool, Value::Null)],
        Some(key) => ["default", "other"]
            .into_iter()
            .map(|value| series(1, 2, pool.clone(), json!([{"key": key, "value": value}])))
            .collect(),
    }
}

/// A smooth number, the same for every reader; `share` of `of` equal parts of it.
fn number(kind: &str, nodes: u64, at: Timestamp, share: u64, of: u64) -> String {
    let hours = at.as_millisecond() as f64 / 3_600_000.0;
    let load = 0.55 + 0.35 * (hours * std::f64::consts::TAU / 24.0).sin();
    let total = nodes * 8;
    // Whole GPUs, so that allocated and unallocated add up to the total exactly.
    let allocated = (total as f64 * load).floor();
    let value = match kind {
        "TOTAL_GPU_NODES" => nodes as f64,
        "TOTAL_GPU" => total as f64,
        "GPU_QUOTA" => total as f64 * 0.75,
        "ALLOCATED_GPU" => allocated,
        "UNALLOCATED_GPU" => total as f64 - allocated,
        "AVG_WORKLOAD_WAIT_TIME" => 30.0 + 90.0 * load,
        "WORKLOADS_COUNT" => (4.0 * nodes as f64 * load).floor(),
        "GPU_UTILIZATION_DISTRIBUTION" => total as f64,
        _ => 100.0 * load,
    };
    let additive = !kind.ends_with("_UTILIZATION") && kind != "AVG_WORKLOAD_WAIT_TIME";
    let value = if additive { value * share as f64 / of as f64 } else { value };
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn as_csv(measurements: &[Value]) -> String {
    let mut out = "type,timestamp,value\n".to_owned();
    for measurement in measurements {
        for value in measurement["values"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let row = [text(&measurement["type"]), text(&value["timestamp"]), text(&value["value"])];
            out.push_str(&row.join(","));
            out.push('\n');
        }
    }
    out
}
