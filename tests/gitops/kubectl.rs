//! The recordings in docs/kubectl.md are what kubectl prints: run again, and compared.
//!
//! After a change: `make recordings`, or `UPDATE_GITOPS=1 cargo test --workspace --test gitops kubectl`.

use runai_simulator::{DisconnectedPolicy, SeedCluster};
use serde_json::json;
use uuid::Uuid;

use crate::files::{hold, path};
use crate::page::{play, without_client_log};
use crate::recorded::{TIME, without_uuids};
use crate::terminal::Terminal;
use crate::world::{Setup, World};

const NAMESPACE: &str = "platform";
/// What the page calls the control plane.
const URL: &str = "https://acme.runai.com";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_kubectl_prints() {
    let setup = Setup::default().simulator(|config| {
        config.delete.graceful_seconds = 1.0;
        config.delete.disconnected_policy = DisconnectedPolicy::Complete;
    });
    let world = World::start(setup).await;
    assert_eq!(world.simulator.url().len(), URL.len(), "columns stay in line");
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    world.apply(&namespace).await;
    world.simulator.seed(SeedCluster::named("gpu-legacy")).unwrap();
    let terminal = Terminal::new(&world, NAMESPACE);
    let head = "apiVersion: runai-operator.io/v1alpha1\nkind: RunaiCluster\nmetadata:\n  name:";
    let file = |name: &str, text: String| std::fs::write(terminal.path().join(name), text).unwrap();
    file(
        "cluster.yaml",
        format!("{head} gpu-east\nspec:\n  domain: https://gpu-east.example.com\n  version: \"2.24\"\n"),
    );
    file("taken.yaml", format!("{head} gpu-legacy\nspec: {{}}\n"));
    let run = async |command: &str| {
        let output = terminal.bash(command).output().await.unwrap();
        let text = without_client_log(&String::from_utf8(output.stdout).unwrap());
        let text = text.replace(world.simulator.url(), URL);
        if command.starts_with("kubectl explain") { text } else { same(&text) }
    };
    let page = path("docs/kubectl.md");
    let (played, commands) = play(&std::fs::read_to_string(&page).unwrap(), run).await;
    assert!(commands > 20, "{commands} commands were found in {}", page.display());
    hold(&page, &played);
}

/// Output in which nothing differs from run to run.
fn same(text: &str) -> String {
    text.lines().map(|line| same_line(line) + "\n").collect()
}

fn same_line(line: &str) -> String {
    let indent = " ".repeat(line.len() - line.trim_start().len());
    if line.trim_start().starts_with("Resource Version:") {
        return format!("{indent}Resource Version:  1000");
    }
    if line.trim_start().starts_with("{\"created\":") {
        return format!("{indent}(signed)");
    }
    let mut out = String::new();
    for part in without_uuids(line).split_inclusive(' ') {
        let word = part.trim_end();
        let shown = if word.parse::<jiff::Timestamp>().is_ok() {
            TIME
        } else if is_age(word) {
            "5s"
        } else {
            word
        };
        out += shown;
        out += &part[word.len()..];
        // A column is as wide as before.
        if shown != word && part.ends_with(' ') {
            out += &" ".repeat(word.len().saturating_sub(shown.len()));
        }
    }
    out.trim_end().to_owned()
}

/// `7s`, `1m20s`, `2m`: how long ago something was.
fn is_age(word: &str) -> bool {
    let units = word.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    word.starts_with(|c: char| c.is_ascii_digit()) && ["s", "m", "ms", "h"].contains(&units.as_str())
}

#[test]
fn columns_stay_in_line_and_only_what_differs_is_replaced() {
    let uuid = Uuid::from_u128(7).to_string();
    assert_eq!(same_line(&format!("a   12s   {uuid} 2.24")), format!("a   5s    {} 2.24", crate::recorded::UUID));
    assert_eq!(same_line("Resource Version:  4711"), "Resource Version:  1000");
    assert_eq!(
        same_line("    Last Transition Time:  2020-01-01T00:00:00Z"),
        format!("    Last Transition Time:  {TIME}")
    );
    assert_eq!(same_line("up to 1h30m or 10 s, 1m20s"), "up to 1h30m or 10 s, 5s");
}
