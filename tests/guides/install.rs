//! docs/install.md, played from an empty cluster to an empty cluster.

use serde_json::json;

use crate::cluster;
use crate::player::play;
use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_is_installed_upgraded_restored_and_removed() {
    let mut stage = Stage::empty(cluster::options()).await;
    cluster::engine(&stage);
    argo_cd(&stage).await;
    play(&mut stage, "install.md").await;
    let left = stage.get(&["runaiclusters", "-A"]).await;
    assert_eq!(left["items"], json!([]));
}

/// Argo CD is there, and keeps something of its own where the page adds to it.
async fn argo_cd(stage: &Stage) {
    stage.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "argocd" } })).await;
    let metadata = json!({ "name": "argocd-cm", "namespace": "argocd" });
    let data = json!({ "url": "https://argocd.example.com" });
    stage.apply(&json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data })).await;
}

/// Commands that stand between the lines, where nobody would run them.
fn commands_in_prose(page: &str) -> Vec<&str> {
    const PROGRAMS: [&str; 5] = ["kubectl", "helm", "make", "docker", "runai-cluster-operator"];
    let mut is_prose = true;
    let mut found = Vec::new();
    for line in page.lines() {
        if line.starts_with("```") {
            is_prose = !is_prose;
        } else if is_prose {
            let code = line.split('`').skip(1).step_by(2);
            found.extend(code.filter(|code| code.split_once(' ').is_some_and(|(word, _)| PROGRAMS.contains(&word))));
        }
    }
    found
}

#[test]
fn no_command_of_the_page_is_left_out() {
    let page = std::fs::read_to_string(testbed::workspace_dir().join("docs/install.md")).unwrap();
    // Told in passing: it is run in the block above it.
    assert_eq!(commands_in_prose(&page), ["make image"]);
    let sample = "a `kubectl` b `kubectl get x`\n```sh\n`helm list`\n```\n`helm list`";
    assert_eq!(commands_in_prose(sample), ["kubectl get x", "helm list"]);
}
