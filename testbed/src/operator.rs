//! The operator as a process: started with a kubeconfig, signalled, asked over its own HTTP ports.
//!
//! Knows the operator's command line (`run` and the flags below) and nothing of its insides.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    Error, OPERATOR_NAMESPACE, Pod, ports,
    process::{Process, tail},
    wait_until,
};

/// Limit for one HTTP request to the operator; it answers from memory.
const HTTP_LIMIT: Duration = Duration::from_secs(5);

/// How to start the operator.
#[derive(Debug, Clone)]
pub struct OperatorOptions {
    /// The binary; tests pass `env!("CARGO_BIN_EXE_runai-cluster-operator")`.
    pub binary: PathBuf,
    /// Its login; see [`crate::Testbed::serviceaccount_kubeconfig`].
    pub kubeconfig: PathBuf,
    /// Where its log goes, usually [`crate::Testbed::directory`].
    pub log_directory: PathBuf,
    /// The value of `--namespace`.
    pub namespace: String,
    /// Whether `--allow-insecure-http` is passed: the simulator speaks http unless told otherwise.
    pub allow_insecure_http: bool,
    /// Flags after `run --namespace .. --allow-insecure-http --metrics-bind .. --health-bind ..`.
    pub args: Vec<String>,
    /// Additional environment.
    pub env: Vec<(String, OsString)>,
}

impl OperatorOptions {
    /// http allowed, no further flags, no environment, the usual namespace.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>, kubeconfig: impl Into<PathBuf>, log_directory: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            kubeconfig: kubeconfig.into(),
            log_directory: log_directory.into(),
            namespace: OPERATOR_NAMESPACE.to_owned(),
            allow_insecure_http: true,
            args: Vec::new(),
            env: Vec::new(),
        }
    }

    /// Appends a flag.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Leaves `--allow-insecure-http` out.
    #[must_use]
    pub fn https_only(mut self) -> Self {
        self.allow_insecure_http = false;
        self
    }

    /// Adds a variable to its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// A running operator. Ended by SIGKILL on drop.
pub struct OperatorProcess {
    process: Process,
    metrics: String,
    health: String,
    http: reqwest::Client,
}

impl OperatorProcess {
    /// Starts the process; does not wait for it to be ready.
    ///
    /// # Errors
    /// [`Error::Missing`] without the binary, [`Error::Io`] when it cannot be started.
    pub fn start(options: &OperatorOptions) -> Result<Self, Error> {
        let [metrics, health] = ports::free_ports()?.map(|port: u16| format!("127.0.0.1:{port}"));
        let mut command = Command::new(&options.binary);
        command
            .args(["run", "--namespace", &options.namespace])
            .args(options.allow_insecure_http.then_some("--allow-insecure-http"))
            .args(["--metrics-bind", &metrics, "--health-bind", &health])
            .args(&options.args)
            .env("KUBECONFIG", &options.kubeconfig)
            .envs(options.env.iter().map(|(name, value)| (name, value)));
        Self::launch(command, &options.log_directory, metrics, health)
    }

    /// Starts it as the container of a pod: with its arguments and its environment, and nothing else.
    ///
    /// # Errors
    /// As [`OperatorProcess::start`]; [`Error::State`] when the pod has no ports `metrics` and `health`.
    pub fn start_pod(binary: impl Into<PathBuf>, pod: &Pod, log_directory: &Path) -> Result<Self, Error> {
        let port = |name: &str| pod.ports.get(name).cloned().ok_or_else(|| Error::State(format!("no port {name}")));
        let mut command = Command::new(binary.into());
        command.args(&pod.args).env_clear().envs(pod.env.iter().map(|(name, value)| (name, value)));
        // In a pod the token and the address of the API lie in files and variables of their own.
        command.env("KUBECONFIG", pod.login.kubeconfig());
        Self::launch(command, log_directory, port("metrics")?, port("health")?)
    }

    fn launch(mut command: Command, log_directory: &Path, metrics: String, health: String) -> Result<Self, Error> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let binary = Path::new(command.get_program()).to_owned();
        if !binary.is_file() {
            return Err(Error::Missing { what: "the operator's binary".to_owned(), path: binary });
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let log = log_directory.join(format!("operator-{number}.log"));
        let process = Process::start("the operator", &mut command, &log)?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(HTTP_LIMIT)
            .build()
            .map_err(|error| Error::State(format!("HTTP client: {error}")))?;
        Ok(Self { process, metrics, health, http })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// `host:port` of `/metrics`.
    #[must_use]
    pub fn metrics_address(&self) -> &str {
        &self.metrics
    }

    /// `host:port` of `/livez` and `/readyz`.
    #[must_use]
    pub fn health_address(&self) -> &str {
        &self.health
    }

    /// How it ended, if it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.process.status()
    }

    /// Waits until `/readyz` answers with success.
    ///
    /// # Errors
    /// [`Error::Ended`] as soon as the process has gone, [`Error::Deadline`]; both with the end of its log.
    pub async fn wait_ready(&mut self, deadline: Duration) -> Result<(), Error> {
        let url = format!("http://{}/readyz", self.health);
        let (http, process) = (&self.http, &mut self.process);
        let log = process.log().to_owned();
        wait_until(deadline, "the operator to become ready", async || match process.check_running() {
            Err(ended) => Ok(Err(ended)),
            Ok(()) => match get(http, &url).await {
                Ok(_body) => Ok(Ok(())),
                Err(error) => Err(format!("{error}; the end of its log:\n{}", tail(&log))),
            },
        })
        .await?
    }

    /// Ends it by SIGKILL and waits for that (milliseconds).
    pub fn sigkill(&mut self) {
        self.process.kill();
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// [`Error::Io`] when the signal cannot be sent.
    pub fn sigterm(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::TERM)
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// [`Error::Deadline`] when it still runs at the deadline.
    pub async fn sigterm_and_wait(&mut self, deadline: Duration) -> Result<ExitStatus, Error> {
        self.sigterm()?;
        self.process.wait(deadline).await
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// [`Error::Deadline`] when it still runs at the deadline.
    pub async fn wait_exit(&mut self, deadline: Duration) -> Result<ExitStatus, Error> {
        self.process.wait(deadline).await
    }

    /// Freezes it (SIGSTOP).
    ///
    /// # Errors
    /// [`Error::Io`] when the signal cannot be sent.
    pub fn sigstop(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::STOP)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// [`Error::Io`] when the signal cannot be sent.
    pub fn sigcont(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::CONT)
    }

    /// Everything it has logged.
    ///
    /// # Errors
    /// [`Error::Io`] when the log cannot be read.
    pub fn logs(&self) -> Result<String, Error> {
        let log = self.process.log();
        let bytes = fs::read(log).map_err(Error::io(log.display().to_string()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Its log file.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        self.process.log()
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    /// [`Error::Http`].
    pub async fn metrics(&self) -> Result<String, Error> {
        get(&self.http, &format!("http://{}/metrics", self.metrics)).await
    }

    /// What a probe is told: the status and the text of `/readyz` or `/livez`.
    ///
    /// # Errors
    /// [`Error::Http`] when nobody answers.
    pub async fn probe(&self, path: &str) -> Result<(u16, String), Error> {
        let url = format!("http://{}{path}", self.health);
        let (status, body) = ask(&self.http, &url).await?;
        Ok((status.as_u16(), body))
    }

    /// Resident memory in KiB, from `/proc`.
    ///
    /// # Errors
    /// [`Error::Io`] when the process has gone, [`Error::Parse`] without the field.
    pub fn rss_kib(&self) -> Result<u64, Error> {
        let path = format!("/proc/{}/status", self.pid());
        let text = fs::read_to_string(&path).map_err(Error::io(path.clone()))?;
        let value = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        value.ok_or_else(|| Error::Parse { what: path, detail: "no VmRSS".to_owned() })
    }
}

async fn ask(http: &reqwest::Client, url: &str) -> Result<(reqwest::StatusCode, String), Error> {
    let failed = |error: reqwest::Error| Error::Http { url: url.to_owned(), detail: error.to_string() };
    let response = http.get(url).send().await.map_err(failed)?;
    let status = response.status();
    Ok((status, response.text().await.map_err(failed)?))
}

async fn get(http: &reqwest::Client, url: &str) -> Result<String, Error> {
    let (status, body) = ask(http, url).await?;
    if status.is_success() {
        return Ok(body);
    }
    Err(Error::Http { url: url.to_owned(), detail: format!("{status}: {body}") })
}
