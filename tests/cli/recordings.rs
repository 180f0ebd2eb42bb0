//! The recordings in docs/cli.md are what the commands print: run again, and compared.
//!
//! After a change: `make docs`, or `UPDATE_CLI=1 cargo test --workspace --test cli recordings`.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use runai_simulator::{ClockMode, Config, RecordPatch, SeedCluster, Simulator};
use serde_json::json;
use testbed::OPERATOR_NAMESPACE;
use uuid::Uuid;

use crate::page::{play, without_client_log};
use crate::tool::{Tool, changes};
use crate::world::{Setup, World, control_plane};

/// What the page calls the control plane.
const URL: &str = "https://tenant.run.ai";

fn page() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md"))
}

/// The registrations of the page, with ids and times that stay the same.
fn fill(simulator: &Simulator) {
    let uuid = |digit: u8| Some(Uuid::from_bytes([digit * 0x11; 16]));
    let domain = |name: &str| Some(format!("https://{name}.example.com"));
    let east = SeedCluster { uuid: uuid(1), domain: domain("gpu-east"), ..SeedCluster::named("gpu-east").connected() };
    let west = SeedCluster { uuid: uuid(2), domain: domain("gpu-west"), ..SeedCluster::named("GPU West").connected() };
    let north = SeedCluster { uuid: uuid(3), ..SeedCluster::named("gpu-north") };
    let lab = SeedCluster { uuid: uuid(4), delete_requested_at: Some(simulator.now()), ..SeedCluster::named("lab") };
    for record in [east, west, north, lab] {
        simulator.seed(record).unwrap();
    }
    let stuck = RecordPatch { stuck_delete: Some(true), ..RecordPatch::default() };
    simulator.patch(uuid(4).unwrap(), stuck).unwrap();
}

/// A control plane that is well, for `doctor`: with the true time, and behind https.
struct Trial {
    simulator: Simulator,
    /// What stands for its address, of the same length, so that columns stay in line.
    names: [(String, &'static str); 3],
}

impl Trial {
    async fn start(world: &World, tool: &Tool) -> Self {
        let mut config = Config::default();
        config.tls.enabled = true;
        let simulator = Simulator::start(config).unwrap();
        let ca = simulator.ca_pem().unwrap();
        let [url, id, secret] = [simulator.url(), "operator", "operator-secret"];
        tool.file("trial.yaml", &format!("url: {url}\nclientID: {id}\nclientSecret: {secret}\n"));
        let metadata = |name: &str| json!({ "name": name, "namespace": OPERATOR_NAMESPACE });
        let data = json!({ "url": url, "clientID": id, "clientSecret": secret });
        let bundle = json!({ "kind": "ConfigMap", "name": "authority", "key": "ca.crt" });
        world.apply_all(vec![
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata("trial"), "stringData": data }),
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("authority"), "data": { "ca.crt": ca } }),
            control_plane("trial", "trial", &json!({ "caBundleRef": bundle })),
        ])
        .await;
        let host = url.strip_prefix("https://").unwrap().to_owned();
        let names = [
            (url.to_owned(), "https://my-trial.run.ai"),
            (host, "my-trial.run.ai"),
            (world.bed.url(), "https://kube.example.io"),
        ];
        for (real, shown) in &names {
            assert_eq!(real.len(), shown.len(), "{real}");
        }
        Self { simulator, names }
    }
}

/// How long something took is not the same twice: `12s` becomes `Ns` at the head of a line and behind `after`.
fn without_durations(text: &str) -> String {
    let is_duration = |word: &str| {
        let digits = word.strip_suffix('s').unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
    };
    let line = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        let shown = |(at, word): (usize, &&str)| {
            let timed = is_duration(word) && (at == 0 || words[at - 1] == "after");
            if timed { "Ns".to_owned() } else { (*word).to_owned() }
        };
        words.iter().enumerate().map(shown).collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_the_commands_print() {
    let world = World::start(Setup::default().simulator(|config| {
        config.clock = ClockMode::Manual;
        config.clock_start = Some("2026-06-01T12:00:00Z".parse().unwrap());
    }))
    .await;
    fill(&world.simulator);
    world.cluster("gpu-east", json!({ "adoption": { "uuid": Uuid::from_bytes([0x11; 16]) } })).await;
    world.until_condition("gpu-east", "Connected", "True", "Connected").await;
    world.cluster("gpu-n", json!({ "name": "gpu-north" })).await;
    world.until_stalled("gpu-n", "NameConflict").await;

    let tool = Tool::of(&world);
    let trial = Trial::start(&world, &tool).await;
    let names = ["runai-cluster-operator", "kubectl-runai_cluster"];
    for name in names {
        symlink(env!("CARGO_BIN_EXE_runai-cluster-operator"), tool.directory().join(name)).unwrap();
    }
    symlink(&world.bed.binaries().kubectl, tool.directory().join("kubectl")).unwrap();
    let credentials = format!("url: {}\nclientID: operator\nclientSecret: operator-secret\n", world.simulator.url());
    tool.file("credentials.yaml", &credentials);
    let object = "apiVersion: runai-operator.io/v1alpha1\nkind: RunaiCluster\nmetadata:\n  name: gpu-south\nspec:\n  domain: https://gpu-south.example.com\n";
    tool.file("cluster.yaml", object);
    let path = format!("{}:/usr/bin:/bin", tool.directory().display());
    let run = async |command: &str| {
        // Both streams in the order in which they were written, as on a terminal.
        let script = format!("exec 2>&1\n{command}\n");
        let output = tool.prepare("sh").args(["-c", &script]).env("PATH", &path).output().await.unwrap();
        let text = without_client_log(&String::from_utf8(output.stdout).unwrap());
        assert!(!text.contains("operator-secret") || command.starts_with("cat "), "{command}: {text}");
        let text = trial.names.iter().fold(text, |text, (real, shown)| text.replace(real, shown));
        text.replace(world.simulator.url(), URL).replace("operator-secret", "(the secret)")
    };
    let written = std::fs::read_to_string(page()).unwrap();
    let (played, commands) = play(&written, run).await;
    assert!(commands > 10, "{commands} commands were found in {}", page().display());
    assert!(changes(&trial.simulator, 0).is_empty(), "the doctor looks only");
    if std::env::var_os("UPDATE_CLI").is_some_and(|value| value == "1") {
        std::fs::write(page(), &played).unwrap();
        return;
    }
    let (written, played) = (without_durations(&written), without_durations(&played));
    let differ = written.lines().zip(played.lines()).find(|(a, b)| a != b);
    assert!(
        written == played,
        "docs/cli.md is not what the commands print (first at {differ:?}); run `make docs` and look at the difference"
    );
}

#[tokio::test]
async fn a_recording_that_has_gone_stale_is_seen() {
    let block = "text\n```console\n$ a\nold\n$ b\n```\nmore 12s\n".repeat(6);
    let (played, commands) = play(&block, async |command| format!("new {command}\n")).await;
    assert_eq!(commands, 12);
    assert_eq!(played, "text\n```console\n$ a\nnew a\n$ b\nnew b\n```\nmore 12s\n".repeat(6));
    assert_eq!(play(&played, async |command| format!("new {command}\n")).await.0, played);
    assert_eq!(
        without_durations("12s x 3s\nis ready after 2s or after 2 s"),
        "Ns x 3s\nis ready after Ns or after 2 s"
    );
}
