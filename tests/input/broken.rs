//! Stored objects that do not fit the schema, as after an administrator's loosening of a CRD or from before a rule: they
//! harm nobody else, say what is wrong, and can be deleted.

use std::collections::BTreeMap;

use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use runai_simulator::Operation;
use serde_json::{Value, json};
use testbed::wait_until;
use uuid::Uuid;

use crate::bad_specs::{BadSpec, Kind, bad_specs, manifest};
use crate::world::{SOON, Setup, TEAM, World, condition, message, uuid};

/// Objects that own a registration before anything breaks.
const OWNERS: [&str; 8] = ["sound", "number", "policy", "text", "shape", "status", "long", "stuck"];
const CRDS: [&str; 2] = ["runaiclusters.runai-operator.io", "runaicontrolplanes.runai-operator.io"];

fn api(client: &Client, kind: Kind) -> Api<DynamicObject> {
    let resource = |kind| ApiResource::from_gvk(&GroupVersionKind::gvk("runai-operator.io", "v1alpha1", kind));
    match kind {
        Kind::Cluster => Api::namespaced_with(client.clone(), TEAM, &resource("RunaiCluster")),
        Kind::ControlPlane => Api::all_with(client.clone(), &resource("RunaiControlPlane")),
    }
}

impl World {
    /// The schema of a CRD.
    async fn schema(&self, crd: &str) -> Value {
        let text = self.kubectl(&["get", "crd", crd, "-o", "json"]).await;
        serde_json::from_str::<Value>(&text).unwrap()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
    }

    async fn set_schema(&self, crd: &str, schema: &Value) {
        let patch = json!([{ "op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": schema }]);
        self.kubectl(&["patch", "crd", crd, "--type=json", "-p", &patch.to_string()]).await;
    }

    /// Takes every rule off both kinds, and gives back what they were.
    async fn loosen(&self) -> Vec<Value> {
        let anything = json!({ "x-kubernetes-preserve-unknown-fields": true });
        let loose = json!({ "type": "object", "properties": { "spec": anything, "status": anything } });
        let mut before = Vec::new();
        for crd in CRDS {
            before.push(self.schema(crd).await);
            self.set_schema(crd, &loose).await;
        }
        before
    }
}

/// Creates or changes until the API server serves the loosened schema, which takes it a moment.
async fn insist<T>(what: &str, attempt: impl AsyncFn() -> Result<T, kube::Error>) -> T {
    wait_until(SOON, what, async || attempt().await.map_err(|error| error.to_string())).await.unwrap()
}

/// Breaks a stored object.
async fn break_it(client: &Client, name: &str, patch: &Value) {
    let api = api(client, Kind::Cluster);
    insist(&format!("{name} is broken"), async || api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_do_not_fit_the_schema_harm_nobody_and_can_be_deleted() {
    let mut world = World::start(Setup::default().simulator(|config| config.delete.graceful_seconds = 0.1)).await;
    let client = world.bed.client().await.unwrap();
    let mut ids = BTreeMap::new();
    for name in OWNERS {
        world.cluster(name, json!({})).await;
    }
    for name in OWNERS {
        ids.insert(name, uuid(&world.until_ready(name).await));
    }
    let schemas = world.loosen().await;
    break_it(&client, "number", &json!({ "spec": { "name": 7 } })).await;
    break_it(&client, "policy", &json!({ "spec": { "managementPolicy": "Rule" } })).await;
    break_it(&client, "text", &json!({ "spec": { "deletion": "now" } })).await;
    break_it(&client, "shape", &json!({ "spec": "as before, please" })).await;
    break_it(&client, "long", &json!({ "spec": { "name": "x".repeat(254) } })).await;
    break_it(&client, "stuck", &json!({ "spec": { "version": 2.24 } })).await;
    break_status(&world, &client, ids["status"]).await;
    let seq = world.simulator.last_seq();
    let rows = bad_specs();
    let names = store(&client, &rows).await;

    for round in ["the watch brought it", "a list brought it"] {
        all_are_explained(&world, &client, &rows, &names, round).await;
        let broken = [
            ("number", "name"),
            ("policy", "managementPolicy"),
            ("text", "deletion"),
            ("shape", "spec"),
            ("long", "spec.name"),
            ("stuck", "version"),
        ];
        for (name, field) in broken {
            let object = world.until_stalled(name, "InvalidSpec").await;
            assert!(message(&object, "Stalled").contains(field), "{name}: {object}");
            assert_eq!(uuid(&object), ids[name], "what is known stays");
        }
        // Others are served as if nothing were.
        let newcomer = if round.starts_with("the watch") { "newcomer" } else { "newcomer-2" };
        world.cluster(newcomer, json!({})).await;
        world.until_ready(newcomer).await;
        world.patch("sound", json!({ "spec": { "name": format!("sound-{newcomer}") } })).await;
        world.until("sound", "renamed", |object| object["status"]["name"] == format!("sound-{newcomer}")).await;
        assert!(world.operator.exit_status().is_none());
        world.kill_and_restart().await;
    }
    // Two newcomers and two renames, in turn: nothing else was written.
    let operations = [Operation::Create, Operation::Update, Operation::Create, Operation::Update];
    assert_eq!(mutations(&world, seq).iter().map(|(operation, _)| *operation).collect::<Vec<_>>(), operations);

    gone_by_policy(&world, &ids).await;
    for (crd, schema) in CRDS.iter().zip(&schemas) {
        world.set_schema(crd, schema).await;
    }
    // The rules are back as soon as a bad object is refused again.
    let strict = async || {
        let bad = serde_json::from_value(manifest(Kind::Cluster, "strict", &json!({ "name": "" }))).unwrap();
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        match api(&client, Kind::Cluster).create(&dry, &bad).await {
            Err(kube::Error::Api(status)) if status.code == 422 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    };
    wait_until(SOON, "the rules are back", strict).await.unwrap();
    gone_under_rules(&world, &ids).await;
    corrected(&world, &client, &rows, &names).await;
    deleted(&world, &client, &rows, &names).await;
}

fn mutations(world: &World, seq: u64) -> Vec<(Operation, Option<String>)> {
    let journal = world.simulator.journal_since(seq).into_iter();
    let all = journal.filter_map(|entry| Some((entry.operation?, entry.path_id)));
    all.filter(|(operation, _)| operation.is_mutation()).collect()
}

/// A status of the wrong shape is written anew, from the annotations and from what the control plane says.
async fn break_status(world: &World, client: &Client, id: Uuid) {
    let api = api(client, Kind::Cluster);
    for status in [json!("in order"), json!({ "uuid": 7, "conditions": 7, "drift": {} })] {
        let patch = json!([{ "op": "replace", "path": "/status", "value": status }]);
        world
            .kubectl(&[
                "patch",
                "rcl",
                "status",
                "-n",
                TEAM,
                "--subresource=status",
                "--type=json",
                "-p",
                &patch.to_string(),
            ])
            .await;
        let object = world.until_ready("status").await;
        assert_eq!(uuid(&object), id);
        assert!(object["status"]["drift"].is_null() || object["status"]["drift"].is_array(), "{object}");
    }
    assert!(api.get("status").await.unwrap().data["status"]["conditions"].is_array());
}

/// Stores every bad spec of the table and returns the names of the objects.
async fn store(client: &Client, rows: &[BadSpec]) -> Vec<String> {
    let mut names = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let name = format!("bad-{number}");
        let object: DynamicObject = serde_json::from_value(manifest(row.kind, &name, &row.spec)).unwrap();
        let api = api(client, row.kind);
        insist(row.name, async || api.create(&PostParams::default(), &object).await).await;
        names.push(name);
    }
    names
}

/// Every bad object says InvalidSpec (a control plane: ConnectionInvalid) and names the field that is wrong.
async fn all_are_explained(world: &World, client: &Client, rows: &[BadSpec], names: &[String], round: &str) {
    let what = format!("every bad object is explained, {round}");
    let result = wait_until(SOON, &what, async || {
        let mut all = BTreeMap::new();
        for kind in [Kind::Cluster, Kind::ControlPlane] {
            for object in api(client, kind).list(&Default::default()).await.map_err(|error| error.to_string())?.items {
                all.insert((kind == Kind::Cluster, object.metadata.name.clone().unwrap()), object.data);
            }
        }
        let find = |row: &BadSpec, name: &String| &all[&(row.kind == Kind::Cluster, name.clone())];
        let wrong: Vec<_> =
            rows.iter().zip(names).filter_map(|(row, name)| explained(row, find(row, name)).err()).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    });
    if let Err(error) = result.await {
        panic!("{error}\n--- operator\n{}", world.tail());
    }
}

fn explained(row: &BadSpec, object: &Value) -> Result<(), String> {
    let reason = match row.kind {
        Kind::Cluster => "InvalidSpec",
        Kind::ControlPlane => "ConnectionInvalid",
    };
    for (kind, status) in [("Ready", "False"), ("Stalled", "True")] {
        if condition(object, kind) != (status.to_owned(), reason.to_owned()) {
            return Err(format!("{}: {kind} is not {status}/{reason}: {}", row.name, object["status"]));
        }
    }
    let said = message(object, "Ready");
    let field = row.field.strip_prefix("spec.").unwrap_or(row.field);
    // A field that is missing has no path of its own: the one above is named, and the missing one quoted.
    let last = field.rsplit('.').next().unwrap();
    if said.contains(field) || said.contains(&format!("missing field `{last}`")) {
        Ok(())
    } else {
        Err(format!("{}: {field} is not named by {said:?}", row.name))
    }
}

/// Broken objects that own a registration go by what can still be read of their policy.
async fn gone_by_policy(world: &World, ids: &BTreeMap<&str, Uuid>) {
    let seq = world.simulator.last_seq();
    for name in ["number", "policy", "text"] {
        world.delete(name).await;
    }
    for name in ["number", "policy", "text"] {
        world.until_gone(name).await;
    }
    // The policy of `number` is the default; a policy that cannot be read deletes nothing.
    assert_eq!(mutations(world, seq), [(Operation::Delete, Some(ids["number"].to_string()))]);
    let live = |name: &str| world.simulator.live_clusters().iter().any(|record| record.uuid == ids[name]);
    assert!(!live("number") && live("policy") && live("text"));
}

/// When the rules are back, an old value that breaks one holds nothing up: the API server judges what changes. A value of
/// the wrong type does hold every write up, the finalizer's removal too: an Event names the field, and its correction
/// is enough.
async fn gone_under_rules(world: &World, ids: &BTreeMap<&str, Uuid>) {
    let seq = world.simulator.last_seq();
    world.delete("long").await;
    world.until_gone("long").await;
    world.delete("stuck").await;
    wait_until(SOON, "an Event says what is in the way", async || {
        let field = "involvedObject.name=stuck,reason=InvalidSpec";
        let events = world.kubectl(&["get", "events", "-n", TEAM, "--field-selector", field, "-o", "json"]).await;
        let events: Value = serde_json::from_str(&events).unwrap();
        let refused = |event: &Value| {
            event["message"].as_str().is_some_and(|m| m.contains("refuses every write") && m.contains("spec.version"))
        };
        let found = events["items"].as_array().unwrap().iter().filter(|event| refused(event)).count();
        if found == 1 { Ok(()) } else { Err(format!("{found} such Events: {events}")) }
    })
    .await
    .unwrap();
    world.patch("stuck", json!({ "spec": { "version": "2.24" } })).await;
    world.until_gone("stuck").await;
    let delete = |name: &str| (Operation::Delete, Some(ids[name].to_string()));
    assert_eq!(mutations(world, seq), [delete("long"), delete("stuck")], "each once");
}

/// A broken object that is put right is served like any other.
async fn corrected(world: &World, client: &Client, rows: &[BadSpec], names: &[String]) {
    let (_, name) = rows.iter().zip(names).find(|(row, _)| row.name == "name of the wrong type").unwrap();
    let api = api(client, Kind::Cluster);
    let mut object = api.get(name).await.unwrap();
    object.data["spec"] = json!({ "name": "put right" });
    api.replace(name, &PostParams::default(), &object).await.unwrap();
    world.until_ready(name).await;
    assert_eq!(world.simulator.clusters_named("put right").len(), 1);
}

/// Whatever is wrong with an object, it can be deleted.
async fn deleted(world: &World, client: &Client, rows: &[BadSpec], names: &[String]) {
    for (row, name) in rows.iter().zip(names) {
        api(client, row.kind).delete(name, &Default::default()).await.unwrap();
    }
    wait_until(SOON, "the broken objects are gone", async || {
        let clusters = api(client, Kind::Cluster).list(&Default::default()).await.map_err(|error| error.to_string())?;
        let left: Vec<_> =
            clusters.items.iter().filter_map(|o| o.metadata.name.clone()).filter(|n| names.contains(n)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await
    .unwrap();
    world.until_ready("sound").await;
}
