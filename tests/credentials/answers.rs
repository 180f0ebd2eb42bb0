//! Answers that are none: nothing is blanked, nothing is made of half an answer.

use std::collections::BTreeMap;

use runai_simulator::{Cut, FaultAction, FaultRule, Garbage, Operation, Phase};
use serde_json::{Value, json};

use crate::books::{data, reads, request, secret, spec, until_secret, world};
use crate::world::{Setup, TEAM, World, condition, message};

const PUBLISHED: &str = "CredentialsPublished";

fn answer(code: u16, body: Value) -> FaultAction {
    FaultAction::Status { code, body: Some(body), headers: BTreeMap::new(), phase: Phase::Pre }
}

fn garbage(variant: Garbage) -> FaultAction {
    FaultAction::Garbage { status: 200, variant, phase: Phase::Pre }
}

/// What a broken control plane may say instead.
fn bad_answers() -> Vec<(&'static str, FaultAction, &'static str)> {
    let whole = json!({
        "repositoryName": "runai", "chartRepoURL": "https://charts.example.com", "clientSecret": "c4nary-half-an-answer",
        "installationStr": "helm c4nary-shell",
    });
    let but = |field: &str, value: Value| {
        let mut body = whole.clone();
        body[field] = value;
        answer(200, body)
    };
    vec![
        ("empty object", garbage(Garbage::EmptyObject), "Undecodable"),
        ("null", garbage(Garbage::Null), "Undecodable"),
        ("no body", garbage(Garbage::Empty), "Undecodable"),
        ("a page", garbage(Garbage::Html), "Undecodable"),
        ("cut off", FaultAction::Truncate { cut: Cut::Json }, "Undecodable"),
        ("no credential", but("clientSecret", json!("")), "Undecodable"),
        ("no repository", but("chartRepoURL", Value::Null), "Undecodable"),
        ("http repository", but("chartRepoURL", json!("http://charts.example.com")), "Undecodable"),
        (
            "repository with a password",
            but("chartRepoURL", json!("https://c4nary:c4nary@charts.example.com")),
            "Undecodable",
        ),
        ("failure", answer(500, json!({ "message": "no" })), "ConnectionFailed"),
        ("forbidden", answer(403, json!({ "message": "no" })), "Forbidden"),
        ("not found", answer(404, json!({ "message": "no such version" })), "Rejected"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_blank_nothing_and_are_told() {
    let world = world(Setup { log: "trace", ..Setup::default() }).await;
    world.cluster("east", spec("east-install")).await;
    world.until_ready("east").await;
    let found = secret(&world, "east-install").await.unwrap();

    for (round, (what, action, _)) in bad_answers().into_iter().enumerate() {
        let before = reads(&world);
        world.simulator.add_fault(FaultRule::on(Operation::InstallInfo, action));
        request(&world, "east", &format!("bad-{round}")).await;
        assert!(reads(&world) > before, "{what}: it was asked");
        world.simulator.clear_faults();
        let object = world.get("east").await.unwrap();
        assert_eq!(condition(&object, PUBLISHED).0, "True", "{what}: what lies there is still right");
        assert_eq!(secret(&world, "east-install").await.as_ref(), Some(&found), "{what}");
    }
    nothing_is_made_of_half_an_answer(&world).await;
    no_secret_comes_to_light(&world).await;
}

async fn nothing_is_made_of_half_an_answer(world: &World) {
    for (round, (what, action, reason)) in bad_answers().into_iter().enumerate() {
        let name = format!("new-{round}");
        world.simulator.add_fault(FaultRule::on(Operation::InstallInfo, action));
        let mut asked = spec(&format!("{name}-install"));
        asked["domain"] = json!(format!("{name}.example.com"));
        world.cluster(&name, asked).await;
        let object = world.until_condition(&name, PUBLISHED, "False", reason).await;
        assert_eq!(condition(&object, "Synced").0, "True", "{what}: the registration is none the worse");
        assert_eq!(condition(&object, "Ready"), ("False".to_owned(), reason.to_owned()), "{what}");
        assert_eq!(condition(&object, "Reconciling").0, "True", "{what}");
        assert!(message(&object, PUBLISHED).contains("reading the install information"), "{what}: {object}");
        assert!(secret(world, &format!("{name}-install")).await.is_none(), "{what}");
        world.simulator.clear_faults();
        until_secret(world, &format!("{name}-install"), "published after all", |secret| {
            !data(secret)["clientSecret"].is_empty()
        })
        .await;
        world.until_ready(&name).await;
    }
}

/// No credential that was given out, nor any part of a bad answer, is anywhere but in the Secrets.
async fn no_secret_comes_to_light(world: &World) {
    let log = world.operator.logs().unwrap();
    assert!(log.contains("TRACE"), "the log is at its loudest");
    let kinds = "runaiclusters,runaicontrolplanes,events.events.k8s.io,events,configmaps,leases";
    let objects = world.kubectl(&["get", kinds, "-A", "-o", "json", "--show-managed-fields"]).await;
    let notes = world.kubectl(&["get", "secrets", "-n", TEAM, "-o", "jsonpath={.items[*].metadata}"]).await;
    let metrics = world.operator.metrics().await.unwrap();
    let mut canaries = vec!["c4nary".to_owned(), "YzRuYXJ5".to_owned(), "helm repo".to_owned()];
    for record in world.simulator.clusters() {
        canaries.push(record.client_secret.clone());
    }
    let found = secret(world, "east-install").await.unwrap();
    canaries.push(found["data"]["clientSecret"].as_str().unwrap().trim_end_matches('=').to_owned());
    for (place, text) in [("log", &log), ("objects", &objects), ("notes", &notes), ("metrics", &metrics)] {
        for canary in &canaries {
            assert!(!text.contains(canary.as_str()), "{canary} is in the {place}");
        }
    }
    for held in world.kubectl(&["get", "secrets", "-n", TEAM, "-o", "json"]).await.lines() {
        assert!(!held.contains("installationStr"), "{held}");
    }
}
