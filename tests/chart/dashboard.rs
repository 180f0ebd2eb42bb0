//! The dashboard: what Grafana needs of it, and that it shows metrics that exist.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testbed::{TemporaryDirectory, Tool, workspace_dir};

use crate::helm::{Helm, chart, of_kind, run};
use crate::metrics::{dump, families, unknown};

fn dashboard() -> Value {
    serde_json::from_str(&std::fs::read_to_string(chart().join("files/dashboard.json")).unwrap()).unwrap()
}

/// The queries of all panels and variables.
fn queries(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn grafana_finds_what_it_needs() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "runai-cluster-operator", "links and updates go by it");
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    assert!(dashboard["id"].is_null(), "an id belongs to one Grafana");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "job", "namespace"]);
    assert_eq!((&variables[0]["type"], &variables[0]["query"]), (&json!("datasource"), &json!("prometheus")));
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels with one id");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let sources = panel["targets"].as_array().unwrap().iter().chain([panel]);
        for source in sources {
            assert_eq!(source["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        }
    }
}

#[tokio::test]
async fn every_query_is_about_metrics_that_exist() {
    let dashboard = dashboard();
    let queries = queries(&dashboard);
    assert!(queries.len() >= 18, "{queries:#?}");
    for query in &queries {
        assert_eq!(unknown(query), Vec::<String>::new(), "{query}");
        assert!(query.contains("job=~\"$job\"") && !query.contains("namespace=\""), "{query}");
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let query = variable["query"]["query"].as_str().unwrap_or_default();
        assert_eq!(unknown(query), Vec::<String>::new(), "{query}");
    }
    let all = queries.join("\n");
    for (name, family) in families(&dump()) {
        assert!(family.series.iter().any(|series| all.contains(series)), "the dashboard does not show {name}");
        let chosen = |query: &String| query.contains("namespace=~\"$namespace\"");
        let mut about = queries.iter().filter(|query| family.series.iter().any(|series| query.contains(series)));
        assert!(
            !family.labels.contains(&"namespace".to_owned()) || about.all(chosen),
            "{name} is shown whatever namespace is chosen"
        );
    }

    // And each can be read as a query.
    let rules: Vec<_> = queries
        .iter()
        .enumerate()
        .map(|(number, query)| {
            let query = query.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$namespace", ".*");
            json!({ "record": format!("panel:{number}"), "expr": query })
        })
        .collect();
    let dir = TemporaryDirectory::create().unwrap();
    let file = dir.path().join("panels.yaml");
    std::fs::write(&file, json!({ "groups": [{ "name": "panels", "rules": rules }] }).to_string()).unwrap();
    let promtool = Tool::Promtool.find().await.unwrap();
    run(&promtool, &[], &["check", "rules", &file.display().to_string()]).await.unwrap();
}

#[tokio::test]
async fn the_chart_ships_it_unchanged() {
    let helm = Helm::three().await;
    let documents = helm.documents(&["--set", "grafanaDashboard.enabled=true"]).await;
    let shipped = of_kind(&documents, "ConfigMap")
        .into_iter()
        .find_map(|map| map["data"]["runai-cluster-operator.json"].as_str())
        .unwrap();
    assert_eq!(serde_json::from_str::<Value>(shipped).unwrap(), dashboard());
}

/// What stands between two marks, where both are there.
fn part<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(from)?;
    rest.split_once(to).map(|(inner, _)| inner)
}

/// What is stale or missing in the picture of the dashboard in docs.
fn objections(dashboard: &Value, picture: &str) -> Vec<String> {
    let origin: Value = serde_json::from_str(part(picture, "<desc>", "</desc>").unwrap()).unwrap();
    let mut found = Vec::new();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, queries(dashboard).join("\n").as_bytes());
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    if origin["queries"] != digest {
        found.push("the queries have changed".to_owned());
    }
    for panel in dashboard["panels"].as_array().unwrap() {
        let (id, title) = (panel["id"].to_string(), panel["title"].as_str().unwrap());
        let drawn = part(picture, &format!("<g id=\"panel-{id}\">"), "</g>").unwrap_or_default();
        if !drawn.contains(&format!(">{title}</text>")) {
            found.push(format!("{title}: not in the picture"));
        }
        let points = origin["points"][&id].as_array().cloned().unwrap_or_default();
        let all = panel["targets"].as_array().map_or(0, Vec::len);
        if points.len() != all || points.iter().any(|count| count.as_u64() == Some(0)) {
            found.push(format!("{title}: without data"));
        }
    }
    found
}

#[test]
fn the_picture_in_docs_shows_all_of_it() {
    let picture = std::fs::read_to_string(workspace_dir().join("docs/dashboard.svg")).unwrap();
    let dashboard = dashboard();
    assert_eq!(objections(&dashboard, &picture), Vec::<String>::new(), "make picture");
    assert!(picture.len() < 200 * 1024 && !picture.contains("href") && !picture.contains("<script"));
    let page = std::fs::read_to_string(workspace_dir().join("docs/metrics.md")).unwrap();
    assert!(page.contains("](dashboard.svg)"));

    // What has changed since is found.
    let (mut changed, last) = (dashboard.clone(), dashboard["panels"].as_array().unwrap().len() - 1);
    changed["panels"][last]["targets"][0]["expr"] = json!("up");
    changed["panels"][1]["title"] = json!("Leader");
    assert_eq!(objections(&changed, &picture), ["the queries have changed", "Leader: not in the picture"]);
    let points = part(&picture, "\"2\":[", "]").unwrap();
    let without = picture.replacen(&format!("\"2\":[{points}]"), "\"2\":[0]", 1);
    assert_eq!(objections(&dashboard, &without)[0], "Leaders: without data");
}
