//! Two operators, and the leader's network to the Kubernetes API breaks; and an update that replaces both, one at a time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use testbed::{OperatorOptions, OperatorProcess, Proxy};

use crate::crowd;
use crate::leaders::{standby, until_leads};
use crate::world::{SHORT_DOUBT, SOON, Setup, World};

const OBJECTS: usize = 30;
/// A leader that cannot renew ends after 10 s; a standby follows 15 s after the last renewal that it saw, and looks every
/// 2.4 s at the latest.
const TAKEOVER: Duration = Duration::from_secs(30);

/// An operator whose way to the Kubernetes API leads through `proxy`.
fn behind(world: &World, proxy: &Proxy) -> OperatorProcess {
    let direct = std::fs::read_to_string(world.login.kubeconfig()).unwrap();
    let file = world.bed.directory().join("behind-a-proxy.kubeconfig");
    std::fs::write(&file, direct.replace(&world.bed.url(), &format!("https://{}", proxy.address()))).unwrap();
    let binary = env!("CARGO_BIN_EXE_runai-cluster-operator");
    let mut options = OperatorOptions::new(binary, file, world.bed.directory()).arg("--leader-elect");
    for arg in SHORT_DOUBT {
        options = options.arg(arg);
    }
    OperatorProcess::start(&options.env("RUST_LOG", "info,runai_cluster_operator=debug")).unwrap()
}

fn names(what: &str) -> Vec<String> {
    (0..OBJECTS).map(|index| format!("{what}-{index:02}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_network_ends_and_the_standby_goes_on_and_an_update_replaces_both() {
    let setup =
        Setup::default().args(&SHORT_DOUBT).args(&["--leader-elect"]).simulator(|config| config.latency_ms = 200);
    let mut world = World::start(setup).await;
    // The first process of the world leads; the one behind the proxy is to lead in its place.
    until_leads(&world.operator, SOON).await;
    let address: SocketAddr = world.bed.url().trim_start_matches("https://").parse().unwrap();
    let proxy = Proxy::start(address).await.unwrap();
    let mut cut = behind(&world, &proxy);
    cut.wait_ready(SOON).await.unwrap();
    world.operator.sigterm_and_wait(SOON).await.unwrap();
    until_leads(&cut, SOON).await;
    world.operator = standby(&world).await;

    // Nothing passes any more, in the middle of a burst: creates are under way at the control plane, which is still there.
    let burst = names("burst");
    crowd::apply(&world, &burst, |index| json!({ "domain": format!("https://burst-{index:02}.example.com") })).await;
    let begun = |simulator: &runai_simulator::Simulator| simulator.live_clusters().len() >= OBJECTS / 4;
    assert!(world.simulator.until(SOON, begun).await, "{}", cut.logs().unwrap_or_default());
    proxy.black_hole();
    let broken = Instant::now();
    let status = cut.wait_exit(TAKEOVER).await.unwrap();
    assert!(!status.success() && status.code().is_some(), "it must end itself with an error: {status}");
    let ended = broken.elapsed();
    until_leads(&world.operator, TAKEOVER.saturating_sub(broken.elapsed())).await;
    println!("network cut: the old leader ended after {ended:.1?}, the standby led after {:.1?}", broken.elapsed());
    let objects = crowd::until_ready(&world, Duration::from_secs(120), OBJECTS).await;
    crowd::assert_one_each(&world, &objects);

    // An update: each new process is ready before an old one is asked to go, as a Deployment does it.
    let second = standby(&world).await;
    let update = names("update");
    crowd::apply(&world, &update, |index| json!({ "domain": format!("https://update-{index:02}.example.com") })).await;
    let (first_new, second_new) = (standby(&world).await, standby(&world).await);
    let mut old_leader = std::mem::replace(&mut world.operator, first_new);
    let left = Instant::now();
    assert!(old_leader.sigterm_and_wait(SOON).await.unwrap().success());
    let mut second = second;
    assert!(second.sigterm_and_wait(SOON).await.unwrap().success());
    let leading = async {
        tokio::select! {
            () = until_leads(&world.operator, TAKEOVER) => "the first",
            () = until_leads(&second_new, TAKEOVER) => "the second",
        }
    };
    println!("update: {} new process leads after {:.1?}", leading.await, left.elapsed());
    assert!(left.elapsed() < TAKEOVER, "{:?}", left.elapsed());
    let objects = crowd::until_ready(&world, Duration::from_secs(120), 2 * OBJECTS).await;
    crowd::assert_one_each(&world, &objects);
}
