//! Published, kept as they are, rebuilt, moved, removed.

use std::time::Duration;

use jiff::Timestamp;
use runai_simulator::{AgentCommand, RecordPatch};
use serde_json::{Value, json};

use crate::books::{data, reads, request, secret, spec, third, until_no_secret, until_secret, world, writes};
use crate::world::{SOON, Setup, TEAM, World, condition, uuid};

const PUBLISHED: &str = "CredentialsPublished";

fn values(secret: &Value) -> Value {
    serde_saphyr::from_str(&data(secret)["values.yaml"]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_published_complete_and_stay_as_they_are() {
    let mut world = world(Setup::default()).await;
    let mut asked = spec("east-install");
    asked["installInfo"]["labels"] = json!({ "reconcile.fluxcd.io/watch": "Enabled" });
    asked["installInfo"]["annotations"] = json!({ "team": "a b" });
    world.cluster("east", asked).await;
    let object = world.until_condition("east", PUBLISHED, "True", PUBLISHED).await;
    assert_eq!(condition(&object, "Ready").0, "True");
    assert_eq!(object["status"]["installSecretName"], "east-install");

    let found = secret(&world, "east-install").await.unwrap();
    let record = world.simulator.cluster(uuid(&object)).unwrap();
    let (url, id) = (world.simulator.url().to_owned(), record.uuid.to_string());
    let held = data(&found);
    let expected = [
        ("uuid", id.as_str()),
        ("clusterName", "east"),
        ("clusterUrl", "https://east.example.com"),
        ("controlPlaneUrl", &url),
        ("clientSecret", &record.client_secret),
        ("chartRepoURL", "https://runai.jfrog.io/artifactory/api/helm/run-ai-charts"),
        ("repositoryName", "runai"),
        ("version", "2.24"),
    ];
    for (key, value) in expected {
        assert_eq!(held.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(held.len(), expected.len() + 1, "{:?}", held.keys());
    let chart = json!({
        "controlPlane": { "url": url, "clientSecret": record.client_secret },
        "cluster": { "uid": id, "url": "https://east.example.com" },
    });
    assert_eq!(values(&found), chart);
    assert_eq!(found["type"], "Opaque");
    let metadata = &found["metadata"];
    assert_eq!(metadata["labels"]["reconcile.fluxcd.io/watch"], "Enabled");
    assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "runai-cluster-operator");
    assert_eq!(metadata["annotations"]["team"], "a b");
    let owner = &metadata["ownerReferences"][0];
    assert_eq!((&owner["uid"], &owner["kind"]), (&object["metadata"]["uid"], &json!("RunaiCluster")));
    assert_eq!((&owner["controller"], &owner["blockOwnerDeletion"]), (&json!(true), &json!(false)));
    assert!(secret(&world, "east-install-bootstrap").await.is_none());

    nothing_is_written(&mut world, &found).await;
    what_is_lost_or_edited_comes_back(&world, &found).await;
    changes_arrive(&world).await;
    the_secret_moves_and_goes(&world).await;
}

/// Twenty changes of the record that concern nobody here, and a restart: no write, no further read.
async fn nothing_is_written(world: &mut World, found: &Value) {
    let (since, before) = (Timestamp::now(), reads(world));
    let id = uuid(&world.get("east").await.unwrap());
    for round in 0..20 {
        let platform = AgentCommand::Start { after_seconds: 0.0, client_secret: None };
        if round == 10 {
            world.simulator.agent(id, platform).unwrap();
            world.until_condition("east", "Connected", "True", "Connected").await;
            world.kill_and_restart().await;
        }
        let touched = format!("round-{round}");
        let note = format!("example.com/touched={touched}");
        world.kubectl(&["annotate", "rcl", "east", "-n", TEAM, "--overwrite", &note]).await;
    }
    // A pass of the new process is certain once it has answered a change of the spec.
    world.patch("east", json!({ "spec": { "readyWhen": "Connected" } })).await;
    world
        .until("east", "looked at", |object| object["status"]["observedGeneration"] == object["metadata"]["generation"])
        .await;
    assert_eq!(secret(world, "east-install").await.as_ref(), Some(found));
    assert_eq!(writes(world, Some(since)), []);
    assert_eq!(reads(world), before, "a restart reads nothing again");
}

async fn what_is_lost_or_edited_comes_back(world: &World, found: &Value) {
    let same =
        |again: &Value| again["data"] == found["data"] && again["metadata"]["labels"] == found["metadata"]["labels"];
    world.kubectl(&["delete", "secret", "east-install", "-n", TEAM]).await;
    until_secret(world, "east-install", "made again", same).await;

    let edits = [
        json!({ "data": { "clientSecret": "AAAA" } }),
        json!({ "data": { "values.yaml": null, "other": "AAAA" } }),
        json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": null } } }),
        json!({ "metadata": { "labels": { "reconcile.fluxcd.io/watch": "Disabled" } } }),
    ];
    for edit in edits {
        world.kubectl(&["patch", "secret", "east-install", "-n", TEAM, "--type=merge", "-p", &edit.to_string()]).await;
        until_secret(world, "east-install", &format!("as it was after {edit}"), same).await;
    }
    // What others add to the metadata stays, and leads to no fight.
    let note = json!({ "metadata": { "annotations": { "example.com/other": "x" }, "labels": { "other": "x" } } });
    world.kubectl(&["patch", "secret", "east-install", "-n", TEAM, "--type=merge", "-p", &note.to_string()]).await;
    let object = world.until_condition("east", PUBLISHED, "True", PUBLISHED).await;
    assert_eq!(condition(&object, "Ready").0, "True");
}

async fn changes_arrive(world: &World) {
    let id = uuid(&world.get("east").await.unwrap());
    let rotated = RecordPatch { client_secret: Some("rotatedrotatedrotated".to_owned()), ..RecordPatch::default() };
    world.simulator.patch(id, rotated).unwrap();
    request(world, "east", "1").await;
    let found = until_secret(world, "east-install", "rotated", |secret| {
        data(secret)["clientSecret"] == "rotatedrotatedrotated"
    })
    .await;
    assert_eq!(found["metadata"]["labels"]["other"], "x");
    assert_eq!(values(&found)["controlPlane"]["clientSecret"], "rotatedrotatedrotated");

    let before = reads(world);
    world.patch("east", json!({ "spec": { "version": "2.25" } })).await;
    until_secret(world, "east-install", "new version", |secret| data(secret)["version"] == "2.25").await;
    let url = "https://elsewhere.example.com";
    world.patch("east", json!({ "spec": { "installInfo": { "remoteClusterUrl": url } } })).await;
    let found = until_secret(world, "east-install", "new URL", |secret| data(secret)["clusterUrl"] == url).await;
    assert_eq!(values(&found)["cluster"]["url"], url);
    assert_eq!(reads(world), before + 2, "each is asked for once");

    world.patch("east", json!({ "spec": { "name": "east-2" } })).await;
    until_secret(world, "east-install", "new name", |secret| data(secret)["clusterName"] == "east-2").await;
    let labels = json!({ "reconcile.fluxcd.io/watch": null, "team": "b" });
    world.patch("east", json!({ "spec": { "installInfo": { "labels": labels } } })).await;
    let found =
        until_secret(world, "east-install", "new labels", |secret| secret["metadata"]["labels"]["team"] == "b").await;
    assert!(found["metadata"]["labels"]["reconcile.fluxcd.io/watch"].is_null(), "{found}");
    assert_eq!(found["metadata"]["labels"]["other"], "x");
    assert_eq!(reads(world), before + 2, "a name or a label is nothing to ask for");
}

async fn the_secret_moves_and_goes(world: &World) {
    world.patch("east", json!({ "spec": { "installInfo": { "secretName": "moved" } } })).await;
    until_secret(world, "moved", "there", |secret| data(secret)["clusterName"] == "east-2").await;
    until_no_secret(world, "east-install").await;
    world.until("east", "moved", |object| object["status"]["installSecretName"] == "moved").await;

    world.patch("east", json!({ "spec": { "installInfo": null } })).await;
    until_no_secret(world, "moved").await;
    let object = world.until("east", "forgotten", |object| object["status"]["installSecretName"].is_null()).await;
    assert_eq!(condition(&object, PUBLISHED).0, "");
    assert_eq!(condition(&object, "Ready").0, "True");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_token_has_a_secret_of_its_own_and_is_renewed_only_while_the_cluster_waits() {
    let mut world = world(third()).await;
    world.cluster("east", spec("east-install")).await;
    let object = world.until_condition("east", PUBLISHED, "True", PUBLISHED).await;
    let main = secret(&world, "east-install").await.unwrap();
    assert!(!data(&main).contains_key("clientSecret") && !data(&main).contains_key("bootstrapToken"));
    assert_eq!(data(&main)["chartRepoURL"], "https://helm.ngc.nvidia.com/nvidia/runai-oss");
    assert!(values(&main)["controlPlane"]["clientSecret"].is_null());
    let first = secret(&world, "east-install-bootstrap").await.unwrap();
    let token = data(&first)["bootstrapToken"].clone();
    assert_eq!(values(&first), json!({ "controlPlane": { "bootstrapToken": token } }));
    assert_eq!(first["metadata"]["ownerReferences"][0]["uid"], object["metadata"]["uid"]);

    let since = Timestamp::now();
    world.kill_and_restart().await;
    world.patch("east", json!({ "spec": { "readyWhen": "Connected" } })).await;
    world.until_condition("east", "Ready", "False", "WaitingToConnect").await;
    assert_eq!(writes(&world, Some(since)), [], "a young token stays");

    // More than half of its two hours are over; the change of the record wakes the object.
    world.simulator.advance(Duration::from_secs(4000));
    world.patch("east", json!({ "spec": { "name": "east-2" } })).await;
    let renewed =
        until_secret(&world, "east-install-bootstrap", "renewed", |secret| data(secret)["bootstrapToken"] != token)
            .await;
    let main = until_secret(&world, "east-install", "renamed", |secret| data(secret)["clusterName"] == "east-2").await;

    let id = uuid(&object);
    let token = data(&renewed)["bootstrapToken"].clone();
    world.simulator.agent(id, AgentCommand::Bootstrap { token }).unwrap();
    world.until_condition("east", "Connected", "True", "Connected").await;
    let before = reads(&world);
    world.simulator.advance(Duration::from_secs(4000));
    world.patch("east", json!({ "spec": { "readyWhen": "Registered" } })).await;
    world
        .until("east", "looked at", |object| object["status"]["observedGeneration"] == object["metadata"]["generation"])
        .await;
    assert_eq!(secret(&world, "east-install-bootstrap").await, Some(renewed), "no new token for a connected cluster");
    assert_eq!(secret(&world, "east-install").await, Some(main));
    assert_eq!(reads(&world), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_leaves_the_secret_to_its_owner_and_makes_nothing_in_a_namespace_that_goes() {
    let world = world(
        Setup { controller_manager: true, ..Setup::default() }.simulator(|config| config.delete.graceful_seconds = 3.0),
    )
    .await;
    world.cluster("east", spec("east-install")).await;
    world.until_ready("east").await;
    let mut west = spec("west-install");
    west["domain"] = json!("https://west.example.com");
    world.cluster("west", west).await;
    world.until_ready("west").await;
    for name in ["east", "west"] {
        let start = AgentCommand::Start { after_seconds: 0.0, client_secret: None };
        world.simulator.agent(uuid(&world.get(name).await.unwrap()), start).unwrap();
    }
    world.until_condition("east", "Connected", "True", "Connected").await;
    world.until_condition("west", "Connected", "True", "Connected").await;

    // While the agent is taken down its credentials stay.
    world.delete("east").await;
    world.until_condition("east", "Reconciling", "True", "DeletionRequested").await;
    assert!(secret(&world, "east-install").await.is_some());
    world.until_gone("east").await;
    until_no_secret(&world, "east-install").await;

    let since = Timestamp::now();
    world.kubectl(&["delete", "namespace", TEAM, "--wait=false"]).await;
    let gone = testbed::wait_until(SOON, "the namespace to go", async || {
        let left = world.kubectl(&["get", "namespace", TEAM, "-o", "name", "--ignore-not-found"]).await;
        if left.trim().is_empty() { Ok(()) } else { Err(world.tail()) }
    });
    gone.await.unwrap();
    let made: Vec<_> = writes(&world, Some(since)).into_iter().filter(|(_, _, code)| *code < 300).collect();
    assert_eq!(made, [], "nothing is made there");
    assert!(world.simulator.live_clusters().is_empty());
}
