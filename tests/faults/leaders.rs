//! Two operators: one leads, one waits. What becomes of the work when the leader stalls, dies, or says goodbye.

use std::time::{Duration, Instant};

use runai_simulator::UniqueNames;
use serde_json::json;
use testbed::{OPERATOR_NAMESPACE, OperatorProcess, wait_until};

use crate::crowd;
use crate::world::{SHORT_DOUBT, SOON, Setup, World};

const OBJECTS: usize = 40;
/// Longer than the lease (15 s) and, after it, the quarantine (15 s): the standby has finished what was left open.
const PAUSE: Duration = Duration::from_secs(35);

async fn leads(operator: &OperatorProcess) -> Result<(), String> {
    let text = operator.metrics().await.map_err(|error| error.to_string())?;
    let line = text.lines().find(|line| line.starts_with("runai_operator_leader")).unwrap_or_default();
    if line.ends_with(" 1.0") { Ok(()) } else { Err(format!("metric: {line:?}")) }
}

pub async fn until_leads(operator: &OperatorProcess, limit: Duration) {
    if let Err(error) = wait_until(limit, "the standby to lead", async || leads(operator).await).await {
        panic!("{error}\n{}", operator.logs().unwrap_or_default());
    }
}

async fn holder(world: &World) -> String {
    let path = "jsonpath={.spec.holderIdentity}";
    world.kubectl(&["get", "lease", "runai-cluster-operator", "-n", OPERATOR_NAMESPACE, "-o", path]).await
}

/// A second process that is ready and does not lead.
pub async fn standby(world: &World) -> OperatorProcess {
    let mut standby = world.another_operator();
    standby.wait_ready(SOON).await.unwrap();
    assert!(leads(&standby).await.is_err(), "two processes lead");
    standby
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_killed_or_leaving_leader_is_followed_by_the_standby_without_duplicates() {
    let setup = Setup::default().args(&SHORT_DOUBT).args(&["--leader-elect"]).simulator(|config| {
        config.names.unique = UniqueNames::Off;
        (config.latency_ms, config.latency_jitter_ms) = (300, 400);
    });
    let mut world = World::start(setup).await;
    until_leads(&world.operator, SOON).await;
    let mut next = standby(&world).await;

    // The leader stops in the middle of a burst, with requests under way.
    let names: Vec<_> = (0..OBJECTS).map(|index| format!("burst-{index:02}")).collect();
    crowd::apply(&world, &names, |index| json!({ "domain": format!("https://burst-{index:02}.example.com") })).await;
    let begun = |simulator: &runai_simulator::Simulator| simulator.live_clusters().len() >= OBJECTS / 4;
    assert!(world.simulator.until(SOON, begun).await, "{}", world.tail());
    world.operator.sigstop().unwrap();
    let paused = Instant::now();
    let made_by_the_first = world.simulator.live_clusters().len();
    assert!(made_by_the_first < OBJECTS, "the pause came too late to be in the middle");
    until_leads(&next, Duration::from_secs(30)).await;
    tokio::time::sleep(PAUSE.saturating_sub(paused.elapsed())).await;
    world.operator.sigcont().unwrap();
    let status = world.operator.wait_exit(SOON).await.unwrap();
    assert!(!status.success() && status.code().is_some(), "the old leader must end itself with an error: {status}");
    let objects = crowd::until_ready(&world, Duration::from_secs(120), OBJECTS).await;
    crowd::assert_one_each(&world, &objects);

    // Killed: its lease has to run out.
    world.operator = next;
    next = standby(&world).await;
    world.operator.sigkill();
    let killed = Instant::now();
    crowd::apply(&world, &["after-kill".to_owned()], |_| json!({})).await;
    until_leads(&next, Duration::from_secs(30)).await;
    world.until_ready("after-kill").await;
    assert!(killed.elapsed() > Duration::from_secs(5), "nobody takes a lease away that was renewed just now");

    // SIGTERM: it gives its lease back. The standby looks every 2.4 s at the latest.
    world.operator = next;
    next = standby(&world).await;
    let before = holder(&world).await;
    let status = world.operator.sigterm_and_wait(SOON).await.unwrap();
    assert!(status.success(), "{status}");
    until_leads(&next, Duration::from_secs(5)).await;
    assert_ne!(holder(&world).await, before);
    world.operator = next;
    crowd::apply(&world, &["after-term".to_owned()], |_| json!({})).await;
    let objects = crowd::until_ready(&world, SOON, OBJECTS + 2).await;
    crowd::assert_one_each(&world, &objects);
}
