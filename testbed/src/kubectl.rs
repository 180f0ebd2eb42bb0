//! kubectl and helm against one kubeconfig. Knows command lines, no object of this project.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{io::AsyncWriteExt, process::Command};

use crate::{Error, wait_until};

/// A deadline that is never reached when all is well.
const ESTABLISHED: Duration = Duration::from_secs(60);

/// What a command wrote and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Its exit status.
    pub status: ExitStatus,
}

/// kubectl, bound to a kubeconfig.
#[derive(Debug, Clone)]
pub struct Kubectl {
    binary: PathBuf,
    kubeconfig: PathBuf,
    cache: Option<PathBuf>,
}

impl Kubectl {
    /// Uses this binary with this kubeconfig.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>, kubeconfig: impl Into<PathBuf>) -> Self {
        Self { binary: binary.into(), kubeconfig: kubeconfig.into(), cache: None }
    }

    /// Keeps what kubectl caches in this directory and not in the user's home, where another testbed may have had the
    /// same address.
    #[must_use]
    pub fn with_cache(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache = Some(directory.into());
        self
    }

    /// Runs kubectl and returns what it said, also when it failed.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be started.
    pub async fn run(&self, args: &[&str]) -> Result<Output, Error> {
        self.start(args, None).await
    }

    /// Runs kubectl and returns its stdout.
    ///
    /// # Errors
    /// As [`Kubectl::run`], and [`Error::Command`] when it fails.
    pub async fn ok(&self, args: &[&str]) -> Result<String, Error> {
        self.start(args, None).await?.success("kubectl", args)
    }

    /// Runs kubectl with `input` on its stdin and returns its stdout.
    ///
    /// # Errors
    /// As [`Kubectl::ok`].
    pub async fn ok_with_input(&self, args: &[&str], input: &str) -> Result<String, Error> {
        self.start(args, Some(input)).await?.success("kubectl", args)
    }

    async fn start(&self, args: &[&str], input: Option<&str>) -> Result<Output, Error> {
        let cache = self.cache.iter().map(|directory| ("KUBECACHEDIR", directory.clone()));
        run(&self.binary, &self.kubeconfig, cache, args, input).await
    }

    /// Server-side apply of YAML or JSON documents; takes fields over from other managers.
    ///
    /// # Errors
    /// As [`Kubectl::ok`].
    pub async fn apply(&self, manifests: &str) -> Result<String, Error> {
        let args = ["apply", "--server-side", "--force-conflicts", "--field-manager=testbed", "-f", "-"];
        self.ok_with_input(&args, manifests).await
    }

    /// Waits until the API server has taken up these CustomResourceDefinitions, or all of them if none is named.
    ///
    /// # Errors
    /// [`Error::Deadline`].
    pub async fn established(&self, definitions: &[&str]) -> Result<(), Error> {
        let all = if definitions.is_empty() { &["--all"][..] } else { definitions };
        let args = [&["wait", "crd", "--for=condition=Established", "--timeout=5s"], all].concat();
        // kubectl does not wait for a definition that has no conditions at all yet.
        wait_until(ESTABLISHED, "the kinds to be served", async || self.ok(&args).await.map(drop)).await
    }
}

impl Output {
    /// Its stdout, if it succeeded.
    ///
    /// # Errors
    /// [`Error::Command`] with its stderr.
    pub fn success(self, program: &str, args: &[&str]) -> Result<String, Error> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        Err(Error::Command {
            command: format!("{program} {}", args.join(" ")),
            status: self.status.to_string(),
            stderr: self.stderr,
        })
    }
}

/// Runs one command with `KUBECONFIG` set. It is killed when the future is dropped.
pub(crate) async fn run(
    binary: &Path,
    kubeconfig: &Path,
    env: impl IntoIterator<Item = (&'static str, PathBuf)>,
    args: &[&str],
    input: Option<&str>,
) -> Result<Output, Error> {
    let what = || binary.display().to_string();
    let mut child = Command::new(binary)
        .args(args)
        .env("KUBECONFIG", kubeconfig)
        .envs(env)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(Error::io(what()))?;
    let stdin = child.stdin.take();
    let write = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A command that ends without reading everything reports that itself.
            let _broken_pipe = stdin.write_all(input.as_bytes()).await;
        }
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), write);
    let output = output.map_err(Error::io(what()))?;
    Ok(Output {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        status: output.status,
    })
}
