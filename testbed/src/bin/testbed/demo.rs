//! `testbed demo`: the life of one RunaiCluster, shown by kubectl at every step.
//!
//! Owns the steps and the cleaning up. Every step waits for its outcome and fails with the last state that was seen.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use runai_simulator::{AgentCommand, AgentConfig, Config, DeleteConfig};
use serde_json::Value;
use testbed::{Error, OPERATOR_NAMESPACE, wait_until};

use crate::{
    sample::{self, CLUSTER, CONTROL_PLANE, NAMESPACE, NEW_NAME},
    stage::{Cluster, Stage, operator_binary},
};

/// The longest time that one step may take.
const STEP: Duration = Duration::from_secs(60);
/// The longest time that the operator may take to end.
const END: Duration = Duration::from_secs(30);

/// Plays the demonstration; `interrupted` ends it early. What it made in a foreign cluster is removed in any case.
pub(crate) async fn run(
    operator: Option<PathBuf>,
    interrupted: impl Future<Output = Result<&'static str, Error>>,
) -> Result<(), Error> {
    let binary = operator_binary(operator)?;
    let config = Config {
        agent: AgentConfig { heartbeat_seconds: 1.0, ..AgentConfig::default() },
        delete: DeleteConfig { graceful_seconds: 5.0, ..DeleteConfig::default() },
        ..Config::default()
    };
    let kubeconfig = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()).map(PathBuf::from);
    tokio::pin!(interrupted);
    let start = async {
        match kubeconfig {
            Some(kubeconfig) => Stage::foreign(kubeconfig, config).await,
            None => Stage::own(config).await,
        }
    };
    let stage = tokio::select! {
        stage = start => stage?,
        signal = &mut interrupted => return Err(Error::State(signal?.to_owned())),
    };
    let mut demo = Demo { stage, start: Instant::now() };
    let played = tokio::select! {
        played = demo.play(binary) => played.map_err(|error| demo.stage.with_log(error)),
        signal = &mut interrupted => Err(Error::State(signal?.to_owned())),
    };
    let cleaned = demo.clean_up().await;
    if played.is_ok() && cleaned.is_ok() {
        eprintln!("testbed: the demonstration is complete, nothing is left running");
    } else if let (Err(_), Err(error)) = (&played, &cleaned) {
        eprintln!("testbed: cleaning up: {error}");
    }
    played.and(cleaned)
}

struct Demo {
    stage: Stage,
    start: Instant,
}

impl Demo {
    async fn play(&mut self, binary: PathBuf) -> Result<(), Error> {
        let namespaces = [OPERATOR_NAMESPACE, NAMESPACE].map(sample::namespace).join("---\n");
        self.stage.kubectl.apply(&namespaces).await?;
        self.stage.start_operator(binary).await?;
        self.connect().await?;
        self.register().await?;
        self.start_agent().await?;
        self.rename().await?;
        self.delete().await?;
        self.end_operator().await
    }

    async fn connect(&self) -> Result<(), Error> {
        self.say("a Secret with URL and credentials, and RunaiControlPlane `default` that refers to it");
        self.stage.apply_control_plane().await?;
        wait_until(STEP, "the control plane to be ready", async || {
            let object = self.get("runaicontrolplanes", CONTROL_PLANE).await?;
            expect(&object, condition(&object, "Ready") == "True")
        })
        .await?;
        self.show(&["get", "runaicontrolplanes"]).await
    }

    async fn register(&self) -> Result<(), Error> {
        self.say("a RunaiCluster is applied, and the operator registers it");
        self.stage.kubectl.apply(&sample::cluster()).await?;
        self.show_cluster().await?;
        self.until("the cluster to be registered", |object| {
            condition(object, "Ready") == "True" && object["status"]["state"] == "WaitingToConnect"
        })
        .await?;
        self.show_cluster().await
    }

    async fn start_agent(&self) -> Result<(), Error> {
        self.say("somebody installs the agent, and the cluster connects");
        let live = self.stage.simulator.live_clusters();
        let [registration] = live.as_slice() else {
            return Err(Error::State(format!("one registration was expected: {live:?}")));
        };
        let command = AgentCommand::Start { after_seconds: 0.0, client_secret: None };
        self.stage
            .simulator
            .agent(registration.uuid, command)
            .map_err(|error| Error::State(format!("starting the agent: {error}")))?;
        self.until("the cluster to be connected", |object| condition(object, "Connected") == "True").await?;
        self.show_cluster().await
    }

    async fn rename(&self) -> Result<(), Error> {
        self.say(&format!("spec.name becomes {NEW_NAME}, and the registration follows"));
        let patch = format!(r#"{{"spec":{{"name":"{NEW_NAME}"}}}}"#);
        let target = ["-n", NAMESPACE, "patch", "runaicluster", CLUSTER, "--type=merge", "-p", &patch];
        self.stage.kubectl.ok(&target).await?;
        self.until("the registration to be renamed", |object| {
            object["status"]["name"] == NEW_NAME && condition(object, "Ready") == "True"
        })
        .await?;
        if self.stage.simulator.clusters_named(NEW_NAME).len() != 1 {
            return Err(Error::State("the control plane does not know the new name".to_owned()));
        }
        self.show_cluster().await
    }

    async fn delete(&self) -> Result<(), Error> {
        self.say("the RunaiCluster is deleted: it stays until the control plane has let the registration go");
        self.stage.kubectl.ok(&["-n", NAMESPACE, "delete", "runaicluster", CLUSTER, "--wait=false"]).await?;
        wait_until(STEP, "the deletion to be requested", async || {
            let object = self.get_if_there("runaiclusters", CLUSTER).await?;
            // On a slow machine it may have gone before we look.
            expect(&object, object.is_null() || !object["status"]["deleteRequestedAt"].is_null())
        })
        .await?;
        self.show_cluster().await?;
        wait_until(STEP, "the object to go", async || {
            let object = self.get_if_there("runaiclusters", CLUSTER).await?;
            expect(&object, object.is_null())
        })
        .await?;
        let live = self.stage.simulator.live_clusters();
        if !live.is_empty() {
            return Err(Error::State(format!("the object has gone, but not the registration: {live:?}")));
        }
        self.show(&["-n", NAMESPACE, "get", "runaiclusters"]).await
    }

    async fn end_operator(&mut self) -> Result<(), Error> {
        if let Some(operator) = &mut self.stage.operator {
            let status = operator.sigterm_and_wait(END).await?;
            if !status.success() {
                return Err(Error::State(format!("the operator ended with {status} on SIGTERM")));
            }
        }
        Ok(())
    }

    /// Removes from a foreign cluster what the demonstration made there. The operator may be gone, so finalizers go first.
    async fn clean_up(&self) -> Result<(), Error> {
        match &self.stage.cluster {
            Cluster::Own(_) => return Ok(()),
            Cluster::Foreign { .. } => {}
        }
        let kubectl = &self.stage.kubectl;
        let no_finalizers = r#"{"metadata":{"finalizers":null}}"#;
        let cluster = ["-n", NAMESPACE, "patch", "runaicluster", CLUSTER, "--type=merge", "-p", no_finalizers];
        // It is gone already when all went well.
        let _may_be_gone = kubectl.run(&cluster).await?;
        let gone = "--ignore-not-found";
        kubectl.ok(&["delete", "runaicontrolplane", CONTROL_PLANE, gone]).await?;
        kubectl.ok(&["-n", OPERATOR_NAMESPACE, "delete", "secret", sample::SECRET, gone]).await?;
        kubectl.ok(&["delete", "namespace", NAMESPACE, gone, "--wait=false"]).await?;
        eprintln!("testbed: left in the cluster: the two CRDs and namespace {OPERATOR_NAMESPACE}");
        Ok(())
    }

    fn say(&self, what: &str) {
        println!("\n[{:5.1} s] {what}", self.start.elapsed().as_secs_f64());
    }

    async fn show(&self, args: &[&str]) -> Result<(), Error> {
        println!("$ kubectl {}", args.join(" "));
        let output = self.stage.kubectl.run(args).await?;
        print!("{}{}", output.stdout, output.stderr);
        Ok(())
    }

    async fn show_cluster(&self) -> Result<(), Error> {
        self.show(&["-n", NAMESPACE, "get", "runaiclusters", "-o", "wide"]).await
    }

    async fn get(&self, kind: &str, name: &str) -> Result<Value, String> {
        let object = self.get_if_there(kind, name).await?;
        if object.is_null() { Err(format!("{kind} {name} does not exist")) } else { Ok(object) }
    }

    /// The object, or `null`.
    async fn get_if_there(&self, kind: &str, name: &str) -> Result<Value, String> {
        let args = ["-n", NAMESPACE, "get", kind, name, "-o", "json", "--ignore-not-found"];
        let json = self.stage.kubectl.ok(&args).await.map_err(|error| error.to_string())?;
        if json.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&json).map_err(|error| error.to_string())
    }

    /// Waits until the sample cluster is as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<(), Error> {
        wait_until(STEP, what, async || {
            let object = self.get("runaiclusters", CLUSTER).await?;
            expect(&object, wanted(&object))
        })
        .await
    }
}

/// Status of a condition, empty without it.
fn condition<'a>(object: &'a Value, type_: &str) -> &'a str {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == type_);
    found.and_then(|condition| condition["status"].as_str()).unwrap_or_default()
}

fn expect(object: &Value, fine: bool) -> Result<(), String> {
    if fine { Ok(()) } else { Err(format!("status {}", object["status"])) }
}
