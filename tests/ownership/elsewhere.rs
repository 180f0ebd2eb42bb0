//! The connection suddenly leads to another tenant or server: nothing is written and nothing is let go until it is back.

use std::time::Duration;

use runai_simulator::{
    AgentCommand, Config, FaultAction, FaultMatch, FaultRule, Identity, JournalEntry, OldTokens, Operation, Phase,
    SeedCluster, Simulator, Tenant, TokenFormat,
};
use serde_json::json;

use crate::support::{A_WHILE, changes, records, stalled_by, the};
use crate::world::{Setup, World, condition};

const HOME: i32 = 1001;
const NEIGHBOUR: i32 = 2002;
const EMPTY: i32 = 3003;
const LOST: [&str; 2] = ["OriginChanged", "AbsenceUnproven"];

/// A way to lead the operator astray.
enum Wrong<'a> {
    Secret(&'a [(&'a str, &'a str)]),
    Swap(i32, OldTokens),
}

fn tenants(config: &mut Config) {
    let tenant = |id, name: &str| Tenant { id, identities: vec![Identity::new(name, "operator-secret")] };
    config.tenants = vec![tenant(HOME, "operator"), tenant(NEIGHBOUR, "neighbour"), tenant(EMPTY, "nobody")];
    // Of live agent time, and there are no agents: a graceful deletion stays open until the test starts one.
    config.delete.graceful_seconds = 1.0;
}

async fn lead_astray(world: &World, wrong: &Wrong<'_>) {
    match wrong {
        Wrong::Secret(over) => world.connect_secret("connection", over).await,
        Wrong::Swap(tenant_id, old_tokens) => {
            world.simulator.apply(&FaultAction::SwapTenant {
                identity: Some("operator".to_owned()),
                tenant_id: *tenant_id,
                old_tokens: *old_tokens,
            });
        }
    }
}

async fn lead_back(world: &World) {
    lead_astray(world, &Wrong::Swap(HOME, OldTokens::Revoke)).await;
    lead_astray(world, &Wrong::Secret(&[])).await;
}

async fn until_lost(world: &World, names: &[&str]) {
    for name in names {
        world.until(name, "Stalled: the registration is somewhere else", |object| stalled_by(object, &LOST)).await;
    }
}

/// Leads astray, deletes `late` meanwhile, checks that nothing happens, and leads back.
async fn round(world: &World, elsewhere: &Simulator, wrong: &Wrong<'_>, late: &str) {
    let before = records(&world.simulator);
    let seq = world.simulator.last_seq();
    lead_astray(world, wrong).await;
    until_lost(world, &["live", "again"]).await;
    let noticed = world.simulator.last_seq();
    world.delete(late).await;
    until_lost(world, &["asked", "refused", late]).await;
    let settled = world.simulator.last_seq();
    let refused = the(&world.simulator, "refused").to_string();
    // A pass that was under way may still repeat the refused DELETE: in vain, as the records show.
    let early = |entry: &JournalEntry| entry.seq <= settled && entry.path_id.as_ref() == Some(&refused);
    world
        .holds(A_WHILE, "nothing is written, nothing is let go", async || {
            let committed = changes(&world.simulator, seq).iter().any(|entry| entry.committed);
            let mut attempts = changes(&world.simulator, noticed);
            attempts.retain(|entry| !early(entry));
            attempts.extend(changes(elsewhere, 0));
            let now = records(&world.simulator);
            let fine = !committed && attempts.is_empty() && now == before && world.get(late).await.is_some();
            if fine { Ok(()) } else { Err(format!("{late}: {attempts:?}, {now:#?}")) }
        })
        .await;
    // Whoever lost its registration keeps its notes.
    for name in ["live", "again", "asked", "refused", late] {
        let object = world.get(name).await.unwrap();
        assert!(stalled_by(&object, &LOST), "{name}: {object}");
        assert_eq!(object["metadata"]["finalizers"], json!(["runai-operator.io/registration"]), "{name}");
        assert_eq!(object["status"]["uuid"], json!(the(&world.simulator, name)), "{name}");
    }

    lead_back(world).await;
    world.until_ready("live").await;
    world.until_ready("again").await;
    world.until_condition("asked", "Reconciling", "True", "DeletionRequested").await;
    world.until_condition(late, "Reconciling", "True", "DeletionRequested").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_leads_elsewhere_changes_nothing() {
    let world = World::start(Setup::default().simulator(tenants)).await;
    let elsewhere = Simulator::start(Config::default()).unwrap();
    world.simulator.seed(SeedCluster { tenant_id: Some(NEIGHBOUR), ..SeedCluster::named("alien") }).unwrap();

    let late = ["late-0", "late-1", "late-2", "late-3", "late-4"];
    let all: Vec<_> = ["live", "again", "asked", "refused"].into_iter().chain(late).collect();
    for name in &all {
        let recreate = if *name == "again" { "IfMissing" } else { "Never" };
        world.cluster(name, json!({ "version": "2.24", "recreatePolicy": recreate })).await;
    }
    for name in &all {
        world.until_ready(name).await;
    }
    // One deletion is accepted and stays open, one is never accepted.
    let unavailable = FaultAction::Status { code: 503, body: None, headers: [].into(), phase: Phase::Pre };
    let matches =
        FaultMatch { operation: Some(Operation::Delete), name: Some("refused".to_owned()), ..FaultMatch::default() };
    world.simulator.add_fault(FaultRule { matches, ..FaultRule::new(unavailable) });
    world.delete("asked").await;
    world.delete("refused").await;
    world.until_condition("asked", "Reconciling", "True", "DeletionRequested").await;
    world.until_condition("refused", "Reconciling", "True", "ConnectionFailed").await;

    let rounds = [
        Wrong::Secret(&[("clientID", "neighbour")]),
        Wrong::Secret(&[("clientID", "nobody")]),
        Wrong::Swap(NEIGHBOUR, OldTokens::Revoke),
        Wrong::Swap(EMPTY, OldTokens::Move),
        Wrong::Secret(&[("url", elsewhere.url())]),
    ];
    for (wrong, late) in rounds.iter().zip(late) {
        round(&world, &elsewhere, wrong, late).await;
    }

    // The way back is complete: what was to go goes, once the agents have done their part.
    world.simulator.clear_faults();
    for name in ["asked", "refused"].into_iter().chain(late) {
        world.simulator.agent(the(&world.simulator, name), AgentCommand::start()).unwrap();
    }
    for name in ["asked", "refused"].into_iter().chain(late) {
        world.until_gone_within(Duration::from_secs(90), name).await;
    }
    let left: Vec<_> = world.simulator.live_clusters().into_iter().map(|record| record.name).collect();
    assert_eq!(left.len(), 3, "live, again and the neighbour's: {left:?}");
    let counters = world.simulator.counters();
    assert!(counters.creates_per_name.values().all(|count| *count == 1), "{:?}", counters.creates_per_name);

    unreadable_tokens(&world).await;
}

/// An empty tenant behind tokens that say nothing: the absence looks like a deletion, and is not believed.
async fn unreadable_tokens(world: &World) {
    world.simulator.configure(|config| config.token.format = TokenFormat::Opaque);
    let before = records(&world.simulator);
    lead_astray(world, &Wrong::Swap(EMPTY, OldTokens::Revoke)).await;
    for name in ["live", "again"] {
        world.until_stalled(name, "AbsenceUnproven").await;
    }
    world.delete("live").await;
    world
        .until("live", "Stalled while dying", |object| {
            object["metadata"]["deletionTimestamp"].is_string() && condition(object, "Stalled").1 == "AbsenceUnproven"
        })
        .await;
    let noticed = world.simulator.last_seq();
    world
        .holds(A_WHILE, "an unproven absence changes nothing", async || {
            let (now, sent) = (records(&world.simulator), changes(&world.simulator, noticed).len());
            let there = world.get("live").await.is_some();
            if there && sent == 0 && now == before { Ok(()) } else { Err(format!("{sent} sent, {now:?}")) }
        })
        .await;
    lead_back(world).await;
    world.until_ready("again").await;
    world.until_condition("live", "Reconciling", "True", "DeletionRequested").await;
}
