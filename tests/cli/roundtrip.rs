//! Out of a control plane, into Kubernetes, and away again: nothing of it may change a registration.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use runai_simulator::{ClusterView, RecordPatch, SeedCluster, Simulator};
use serde_json::{Value, json};
use testbed::wait_until;

use crate::tool::{Tool, changes};
use crate::world::{Setup, TEAM, World, condition};

/// Registrations that are exported.
const FLEET: usize = 1000;
/// A deadline that is never reached when all is well.
const LIMIT: Duration = Duration::from_secs(240);

/// Names that a text format could get wrong.
const ODD: [&str; 24] = [
    "yes",
    "on",
    "NO",
    "null",
    "~",
    "1e3",
    "0x10",
    "012",
    "1_000",
    "190:20:30",
    "2026-01-01",
    "a: b",
    "# no comment",
    "- item",
    "'quoted'",
    "\"double\"",
    "back\\slash",
    "{{ template }}",
    "%percent",
    "@at `tick`",
    "line\u{2028}separator",
    "\u{feff}mark",
    "größte Größe \u{1f680}",
    "<<",
];

/// A tenant with a registration in every state, under every kind of name and domain.
fn fill(simulator: &Simulator) {
    let states = ["", "Disconnected", "MissingPrerequisites", "ServiceIssues", "Unknown", "SomethingNew"];
    for number in 0..FLEET {
        let name = match number {
            0..24 => ODD[number].to_owned(),
            24 => "n".repeat(253),
            25 => "\u{fc}".repeat(253),
            26..30 => "namesake".to_owned(),
            30 => "NameSake".to_owned(),
            _ if number % 3 == 0 => format!("GPU Cluster {number}"),
            _ => format!("gpu-{number}"),
        };
        let domain = match number % 5 {
            0 => None,
            1 => Some(format!("https://gpu-{number}.example.com")),
            2 => Some(format!("gpu-{number}.example.com:8443")),
            3 => Some(format!("HTTP://GPU-{number}.Example.Com./")),
            _ => Some(format!("https://gpu-{number}.example.com/a/path")),
        };
        let version = (number % 2 == 0).then(|| "2.24".to_owned());
        let connected = number % 4 == 0;
        let uuid = simulator.seed(SeedCluster { domain, version, connected, ..SeedCluster::named(&name) }).unwrap();
        let state = states[number % states.len()];
        if !state.is_empty() {
            let patch = RecordPatch { force_state: Some(state.to_owned()), ..RecordPatch::default() };
            simulator.patch(uuid, patch).unwrap();
        }
    }
    // And what is left out.
    simulator.seed(SeedCluster::named(" padded ")).unwrap();
    let gone = simulator.seed(SeedCluster::named("gone")).unwrap();
    simulator.remove(gone).unwrap();
    let going = SeedCluster { delete_requested_at: Some(simulator.now()), ..SeedCluster::named("going") };
    let going = simulator.seed(going).unwrap();
    simulator.patch(going, RecordPatch { stuck_delete: Some(true), ..RecordPatch::default() }).unwrap();
}

/// What must stay as it is, of every registration that is not deleted.
fn registrations(simulator: &Simulator) -> BTreeMap<String, Value> {
    let line = |record: ClusterView| {
        let ClusterView { uuid, tenant_id, name, domain, created_at, delete_requested_at, .. } = record;
        (uuid.to_string(), json!([tenant_id, name, domain, created_at, delete_requested_at]))
    };
    simulator.live_clusters().into_iter().map(line).collect()
}

fn api(world: &World, client: &kube::Client) -> Api<DynamicObject> {
    let _ = world;
    let kind = GroupVersionKind::gvk("runai-operator.io", "v1alpha1", "RunaiCluster");
    Api::namespaced_with(client.clone(), TEAM, &ApiResource::from_gvk_with_plural(&kind, "runaiclusters"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_registrations_are_exported_adopted_and_let_go_without_a_change() {
    let began = Instant::now();
    let lap = |what: &str| eprintln!("{:6.1} s {what}", began.elapsed().as_secs_f64());
    let setup = Setup { log: "info", ..Setup::default() };
    let world = World::start(setup.control_plane(json!({ "pollInterval": "5s", "adoptionNamespaces": {} }))).await;
    world.cluster("mine", json!({})).await;
    world.until_ready("mine").await;
    fill(&world.simulator);
    let before = registrations(&world.simulator);
    assert_eq!(before.len(), FLEET + 3);
    let since = world.simulator.last_seq();
    let tool = Tool::of(&world);

    lap("filled");
    let said = tool.run(&["export", "-n", TEAM]).await.exits(0).notes(&[
        "skipped \"mine\" (",
        "RunaiCluster team-a/mine manages it",
        "skipped \" padded \" (",
        "skipped \"going\" (",
        "1000 registrations exported, 3 skipped",
    ]);
    assert_eq!(tool.run(&["export", "-n", TEAM]).await.exits(0).stdout, said.stdout, "the same at every export");
    let options = serde_saphyr::options! { budget: serde_saphyr::budget! { max_documents: 10_000 } };
    let objects: Vec<DynamicObject> = serde_saphyr::from_multiple_with_options(&said.stdout, options).unwrap();
    assert_eq!(objects.len(), FLEET);
    assert_eq!(objects.iter().map(ResourceExt::name_any).collect::<HashSet<_>>().len(), FLEET);

    lap("exported");
    let file = tool.file("all.yaml", &said.stdout);
    let plan = tool.run(&["plan", "-f", &file, "-o", "json"]).await.exits(3).json();
    let adopts = |object: &&Value| object["step"] == "Adopt" && object["writesToControlPlane"] == false;
    assert_eq!(plan["objects"].as_array().unwrap().iter().filter(adopts).count(), FLEET);

    lap("planned");
    // kubectl reads the odd ones itself: its YAML is another one than ours. It would take a minute for all.
    let own: String = said.stdout.split_inclusive("---\n").collect();
    let odd =
        |text: &&str| ODD.iter().any(|name| serde_saphyr::from_str::<Value>(text).unwrap()["spec"]["name"] == *name);
    let odd: Vec<_> = own.split("---\n").filter(|text| !text.is_empty()).filter(odd).collect();
    assert_eq!(odd.len(), ODD.len());
    world.bed.kubectl_apply(&odd.join("---\n")).await.unwrap();
    let client = world.bed.client().await.unwrap();
    let api = api(&world, &client);
    let params = PatchParams::apply("testbed").force();
    let apply = |object: DynamicObject| {
        let (api, params) = (&api, &params);
        async move { api.patch(&object.name_any(), params, &Patch::Apply(&object)).await.map(drop) }
    };
    let applied: Vec<_> = stream::iter(objects).map(apply).buffer_unordered(16).collect().await;
    applied.into_iter().collect::<Result<Vec<()>, _>>().unwrap();

    lap("applied");
    // Lists of a thousand objects are work for the API server, too: not more than one a second.
    let adopted = async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let list = api.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let objects: Vec<Value> = list.items.iter().map(|object| serde_json::to_value(object).unwrap()).collect();
        let ready = |object: &&Value| condition(object, "Synced") == ("True".to_owned(), "Adopted".to_owned());
        match objects.iter().filter(ready).count() {
            FLEET => Ok(()),
            count => {
                let other = objects.iter().find(|object| !ready(object)).map(|object| object["status"].to_string());
                Err(format!("{count} adopted; one that is not: {other:?}"))
            }
        }
    };
    wait_until(LIMIT, "all to be adopted", adopted).await.unwrap_or_else(|error| panic!("{error}\n{}", world.tail()));
    assert_eq!(changes(&world.simulator, since), Vec::<String>::new());
    assert_eq!(registrations(&world.simulator), before);

    lap("adopted");
    tool.run(&["plan", "-f", &file]).await.exits(0);
    let inventory = tool.run(&["inventory", "-o", "json"]).await.exits(0).json();
    let counts = json!({ "total": FLEET + 3, "managed": FLEET + 1, "unmanaged": 1, "claimedTwice": 0, "deleting": 1 });
    assert_eq!(inventory["counts"], counts);
    tool.run(&["export", "-n", TEAM]).await.exits(0).notes(&["0 registrations exported, 1003 skipped"]);

    lap("looked at again");
    world.patch("mine", json!({ "spec": { "deletion": { "policy": "Orphan" } } })).await;
    api.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    let gone = async || {
        let list = api.list_metadata(&ListParams::default().limit(1)).await.map_err(|error| error.to_string())?;
        let more = list.metadata.remaining_item_count;
        if list.items.is_empty() { Ok(()) } else { Err(format!("one and {more:?} more left")) }
    };
    wait_until(LIMIT, "all to go", gone).await.unwrap_or_else(|error| panic!("{error}\n{}", world.tail()));
    assert_eq!(changes(&world.simulator, since), Vec::<String>::new());
    assert_eq!(registrations(&world.simulator), before, "all registrations are left");
    lap("gone");
}
