//! Every page, each with what its reader has before the first line, and with what must be true after the last.

use runai_simulator::Operation;

use crate::kinds;
use crate::player::{pages, play};
use crate::stage::{Setup, Stage, fill};

/// With the right to publish credentials.
const PUBLISHING: Setup = Setup { chart: &["installInfo.enabled=true"], connected: true };

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_comes_under_git_without_a_change() {
    let mut stage = Stage::start(Setup::default()).await;
    fill(&stage.simulator);
    let shown = |stage: &Stage| {
        let records = stage.simulator.live_clusters().into_iter();
        records.map(|record| (record.uuid, record.name, record.domain, record.created_at)).collect::<Vec<_>>()
    };
    let before = shown(&stage);
    play(&mut stage, "guides/adopt-a-tenant.md").await;
    assert_eq!(shown(&stage), before);
    let mut sent = stage.simulator.journal();
    sent.retain(|entry| entry.operation.is_some_and(Operation::is_mutation));
    assert!(sent.is_empty(), "the whole page sends nothing that changes anything: {sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_reach_flux_argo_cd_and_helm() {
    let mut stage = Stage::start(Setup { chart: &[], connected: true }).await;
    kinds::install(&stage).await;
    play(&mut stage, "guides/hand-over-credentials.md").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_rotated() {
    let mut stage = Stage::start(PUBLISHING).await;
    kinds::install(&stage).await;
    play(&mut stage, "guides/rotate-credentials.md").await;
    let log = stage.log();
    assert!(log.contains("the credentials were refused"), "after the leak");
    assert!(!log.contains("certificate"), "at no time was a connection refused: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_upgraded() {
    let mut stage = Stage::start(PUBLISHING).await;
    kinds::install(&stage).await;
    play(&mut stage, "guides/upgrade-agents.md").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_of_install_credentials_holds() {
    let mut stage = Stage::start(PUBLISHING).await;
    kinds::install(&stage).await;
    play(&mut stage, "credentials.md").await;
}

/// A page that nobody plays may say anything.
#[test]
fn every_guide_is_played() {
    let played = ["adopt-a-tenant", "hand-over-credentials", "rotate-credentials", "upgrade-agents"];
    assert_eq!(pages("guides"), played.map(|name| format!("guides/{name}.md")));
}
