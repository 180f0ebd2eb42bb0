//! The program `testbed/judges`: kstatus, Argo CD and Flux, asked about objects.
//!
//! Owns its command line and answers. Must not know any object.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::files;

/// What everybody says of one object.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verdict {
    pub kstatus: String,
    pub kstatus_message: String,
    pub argocd: String,
    pub argocd_message: String,
    pub strict: String,
    pub strict_message: String,
    pub flux: String,
    pub flux_message: String,
}

impl Verdict {
    /// kstatus, Argo CD, Argo CD with the strict script, Flux with its expressions.
    pub fn words(&self) -> [&str; 4] {
        [&self.kstatus, &self.argocd, &self.strict, &self.flux]
    }
}

/// What is said of a manifest for Argo CD or Flux.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    pub kind: String,
    pub name: String,
    pub error: Option<String>,
}

/// Whether those that depend on an object may go on.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Readiness {
    pub ready: bool,
    pub error: Option<String>,
}

/// What an ApplicationSet makes of one cluster of Argo CD.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    pub application: Option<Value>,
    pub error: Option<String>,
}

/// One test of a `health_test.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    pub test: String,
    pub expected: Value,
    pub found: Value,
}

/// The files that a user gives the tools.
pub struct Judges {
    program: PathBuf,
    argocd: PathBuf,
    strict: PathBuf,
    flux: PathBuf,
}

impl Judges {
    /// With the files of this project.
    pub async fn new() -> Self {
        Self {
            program: testbed::Tool::Judges.find().await.unwrap(),
            argocd: files::path("gitops/argocd/argocd-cm.yaml"),
            strict: files::path("gitops/argocd/argocd-cm-strict.yaml"),
            flux: files::path("gitops/flux/kustomizations.yaml"),
        }
    }

    /// With another `argocd-cm` in the place of the usual one.
    pub fn with_argocd(self, argocd: &Path) -> Self {
        Self { argocd: argocd.to_owned(), ..self }
    }

    /// With another strict `argocd-cm`.
    pub fn with_strict(self, strict: &Path) -> Self {
        Self { strict: strict.to_owned(), ..self }
    }

    /// With other Kustomizations.
    pub fn with_flux(self, flux: &Path) -> Self {
        Self { flux: flux.to_owned(), ..self }
    }

    /// A verdict for each object.
    pub async fn health<'a>(&self, objects: impl IntoIterator<Item = &'a Value>) -> Vec<Verdict> {
        let args: [&OsStr; 7] = [
            "health".as_ref(),
            "-argocd".as_ref(),
            self.argocd.as_ref(),
            "-strict".as_ref(),
            self.strict.as_ref(),
            "-flux".as_ref(),
            self.flux.as_ref(),
        ];
        self.ask(&args, objects).await
    }

    pub async fn one(&self, object: &Value) -> Verdict {
        self.health([object]).await.remove(0)
    }

    /// A finding for each manifest.
    pub async fn manifests<'a>(&self, objects: impl IntoIterator<Item = &'a Value>) -> Vec<Finding> {
        self.ask(&["manifests".as_ref()], objects).await
    }

    /// What the objects of a file that depend on each of these, with an expression, take it for.
    pub async fn ready<'a>(&self, file: &Path, objects: impl IntoIterator<Item = &'a Value>) -> Vec<Readiness> {
        self.ask(&["ready".as_ref(), file.as_ref()], objects).await
    }

    /// What an ApplicationSet makes of each of the Secrets in which Argo CD keeps its clusters.
    pub async fn applications<'a>(&self, file: &Path, secrets: impl IntoIterator<Item = &'a Value>) -> Vec<Product> {
        self.ask(&["applications".as_ref(), file.as_ref()], secrets).await
    }

    /// The outcome of every test below a folder in Argo CD's layout.
    pub async fn upstream(&self, folder: &Path) -> Vec<Outcome> {
        self.ask(&["upstream".as_ref(), folder.as_ref()], []).await
    }

    async fn ask<'a, T: DeserializeOwned>(
        &self,
        args: &[&OsStr],
        objects: impl IntoIterator<Item = &'a Value>,
    ) -> Vec<T> {
        let input: String = objects.into_iter().map(|object| format!("{object}\n")).collect();
        let mut command = Command::new(&self.program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let write = async {
            // A program that ends without reading everything says so itself.
            let _ = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), write);
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }
}
