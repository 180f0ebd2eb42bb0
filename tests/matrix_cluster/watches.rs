//! Rows 29, 30, 31 and 34: watches that end, are refused, fall silent or show the past, and others who write all the time.

use std::time::Duration;

use http::Method;
use runai_simulator::AgentCommand;
use serde_json::{Value, json};

use crate::gate::{Act, expired};
use crate::stage::{LONG, on_stage};
use crate::world::{condition, uuid};

/// Requests of the operator as its client writes them.
const WATCH: &str = "runaiclusters?&watch=true";
const LIST: &str = "runaiclusters?&limit=";

#[test]
fn row_29_an_expired_watch_leads_to_a_list_and_a_deletion_in_between_is_seen() {
    on_stage(async |stage| {
        let plane = stage.plane("expired").await;
        for name in ["expired-a", "expired-b"] {
            plane.apply(stage, name).await;
            stage.until_ready(name).await;
        }
        // The watch goes silent, an object is asked to go and another changes; then the server calls the version expired.
        stage.gate.rule(Method::GET, WATCH, Act::Mute, 1);
        stage.gate.cut();
        stage.gate.struck(LONG, WATCH, 1).await;
        stage.world.delete("expired-a").await;
        stage.world.patch("expired-b", json!({ "spec": { "name": "expired-b2" } })).await;
        stage.gate.forget();
        stage.gate.rule(Method::GET, WATCH, expired(), 1);
        stage.gate.cut();
        stage.until_gone("expired-a").await;
        stage.until("expired-b", "renamed", |object| object["status"]["name"] == "expired-b2").await;
        // The list after the ERROR event, in one page.
        assert!(stage.gate.count(&Method::GET, LIST) >= 1);
        assert_eq!(plane.sent().len(), 4, "{:?}", plane.sent());
        assert_eq!(plane.simulator.live_clusters().len(), 1);
    });
}

#[test]
fn row_30_a_watch_refused_with_410_is_replaced_by_lists() {
    on_stage(async |stage| {
        let plane = stage.plane("refused").await;
        plane.apply(stage, "refused-before").await;
        stage.until_ready("refused-before").await;
        // As long as it lasts, every change still arrives, and the API server is not stormed.
        stage.gate.rule(Method::GET, WATCH, Act::Refuse(410), usize::MAX);
        stage.gate.forget();
        let begun = std::time::Instant::now();
        stage.gate.cut();
        plane.apply(stage, "refused-during").await;
        stage.until_ready("refused-during").await;
        stage.world.delete("refused-before").await;
        stage.until_gone("refused-before").await;
        let lists = stage.gate.count(&Method::GET, LIST);
        let most = begun.elapsed().as_secs() + 3;
        assert!((2..=most as usize).contains(&lists), "{lists} lists in {:?}", begun.elapsed());
        stage.gate.open();
        plane.apply(stage, "refused-after").await;
        stage.until_ready("refused-after").await;
        assert_eq!(plane.sent().len(), 4, "three POSTs and a DELETE: {:?}", plane.sent());
        stage.assert_alive();
    });
}

#[test]
fn row_31_a_silent_watch_leads_to_no_wrong_write_and_is_built_anew() {
    on_stage(async |stage| {
        let plane = stage.plane("silent").await;
        plane.apply(stage, "silent-replaced").await;
        plane.apply(stage, "silent-renamed").await;
        let old = uuid(&stage.until_ready("silent-replaced").await);
        let renamed = uuid(&stage.until_ready("silent-renamed").await);
        stage.gate.rule(Method::GET, WATCH, Act::Mute, 1);
        stage.gate.cut();
        stage.gate.struck(LONG, WATCH, 1).await;
        // Behind the operator's back one object is replaced by another of its name, and one changes its mind. The
        // finalizer goes first: at no moment that a watch may show later is the object waiting for its deletion.
        stage.strip_finalizer("silent-replaced").await;
        stage.world.delete("silent-replaced").await;
        stage.until_gone("silent-replaced").await;
        stage.world.apply(&plane.object("silent-replaced", json!({ "name": "silent-new" }))).await;
        stage.world.patch("silent-renamed", json!({ "spec": { "name": "silent-renamed-2" } })).await;
        // The control plane wakes both, so that passes run on what the operator last saw.
        for id in [old, renamed] {
            plane.simulator.rename(id, &format!("moved-{id}")).unwrap();
        }
        // What it believes is out of date: the old names come back, and nothing worse happens.
        let put = |id| plane.sent().iter().filter(|line| line.starts_with(&format!("Update {id}"))).count();
        stage
            .eventually("passes on what was last seen", async || {
                if put(old) + put(renamed) == 2 { Ok(()) } else { Err(plane.sent()) }
            })
            .await;
        // A status to write is refused, which tells the operator how old its view is: it looks anew by itself.
        plane.simulator.agent(renamed, AgentCommand::start()).unwrap();
        let object = stage
            .until("silent-replaced", "registered anew", |object| {
                condition(object, "Ready").0 == "True" && object["status"]["name"] == "silent-new"
            })
            .await;
        assert_ne!(uuid(&object), old, "another object does not inherit the registration");
        stage.until("silent-renamed", "renamed", |object| object["status"]["name"] == "silent-renamed-2").await;
        assert_eq!(plane.simulator.cluster(renamed).unwrap().name, "silent-renamed-2");
        assert_eq!((put(old), put(renamed)), (1, 2), "{:?}", plane.sent());
        let deleted = plane.sent().iter().filter(|line| line.starts_with("Delete")).count();
        assert_eq!(deleted, 0, "the finalizer was taken off by hand: nothing is deleted for it: {:?}", plane.sent());
        assert_eq!(plane.creates("silent-new"), (1, 1));
    });
}

/// A process starts from a list of the past, as after a fail-over to an API server that lags: the object looks as if
/// nothing had ever been registered.
#[test]
fn row_31_a_list_of_the_past_registers_nothing_twice() {
    on_stage(async |stage| {
        let plane = stage.plane("past").await;
        stage.world.apply(&plane.object("past", json!({ "suspend": true }))).await;
        stage.world.until_condition("past", "Suspended", "True", "Suspended").await;
        let list = "/apis/runai-operator.io/v1alpha1/runaiclusters?limit=500";
        let mut past: Value = serde_json::from_str(&stage.world.kubectl(&["get", "--raw", list]).await).unwrap();
        for item in past["items"].as_array_mut().unwrap() {
            if item["metadata"]["name"] == "past" {
                item["spec"]["suspend"] = json!(false);
            }
        }
        stage.world.patch("past", json!({ "spec": { "suspend": false } })).await;
        let id = uuid(&stage.until_ready("past").await);

        stage.gate.rule(Method::GET, LIST, Act::Answer(past.to_string()), 1);
        stage.gate.rule(Method::GET, WATCH, Act::Mute, 1);
        stage.restart().await;
        stage.gate.struck(LONG, WATCH, 1).await;
        stage.stays_silent(&plane, "a look at the past sends nothing").await;
        assert_eq!(plane.creates("past"), (1, 1));
        stage.gate.open();
        let object = stage.until_ready("past").await;
        assert_eq!(uuid(&object), id);
        assert_eq!(plane.sent().len(), 1, "{:?}", plane.sent());
    });
}

/// A rival writes to the object as fast as it can, so that most of our writes meet a conflict.
#[test]
fn row_34_conflicts_in_a_row_cost_time_and_nothing_else() {
    on_stage(async |stage| {
        let plane = stage.plane("storm").await;
        plane.apply(stage, "storm-calm").await;
        stage.until_ready("storm-calm").await;
        stage.world.delete("storm-calm").await;
        stage.until_gone("storm-calm").await;

        let kubectl = stage.world.bed.kubectl_handle();
        let (stop, mut stopped) = tokio::sync::watch::channel(false);
        let rival = tokio::spawn(async move {
            let mut writes = 0_u32;
            while !*stopped.borrow_and_update() {
                let label = format!("storm={writes}");
                let args = ["label", "rcl", "storm", "-n", crate::world::TEAM, "--overwrite", &label];
                writes += u32::from(kubectl.run(&args).await.unwrap().status.success());
            }
            writes
        });
        // Each of our first writes is refused as out of date, too: more than any rival could do.
        stage.gate.rule(Method::PATCH, "runaiclusters/storm?", Act::Refuse(409), 3);
        stage.gate.rule(Method::PATCH, "runaiclusters/storm/status", Act::Refuse(409), 3);
        plane.apply(stage, "storm").await;
        stage.until_ready("storm").await;
        stage.world.patch("storm", json!({ "spec": { "name": "storm-2" } })).await;
        stage.until("storm", "renamed", |object| object["status"]["name"] == "storm-2").await;
        stage.gate.struck(Duration::from_secs(1), "runaiclusters/storm?", 3).await;
        stage.world.delete("storm").await;
        stage.until_gone("storm").await;
        stop.send_replace(true);
        assert!(rival.await.unwrap() > 3, "the rival hardly wrote");
        // The same as without a rival, and one rename.
        let kinds = |name: &str| {
            let of = |line: &&String| line.contains(name);
            plane.sent().iter().filter(of).count()
        };
        assert_eq!(plane.creates("storm"), (1, 1));
        assert_eq!(kinds("Update"), 1, "{:?}", plane.sent());
        assert_eq!(kinds("Delete"), 2, "{:?}", plane.sent());
        assert!(plane.simulator.live_clusters().is_empty());
    });
}
