//! Rows 27, 43, 46 and 48: clocks that step, a control plane that is restored from a backup, deletions that fail, agents
//! that flap.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use runai_simulator::{AgentCommand, DisconnectedPolicy, FaultAction, FaultRule, Operation, ResetPhase};
use serde_json::{Value, json};

use crate::stage::{Plane, Stage, on_stage};
use crate::world::{TEAM, condition, uuid};

/// Several lists at the shortest poll interval, and many changes of the agent.
const FLAPPING: Duration = Duration::from_secs(20);

/// An object is made (its first POST is lost before the commit), renamed and deleted, while `during` disturbs.
async fn life(stage: &Stage, plane: &Plane, name: &str, during: impl Fn()) -> Vec<String> {
    let lost = FaultAction::Reset { phase: ResetPhase::Pre };
    plane.simulator.add_fault(FaultRule::on(Operation::Create, lost).times(1));
    let seq = plane.simulator.last_seq();
    plane.apply(stage, name).await;
    stage.until_reason(name, "CreateInDoubt").await;
    during();
    stage.until_ready(name).await;
    during();
    stage.world.patch(name, json!({ "spec": { "name": format!("{name}-2") } })).await;
    stage.until(name, "renamed", |object| object["status"]["name"] == format!("{name}-2")).await;
    during();
    stage.world.delete(name).await;
    stage.until_gone(name).await;
    assert!(plane.simulator.live_clusters().is_empty());
    let kind = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
    plane.sent_since(seq).iter().map(kind).collect()
}

/// The control plane's clock steps a day ahead, two days back and a day ahead, with a create in doubt, a token in use and
/// a deletion under way: what is sent is what is sent without.
#[test]
fn row_27_a_control_plane_clock_that_steps_changes_nothing() {
    on_stage(async |stage| {
        let plane = stage.plane("clock").await;
        let calm = life(stage, &plane, "clock-calm", || ()).await;
        let steps = std::cell::Cell::new(0_usize);
        let day = 24 * 3600;
        let skews = [day, -day, day / 2];
        let stepped = life(stage, &plane, "clock-steps", || {
            let skew = skews[steps.replace(steps.get() + 1)];
            plane.simulator.set_clock_skew(SignedDuration::from_secs(skew));
        })
        .await;
        assert_eq!(steps.get(), skews.len());
        assert_eq!(stepped, calm);
        assert_eq!(calm, ["Create", "Create", "Update", "Delete"]);
    });
}

/// A backup brings back a control plane as it was: one registration is not there yet, one is there again.
#[test]
fn row_43_a_control_plane_restored_from_a_backup_is_believed_with_care() {
    on_stage(async |stage| {
        let plane = stage.plane("rewound").await;
        for name in ["rewound-kept", "rewound-deleted"] {
            plane.apply(stage, name).await;
            stage.until_ready(name).await;
        }
        let kept = uuid(&stage.world.get("rewound-kept").await.unwrap());
        let backup = plane.simulator.snapshot().unwrap();
        stage.world.delete("rewound-deleted").await;
        stage.until_gone("rewound-deleted").await;
        plane.apply(stage, "rewound-later").await;
        let recreating = json!({ "recreatePolicy": "IfMissing" });
        stage.world.apply(&plane.object("rewound-again", recreating)).await;
        let later = uuid(&stage.until_ready("rewound-later").await);
        let again = uuid(&stage.until_ready("rewound-again").await);
        let seq = plane.simulator.last_seq();
        plane.simulator.restore(backup).unwrap();
        // Older than any read may be, so that an absence counts.
        plane.simulator.advance(Duration::from_secs(120));

        // Lost without a trace: shown, and made anew only where that is wished.
        let gone = ["ExternallyDeleted", "AbsenceUnproven"];
        let object = stage
            .until("rewound-later", "its registration is missed", |o| {
                gone.contains(&condition(o, "Stalled").1.as_str())
            })
            .await;
        assert_eq!(uuid(&object), later, "what is known stays");
        let object = stage
            .until("rewound-again", "made anew, or held", |object| {
                let id = object["status"]["uuid"].as_str();
                let made = condition(object, "Ready").0 == "True" && id.is_some_and(|id| id != again.to_string());
                made || condition(object, "Stalled").1 == "AbsenceUnproven"
            })
            .await;
        // What was deleted is back and nobody's: a new object of its name does not take it.
        plane.apply(stage, "rewound-deleted").await;
        stage.world.until_stalled("rewound-deleted", "NameConflict").await;
        assert_eq!(uuid(&stage.until_ready("rewound-kept").await), kept);
        stage.stays_silent(&plane, "nothing more is sent").await;
        let sent = plane.sent_since(seq);
        let made = usize::from(condition(&object, "Ready").0 == "True");
        assert_eq!(sent.len(), made, "{sent:?}");
        assert!(plane.creates("rewound-again").1 <= 2 && plane.simulator.clusters_named("rewound-again").len() <= 1);
    });
}

/// A deletion that the control plane accepted and whose agent fails, or is never heard of, stays open and says so.
#[test]
fn row_46_a_deletion_that_fails_at_the_agent_is_followed_and_not_repeated() {
    on_stage(async |stage| {
        let plane =
            stage.plane_with("failed", |config| config.delete.disconnected_policy = DisconnectedPolicy::Wait).await;
        let spec = json!({ "version": "2.24", "deletion": { "stalledAfter": "3s" } });
        for name in ["failed-agent", "failed-offline"] {
            stage.world.apply(&plane.object(name, spec.clone())).await;
            stage.until_ready(name).await;
        }
        let id = uuid(&stage.world.get("failed-agent").await.unwrap());
        plane.simulator.agent(id, AgentCommand::start()).unwrap();
        stage.world.until_condition("failed-agent", "Connected", "True", "Connected").await;
        let failing = FaultAction::DeleteFailed { after_seconds: 0.2 };
        plane.simulator.add_fault(FaultRule::on(Operation::Delete, failing).times(1));
        for name in ["failed-agent", "failed-offline"] {
            stage.world.delete(name).await;
            stage.world.until_stalled(name, "DeletionStalled").await;
        }
        assert_eq!(plane.sent().iter().filter(|line| line.starts_with("Delete")).count(), 2, "{:?}", plane.sent());
        // A limit that is set now ends both.
        for name in ["failed-agent", "failed-offline"] {
            stage.world.patch(name, json!({ "spec": { "deletion": { "forceAfter": "1s" } } })).await;
            stage.until_gone(name).await;
        }
        assert!(plane.simulator.live_clusters().is_empty());
    });
}

/// An agent that comes and goes every three seconds costs at most one status write for each list, and its Events are
/// counted up on few objects.
#[test]
fn row_48_a_flapping_agent_costs_no_more_than_the_lists_show() {
    on_stage(async |stage| {
        let plane = stage
            .plane_with("flap", |config| {
                config.agent.heartbeat_seconds = 0.2;
                config.agent.stale_seconds = 0.5;
            })
            .await;
        plane.apply(stage, "flap").await;
        let id = uuid(&stage.until_ready("flap").await);
        plane.simulator.agent(id, AgentCommand::start()).unwrap();
        stage.world.until_condition("flap", "Connected", "True", "Connected").await;
        let (since, seq) = (Timestamp::now(), plane.simulator.last_seq());
        plane.simulator.apply(&FaultAction::AgentFlap { uuid: Some(id), period_seconds: 3.0 });
        // Some lists, and at least two that show the agent in another state.
        tokio::time::sleep(FLAPPING).await;
        let told = async || if stage.writes("flap", since) >= 2 { Ok(()) } else { Err("told once at most") };
        stage.eventually("both states to be told", told).await;
        plane.simulator.apply(&FaultAction::AgentFlap { uuid: Some(id), period_seconds: 0.0 });
        let writes = stage.writes("flap", since);
        let lists = plane
            .simulator
            .journal_since(seq)
            .iter()
            .filter(|entry| entry.operation == Some(Operation::List) || entry.operation == Some(Operation::MinimalList))
            .count();
        assert!(writes <= lists, "{writes} writes, {lists} lists");
        let selector = "--field-selector=regarding.name=flap";
        let text = stage.world.kubectl(&["get", "events.events.k8s.io", "-n", TEAM, selector, "-o", "json"]).await;
        let events: Value = serde_json::from_str(&text).unwrap();
        let reasons: Vec<_> = events["items"].as_array().unwrap().iter().map(|event| event["reason"].clone()).collect();
        // Registered, and one each for the two states, counted up.
        assert!(reasons.len() <= 3, "{reasons:?}");
        assert!(plane.sent_since(seq).is_empty(), "a flapping agent is no reason to send anything");
        assert_eq!(condition(&stage.world.get("flap").await.unwrap(), "Ready").0, "True");
    });
}
