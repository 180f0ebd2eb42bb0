//! Taking over registrations that exist, watching them, and leaving them alone.

use runai_simulator::Operation;
use serde_json::{Value, json};

use crate::support::{change_list, changes, says, seed, sent, stays_silent, the};
use crate::world::{Setup, TEAM, World, cluster, condition, message, uuid};

fn adopted(object: &Value) -> bool {
    condition(object, "Synced") == ("True".to_owned(), "Adopted".to_owned()) && object["status"]["origin"] == "Adopted"
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_are_adopted_only_when_asked_and_allowed() {
    let labels = json!({ "matchLabels": { "adopt": "yes" } });
    let world =
        World::start(Setup::default().control_plane(json!({ "pollInterval": "5s", "adoptionNamespaces": labels })))
            .await;
    let (old, spare, taken) =
        (seed(&world.simulator, "old"), seed(&world.simulator, "spare"), seed(&world.simulator, "taken"));
    let seq = world.simulator.last_seq();

    world.cluster("by-uuid", json!({ "name": "old", "adoption": { "uuid": old } })).await;
    world.cluster("by-name", json!({ "name": "spare", "adoption": { "policy": "IfExists" } })).await;
    for name in ["by-uuid", "by-name"] {
        let object = world.until_stalled(name, "AdoptionNotAllowed").await;
        says(&object, &["adoptionNamespaces", TEAM]);
    }
    world.cluster("conflict", json!({ "name": "taken" })).await;
    let object = world.until_stalled("conflict", "NameConflict").await;
    says(&object, &[&taken.to_string(), "spec.adoption.uuid"]);
    assert!(object["metadata"]["annotations"].is_null(), "nothing is noted on an object that owns nothing");

    world.kubectl(&["label", "namespace", TEAM, "adopt=yes"]).await;
    for (name, id) in [("by-uuid", old), ("by-name", spare)] {
        let object = world.until(name, "adopted", adopted).await;
        assert_eq!(uuid(&object), id);
    }
    world.cluster("waiting", json!({ "name": "new", "adoption": { "policy": "Required" } })).await;
    world.until_stalled("waiting", "AdoptionTargetMissing").await;
    // The right to adopt changes nothing for an object that does not ask.
    world.until_stalled("conflict", "NameConflict").await;
    let new = seed(&world.simulator, "new");
    let object = world.until("waiting", "adopted", adopted).await;
    assert_eq!(uuid(&object), new);
    assert!(change_list(&world.simulator, seq).is_empty(), "{:?}", change_list(&world.simulator, seq));

    free_name(&world).await;
    two_claimants(&world).await;
    by_default_adopted_ones_stay(&world).await;
}

/// `IfExists` registers what does not exist, and an adopted registration takes its object's name.
async fn free_name(world: &World) {
    world.cluster("fresh", json!({ "adoption": { "policy": "IfExists" } })).await;
    let object = world.until_ready("fresh").await;
    assert_eq!(object["status"]["origin"], "Created");
    world.delete("fresh").await;
    world.until_gone("fresh").await;

    let id = seed(&world.simulator, "misnamed");
    world.cluster("well-named", json!({ "adoption": { "uuid": id } })).await;
    world.until("well-named", "adopted", adopted).await;
    assert_eq!(world.simulator.cluster(id).unwrap().name, "well-named");
    assert_eq!(sent(&world.simulator, Operation::Update, id), 1);
}

/// One registration belongs to one object; the other one waits, and takes over when it is free.
async fn two_claimants(world: &World) {
    let id = seed(&world.simulator, "shared");
    let seq = world.simulator.last_seq();
    world.cluster("elder", json!({ "name": "shared", "adoption": { "uuid": id } })).await;
    world.until("elder", "adopted", adopted).await;
    let spec = json!({ "name": "shared", "adoption": { "uuid": id }, "deletion": { "policy": "Delete" } });
    world.cluster("younger", spec).await;
    let object = world.until_stalled("younger", "AlreadyClaimed").await;
    says(&object, &["team-a/elder"]);
    assert!(object["status"]["uuid"].is_null() && object["metadata"]["finalizers"].is_null(), "{object}");
    // The loser can go without harm.
    world.delete("younger").await;
    world.until_gone("younger").await;
    world.cluster("younger", json!({ "name": "shared", "adoption": { "uuid": id } })).await;
    world.until_stalled("younger", "AlreadyClaimed").await;

    world.patch("elder", json!({ "spec": { "deletion": { "policy": "Orphan" } } })).await;
    world.delete("elder").await;
    world.until_gone("elder").await;
    let object = world.until("younger", "adopted", adopted).await;
    assert_eq!(uuid(&object), id);
    assert!(change_list(&world.simulator, seq).is_empty(), "{:?}", change_list(&world.simulator, seq));
}

async fn by_default_adopted_ones_stay(world: &World) {
    let seq = world.simulator.last_seq();
    let ids = ["old", "spare"].map(|name| the(&world.simulator, name));
    world.delete("by-uuid").await;
    world.until_gone("by-uuid").await;
    assert!(change_list(&world.simulator, seq).is_empty(), "{:?}", change_list(&world.simulator, seq));
    assert!(world.simulator.cluster(ids[0]).unwrap().delete_requested_at.is_none());

    world.patch("by-name", json!({ "spec": { "deletion": { "policy": "Delete" } } })).await;
    world.delete("by-name").await;
    world.until_gone("by-name").await;
    assert_eq!(sent(&world.simulator, Operation::Delete, ids[1]), 1, "but not when the user says otherwise");
}

#[tokio::test(flavor = "multi_thread")]
async fn observed_and_suspended_objects_send_nothing() {
    let world = World::start(Setup::default()).await;
    let (seen, named) = (seed(&world.simulator, "seen"), seed(&world.simulator, "named"));
    let seq = world.simulator.last_seq();
    let observe = |spec: Value| {
        let mut spec = spec;
        spec["managementPolicy"] = json!("Observe");
        spec["deletion"] = json!({ "policy": "Delete" });
        spec
    };
    // Another name than the registration has: a manager would rename it.
    world.cluster("by-uuid", observe(json!({ "name": "other", "adoption": { "uuid": seen } }))).await;
    world.cluster("named", observe(json!({}))).await;
    world.cluster("absent", observe(json!({ "recreatePolicy": "IfMissing" }))).await;
    for (name, id) in [("by-uuid", seen), ("named", named)] {
        let object = world.until_condition(name, "Synced", "True", "Observed").await;
        assert_eq!(uuid(&object), id);
    }
    world.until_stalled("absent", "AdoptionTargetMissing").await;
    world.simulator.rename(named, "renamed").unwrap();
    world.until("named", "the new name to be shown", |object| object["status"]["name"] == "renamed").await;
    world.patch("named", json!({ "spec": { "name": "yet-another" } })).await;
    stays_silent(&world, seq, "an observer sends nothing").await;
    for name in ["by-uuid", "named", "absent"] {
        world.delete(name).await;
        world.until_gone(name).await;
    }
    assert!(change_list(&world.simulator, seq).is_empty(), "{:?}", change_list(&world.simulator, seq));
    for id in [seen, named] {
        assert!(world.simulator.cluster(id).unwrap().delete_requested_at.is_none());
    }

    suspended(&world).await;
}

async fn suspended(world: &World) {
    world.cluster("paused", json!({ "suspend": true })).await;
    world.until_condition("paused", "Suspended", "True", "Suspended").await;
    world.apply(&cluster(TEAM, "active", json!({}))).await;
    let id = uuid(&world.until_ready("active").await);
    world.patch("active", json!({ "spec": { "suspend": true } })).await;
    world.until_condition("active", "Suspended", "True", "Suspended").await;
    let seq = world.simulator.last_seq();
    world.patch("active", json!({ "spec": { "name": "other" } })).await;
    let object = world.until_condition("active", "Synced", "False", "Suspended").await;
    assert_eq!(object["status"]["drift"][0]["field"], "name", "{}", message(&object, "Synced"));
    stays_silent(world, seq, "a suspended object sends nothing").await;
    assert!(world.simulator.clusters_named("paused").is_empty());

    world.delete("active").await;
    world.until_gone("active").await;
    world.delete("paused").await;
    world.until_gone("paused").await;
    let sent: Vec<_> =
        changes(&world.simulator, seq).into_iter().map(|entry| (entry.operation, entry.path_id)).collect();
    assert_eq!(sent, [(Some(Operation::Delete), Some(id.to_string()))], "a deletion follows its policy all the same");
}
