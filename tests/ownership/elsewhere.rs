//! The connection suddenly leads to another tenant or server: nothing is written and nothing is let go until it is back.
//!
//! Each way to lead the operator astray has a control plane and objects of its own, and all are gone at the same time.

use std::time::Duration;

use futures::future::join_all;
use runai_simulator::{
    AgentCommand, Config, FaultAction, FaultMatch, FaultRule, Identity, JournalEntry, OldTokens, Operation, Phase,
    SeedCluster, Simulator, Tenant, TokenFormat,
};
use serde_json::json;

use crate::support::{A_WHILE, changes, records, stalled_by, the};
use crate::world::{Setup, TEAM, World, cluster, condition, control_plane};

const HOME: i32 = 1001;
const NEIGHBOUR: i32 = 2002;
const EMPTY: i32 = 3003;
const LOST: [&str; 2] = ["OriginChanged", "AbsenceUnproven"];
/// Seven control planes share two cores with an API server.
const LONG: Duration = Duration::from_secs(120);

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

/// A control plane with the objects of one way.
struct Plane<'a> {
    world: &'a World,
    name: &'static str,
    simulator: Simulator,
}

impl<'a> Plane<'a> {
    async fn set(world: &'a World, name: &'static str, seed: u64) -> Self {
        // Uuids come from the seed, and no two control planes share one.
        let mut config = Config { seed, ..Config::default() }.full_lists_only();
        tenants(&mut config);
        let plane = Self { world, name, simulator: Simulator::start(config).unwrap() };
        let neighbour = SeedCluster { tenant_id: Some(NEIGHBOUR), ..SeedCluster::named("alien") };
        plane.simulator.seed(neighbour).unwrap();
        plane.connect(&[]).await;
        world.apply(&control_plane(name, name, &json!({ "pollInterval": "5s", "adoptionNamespaces": {} }))).await;
        plane
    }

    async fn connect(&self, over: &[(&str, &str)]) {
        let data = [&[("url", self.simulator.url())], over].concat();
        self.world.connect_secret(self.name, &data).await;
    }

    /// Name of an object, and of its registration.
    fn object(&self, who: &str) -> String {
        format!("{}-{who}", self.name)
    }

    fn registration(&self, who: &str) -> uuid::Uuid {
        the(&self.simulator, &self.object(who))
    }

    async fn register(&self, all: &[&str]) {
        let manifest = |who: &&str| {
            let recreate = if *who == "again" { "IfMissing" } else { "Never" };
            let plane = json!({ "name": self.name });
            let spec = json!({ "controlPlaneRef": plane, "version": "2.24", "recreatePolicy": recreate });
            cluster(TEAM, &self.object(who), spec)
        };
        let items: Vec<_> = all.iter().map(manifest).collect();
        self.world.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items })).await;
        for who in all {
            self.until_ready(who).await;
        }
    }

    async fn delete(&self, who: &str) {
        self.world.delete(&self.object(who)).await;
    }

    async fn until_ready(&self, who: &str) {
        let ready = |object: &_| condition(object, "Ready").0 == "True";
        self.world.until_within(LONG, &self.object(who), "Ready", ready).await;
    }

    async fn until_going(&self, who: &str, reason: &str) {
        let going = |object: &_| condition(object, "Reconciling") == ("True".to_owned(), reason.to_owned());
        self.world.until_within(LONG, &self.object(who), reason, going).await;
    }

    async fn until_lost(&self, all: &[&str]) {
        for who in all {
            let what = "Stalled: the registration is somewhere else";
            self.world.until_within(LONG, &self.object(who), what, |object| stalled_by(object, &LOST)).await;
        }
    }

    async fn lead_astray(&self, wrong: &Wrong<'_>) {
        match wrong {
            Wrong::Secret(over) => self.connect(over).await,
            Wrong::Swap(tenant_id, old_tokens) => {
                self.simulator.apply(&FaultAction::SwapTenant {
                    identity: Some("operator".to_owned()),
                    tenant_id: *tenant_id,
                    old_tokens: *old_tokens,
                });
            }
        }
    }

    async fn lead_back(&self) {
        self.lead_astray(&Wrong::Swap(HOME, OldTokens::Revoke)).await;
        self.lead_astray(&Wrong::Secret(&[])).await;
    }

    /// Two objects live; of one the deletion is accepted and stays open, of one it is never accepted; one waits for its
    /// turn.
    async fn set_the_stage(&self) {
        self.register(&["live", "again", "asked", "refused", "late"]).await;
        let unavailable = FaultAction::Status { code: 503, body: None, headers: [].into(), phase: Phase::Pre };
        let matches = FaultMatch {
            operation: Some(Operation::Delete),
            name: Some(self.object("refused")),
            ..FaultMatch::default()
        };
        self.simulator.add_fault(FaultRule { matches, ..FaultRule::new(unavailable) });
        self.delete("asked").await;
        self.delete("refused").await;
        self.until_going("asked", "DeletionRequested").await;
        self.until_going("refused", "ConnectionFailed").await;
    }

    /// Leads astray, deletes `late` meanwhile, checks that nothing happens, and leads back.
    async fn go_astray(&self, elsewhere: &Simulator, wrong: &Wrong<'_>) {
        let before = records(&self.simulator);
        let seq = self.simulator.last_seq();
        self.lead_astray(wrong).await;
        self.until_lost(&["live", "again"]).await;
        let noticed = self.simulator.last_seq();
        self.delete("late").await;
        self.until_lost(&["asked", "refused", "late"]).await;
        let settled = self.simulator.last_seq();
        let refused = self.registration("refused").to_string();
        // A pass that was under way may still repeat the refused DELETE: in vain, as the records show.
        let early = |entry: &JournalEntry| entry.seq <= settled && entry.path_id.as_ref() == Some(&refused);
        let world = self.world;
        world
            .holds(A_WHILE, "nothing is written, nothing is let go", async || {
                let committed = changes(&self.simulator, seq).iter().any(|entry| entry.committed);
                let mut attempts = changes(&self.simulator, noticed);
                attempts.retain(|entry| !early(entry));
                attempts.extend(changes(elsewhere, 0));
                let now = records(&self.simulator);
                let late = world.get(&self.object("late")).await;
                let fine = !committed && attempts.is_empty() && now == before && late.is_some();
                if fine { Ok(()) } else { Err(format!("{}: {attempts:?}, {now:#?}, {late:?}", self.name)) }
            })
            .await;
        // Whoever lost its registration keeps its notes.
        for who in ["live", "again", "asked", "refused", "late"] {
            let object = world.get(&self.object(who)).await.unwrap();
            assert!(stalled_by(&object, &LOST), "{who}: {object}");
            assert_eq!(object["metadata"]["finalizers"], json!(["runai-operator.io/registration"]), "{who}");
            assert_eq!(object["status"]["uuid"], json!(self.registration(who)), "{who}");
        }

        self.lead_back().await;
        self.until_ready("live").await;
        self.until_ready("again").await;
        self.until_going("asked", "DeletionRequested").await;
        self.until_going("late", "DeletionRequested").await;
    }

    /// The way back is complete: what was to go goes, once the agents have done their part.
    async fn finish(&self) {
        self.simulator.clear_faults();
        let going = ["asked", "refused", "late"];
        for who in going {
            self.simulator.agent(self.registration(who), AgentCommand::start()).unwrap();
        }
        for who in going {
            self.world.until_gone_within(LONG, &self.object(who)).await;
        }
        let left: Vec<_> = self.simulator.live_clusters().into_iter().map(|record| record.name).collect();
        assert_eq!(left.len(), 3, "live, again and the neighbour's: {left:?}");
        let counters = self.simulator.counters();
        assert!(counters.creates_per_name.values().all(|count| *count == 1), "{:?}", counters.creates_per_name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_leads_elsewhere_changes_nothing() {
    let world = World::start(Setup::default()).await;
    let elsewhere = Simulator::start(Config::default()).unwrap();
    let url = [("url", elsewhere.url())];
    let ways = [
        ("to-neighbour", Wrong::Secret(&[("clientID", "neighbour")])),
        ("to-nobody", Wrong::Secret(&[("clientID", "nobody")])),
        ("swapped", Wrong::Swap(NEIGHBOUR, OldTokens::Revoke)),
        ("emptied", Wrong::Swap(EMPTY, OldTokens::Move)),
        ("other-server", Wrong::Secret(&url)),
    ];
    let astray = join_all(ways.iter().zip(700..).map(|((name, wrong), seed)| {
        let (world, elsewhere) = (&world, &elsewhere);
        async move {
            let plane = Plane::set(world, name, seed).await;
            plane.set_the_stage().await;
            plane.go_astray(elsewhere, wrong).await;
            plane.finish().await;
        }
    }));
    let unreadable = async { unreadable_tokens(&Plane::set(&world, "unreadable", 800).await).await };
    tokio::join!(astray, unreadable);
}

/// An empty tenant behind tokens that say nothing: the absence looks like a deletion, and is not believed.
async fn unreadable_tokens(plane: &Plane<'_>) {
    plane.register(&["live", "again"]).await;
    plane.simulator.configure(|config| config.token.format = TokenFormat::Opaque);
    let before = records(&plane.simulator);
    plane.lead_astray(&Wrong::Swap(EMPTY, OldTokens::Revoke)).await;
    let (world, live) = (plane.world, plane.object("live"));
    for who in ["live", "again"] {
        let unproven = |object: &_| stalled_by(object, &["AbsenceUnproven"]);
        world.until_within(LONG, &plane.object(who), "AbsenceUnproven", unproven).await;
    }
    plane.delete("live").await;
    world
        .until_within(LONG, &live, "Stalled while dying", |object| {
            object["metadata"]["deletionTimestamp"].is_string() && stalled_by(object, &["AbsenceUnproven"])
        })
        .await;
    let noticed = plane.simulator.last_seq();
    world
        .holds(A_WHILE, "an unproven absence changes nothing", async || {
            let (now, sent) = (records(&plane.simulator), changes(&plane.simulator, noticed).len());
            let there = world.get(&live).await.is_some();
            if there && sent == 0 && now == before { Ok(()) } else { Err(format!("{sent} sent, {now:?}")) }
        })
        .await;
    plane.lead_back().await;
    plane.until_ready("again").await;
    plane.until_going("live", "DeletionRequested").await;
}
