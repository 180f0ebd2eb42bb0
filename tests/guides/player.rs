//! Plays a page from its first line to its last. A block that is not run does not exist: what this file does not know it
//! refuses.
//!
//! Owns what is done with each kind of block. Must not know any page.

use std::path::Path;

use serde_json::Value;
use testbed::workspace_dir;

use crate::canon::canon;
use crate::page::{Block, Part, record, walk};
use crate::stage::Stage;
use crate::{kinds, others};

/// What is left to do, and what was done, of one page.
#[derive(Default)]
struct Score {
    commands: usize,
    manifests: usize,
    /// Files that the page has written and no command has used yet.
    unused: Vec<String>,
}

/// Plays `docs/<name>`, and compares it with what comes out, or writes it anew.
pub async fn play(stage: &mut Stage, name: &str) {
    let file = workspace_dir().join("docs").join(name);
    let written = std::fs::read_to_string(&file).unwrap();
    let played = perform(stage, &written).await;
    if std::env::var_os("UPDATE_GUIDES").is_some_and(|value| value == "1") {
        std::fs::write(&file, &played).unwrap();
        return;
    }
    let (written, played) = (canon(&written), canon(&played));
    let mut lines = written.lines().zip(played.lines()).enumerate();
    let differ = lines.find(|(_, (page, now))| page != now);
    assert!(
        written == played,
        "docs/{name} is not what comes out; the first line that differs: {differ:?}. Run \
         `UPDATE_GUIDES=1 cargo test --workspace --test guides` and look at the difference"
    );
}

/// The text with every recording made anew.
pub async fn perform(stage: &mut Stage, text: &str) -> String {
    let mut score = Score::default();
    let played = walk(text, async |part| match part {
        Part::Remark(remark) => {
            let deed = remark.strip_prefix("meanwhile: ");
            others::act(stage, deed.unwrap_or_else(|| panic!("unknown remark: {remark}"))).await;
            None
        }
        Part::Block(block) => perform_block(stage, &block, &mut score).await,
    })
    .await;
    assert!(score.commands + score.manifests > 0, "nothing was played");
    assert_eq!(score.unused, Vec::<String>::new(), "no command uses these files of the page");
    played
}

/// What is done with a block.
#[derive(Debug, PartialEq, Eq)]
enum Deed {
    /// Commands behind `$ `, with what they print.
    Record,
    /// A script; what it prints is not shown.
    Run,
    /// A manifest, or values of a chart.
    Apply,
}

impl Deed {
    /// `None` for a block that would not be run.
    fn of(language: &str) -> Option<Self> {
        match language {
            "console" => Some(Self::Record),
            "sh" => Some(Self::Run),
            "yaml" => Some(Self::Apply),
            _ => None,
        }
    }
}

async fn perform_block(stage: &mut Stage, block: &Block, score: &mut Score) -> Option<String> {
    let unknown = || panic!("line {}: a block in {:?} would not be run", block.line, block.language);
    match Deed::of(&block.language).unwrap_or_else(unknown) {
        Deed::Record => {
            let before = score.commands;
            let anew = record(&block.body, async |command| {
                score.uses(command);
                score.commands += 1;
                stage.enter(command).await
            });
            let anew = anew.await;
            assert!(score.commands > before, "line {}: a recording without a command", block.line);
            no_secret(stage, &anew);
            Some(anew)
        }
        Deed::Run => {
            score.uses(&block.body);
            score.commands += 1;
            no_secret(stage, &stage.run(&block.body).await);
            None
        }
        Deed::Apply => {
            perform_yaml(stage, block, score).await;
            None
        }
    }
}

/// A file if its first line names one, else a manifest to apply, else values for the chart `runai-cluster`.
async fn perform_yaml(stage: &Stage, block: &Block, score: &mut Score) {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&block.body).unwrap_or_else(|error| {
        panic!("line {}: {error}", block.line);
    });
    for document in &documents {
        if let Some(kind) = document["kind"].as_str() {
            kinds::known(kind).unwrap_or_else(|| panic!("line {}: unknown kind {kind}", block.line));
        }
    }
    score.manifests += 1;
    let first = block.body.lines().next().unwrap_or_default();
    if let Some(name) = file_name(first) {
        std::fs::write(stage.work().join(name), &block.body).unwrap();
        score.unused.push(name.to_owned());
    } else if documents[0]["kind"].is_string() {
        let file = stage.work().join(".manifest.yaml");
        std::fs::write(&file, &block.body).unwrap();
        stage.run("kubectl apply --server-side -f .manifest.yaml").await;
        std::fs::remove_file(file).unwrap();
    } else {
        let rendered = others::template(stage, "2.24", &[&block.body]).await;
        let kinds: Vec<_> = rendered.iter().filter_map(|object| object["kind"].as_str()).collect();
        // A client secret in written values would be one in Git.
        assert_eq!(kinds, ["ConfigMap"], "line {}: an agent that finds its secret in the cluster", block.line);
    }
}

/// `# name.yaml`
fn file_name(first: &str) -> Option<&str> {
    first.strip_prefix("# ").filter(|name| name.ends_with(".yaml") && !name.contains(' '))
}

impl Score {
    fn uses(&mut self, command: &str) {
        self.unused.retain(|name| !command.contains(name.as_str()));
    }
}

/// No page shows a credential that an agent logs in with.
fn no_secret(stage: &Stage, text: &str) {
    for record in stage.simulator.clusters() {
        assert!(!text.contains(&record.client_secret), "a client secret is shown: {text}");
    }
}

/// The pages of a directory below docs.
pub fn pages(directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(Path::new(workspace_dir()).join("docs").join(directory)).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| format!("{directory}/{}", entry.unwrap().file_name().to_str().unwrap())).collect();
    names.sort();
    names
}

#[test]
fn what_would_not_be_run_is_refused() {
    for language in ["", "text", "yml", "bash", "shell", "mermaid", "console title=x"] {
        assert_eq!(Deed::of(language), None, "{language:?}");
    }
    assert_eq!(kinds::known("Pod"), None, "a kind that nobody acts on, and no schema of it is here");
    assert_eq!(file_name("# Values of the chart."), None);
    assert_eq!(file_name("# flux.yaml"), Some("flux.yaml"));
    let mut score = Score { unused: vec!["a.yaml".to_owned(), "b.yaml".to_owned()], ..Score::default() };
    score.uses("kubectl apply -f b.yaml");
    assert_eq!(score.unused, ["a.yaml"], "a file that no command uses is left over, and told");
}
