//! Bugs that made a second resource, or none for ever: the id of what was created got lost.

use futures::future::join_all;
use http::Method;
use runai_simulator::{FaultAction, FaultRule, Operation, Phase, ResetPhase};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::gate::Act;
use crate::stage::{INTENT_NOTE, Stage, on_stage};
use crate::world::uuid;

/// The answer to the next POST comes almost a second after the commit, just within the create deadline.
fn slow_answer() -> FaultRule {
    FaultRule::on(Operation::Create, FaultAction::Latency { ms: 900, max_ms: 900, phase: Phase::Post }).times(1)
}

/// Kills the operator in the moment in which this request (by method and part of its target) is being answered.
fn kill_at(stage: &Stage, method: Method, part: &str) {
    let pid = Pid::from_raw(i32::try_from(stage.world.operator.pid()).unwrap()).unwrap();
    stage.gate.rule_then(method, part, Act::Lose, 1, move || kill_process(pid, Signal::KILL).unwrap());
}

#[test]
fn ack_2062_a_controller_killed_between_create_and_status_makes_no_second_resource() {
    on_stage(async |stage| {
        let plane = stage.plane("ack-2062").await;
        plane.simulator.add_fault(slow_answer());
        plane.apply(stage, "ack-2062").await;
        plane.committed("ack-2062").await;
        // The answer is still under way: nobody but the control plane knows the uuid.
        stage.world.operator.sigkill();
        let object = stage.world.get("ack-2062").await.unwrap();
        assert!(object["status"]["uuid"].is_null() && !object["metadata"]["annotations"][INTENT_NOTE].is_null());
        stage.restart().await;
        let object = stage.until_ready("ack-2062").await;
        assert_eq!(uuid(&object), plane.only("ack-2062"));
        assert_eq!(plane.creates("ack-2062"), (1, 1));
    });
}

#[test]
fn ack_2267_a_write_by_somebody_else_at_the_wrong_moment_loses_no_id() {
    on_stage(async |stage| {
        let plane = stage.plane("ack-2267").await;
        plane.simulator.add_fault(slow_answer());
        // The note before the request goes through; the next two writes, which carry the id, come too late.
        stage.gate.rule(Method::PATCH, "runaiclusters/ack-2267", Act::Tell, 1);
        stage.gate.rule(Method::PATCH, "runaiclusters/ack-2267", Act::Refuse(409), 2);
        plane.apply(stage, "ack-2267").await;
        plane.committed("ack-2267").await;
        // Because somebody else sets a label and an annotation meanwhile.
        let rival = json!({ "metadata": { "labels": { "owner": "rival" }, "annotations": { "rival": "here" } } });
        stage.world.patch("ack-2267", rival).await;
        stage.gate.struck(crate::stage::LONG, "runaiclusters/ack-2267", 3).await;
        let object = stage.until_ready("ack-2267").await;
        assert_eq!(uuid(&object), plane.only("ack-2267"));
        assert_eq!(object["metadata"]["labels"]["owner"], "rival", "and nothing of the rival's is lost");
        assert_eq!(object["metadata"]["annotations"]["rival"], "here");
        assert_eq!(plane.creates("ack-2267"), (1, 1));
    });
}

#[test]
fn orc_19_failing_writes_to_the_kubernetes_api_after_the_create_make_no_second_resource() {
    on_stage(async |stage| {
        let plane = stage.plane("orc-19").await;
        stage.gate.rule(Method::PATCH, "runaiclusters/orc-19?", Act::Tell, 1);
        stage.gate.rule(Method::PATCH, "runaiclusters/orc-19", Act::Refuse(500), usize::MAX);
        plane.apply(stage, "orc-19").await;
        plane.committed("orc-19").await;
        stage.gate.struck(crate::stage::LONG, "runaiclusters/orc-19", 3).await;
        // Even the process that knows the uuid goes.
        stage.restart().await;
        stage.gate.struck(crate::stage::LONG, "runaiclusters/orc-19", 5).await;
        assert_eq!(plane.creates("orc-19"), (1, 1));
        stage.gate.open();
        assert_eq!(uuid(&stage.until_ready("orc-19").await), plane.only("orc-19"));
        assert_eq!(plane.creates("orc-19"), (1, 1));
    });
}

#[test]
fn upjet_561_neither_a_restart_nor_a_restored_backup_makes_a_second_resource() {
    on_stage(async |stage| {
        let plane = stage.plane("upjet-561").await;
        plane.apply(stage, "upjet-561").await;
        let object = stage.until_ready("upjet-561").await;
        let id = uuid(&object);
        stage.restart().await;
        stage.stays_silent(&plane, "a new process sends nothing").await;
        // A restore brings metadata and spec back, under another UID and without status.
        stage.world.operator.sigkill();
        stage.strip_finalizer("upjet-561").await;
        stage.world.delete("upjet-561").await;
        stage.until_gone("upjet-561").await;
        let mut backup = plane.object("upjet-561", json!({}));
        backup["metadata"]["annotations"] = object["metadata"]["annotations"].clone();
        stage.world.apply(&backup).await;
        stage.restart().await;
        assert_eq!(uuid(&stage.until_ready("upjet-561").await), id);
        assert_eq!(plane.sent().len(), 1, "{:?}", plane.sent());
    });
}

#[test]
fn runtime_283_a_stale_cache_and_a_stale_list_make_no_second_resource() {
    on_stage(async |stage| {
        let plane = stage.plane("runtime-283").await;
        stage.until_plane_ready("runtime-283").await;
        // The watch falls silent right after the object was seen: what the cache holds has no uuid and no note.
        plane.apply(stage, "runtime-283").await;
        stage.gate.rule(Method::GET, "runaiclusters?&watch=true", Act::Mute, usize::MAX);
        plane.committed("runtime-283").await;
        stage.gate.cut();
        // And lists of the control plane lag behind by longer than a poll.
        let stale = FaultRule::on(Operation::List, FaultAction::Stale { seconds: 7.0 });
        plane.simulator.add_fault(stale);
        for _ in 0..3 {
            stage.world.patch("runtime-283", json!({ "metadata": { "annotations": { "touched": "again" } } })).await;
            stage.stays_silent(&plane, "no second request").await;
        }
        plane.simulator.clear_faults();
        stage.gate.open();
        assert_eq!(uuid(&stage.until_ready("runtime-283").await), plane.only("runtime-283"));
        assert_eq!(plane.creates("runtime-283"), (1, 1));
    });
}

#[test]
fn runtime_340_a_create_that_was_interrupted_needs_nobody_to_go_on() {
    on_stage(async |stage| {
        let plane = stage.plane("runtime-340").await;
        // Killed after the note "a create is pending" and before the request: nobody can know whether it was sent.
        kill_at(stage, Method::PATCH, "runaiclusters/runtime-340?");
        plane.apply(stage, "runtime-340").await;
        stage.gate.struck(crate::stage::LONG, "runaiclusters/runtime-340?", 1).await;
        // What was on its way when the process was killed still arrives.
        stage
            .until("runtime-340", "the note", |object| object["metadata"]["annotations"][INTENT_NOTE].is_string())
            .await;
        assert_eq!(plane.creates("runtime-340"), (0, 0));
        stage.restart().await;
        // It waits for the time in which a request could still take effect, says so, and goes on by itself.
        stage.until_reason("runtime-340", "CreateInDoubt").await;
        let object = stage.until_ready("runtime-340").await;
        assert!(object["metadata"]["annotations"][INTENT_NOTE].is_null());
        assert_eq!(plane.creates("runtime-340"), (1, 1));
    });
}

/// Resources that are asked to go while they are being made, again and again, are not left behind.
#[test]
fn crossplane_749_objects_deleted_while_they_are_created_leave_nothing_behind() {
    on_stage(async |stage| {
        let plane = stage.plane("crossplane-749").await;
        let names: Vec<_> = (0..12).map(|number| format!("xp-749-{number}")).collect();
        // Every fate of a POST: answered late, lost after the commit, lost before it.
        for (action, times) in [
            (FaultAction::Latency { ms: 600, max_ms: 900, phase: Phase::Post }, 4),
            (FaultAction::Reset { phase: ResetPhase::Post }, 3),
            (FaultAction::LateCommit { seconds: 4.0, loss: runai_simulator::Loss::Reset }, 3),
        ] {
            plane.simulator.add_fault(FaultRule::on(Operation::Create, action).times(times));
        }
        let items: Vec<_> = names.iter().map(|name| plane.object(name, json!({}))).collect();
        stage.world.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items })).await;
        // Half of them are being made, and the others are about to be.
        let half = names.len() / 2;
        let begun =
            |simulator: &runai_simulator::Simulator| simulator.counters().create_requests_per_name.len() >= half;
        assert!(plane.simulator.until(crate::stage::LONG, begun).await);
        join_all(names.iter().map(|name| stage.world.delete_as_seen(name))).await;
        for name in &names {
            stage.until_gone(name).await;
        }
        assert_eq!(plane.simulator.pending_commits(), 0);
        assert!(plane.simulator.live_clusters().is_empty(), "{:?}", plane.simulator.live_clusters());
        let made = plane.simulator.counters().creates_per_name;
        assert!(!made.is_empty() && made.values().all(|count| *count == 1), "{made:?}");
    });
}
