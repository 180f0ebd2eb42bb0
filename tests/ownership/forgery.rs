//! A user without adoption rights forges every note the operator keeps on an object, and gets nothing by it.

use runai_simulator::{FaultAction, FaultMatch, FaultRule, Operation, Phase};
use serde_json::{Value, json};
use testbed::Kubectl;
use uuid::Uuid;

use crate::support::{
    FINALIZER, INTENT_NOTE, SIGNED_NOTE, UUID_NOTE, annotation, annotations, change_list, eventually, seed, sent,
    stays_silent,
};
use crate::world::{Setup, TEAM, World, cluster, condition, uuid};

/// A user of the namespace with the role `edit` and nothing else.
async fn editor(world: &World) -> Kubectl {
    world.kubectl(&["create", "serviceaccount", "mallory", "-n", TEAM]).await;
    let subject = format!("--serviceaccount={TEAM}:mallory");
    world.kubectl(&["create", "rolebinding", "mallory", "-n", TEAM, "--clusterrole=edit", &subject]).await;
    let login = world.bed.serviceaccount_kubeconfig(TEAM, "mallory").await.unwrap();
    let mallory = world.bed.kubectl_as(&login);
    eventually(world, "the role edit to cover RunaiClusters", async || {
        let answer =
            mallory.run(&["auth", "can-i", "delete", "runaiclusters.runai-operator.io", "-n", TEAM]).await.unwrap();
        if answer.stdout.trim() == "yes" { Ok(()) } else { Err(answer.stdout) }
    })
    .await;
    mallory
}

/// Every forgery of the notes: name, annotations, and what the object asks for.
fn forgeries(foreign: Uuid, victim: &Value, pending: &str, url: &str) -> Vec<(&'static str, Value, Value)> {
    let signed = annotation(victim, SIGNED_NOTE).unwrap();
    let victims = annotation(victim, UUID_NOTE).unwrap();
    let redirected = signed.replace(victims, &foreign.to_string());
    let credential: Value = serde_json::from_str::<Value>(signed).unwrap()["credential"].clone();
    let made_up = json!({
        "uuid": foreign, "origin": url, "tenant": 1001, "credential": credential, "provenance": "Created", "hmac": "00",
    });
    let mut intent: Value = serde_json::from_str(pending).unwrap();
    intent["name"] = json!("foreign");
    intent["domain"] = json!("https://foreign.example.com");
    let mut old_intent = intent.clone();
    old_intent["remoteTime"] = json!("2020-01-01T00:00:00Z");
    old_intent["localTime"] = json!("2020-01-01T00:00:00Z");
    old_intent["hmac"] = json!("");
    let mut replacing = intent.clone();
    replacing["replaces"] = json!(victims);
    let foreign_spec =
        json!({ "name": "foreign", "domain": "https://foreign.example.com", "deletion": { "policy": "Delete" } });
    let stolen = json!({ "name": "stolen", "deletion": { "policy": "Delete" } });
    vec![
        ("uuid", json!({ UUID_NOTE: foreign }), stolen.clone()),
        ("made-up", json!({ UUID_NOTE: foreign, SIGNED_NOTE: made_up.to_string() }), stolen.clone()),
        ("signed-alone", json!({ SIGNED_NOTE: made_up.to_string() }), stolen.clone()),
        ("copied", json!({ UUID_NOTE: victims, SIGNED_NOTE: signed }), stolen.clone()),
        ("redirected", json!({ UUID_NOTE: foreign, SIGNED_NOTE: redirected }), stolen),
        ("intent", json!({ INTENT_NOTE: intent.to_string() }), foreign_spec.clone()),
        ("old-intent", json!({ INTENT_NOTE: old_intent.to_string() }), foreign_spec.clone()),
        ("replacing", json!({ INTENT_NOTE: replacing.to_string(), UUID_NOTE: foreign }), foreign_spec.clone()),
        ("copied-intent", json!({ INTENT_NOTE: pending }), json!({ "name": "doubtful" })),
        ("all", json!({ INTENT_NOTE: intent.to_string(), UUID_NOTE: foreign, SIGNED_NOTE: signed }), foreign_spec),
        ("asking", json!({}), json!({ "adoption": { "uuid": foreign } })),
        ("asking-by-name", json!({}), json!({ "name": "foreign", "adoption": { "policy": "IfExists" } })),
        ("watching", json!({}), json!({ "name": "foreign", "managementPolicy": "Observe" })),
    ]
}

/// The status of a registration that somebody else may believe in.
async fn status_is_out_of_reach(mallory: &Kubectl, foreign: Uuid) {
    let status = json!({ "status": { "uuid": foreign, "origin": "Created" } }).to_string();
    for kind in ["--type=merge", "--type=json"] {
        let patch = if kind == "--type=json" { r#"[{"op":"remove","path":"/status"}]"# } else { &status };
        let args = ["patch", "rcl", "honest", "-n", TEAM, "--subresource=status", kind, "-p", patch];
        let refused = mallory.run(&args).await.unwrap();
        assert!(!refused.status.success() && refused.stderr.contains("Forbidden"), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_notes_give_no_right_to_anything() {
    let setup = Setup { controller_manager: true, ..Setup::default() }.control_plane(json!({ "pollInterval": "5s" }));
    let mut world = World::start(setup).await;
    let mallory = editor(&world).await;
    let foreign = seed(&world.simulator, "foreign");
    world.cluster("honest", json!({ "version": "2.24" })).await;
    let honest = world.until_ready("honest").await;
    // A create whose answer is lost leaves a real, signed intent to copy, for the two minutes of the quarantine.
    let lost = FaultAction::Status { code: 500, body: None, headers: [].into(), phase: Phase::Pre };
    let matches = FaultMatch { operation: Some(Operation::Create), ..FaultMatch::default() };
    world.simulator.add_fault(FaultRule { matches, ..FaultRule::new(lost) });
    world.cluster("doubtful", json!({})).await;
    let doubtful = world.until_condition("doubtful", "Synced", "False", "CreateInDoubt").await;
    let pending = annotation(&doubtful, INTENT_NOTE).unwrap().to_owned();
    world.simulator.clear_faults();

    status_is_out_of_reach(&mallory, foreign).await;
    let seq = world.simulator.last_seq();
    let forged = forgeries(foreign, &honest, &pending, world.simulator.url());
    on_create(&world, &mallory, &forged, foreign).await;
    stays_silent(&world, seq, "no forged object causes a change").await;
    on_delete(&world, &mallory, &forged).await;
    assert!(change_list(&world.simulator, seq).is_empty(), "{:?}", change_list(&world.simulator, seq));

    on_live_objects(&world, &mallory, &forged, uuid(&honest)).await;
    assert!(change_list(&world.simulator, seq).is_empty(), "{:?}", change_list(&world.simulator, seq));
    on_a_dying_object(&mut world, &mallory, foreign, uuid(&honest)).await;

    let record = world.simulator.cluster(foreign).unwrap();
    assert_eq!((record.name.as_str(), record.delete_requested_at, record.deleted_at), ("foreign", None, None));
}

async fn on_create(world: &World, mallory: &Kubectl, forged: &[(&'static str, Value, Value)], foreign: Uuid) {
    for (name, notes, spec) in forged {
        let mut object = cluster(TEAM, name, spec.clone());
        object["metadata"]["annotations"] = notes.clone();
        object["metadata"]["finalizers"] = json!([FINALIZER]);
        object["status"] = json!({ "uuid": foreign, "origin": "Created", "tenantId": 1001 });
        mallory.ok_with_input(&["create", "-f", "-"], &object.to_string()).await.unwrap();
    }
    for (name, _, _) in forged {
        let object = world.until(name, "refused", |object| condition(object, "Stalled").0 == "True").await;
        let reason = condition(&object, "Stalled").1;
        let wanted = match *name {
            "intent" | "old-intent" | "copied-intent" => "NameConflict",
            _ => "AdoptionNotAllowed",
        };
        assert_eq!(reason, wanted, "{name}");
        assert!(object["status"]["uuid"].is_null(), "{name}: {}", object["status"]);
    }
}

async fn on_delete(world: &World, mallory: &Kubectl, forged: &[(&'static str, Value, Value)]) {
    for (name, _, _) in forged {
        mallory.ok(&["delete", "rcl", name, "-n", TEAM, "--wait=false"]).await.unwrap();
    }
    for (name, notes, _) in forged {
        if notes.get(UUID_NOTE).is_some() || notes.get(SIGNED_NOTE).is_some() {
            // What somebody claims to own is not deleted; letting the object go is a decision.
            world.until_stalled(name, "IdentityConflict").await;
            let orphan = json!({ "spec": { "deletion": { "policy": "Orphan" } } }).to_string();
            mallory.ok(&["patch", "rcl", name, "-n", TEAM, "--type=merge", "-p", &orphan]).await.unwrap();
        }
        world.until_gone(name).await;
    }
}

/// The notes of an object that owns a registration are put back, whatever is written over them.
async fn on_live_objects(world: &World, mallory: &Kubectl, forged: &[(&'static str, Value, Value)], own: Uuid) {
    for (name, notes, _) in forged.iter().filter(|(_, notes, _)| *notes != json!({})) {
        let patch = json!({ "metadata": { "annotations": notes } }).to_string();
        mallory.ok(&["patch", "rcl", "honest", "-n", TEAM, "--type=merge", "-p", &patch]).await.unwrap();
        let object = world
            .until("honest", &format!("its own notes back after {name:?}"), |object| {
                let signed = annotation(object, SIGNED_NOTE).unwrap_or_default();
                annotation(object, UUID_NOTE) == Some(&own.to_string())
                    && signed.contains(&own.to_string())
                    && annotation(object, INTENT_NOTE).is_none()
            })
            .await;
        assert_eq!(uuid(&object), own);
    }
}

/// Notes forged while the operator is away, on an object that is deleted before it is back.
async fn on_a_dying_object(world: &mut World, mallory: &Kubectl, foreign: Uuid, own: Uuid) {
    world.operator.sigkill();
    let patch = annotations(&[(UUID_NOTE, Some(&foreign.to_string())), (SIGNED_NOTE, None)]).to_string();
    mallory.ok(&["patch", "rcl", "honest", "-n", TEAM, "--type=merge", "-p", &patch]).await.unwrap();
    mallory.ok(&["delete", "rcl", "honest", "-n", TEAM, "--wait=false"]).await.unwrap();
    world.operator = world.another_operator();
    world.operator.wait_ready(crate::world::SOON).await.unwrap();
    world.until_condition("honest", "Reconciling", "True", "DeletionRequested").await;
    assert_eq!(sent(&world.simulator, Operation::Delete, own), 1);
    assert_eq!(sent(&world.simulator, Operation::Delete, foreign), 0);
    assert_eq!(sent(&world.simulator, Operation::Update, foreign), 0);
}
