//! The whole life of a registration on every control plane version that can be imitated.
//!
//! One operator with seven control planes, one for each profile. What differs between them stands in [`Plane`].
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../e2e/world.rs"]
mod world;

use std::time::Duration;

use futures::future::join_all;
use runai_simulator::{
    AgentCommand, Config, FaultAction, FaultMatch, FaultRule, JournalEntry, Operation, Profile, ResetPhase,
    SeedCluster, Simulator,
};
use serde_json::{Value, json};
use testbed::{OPERATOR_NAMESPACE, wait_until};
use uuid::Uuid;

use world::{SHORT_DOUBT, Setup, World, condition, control_plane, uuid};

/// Seven control planes share two cores with an API server.
const LONG: Duration = Duration::from_secs(150);
/// From this cluster version on a deletion is graceful, if the control plane knows that.
const GRACEFUL: &str = "2.20.4";

/// One control plane and what is different about it.
struct Plane {
    profile: Profile,
    /// Of the `RunaiControlPlane`, and the beginning of the names of its objects.
    name: &'static str,
    simulator: Simulator,
    /// Keys of the connection Secret beside `url`.
    credentials: Value,
    /// Which token endpoint is used.
    token_api: &'static str,
    /// Answer to the deletion of a connected cluster.
    graceful: u16,
}

impl Plane {
    fn all() -> Vec<Self> {
        Profile::ALL.into_iter().map(Self::of).collect()
    }

    fn of(profile: Profile) -> Self {
        let client = json!({ "clientID": "operator", "clientSecret": "operator-secret" });
        let app = json!({ "appID": "operator", "appSecret": "operator-secret" });
        let (name, credentials, token_api, graceful) = match profile {
            Profile::Cp218 => ("cp-2-18", app, "V1", 204),
            Profile::Cp220 => ("cp-2-20", client, "V1", 202),
            Profile::Cp222 => ("cp-2-22", client, "V1", 202),
            Profile::Cp224 => ("cp-2-24", client, "V2", 202),
            Profile::Cp225 => ("cp-2-25", client, "V1", 202),
            Profile::Cp30 => ("cp-3-0", client, "V2", 202),
            Profile::StrictDoc => ("strict-doc", client, "V1", 202),
        };
        let mut config = Config::for_profile(profile);
        // Other uuids on each.
        config.seed = 100 + profile as u64;
        config.delete.graceful_seconds = 2.0;
        Self { profile, name, simulator: Simulator::start(config).unwrap(), credentials, token_api, graceful }
    }

    async fn connect(&self, world: &World) {
        let mut data = self.credentials.clone();
        data["url"] = json!(self.simulator.url());
        world
            .apply(&json!({
                "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                "metadata": { "name": self.name, "namespace": OPERATOR_NAMESPACE }, "stringData": data,
            }))
            .await;
        let spec = json!({ "pollInterval": "5s", "adoptionNamespaces": {}, "tokenApi": self.token_api });
        world.apply(&control_plane(self.name, self.name, &spec)).await;
    }

    /// Name of an object, which is the name of its registration too.
    fn object(&self, scenario: &str) -> String {
        format!("{}-{scenario}", self.name)
    }

    /// Applies an object of this control plane.
    async fn apply(&self, world: &World, scenario: &str, mut spec: Value) -> String {
        let name = self.object(scenario);
        spec["controlPlaneRef"] = json!({ "name": self.name });
        world.cluster(&name, spec).await;
        name
    }

    async fn until_ready(&self, world: &World, name: &str) -> Value {
        world.until_within(LONG, name, "Ready", |object| condition(object, "Ready").0 == "True").await
    }

    /// Requests of one kind about one registration, in order.
    fn requests(&self, operation: Operation, id: Uuid) -> Vec<JournalEntry> {
        let mut entries = self.simulator.journal();
        entries.retain(|entry| {
            let path = entry.path_id.as_deref().and_then(|path| path.parse().ok());
            entry.operation == Some(operation) && path == Some(id)
        });
        entries
    }

    fn creates(&self, name: &str) -> Vec<JournalEntry> {
        let mut entries = self.simulator.journal();
        entries.retain(|entry| {
            entry.operation == Some(Operation::Create) && entry.body.as_ref().is_some_and(|body| body["name"] == name)
        });
        entries
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_registration_on_every_profile() {
    let world = World::start(Setup::default().args(&SHORT_DOUBT)).await;
    let planes = Plane::all();
    for plane in &planes {
        plane.connect(&world).await;
    }
    // Side by side on all control planes, with objects of their own: most of it is waiting.
    join_all(planes.iter().map(|plane| async {
        tokio::join!(
            lives(&world, plane),
            is_adopted_and_stays(&world, plane),
            survives_a_lost_answer(&world, plane),
            goes_at_once_when_it_never_connected(&world, plane),
            is_deleted_by_somebody_else(&world, plane),
        )
    }))
    .await;
    for plane in &planes {
        // Where there is no minimal list, asking for it reads the registration "minimal".
        let learns = |entry: &JournalEntry| entry.path_id.as_deref() == Some("minimal");
        let forbidden: Vec<_> = plane
            .simulator
            .journal()
            .into_iter()
            .filter(|entry| matches!(entry.status, Some(400 | 405 | 429)) && !learns(entry))
            .collect();
        assert!(forbidden.is_empty(), "{}: requests that no control plane understands: {forbidden:?}", plane.name);
        println!("{}: {} requests", plane.name, plane.simulator.counters().requests);
    }
    is_upgraded(&world, planes.iter().find(|plane| plane.profile == Profile::Cp224).unwrap()).await;
}

/// Created, connected, renamed, deleted gracefully where that exists.
async fn lives(world: &World, plane: &Plane) {
    let name = plane.apply(world, "life", json!({ "domain": "https://life.example.com", "version": GRACEFUL })).await;
    let object = plane.until_ready(world, &name).await;
    let id = uuid(&object);
    assert_eq!(condition(&object, "Connected"), ("False".to_owned(), "WaitingToConnect".to_owned()), "{name}");
    let record = plane.simulator.cluster(id).unwrap();
    assert_eq!((record.name, record.domain.as_deref()), (name.clone(), Some("https://life.example.com")));

    plane.simulator.agent(id, AgentCommand::start()).unwrap();
    world.until_within(LONG, &name, "Connected", |object| condition(object, "Connected").0 == "True").await;

    let renamed = plane.object("life-2");
    world.patch(&name, json!({ "spec": { "name": renamed } })).await;
    world.until_within(LONG, &name, "renamed", |object| object["status"]["name"] == renamed.as_str()).await;
    assert_eq!(plane.simulator.cluster(id).unwrap().name, renamed);
    assert_eq!(plane.requests(Operation::Update, id).len(), 1, "{name}");

    world.delete(&name).await;
    world.until_gone_within(LONG, &name).await;
    deleted_once(world, plane, id, plane.graceful);
    assert_eq!(plane.creates(&name).len(), 1, "{name}");
}

/// Exactly one DELETE was sent, it was answered so, and the registration is gone.
fn deleted_once(world: &World, plane: &Plane, id: Uuid, status: u16) {
    let statuses: Vec<_> = plane.requests(Operation::Delete, id).iter().map(|entry| entry.status).collect();
    assert_eq!(statuses, [Some(status)], "{} {id}\n{}", plane.name, world.tail());
    assert!(plane.simulator.cluster(id).unwrap().deleted_at.is_some(), "{}", plane.name);
}

/// Taken over by uuid, renamed to what its object says, and left behind when that goes.
async fn is_adopted_and_stays(world: &World, plane: &Plane) {
    let seed = SeedCluster { version: Some(GRACEFUL.to_owned()), ..SeedCluster::named("by hand").connected() };
    let id = plane.simulator.seed(seed).unwrap();
    let name = plane.apply(world, "adopted", json!({ "adoption": { "uuid": id } })).await;
    let object = world
        .until_within(LONG, &name, "adopted", |object| {
            condition(object, "Synced") == ("True".to_owned(), "Adopted".to_owned())
        })
        .await;
    assert_eq!((uuid(&object), object["status"]["origin"].as_str()), (id, Some("Adopted")), "{name}");
    assert_eq!(plane.simulator.cluster(id).unwrap().name, name);
    world.delete(&name).await;
    world.until_gone_within(LONG, &name).await;
    assert!(plane.simulator.cluster(id).unwrap().deleted_at.is_none(), "{name}: adopted ones stay");
    assert!(plane.requests(Operation::Delete, id).is_empty() && plane.creates(&name).is_empty(), "{name}");
}

/// The POST is committed and its answer lost: the registration is found again, not made twice.
async fn survives_a_lost_answer(world: &World, plane: &Plane) {
    let name = plane.object("lost");
    let matches = FaultMatch { operation: Some(Operation::Create), name: Some(name.clone()), ..FaultMatch::default() };
    let lost = FaultRule::new(FaultAction::Reset { phase: ResetPhase::Post }).times(1);
    plane.simulator.add_fault(FaultRule { matches, ..lost });
    plane.apply(world, "lost", json!({ "version": GRACEFUL })).await;
    let object = plane.until_ready(world, &name).await;
    let records = plane.simulator.clusters_named(&name);
    assert_eq!(records.iter().map(|record| record.uuid).collect::<Vec<_>>(), [uuid(&object)], "{name}");
    let statuses: Vec<_> = plane.creates(&name).iter().map(|entry| (entry.status, entry.committed)).collect();
    assert_eq!(statuses, [(None, true)], "{name}");
    // Never connected, so that a graceful deletion would wait for ever: this one is ended by force.
    world.patch(&name, json!({ "spec": { "deletion": { "forceAfter": "2s" } } })).await;
    world.delete(&name).await;
    world.until_gone_within(LONG, &name).await;
    let queries: Vec<_> = plane
        .requests(Operation::Delete, records[0].uuid)
        .into_iter()
        .map(|entry| (entry.query, entry.status))
        .collect();
    let forced = ("force=true".to_owned(), Some(204));
    let expected = if plane.graceful == 204 { vec![204] } else { vec![202, 204] };
    assert_eq!(queries.iter().map(|(_, status)| status.unwrap()).collect::<Vec<_>>(), expected, "{queries:?}");
    assert!(plane.graceful == 204 || queries.last() == Some(&forced), "{queries:?}");
}

/// Without a version nothing is known of the agent: every control plane deletes at once.
async fn goes_at_once_when_it_never_connected(world: &World, plane: &Plane) {
    let name = plane.apply(world, "brief", json!({})).await;
    let id = uuid(&plane.until_ready(world, &name).await);
    world.delete(&name).await;
    world.until_gone_within(LONG, &name).await;
    deleted_once(world, plane, id, 204);
}

/// Somebody deletes the registration: the object says so, makes no other one, and can go.
async fn is_deleted_by_somebody_else(world: &World, plane: &Plane) {
    let name = plane.apply(world, "robbed", json!({})).await;
    let id = uuid(&plane.until_ready(world, &name).await);
    // Older than any read may be, so that an absence counts.
    plane.simulator.advance(Duration::from_secs(120));
    plane.simulator.remove(id).unwrap();
    world
        .until_within(LONG, &name, "ExternallyDeleted", |object| {
            condition(object, "Stalled") == ("True".to_owned(), "ExternallyDeleted".to_owned())
        })
        .await;
    world.delete(&name).await;
    world.until_gone_within(LONG, &name).await;
    assert_eq!(plane.creates(&name).len(), 1, "{name}");
}

/// The control plane becomes a 3.0 while an object lives on it.
async fn is_upgraded(world: &World, plane: &Plane) {
    let name = plane.apply(world, "upgraded", json!({ "version": GRACEFUL })).await;
    let id = uuid(&plane.until_ready(world, &name).await);
    plane.simulator.configure(|config| config.profile = Profile::Cp30);
    let seq = plane.simulator.last_seq();
    plane.simulator.agent(id, AgentCommand::start()).unwrap();
    let object =
        world.until_within(LONG, &name, "Connected", |object| condition(object, "Connected").0 == "True").await;
    assert_eq!(uuid(&object), id);
    let younger = plane.apply(world, "younger", json!({})).await;
    plane.until_ready(world, &younger).await;
    for name in [&younger, &name] {
        world.delete(name).await;
        world.until_gone_within(LONG, name).await;
    }
    deleted_once(world, plane, id, 202);
    let gone = wait_until(LONG, "nothing left", async || match plane.simulator.live_clusters().len() {
        // The adopted one.
        1 => Ok(()),
        more => Err(more),
    });
    gone.await.unwrap();
    let changes = plane.simulator.journal_since(seq).into_iter().filter_map(|entry| entry.operation);
    let changes: Vec<_> = changes.filter(|operation| operation.is_mutation()).collect();
    assert_eq!(changes, [Operation::Create, Operation::Delete, Operation::Delete]);
}
