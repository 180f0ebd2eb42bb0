//! `testbed picture`: some minutes in the life of a fleet, scraped by Prometheus, drawn as the chart's dashboard shows it.
//!
//! Owns the timetable of those minutes and the queries. Does not know how anything is drawn.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use runai_simulator::{
    AgentCommand, AgentConfig, Config, DeleteConfig, FaultAction, FaultRule, Phase, SeedCluster, TokenConfig,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use testbed::{Error, Prometheus, Series, Tool, workspace_dir};

use crate::{
    drawing, sample,
    stage::{Stage, operator_binary},
};

/// Time between two scrapes, and between two points of a line.
const STEP: Duration = Duration::from_secs(5);
/// As Grafana works out `$__rate_interval`: four scrapes, at this distance of points.
const RATE_INTERVAL: &str = "20s";
/// The end of the timetable.
const END: u64 = 600;
/// Who is in the picture: the namespaces and how many clusters each gets.
const RESEARCH: (&str, usize) = ("research", 16);
const TRAINING: (&str, usize) = ("training", 12);
/// A registration that nobody manages, whose name an object asks for.
const TAKEN: &str = "legacy-dgx";

/// All that the picture is drawn from.
#[derive(Serialize, Deserialize)]
pub(crate) struct Record {
    /// The day, UTC.
    pub(crate) date: String,
    /// The operator's version.
    pub(crate) version: String,
    /// Unix times of start and end.
    pub(crate) span: (i64, i64),
    /// Time between two points, in seconds.
    pub(crate) step: u64,
    /// What was done, and how many seconds after the start.
    pub(crate) story: Vec<(u64, String)>,
    /// By id of the panel: an answer for each of its queries.
    pub(crate) panels: BTreeMap<u64, Vec<Vec<Series>>>,
}

/// Runs the timetable, or takes the record of the last one, and draws `docs/dashboard.svg`.
pub(crate) async fn run(operator: Option<PathBuf>, redraw: bool) -> Result<(), Error> {
    let dashboard = read(&workspace_dir().join("charts/runai-cluster-operator/files/dashboard.json"))?;
    let kept = workspace_dir().join("target/dashboard-record.json");
    if !redraw {
        let record = record(operator_binary(operator)?, &dashboard).await?;
        write(&kept, &serde_json::to_string(&record).map_err(unreadable("the record"))?)?;
    }
    let record = serde_json::from_value(read(&kept)?).map_err(unreadable("the record"))?;
    let picture = workspace_dir().join("docs/dashboard.svg");
    write(&picture, &drawing::draw(&dashboard, &record))?;
    eprintln!("testbed: wrote {}", picture.display());
    Ok(())
}

async fn record(operator: PathBuf, dashboard: &Value) -> Result<Record, Error> {
    let config = Config {
        agent: AgentConfig {
            auto_start_seconds: Some(30.0),
            heartbeat_seconds: 5.0,
            stale_seconds: 30.0,
            ..AgentConfig::default()
        },
        delete: DeleteConfig { graceful_seconds: 25.0, ..DeleteConfig::default() },
        token: TokenConfig { ttl_seconds: 120, ..TokenConfig::default() },
        latency_ms: 15,
        latency_jitter_ms: 50,
        ..Config::default()
    };
    // What takes minutes to build is not waited for in the middle of the play.
    Tool::Prometheus.find().await?;
    let mut stage = Stage::own(config).await?;
    let namespaces = [RESEARCH.0, TRAINING.0].map(sample::namespace).join("---\n");
    stage.kubectl.apply(&namespaces).await?;
    for name in [TAKEN, "workstation"] {
        stage.simulator.seed(SeedCluster::named(name).connected()).map_err(outside)?;
    }
    stage.start_operator(operator).await?;
    let Some(process) = &stage.operator else { return Err(Error::State("no operator runs".to_owned())) };
    let prometheus = Prometheus::start("runai-operator", process.metrics_address(), STEP).await?;
    let play = Play { stage: &stage, start: Instant::now(), story: RefCell::default() };
    let from = Timestamp::now();
    play.all().await.map_err(|error| stage.with_log(error))?;
    let span = (from.as_second(), from.as_second() + i64::try_from(END).unwrap_or_default());
    let panels = ask(&prometheus, dashboard, span).await?;
    let (date, version) = (from.strftime("%Y-%m-%d").to_string(), env!("CARGO_PKG_VERSION").to_owned());
    Ok(Record { date, version, span, step: STEP.as_secs(), story: play.story.into_inner(), panels })
}

/// The timetable. The waiting in it is the play itself: nothing is taken to be done because time has passed.
struct Play<'a> {
    stage: &'a Stage,
    start: Instant,
    story: RefCell<Vec<(u64, String)>>,
}

impl Play<'_> {
    async fn all(&self) -> Result<(), Error> {
        let simulator = &self.stage.simulator;
        self.at(10, "the control plane is connected, with clusterMetrics").await;
        self.stage.apply_control_plane().await?;
        let metrics = json!({ "enabled": true, "interval": "1m" });
        let spec = json!({ "spec": { "clusterMetrics": metrics, "livenessGranularity": "1m" } });
        self.kubectl(&["patch", "runaicontrolplane", sample::CONTROL_PLANE], Some(spec)).await?;

        self.at(30, "16 clusters are made; their agents come half a minute later").await;
        self.make(RESEARCH, 0).await?;
        self.at(90, "12 more; one asks for a name that is taken").await;
        self.make(TRAINING, 1).await?;
        self.at(150, "the agent of research/gpu-03 falls silent").await;
        self.agent("research-gpu-03", AgentCommand::Pause)?;

        self.at(210, "the control plane answers 503 for a minute; two renames meanwhile").await;
        let out = FaultAction::Status { code: 503, body: None, headers: BTreeMap::new(), phase: Phase::Pre };
        simulator.add_fault(FaultRule::new(out).named("outage"));
        for name in ["gpu-01", "gpu-02"] {
            self.change(RESEARCH.0, name, json!({ "name": format!("{name}-renamed") })).await?;
        }
        self.at(270, "the control plane is back").await;
        simulator.remove_fault("outage");

        self.at(330, "the agent of research/gpu-03 is back").await;
        self.agent("research-gpu-03", AgentCommand::start())?;
        self.at(360, "the object with the taken name gets one of its own").await;
        self.change(TRAINING.0, "gpu-01", json!({ "name": "training-gpu-01" })).await?;

        self.at(420, "training/gpu-12 loses its agent; it and four more are deleted").await;
        self.agent("training-gpu-12", AgentCommand::Pause)?;
        self.change(TRAINING.0, "gpu-12", json!({ "deletion": { "stalledAfter": "1m" } })).await?;
        let names = ["gpu-08", "gpu-09", "gpu-10", "gpu-11", "gpu-12"];
        self.kubectl(&[&["-n", TRAINING.0, "delete", "runaiclusters", "--wait=false"], &names[..]].concat(), None)
            .await?;
        self.wait(END + STEP.as_secs()).await;
        Ok(())
    }

    async fn wait(&self, second: u64) {
        tokio::time::sleep_until((self.start + Duration::from_secs(second)).into()).await;
    }

    async fn at(&self, second: u64, what: &str) {
        self.wait(second).await;
        eprintln!("testbed: {second:4} s  {what}");
        self.story.borrow_mut().push((second, what.to_owned()));
    }

    /// So many clusters; the first `taken` of them ask for a name that is taken.
    async fn make(&self, (namespace, count): (&str, usize), taken: usize) -> Result<(), Error> {
        let cluster = |number: usize| {
            let own = format!("{namespace}-gpu-{number:02}");
            json!({
                "apiVersion": "runai-operator.io/v1alpha1", "kind": "RunaiCluster",
                "metadata": { "name": format!("gpu-{number:02}"), "namespace": namespace },
                "spec": {
                    "name": if number > taken { &own } else { TAKEN },
                    "domain": format!("https://{own}.example.com"), "version": "2.25.11",
                },
            })
        };
        let items: Vec<_> = (1..=count).map(cluster).collect();
        self.stage.kubectl.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()).await?;
        Ok(())
    }

    async fn change(&self, namespace: &str, name: &str, spec: Value) -> Result<(), Error> {
        self.kubectl(&["-n", namespace, "patch", "runaicluster", name], Some(json!({ "spec": spec }))).await
    }

    async fn kubectl(&self, args: &[&str], merge: Option<Value>) -> Result<(), Error> {
        let patch = merge.map(|patch| patch.to_string());
        let patch = patch.iter().flat_map(|patch| ["--type=merge", "-p", patch]);
        self.stage.kubectl.ok(&args.iter().copied().chain(patch).collect::<Vec<_>>()).await.map(drop)
    }

    fn agent(&self, registration: &str, command: AgentCommand) -> Result<(), Error> {
        let found = self.stage.simulator.clusters_named(registration);
        let [cluster] = &found[..] else { return Err(Error::State(format!("one {registration}: {found:?}"))) };
        self.stage.simulator.agent(cluster.uuid, command).map_err(outside)
    }
}

/// The answers to all queries of all panels. A query without any is an error: it belongs into no dashboard, or the
/// timetable leaves something out.
async fn ask(
    prometheus: &Prometheus,
    dashboard: &Value,
    (from, to): (i64, i64),
) -> Result<BTreeMap<u64, Vec<Vec<Series>>>, Error> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut panels = BTreeMap::new();
    let mut without = Vec::new();
    for panel in list(&dashboard["panels"]).iter().filter(|panel| panel["type"] != "row") {
        let mut answers = Vec::new();
        for target in list(&panel["targets"]) {
            let mut query = target["expr"].as_str().unwrap_or_default().replace("$__rate_interval", RATE_INTERVAL);
            for variable in list(&dashboard["templating"]["list"]) {
                if let (Some(name), Some(all)) = (variable["name"].as_str(), variable["allValue"].as_str()) {
                    query = query.replace(&format!("${name}"), all);
                }
            }
            let answer = match target["instant"] == true {
                true => prometheus.instant(&query, to).await?,
                false => prometheus.range(&query, from, to, STEP).await?,
            };
            if drawing::points(&answer) == 0 {
                without.push(format!("{}: {query}", panel["title"]));
            }
            answers.push(answer);
        }
        panels.insert(panel["id"].as_u64().unwrap_or_default(), answers);
    }
    if without.is_empty() { Ok(panels) } else { Err(Error::State(format!("without data:\n{}", without.join("\n")))) }
}

fn read(path: &Path) -> Result<Value, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Io { what: path.display().to_string(), source })?;
    serde_json::from_str(&text).map_err(unreadable(&path.display().to_string()))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::Io { what: path.display().to_string(), source })
}

fn unreadable(what: &str) -> impl FnOnce(serde_json::Error) -> Error {
    let what = what.to_owned();
    move |error| Error::Parse { what, detail: error.to_string() }
}

fn outside(error: impl std::fmt::Display) -> Error {
    Error::State(error.to_string())
}
