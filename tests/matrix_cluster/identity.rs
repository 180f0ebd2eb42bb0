//! Rows 33 and 35: objects that come back without their status, as new objects, or that are torn away by force.

use runai_simulator::{FaultAction, FaultRule, Operation, Phase};
use serde_json::{Value, json};

use crate::admission::SlowDeletion;
use crate::stage::{FINALIZER, INTENT_NOTE, Plane, SIGNED_NOTE, Stage, UUID_NOTE, on_stage};
use crate::world::{TEAM, condition, message, uuid};

/// The object as a backup holds it: metadata and spec. A restore leaves status and UID out.
fn backup(object: &Value) -> Value {
    let (metadata, spec) = (&object["metadata"], &object["spec"]);
    json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"], "spec": spec,
        "metadata": {
            "name": metadata["name"], "namespace": TEAM, "annotations": metadata["annotations"],
            "finalizers": metadata["finalizers"],
        },
    })
}

/// The cluster is lost: objects go without any deletion of their registrations, while no operator runs.
async fn disaster(stage: &mut Stage, names: &[&str]) {
    stage.world.operator.sigkill();
    for name in names {
        stage.strip_finalizer(name).await;
        stage.world.delete(name).await;
        stage.until_gone(name).await;
    }
}

#[test]
fn row_33_a_backup_without_status_and_uid_finds_its_registration_again() {
    on_stage(async |stage| {
        let plane = stage.plane("backup").await;
        plane.apply(stage, "backup").await;
        let object = stage.until_ready("backup").await;
        let (id, seq) = (uuid(&object), plane.simulator.last_seq());
        disaster(stage, &["backup"]).await;
        stage.world.apply(&backup(&object)).await;
        stage.restart().await;
        let restored = stage.until_ready("backup").await;
        assert_ne!(restored["metadata"]["uid"], object["metadata"]["uid"]);
        assert_eq!(uuid(&restored), id);
        assert_eq!(restored["status"]["origin"], "Created", "what it made it may delete");
        assert!(plane.sent_since(seq).is_empty(), "{:?}", plane.sent_since(seq));
        // It is as good as before.
        stage.world.delete("backup").await;
        stage.until_gone("backup").await;
        assert!(plane.simulator.live_clusters().is_empty());
    });
}

#[test]
fn row_33_a_manifest_applied_anew_creates_no_second_registration() {
    on_stage(async |stage| {
        let plane = stage.plane("gitops").await;
        plane.apply(stage, "gitops").await;
        let id = uuid(&stage.until_ready("gitops").await);
        let seq = plane.simulator.last_seq();
        disaster(stage, &["gitops"]).await;
        plane.apply(stage, "gitops").await;
        stage.restart().await;
        let object = stage.world.until_stalled("gitops", "NameConflict").await;
        assert!(message(&object, "Stalled").contains(&id.to_string()), "{object}");
        stage.stays_silent(&plane, "the name is taken: nothing is sent").await;
        // The message names the way out.
        stage.world.patch("gitops", json!({ "spec": { "adoption": { "uuid": id } } })).await;
        assert_eq!(uuid(&stage.until_ready("gitops").await), id);
        assert!(plane.sent_since(seq).is_empty(), "{:?}", plane.sent_since(seq));
    });
}

/// The backup was made while a create was in doubt, and is restored as a new object: the doubt of an object that has
/// gone is nobody's right to anything.
#[test]
fn row_33_a_backup_of_a_doubt_creates_no_second_registration() {
    on_stage(async |stage| {
        let plane = stage.plane("half").await;
        let lost = runai_simulator::FaultAction::Reset { phase: runai_simulator::ResetPhase::Post };
        let rule = runai_simulator::FaultRule::on(runai_simulator::Operation::Create, lost);
        plane.simulator.add_fault(rule.times(1));
        // Reads fail as well: the doubt stays open.
        let broken = FaultAction::Status { code: 500, body: None, headers: [].into(), phase: Phase::Pre };
        let reads = runai_simulator::FaultRule::on(runai_simulator::Operation::List, broken.clone());
        let lists = runai_simulator::FaultRule::on(runai_simulator::Operation::MinimalList, broken);
        stage.until_plane_ready("half").await;
        plane.simulator.add_fault(rule_after_create(reads));
        plane.simulator.add_fault(rule_after_create(lists));
        plane.apply(stage, "half").await;
        plane.committed("half").await;
        let object =
            stage.until("half", "in doubt", |object| !object["metadata"]["annotations"][INTENT_NOTE].is_null()).await;
        disaster(stage, &["half"]).await;
        stage.world.apply(&backup(&object)).await;
        plane.simulator.clear_faults();
        stage.restart().await;
        stage.world.until_stalled("half", "NameConflict").await;
        stage.stays_silent(&plane, "nothing is sent").await;
        assert_eq!(plane.creates("half"), (1, 1));
    });
}

/// The look before the POST has to succeed.
fn rule_after_create(rule: runai_simulator::FaultRule) -> runai_simulator::FaultRule {
    runai_simulator::FaultRule { skip: 1, ..rule }
}

/// Whoever takes the finalizer off by force, or deletes an object for good while nobody looks, keeps the registration;
/// that it belongs to nobody any more can be seen.
#[test]
fn row_35_a_finalizer_taken_off_by_hand_deletes_nothing_and_the_orphan_is_counted() {
    on_stage(async |stage| {
        let plane = stage.plane("torn").await;
        for name in ["torn-live", "torn-away"] {
            plane.apply(stage, name).await;
            stage.until_ready(name).await;
        }
        assert_eq!(unmanaged(stage, &plane).await, Some(0));
        let seq = plane.simulator.last_seq();
        // On a live object it comes back at once.
        stage.strip_finalizer("torn-live").await;
        stage.until("torn-live", "its finalizer back", |object| object["metadata"]["finalizers"].is_array()).await;
        // The DELETE is never answered well, so that the object waits; then it is torn away.
        let refused = FaultAction::Status { code: 503, body: None, headers: [].into(), phase: Phase::Pre };
        plane.simulator.add_fault(FaultRule::on(Operation::Delete, refused));
        stage.world.delete("torn-away").await;
        stage.until_reason("torn-away", "ConnectionFailed").await;
        stage.strip_finalizer("torn-away").await;
        stage.until_gone("torn-away").await;
        plane.simulator.clear_faults();
        stage.stays_silent(&plane, "what was torn away is not deleted").await;
        assert!(plane.sent_since(seq).iter().all(|line| line.starts_with("Delete") && line.ends_with("503")));
        stage
            .eventually("the orphan to be counted", async || match unmanaged(stage, &plane).await {
                Some(1) => Ok(()),
                other => Err(other),
            })
            .await;
        let metric = format!("control_plane=\"{}\",kind=\"unmanaged\"", plane.name);
        let metrics = stage.world.operator.metrics().await.unwrap();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("runai_operator_inventory_registrations") && line.contains(&metric));
        assert!(line.is_some_and(|line| line.ends_with(" 1.0")), "{line:?} in {metrics}");
        assert_eq!(plane.simulator.live_clusters().len(), 2);
    });
}

/// Kubernetes reads the finalizers of a deletion and does not look again: an object can be gone although ours came in
/// time. What is made for it by then would be nobody's, and in the way of the next object of that name.
#[test]
fn row_35_what_is_made_for_an_object_that_is_gone_goes_too() {
    on_stage(async |stage| {
        let plane = stage.plane("lost").await;
        let slow = FaultAction::Latency { ms: 5_000, max_ms: 0, phase: Phase::Post };
        plane.simulator.add_fault(FaultRule::on(Operation::Create, slow).times(2));
        let names = ["lost-gone", "lost-again"];
        for name in names {
            plane.apply(stage, name).await;
        }
        for name in names {
            plane.committed(name).await;
            stage.strip_finalizer(name).await;
            stage.world.delete(name).await;
            stage.until_gone(name).await;
        }
        plane.apply(stage, "lost-again").await;
        let again = uuid(&stage.until_ready("lost-again").await);
        stage
            .eventually("nothing left behind", async || {
                let live: Vec<_> = plane.simulator.live_clusters().iter().map(|record| record.uuid).collect();
                if live == [again] { Ok(()) } else { Err(live) }
            })
            .await;
    });
}

/// The same, with the finalizer on the object and the registration noted on it before the object went.
#[test]
fn row_35_what_is_registered_while_kubernetes_deletes_goes_too() {
    on_stage(async |stage| {
        let plane = stage.plane("late").await;
        let mut slow = SlowDeletion::of(stage, "late").await;
        stage.until_plane_ready("late").await;
        stage.world.operator.sigstop().unwrap();
        plane.apply(stage, "late").await;
        let kubectl = stage.world.bed.kubectl_handle();
        let deletion =
            tokio::spawn(async move { kubectl.ok(&["delete", "rcl", "late", "-n", TEAM, "--wait=false"]).await });
        // Kubernetes has read the finalizers, and there are none.
        slow.asked().await;
        stage.world.operator.sigcont().unwrap();
        let object = stage.until_ready("late").await;
        let id = uuid(&object);
        assert_eq!(object["metadata"]["finalizers"], json!([FINALIZER]));
        assert!(object["metadata"]["deletionTimestamp"].is_null(), "{object}");
        slow.answer();
        deletion.await.unwrap().unwrap();
        stage.until_gone("late").await;
        plane.until_nothing_is_left(stage).await;
        assert_eq!(plane.sent(), ["Create late 201".to_owned(), format!("Delete {id} 204")]);
        slow.close(stage).await;
    });
}

/// Registrations that no object owns, by the control plane's status.
async fn unmanaged(stage: &Stage, plane: &Plane) -> Option<i64> {
    stage.world.plane(&plane.name).await["status"]["registrations"]["unmanaged"].as_i64()
}

/// Status and annotations both gone, and the process is a new one: the object owns nothing that it can prove, and the
/// name shows that it once did.
#[test]
fn row_34_when_every_copy_of_the_identity_is_lost_the_object_holds() {
    on_stage(async |stage| {
        let plane = stage.plane("bare").await;
        plane.apply(stage, "bare").await;
        let id = uuid(&stage.until_ready("bare").await);
        let seq = plane.simulator.last_seq();
        stage.world.operator.sigkill();
        let notes = json!({ UUID_NOTE: null, SIGNED_NOTE: null });
        stage.world.patch("bare", json!({ "metadata": { "annotations": notes } })).await;
        let wipe = r#"[{"op":"remove","path":"/status"}]"#;
        stage
            .world
            .kubectl(&["patch", "rcl", "bare", "-n", TEAM, "--subresource=status", "--type=json", "-p", wipe])
            .await;
        stage.restart().await;
        let object = stage.world.until_stalled("bare", "NameConflict").await;
        assert!(message(&object, "Stalled").contains(&id.to_string()), "{object}");
        stage.stays_silent(&plane, "it holds").await;
        assert!(plane.sent_since(seq).is_empty());
        assert_eq!(condition(&object, "Ready").0, "False");
    });
}
