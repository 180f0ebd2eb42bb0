//! The commands of README.md, each where the page says that it works: on `make up`, and on an empty cluster.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use runai_simulator::AgentCommand;
use serde_json::Value;
use testbed::{Options, TemporaryDirectory, Testbed, workspace_dir};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::canon::canon;
use crate::cluster;
use crate::judges::Judges;
use crate::page::{Block, Part, record, walk};
use crate::player::perform;
use crate::stage::{self, Stage};

const OPERATOR: &str = env!("CARGO_BIN_EXE_runai-cluster-operator");
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(300);

const HEAD: &str = "runai-cluster-operator";
const TRY: &str = "Try it: two commands";
const FIRST: &str = "A first RunaiCluster against the simulator";
const REAL: &str = "The same against a real control plane";

fn readme() -> String {
    std::fs::read_to_string(workspace_dir().join("README.md")).unwrap()
}

/// What stands between a heading and the next one, whatever their levels.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let is_head = |line: &str| line.starts_with('#') && line.trim_start_matches('#').trim() == heading;
    let (mut from, mut at, mut is_code) = (None, 0, false);
    for line in page.split_inclusive('\n') {
        is_code ^= line.starts_with("```");
        if !is_code && line.starts_with('#') {
            if let Some(from) = from {
                return &page[from..at];
            }
            from = is_head(line).then_some(at + line.len());
        }
        at += line.len();
    }
    &page[from.unwrap_or_else(|| panic!("no heading {heading:?}"))..]
}

async fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    walk(text, async |part| {
        if let Part::Block(block) = part {
            found.push(block);
        }
        None
    })
    .await;
    found
}

/// The commands that make would run for a target.
async fn recipe(target: &str) -> Vec<String> {
    let mut make = Command::new("make");
    make.args(["-n", "--no-print-directory", target]).current_dir(workspace_dir());
    // Of the make that runs this test.
    let output = make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The testbed's program. `make build` makes it, beside the operator's; else it is built here.
async fn testbed_program() -> PathBuf {
    let program = Path::new(OPERATOR).with_file_name("testbed");
    if !program.is_file() {
        let mut cargo = Command::new(env!("CARGO"));
        let built = cargo.args(["build", "--quiet", "--package", "testbed", "--bins"]).current_dir(workspace_dir());
        assert!(built.status().await.unwrap().success());
    }
    program
}

/// That program, with the environment of somebody who has no cluster.
async fn command(args: &[&str]) -> Command {
    let mut command = Command::new(testbed_program().await);
    command.args(args).args(["--operator", OPERATOR]).env_remove("KUBECONFIG").env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// `make up`, once it has said all that it says.
struct Up {
    child: Child,
    /// The lines to export.
    exports: String,
}

impl Up {
    async fn start() -> Self {
        assert_eq!(recipe("up").await.last().unwrap(), "cargo run --quiet --package testbed -- up");
        let mut command = command(&["up"]).await;
        let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut exports = String::new();
        let said = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.starts_with("export ") {
                    exports.push_str(&format!("{line}\n"));
                } else if line.ends_with("--watch") {
                    return true;
                }
            }
            false
        };
        assert!(tokio::time::timeout(LONG, said).await.unwrap(), "it has ended: {:?}", child.try_wait());
        Self { child, exports }
    }

    /// Runs a script in another terminal, in the checkout.
    async fn run(&self, script: &str) -> String {
        let home = TemporaryDirectory::create().unwrap();
        let script = format!("exec 2>&1\n{}set -eo pipefail\n{script}\n", self.exports);
        let mut command = Command::new("bash");
        command.args(["-c", &script]).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", home.path());
        command.current_dir(workspace_dir()).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(LONG, command.output()).await.unwrap().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{script}{said}");
        said
    }

    /// Ctrl-C.
    async fn interrupt(mut self) {
        let pid = self.child.id().expect("it runs").to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
        let status = tokio::time::timeout(LONG, self.child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_cluster_is_healthy_on_what_make_up_starts() {
    let blocks = blocks(section(&readme(), FIRST)).await;
    let [starts, commands] = blocks.as_slice() else { panic!("two blocks: {blocks:?}") };
    assert!(starts.language == "sh" && starts.body.starts_with("make up "), "{starts:?}");
    assert_eq!(commands.language, "sh");
    let _room = stage::room().await;
    let up = Up::start().await;
    up.run(&commands.body).await;
    let read = "kubectl get -o json -n team-a runaicluster/gpu-east";
    let object: Value = serde_json::from_str(&up.run(read).await).unwrap();
    let verdict = Judges::new().await.one(&object).await;
    assert_eq!(verdict.words(), ["Current", "Healthy", "Healthy", "Current"], "{verdict:?}");
    up.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn make_demo_shows_a_life_on_a_cluster_of_its_own_and_on_a_given_one() {
    assert_eq!(recipe("demo").await.last().unwrap(), "cargo run --quiet --package testbed -- demo");
    let _room = stage::room().await;
    let bed = Testbed::start(Options::default()).await.unwrap();
    for given in [None, Some(bed.kubeconfig())] {
        let mut command = command(&["demo"]).await;
        if let Some(kubeconfig) = given {
            command.env("KUBECONFIG", kubeconfig);
        }
        let output = tokio::time::timeout(LONG, command.output()).await.unwrap().unwrap();
        let (shown, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{shown}{said}");
        assert!(said.contains("nothing is left running"), "{said}");
        for step in ["WaitingToConnect", "Connected", "gpu-west-1", "No resources found"] {
            assert!(shown.contains(step), "{step}: {shown}{said}");
        }
    }
    let left = bed.kubectl_ok(&["get", "runaiclusters,runaicontrolplanes", "-A", "-o", "name"]).await.unwrap();
    assert_eq!(left, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_cluster_comes_to_a_healthy_object_and_shows_it() {
    let readme = readme();
    let mut stage = Stage::empty(Options::default()).await;
    cluster::engine(&stage);
    let install = std::fs::read_to_string(workspace_dir().join("docs/install.md")).unwrap();
    let image = blocks(section(&install, "Image and chart")).await.remove(0);
    stage.run(&image.body).await;
    perform(&mut stage, section(&readme, REAL)).await;

    // What the page begins with.
    let head = blocks(section(&readme, HEAD)).await;
    let [manifest, shown, diagram] = head.as_slice() else { panic!("three blocks: {head:?}") };
    assert_eq!([&manifest.language, &shown.language, &diagram.language], ["yaml", "console", "mermaid"]);
    std::fs::write(stage.work().join("head.yaml"), &manifest.body).unwrap();
    stage.run("kubectl apply -f head.yaml").await;
    let wait = "kubectl wait -n team-a --timeout=60s runaicluster/gpu-west --for";
    stage.run(&format!("{wait}=condition=Ready")).await;
    connect(&stage).await;
    stage.run(&format!("{wait}=jsonpath={{.status.version}}=2.24.37\n{wait}=condition=Connected")).await;
    let anew = record(&shown.body, async |command| stage.enter(command).await).await;
    assert_eq!(canon(&shown.body), canon(&anew));
}

/// The agent of gpu-west starts.
async fn connect(stage: &Stage) {
    let uuid = stage.simulator.clusters_named("gpu-west")[0].uuid;
    let version = Some("2.24.37".to_owned());
    for command in [
        AgentCommand::Start { after_seconds: 0.2, client_secret: None },
        AgentCommand::Report { version, domain: None, report: None, unreadable: None },
    ] {
        stage.simulator.agent(uuid, command).unwrap();
    }
}

/// A block that nobody runs may say anything.
#[tokio::test]
async fn every_block_of_the_page_is_run_by_a_test() {
    let readme = readme();
    let mut left = blocks(&readme).await;
    for heading in [HEAD, TRY, FIRST, REAL] {
        for block in blocks(section(&readme, heading)).await {
            left.retain(|other| other.body != block.body);
        }
    }
    assert!(left.is_empty(), "{left:?}");
    let made: Vec<_> = blocks(section(&readme, TRY)).await.into_iter().map(|block| block.body).collect();
    let words = made.iter().flat_map(|body| body.lines()).filter_map(|line| line.split("  ").next());
    assert_eq!(words.map(str::trim).collect::<Vec<_>>(), ["make demo", "make test"]);

    let page = "# A\none\n```sh\n# no heading\n```\n## B\ntwo\n";
    assert_eq!((section(page, "A"), section(page, "B")), ("one\n```sh\n# no heading\n```\n", "two\n"));
}
