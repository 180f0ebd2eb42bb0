//! Row 49: any two remote faults together.
//!
//! One world, one object for each pair: the first try of each of its changes meets the one fault, the second the other.
//! Faults of reads strike a whole control plane, so those have control planes of their own. The seed decides which of
//! the two comes first, how long waits are, and which reads are hit; MATRIX_SEEDS says how many seeds (1).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt as _;
use runai_simulator::{Config, DisconnectedPolicy, FaultMatch, FaultRule, Identity, Operation, Simulator, UniqueNames};
use serde_json::{Value, json};
use testbed::wait_until;

use crate::faults::{CHANGES, Fault, READS};
use crate::kube_objects::{Objects, brief, is_settled};
use crate::oracle::{Cost, Ledger};
use crate::world::{Setup, World, control_plane};

/// A busy machine answers within 2 s; the quarantine is the shortest for that.
const DOUBT: [&str; 2] = ["--create-deadline=2s", "--create-quarantine=12s"];
/// Few at once, so that a busy machine sends a POST within 5 s of its intent.
const GENTLY: [&str; 1] = ["--concurrency=16"];
/// Generous: two doubts, back-off, a machine with other work.
const LIMIT: Duration = Duration::from_secs(240);
/// How long the faults of reads strike in each phase.
const DISTURBED: Duration = Duration::from_secs(10);
/// Control planes over which the pairs of change faults are spread: each has a rate limit.
const LANES: usize = 4;
/// The same for pairs with a fault that strikes the whole connection: everybody on it waits whenever one is struck.
const SHARED_LANES: usize = 6;
const SHARED: &str = "shared";

/// Two faults of one object.
#[derive(Clone, Debug)]
struct Pair {
    object: String,
    lane: String,
    first: Fault,
    second: Fault,
}

fn lane_of(first: Fault, second: Fault, number: usize) -> String {
    match (first.is_of_reads(), second.is_of_reads()) {
        // A revoked token is everybody's, and so is a wish for fewer requests: those who cause it share it.
        (false, false) if first.is_shared() || second.is_shared() => format!("{SHARED}-{}", number % SHARED_LANES),
        (false, false) => format!("lane-{}", number % LANES),
        (true, false) => first.name().to_owned(),
        (false, true) => second.name().to_owned(),
        (true, true) => format!("{}-{}", first.name(), second.name()),
    }
}

/// Every pair, a fault with itself included, in an order that the seed decides.
fn pairs(seed: u64) -> Vec<Pair> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let all = [&CHANGES[..], &READS[..]].concat();
    let mut pairs = Vec::new();
    for (at, one) in all.iter().enumerate() {
        for other in &all[at..] {
            // Every second seed turns every pair round.
            let (first, second) = if seed.is_multiple_of(2) { (*one, *other) } else { (*other, *one) };
            let object = format!("s{seed}-{}-{}", first.name(), second.name());
            let (one, other) = (one.min(other), one.max(other));
            pairs.push(Pair { object, lane: lane_of(*one, *other, pairs.len()), first, second });
        }
    }
    rng.shuffle(&mut pairs);
    pairs
}

impl Pair {
    /// The name that the registration is given in place of the first.
    fn renamed(&self) -> String {
        format!("{}-2", self.object)
    }

    /// The faults of its changes: once each, the first before the second.
    fn rules(&self, rng: &mut fastrand::Rng) -> Vec<FaultRule> {
        let targets = [
            (Operation::Create, self.object.clone()),
            (Operation::Update, self.renamed()),
            (Operation::Delete, self.renamed()),
        ];
        let mut rules = Vec::new();
        for (operation, name) in targets {
            for (place, fault) in [self.first, self.second].into_iter().enumerate() {
                let Some(action) = fault.action(operation, &self.lane, rng) else { continue };
                let id = format!("{}/{}/{operation:?}/{place}", fault.name(), self.object);
                let matches =
                    FaultMatch { operation: Some(operation), name: Some(name.clone()), ..FaultMatch::default() };
                rules.push(FaultRule { matches, ..FaultRule::new(action).times(1).named(&id) });
            }
        }
        rules
    }
}

async fn each<'a>(pairs: &'a [Pair], act: impl AsyncFn(&'a Pair)) {
    futures::stream::iter(pairs).for_each_concurrent(8, |pair| act(pair)).await;
}

/// Waits until no object is off the mark, and says which are.
async fn until_all(
    world: &World,
    objects: &Objects,
    what: &str,
    wrong: impl Fn(&BTreeMap<String, Value>) -> Vec<String>,
) {
    let seen = wait_until(LIMIT, what, async || {
        let all = objects.all().await;
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
        let left = wrong(&all.into_iter().map(|object| (name(&object), object)).collect());
        // Listing hundreds of objects is work, too.
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{} left:\n{}", left.len(), left[..left.len().min(5)].join("\n")))
        }
    });
    if let Err(error) = seen.await {
        panic!("{error}\n--- operator\n{}", world.tail());
    }
}

async fn until_settled(world: &World, objects: &Objects, pairs: &[Pair], name: impl Fn(&Pair) -> String) {
    // The control plane first: listing hundreds of objects again and again is work for the API server.
    let wanted: BTreeSet<_> = pairs.iter().map(&name).collect();
    world.simulator.until(LIMIT, |simulator| live_names(simulator) == wanted).await;
    until_all(world, objects, "all pairs are settled", |all| {
        let missing = Value::Null;
        let state = |pair: &Pair| all.get(&pair.object).unwrap_or(&missing).clone();
        let open = pairs.iter().filter(|pair| !is_settled(&state(pair), &name(pair)));
        open.map(|pair| format!("{}: {}", pair.object, brief(&state(pair)))).collect()
    })
    .await;
}

fn live_names(simulator: &Simulator) -> BTreeSet<String> {
    simulator.live_clusters().into_iter().map(|record| record.name).collect()
}

/// One registration for each, under this name, and no other; nothing was ever made twice.
fn assert_one_each(world: &World, pairs: &[Pair], name: impl Fn(&Pair) -> String) {
    let live = world.simulator.live_clusters().len();
    assert_eq!(live, pairs.len(), "registrations without an object, or the other way round");
    assert_eq!(live_names(&world.simulator), pairs.iter().map(name).collect());
    let made = world.simulator.counters().creates_per_name;
    let twice: Vec<_> = made.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "made more than once: {twice:?}");
    assert_eq!(world.simulator.pending_commits(), 0);
}

async fn start(seeds: u64) -> (World, Vec<Pair>) {
    let pairs: Vec<_> = (1..=seeds).flat_map(pairs).collect();
    let setup = Setup::default().args(&DOUBT).args(&GENTLY).simulator(|config: &mut Config| {
        config.names.unique = UniqueNames::Off;
        config.delete.disconnected_policy = DisconnectedPolicy::Complete;
        config.delete.graceful_seconds = 1.0;
    });
    let world = World::start(setup).await;
    let lanes: BTreeSet<_> = pairs.iter().map(|pair| pair.lane.clone()).collect();
    let identities = lanes.iter().map(|lane| Identity::new(lane, "lane-secret")).collect::<Vec<_>>();
    world.simulator.configure(|config| config.tenants[0].identities.extend(identities));
    let mut items = Vec::new();
    for lane in &lanes {
        let secret = [("clientID", lane.as_str()), ("clientSecret", "lane-secret")];
        items.push(world.secret(lane, &secret));
        items.push(control_plane(lane, lane, &json!({ "pollInterval": "5s", "maxDeletionsPerMinute": 100_000 })));
    }
    world.apply_all(items).await;
    (world, pairs)
}

/// The faults of changes wait for their requests, however late those come.
fn lie_in_wait(world: &World, pairs: &[Pair], rng: &mut fastrand::Rng) {
    for rule in pairs.iter().flat_map(|pair| pair.rules(rng)) {
        world.simulator.add_fault(rule);
    }
}

/// The faults of reads strike by chance, each on its own control planes, at the beginning of a phase. While a list says
/// one thing and the next another, waiting gets longer and longer: they have to end before a phase can.
fn disturb_reads(world: &World, pairs: &[Pair], rng: &mut fastrand::Rng, phase: &str) {
    let lanes: BTreeSet<_> = pairs.iter().map(|pair| (pair.lane.clone(), pair.first, pair.second)).collect();
    let until = Some(world.simulator.now() + DISTURBED);
    for (lane, first, second) in lanes {
        for fault in [first, second].into_iter().filter(|fault| fault.is_of_reads()) {
            let matches =
                FaultMatch { method: Some("GET".into()), identity: Some(lane.clone()), ..FaultMatch::default() };
            let id = format!("{}/{lane}/{phase}", fault.name());
            let rule = FaultRule::new(fault.of_reads(rng)).named(&id);
            world.simulator.add_fault(FaultRule { matches, probability: Some(0.3), until, ..rule });
        }
    }
}

/// How often each fault has struck.
fn strikes(world: &World) -> BTreeMap<String, u64> {
    let mut strikes = BTreeMap::new();
    for (rule, fired) in world.simulator.faults() {
        *strikes.entry(rule.id.split('/').next().unwrap().to_owned()).or_default() += fired;
    }
    strikes
}

#[tokio::test(flavor = "multi_thread")]
async fn row_49_any_two_remote_faults_leave_one_registration_each_and_then_none() {
    let seeds = std::env::var("MATRIX_SEEDS").map_or(1, |text| text.parse().unwrap());
    let (world, pairs) = start(seeds).await;
    let objects = Objects::of(&world).await;
    println!("{} faults, {} pairs, seeds 1..={seeds}", CHANGES.len() + READS.len(), pairs.len());
    let mut rng = fastrand::Rng::with_seed(seeds);
    lie_in_wait(&world, &pairs, &mut rng);
    let started = std::time::Instant::now();
    let told = |what: &str| println!("{what} after {:.0} s", started.elapsed().as_secs_f64());

    disturb_reads(&world, &pairs, &mut rng, "create");
    each(&pairs, async |pair| {
        let spec = json!({
            "controlPlaneRef": { "name": pair.lane }, "version": "2.24",
            "domain": format!("https://{}.example.com", pair.object),
        });
        objects.create(&pair.object, spec).await;
    })
    .await;
    until_settled(&world, &objects, &pairs, |pair| pair.object.clone()).await;
    told("all are registered");
    assert_one_each(&world, &pairs, |pair| pair.object.clone());

    disturb_reads(&world, &pairs, &mut rng, "rename");
    each(&pairs, async |pair| objects.rename(&pair.object, &pair.renamed()).await).await;
    until_settled(&world, &objects, &pairs, Pair::renamed).await;
    told("all are renamed");
    assert_one_each(&world, &pairs, Pair::renamed);

    disturb_reads(&world, &pairs, &mut rng, "delete");
    each(&pairs, async |pair| objects.delete(&pair.object).await).await;
    until_all(&world, &objects, "all are gone", |all| {
        all.iter().map(|(name, object)| format!("{name}: {}", brief(object))).collect()
    })
    .await;
    told("all are gone");
    assert_one_each(&world, &[], Pair::renamed);

    let strikes = strikes(&world);
    println!("strikes: {strikes:?}");
    let idle: Vec<_> = CHANGES.iter().chain(&READS).filter(|fault| strikes[fault.name()] == 0).collect();
    assert!(idle.is_empty(), "faults that never struck: {idle:?}");
    assert_costs(&world, &pairs);
}

/// Each fault may cost a request of each kind; only where others have a share in it, more.
fn assert_costs(world: &World, pairs: &[Pair]) {
    let ledger = Ledger::of(world);
    let mut wrong = Vec::new();
    let mut most = Cost::default();
    for pair in pairs {
        let cost = ledger.cost(&world.simulator, &pair.object);
        let reads = pair.first.is_of_reads() || pair.second.is_of_reads();
        // A list that is old or empty may have a rename or a deletion asked for again; a POST, never.
        let (posts, tries) = if pair.lane.starts_with(SHARED) { (8, 8) } else { (3, if reads { 8 } else { 3 }) };
        let too_many = cost.posts > posts || cost.puts > tries || cost.deletes > tries;
        // What a list says and the next one takes back is told each time; otherwise each try and its end.
        let told = if reads { 60 } else { 20 };
        // An intent for each POST, and two that a busy machine did not send in time; the identity, the release.
        let too_much = cost.marks > 2 * cost.posts + 5 || cost.statuses > told || cost.events > told + 5;
        if too_many || too_much || cost.created != 1 || cost.deleted != 1 {
            wrong.push(format!("{} ({}): {cost:?}", pair.object, pair.lane));
        }
        for (most, is) in
            [(&mut most.posts, cost.posts), (&mut most.puts, cost.puts), (&mut most.deletes, cost.deletes)]
        {
            *most = (*most).max(is);
        }
        for (most, is) in
            [(&mut most.marks, cost.marks), (&mut most.statuses, cost.statuses), (&mut most.events, cost.events)]
        {
            *most = (*most).max(is);
        }
    }
    println!("at most: {most:?}");
    assert!(wrong.is_empty(), "{} of {} pairs cost too much:\n{}", wrong.len(), pairs.len(), wrong.join("\n"));
}
