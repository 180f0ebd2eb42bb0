//! The metrics page, and a dump of the registry that everything that names a metric is compared with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use runai_cluster_operator::runai::Operation;
use runai_cluster_operator::telemetry::metrics::{ApiCode, Metrics, ReconcileResult, RefreshResult};
use runai_cluster_operator::telemetry::objects::{ClusterMetric, ControlPlaneFacts, ObjectFacts, Registrations};
use testbed::{TemporaryDirectory, Tool, workspace_dir};

use crate::helm::run;
use crate::values::{between, check};

/// Every family with a series of every label.
pub fn dump() -> String {
    let metrics = Metrics::new(&["Connected", "Disconnected"], Vec::new());
    let took = Duration::from_millis(20);
    metrics.reconciled("runaicluster", ReconcileResult::Success, took);
    metrics.reconcile_error("AuthFailed");
    metrics.api_request("list_clusters", ApiCode::Status(200), took);
    metrics.token_refresh(RefreshResult::Success);
    metrics.rate_limit_wait(took);
    metrics.leader_probe(|| true);
    let registrations = Registrations { total: 3, managed: 1, unmanaged: 2, deleting: 1 };
    let facts = ControlPlaneFacts { inventory_at: Some(Instant::now()), registrations: Some(registrations) };
    metrics.control_plane("default", Some(facts));
    let cluster = ObjectFacts {
        uuid: Some(uuid::Uuid::nil().to_string()),
        version: Some("2.24".to_owned()),
        state: Some("Connected".to_owned()),
        conditions: vec![("Ready".to_owned(), "True".to_owned())],
        last_liveness: Some(1.0),
        deletion_stalled: false,
    };
    metrics.object("team-a", "east", Some(&cluster));
    let number = ClusterMetric { kind: "TOTAL_GPU".to_owned(), labels: Vec::new(), value: 8.0 };
    metrics.measured("team-a", "east", vec![number]);
    let mut text = String::new();
    metrics.encode(&mut text).unwrap();
    text
}

/// One family of the registry.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Family {
    pub kind: String,
    pub help: String,
    /// Names of its series.
    pub series: BTreeSet<String>,
    /// Labels of its series, in their order; `le` aside.
    pub labels: Vec<String>,
}

/// The families of a dump, by name.
pub fn families(dump: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in dump.lines().filter(|line| *line != "# EOF") {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => {
                current = name.to_owned();
                families.entry(current.clone()).or_default().help = help.to_owned();
            }
            ["#", "TYPE", name, kind] => families.entry(name.to_owned()).or_default().kind = kind.to_owned(),
            ["#", ..] => {}
            _ => {
                let (name, labels) = labels_of(line);
                let family = families.get_mut(&current).unwrap_or_else(|| panic!("{line} belongs to nothing"));
                assert!(name.starts_with(&current), "{line}");
                family.series.insert(name);
                for label in labels.into_iter().filter(|label| label != "le") {
                    if !family.labels.contains(&label) {
                        family.labels.push(label);
                    }
                }
            }
        }
    }
    families
}

/// Name and labels of one series, as in a dump or in a query.
pub fn labels_of(text: &str) -> (String, Vec<String>) {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        let (mut word, mut quoted) = (String::new(), false);
        for c in inner.chars() {
            match c {
                '"' => quoted = !quoted,
                _ if quoted => {}
                '=' | '!' if !word.is_empty() => labels.push(std::mem::take(&mut word)),
                '}' => break,
                c if c.is_ascii_alphanumeric() || c == '_' => word.push(c),
                _ => word.clear(),
            }
        }
    }
    (name.to_owned(), labels)
}

/// What a query names that the registry does not have; labels that come with the target aside.
pub fn unknown(query: &str) -> Vec<String> {
    let families = families(&dump());
    let mut found = Vec::new();
    for (at, _) in query.match_indices("runai_operator_") {
        let (name, labels) = labels_of(&query[at..]);
        let Some(family) = families.values().find(|family| family.series.contains(&name)) else {
            found.push(name);
            continue;
        };
        let known = |label: &String| family.labels.contains(label) || label == "job" || label == "le";
        found.extend(labels.into_iter().filter(|label| !known(label)).map(|label| format!("{name}{{{label}}}")));
    }
    found
}

#[test]
fn the_page_tells_every_metric() {
    let mut table = String::from("| Metric | Type | Labels | Meaning |\n| --- | --- | --- | --- |\n");
    let families = families(&dump());
    assert!(families.len() >= 15, "{families:#?}");
    for (name, family) in &families {
        let shown = match family.kind.as_str() {
            "histogram" => name.clone(),
            _ => family.series.first().unwrap_or_else(|| panic!("{name} has no series in the dump")).clone(),
        };
        let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        table.push_str(&format!("| `{shown}` | {} | {} | {} |\n", family.kind, labels.join(", "), family.help));
    }
    let page = workspace_dir().join("docs/metrics.md");
    let text = std::fs::read_to_string(&page).unwrap();
    check(&page, &between(&text, "metrics", &table));
    for (name, _) in text.match_indices("`runai_operator_").map(|(at, _)| labels_of(&text[at + 1..])) {
        let known = families.iter().any(|(family, of)| *family == name || of.series.contains(&name));
        assert!(known, "docs/metrics.md names {name}");
    }
}

#[test]
fn the_page_tells_every_operation() {
    let text = std::fs::read_to_string(workspace_dir().join("docs/metrics.md")).unwrap();
    let (_, rest) = text.split_once("`operation` is one of ").unwrap();
    let told: Vec<_> = rest.split(';').next().unwrap().split(',').map(|word| word.trim().trim_matches('`')).collect();
    assert_eq!(told, Operation::ALL.map(Operation::as_str));
}

/// The dump as the older text format has it, which is what promtool looks at: there the names in comments end in what
/// OpenMetrics leaves to the series.
fn as_text_format(dump: &str) -> String {
    let families = families(dump);
    let mut text = String::new();
    for line in dump.lines() {
        let mut words: Vec<_> = line.splitn(4, ' ').map(str::to_owned).collect();
        if let ["#", "HELP" | "TYPE", name, _] = [0, 1, 2, 3].map(|i| words.get(i).map_or("", String::as_str))[..] {
            let suffix = match families[name].kind.as_str() {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            let kind = if words[1] == "TYPE" && words[3] == "info" { "gauge".to_owned() } else { words[3].clone() };
            words = vec!["#".to_owned(), words[1].clone(), format!("{name}{suffix}"), kind];
        }
        text.push_str(&words.join(" "));
        text.push('\n');
    }
    text
}

async fn promtool_on(metrics: &str) -> Result<String, String> {
    let promtool = Tool::Promtool.find().await.unwrap();
    let dir = TemporaryDirectory::create().unwrap();
    let file = dir.path().join("metrics");
    std::fs::write(&file, metrics).unwrap();
    let script = "exec \"$0\" check metrics < \"$1\"";
    let args = ["-c", script, &promtool.display().to_string(), &file.display().to_string()];
    run(std::path::Path::new("/bin/sh"), &[], &args).await
}

#[tokio::test]
async fn promtool_has_no_complaint() {
    let dump = dump();
    assert!(dump.ends_with("# EOF\n") && !dump.contains("_total_total"));
    let said = promtool_on(&as_text_format(&dump)).await;
    assert_eq!(said, Ok(String::new()));
    // It would complain of a counter without its ending.
    assert!(promtool_on("# HELP a Something.\n# TYPE a counter\na 1\n").await.is_err());
}

#[test]
fn queries_are_compared_with_the_registry() {
    assert_eq!(
        unknown(r#"sum(rate(runai_operator_api_requests_total{job=~"$job",code="200"}[5m]))"#),
        Vec::<String>::new()
    );
    assert_eq!(unknown(r#"runai_operator_api_requests{job="a"}"#), ["runai_operator_api_requests"]);
    assert_eq!(unknown(r#"runai_operator_leader{pod="a,b",job="x"} == 1"#), ["runai_operator_leader{pod}"]);
}
