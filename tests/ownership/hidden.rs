//! A control plane whose lists hide clusters that are being deleted.

use runai_simulator::{AgentCommand, Operation, Profile};
use serde_json::json;

use crate::support::{A_WHILE, sent, until_unregistered};
use crate::world::{Setup, World, uuid};

#[tokio::test(flavor = "multi_thread")]
async fn deletions_resolve_where_lists_hide_them() {
    let world = World::start(Setup::default().simulator(|config| {
        config.profile = Profile::Cp220;
        config.delete.graceful_seconds = 1.0;
    }))
    .await;
    // Without a version the control plane deletes at once, with one it waits for the agent.
    world.cluster("instant", json!({})).await;
    world.cluster("graceful", json!({ "version": "2.20" })).await;
    let instant = uuid(&world.until_ready("instant").await);
    let graceful = uuid(&world.until_ready("graceful").await);
    world.delete("instant").await;
    world.delete("graceful").await;
    world.until_gone("instant").await;
    until_unregistered(&world, instant).await;
    world.until_condition("graceful", "Reconciling", "True", "DeletionRequested").await;
    // Not being listed is no proof.
    world
        .holds(A_WHILE, "a hidden deletion is followed", async || match world.get("graceful").await {
            Some(_) => Ok(()),
            None => Err("let go before its time".to_owned()),
        })
        .await;
    world.simulator.agent(graceful, AgentCommand::start()).unwrap();
    world.until_gone("graceful").await;
    until_unregistered(&world, graceful).await;
    for id in [instant, graceful] {
        assert_eq!(sent(&world.simulator, Operation::Delete, id), 1);
    }
    // A registration that somebody else is deleting is hidden too: it is shown, and nothing is sent.
    world.cluster("others", json!({ "version": "2.20" })).await;
    let others = uuid(&world.until_ready("others").await);
    let asked =
        runai_simulator::RecordPatch { delete_requested_at: Some(jiff::Timestamp::now()), ..Default::default() };
    world.simulator.patch(others, asked).unwrap();
    world.until_condition("others", "Synced", "False", "DeletionRequested").await;
    assert_eq!(
        sent(&world.simulator, Operation::Delete, others) + sent(&world.simulator, Operation::Update, others),
        0
    );
}
