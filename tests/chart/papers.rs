//! What Artifact Hub reads of the chart.

use std::collections::BTreeSet;

use runai_cluster_operator::api::{RunaiClusterSpec, RunaiControlPlaneSpec, convert, crds};
use serde_json::Value;

use crate::helm::chart;

fn chart_yaml() -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(chart().join("Chart.yaml")).unwrap()).unwrap()
}

/// An annotation that is YAML itself.
fn annotation(name: &str) -> Vec<Value> {
    let chart = chart_yaml();
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
