//! Row 36: the API server refuses what the operator writes, for whatever reason; and row 42: notes and schemas of another
//! version.

use std::time::Duration;

use jiff::Timestamp;
use runai_simulator::{FaultAction, FaultRule, Operation, Phase};
use serde_json::{Value, json};

use crate::stage::{INTENT_NOTE, Plane, SIGNED_NOTE, Stage, on_stage};
use crate::world::{TEAM, condition, uuid};

/// How long a refusal lasts.
const REFUSAL: Duration = Duration::from_secs(8);
/// Back-off of 1, 2, 4 s, shortened by up to a half, allows five attempts in that time; a list may wake two more.
const MOST_ATTEMPTS: usize = 7;
/// The policy of [`refuse_identities`].
const NO_IDENTITY: &str = "no-identity";

/// A policy of the cluster's own that refuses updates of RunaiClusters of which `allowed` (CEL) is not true.
fn policy(name: &str, resource: &str, allowed: &str) -> Value {
    let rule = json!({
        "apiGroups": ["runai-operator.io"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": [resource],
    });
    let items = json!([
        {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": { "name": name },
            "spec": {
                "failurePolicy": "Fail", "matchConstraints": { "resourceRules": [rule] },
                "validations": [{ "expression": allowed, "message": "house rules" }],
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": { "name": name }, "spec": { "policyName": name, "validationActions": ["Deny"] },
        },
    ]);
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

async fn enact(stage: &Stage, name: &str, resource: &str, allowed: &str, probe: &[&str]) {
    stage.world.apply(&policy(name, resource, allowed)).await;
    stage
        .eventually("the policy to be in force", async || {
            let answer = stage.world.bed.kubectl(probe).await.unwrap();
            if answer.stderr.contains("house rules") { Ok(()) } else { Err(answer.stderr) }
        })
        .await;
}

async fn repeal(stage: &Stage, name: &str) {
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        stage.world.kubectl(&["delete", kind, name]).await;
    }
}

/// Waits out the refusal; returns how many writes to the object were tried.
async fn endure(stage: &mut Stage, name: &str) -> usize {
    let since = Timestamp::now();
    tokio::time::sleep(REFUSAL).await;
    stage.assert_alive();
    let attempts = stage.writes(name, since);
    assert!(attempts <= MOST_ATTEMPTS, "{name}: {attempts} writes in {REFUSAL:?}");
    attempts
}

/// A suspended object of the same kind tells when a policy is in force: it is touched, and nothing comes of it.
async fn bystander(stage: &Stage, plane: &Plane, name: &str) {
    stage.world.apply(&plane.object(name, json!({ "suspend": true }))).await;
    stage.world.until_condition(name, "Suspended", "True", "Suspended").await;
}

#[test]
fn row_36_a_policy_against_the_intent_keeps_the_request_back() {
    on_stage(async |stage| {
        let plane = stage.plane("policy-intent").await;
        bystander(stage, &plane, "pi-probe").await;
        let probe = [
            "annotate",
            "rcl",
            "pi-probe",
            "-n",
            TEAM,
            "--overwrite",
            "runai-operator.io/create-pending=x",
            "--dry-run=server",
        ];
        let allowed = format!("!('{INTENT_NOTE}' in object.metadata.?annotations.orValue({{}}))");
        enact(stage, "no-intent", "runaiclusters", &allowed, &probe).await;
        plane.apply(stage, "pi").await;
        stage
            .eventually(
                "a refused write",
                async || if stage.world.tail().contains("house rules") { Ok(()) } else { Err(()) },
            )
            .await;
        assert!(endure(stage, "pi").await > 0, "it tries on");
        assert!(plane.sent().is_empty(), "without its note no request goes out: {:?}", plane.sent());
        repeal(stage, "no-intent").await;
        stage.until_ready("pi").await;
        assert_eq!(plane.creates("pi"), (1, 1));
    });
}

/// From now on no object may say which registration it has.
async fn refuse_identities(stage: &Stage, plane: &Plane, probe: &str) {
    bystander(stage, plane, probe).await;
    let annotation = format!("{SIGNED_NOTE}=x");
    let probe = ["annotate", "rcl", probe, "-n", TEAM, "--overwrite", &annotation, "--dry-run=server"];
    let allowed = format!("!('{SIGNED_NOTE}' in object.metadata.?annotations.orValue({{}}))");
    enact(stage, NO_IDENTITY, "runaiclusters", &allowed, &probe).await;
}

#[test]
fn row_36_a_policy_against_the_identity_costs_no_second_request() {
    on_stage(async |stage| {
        let plane = stage.plane("policy-uuid").await;
        refuse_identities(stage, &plane, "pu-probe").await;
        plane.apply(stage, "pu").await;
        plane.committed("pu").await;
        endure(stage, "pu").await;
        // The process that knows the uuid is gone as well: only the intent is left.
        stage.restart().await;
        endure(stage, "pu").await;
        assert_eq!(plane.creates("pu"), (1, 1));
        repeal(stage, NO_IDENTITY).await;
        let object = stage.until_ready("pu").await;
        assert_eq!(uuid(&object), plane.only("pu"));
        assert_eq!(plane.creates("pu"), (1, 1));
    });
}

/// What cannot be noted on an object is deleted with it, although nothing on it names the registration.
#[test]
fn row_35_what_could_not_be_noted_any_more_goes_too() {
    on_stage(async |stage| {
        let plane = stage.plane("unnoted").await;
        refuse_identities(stage, &plane, "un-probe").await;
        plane.apply(stage, "un").await;
        plane.committed("un").await;
        let id = plane.only("un");
        assert!(endure(stage, "un").await > 0, "it tries on");
        stage.strip_finalizer("un").await;
        stage.world.delete("un").await;
        stage.until_gone("un").await;
        plane.until_nothing_is_left(stage).await;
        assert_eq!(plane.sent(), ["Create un 201".to_owned(), format!("Delete {id} 204")]);
        repeal(stage, NO_IDENTITY).await;
    });
}

/// A name that was wanted, and is not any more, is free for whoever waits for it.
#[test]
fn row_07_a_name_that_is_given_up_goes_to_the_object_that_waits() {
    on_stage(async |stage| {
        let plane = stage.plane("given-up").await;
        let refused = FaultAction::Status { code: 422, body: None, headers: [].into(), phase: Phase::Pre };
        plane.simulator.add_fault(FaultRule::on(Operation::Create, refused));
        let spec = |name: &str| json!({ "name": name, "domain": "https://given-up.example.com" });
        stage.world.apply(&plane.object("gu-first", spec("Wanted"))).await;
        stage.until_reason("gu-first", "Rejected").await;
        stage.world.apply(&plane.object("gu-second", spec("Wanted"))).await;
        stage.until_reason("gu-second", "NameConflict").await;
        plane.simulator.clear_faults();
        stage.world.patch("gu-first", json!({ "spec": { "name": "Other" } })).await;
        for name in ["gu-first", "gu-second"] {
            stage.until_ready(name).await;
        }
        assert_eq!((plane.creates("Wanted").1, plane.creates("Other").1), (1, 1));
    });
}

#[test]
fn row_36_a_policy_against_the_release_keeps_the_object_and_deletes_once() {
    on_stage(async |stage| {
        let plane = stage.plane("policy-release").await;
        plane.apply(stage, "pr").await;
        stage.until_ready("pr").await;
        bystander(stage, &plane, "pr-probe").await;
        let probe = ["annotate", "rcl", "pr-probe", "-n", TEAM, "--overwrite", "a=b", "--dry-run=server"];
        enact(stage, "no-release", "runaiclusters", "has(object.metadata.finalizers)", &probe).await;
        stage.world.delete("pr").await;
        stage
            .eventually("the registration to go", async || match plane.simulator.clusters_named("pr") {
                gone if gone.is_empty() => Ok(()),
                left => Err(left),
            })
            .await;
        endure(stage, "pr").await;
        assert!(stage.world.get("pr").await.is_some());
        repeal(stage, "no-release").await;
        stage.until_gone("pr").await;
        let deletes = plane.sent().iter().filter(|line| line.starts_with("Delete")).count();
        assert_eq!(deletes, 1, "{:?}", plane.sent());
    });
}

/// Rights are taken away one by one, as by a careless edit of the role, and given back.
#[test]
fn row_36_lost_rights_are_waited_for() {
    on_stage(async |stage| {
        let plane = stage.plane("rights").await;
        plane.apply(stage, "rights-old").await;
        stage.until_ready("rights-old").await;
        let role = "runai-operator-runai-cluster-operator";
        let before = stage.world.kubectl(&["get", "clusterrole", role, "-o", "json"]).await;
        let before: Value = serde_json::from_str(&before).unwrap();
        let give = async |stage: &Stage, rules: &Value| {
            let patch = json!([{ "op": "replace", "path": "/rules", "value": rules }]);
            stage.world.kubectl(&["patch", "clusterrole", role, "--type=json", "-p", &patch.to_string()]).await;
        };
        for (name, resource) in
            [("rights-object", "runaiclusters"), ("rights-status", "runaiclusters/status"), ("rights-events", "events")]
        {
            let mut rules = before["rules"].clone();
            for rule in rules.as_array_mut().unwrap() {
                if rule["resources"][0] == resource {
                    rule["verbs"] = json!(["list", "watch"]);
                }
            }
            give(stage, &rules).await;
            let since = Timestamp::now();
            plane.apply(stage, name).await;
            if resource == "events" {
                // Nobody needs an Event for anything.
                stage.until_ready(name).await;
            } else {
                let refused = async || {
                    let refused = stage.requests(since).iter().filter(|e| e.name == name && e.code == 403).count();
                    if refused > 0 { Ok(()) } else { Err("nothing was refused") }
                };
                stage.eventually(&format!("{name}: a refused write"), refused).await;
                endure(stage, name).await;
            }
            if resource == "runaiclusters" {
                assert_eq!(plane.creates(name), (0, 0), "without its note no request goes out");
            }
            give(stage, &before["rules"]).await;
            stage.until_ready(name).await;
            assert_eq!(plane.creates(name), (1, 1));
        }
        assert_eq!(plane.simulator.live_clusters().len(), 4);
    });
}

/// A quota on the objects themselves that is used up counts new ones, not what is written to those that exist. (Events
/// are outside every quota, and the operator makes nothing else in a user's namespace.)
#[test]
fn row_36_a_used_up_quota_holds_nothing_up() {
    on_stage(async |stage| {
        let plane = stage.plane("quota").await;
        let hard = json!({ "count/runaiclusters.runai-operator.io": "1" });
        let metadata = json!({ "name": "tight", "namespace": TEAM });
        let quota =
            json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": { "hard": hard } });
        stage.world.apply(&quota).await;
        // No controller of this testbed fills in what counts: it is done by hand.
        let status = json!({ "status": { "hard": hard, "used": { "count/runaiclusters.runai-operator.io": "0" } } });
        let patch = ["patch", "resourcequota", "tight", "-n", TEAM, "--subresource=status", "--type=merge", "-p"];
        stage.world.kubectl(&[&patch[..], &[&status.to_string()]].concat()).await;
        plane.apply(stage, "quota").await;
        stage
            .eventually("one more object to be refused", async || {
                let said = stage.world.bed.kubectl_apply(&plane.object("quota-2", json!({})).to_string()).await;
                let refused = said.as_ref().err().is_some_and(|error| error.to_string().contains("exceeded quota"));
                if refused { Ok(()) } else { Err(said) }
            })
            .await;
        stage.until_ready("quota").await;
        stage.world.patch("quota", json!({ "spec": { "name": "quota-b" } })).await;
        stage.until("quota", "renamed", |object| object["status"]["name"] == "quota-b").await;
        stage.world.delete("quota").await;
        stage.until_gone("quota").await;
        stage.world.kubectl(&["delete", "resourcequota", "tight", "-n", TEAM]).await;
        assert_eq!(plane.sent().len(), 3, "{:?}", plane.sent());
    });
}

/// A newer version wrote more into the signed note and into status than this one knows: what this one knows of it counts,
/// and the rest stays.
#[test]
fn row_42_notes_of_a_newer_version_are_read() {
    on_stage(async |stage| {
        let plane = stage.plane("newer").await;
        plane.apply(stage, "newer-done").await;
        let id = uuid(&stage.until_ready("newer-done").await);
        // A newer CRD keeps what this version does not know.
        let path = "/spec/versions/0/schema/openAPIV3Schema/properties/status/x-kubernetes-preserve-unknown-fields";
        let patch = json!([{ "op": "add", "path": path, "value": true }]).to_string();
        stage.world.kubectl(&["patch", "crd", "runaiclusters.runai-operator.io", "--type=json", "-p", &patch]).await;

        let extended = json!({ "metadata": { "annotations": { SIGNED_NOTE: extended(&stage.world.get("newer-done").await.unwrap()) } } });
        stage.world.patch("newer-done", extended).await;
        let status = json!({ "status": { "fromTheFuture": { "kept": true } } }).to_string();
        let args = ["patch", "rcl", "newer-done", "-n", TEAM, "--subresource=status", "--type=merge", "-p", &status];
        stage.world.kubectl(&args).await;
        stage.restart().await;
        plane.simulator.rename(id, "moved").unwrap();
        stage
            .until("newer-done", "renamed back", |object| {
                condition(object, "Ready").0 == "True" && object["status"]["name"] == "newer-done"
            })
            .await;
        let object = stage.world.get("newer-done").await.unwrap();
        assert_eq!(uuid(&object), id);
        assert_eq!(object["status"]["fromTheFuture"], json!({ "kept": true }), "what it does not know it leaves alone");
    });
}

/// The signed note with a field that this version does not know.
fn extended(object: &Value) -> String {
    let note = object["metadata"]["annotations"][SIGNED_NOTE].as_str().unwrap();
    let mut note: Value = serde_json::from_str(note).unwrap();
    note["fromTheFuture"] = json!(1);
    note.to_string()
}
