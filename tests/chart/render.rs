//! What the chart renders, and what it refuses to.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testbed::{TemporaryDirectory, Tool, workspace_dir};

use crate::helm::{Helm, RELEASE, chart, copy, documents, identity, of_kind, run, values_files};
use crate::values::{check, updating};

#[tokio::test]
async fn helm_has_no_complaint() {
    let helm = Helm::three().await;
    let chart = chart().display().to_string();
    for file in values_files() {
        let file = file.display().to_string();
        let said = helm.run(&["lint", "--strict", &chart, "--values", &file, "--kube-version", "1.36.0"]).await;
        let said = said.unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(said.contains("0 chart(s) failed"), "{said}");
    }
    // It would complain of a broken chart.
    assert!(helm.run(&["lint", "--strict", &chart, "--set", "replicaCount=many"]).await.is_err());
}

/// Argo CD renders again and again, and applies what differs.
#[tokio::test]
async fn every_render_is_the_same() {
    let (three, four) = (Helm::three().await, Helm::four().await);
    for file in values_files() {
        let file = file.display().to_string();
        let render = async |helm: &Helm| helm.text(RELEASE, &chart(), &["--values", &file]).await.unwrap();
        let first = render(&three).await;
        assert_eq!(first, render(&three).await, "{file}");
        let sorted = |text: &str| {
            let mut all = documents(text);
            all.sort_by_key(identity);
            all
        };
        assert_eq!(sorted(&first), sorted(&render(&four).await), "{file}: Helm 3 and Helm 4");
        let names: Vec<_> = documents(&first).iter().map(identity).collect();
        assert!(names.len() >= 2, "{file}: {names:?}");
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "twice the same object: {names:?}");
        list_items_are_named_once(&documents(&first));
    }
    let words = std::fs::read_dir(chart().join("templates")).unwrap().map(|entry| entry.unwrap().path());
    for path in words.filter(|path| path.is_file()) {
        let text = std::fs::read_to_string(&path).unwrap();
        for word in [
            "lookup",
            "randAlpha",
            "genCA",
            "genSelfSignedCert",
            "uuidv4",
            "now ",
            ".Release.IsInstall",
            ".Release.IsUpgrade",
        ] {
            assert!(!text.contains(word), "{}: {word} differs from render to render", path.display());
        }
    }
}

/// Server-side apply, which Helm 4 uses, refuses two list items of one name.
fn list_items_are_named_once(documents: &[Value]) {
    let helpers = std::fs::read_to_string(chart().join("templates/deployment.yaml")).unwrap();
    for deployment in of_kind(documents, "Deployment") {
        let pod = &deployment["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        for (list, key) in [
            (&container["env"], "name"),
            (&container["ports"], "containerPort"),
            (&container["volumeMounts"], "mountPath"),
            (&pod["volumes"], "name"),
            (&pod["imagePullSecrets"], "name"),
        ] {
            let items = list.as_array().into_iter().flatten();
            let keys: Vec<_> = items.map(|item| item[key].to_string()).collect();
            assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "{keys:?}");
        }
        // The lists that extraEnv, extraVolumes and extraVolumeMounts are compared with hold all of the chart's own.
        let own = |list: &Value, key: &str| {
            let items = list.as_array().cloned().unwrap_or_default();
            items.iter().map(|item| item[key].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let mut names = own(&container["env"], "name");
        names.retain(|name| name.starts_with("RUNAI_") || name.starts_with("POD_"));
        let theirs = ["scratch", "/scratch"];
        names.extend([own(&pod["volumes"], "name"), own(&container["volumeMounts"], "mountPath")].concat());
        for name in names.iter().filter(|name| !theirs.contains(&name.as_str())) {
            assert!(helpers.contains(&format!("\"{name}\"")), "{name} is not in the list");
        }
    }
}

#[tokio::test]
async fn unknown_and_impossible_values_are_refused() {
    let helm = Helm::three().await;
    // Value, and a word of the answer.
    let table = [
        ("replicas=2", "replicas"),
        ("image.tags=1", "tags"),
        ("controlPlane.existingSecrets=a", "existingSecrets"),
        ("controlPlane.url=ftp://acme", "url"),
        ("serviceMonitor.labels.a=b", "labels"),
        ("prometheusRule.overrides.Dwon.enabled=false", "Dwon"),
        ("prometheusRule.overrides.Down.expr=1", "expr"),
        ("replicaCount=-1", "replicaCount"),
        ("image.digest=sha256:abc", "digest"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("ports.metrics=70000", "metrics"),
        ("watch.namespaces={Team_A}", "namespaces"),
        ("podDisruptionBudget.maxUnavailable=most", "maxUnavailable"),
        ("imagePullSecrets[0].secret=a", "imagePullSecrets"),
        ("serviceMonitor.interval=often", "interval"),
        ("logging.format=xml", "format"),
    ];
    for (setting, word) in table {
        let said = helm.refusal(&["--set", setting]).await;
        assert!(said.contains(word) && said.contains("schema"), "{setting}: {said}");
    }
}

#[tokio::test]
async fn it_works_as_a_part_of_another_chart() {
    let helm = Helm::three().await;
    let parent = TemporaryDirectory::create().unwrap();
    copy(&chart(), &parent.path().join("charts/runai-cluster-operator"));
    let write = |name: &str, content: Value| std::fs::write(parent.path().join(name), content.to_string()).unwrap();
    write(
        "Chart.yaml",
        json!({
            "apiVersion": "v2", "name": "platform", "version": "1.0.0",
            "dependencies": [{ "name": "runai-cluster-operator", "version": "0.1.0", "condition": "runai-cluster-operator.enabled" }],
        }),
    );
    write(
        "values.yaml",
        json!({
            "global": { "imageRegistry": "mirror.example.com", "imagePullSecrets": ["mirror"], "region": "east" },
            "runai-cluster-operator": { "enabled": true, "controlPlane": { "existingSecret": "connection" } },
        }),
    );
    let all = documents(&helm.text("platform", parent.path(), &[]).await.unwrap());
    let deployments = of_kind(&all, "Deployment");
    let [deployment] = deployments[..] else { panic!("{deployments:?}") };
    assert_eq!(deployment["metadata"]["name"], "platform-runai-cluster-operator");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], "mirror.example.com/runai-cluster-operator:0.1.0");
    assert_eq!(pod["imagePullSecrets"], json!([{ "name": "mirror" }]));

    let off = helm.text("platform", parent.path(), &["--set", "runai-cluster-operator.enabled=false"]).await.unwrap();
    assert_eq!(documents(&off), Vec::<Value>::new());
    let unknown = helm.text("platform", parent.path(), &["--set", "runai-cluster-operator.typo=1"]).await;
    assert!(unknown.unwrap_err().contains("typo"));
}

/// What of a document's name and labels Kubernetes would not take.
fn bad_names(document: &Value) -> Vec<String> {
    let letters = |text: &str| text.starts_with(char::is_alphanumeric) && text.ends_with(char::is_alphanumeric);
    let label = |text: &str| text.len() <= 63 && letters(text);
    let name = document["metadata"]["name"].as_str().unwrap().to_owned();
    let dots = document["kind"] == "CustomResourceDefinition";
    let mut bad = Vec::new();
    if !label(&name) || !name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-') || c == '.' && dots) {
        bad.push(name);
    }
    let labels = [&document["metadata"]["labels"], &document["spec"]["template"]["metadata"]["labels"]];
    let values = labels.into_iter().filter_map(Value::as_object).flat_map(|labels| labels.values());
    bad.extend(values.map(|value| value.as_str().unwrap().to_owned()).filter(|value| !label(value)));
    bad
}

#[tokio::test]
async fn names_are_taken_whatever_the_release_is_called() {
    let helm = Helm::three().await;
    let full = chart().join("ci/full-values.yaml").display().to_string();
    // Cut at any length, a name must not end in a dash, however many there are; and a release may be called with dots.
    let dashes = ["a-".repeat(26), "a".to_owned()].concat();
    let two_dashes = ["a".repeat(44), "--b".to_owned()].concat();
    let dots = ["a.".repeat(26), "a".to_owned()].concat();
    let trial = "controlPlane.url=https://a,controlPlane.clientID=a,controlPlane.clientSecret=a,watch.namespaces={b}";
    let long = format!("nameOverride={}--{},{trial}", "b".repeat(56), "b".repeat(5));
    for release in ["a".repeat(53), dashes, two_dashes, dots, "x".to_owned()] {
        for args in [
            vec!["--set", trial],
            vec!["--set", &long],
            vec!["--values", &full, "--set", "fullnameOverride="],
            vec!["--values", &full],
        ] {
            let mut all = documents(&helm.text(&release, &chart(), &args).await.unwrap());
            assert!(all.len() > 10);
            // Those are named by the user, here after the release.
            all.retain(|document| !["-extra", "-text"].iter().any(|end| identity(document).ends_with(end)));
            for document in &all {
                assert_eq!(bad_names(document), Vec::<String>::new(), "{}", identity(document));
            }
        }
    }
    let labels = json!({ "a": "b", "c": "d_", "e": "f.g" });
    let document = json!({ "kind": "Service", "metadata": { "name": "a.b", "labels": labels } });
    assert_eq!(bad_names(&document), ["a.b", "d_"]);
}

#[tokio::test]
async fn the_rendered_definitions_are_the_generated_ones() {
    let helm = Helm::three().await;
    let rendered = helm.documents(&[]).await;
    let mut definitions: Vec<Value> = of_kind(&rendered, "CustomResourceDefinition").into_iter().cloned().collect();
    for definition in &mut definitions {
        // What client-side apply keeps in an annotation has to fit there.
        assert!(definition.to_string().len() < 256 * 1024);
        let metadata = definition["metadata"].as_object_mut().unwrap();
        assert_eq!(metadata.remove("annotations"), Some(json!({ "helm.sh/resource-policy": "keep" })));
        assert!(metadata.remove("labels").is_some());
    }
    let generated = std::fs::read_to_string(workspace_dir().join("crds/runai-operator.io.yaml")).unwrap();
    assert_eq!(definitions, documents(&generated));
}

#[tokio::test]
async fn every_object_carries_the_recommended_labels() {
    let helm = Helm::three().await;
    for file in values_files() {
        for document in helm.documents(&["--values", &file.display().to_string()]).await {
            let id = identity(&document);
            if id.ends_with("-extra") || id.ends_with("-text") {
                continue;
            }
            for label in [
                "helm.sh/chart",
                "app.kubernetes.io/name",
                "app.kubernetes.io/instance",
                "app.kubernetes.io/version",
                "app.kubernetes.io/managed-by",
            ] {
                assert!(document["metadata"]["labels"][label].is_string(), "{id}: {label}");
            }
        }
    }
    let full = chart().join("ci/full-values.yaml").display().to_string();
    let all = helm.documents(&["--values", &full]).await;
    let common = all.iter().filter(|document| document["metadata"]["labels"]["team"] == "platform").count();
    assert_eq!(common, all.len() - 2, "all but the extra objects");
    let mut labels = Vec::new();
    all.iter().for_each(|document| selected(document, &mut labels));
    let own = json!({ "app.kubernetes.io/name": "runai-cluster-operator", "app.kubernetes.io/instance": RELEASE });
    // Deployment, Service, PodDisruptionBudget, NetworkPolicy, ServiceMonitor.
    assert_eq!(labels.iter().filter(|labels| **labels == &own).count(), 5, "a selector never changes: {labels:?}");
    assert!(labels.iter().all(|labels| labels["team"].is_null()), "{labels:?}");
}

/// The labels of every selector in a document: a Service has them as they are, the others as `matchLabels`.
fn selected<'a>(node: &'a Value, found: &mut Vec<&'a Value>) {
    match node {
        Value::Object(map) => {
            for (key, below) in map {
                let is_text = |(_, value): (&String, &Value)| value.is_string();
                let plain = key == "selector" && below.as_object().is_some_and(|labels| labels.iter().all(is_text));
                if key == "matchLabels" || plain {
                    found.push(below);
                }
                selected(below, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|below| selected(below, found)),
        _ => {}
    }
}

/// The suites in the chart's `tests/`, one for each template.
#[tokio::test]
async fn the_suites_of_the_chart_pass() {
    let unittest = Tool::HelmUnittest.find().await.unwrap();
    let copied = TemporaryDirectory::create().unwrap();
    let here = copied.path().join("chart");
    copy(&chart(), &here);
    let (ours, fresh) = (chart().join("tests/__snapshot__"), here.join("tests/__snapshot__"));
    if updating() {
        std::fs::remove_dir_all(&fresh).unwrap();
    }
    // In a copy: it would write a snapshot that is not there yet.
    let said = run(&unittest, &[], &["--strict", "--file", "tests/*_test.yaml", &here.display().to_string()]).await;
    assert!(said.unwrap_or_else(|error| panic!("{error}")).contains("Charts:      1 passed, 1 total"));
    for entry in std::fs::read_dir(&fresh).unwrap() {
        let name = entry.unwrap().file_name();
        check(&ours.join(&name), &std::fs::read_to_string(fresh.join(&name)).unwrap());
    }

    let suites = std::fs::read_dir(chart().join("tests")).unwrap().map(|entry| entry.unwrap().path());
    let suites: String =
        suites.filter(|path| path.is_file()).map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for entry in ["templates", "templates/tests"].iter().flat_map(|dir| std::fs::read_dir(chart().join(dir)).unwrap()) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(path.is_dir() || name == "_helpers.tpl" || suites.contains(&name), "no suite looks at {name}");
    }

    // A wrong expectation is noticed.
    let suite = here.join("tests/service_test.yaml");
    let text = std::fs::read_to_string(&suite).unwrap();
    std::fs::write(&suite, text.replace("port: 9090", "port: 9099")).unwrap();
    let wrong =
        run(&unittest, &[], &["--strict", "--file", "tests/service_test.yaml", &here.display().to_string()]).await;
    assert!(wrong.is_err());
}
