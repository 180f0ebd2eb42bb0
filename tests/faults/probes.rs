//! What the kubelet is told: that nobody need be restarted when it is another one who fails.

use std::time::Duration;

use runai_simulator::{FaultAction, FaultRule, Phase};
use serde_json::{Value, json};
use testbed::{OperatorProcess, wait_until};

use crate::world::{SOON, Setup, World, condition};

const CRD: &str = "runaiclusters.runai-operator.io";
/// Longer than several attempts to list what does not exist.
const A_WHILE: Duration = Duration::from_secs(6);

/// The answers of `/readyz` and `/livez`.
async fn probes(operator: &OperatorProcess) -> Result<[(u16, String); 2], String> {
    let ask = async |path| operator.probe(path).await.map_err(|error| error.to_string());
    Ok([ask("/readyz").await?, ask("/livez").await?])
}

fn well() -> (u16, String) {
    (200, "ok\n".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_control_plane_fails_no_probe() {
    let world = World::start(Setup::default()).await;
    world.cluster("east", json!({})).await;
    world.until_ready("east").await;
    let down = FaultAction::Status { code: 503, body: None, headers: [].into(), phase: Phase::Pre };
    world.simulator.add_fault(FaultRule::new(down));
    // Known at once of the control plane, and of the object when what is known of it is old.
    let gone = wait_until(SOON, "the outage to be seen", async || {
        let plane = world.plane("default").await;
        if condition(&plane, "Ready").0 == "False" { Ok(()) } else { Err(plane["status"].to_string()) }
    });
    gone.await.unwrap();
    assert_eq!(probes(&world.operator).await, Ok([well(), well()]));
    world.until_condition("east", "Ready", "Unknown", "ConnectionFailed").await;
    assert_eq!(probes(&world.operator).await, Ok([well(), well()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_kind_the_operator_is_alive_and_not_ready() {
    let mut world = World::start(Setup::default()).await;
    assert_eq!(probes(&world.operator).await, Ok([well(), well()]));
    let mut crd: Value = serde_json::from_str(&world.kubectl(&["get", "crd", CRD, "-o", "json"]).await).unwrap();
    crd["metadata"] = json!({ "name": CRD, "labels": crd["metadata"]["labels"] });
    crd["status"].take();
    world.operator.sigkill();
    world.kubectl(&["delete", "crd", CRD, "--timeout=60s"]).await;

    world.operator = world.another_operator();
    let waiting = [(503, "waiting for: watches\n".to_owned()), well()];
    let answers = wait_until(SOON, "an answer", async || probes(&world.operator).await);
    assert_eq!(answers.await.unwrap(), waiting);
    let holds = async || match probes(&world.operator).await? {
        answers if answers == waiting => Ok(()),
        answers => Err(format!("{answers:?}")),
    };
    world.holds(A_WHILE, "alive, and not ready", holds).await;
    world.apply(&crd).await;
    world.operator.wait_ready(SOON).await.unwrap();
    world.cluster("east", json!({})).await;
    world.until_ready("east").await;
}
