//! The alerts: each has a runbook, uses metrics that exist, and fires when it should.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testbed::{TemporaryDirectory, Tool, workspace_dir};

use crate::helm::{Helm, of_kind, run};
use crate::metrics::unknown;

const NAMES: [&str; 8] = [
    "Down",
    "NoLeader",
    "ReconcileErrors",
    "ControlPlaneUnreachable",
    "CredentialsRejected",
    "ClusterNotReady",
    "ClusterDisconnected",
    "DeletionStuck",
];

async fn groups(settings: &[&str]) -> Value {
    let helm = Helm::three().await;
    let settings: Vec<_> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let documents = helm.documents(&[&["--set", "prometheusRule.enabled=true"], &settings[..]].concat()).await;
    of_kind(&documents, "PrometheusRule")[0]["spec"]["groups"].clone()
}

fn rules(groups: &Value) -> Vec<Value> {
    groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

#[tokio::test]
async fn every_alert_says_what_it_means_and_what_to_do() {
    let page = std::fs::read_to_string(workspace_dir().join("docs/runbooks.md")).unwrap();
    let mut sections: Vec<&str> = page.split("\n## ").skip(1).collect();
    let rules = rules(&groups(&["prometheusRule.runbookUrl=https://wiki.example.com/"]).await);
    let names: Vec<_> = rules.iter().map(|rule| text(&rule["alert"]).to_owned()).collect();
    assert_eq!(names, NAMES.map(|name| format!("RunaiOperator{name}")));
    for rule in &rules {
        let name = text(&rule["alert"]);
        assert!(["critical", "warning"].contains(&text(&rule["labels"]["severity"])), "{name}");
        assert!(text(&rule["for"]).ends_with('m'), "{name}");
        let annotations = &rule["annotations"];
        assert_eq!(text(&annotations["runbook_url"]), format!("https://wiki.example.com/{}", name.to_lowercase()));
        assert!(text(&annotations["summary"]).ends_with('.'), "{name}");
        assert!(text(&annotations["description"]).len() > 60, "{name}");
        assert_eq!(unknown(text(&rule["expr"])), Vec::<String>::new(), "{name}");
        let at = sections.iter().position(|section| section.starts_with(&format!("{name}\n")));
        let section = sections.remove(at.unwrap_or_else(|| panic!("docs/runbooks.md has no heading {name}")));
        assert!(section.contains("\n1. "), "{name}: nothing to do");
    }
    assert_eq!(sections, Vec::<&str>::new(), "headings without an alert");
}

#[tokio::test]
async fn alerts_are_left_out_and_changed_one_by_one() {
    let schema = std::fs::read_to_string(crate::helm::chart().join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let known = schema["properties"]["prometheusRule"]["properties"]["overrides"]["properties"].as_object().unwrap();
    assert_eq!(known.keys().map(String::as_str).collect::<BTreeSet<_>>(), NAMES.into());
    for name in NAMES {
        let left = rules(&groups(&[&format!("prometheusRule.overrides.{name}.enabled=false")]).await);
        assert_eq!(left.len(), NAMES.len() - 1);
        assert!(left.iter().all(|rule| rule["alert"] != format!("RunaiOperator{name}")));
    }
    let settings = ["prometheusRule.overrides.Down.for=1h", "prometheusRule.overrides.Down.severity=info"];
    let changed = rules(&groups(&settings).await);
    assert_eq!((text(&changed[0]["for"]), text(&changed[0]["labels"]["severity"])), ("1h", "info"));
}

/// `alerts_test.yaml` in promtool's own format, against the rules as they are rendered.
#[tokio::test]
async fn every_alert_fires_and_is_silent_when_it_should() {
    let promtool = Tool::Promtool.find().await.unwrap();
    let dir = TemporaryDirectory::create().unwrap();
    let groups = groups(&[]).await;
    std::fs::write(dir.path().join("rules.yaml"), json!({ "groups": groups }).to_string()).unwrap();
    let cases = include_str!("alerts_test.yaml");
    let file = dir.path().join("alerts_test.yaml");
    std::fs::write(&file, cases).unwrap();
    let said = run(&promtool, &[], &["test", "rules", &file.display().to_string()]).await;
    assert!(said.as_ref().is_ok_and(|said| said.contains("SUCCESS")), "{}", said.unwrap_or_else(|error| error));
    let rules = dir.path().join("rules.yaml").display().to_string();
    run(&promtool, &[], &["check", "rules", "--lint-fatal", &rules]).await.unwrap();

    let cases: Value = serde_saphyr::from_str(cases).unwrap();
    let checks = cases["tests"].as_array().unwrap().iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap());
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for check in checks {
        let expected = check["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty());
        if expected { &mut fires } else { &mut silent }.insert(text(&check["alertname"]).to_owned());
    }
    let all: BTreeSet<_> = NAMES.iter().map(|name| format!("RunaiOperator{name}")).collect();
    assert_eq!((&fires, &silent), (&all, &all), "each alert has a case for both");
}
