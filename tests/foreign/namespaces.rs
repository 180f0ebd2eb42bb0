//! Bugs that kept a namespace from going: the way out needed something that was not to be had any more.

use jiff::Timestamp;
use serde_json::json;
use testbed::OPERATOR_NAMESPACE;

use crate::stage::{Plane, Stage, on_stage};
use crate::world::{cluster, condition};

/// A namespace with a registered object in it.
async fn inhabited(stage: &Stage, plane: &Plane, namespace: &str) {
    stage.world.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } })).await;
    let spec = json!({ "controlPlaneRef": { "name": plane.name }, "version": "2.24" });
    stage.world.apply(&cluster(namespace, "inhabitant", spec)).await;
    stage
        .eventually("the inhabitant Ready", async || {
            let object = stage.world.get_in(namespace, "inhabitant").await.unwrap();
            if condition(&object, "Ready").0 == "True" { Ok(()) } else { Err(object) }
        })
        .await;
}

async fn delete(stage: &Stage, namespace: &str) {
    stage.world.kubectl(&["delete", "namespace", namespace, "--wait=false"]).await;
}

async fn gone(stage: &Stage, plane: &Plane, namespace: &str) {
    stage
        .eventually(&format!("namespace {namespace} to go"), async || {
            stage.world.namespace(namespace).await.map_or(Ok(()), Err)
        })
        .await;
    assert!(plane.simulator.live_clusters().is_empty());
    assert_eq!(plane.sent().len(), 2, "a POST and a DELETE: {:?}", plane.sent());
}

#[test]
fn runtime_1010_a_terminating_namespace_needs_nothing_created_in_it() {
    on_stage(async |stage| {
        let plane = stage.plane("runtime-1010").await;
        inhabited(stage, &plane, "runtime-1010").await;
        let since = Timestamp::now();
        delete(stage, "runtime-1010").await;
        gone(stage, &plane, "runtime-1010").await;
        let requests = stage.requests(since);
        let needed =
            requests.iter().filter(|e| e.namespace == "runtime-1010" && e.verb == "create" && e.resource != "events");
        assert_eq!(needed.count(), 0, "{requests:?}");
    });
}

#[test]
fn kuberay_3388_cleaning_up_launches_nothing() {
    on_stage(async |stage| {
        let plane = stage.plane("kuberay-3388").await;
        inhabited(stage, &plane, "kuberay-3388").await;
        // The operator may not make anything but Events there even if it wanted to.
        for resource in ["jobs.batch", "pods", "configmaps", "secrets", "runaiclusters.runai-operator.io"] {
            let user = "--as=system:serviceaccount:runai-operator:runai-operator-runai-cluster-operator";
            let args = ["auth", "can-i", "create", resource, "-n", "kuberay-3388", user];
            let answer = stage.world.bed.kubectl(&args).await.unwrap();
            assert_eq!(answer.stdout.trim(), "no", "{resource}");
        }
        delete(stage, "kuberay-3388").await;
        gone(stage, &plane, "kuberay-3388").await;
    });
}

#[test]
fn aso_4679_credentials_deleted_along_with_the_namespace_are_not_missed() {
    on_stage(async |stage| {
        let plane = stage.plane("aso-4679").await;
        inhabited(stage, &plane, "aso-4679").await;
        // No credential lies in the namespace; and the one that there is goes first.
        stage.world.kubectl(&["delete", "secret", "aso-4679", "-n", OPERATOR_NAMESPACE]).await;
        stage
            .eventually("the loss to be noticed", async || {
                let plane = stage.world.plane("aso-4679").await;
                if condition(&plane, "Ready").1 == "ConnectionInvalid" { Ok(()) } else { Err(plane["status"].clone()) }
            })
            .await;
        delete(stage, "aso-4679").await;
        gone(stage, &plane, "aso-4679").await;
    });
}

#[test]
fn vault_config_133_service_accounts_and_roles_deleted_first_do_not_hold_a_namespace() {
    on_stage(async |stage| {
        let plane = stage.plane("vault-133").await;
        inhabited(stage, &plane, "vault-133").await;
        for kind in ["serviceaccount", "rolebinding", "role", "secret", "configmap"] {
            stage.world.kubectl(&["delete", kind, "--all", "-n", "vault-133"]).await;
        }
        delete(stage, "vault-133").await;
        gone(stage, &plane, "vault-133").await;
    });
}
