//! The inventory against the simulated control plane: one list for everybody, what it tells, and what it must not
//! forget.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client_support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use client_support::{Act, Hostile, client_with, json, new_cluster, patient, record, secret, settings, until};
use runai_cluster_operator::domain::{Absence, ClusterName, ClusterUuid, Reason, Sighting, TenantId};
use runai_cluster_operator::inventory::{Change, Counts, Inventory, Options};
use runai_cluster_operator::runai::{ErrorKind, Limits, Operation, RunaiClient, TokenApi};
use runai_cluster_operator::telemetry::health::{Liveness, Pulse};
use runai_simulator::{
    Access, Config, FaultAction, FaultRule, Garbage, OldTokens, Operation as Endpoint, Phase, RecordPatch, ResetPhase,
    SeedCluster, Simulator,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

fn client(url: &str, limits: Limits) -> RunaiClient {
    client_with(settings(&secret(url, "operator", "operator-secret"), TokenApi::V1, None, limits))
}

fn every(interval: Duration) -> Options {
    Options { interval, ..Options::default() }
}

const OFTEN: Duration = Duration::from_millis(100);
/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

struct World {
    simulator: Simulator,
    inventory: Inventory,
    changes: UnboundedReceiver<Change>,
}

impl World {
    /// Ready, that is with its first list.
    async fn new(names: &[&str], interval: Duration) -> Self {
        Self::with(Config::default().full_lists_only(), names, every(interval)).await
    }

    async fn with(config: Config, names: &[&str], options: Options) -> Self {
        let simulator = Simulator::start(config).unwrap();
        for name in names {
            seed(&simulator, name);
        }
        let (sender, changes) = unbounded_channel();
        let inventory = Inventory::start(client(simulator.url(), patient()), options, sender, Pulse::default());
        let mut world = Self { simulator, inventory, changes };
        assert!(matches!(world.next().await, Change::Ready), "the first list tells that it is there");
        world
    }

    async fn next(&mut self) -> Change {
        tokio::time::timeout(Duration::from_secs(20), self.changes.recv()).await.expect("a change").expect("a poller")
    }

    /// The next changed records, as uuid with name before and after.
    async fn changed(&mut self) -> Vec<(ClusterUuid, Option<String>, Option<String>)> {
        loop {
            if let Change::Records(changed) = self.next().await {
                return changed.into_iter().map(|one| (one.uuid, one.names.0, one.names.1)).collect();
            }
        }
    }

    fn lists(&self) -> u64 {
        self.requests(Endpoint::List)
    }

    fn requests(&self, endpoint: Endpoint) -> u64 {
        self.simulator.counters().requests_per_operation.get(&endpoint).copied().unwrap_or_default()
    }

    fn known(&self) -> Vec<String> {
        let snapshot = self.inventory.snapshot().unwrap();
        let mut names: Vec<_> = snapshot.iter().map(|record| record.name.clone()).collect();
        names.sort();
        names
    }
}

fn seed(simulator: &Simulator, name: &str) -> ClusterUuid {
    ClusterUuid(simulator.seed(SeedCluster { name: name.to_owned(), ..SeedCluster::default() }).unwrap())
}

fn outage() -> FaultRule {
    let action = FaultAction::Status { code: 500, body: None, headers: [].into(), phase: Phase::Pre };
    FaultRule::on(Endpoint::List, action).named("outage")
}

/// It beats while there is nothing to do, not during a look, and again after it.
#[tokio::test]
async fn the_poller_says_that_it_lives() {
    const AGE: Duration = Duration::from_secs(1);
    let simulator = Simulator::start(Config::default().full_lists_only()).unwrap();
    let liveness = Liveness::default();
    let (sender, _changes) = unbounded_channel();
    let pulse = liveness.watch("inventory", AGE);
    let inventory = Inventory::start(client(simulator.url(), patient()), every(NEVER), sender, pulse);
    until("the first list", || async { inventory.snapshot().is_some() }).await;
    let idle = Instant::now();
    until("a beat without a look", || async { idle.elapsed() > AGE * 2 && liveness.stale().is_empty() }).await;

    let slow = FaultAction::Latency { ms: 4000, max_ms: 4000, phase: Phase::Pre };
    simulator.add_fault(FaultRule::on(Endpoint::List, slow).times(1));
    let look = tokio::spawn({
        let inventory = inventory.clone();
        async move { inventory.fresh(Instant::now()).await }
    });
    until("a look that takes too long", || async { !liveness.stale().is_empty() }).await;
    assert!(!look.is_finished() && liveness.stale()[0].name == "inventory", "{:?}", liveness.stale());
    assert!(look.await.unwrap().is_ok());
    until("the next beat", || async { liveness.stale().is_empty() }).await;
}

#[tokio::test]
async fn tells_what_came_changed_and_went() {
    let mut world = World::new(&["a"], OFTEN).await;
    assert_eq!(world.known(), ["a"]);
    let text = |name: &str| Some(name.to_owned());
    let uuid = seed(&world.simulator, "b");
    assert_eq!(world.changed().await, [(uuid, None, text("b"))]);
    world.simulator.rename(uuid.0, "c").unwrap();
    assert_eq!(world.changed().await, [(uuid, text("b"), text("c"))]);
    world.simulator.remove(uuid.0).unwrap();
    assert_eq!(world.changed().await, [(uuid, text("c"), None)]);
    assert_eq!(world.inventory.snapshot().unwrap().counts(), Counts { total: 1, deleting: 0 });
    assert_eq!(world.inventory.snapshot().unwrap().tenant(), Some(TenantId(1001)));
    let health = world.inventory.health();
    assert!(!health.stale && health.consecutive_failures == 0 && health.last_error.is_none());
}

#[tokio::test]
async fn in_steady_state_there_is_one_list_per_interval_and_nothing_else() {
    let mut world = World::new(&["a", "b", "c"], OFTEN).await;
    assert!(matches!(world.next().await, Change::Capabilities), "asked once for a minimal list that is not there");
    let (lists, requests, started) = (world.lists(), world.simulator.counters().requests, Instant::now());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let lists = world.lists() - lists;
    let others = world.simulator.counters().requests - requests - lists;
    // At most one per shortest interval (nine tenths), however slow the machine is.
    let most = started.elapsed().as_secs_f64() / 0.09 + 1.0;
    assert!(lists as f64 <= most && lists >= 5, "{lists} lists in {:?}", started.elapsed());
    assert_eq!(others, 0, "nothing but lists");
    assert!(world.changes.try_recv().is_err(), "and nothing is told");
    assert!(
        world
            .simulator
            .journal()
            .iter()
            .all(|entry| entry.operation != Some(Endpoint::List) || entry.query.contains("verbosity=full"))
    );
}

/// Polls that may look at the minimal list.
async fn glancing(config: Config, names: &[&str]) -> World {
    World::with(config, names, every(OFTEN)).await
}

async fn until_requests(world: &World, endpoint: Endpoint, more: u64) {
    let want = world.requests(endpoint) + more;
    until(&format!("{more} more requests for {endpoint:?}"), async || world.requests(endpoint) >= want).await;
}

#[tokio::test]
async fn while_nothing_is_new_polls_look_at_the_minimal_list() {
    let mut world = glancing(Config::default(), &["a", "b", "c"]).await;
    let lists = world.lists();
    until_requests(&world, Endpoint::MinimalList, 10).await;
    assert_eq!(world.lists(), lists, "no full list for ten polls");
    assert!(matches!(world.next().await, Change::Capabilities), "what the control plane can do is told once");
    assert!(world.changes.try_recv().is_err(), "and nothing else");
    let health = world.inventory.health();
    assert!(!health.stale && health.last_success.unwrap() < Duration::from_secs(10), "{health:?}");
}

#[tokio::test]
async fn whatever_a_glance_shows_a_full_list_tells() {
    let mut world = glancing(Config::default(), &["a"]).await;
    let text = |name: &str| Some(name.to_owned());
    until_requests(&world, Endpoint::MinimalList, 2).await;
    let uuid = seed(&world.simulator, "b");
    assert_eq!(world.changed().await, [(uuid, None, text("b"))]);
    until_requests(&world, Endpoint::MinimalList, 2).await;
    world.simulator.rename(uuid.0, "c").unwrap();
    assert_eq!(world.changed().await, [(uuid, text("b"), text("c"))]);
    until_requests(&world, Endpoint::MinimalList, 2).await;
    let patch = RecordPatch { force_state: Some("ServiceIssues".to_owned()), ..RecordPatch::default() };
    world.simulator.patch(uuid.0, patch).unwrap();
    assert_eq!(world.changed().await, [(uuid, text("c"), text("c"))]);
    until_requests(&world, Endpoint::MinimalList, 2).await;
    world.simulator.remove(uuid.0).unwrap();
    assert_eq!(world.changed().await, [(uuid, text("c"), None)]);
    until_requests(&world, Endpoint::MinimalList, 2).await;
}

#[tokio::test]
async fn a_deletion_under_way_is_looked_at_by_id_and_many_in_full() {
    let stuck = |world: &World, uuid: ClusterUuid| {
        let now = Some(jiff::Timestamp::now());
        let asked = RecordPatch { delete_requested_at: now, stuck_delete: Some(true), ..RecordPatch::default() };
        world.simulator.patch(uuid.0, asked).unwrap();
    };
    let mut world = glancing(Config::default(), &["a"]).await;
    let uuid = seed(&world.simulator, "b");
    assert_eq!(world.changed().await.len(), 1);
    stuck(&world, uuid);
    assert_eq!(world.changed().await.len(), 1, "the minimal list hides it, the full one tells");
    until_requests(&world, Endpoint::Minimal, 3).await;
    let lists = world.lists();
    until_requests(&world, Endpoint::Minimal, 5).await;
    assert_eq!(world.lists(), lists, "nothing is new");
    world.simulator.remove(uuid.0).unwrap();
    assert_eq!(world.changed().await.len(), 1, "it is gone");
    // A deletion of our own is known before any list shows it.
    let uuid = seed(&world.simulator, "c");
    assert_eq!(world.changed().await.len(), 1);
    world.inventory.delete_requested(uuid, jiff::Timestamp::now());
    let lists = world.lists();
    until("a full list", async || world.lists() > lists).await;
    // Five at once.
    let many: Vec<_> = (0..5).map(|n| seed(&world.simulator, &format!("many-{n}"))).collect();
    until("five more", async || world.known().len() == 7).await;
    many.iter().for_each(|uuid| stuck(&world, *uuid));
    until("all five", async || world.inventory.snapshot().unwrap().counts().deleting == 5).await;
    let glances = world.requests(Endpoint::MinimalList);
    until_requests(&world, Endpoint::List, 5).await;
    assert!(world.requests(Endpoint::MinimalList) <= glances + 1, "every poll is a full list");
}

#[tokio::test]
async fn a_tenant_of_several_pages_is_read_to_the_end() {
    let names: Vec<_> = (0..1100).map(|n| format!("n{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut world = glancing(Config::default(), &names).await;
    let lists = world.lists();
    until_requests(&world, Endpoint::MinimalList, 9).await;
    assert_eq!(world.lists(), lists, "three pages make a poll that shows nothing new");
    let uuid = seed(&world.simulator, "last");
    assert_eq!(world.changed().await[0].0, uuid);
}

#[tokio::test]
async fn minimal_lists_that_are_no_use_are_left_alone() {
    let outage = |code, phase| FaultAction::Status { code, body: None, headers: [].into(), phase };
    // No such list: asked for once.
    let world = glancing(Config::for_profile(runai_simulator::Profile::Cp224), &["a"]).await;
    until_requests(&world, Endpoint::List, 5).await;
    assert_eq!(world.requests(Endpoint::Get), 1, "without the endpoint the path is that of a registration");
    // It never agrees with the full list: given up after three attempts.
    let mut config = Config::default();
    config.list.never_connected = runai_simulator::NeverConnected::Null;
    let world = glancing(config, &["a"]).await;
    until_requests(&world, Endpoint::List, 8).await;
    assert_eq!(world.requests(Endpoint::MinimalList), 3);
    // It fails: the full list is asked each time.
    let world = glancing(Config::default(), &["a"]).await;
    world.simulator.add_fault(FaultRule::on(Endpoint::MinimalList, outage(500, Phase::Pre)));
    let lists = world.lists();
    until_requests(&world, Endpoint::MinimalList, 3).await;
    until("full lists", async || world.lists() >= lists + 3).await;
    assert!(!world.inventory.health().stale && world.inventory.health().consecutive_failures == 0);
}

#[tokio::test]
async fn a_shorter_interval_counts_at_once() {
    let mut world = World::new(&[], NEVER).await;
    world.inventory.set_options(every(OFTEN));
    seed(&world.simulator, "a");
    assert_eq!(world.changed().await.len(), 1);
}

#[tokio::test]
async fn fresh_looks_are_shared_and_start_after_they_were_asked_for() {
    let world = World::new(&["a"], NEVER).await;
    let before = world.lists();
    let looks = (0..100).map(|_| {
        let inventory = world.inventory.clone();
        tokio::spawn(async move {
            let since = Instant::now();
            let snapshot = inventory.fresh(since).await.unwrap();
            assert!(snapshot.started >= since);
            snapshot.named("a").len()
        })
    });
    for look in futures::future::join_all(looks).await {
        assert_eq!(look.unwrap(), 1);
    }
    let lists = world.lists() - before;
    assert!((1..=2).contains(&lists), "{lists} lists for 100 callers");
    assert!(world.simulator.journal().last().unwrap().query.contains("verbosity=metadata"));
}

#[tokio::test]
async fn fresh_looks_keep_their_distance_but_a_lone_one_hardly_waits() {
    let world = World::new(&["a"], NEVER).await;
    let (before, started) = (world.lists(), Instant::now());
    for _ in 0..6 {
        world.inventory.fresh(Instant::now()).await.unwrap();
    }
    let took = started.elapsed();
    assert_eq!(world.lists() - before, 6, "each is a list of its own when asked one after the other");
    assert!(took >= Duration::from_millis(5 * 250), "{took:?}");
    let old = world.inventory.fresh(started).await.unwrap();
    assert_eq!(world.lists() - before, 6, "a snapshot that is new enough needs no list");
    assert!(old.started >= started);
}

#[tokio::test]
async fn while_changes_queue_fresh_looks_are_few_and_never_late() {
    let world = World::new(&["a"], NEVER).await;
    let queue: Vec<_> = (0..60)
        .map(|_| {
            let client = world.inventory.client().clone();
            tokio::spawn(async move { client.permit(Operation::CreateCluster).await.map(drop) })
        })
        .collect();
    until("the queue is there", || async { world.inventory.client().rate_limit().1 > 20 }).await;
    let (before, started) = (world.lists(), Instant::now());
    world.inventory.fresh(Instant::now()).await.unwrap();
    assert!(world.inventory.client().rate_limit().1 > 0, "a list passes the queue, whose head may be waiting for it");
    while world.inventory.client().rate_limit().1 > 10 {
        world.inventory.fresh(Instant::now()).await.unwrap();
    }
    let (lists, seconds) = (world.lists() - before, started.elapsed().as_secs_f64());
    assert!(lists as f64 <= seconds / 0.25 + 1.0 && lists >= 1, "{lists} lists in {seconds} s");
    for permit in queue {
        permit.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_failed_look_is_told_to_everybody_and_changes_nothing() {
    let mut world = World::new(&["a"], NEVER).await;
    world.simulator.add_fault(outage());
    let looks = (0..50).map(|_| world.inventory.fresh(Instant::now()));
    let results = futures::future::join_all(looks).await;
    assert!(results.iter().all(|look| look.as_ref().is_err_and(|error| error.reason() == Reason::ConnectionFailed)));
    assert!(matches!(world.next().await, Change::Health { ok: false, error: Some(_) }));
    assert_eq!(world.known(), ["a"], "what is known stays known");
    assert!(world.inventory.health().consecutive_failures >= 1);
    world.simulator.remove_fault("outage");
    assert!(matches!(world.next().await, Change::Health { ok: true, error: None }), "told without being asked again");
    assert_eq!(world.inventory.health().consecutive_failures, 0);
}

#[tokio::test]
async fn whatever_a_list_says_instead_is_no_absence() {
    let mut world = World::new(&["a"], OFTEN).await;
    let garbage = |variant| FaultAction::Garbage { status: 200, variant, phase: Phase::Pre };
    let status = |code| FaultAction::Status { code, body: None, headers: [].into(), phase: Phase::Pre };
    let faults = [
        garbage(Garbage::Html),
        garbage(Garbage::Empty),
        garbage(Garbage::EmptyObject),
        garbage(Garbage::Null),
        FaultAction::Truncate { cut: runai_simulator::Cut::Json },
        FaultAction::Truncate { cut: runai_simulator::Cut::Length },
        FaultAction::Reset { phase: ResetPhase::Mid },
        status(404),
        status(403),
        status(204),
    ];
    for fault in faults {
        world.simulator.add_fault(FaultRule::on(Endpoint::List, fault.clone()).named("fault"));
        loop {
            match world.next().await {
                Change::Health { ok: false, .. } => break,
                Change::Records(changed) => panic!("{fault:?} was believed: {changed:?}"),
                Change::Ready | Change::Capabilities | Change::Health { ok: true, .. } => {}
            }
        }
        assert_eq!(world.known(), ["a"], "{fault:?}");
        world.simulator.remove_fault("fault");
        let inventory = world.inventory.clone();
        until("it works again", || async { inventory.health().consecutive_failures == 0 }).await;
    }
}

#[tokio::test]
async fn an_outage_costs_one_request_per_attempt_however_many_ask() {
    let world = World::new(&["a"], NEVER).await;
    world.simulator.add_fault(FaultRule::on(Endpoint::List, FaultAction::Reset { phase: ResetPhase::Pre }));
    let before = world.lists();
    world.inventory.fresh(Instant::now()).await.unwrap_err();
    assert_eq!(world.lists() - before, 3, "the first failure may have been a hiccup");
    // Until the next attempt, a second later at the earliest, everybody gets the known answer without a request.
    let before = world.lists();
    let looks = (0..200).map(|_| world.inventory.fresh(Instant::now()));
    assert!(futures::future::join_all(looks).await.iter().all(Result::is_err));
    assert_eq!(world.lists(), before);
    for failures in 2..=3 {
        let before = world.lists();
        let failed = || async { world.inventory.health().consecutive_failures == failures };
        until("the next attempt failed", failed).await;
        assert_eq!(world.lists() - before, 1, "attempt {failures} is one request");
    }
}

#[tokio::test]
async fn a_list_that_started_before_our_write_does_not_undo_it() {
    // The first list is empty. The second one, which is answered late, does not know of the write.
    let server = Hostile::start(|seen, earlier| match (seen.method.as_str(), earlier) {
        ("POST", _) if !seen.path.ends_with("/token") => {
            Some(Act::Reply(json(201, record(client_support::UUID, "mine"))))
        }
        ("GET", 1) => {
            Some(Act::Drip(b"HTTP/1.1 200 X\r\ncontent-length: 40\r\n\r\n[]".to_vec(), Duration::from_millis(25)))
        }
        _ => None,
    })
    .await;
    let (sender, _changes) = unbounded_channel();
    let inventory = Inventory::start(client(&server.url, patient()), every(NEVER), sender, Pulse::default());
    until("the first list", || async { inventory.snapshot().is_some() }).await;
    let late = tokio::spawn({
        let inventory = inventory.clone();
        async move { inventory.fresh(Instant::now()).await }
    });
    until("the second list is under way", || async { server.count("GET") == 2 }).await;
    let permit = inventory.client().permit(Operation::CreateCluster).await.unwrap();
    let created = inventory.client().create(&new_cluster("mine"), permit).await.unwrap();
    inventory.wrote(created);
    assert_eq!(inventory.snapshot().unwrap().named("mine").len(), 1, "at once");
    let snapshot = late.await.unwrap().unwrap();
    assert_eq!(snapshot.named("mine").len(), 1, "and after the late list");
    let snapshot = inventory.fresh(Instant::now()).await.unwrap();
    assert!(snapshot.named("mine").is_empty(), "a list that started afterwards is believed");
}

#[tokio::test]
async fn our_own_writes_show_at_once_and_free_names_are_told() {
    let mut world = World::new(&[], NEVER).await;
    let uuid = seed(&world.simulator, "a");
    let known = world.inventory.client().get(uuid).await.unwrap().unwrap();
    world.inventory.wrote(known);
    assert_eq!(world.known(), ["a"]);
    assert_eq!(world.changed().await, [(uuid, None, Some("a".into()))]);
    world.inventory.renamed(uuid, &ClusterName::parse("b").unwrap());
    assert_eq!(world.changed().await, [(uuid, Some("a".into()), Some("b".into()))]);
    world.inventory.delete_requested(uuid, jiff::Timestamp::now());
    let snapshot = world.inventory.snapshot().unwrap();
    assert!(snapshot.get(uuid).unwrap().is_deleting());
    assert_eq!(snapshot.counts(), Counts { total: 1, deleting: 1 });
    world.inventory.gone(uuid);
    assert_eq!(world.changed().await, [(uuid, Some("b".into()), None)]);
    assert!(world.known().is_empty());
}

#[tokio::test]
async fn an_absence_is_founded_on_a_list_after_the_404_and_on_the_tenant() {
    let world = World::new(&["other"], NEVER).await;
    let uuid = seed(&world.simulator, "a");
    let Sighting::Present(found) = world.inventory.confirm_absent(uuid).await.unwrap() else { panic!("it is there") };
    assert_eq!(found.name, "a");

    world.simulator.remove(uuid.0).unwrap();
    let lists = world.lists();
    let absent = |tenant| Sighting::Absent(Absence { listed_after: true, tenant: Some(TenantId(tenant)) });
    assert_eq!(world.inventory.confirm_absent(uuid).await.unwrap(), absent(1001));
    assert_eq!(world.lists(), lists + 1, "an older list does not count");
    let tokens = world.simulator.counters().token_requests;

    // Now the list is empty: only a new token tells who answers.
    for cluster in world.simulator.live_clusters() {
        world.simulator.remove(cluster.uuid).unwrap();
    }
    assert_eq!(world.inventory.confirm_absent(uuid).await.unwrap(), absent(1001));
    assert_eq!(world.simulator.counters().token_requests, tokens + 1);
    let swap = FaultAction::SwapTenant { identity: None, tenant_id: 7, old_tokens: OldTokens::Move };
    world.simulator.apply(&swap);
    assert_eq!(world.inventory.confirm_absent(uuid).await.unwrap(), absent(7), "the old token would say 1001");
}

#[tokio::test]
async fn without_all_looks_nothing_is_absent() {
    let faults: [(Endpoint, FaultAction); 5] = [
        (Endpoint::Get, FaultAction::Garbage { status: 404, variant: Garbage::Html, phase: Phase::Pre }),
        (Endpoint::Get, FaultAction::Status { code: 403, body: None, headers: [].into(), phase: Phase::Pre }),
        (Endpoint::Get, FaultAction::Reset { phase: ResetPhase::Pre }),
        (Endpoint::List, FaultAction::Status { code: 500, body: None, headers: [].into(), phase: Phase::Pre }),
        (Endpoint::List, FaultAction::Garbage { status: 200, variant: Garbage::Html, phase: Phase::Pre }),
    ];
    for (endpoint, action) in faults {
        let world = World::new(&["other"], NEVER).await;
        let uuid = ClusterUuid("00000000-0000-4000-8000-000000000001".parse().unwrap());
        world.simulator.add_fault(FaultRule::on(endpoint, action.clone()));
        world.inventory.confirm_absent(uuid).await.expect_err(&format!("{action:?}"));
    }
    let world = World::new(&[], NEVER).await;
    let uuid = ClusterUuid("00000000-0000-4000-8000-000000000001".parse().unwrap());
    let refuse = FaultAction::Status { code: 400, body: None, headers: [].into(), phase: Phase::Pre };
    world.simulator.add_fault(FaultRule::on(Endpoint::Token, refuse));
    let error = world.inventory.confirm_absent(uuid).await.expect_err("an empty list needs a new token");
    assert_eq!(error.reason(), Reason::AuthFailed);
}

#[tokio::test]
async fn a_hidden_deletion_that_a_404_denies_is_still_listed() {
    let world = World::new(&[], NEVER).await;
    let uuid = seed(&world.simulator, "a");
    world.simulator.add_fault(FaultRule::on(
        Endpoint::Get,
        FaultAction::Status { code: 404, body: None, headers: [].into(), phase: Phase::Pre },
    ));
    let seen = world.inventory.confirm_absent(uuid).await.unwrap();
    assert!(matches!(seen, Sighting::Present(record) if record.uuid == uuid));
}

#[tokio::test]
async fn lost_permission_makes_no_record_vanish() {
    let mut world = World::new(&["a"], OFTEN).await;
    world.simulator.apply(&FaultAction::PermissionLoss { identity: None, actions: vec![Access::Read] });
    let error = loop {
        match world.next().await {
            Change::Health { ok: false, error: Some(error) } => break error,
            Change::Capabilities => {}
            other => panic!("it fails, and nothing else: {other:?}"),
        }
    };
    assert_eq!(error.reason(), Reason::Forbidden);
    assert_eq!(world.known(), ["a"]);
}

#[tokio::test]
async fn a_stopped_inventory_answers_who_waits_and_asks_no_more() {
    let world = World::new(&["a"], OFTEN).await;
    let hang = FaultAction::Hang { seconds: 30.0, phase: Phase::Pre };
    world.simulator.add_fault(FaultRule::on(Endpoint::List, hang));
    let waiting = tokio::spawn({
        let inventory = world.inventory.clone();
        async move { inventory.fresh(Instant::now()).await }
    });
    let before = world.lists();
    until("a list hangs", || async { world.lists() > before }).await;
    world.inventory.stop();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Closed);
    assert!(world.inventory.fresh(Instant::now()).await.is_err(), "nor does a later caller hang");
    assert_eq!(world.known(), ["a"], "what is known can still be read");
}

#[tokio::test]
async fn the_poller_ends_with_the_last_handle() {
    let World { simulator, inventory, mut changes } = World::new(&["a"], OFTEN).await;
    let copy = inventory.clone();
    drop(inventory);
    seed(&simulator, "b");
    assert!(changes.recv().await.is_some(), "one handle is enough");
    drop(copy);
    let ended = tokio::time::timeout(Duration::from_secs(20), async { while changes.recv().await.is_some() {} }).await;
    assert!(ended.is_ok(), "the poller let go of its channel");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn logs_hold_no_secret_at_any_level() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let body =
        format!(r#"{{"message":"{}","details":"{}"}}"#, client_support::CANARIES.join(" "), client_support::BODY);
    let server = Hostile::start(move |seen, earlier| match (seen.path.ends_with("/token"), earlier) {
        (true, _) => None,
        (false, 0) => Some(Act::Reply(json(422, &body))),
        (false, 1) => Some(Act::Reply(client_support::html(200))),
        (false, _) => None,
    })
    .await;
    let (sender, mut changes) = unbounded_channel();
    let client = client_support::client(&server.url, patient());
    let _inventory = Inventory::start(client, every(OFTEN), sender, Pulse::default());
    while !matches!(changes.recv().await.unwrap(), Change::Ready) {}
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.matches("listing failed").count(), 2, "{text}");
    // The hostile body lists its own canary as a message: of that, only what is secret must go.
    for canary in [client_support::CLIENT_ID, client_support::CLIENT_SECRET, client_support::TOKEN, "<html>"] {
        assert!(!text.contains(canary), "{canary} is in the log: {text}");
    }
}
