//! `testbed up`: everything running, for trying things out by hand.

use std::path::PathBuf;

use runai_simulator::{AgentConfig, Config, DeleteConfig};
use testbed::Error;

use crate::{
    sample,
    stage::{Cluster, Stage, operator_binary},
};

/// Starts everything, says what is there and stays until the future is dropped.
pub(crate) async fn run(operator: Option<PathBuf>) -> Result<(), Error> {
    let wanted = operator.is_some();
    let binary = operator_binary(operator);
    if wanted && let Err(error) = binary {
        return Err(error);
    }
    let config = Config {
        agent: AgentConfig { auto_start_seconds: Some(20.0), heartbeat_seconds: 5.0, ..AgentConfig::default() },
        delete: DeleteConfig { graceful_seconds: 10.0, ..DeleteConfig::default() },
        ..Config::default()
    };
    let mut stage = Stage::own(config).await?;
    stage.kubectl.apply(&sample::namespace(sample::NAMESPACE)).await?;
    stage.apply_control_plane().await?;
    match binary {
        Ok(binary) => stage.start_operator(binary).await?,
        Err(error) => eprintln!("testbed: no operator runs: {error}"),
    }
    describe(&stage);
    match &mut stage.operator {
        Some(operator) => loop {
            if let Some(status) = operator.exit_status() {
                let log = operator.logs()?;
                return Err(Error::State(format!("the operator has ended ({status}); its log:\n{log}")));
            }
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        },
        None => std::future::pending().await,
    }
}

fn describe(stage: &Stage) {
    let Cluster::Own(bed) = &stage.cluster else { return };
    println!("export KUBECONFIG={}", bed.kubeconfig().display());
    if let Some(programs) = bed.binaries().kubectl.parent() {
        println!("export PATH=\"{}:$PATH\"   # kubectl", programs.display());
    }
    println!("# Kubernetes API:     {}", bed.url());
    println!("# simulator:          {}  (control API {})", stage.simulator.url(), stage.simulator.control_url());
    if let Some(operator) = &stage.operator {
        println!("# operator:           pid {}, log {}", operator.pid(), operator.log_file().display());
        println!("#                     http://{}/metrics", operator.metrics_address());
    }
    println!("# control plane:      {}", sample::CONTROL_PLANE);
    println!("# A new cluster's agent starts 20 s after its registration. Try this:");
    println!("kubectl apply -f - <<'YAML'\n{}YAML", sample::cluster());
    println!("kubectl -n {} get runaiclusters -o wide --watch", sample::NAMESPACE);
    eprintln!("testbed: up; Ctrl-C ends everything");
}
