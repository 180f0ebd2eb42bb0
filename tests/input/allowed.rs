//! Namespaces that a control plane does not allow, not yet, or not any more.
//!
//! Owns one scenario, played in a world that another test has started.

use runai_simulator::{JournalEntry, Operation};
use serde_json::{Value, json};

use crate::world::{TEAM, World, condition, control_plane, message, uuid};

/// Requests that would change the registrations of this world's own simulator.
fn mutations(world: &World) -> Vec<Operation> {
    let of = |entry: &JournalEntry| entry.operation.filter(|operation| operation.is_mutation());
    world.simulator.journal().iter().filter_map(of).collect()
}

async fn label(world: &World, label: &str) {
    world.kubectl(&["label", "namespace", TEAM, label]).await;
}

/// Refused, allowed by a label, refused again with a registration, deleted all the same.
pub async fn namespaces_come_and_go(world: &World) {
    let before = mutations(world);
    let spec = json!({ "pollInterval": "5s", "allowedNamespaces": { "matchLabels": { "runai": "yes" } } });
    world.apply(&control_plane("selective", "connection", &spec)).await;
    world.cluster("guest", json!({ "controlPlaneRef": { "name": "selective" } })).await;
    let object = world.until_stalled("guest", "NamespaceNotAllowed").await;
    let said = message(&object, "Stalled");
    for part in ["\"selective\"", TEAM, "spec.allowedNamespaces"] {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
    assert!(object["metadata"]["finalizers"].is_null(), "{object}");
    assert_eq!(mutations(world), before, "nothing is registered");

    label(world, "runai=yes").await;
    let id = uuid(&world.until_ready("guest").await);
    assert_eq!(mutations(world)[before.len()..], [Operation::Create]);

    label(world, "runai-").await;
    world.until_stalled("guest", "NamespaceNotAllowed").await;
    world.patch("guest", json!({ "spec": { "name": "renamed-guest" } })).await;
    let seen = |object: &Value| object["status"]["observedGeneration"] == object["metadata"]["generation"];
    let object = world.until("guest", "the new spec is seen", seen).await;
    assert_eq!(condition(&object, "Stalled").1, "NamespaceNotAllowed");
    assert_eq!(uuid(&object), id, "what is known of the registration stays");
    assert_eq!(mutations(world)[before.len()..], [Operation::Create], "no rename");

    world.delete("guest").await;
    world.until_gone("guest").await;
    assert_eq!(mutations(world)[before.len()..], [Operation::Create, Operation::Delete]);
}
