//! What Artifact Hub reads of the chart, and what a release writes into it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use runai_cluster_operator::api::{RunaiClusterSpec, RunaiControlPlaneSpec, convert, crds};
use serde_json::{Value, json};
use testbed::{TemporaryDirectory, workspace_dir};

use crate::helm::{Helm, RELEASE, chart, documents, of_kind};
use crate::world::Bare;

fn read(chart: &Path) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(chart.join("Chart.yaml")).unwrap()).unwrap()
}

fn chart_yaml() -> Value {
    read(&chart())
}

/// An annotation that is YAML itself.
fn annotation(name: &str) -> Vec<Value> {
    annotation_of(&chart_yaml(), name)
}

fn annotation_of(chart: &Value, name: &str) -> Vec<Value> {
    let text = chart["annotations"][format!("artifacthub.io/{name}")].as_str().unwrap_or_else(|| panic!("no {name}"));
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn one_version_everywhere() {
    let chart = chart_yaml();
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let images = annotation("images");
    assert!(!images.is_empty());
    for image in images {
        let image = image["image"].as_str().unwrap().to_owned();
        assert!(image.ends_with(&format!(":{}", env!("CARGO_PKG_VERSION"))), "{image}");
    }
    assert!(chart["kubeVersion"].as_str().unwrap().ends_with("-0"), "or vendors' versions do not match");
}

#[test]
fn the_kinds_are_described_and_their_examples_can_be_used() {
    let described: BTreeSet<_> = annotation("crds")
        .iter()
        .map(|kind| ["kind", "version", "name"].map(|field| kind[field].as_str().unwrap().to_owned()))
        .collect();
    let generated: BTreeSet<_> = crds::crds()
        .unwrap()
        .into_iter()
        .map(|crd| [crd.spec.names.kind, crd.spec.versions[0].name.clone(), crd.metadata.name.unwrap()])
        .collect();
    assert_eq!(described, generated);

    let mut kinds = BTreeSet::new();
    for example in annotation("crdsExamples") {
        let kind = example["kind"].as_str().unwrap().to_owned();
        let spec = example["spec"].clone();
        match kind.as_str() {
            "RunaiCluster" => {
                let spec: RunaiClusterSpec = serde_json::from_value(spec).unwrap();
                convert::desired("object", &spec).unwrap();
            }
            "RunaiControlPlane" => {
                let spec: RunaiControlPlaneSpec = serde_json::from_value(spec).unwrap();
                convert::settings(&spec).unwrap();
            }
            other => panic!("{other}"),
        }
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), 2, "an example of each kind");
}

#[test]
fn the_words_are_those_of_artifact_hub() {
    for change in annotation("changes") {
        let kind = change["kind"].as_str().unwrap();
        assert!(["added", "changed", "deprecated", "removed", "fixed", "security"].contains(&kind), "{kind}");
        assert!(change["description"].as_str().is_some_and(|text| text.len() > 10));
    }
    let annotations = &chart_yaml()["annotations"];
    let word = |name: &str| annotations[format!("artifacthub.io/{name}")].as_str().unwrap_or_default().to_owned();
    let levels = ["Basic Install", "Seamless Upgrades", "Full Lifecycle", "Deep Insights", "Auto Pilot"];
    assert!(levels.contains(&word("operatorCapabilities").as_str()));
    for name in ["operator", "prerelease", "containsSecurityUpdates"] {
        assert!(["true", "false"].contains(&word(name).as_str()), "{name}");
    }
    assert_eq!((word("license").as_str(), word("category").as_str()), ("Apache-2.0", "integration-delivery"));
}

/// By the rules of the schema, which the types above do not know, and without a field that nobody reads.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_takes_the_examples() {
    let bare = Bare::start().await;
    let take = async |example: &Value| {
        let file = bare.bed.directory().join("example.yaml");
        std::fs::write(&file, example.to_string()).unwrap();
        let file = file.display().to_string();
        bare.bed.kubectl_ok(&["create", "--dry-run=server", "--validate=strict", "-f", &file]).await
    };
    let examples = annotation("crdsExamples");
    let namespaces = examples.iter().filter_map(|example| example["metadata"]["namespace"].as_str());
    for namespace in namespaces.collect::<BTreeSet<_>>() {
        bare.bed.kubectl_ok(&["create", "namespace", namespace]).await.unwrap();
    }
    for example in &examples {
        take(example).await.unwrap();
        for (field, wrong) in
            [("name", json!(" x")), ("connectionSecretRef", json!({ "name": "a/b" })), ("typo", json!(1))]
        {
            let mut example = example.clone();
            example["spec"][field] = wrong;
            let refusal = take(&example).await.expect_err(field).to_string();
            assert!(refusal.contains(&format!("spec.{field}")), "{field}: {refusal}");
        }
    }
}

/// `image/chart`, which the release runs.
#[tokio::test]
async fn a_released_chart_leads_to_the_image_and_the_project() {
    let (image, source) =
        ("registry.example.com/owner/runai-cluster-operator", "https://git.example.com/owner/project");
    let directory = TemporaryDirectory::create().unwrap();
    let mut command = Command::new(workspace_dir().join("image/chart"));
    let output = command.args([image, source]).arg(directory.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let released = directory.path().join("runai-cluster-operator");

    let helm = Helm::three().await;
    helm.run(&["lint", "--strict", &released.display().to_string()]).await.unwrap();
    let args = ["--set", "prometheusRule.enabled=true"];
    let all = documents(&helm.text(RELEASE, &released, &args).await.unwrap());
    let tagged = format!("{image}:{}", env!("CARGO_PKG_VERSION"));
    let pods = [&of_kind(&all, "Deployment")[0]["spec"]["template"], of_kind(&all, "Pod")[0]];
    for pod in pods {
        assert_eq!(pod["spec"]["containers"][0]["image"], tagged);
    }
    let rule = &of_kind(&all, "PrometheusRule")[0]["spec"]["groups"][0]["rules"][0];
    let runbooks = format!("{source}/blob/v{}/docs/runbooks.md", env!("CARGO_PKG_VERSION"));
    assert_eq!(rule["annotations"]["runbook_url"], format!("{runbooks}#runaioperatordown"));

    let papers = read(&released);
    assert_eq!(annotation_of(&papers, "images"), [json!({ "name": "runai-cluster-operator", "image": tagged })]);
    let links = [("support", format!("{source}/issues")), ("runbooks", runbooks.clone())];
    assert_eq!(annotation_of(&papers, "links"), links.map(|(name, url)| json!({ "name": name, "url": url })));
    assert_eq!((&papers["home"], &papers["sources"]), (&json!(source), &json!([source])));
    let readme = std::fs::read_to_string(released.join("README.md")).unwrap();
    for default in [image.to_owned(), format!("{runbooks}#")] {
        assert!(readme.contains(&format!("| `\"{default}\"` |")), "{default}");
    }
    // Nothing else differs.
    let files = ["values.yaml", "Chart.yaml", "README.md"];
    let output = Command::new("diff").args(["--recursive", "--brief"]).args([chart(), released]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.lines().count(), files.len(), "{said}");
    assert!(files.iter().all(|file| said.contains(file)), "{said}");
}
