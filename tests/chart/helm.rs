//! Helm without a cluster. Owns its caches; knows the place of the chart.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use testbed::{TemporaryDirectory, Tool, workspace_dir};
use tokio::process::Command;

/// The release of most renders.
pub const RELEASE: &str = "runai-operator";
/// Its namespace.
pub const NAMESPACE: &str = "ops";

/// The project's chart.
pub fn chart() -> PathBuf {
    workspace_dir().join("charts/runai-cluster-operator")
}

/// The values that every check of the chart goes through, the defaults first.
pub fn values_files() -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(chart().join("ci")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    files.insert(0, chart().join("values.yaml"));
    files
}

/// One version of Helm.
pub struct Helm {
    binary: PathBuf,
    home: TemporaryDirectory,
}

impl Helm {
    /// Helm 3.
    pub async fn three() -> Self {
        Self::with(testbed::find_all().await.unwrap().helm)
    }

    /// Helm 4.
    pub async fn four() -> Self {
        Self::with(Tool::Helm4.find().await.unwrap())
    }

    fn with(binary: PathBuf) -> Self {
        Self { binary, home: TemporaryDirectory::create().unwrap() }
    }

    /// Runs it; `Err` with what it said when it fails.
    pub async fn run(&self, args: &[&str]) -> Result<String, String> {
        run(
            &self.binary,
            &["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"].map(|name| (name, self.home.path())),
            args,
        )
        .await
    }

    /// The text of a render, hooks included.
    pub async fn text(&self, release: &str, chart: &Path, args: &[&str]) -> Result<String, String> {
        let chart = chart.display().to_string();
        let all = ["template", release, &chart, "--namespace", NAMESPACE, "--kube-version", "1.36.0"];
        self.run(&[&all, args].concat()).await
    }

    /// The documents of a render of the project's chart.
    pub async fn documents(&self, args: &[&str]) -> Vec<Value> {
        documents(&self.text(RELEASE, &chart(), args).await.unwrap_or_else(|error| panic!("{args:?}: {error}")))
    }

    /// What is said to a render that has to be refused.
    pub async fn refusal(&self, args: &[&str]) -> String {
        match self.text(RELEASE, &chart(), args).await {
            Ok(text) => panic!("{args:?} was rendered:\n{text}"),
            Err(said) => said,
        }
    }
}

/// Runs a program to its end; its stdout, or everything that it said if it fails.
pub async fn run(program: &Path, env: &[(&str, &Path)], args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(args).envs(env.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

/// YAML documents, empty ones left out.
pub fn documents(text: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    all.into_iter().filter(Value::is_object).collect()
}

/// Kind, namespace and name.
pub fn identity(document: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!(
        "{} {}/{}",
        text(&document["kind"]),
        text(&document["metadata"]["namespace"]),
        text(&document["metadata"]["name"])
    )
}

/// The documents of one kind.
pub fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents.iter().filter(|document| document["kind"] == kind).collect()
}

/// Copies a directory with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
