//! The kinds of other projects that the pages show, and where their definitions come from.
//!
//! Owns what is acted on and what is only accepted. Must not know what a page does with a kind.

use std::path::PathBuf;

use serde_json::{Value, json};
use testbed::workspace_dir;
use tokio::process::Command;

use crate::stage::Stage;

/// Kinds that a real controller acts on here: the API server, and the operator.
const ACTED_ON: [&str; 7] =
    ["Namespace", "Secret", "ServiceAccount", "Role", "RoleBinding", "RunaiCluster", "RunaiControlPlane"];
/// Kinds that are decoded and stored, but not acted on: their controllers do not run. `others.rs` plays them.
const ACCEPTED: [&str; 5] = ["HelmRepository", "HelmRelease", "SecretStore", "PushSecret", "Application"];

/// The publishers' own definitions, in modules that `kinds/go.mod` pins.
const PUBLISHED: [(&str, &str); 3] = [
    ("github.com/external-secrets/external-secrets@v1.3.2", "config/crds/bases/external-secrets.io_secretstores.yaml"),
    ("github.com/external-secrets/external-secrets@v1.3.2", "config/crds/bases/external-secrets.io_pushsecrets.yaml"),
    ("github.com/argoproj/argo-cd/v3@v3.1.9", "manifests/crds/application-crd.yaml"),
];

/// Whether a page may show this kind.
pub fn known(kind: &str) -> Option<()> {
    ACTED_ON.iter().chain(&ACCEPTED).any(|known| *known == kind).then_some(())
}

/// Makes the API server know all of them, and the namespace of Argo CD.
pub async fn install(stage: &Stage) {
    let flux = folder().join("flux.yaml");
    let mut definitions: Vec<Value> = serde_saphyr::from_multiple(&std::fs::read_to_string(flux).unwrap()).unwrap();
    for (module, file) in PUBLISHED {
        let text = std::fs::read_to_string(unpacked(module).await.join(file)).unwrap();
        definitions.push(definition(&text));
    }
    stage.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": definitions })).await;
    let names: Vec<_> = definitions.iter().map(|one| one["metadata"]["name"].as_str().unwrap()).collect();
    stage.bed.kubectl_handle().established(&names).await.unwrap();
    stage.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "argocd" } })).await;
}

/// Without the conversion by a server that does not run here.
fn definition(text: &str) -> Value {
    let options = serde_saphyr::options! { budget: None };
    let mut found: Value = serde_saphyr::from_str_with_options(text, options).unwrap();
    found["spec"].as_object_mut().unwrap().remove("conversion");
    found
}

/// Where the go command keeps a module; downloads it the first time.
async fn unpacked(module: &str) -> PathBuf {
    let mut command = Command::new("go");
    command.args(["mod", "download", "-json", module]).current_dir(folder()).kill_on_drop(true);
    let output = command.output().await.expect("the go command, which the testbed needs, too");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(answer["Error"].is_null(), "{module}: {}", answer["Error"]);
    answer["Dir"].as_str().unwrap().into()
}

fn folder() -> PathBuf {
    workspace_dir().join("tests/guides/kinds")
}
