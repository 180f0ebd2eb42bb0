//! A Prometheus server that scrapes one target, asked through promtool of the same version.
//!
//! Owns its configuration, its storage and its command lines. Does not know what is scraped or asked.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Error, TemporaryDirectory, Tool, ports, process::Process, wait_until};

/// The longest time that it may take to come up.
const READY: Duration = Duration::from_secs(60);

/// A running server. Ended by SIGKILL on drop, its storage removed.
pub struct Prometheus {
    // The order of fields is the order of ending.
    _process: Process,
    _directory: TemporaryDirectory,
    promtool: PathBuf,
    url: String,
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Its labels.
    #[serde(rename = "metric")]
    pub labels: BTreeMap<String, String>,
    /// Unix times in seconds, and numbers as Prometheus writes them.
    pub values: Vec<(f64, String)>,
}

#[derive(Deserialize)]
struct Instant {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

impl Prometheus {
    /// Starts a server that scrapes `target` (`host:port`) as job `job`. Labels of the target's own win, as with the
    /// chart's ServiceMonitor.
    ///
    /// # Errors
    /// As [`Tool::find`]; [`Error::Deadline`] with the end of its log when it does not come up.
    pub async fn start(job: &str, target: &str, every: Duration) -> Result<Self, Error> {
        let (binary, promtool) = (Tool::Prometheus.find().await?, Tool::Promtool.find().await?);
        let directory = TemporaryDirectory::create()?;
        let [port] = ports::free_ports()?;
        let config = directory.path().join("prometheus.json");
        let interval = format!("{}s", every.as_secs());
        let jobs = serde_json::json!({
            "global": { "scrape_interval": interval, "scrape_timeout": interval },
            "scrape_configs": [{ "job_name": job, "honor_labels": true, "static_configs": [{ "targets": [target] }] }],
        });
        fs::write(&config, jobs.to_string()).map_err(Error::io(config.display().to_string()))?;
        let log = directory.path().join("prometheus.log");
        let mut command = Command::new(binary);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let mut process = Process::start("prometheus", command.current_dir(directory.path()), &log)?;
        let url = format!("http://127.0.0.1:{port}");
        wait_until(READY, "Prometheus to become ready", async || match process.check_running() {
            Err(ended) => Ok(Err(ended)),
            Ok(()) => run(&promtool, &["check", "ready", &format!("--url={url}")]).await.map(|_said| Ok(())),
        })
        .await??;
        Ok(Self { _process: process, _directory: directory, promtool, url })
    }

    /// The answer to a query at every `step` from `from` to `to`, in Unix time.
    ///
    /// # Errors
    /// [`Error::Command`] with what Prometheus says of the query; [`Error::Parse`].
    pub async fn range(&self, query: &str, from: i64, to: i64, step: Duration) -> Result<Vec<Series>, Error> {
        let (from, to) = (format!("--start={from}"), format!("--end={to}"));
        self.ask(&["range", &from, &to, &format!("--step={}s", step.as_secs()), &self.url, query]).await
    }

    /// The answer to a query at one time.
    ///
    /// # Errors
    /// As [`Prometheus::range`].
    pub async fn instant(&self, query: &str, at: i64) -> Result<Vec<Series>, Error> {
        let found: Vec<Instant> = self.ask(&["instant", &format!("--time={at}"), &self.url, query]).await?;
        Ok(found.into_iter().map(|one| Series { labels: one.metric, values: vec![one.value] }).collect())
    }

    async fn ask<T: DeserializeOwned>(&self, question: &[&str]) -> Result<T, Error> {
        let text = run(&self.promtool, &[&["query", "--format=json"], question].concat()).await?;
        serde_json::from_str(&text)
            .map_err(|error| Error::Parse { what: "promtool's answer".to_owned(), detail: error.to_string() })
    }
}

async fn run(binary: &Path, args: &[&str]) -> Result<String, Error> {
    let mut command = tokio::process::Command::new(binary);
    let output = command.args(args).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.map_err(Error::io(binary.display().to_string()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    crate::Output { stdout: text(&output.stdout), stderr: text(&output.stderr), status: output.status }
        .success("promtool", args)
}
