//! Rows 37 and 38: namespaces that go, with and without the credentials that their objects need.

use jiff::Timestamp;
use serde_json::json;
use testbed::OPERATOR_NAMESPACE;

use crate::stage::{FINALIZER, Plane, Stage, on_stage};
use crate::world::{cluster, condition, message};

async fn namespace(stage: &Stage, name: &str) {
    stage.world.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })).await;
}

async fn until_no_namespace(stage: &Stage, name: &str) {
    stage
        .eventually(&format!("namespace {name} to go"), async || stage.world.namespace(name).await.map_or(Ok(()), Err))
        .await;
}

/// A registered object in another namespace than the usual one; with a version its deletion takes a while.
async fn registered(stage: &Stage, plane: &Plane, namespace: &str, name: &str) {
    let spec = json!({ "controlPlaneRef": { "name": plane.name }, "version": "2.24" });
    stage.world.apply(&cluster(namespace, name, spec)).await;
    stage
        .eventually(&format!("{namespace}/{name} Ready"), async || {
            let object = get(stage, namespace, name).await;
            if condition(&object, "Ready").0 == "True" { Ok(()) } else { Err(object) }
        })
        .await;
}

async fn get(stage: &Stage, namespace: &str, name: &str) -> serde_json::Value {
    stage.world.get_in(namespace, name).await.unwrap_or_default()
}

/// The worst order: the connection Secret goes, then the operator, then the namespace. A new process has no credentials:
/// it says so, keeps the object, and goes on as soon as there are some.
#[test]
fn row_37_without_any_credentials_a_deletion_waits_says_why_and_goes_on() {
    on_stage(async |stage| {
        let plane = stage.plane("keyless").await;
        namespace(stage, "team-keyless").await;
        registered(stage, &plane, "team-keyless", "keyless").await;
        stage.world.kubectl(&["delete", "secret", "keyless", "-n", OPERATOR_NAMESPACE]).await;
        stage.restart().await;
        stage.world.kubectl(&["delete", "namespace", "team-keyless", "--wait=false"]).await;
        stage
            .eventually("the deletion to say what it lacks", async || {
                let object = get(stage, "team-keyless", "keyless").await;
                let blocked = condition(&object, "Synced").1 == "ConnectionInvalid"
                    && !object["metadata"]["deletionTimestamp"].is_null();
                if blocked && message(&object, "Synced").contains("keyless") { Ok(()) } else { Err(object) }
            })
            .await;
        stage.stays_silent(&plane, "nobody can send anything").await;
        assert_eq!(get(stage, "team-keyless", "keyless").await["metadata"]["finalizers"], json!([FINALIZER]));
        stage.world.connect_secret("keyless", &[("url", plane.simulator.url())]).await;
        until_no_namespace(stage, "team-keyless").await;
        assert_eq!(plane.sent().len(), 2, "a POST and a DELETE: {:?}", plane.sent());
        assert!(plane.simulator.live_clusters().is_empty());
    });
}

/// The other way out that the message names: let the registration be.
#[test]
fn row_37_without_any_credentials_an_object_can_be_let_go() {
    on_stage(async |stage| {
        let plane = stage.plane("hopeless").await;
        namespace(stage, "team-hopeless").await;
        registered(stage, &plane, "team-hopeless", "hopeless").await;
        stage.world.kubectl(&["delete", "rcp", "hopeless"]).await;
        stage.world.kubectl(&["delete", "secret", "hopeless", "-n", OPERATOR_NAMESPACE]).await;
        stage.restart().await;
        stage.world.kubectl(&["delete", "namespace", "team-hopeless", "--wait=false"]).await;
        stage
            .eventually("the deletion to say what it lacks", async || {
                let object = get(stage, "team-hopeless", "hopeless").await;
                if condition(&object, "Synced").1 == "ControlPlaneMissing" { Ok(()) } else { Err(object) }
            })
            .await;
        let orphan = json!({ "spec": { "deletion": { "policy": "Orphan" } } }).to_string();
        stage.world.kubectl(&["patch", "rcl", "hopeless", "-n", "team-hopeless", "--type=merge", "-p", &orphan]).await;
        until_no_namespace(stage, "team-hopeless").await;
        assert_eq!(plane.sent().len(), 1, "{:?}", plane.sent());
        assert_eq!(plane.simulator.live_clusters().len(), 1, "it was let go, not deleted");
    });
}

/// In a namespace that goes nothing can be made, and nothing has to be: Events are refused, and nobody minds.
#[test]
fn row_38_a_terminating_namespace_gets_nothing_new_and_loses_everything() {
    on_stage(async |stage| {
        let plane = stage.plane("ending").await;
        namespace(stage, "team-ending").await;
        for name in ["ending-a", "ending-b"] {
            registered(stage, &plane, "team-ending", name).await;
        }
        stage.world.kubectl(&["delete", "namespace", "team-ending", "--wait=false"]).await;
        // An Event about the registration may have been under way until here.
        let since = Timestamp::now();
        until_no_namespace(stage, "team-ending").await;
        let requests = stage.requests(since);
        let mine: Vec<_> = requests.iter().filter(|event| event.namespace == "team-ending").collect();
        let made: Vec<_> = mine.iter().filter(|event| event.verb == "create" && event.code < 300).collect();
        assert!(made.is_empty(), "{made:?}");
        let kinds: std::collections::BTreeSet<_> =
            mine.iter().filter(|event| event.verb == "create").map(|event| event.resource.as_str()).collect();
        assert!(kinds.iter().all(|kind| *kind == "events"), "{kinds:?}");
        // Per object: its status once, the finalizer once, and Events that were refused.
        let writes = mine.iter().filter(|event| event.resource == "runaiclusters").count();
        assert!(writes <= 6, "{writes} writes: {mine:?}");
        let deletes = plane.sent().iter().filter(|line| line.starts_with("Delete")).count();
        assert_eq!((plane.sent().len(), deletes), (4, 2), "{:?}", plane.sent());
        assert!(plane.simulator.live_clusters().is_empty());
    });
}
