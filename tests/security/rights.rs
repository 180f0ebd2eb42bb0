//! The operator's rights are those that it uses: compared over one life of everything, by the API server's audit log.

use std::collections::BTreeSet;

use runai_simulator::AgentCommand;
use serde_json::{Value, json};
use testbed::{AuditEvent, OPERATOR_NAMESPACE, TemporaryDirectory, wait_until};

use crate::chart::{ACCOUNT, render};
use crate::roles::{Right, granted, is_kind};
use crate::world::{SOON, Setup, TEAM, World, condition, control_plane, uuid};

/// The values that grant most.
const EVERYWHERE: &[&str] = &["installInfo.enabled=true"];
/// The same in one namespace.
const IN_ONE_NAMESPACE: &[&str] = &["installInfo.enabled=true", "watch.namespaces={team-a}"];

/// Does everything that the operator can do, with everything that it can be told.
async fn everything(files: &TemporaryDirectory, chart: &'static [&'static str]) -> World {
    let brought = files.path().join("control-plane.yaml");
    let manifest = control_plane("brought", "connection", &json!({ "pollInterval": "5s" }));
    std::fs::write(&brought, manifest.to_string()).unwrap();
    let flag = format!("--default-control-plane={}", brought.display());
    let team = json!({ "matchLabels": { "kubernetes.io/metadata.name": TEAM } });
    let mut args = vec!["--leader-elect", &flag];
    if chart == IN_ONE_NAMESPACE {
        args.push("--watch-namespaces=team-a");
    }
    let setup = Setup { chart, ..Setup::default() }
        .args(&args)
        .simulator(|config| config.tls.enabled = true)
        .control_plane(json!({
            "pollInterval": "5s", "allowedNamespaces": team, "adoptionNamespaces": team,
            "caBundleRef": { "kind": "ConfigMap", "name": "authority", "key": "ca.crt" },
        }));
    let world = World::start(setup).await;
    world.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "authority", "namespace": OPERATOR_NAMESPACE },
        "data": { "ca.crt": world.simulator.ca_pem().unwrap() },
    })).await;

    world.cluster("east", json!({ "domain": "https://east.example.com" })).await;
    let id = uuid(&world.until_ready("east").await);
    // The second Event of a kind becomes a patch of the first.
    for name in ["east-2", "east-3"] {
        world.patch("east", json!({ "spec": { "name": name } })).await;
        world.until("east", "renamed", |object| object["status"]["name"] == name).await;
    }
    world.simulator.agent(id, AgentCommand::Start { after_seconds: 0.0, client_secret: None }).unwrap();
    world.until_condition("east", "Connected", "True", "Connected").await;
    world.cluster("stays", json!({})).await;
    world.until_ready("stays").await;
    credentials(&world).await;
    control_plane_says_twice(&world).await;
    world.delete("east").await;
    world.until_gone("east").await;
    world
}

/// The second Event of a kind about a control plane, which lies elsewhere than those about objects.
async fn control_plane_says_twice(world: &World) {
    let ready = async |status: &str| {
        let what = format!("the control plane to be Ready={status}");
        let reached = wait_until(SOON, &what, async || {
            let plane = world.plane("default").await;
            if condition(&plane, "Ready").0 == status { Ok(()) } else { Err(plane["status"].to_string()) }
        });
        reached.await.unwrap_or_else(|error| panic!("{error}\n--- operator\n{}", world.tail()));
    };
    for _ in 0..2 {
        world.connect_secret("connection", &[("url", "no address")]).await;
        ready("False").await;
        world.connect_secret("connection", &[]).await;
        ready("True").await;
    }
}

/// Published, changed and taken away again.
async fn credentials(world: &World) {
    let install = |name: &str, label: &str| json!({ "secretName": name, "labels": { "team": label } });
    world.patch("stays", json!({ "spec": { "version": "2.24", "installInfo": install("install", "a") } })).await;
    world.until_condition("stays", "CredentialsPublished", "True", "CredentialsPublished").await;
    world.patch("stays", json!({ "spec": { "installInfo": install("install", "b") } })).await;
    let relabelled = wait_until(SOON, "the label", async || {
        let labels = ["get", "secret", "install", "-n", TEAM, "-o", "jsonpath={.metadata.labels.team}"];
        let label = world.kubectl(&labels).await;
        if label == "b" { Ok(()) } else { Err(label) }
    });
    relabelled.await.unwrap();
    world.patch("stays", json!({ "spec": { "installInfo": install("moved", "b") } })).await;
    world.until("stays", "moved", |object| object["status"]["installSecretName"] == "moved").await;
    world.patch("stays", json!({ "spec": { "installInfo": null } })).await;
    world.until("stays", "withdrawn", |object| object["status"]["installSecretName"].is_null()).await;
    world.until_ready("stays").await;
}

fn objects(text: &str) -> Vec<Value> {
    serde_json::from_str::<Value>(text).unwrap()["items"].as_array().unwrap().clone()
}

/// The fields that the operator set, from the API server's own books.
fn fields_of_the_operator(object: &Value) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    for entry in object["metadata"]["managedFields"].as_array().unwrap() {
        if entry["manager"].as_str().unwrap().starts_with("runai-cluster-operator") {
            for (part, inner) in entry["fieldsV1"].as_object().unwrap() {
                let below = inner.as_object().unwrap().keys().filter(|key| *key != ".");
                fields.extend(below.map(|key| format!("{part}/{key}")));
            }
        }
    }
    fields
}

/// The right to patch an object covers its spec and labels: that the operator leaves them alone is shown here.
async fn only_its_own_fields(world: &World) {
    for kind in ["rcl", "rcp"] {
        let text = world.kubectl(&["get", kind, "-A", "-o", "json", "--show-managed-fields"]).await;
        for object in objects(&text) {
            // That one it applies as a whole, on demand.
            if object["metadata"]["name"] == "brought" {
                continue;
            }
            let fields = fields_of_the_operator(&object);
            let own = |field: &String| {
                field.starts_with("f:status/")
                    || field == "f:metadata/f:finalizers"
                    || field == "f:metadata/f:annotations"
            };
            assert!(!fields.is_empty() && fields.iter().all(own), "{kind}: {fields:?}");
        }
    }
}

fn is_operator(event: &AuditEvent) -> bool {
    event.user == format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{ACCOUNT}")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_is_used_and_nothing_is_missing() {
    compare(EVERYWHERE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_in_named_namespaces_is_used_and_nothing_is_missing() {
    let granted = compare(IN_ONE_NAMESPACE).await;
    let everywhere: BTreeSet<_> =
        granted.iter().filter(|right| right.namespace.is_none()).map(|right| right.resource.as_str()).collect();
    let without_a_place =
        ["customresourcedefinitions", "namespaces", "runaicontrolplanes", "runaicontrolplanes/status"];
    assert_eq!(everywhere, without_a_place.into());
}

/// Compares the rights with the requests of one life of everything; returns the rights.
async fn compare(chart: &'static [&'static str]) -> BTreeSet<Right> {
    let files = TemporaryDirectory::create().unwrap();
    let mut world = everything(&files, chart).await;
    only_its_own_fields(&world).await;
    // A watch enters the log when it ends.
    world.operator.sigterm_and_wait(SOON).await.unwrap();

    let documents = render(&world.bed, chart).await;
    let granted = granted(&documents, ACCOUNT);
    assert!(granted.len() > 20, "{granted:#?}");
    let unused = wait_until(SOON, "all rights in the audit log", async || {
        let events = world.bed.audit_events(None).unwrap();
        let events: Vec<_> =
            events.iter().filter(|event| is_operator(event)).filter(|event| event.code != 403).collect();
        let unused: Vec<_> =
            granted.iter().filter(|right| !events.iter().any(|event| right.is_used_by(event))).collect();
        if unused.is_empty() { Ok(()) } else { Err(format!("never used: {unused:#?}")) }
    });
    if let Err(error) = unused.await {
        panic!("{error}\n--- operator\n{}", world.tail());
    }
    let events = world.bed.audit_events(None).unwrap();
    // A right too many would be noticed.
    for right in &granted {
        let one_more = Right { verb: "deletecollection".to_owned(), ..right.clone() };
        assert!(
            !events.iter().filter(|event| is_operator(event)).any(|event| one_more.is_used_by(event)),
            "{one_more:?}"
        );
    }
    let refused: Vec<_> = events.iter().filter(|event| is_operator(event)).filter(|event| event.code == 403).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(documents.iter().any(|document| is_kind("Deployment")(&document)), "the whole chart was looked at");
    assert_eq!(condition(&world.get("stays").await.unwrap(), "Ready").0, "True");
    granted
}
