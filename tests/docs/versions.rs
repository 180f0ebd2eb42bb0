//! One version drives everything that a release consists of.

use serde_json::Value;

use crate::read;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const CHART: &str = "charts/runai-cluster-operator/Chart.yaml";

/// What of a chart does not say the version.
fn objections(chart: &str, version: &str) -> Vec<String> {
    let chart: Value = serde_saphyr::from_str(chart).unwrap();
    let mut found = Vec::new();
    for field in ["version", "appVersion"] {
        if chart[field] != version {
            found.push(format!("{field} is {}, the crate's is {version}", chart[field]));
        }
    }
    // Whatever it says of images is of this version.
    let images = chart["annotations"]["artifacthub.io/images"].as_str().unwrap_or_default();
    let images = images.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("image:"));
    for image in images.map(|image| image.trim().trim_matches('"')) {
        if !image.ends_with(&format!(":{version}")) {
            found.push(format!("artifacthub.io/images names {image}"));
        }
    }
    // A version before 1.0 has no stable API.
    let is_early = version.starts_with("0.") || version.contains('-');
    if chart["annotations"]["artifacthub.io/prerelease"] != is_early.to_string().as_str() {
        found.push("artifacthub.io/prerelease is not what the version says".to_owned());
    }
    found
}

#[test]
fn crate_and_chart_have_one_version() {
    let objections = objections(&read(CHART), VERSION);
    assert!(objections.is_empty(), "{CHART}: {}", objections.join("; "));
    // The members take theirs from the workspace.
    for member in ["Cargo.toml", "simulator/Cargo.toml", "testbed/Cargo.toml"] {
        let text = read(member);
        assert!(text.contains("\nversion.workspace = true\n"), "{member}");
    }
    let lock = read("Cargo.lock");
    assert!(lock.contains(&format!("name = \"runai-cluster-operator\"\nversion = \"{VERSION}\"\n")), "Cargo.lock");
}

#[test]
fn another_version_is_found() {
    let images = "- name: operator\n  image: example.com/operator:0.1.0\n";
    let chart = |version: &str, app: &str| {
        let annotations = serde_json::json!({ "artifacthub.io/images": images, "artifacthub.io/prerelease": "true" });
        serde_json::json!({ "version": version, "appVersion": app, "annotations": annotations }).to_string()
    };
    assert_eq!(objections(&chart("0.1.0", "0.1.0"), "0.1.0"), Vec::<String>::new());
    assert_eq!(objections(&chart("0.1.1", "0.1.0"), "0.1.0").len(), 1);
    assert_eq!(objections(&chart("0.1.0", "0.0.9"), "0.1.0").len(), 1);
    assert_eq!(
        objections(&chart("0.2.0", "0.2.0"), "0.2.0"),
        ["artifacthub.io/images names example.com/operator:0.1.0"]
    );
}
