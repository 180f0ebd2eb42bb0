//! Somebody changes a registration behind the operator's back.

use std::time::Duration;

use jiff::Timestamp;
use runai_simulator::{Operation, RecordPatch};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{A_WHILE, change_list, eventually, says, sent};
use crate::world::{Setup, World, condition, uuid};

#[tokio::test(flavor = "multi_thread")]
async fn changes_by_somebody_else_are_shown_or_corrected() {
    let world = World::start(Setup::default()).await;
    let specs = [
        ("named", json!({})),
        ("gone", json!({})),
        ("again", json!({ "recreatePolicy": "IfMissing" })),
        ("shifted", json!({ "domain": "https://shifted.example.com", "version": "2.24" })),
        ("going", json!({ "version": "2.24" })),
    ];
    for (name, spec) in &specs {
        world.cluster(name, spec.clone()).await;
    }
    let mut ids = Vec::new();
    for (name, _) in &specs {
        ids.push(uuid(&world.until_ready(name).await));
    }
    // Older than any read may be, so that an absence counts.
    world.simulator.advance(Duration::from_secs(120));
    let seq = world.simulator.last_seq();
    tokio::join!(
        shifted(&world, ids[3]),
        going(&world, ids[4]),
        deleted(&world, ids[1], ids[2]),
        renamed(&world, ids[0]),
    );
    // One registration anew, four times the name, and nothing else.
    let mut sent = change_list(&world.simulator, seq);
    sent.retain(|line| *line != format!("Update {} Some(204)", ids[0]));
    assert_eq!(sent, ["Create again Some(201)"]);
}

/// Nothing is sent about this registration for a while.
async fn stays_alone(world: &World, id: Uuid, what: &str) {
    let seq = world.simulator.last_seq();
    world
        .holds(A_WHILE, what, async || {
            let mut list = change_list(&world.simulator, seq);
            list.retain(|line| line.contains(&id.to_string()));
            if list.is_empty() { Ok(()) } else { Err(format!("{list:?}")) }
        })
        .await;
}

/// What the API cannot change is shown and never fought.
async fn shifted(world: &World, id: Uuid) {
    let patch = RecordPatch { version: Some("2.25.9".to_owned()), ..RecordPatch::default() };
    world.simulator.patch(id, patch).unwrap();
    let object =
        world.until("shifted", "the version to be shown", |object| object["status"]["version"] == "2.25.9").await;
    let version = json!({ "field": "version", "desired": "2.24", "observed": "2.25.9" });
    assert_eq!(object["status"]["drift"], json!([version]));
    assert_eq!(condition(&object, "Synced").0, "True", "the version of an agent is not the operator's to change");

    let patch = RecordPatch {
        domain: Some("https://elsewhere.example.com".to_owned()),
        force_state: Some("Hibernating".to_owned()),
        ..RecordPatch::default()
    };
    world.simulator.patch(id, patch).unwrap();
    // A look at names for another object may bring the domain before a list brings the state.
    let object = world
        .until("shifted", "the domain and the state to be shown", |object| {
            condition(object, "Synced") == ("False".to_owned(), "Drifted".to_owned())
                && object["status"]["state"] == "Hibernating"
        })
        .await;
    let domain = json!({
        "field": "domain", "desired": "https://shifted.example.com", "observed": "https://elsewhere.example.com",
    });
    assert_eq!(object["status"]["drift"], json!([domain, version]));
    assert_eq!(condition(&object, "Connected"), ("Unknown".to_owned(), "Hibernating".to_owned()));
    assert_eq!(condition(&object, "Stalled").0, "", "nobody has to act at once");
}

/// A deletion that somebody else asked for is shown; the registration is left alone until it has resolved.
async fn going(world: &World, id: Uuid) {
    let asked = RecordPatch { delete_requested_at: Some(Timestamp::now()), ..RecordPatch::default() };
    world.simulator.patch(id, asked).unwrap();
    world.until_condition("going", "Synced", "False", "DeletionRequested").await;
    world.patch("going", json!({ "spec": { "name": "going-2" } })).await;
    stays_alone(world, id, "a registration that is being deleted is not renamed").await;
    world.simulator.remove(id).unwrap();
    world.until_stalled("going", "ExternallyDeleted").await;
}

async fn deleted(world: &World, never: Uuid, again: Uuid) {
    world.simulator.remove(never).unwrap();
    world.simulator.remove(again).unwrap();
    let object = world.until_stalled("gone", "ExternallyDeleted").await;
    says(&object, &[&never.to_string(), "recreatePolicy: IfMissing"]);
    let object = world
        .until("again", "another registration", |object: &Value| {
            object["status"]["uuid"].is_string()
                && object["status"]["uuid"] != json!(again)
                && condition(object, "Ready").0 == "True"
        })
        .await;
    assert_eq!(world.simulator.live_clusters().iter().filter(|record| record.uuid == uuid(&object)).count(), 1);
}

/// Another name is corrected, three times; then it is a conflict, for an hour or until the spec changes.
async fn renamed(world: &World, id: Uuid) {
    let name = || world.simulator.cluster(id).unwrap().name;
    let named = async |wanted: &str| {
        eventually(world, &format!("the name {wanted}"), async || if name() == wanted { Ok(()) } else { Err(name()) })
            .await;
    };
    for flip in 1..=3 {
        world.simulator.rename(id, &format!("other-{flip}")).unwrap();
        named("named").await;
        assert_eq!(sent(&world.simulator, Operation::Update, id), flip);
    }
    world.simulator.rename(id, "other-4").unwrap();
    let object = world.until_stalled("named", "ManagementConflict").await;
    says(&object, &["other-4", "unless the spec changes"]);
    stays_alone(world, id, "a fight is not fought on").await;
    assert_eq!(name(), "other-4");
    assert_eq!(world.get("named").await.unwrap()["status"]["drift"][0]["observed"], "other-4");

    world.patch("named", json!({ "spec": { "name": "named-2" } })).await;
    named("named-2").await;
    world.until_ready("named").await;
    assert_eq!(sent(&world.simulator, Operation::Update, id), 4);
}
