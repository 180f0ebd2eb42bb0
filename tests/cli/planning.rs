//! `plan` says what the operator then does, and reads only.

use std::collections::BTreeSet;

use runai_simulator::{AgentCommand, RecordPatch, SeedCluster};
use serde_json::{Value, json};
use testbed::OPERATOR_NAMESPACE;

use crate::tool::{Said, Tool, changes};
use crate::world::{Setup, TEAM, World, cluster, condition, uuid};

/// The plan for one object of `team-a`.
async fn plan(tool: &Tool, name: &str, spec: Value, code: i32) -> (Value, Said) {
    let file = tool.file("plan.json", &cluster(TEAM, name, spec).to_string());
    let said = tool.run(&["plan", "-f", &file, "-o", "json"]).await.exits(code);
    (said.json()["objects"][0].clone(), said)
}

fn says(object: &Value, step: &str, reason: &str, does: &str) {
    assert_eq!((&object["step"], &object["reason"]), (&json!(step), &json!(reason)), "{object}");
    assert!(object["does"].as_str().unwrap().contains(does), "{does:?} is missing in {object}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_planned_is_what_is_done() {
    let world = World::start(Setup::default()).await;
    let tool = Tool::of(&world);
    let simulator = &world.simulator;

    // Create.
    let spec = json!({ "domain": "https://east.example.com" });
    let since = simulator.last_seq();
    let (object, said) = plan(&tool, "east", spec.clone(), 3).await;
    says(&object, "Create", "Creating", "create registration \"east\"");
    said.notes(&["annotations are checked with its key", "1 object: 1 to change"]);
    assert_eq!(changes(simulator, since), Vec::<String>::new());
    assert!(world.get("east").await.is_none(), "a plan applies nothing");
    world.cluster("east", spec.clone()).await;
    let id = uuid(&world.until_ready("east").await);
    assert_eq!(changes(simulator, since), ["POST /api/v1/clusters None"]);
    let (object, _) = plan(&tool, "east", spec, 0).await;
    says(&object, "None", "Registered", "nothing");

    // Rename: the object in the cluster has the uuid, the file only the spec.
    let spec = json!({ "name": "east-2", "domain": "https://east.example.com" });
    let (object, _) = plan(&tool, "east", spec.clone(), 3).await;
    says(&object, "Rename", "Renaming", &format!("rename registration {id} to \"east-2\""));
    assert_eq!(object["writesToControlPlane"], true);
    world.cluster("east", spec).await;
    world.until("east", "renamed", |object| object["status"]["name"] == "east-2").await;

    // Adopt.
    let found = simulator.seed(SeedCluster::named("found")).unwrap();
    let spec = json!({ "adoption": { "uuid": found } });
    let (object, _) = plan(&tool, "found", spec.clone(), 3).await;
    says(&object, "Adopt", "Adopted", &format!("adopt registration {found}"));
    world.cluster("found", spec).await;
    world.until_condition("found", "Synced", "True", "Adopted").await;

    // What the API server would refuse, by the same fields.
    let other = json!({ "domain": "https://other.example.com" });
    for (name, spec, field) in [
        ("east", json!({ "name": "east-2" }), "spec.domain"),
        ("east", other, "spec.domain"),
        ("east", json!({ "domain": "https://east.example.com", "adoption": { "uuid": found } }), "spec.adoption"),
        ("found", json!({}), "spec.adoption"),
        (
            "found",
            json!({ "controlPlaneRef": { "name": "else" }, "adoption": { "uuid": found } }),
            "controlPlaneRef.name",
        ),
    ] {
        let (object, _) = plan(&tool, name, spec.clone(), 1).await;
        says(&object, "None", "InvalidSpec", "nothing");
        assert_eq!(object["outcome"], "Refused");
        assert!(object["message"].as_str().unwrap().contains(field), "{object}");
        let file = tool.file("refused.json", &cluster(TEAM, name, spec).to_string());
        let said = world.bed.kubectl(&["replace", "-f", &file]).await.unwrap();
        assert!(!said.status.success() && said.stderr.contains(field), "{field}: {said:?}");
    }

    // What the operator would stop at, with the same words in the status.
    for (name, spec, reason) in [
        ("thief", json!({ "adoption": { "uuid": found } }), "AlreadyClaimed"),
        ("taken", json!({ "name": "east-2" }), "NameConflict"),
        ("lost", json!({ "controlPlaneRef": { "name": "nowhere" } }), "ControlPlaneMissing"),
    ] {
        let (object, _) = plan(&tool, name, spec.clone(), 1).await;
        says(&object, "None", reason, "nothing");
        world.cluster(name, spec).await;
        let there = world.until(name, reason, |object| condition(object, "Synced").1 == reason).await;
        assert_eq!(Some(crate::world::message(&there, "Synced").as_str()), object["message"].as_str(), "{there}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_claim_the_same_and_registrations_that_no_list_shows() {
    let mut world = World::start(Setup::default()).await;
    let tool = Tool::of(&world);
    for name in ["east", "thief", "lost"] {
        world.cluster(name, json!({})).await;
        let made = world.until_ready(name).await["metadata"]["creationTimestamp"].as_str().unwrap().to_owned();
        // Kubernetes counts ages in seconds, and the older claimant comes first.
        let second = made.parse::<jiff::Timestamp>().unwrap().as_second();
        let later = async || if jiff::Timestamp::now().as_second() > second { Ok(()) } else { Err("the same second") };
        testbed::wait_until(crate::world::SOON, "another second", later).await.unwrap();
    }
    let [east, thief] = ["east", "thief"].map(|name| world.simulator.clusters_named(name)[0].uuid);
    world.operator.sigkill();
    // As after a restore from a backup that mixed things up.
    let nobody = uuid::Uuid::from_u128(7);
    for (name, claimed) in [("thief", east), ("lost", nobody)] {
        let notes = json!({ "metadata": { "annotations": { "runai-operator.io/registered-with": null, "runai-operator.io/cluster-uuid": null } } });
        world.patch(name, notes).await;
        let status = json!({ "status": { "uuid": claimed } }).to_string();
        world.kubectl(&["patch", "rcl", name, "-n", TEAM, "--subresource=status", "--type=merge", "-p", &status]).await;
    }
    let said = tool.run(&["inventory", "-o", "json"]).await.exits(0);
    let counts = json!({ "total": 3, "managed": 0, "unmanaged": 2, "claimedTwice": 1, "deleting": 0 });
    assert_eq!(said.json()["counts"], counts, "{said:#?}");
    let twice: Vec<_> = said.json()["registrations"].as_array().unwrap().clone();
    let twice = twice.iter().find(|one| one["kind"] == "claimed-twice").unwrap();
    assert_eq!((&twice["uuid"], &twice["objects"]), (&json!(east), &json!(["team-a/east", "team-a/thief"])));
    said.notes(&[&format!("RunaiCluster team-a/lost claims registration {nobody}, which is not listed")]);
    let export = tool.run(&["export"]).await.exits(0);
    assert!(export.stdout.contains(&thief.to_string()) && !export.stdout.contains(&east.to_string()), "{export:#?}");
    // The name of an object that is there is not given to another: applied, it would change what that one is about.
    let names: Vec<_> =
        export.stdout.lines().filter(|line| line.starts_with("  name: ") && line.contains('-')).collect();
    assert_eq!(names.len(), 2, "{export:#?}");
    let (object, _) = plan(&tool, "thief", json!({}), 1).await;
    says(&object, "None", "AlreadyClaimed", "nothing");
    assert!(object["message"].as_str().unwrap().contains("team-a/east"), "{object}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_planned_from_what_is_written_on_the_object() {
    let mut world = World::start(Setup::default()).await;
    let tool = Tool::of(&world);
    world.cluster("east", json!({})).await;
    let id = uuid(&world.until_ready("east").await);
    // With an agent the deletion takes its time.
    world.simulator.agent(id, AgentCommand::Start { after_seconds: 0.0, client_secret: None }).unwrap();
    world.until_condition("east", "Connected", "True", "Connected").await;
    world.cluster("stays", json!({ "deletion": { "policy": "Orphan" } })).await;
    world.until_ready("stays").await;
    world.operator.sigkill();
    world.delete("east").await;
    world.delete("stays").await;
    let since = world.simulator.last_seq();
    let (object, _) = plan(&tool, "east", json!({}), 3).await;
    says(&object, "Delete", "DeletionRequested", &format!("delete registration {id}"));
    let (object, _) = plan(&tool, "stays", json!({ "deletion": { "policy": "Orphan" } }), 3).await;
    says(&object, "Release", "Orphaned", "remove the finalizer");
    assert_eq!(object["writesToControlPlane"], false);
    // A new spec counts for an object that is going, too.
    let (object, _) = plan(&tool, "east", json!({ "deletion": { "policy": "Orphan" } }), 3).await;
    says(&object, "Release", "Orphaned", "remove the finalizer");
    assert_eq!(changes(&world.simulator, since), Vec::<String>::new());

    world.simulator.patch(id, RecordPatch { stuck_delete: Some(true), ..RecordPatch::default() }).unwrap();
    world.kill_and_restart().await;
    world.until_condition("east", "Reconciling", "True", "DeletionRequested").await;
    world.until_gone("stays").await;
    let (object, _) = plan(&tool, "east", json!({}), 0).await;
    says(&object, "None", "DeletionRequested", "nothing");
}

/// A user who may see objects and use the connection, and not more.
async fn planner(world: &World) -> Tool {
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({ "apiGroups": [group], "resources": resources, "verbs": verbs });
    let subject = json!([{ "kind": "ServiceAccount", "name": "planner", "namespace": TEAM }]);
    let role = |kind: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "planner" });
    let rbac = "rbac.authorization.k8s.io/v1";
    let mut secret = rule("", &["secrets"], &["get"]);
    secret["resourceNames"] = json!(["connection"]);
    for manifest in [
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "planner", "namespace": TEAM } }),
        json!({
            "apiVersion": rbac, "kind": "ClusterRole", "metadata": { "name": "planner" },
            "rules": [
                rule("runai-operator.io", &["runaiclusters"], &["list"]),
                rule("runai-operator.io", &["runaicontrolplanes"], &["get"]),
                rule("", &["namespaces"], &["get"]),
            ],
        }),
        json!({
            "apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": { "name": "planner" },
            "subjects": subject, "roleRef": role("ClusterRole"),
        }),
        json!({
            "apiVersion": rbac, "kind": "Role", "metadata": { "name": "planner", "namespace": OPERATOR_NAMESPACE },
            "rules": [secret],
        }),
        json!({
            "apiVersion": rbac, "kind": "RoleBinding", "metadata": { "name": "planner", "namespace": OPERATOR_NAMESPACE },
            "subjects": subject, "roleRef": role("Role"),
        }),
    ] {
        world.apply(&manifest).await;
    }
    Tool::with(world.bed.serviceaccount_kubeconfig(TEAM, "planner").await.unwrap().kubeconfig())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_few_rights_can_plan_and_only_reads() {
    let selector = json!({ "matchLabels": { "adopts": "yes" } });
    let world =
        World::start(Setup::default().control_plane(json!({ "pollInterval": "5s", "adoptionNamespaces": selector })))
            .await;
    world.cluster("east", json!({})).await;
    world.until_ready("east").await;
    let found = world.simulator.seed(SeedCluster::named("found")).unwrap();
    let tool = planner(&world).await;

    // Without the key every annotation counts as genuine: no false alarm over what the operator wrote itself.
    let (object, said) = plan(&tool, "east", json!({}), 0).await;
    says(&object, "None", "Registered", "nothing");
    said.notes(&["annotations count as genuine, since its key cannot be read: ", "runai-cluster-operator-identity"]);

    // Labels of namespaces count as they are.
    let (object, _) = plan(&tool, "found", json!({ "adoption": { "uuid": found } }), 1).await;
    says(&object, "None", "AdoptionNotAllowed", "nothing");
    let export = tool.run(&["export", "-n", TEAM]).await.exits(0);
    export
        .notes(&["namespace team-a may not adopt: let spec.adoptionNamespaces", "1 registration exported, 1 skipped"]);
    world.kubectl(&["label", "namespace", TEAM, "adopts=yes"]).await;
    let (object, _) = plan(&tool, "found", json!({ "adoption": { "uuid": found } }), 3).await;
    says(&object, "Adopt", "Adopted", "adopt registration");
    let file = tool.file("else.json", &cluster("not-there", "x", json!({})).to_string());
    tool.run(&["plan", "-f", &file]).await.exits(3).notes(&["namespace not-there does not exist yet"]);

    let inventory = tool.run(&["inventory"]).await.exits(0);
    assert!(inventory.stdout.contains("managed     east"), "{inventory:#?}");
    assert!(inventory.stdout.contains("unmanaged   found"), "{inventory:#?}");
    tool.run(&["inventory", "--control-plane", "prod"])
        .await
        .exits(1)
        .notes(&["error: RunaiControlPlane \"prod\" does not exist; correct --control-plane"]);

    let user = format!("system:serviceaccount:{TEAM}:planner");
    let verbs: BTreeSet<_> = world
        .bed
        .audit_events(None)
        .unwrap()
        .into_iter()
        .filter(|event| event.user == user)
        .map(|event| event.verb)
        .collect();
    assert_eq!(verbs, BTreeSet::from(["get".to_owned(), "list".to_owned()]));

    // A right that is missing is named.
    world.kubectl(&["delete", "rolebinding", "planner", "-n", OPERATOR_NAMESPACE]).await;
    let said = tool
        .run(&["export"])
        .await
        .exits(1)
        .notes(&["error: control plane \"default\": Secret connection cannot be read", "403"]);
    assert_eq!(said.stdout, "");
    world.kubectl(&["delete", "clusterrolebinding", "planner"]).await;
    tool.run(&["export"]).await.exits(1).notes(&["error: RunaiClusters of all namespaces cannot be read", "403"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_kinds_the_way_out_is_named() {
    let bed = testbed::Testbed::start(testbed::Options::default()).await.unwrap();
    let tool = Tool::with(bed.kubeconfig());
    for args in [&["inventory"][..], &["export"]] {
        tool.run(args)
            .await
            .exits(1)
            .notes(&["RunaiClusters", "install the CRDs: runai-cluster-operator crds | kubectl"]);
    }
    tool.run(&["wait", "x", "--for", "ready"])
        .await
        .exits(1)
        .notes(&["RunaiCluster default/x cannot be read", "install the CRDs: "]);
}
