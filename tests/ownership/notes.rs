//! The operator's notes on an object are wiped, one kind at a time: the other kind restores them.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{FINALIZER, SIGNED_NOTE, UUID_NOTE, annotation, annotations, change_list};
use crate::world::{Setup, TEAM, World, cluster, condition, uuid};

/// All notes are there and speak of `id`.
fn is_whole(object: &Value, id: Uuid) -> bool {
    let id = id.to_string();
    object["status"]["uuid"] == json!(id)
        && object["status"]["origin"] == "Created"
        && object["status"]["tenantId"] == 1001
        && condition(object, "Ready").0 == "True"
        && object["metadata"]["finalizers"] == json!([FINALIZER])
        && annotation(object, UUID_NOTE) == Some(&id)
        && annotation(object, SIGNED_NOTE).is_some_and(|signed| signed.contains(&id))
}

async fn wipe_status(world: &World) {
    let wipe = r#"[{"op":"remove","path":"/status"}]"#;
    let args = ["patch", "rcl", "east", "-n", TEAM, "--subresource=status", "--type=json", "-p", wipe];
    world.kubectl(&args).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wiped_notes_come_back_without_a_remote_write() {
    let mut world = World::start(Setup::default()).await;
    world.cluster("east", json!({})).await;
    let id = uuid(&world.until_ready("east").await);
    let seq = world.simulator.last_seq();
    let whole = async |world: &World, what: &str| {
        world.until("east", &format!("whole after {what}"), |object| is_whole(object, id)).await;
    };

    let wipes = [
        ("the uuid was wiped", annotations(&[(UUID_NOTE, None)])),
        ("the signed note was wiped", annotations(&[(SIGNED_NOTE, None)])),
        ("both were wiped", annotations(&[(UUID_NOTE, None), (SIGNED_NOTE, None)])),
        ("the finalizer was wiped", json!({ "metadata": { "finalizers": null } })),
    ];
    wipe_status(&world).await;
    whole(&world, "the status was wiped").await;
    for (what, patch) in &wipes {
        world.patch("east", patch.clone()).await;
        whole(&world, what).await;
    }

    // A replace without any metadata of ours, as `kubectl replace -f` of a manifest from Git does.
    let plain = cluster(TEAM, "east", json!({})).to_string();
    world.bed.kubectl_handle().ok_with_input(&["replace", "-f", "-"], &plain).await.unwrap();
    whole(&world, "a replace").await;

    // The same with a process that remembers nothing.
    world.operator.sigkill();
    wipe_status(&world).await;
    world.patch("east", annotations(&[(UUID_NOTE, None)])).await;
    world.operator = world.another_operator();
    world.operator.wait_ready(crate::world::SOON).await.unwrap();
    whole(&world, "status and uuid were wiped while the operator was down").await;
    world.operator.sigkill();
    world.bed.kubectl_handle().ok_with_input(&["replace", "-f", "-"], &plain).await.unwrap();
    world.operator = world.another_operator();
    world.operator.wait_ready(crate::world::SOON).await.unwrap();
    whole(&world, "a replace while the operator was down").await;

    assert!(change_list(&world.simulator, seq).is_empty(), "{:?}", change_list(&world.simulator, seq));
    assert_eq!(world.simulator.live_clusters().len(), 1);
}
