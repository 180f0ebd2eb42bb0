//! The commands of docs/gitops.md, run as they are printed.
//!
//! Argo CD and Flux do not run: their kinds are only stored here. What they make of them is told by `manifests.rs`.

use serde_json::{Value, json};
use testbed::workspace_dir;

use crate::files::path;
use crate::judges::Judges;
use crate::manifests::argo_cd_cluster;
use crate::page::{Part, walk};
use crate::terminal::Terminal;
use crate::world::{Setup, World, namespace};

const NAMESPACE: &str = "platform";
/// Group, version, plural and kind of what the page applies of the tools' own.
const KINDS: [[&str; 4]; 2] = [
    ["argoproj.io", "v1alpha1", "applications", "Application"],
    ["kustomize.toolkit.fluxcd.io", "v1", "kustomizations", "Kustomization"],
];

fn definition([group, version, plural, kind]: [&str; 4]) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group, "scope": "Namespaced", "names": { "plural": plural, "kind": kind },
            "versions": [{
                "name": version, "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            }],
        },
    })
}

/// The scripts of the page, in order.
async fn scripts() -> Vec<String> {
    let page = std::fs::read_to_string(path("docs/gitops.md")).unwrap();
    let mut found = Vec::new();
    walk(&page, async |part| {
        if let Part::Block(block) = part {
            match block.language.as_str() {
                "sh" => found.push(block.body),
                // Part of a file: `manifests.rs` looks at it.
                "yaml" => {}
                other => panic!("line {}: a block in {other:?} would not be run", block.line),
            }
        }
        None
    })
    .await;
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_work() {
    let world = World::start(Setup::default()).await;
    world.apply_all([namespace("argocd"), namespace("flux-system"), namespace(NAMESPACE)].into()).await;
    world.apply_all(KINDS.map(definition).into()).await;
    world.bed.kubectl_handle().established(&[]).await.unwrap();
    world.apply(&crate::world::cluster(NAMESPACE, "gpu-east", json!({}))).await;
    world.apply(&argo_cd_cluster("gpu-east")).await;
    world.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "runaicluster/gpu-east", "-n", NAMESPACE]).await;

    let terminal = Terminal::new(&world, NAMESPACE);
    let scripts = scripts().await;
    assert!(scripts.len() >= 3, "{scripts:?}");
    for script in scripts {
        let mut shell = terminal.bash(&format!("set -eo pipefail\n{script}"));
        let output = shell.current_dir(workspace_dir()).output().await.unwrap();
        assert!(output.status.success(), "{script}{}", String::from_utf8_lossy(&output.stdout));
    }

    // Both files add to one ConfigMap, and neither takes away what is the other's.
    let config = world.read("/api/v1/namespaces/argocd/configmaps/argocd-cm").await.unwrap();
    for kind in ["runai-operator.io_RunaiCluster", "runai-operator.io_RunaiControlPlane", "argoproj.io_Application"] {
        assert!(config["data"][format!("resource.customizations.health.{kind}")].is_string(), "{kind}: {config:#}");
    }
    // The uuid has come to where the ApplicationSet reads it.
    let secret = world.read("/api/v1/namespaces/argocd/secrets/gpu-east").await.unwrap();
    let products = Judges::new().await.applications(&path("gitops/argocd/agents.yaml"), [&secret]).await;
    let agent = products[0].application.as_ref().unwrap_or_else(|| panic!("{products:?} of {secret}"));
    let uuid = &world.get_in(NAMESPACE, "gpu-east").await.unwrap()["status"]["uuid"];
    assert!(uuid.is_string() && agent["spec"]["source"]["helm"]["valuesObject"]["cluster"]["uid"] == *uuid, "{agent}");
    // The last one asks for a pass, and is told that there was one.
    let asked = |object: &Value| object["metadata"]["annotations"]["runai-operator.io/reconcile-requested-at"].clone();
    let done = testbed::wait_until(crate::world::SOON, "the pass that was asked for", async || {
        let object = world.get_in(NAMESPACE, "gpu-east").await.unwrap();
        if asked(&object).is_string() && object["status"]["lastHandledReconcileAt"] == asked(&object) {
            Ok(())
        } else {
            Err(object.to_string())
        }
    });
    done.await.unwrap_or_else(|error| panic!("{error}\n--- operator\n{}", world.tail()));
}
