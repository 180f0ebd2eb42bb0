//! The binary as a user starts it, and what it said.
//!
//! Owns its environment. Must not know any scenario.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use runai_simulator::{Operation, Simulator};
use serde_json::Value;
use testbed::TemporaryDirectory;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::world::World;

/// What a command wrote and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    pub fn of(output: &std::process::Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Checks the exit code, and shows everything if it is another.
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Checks that standard error holds each of these.
    pub fn notes(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is missing: {self:#?}");
        }
        self
    }
}

/// The binary, called with the same environment every time.
pub struct Tool {
    program: PathBuf,
    kubeconfig: PathBuf,
    directory: TemporaryDirectory,
}

impl Tool {
    /// With the administrator's kubeconfig of this world.
    pub fn of(world: &World) -> Self {
        Self::with(world.bed.kubeconfig())
    }

    pub fn with(kubeconfig: &Path) -> Self {
        Self {
            program: env!("CARGO_BIN_EXE_runai-cluster-operator").into(),
            kubeconfig: kubeconfig.to_owned(),
            directory: TemporaryDirectory::create().unwrap(),
        }
    }

    /// Where no Kubernetes is.
    pub fn alone() -> Self {
        Self::with(Path::new("/nonexistent/kubeconfig"))
    }

    /// A directory of its own, in which it is started.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file into that directory; returns its path.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.directory().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Makes any program start as the binary does.
    pub fn prepare(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RUNAI_OPERATOR_") || name == "RUST_LOG")
        {
            command.env_remove(name);
        }
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("RUNAI_OPERATOR_ALLOW_INSECURE_HTTP", "true")
            .env_remove("KUBERNETES_SERVICE_HOST")
            .env_remove("COLUMNS")
            .current_dir(self.directory())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.prepare(&self.program);
        command.args(args);
        command
    }

    pub async fn run(&self, args: &[&str]) -> Said {
        Said::of(&self.command(args).output().await.unwrap())
    }

    pub async fn run_with_input(&self, args: &[&str], input: &str) -> Said {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let write = async {
            // A command that ends without reading everything says so itself.
            let _ = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), write);
        Said::of(&output.unwrap())
    }
}

/// The flags by which a simulator is reached without Kubernetes; the file has the Secret's keys.
pub fn credentials(tool: &Tool, simulator: &Simulator) -> [String; 2] {
    let text = format!("url: {}\nclientID: operator\nclientSecret: operator-secret\n", simulator.url());
    ["--credentials".to_owned(), tool.file("credentials.yaml", &text)]
}

/// Requests after `since` that could change a registration, committed or not.
pub fn changes(simulator: &Simulator, since: u64) -> Vec<String> {
    let mut entries = simulator.journal_since(since);
    entries.retain(|entry| entry.operation.is_some_and(Operation::is_mutation));
    entries.iter().map(|entry| format!("{} {} {:?}", entry.method, entry.route, entry.path_id)).collect()
}
