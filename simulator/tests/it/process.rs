//! The binary: prints its URLs, serves, ends at once on a signal. And the life of the library value.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use runai_simulator::{Config, FaultAction, FaultRule, Operation, Phase, Simulator};

use crate::common::{Api, install_provider};

async fn fetch(url: impl reqwest::IntoUrl) -> reqwest::Result<reqwest::Response> {
    reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap().get(url).send().await
}

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runai-simulator"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[tokio::test]
async fn the_binary_prints_its_urls_and_ends_on_a_signal() {
    install_provider();
    for signal in ["INT", "TERM"] {
        let mut child = binary()
            .args(["--profile", "cp-2.24", "--set", "names.unique=off", "--set", "agent.autoStartSeconds=0"])
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut url = |name: &str| {
            let line = lines.next().unwrap().unwrap();
            line.strip_prefix(&format!("{name} ")).unwrap_or_else(|| panic!("{line}")).to_owned()
        };
        let (public, control) = (url("public"), url("control"));
        let config = fetch(format!("{control}/__sim/config")).await.unwrap().text().await.unwrap();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        assert_eq!((config["profile"].as_str(), config["names"]["unique"].as_str()), (Some("cp-2.24"), Some("off")));
        assert_eq!(fetch(format!("{public}/api/v1/clusters")).await.unwrap().status(), 401);
        let started = Instant::now();
        let killed = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert!(child.wait().unwrap().success());
        assert!(started.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn the_binary_refuses_bad_settings() {
    for bad in [["--set", "names.uniqe=off"], ["--set", "nonsense"], ["--config", "/nonexistent"], ["--profile", "x"]] {
        let output = binary().args(bad).output().unwrap();
        assert!(!output.status.success(), "{bad:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[tokio::test]
async fn shutdown_is_quick_also_with_a_hanging_request() {
    let api = Api::with(|_| ()).await;
    api.sim.add_fault(FaultRule::on(Operation::List, FaultAction::Hang { seconds: 60.0, phase: Phase::Pre }));
    let hanging = tokio::spawn(api.request(reqwest::Method::GET, "/api/v1/clusters").send());
    while api.sim.counters().concurrent == 0 {
        tokio::task::yield_now().await;
    }
    let started = Instant::now();
    let address = api.sim.url().to_owned();
    api.sim.shutdown();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(hanging.await.unwrap().is_err());
    assert!(fetch(address).await.unwrap_err().is_connect());
}

#[test]
fn it_starts_and_drops_outside_of_a_runtime_and_inside_of_one() {
    drop(Simulator::start(Config::default()).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { drop(Simulator::start(Config::default()).unwrap()) });
}

#[tokio::test]
async fn https_with_a_private_ca_that_can_be_rotated() {
    install_provider();
    let mut config = Config::default();
    config.tls.enabled = true;
    let sim = Simulator::start(config).unwrap();
    assert!(sim.url().starts_with("https://127.0.0.1:"));
    let status = |pem: String, url: String| async move {
        let ca = reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
        client.get(format!("{url}/api/v1/clusters")).send().await.map(|response| response.status().as_u16())
    };
    let old = sim.ca_pem().unwrap();
    let served = fetch(format!("{}/__sim/ca.pem", sim.control_url())).await.unwrap().text().await.unwrap();
    assert_eq!(served, old);
    assert_eq!(status(old.clone(), sim.url().to_owned()).await.unwrap(), 401);
    sim.apply(&FaultAction::TlsRotate { new_ca: false });
    assert_eq!(status(old.clone(), sim.url().to_owned()).await.unwrap(), 401);
    sim.apply(&FaultAction::TlsRotate { new_ca: true });
    assert!(status(old, sim.url().to_owned()).await.unwrap_err().is_connect());
    assert_eq!(status(sim.ca_pem().unwrap(), sim.url().to_owned()).await.unwrap(), 401);
}
