//! The control API: everything the library can do, as JSON over HTTP on a port of its own.
//!
//! Owns its paths and status codes. Must not know how anything is done. No authentication: loopback only.

use std::sync::Arc;

use axum::extract::{Path, Query, State as Extract};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use uuid::Uuid;

use crate::agent_command::AgentCommand;
use crate::clock::seconds;
use crate::fault::{FaultAction, FaultRule};
use crate::outside::{OutsideError, RecordPatch, SeedCluster};
use crate::pipeline::Shared;

type Sim = Extract<Arc<Shared>>;

/// Serves until `closing` turns true.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, mut closing: watch::Receiver<bool>) {
    let stop = async move {
        // An error means that the simulator is gone.
        let _ = closing.wait_for(|closing| *closing).await;
    };
    tokio::select! {
        ended = axum::serve(listener, router(shared)) => if let Err(error) = ended {
            tracing::warn!(%error, "control port ended");
        },
        () = stop => {}
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/__sim/state", get(state))
        .route("/__sim/config", get(config).put(set_config))
        .route("/__sim/clock", get(clock))
        .route("/__sim/clock/advance", post(advance))
        .route("/__sim/clock/skew", post(skew))
        .route("/__sim/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/__sim/faults/{id}", delete(remove_fault))
        .route("/__sim/apply", post(apply))
        .route("/__sim/journal", get(journal).delete(clear_journal))
        .route("/__sim/counters", get(counters))
        .route("/__sim/clusters", get(clusters).post(seed))
        .route("/__sim/clusters/{uuid}", get(cluster).patch(patch_cluster).delete(remove))
        .route("/__sim/clusters/{uuid}/agent", post(agent))
        .route("/__sim/snapshot", post(snapshot))
        .route("/__sim/restore", post(restore))
        .route("/__sim/reset", post(reset))
        .route("/__sim/ca.pem", get(ca))
        .with_state(shared)
}

impl IntoResponse for OutsideError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Deleted(_) => StatusCode::GONE,
            Self::NoAgent(_) | Self::Taken(_) => StatusCode::CONFLICT,
            Self::Snapshot(_) => StatusCode::BAD_REQUEST,
        };
        (status, Json(json!({"message": self.to_string()}))).into_response()
    }
}

async fn state(Extract(shared): Sim) -> Json<Value> {
    let mut state = shared.state();
    let now = state.tick();
    Json(json!({
        "now": now,
        "url": state.public_url,
        "config": *state.config,
        "clusters": state.views(),
        "faults": fault_list(&state.faults.list()),
        "counters": state.journal.counters(),
        "pendingCommits": state.pending(),
        "lastSeq": state.journal.last_seq(),
    }))
}

async fn config(Extract(shared): Sim) -> Json<Value> {
    Json(json!(*shared.state().config))
}

/// The body is laid over the present configuration (JSON merge patch).
async fn set_config(Extract(shared): Sim, Json(patch): Json<Value>) -> Response {
    let mut state = shared.state();
    match state.config.patched(&patch) {
        Ok(config) => {
            state.set_config(config);
            Json(json!(*state.config)).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({"message": error.to_string()}))).into_response(),
    }
}

async fn clock(Extract(shared): Sim) -> Json<Value> {
    let mut state = shared.state();
    Json(json!({"now": state.tick(), "skewSeconds": state.clock.skew().as_secs_f64()}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seconds {
    seconds: f64,
}

async fn advance(Extract(shared): Sim, Json(by): Json<Seconds>) -> Json<Value> {
    let mut state = shared.state();
    state.clock.advance(seconds(by.seconds));
    Json(json!({"now": state.tick()}))
}

async fn skew(Extract(shared): Sim, Json(by): Json<Seconds>) -> Json<Value> {
    let mut state = shared.state();
    state.clock.set_skew(seconds(by.seconds));
    Json(json!({"now": state.tick()}))
}

fn fault_list(rules: &[(FaultRule, u64)]) -> Vec<Value> {
    rules.iter().map(|(rule, fired)| json!({"rule": rule, "fired": fired})).collect()
}

async fn faults(Extract(shared): Sim) -> Json<Value> {
    Json(json!(fault_list(&shared.state().faults.list())))
}

async fn add_fault(Extract(shared): Sim, Json(rule): Json<FaultRule>) -> (StatusCode, Json<Value>) {
    let id = shared.state().faults.add(rule);
    (StatusCode::CREATED, Json(json!({"id": id})))
}

async fn clear_faults(Extract(shared): Sim) -> StatusCode {
    shared.state().faults.clear();
    StatusCode::NO_CONTENT
}

async fn remove_fault(Extract(shared): Sim, Path(id): Path<String>) -> StatusCode {
    if shared.state().faults.remove(&id) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

async fn apply(Extract(shared): Sim, Json(action): Json<FaultAction>) -> StatusCode {
    shared.state().apply(&action, None);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
}

async fn journal(Extract(shared): Sim, Query(Since { since }): Query<Since>) -> Json<Value> {
    let mut state = shared.state();
    state.tick();
    Json(json!(state.journal.since(since)))
}

async fn clear_journal(Extract(shared): Sim) -> StatusCode {
    shared.state().journal.clear();
    StatusCode::NO_CONTENT
}

async fn counters(Extract(shared): Sim) -> Json<Value> {
    let mut state = shared.state();
    state.tick();
    Json(json!(state.journal.counters()))
}

async fn clusters(Extract(shared): Sim) -> Json<Value> {
    Json(json!(shared.state().views()))
}

async fn cluster(Extract(shared): Sim, Path(uuid): Path<Uuid>) -> Result<Json<Value>, OutsideError> {
    let view = shared.state().view(uuid).ok_or(OutsideError::Unknown(uuid))?;
    Ok(Json(json!(view)))
}

/// One record or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seeds {
    Many(Vec<SeedCluster>),
    One(Box<SeedCluster>),
}

async fn seed(Extract(shared): Sim, Json(seeds): Json<Seeds>) -> Result<(StatusCode, Json<Value>), OutsideError> {
    let mut state = shared.state();
    let reply = match seeds {
        Seeds::One(seed) => json!({"uuid": state.seed(*seed)?}),
        Seeds::Many(seeds) => {
            let uuids: Result<Vec<_>, _> = seeds.into_iter().map(|seed| state.seed(seed)).collect();
            json!({"uuids": uuids?})
        }
    };
    Ok((StatusCode::CREATED, Json(reply)))
}

async fn patch_cluster(
    Extract(shared): Sim,
    Path(uuid): Path<Uuid>,
    Json(patch): Json<RecordPatch>,
) -> Result<StatusCode, OutsideError> {
    shared.state().patch(uuid, patch).map(|()| StatusCode::NO_CONTENT)
}

async fn remove(Extract(shared): Sim, Path(uuid): Path<Uuid>) -> Result<StatusCode, OutsideError> {
    shared.state().remove(uuid).map(|()| StatusCode::NO_CONTENT)
}

async fn agent(
    Extract(shared): Sim,
    Path(uuid): Path<Uuid>,
    Json(command): Json<AgentCommand>,
) -> Result<StatusCode, OutsideError> {
    shared.state().command(uuid, command).map(|()| StatusCode::NO_CONTENT)
}

async fn snapshot(Extract(shared): Sim) -> Result<Json<Value>, OutsideError> {
    shared.state().snapshot().map(Json)
}

async fn restore(Extract(shared): Sim, Json(snapshot): Json<Value>) -> Result<StatusCode, OutsideError> {
    shared.state().restore(snapshot).map(|()| StatusCode::NO_CONTENT)
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Reset {
    /// Restarts the clock here.
    now: Option<Timestamp>,
}

async fn reset(Extract(shared): Sim, body: Option<Json<Reset>>) -> StatusCode {
    let mut state = shared.state();
    state.reset();
    if let Some(now) = body.and_then(|Json(reset)| reset.now) {
        state.clock.rebase(now);
    }
    StatusCode::NO_CONTENT
}

async fn ca(Extract(shared): Sim) -> Response {
    let pem = shared.state().tls.as_ref().map(|tls| tls.ca_pem());
    match pem {
        Some(pem) => ([("content-type", "application/x-pem-file")], pem).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
