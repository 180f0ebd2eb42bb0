//! Bugs that let an object go while its resource lived on.

use runai_simulator::{FaultAction, FaultRule, Operation, Phase, ResetPhase};
use serde_json::json;

use crate::stage::{FINALIZER, Plane, Stage, on_stage};
use crate::world::{TEAM, condition};

/// Objects `prefix-0` .. with a version, so that their deletion takes its time.
async fn fleet(stage: &Stage, plane: &Plane, count: usize) -> Vec<String> {
    let names: Vec<_> = (0..count).map(|number| format!("{}-{number}", plane.name)).collect();
    let items: Vec<_> = names.iter().map(|name| plane.object(name, json!({ "version": "2.24" }))).collect();
    stage.world.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items })).await;
    stage
        .eventually("all Ready", async || {
            let all = stage.world.all().await;
            let ready = all.iter().filter(|object| condition(object, "Ready").0 == "True").count();
            if ready == count { Ok(()) } else { Err(ready) }
        })
        .await;
    names
}

async fn delete_all(stage: &Stage) {
    stage.world.kubectl(&["delete", "rcl", "-n", TEAM, "--all", "--wait=false"]).await;
}

async fn nothing_is_left(stage: &Stage, plane: &Plane, names: &[String]) {
    for name in names {
        stage.until_gone(name).await;
        assert!(plane.simulator.clusters_named(name).is_empty(), "{name} went before its registration");
    }
    assert!(plane.simulator.live_clusters().is_empty());
}

#[test]
fn upjet_290_a_node_that_dies_during_a_deletion_leaves_nothing_behind() {
    on_stage(async |stage| {
        let plane = stage.plane("upjet-290").await;
        let names = fleet(stage, &plane, 8).await;
        let slow = FaultAction::Latency { ms: 300, max_ms: 900, phase: Phase::Pre };
        plane.simulator.add_fault(FaultRule::on(Operation::Delete, slow));
        delete_all(stage).await;
        // Twice in the middle: deletions are accepted, under way, and not yet begun.
        for so_many in [2, 5] {
            let begun =
                |simulator: &runai_simulator::Simulator| simulator.counters().delete_requests_per_uuid.len() >= so_many;
            assert!(plane.simulator.until(crate::stage::LONG, begun).await);
            stage.world.operator.sigkill();
            for name in &names {
                let lives = !plane.simulator.clusters_named(name).is_empty();
                assert!(!lives || stage.world.get(name).await.is_some(), "{name} is gone and its registration is not");
            }
            stage.restart().await;
        }
        nothing_is_left(stage, &plane, &names).await;
    });
}

#[test]
fn upjet_304_objects_deleted_while_the_operator_comes_back_leave_nothing_behind() {
    on_stage(async |stage| {
        let plane = stage.plane("upjet-304").await;
        let names = fleet(stage, &plane, 12).await;
        // Scaled to nothing, then back; the deletion comes when nothing has been observed yet, and some answers get lost.
        stage.world.operator.sigkill();
        delete_all(stage).await;
        plane.simulator.add_fault(FaultRule {
            probability: Some(0.5),
            // With an end: one object in a hundred would lose six in a row, and back off for longer than anybody waits.
            ..FaultRule::on(Operation::Delete, FaultAction::Reset { phase: ResetPhase::Pre }).times(12)
        });
        let not_found = FaultAction::Status { code: 404, body: None, headers: [].into(), phase: Phase::Pre };
        plane.simulator.add_fault(FaultRule { probability: Some(0.5), ..FaultRule::on(Operation::Get, not_found) });
        stage.restart().await;
        nothing_is_left(stage, &plane, &names).await;
    });
}

#[test]
fn crossplane_6878_a_deletion_without_connection_waits_for_it() {
    on_stage(async |stage| {
        let plane = stage.plane("crossplane-6878").await;
        let names = fleet(stage, &plane, 2).await;
        plane.simulator.add_fault(FaultRule::new(FaultAction::Reset { phase: ResetPhase::Pre }));
        delete_all(stage).await;
        for name in &names {
            stage.until_reason(name, "ConnectionFailed").await;
        }
        stage.restart().await;
        stage
            .world
            .holds(crate::stage::A_WHILE, "no object is let go", async || {
                for name in &names {
                    let object = stage.world.get(name).await.unwrap_or_default();
                    if object["metadata"]["finalizers"] != json!([FINALIZER]) {
                        return Err(format!("{name}: {object}"));
                    }
                }
                Ok(())
            })
            .await;
        assert_eq!(plane.simulator.live_clusters().len(), 2);
        plane.simulator.clear_faults();
        nothing_is_left(stage, &plane, &names).await;
    });
}
