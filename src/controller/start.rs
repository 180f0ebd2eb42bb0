//! Start and end of the process: servers, watches, election, passes, and an orderly way out.
//!
//! Owns the order: servers first (so that probes see what is missing), then the key, the watches, the lease, the
//! control planes, and only then passes. On the way out the reverse: passes end before the lease is given back.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch as signal;
use tracing::{error, info, warn};

use crate::api::{FIELD_MANAGER, Watched, WatchedControlPlane};
use crate::domain::schedule;
use crate::telemetry::health::{Liveness, Readiness};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::serve::{ServeError, Server};

use super::calls::{CallError, call};
use super::context::{Context, Lane};
use super::control_plane::{ControlPlanes, Event};
use super::lease::{Election, LEASE_NAME, Leadership, Timing, identity};
use super::passes::run_passes;
use super::planes::Planes;
use super::secrets::Secrets;
use super::settings::{Settings, SettingsError};
use super::signer::{Signer, SignerError};
use super::vanished;
use super::watch::{Change, Watch};

/// States for which metrics always show a series.
const KNOWN_STATES: &[&str] =
    &["WaitingToConnect", "Connected", "Disconnected", "MissingPrerequisites", "ServiceIssues", "Unknown"];
/// Passes under way at the end get this long.
const DRAIN: Duration = Duration::from_secs(25);
/// A watch that shows no sign of life for so long is stuck. Longer than an API server takes to come back.
const WATCH_AGE: Duration = Duration::from_secs(600);

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A setting would break a promise.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There is no way to the Kubernetes API.
    #[error("no Kubernetes client: {0}")]
    Client(#[source] Box<kube::Error>),
    /// A port cannot be had.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The identity key is damaged.
    #[error("{0}")]
    Signer(String),
    /// The file of `--default-control-plane` cannot be applied.
    #[error("--default-control-plane: {0}")]
    DefaultControlPlane(String),
    /// Another process leads now. The supervisor starts this one again, as a standby.
    #[error("leadership was lost: this process ends, so that it cannot write any more")]
    LeadershipLost,
}

/// Runs until a signal or the loss of leadership ends it.
///
/// # Errors
/// See [`RunError`]; `Ok` after SIGTERM or SIGINT.
pub async fn run(settings: Settings, mut config: kube::Config) -> Result<(), RunError> {
    settings.check()?;
    // A repeated PATCH is our own decision, made from what is there by then.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    let client = Client::try_from(config).map_err(|error| RunError::Client(Box::new(error)))?;

    let metrics = Metrics::new(KNOWN_STATES, Vec::new());
    let (readiness, liveness) = (Readiness::default(), Liveness::default());
    let ready = readiness.gate("watches");
    let (stop_serving, serving) = signal::channel(false);
    let servers = [
        Server::metrics(settings.metrics_bind, metrics.clone()).await?,
        Server::health(settings.health_bind, readiness, liveness.clone()).await?,
    ];
    let servers: Vec<_> = servers.into_iter().map(|server| tokio::spawn(server.run(serving.clone()))).collect();

    let (stop, stopping) = signal::channel(false);
    let running = work(settings, client, metrics, liveness, ready, stopping);
    tokio::pin!(running);
    let ended = tokio::select! {
        ended = &mut running => ended,
        name = terminated() => {
            info!(signal = name, "ending");
            stop.send_replace(true);
            running.await
        }
    };
    stop_serving.send_replace(true);
    let _ = tokio::time::timeout(Duration::from_secs(2), join_all(servers)).await;
    ended
}

async fn terminated() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        warn!("signals cannot be received; this process can only be killed");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

pub(super) async fn raised(mut flag: signal::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = flag.wait_for(|raised| *raised).await;
}

async fn work(
    settings: Settings,
    client: Client,
    metrics: Metrics,
    liveness: Liveness,
    ready: crate::telemetry::health::Gate,
    stopping: signal::Receiver<bool>,
) -> Result<(), RunError> {
    let signer = tokio::select! {
        signer = load_signer(&client, &settings.namespace) => signer?,
        () = raised(stopping.clone()) => return Ok(()),
    };
    let (stop_election, election_stopping) = signal::channel(false);
    let (leadership, election) = elect(&client, &settings, election_stopping);
    let probe = leadership.clone();
    metrics.leader_probe(move || probe.is_leader());

    let (lanes, queues, writers) = lanes(&settings);
    let planes_writer = Writer::<WatchedControlPlane>::default();
    let planes_store = planes_writer.as_reader();
    let ctx = Arc::new(Context::new(client, settings, leadership.clone(), signer, Planes::default(), metrics, lanes));
    let (events, news) = unbounded_channel();
    let synced = start_watches(&ctx, writers, planes_writer, &events, &liveness);
    let begun = async {
        for mut synced in synced {
            let _ = synced.wait_for(|synced| *synced).await;
        }
        info!("watches are in step");
        ready.open();
        leadership.wait_until_leader().await;
    };
    tokio::select! {
        () = begun => {}
        () = raised(stopping.clone()) => return release(election, &stop_election).await,
        () = leadership.lost() => return Err(RunError::LeadershipLost),
    }
    let planes = ControlPlanes::new(Arc::clone(&ctx), planes_store, events, liveness);
    tokio::select! {
        ended = lead(&ctx, planes, news, queues, &stopping) => ended?,
        () = leadership.lost() => {
            error!("leadership was lost");
            return Err(RunError::LeadershipLost);
        }
        () = async { raised(stopping.clone()).await; tokio::time::sleep(DRAIN).await } => {
            warn!("some passes did not end in time; what they began is resolved at the next start");
        }
    }
    ctx.events.settle().await;
    release(election, &stop_election).await
}

/// The leader's work: control planes first, then passes, until the end is asked for.
async fn lead(
    ctx: &Arc<Context>,
    mut planes: ControlPlanes,
    news: UnboundedReceiver<Event>,
    queues: Vec<UnboundedReceiver<ObjectRef<Watched>>>,
    stopping: &signal::Receiver<bool>,
) -> Result<(), RunError> {
    apply_default_control_plane(ctx).await?;
    planes.load_all().await;
    let planes = tokio::spawn(planes.run(news));
    let secrets = tokio::spawn(Secrets::watch(Arc::clone(ctx)));
    ctx.wake_all(None);
    let concurrency = ctx.settings.concurrency;
    let lanes = ctx.lanes.iter().zip(queues);
    let passes = lanes
        .map(|(lane, queue)| run_passes(Arc::clone(ctx), lane.store.clone(), queue, concurrency, stopping.clone()));
    join_all(passes).await;
    planes.abort();
    secrets.abort();
    Ok(())
}

/// The key, however long the API takes to be there.
async fn load_signer(client: &Client, namespace: &str) -> Result<Signer, RunError> {
    let mut failures = 0;
    loop {
        match Signer::load(client.clone(), namespace).await {
            Ok(signer) => return Ok(signer),
            Err(error @ SignerError::Kube(_)) => {
                failures += 1;
                if failures == 1 {
                    warn!(%namespace, "{error}; trying on");
                }
                tokio::time::sleep(schedule::backoff(failures.min(5), fastrand::u64(..))).await;
            }
            Err(error @ (SignerError::Unusable | SignerError::NoRandomness)) => {
                return Err(RunError::Signer(format!("namespace {namespace}: {error}")));
            }
        }
    }
}

fn elect(
    client: &Client,
    settings: &Settings,
    stopping: signal::Receiver<bool>,
) -> (Leadership, Option<tokio::task::JoinHandle<()>>) {
    if !settings.leader_elect {
        return (Leadership::always(), None);
    }
    let election = Election::new(client.clone(), &settings.namespace, LEASE_NAME, identity(), Timing::default());
    let leadership = election.leadership();
    let task = tokio::spawn(async move {
        election.run(raised(stopping)).await;
    });
    (leadership, Some(task))
}

/// Gives the lease back, so that a standby takes over at once.
async fn release(election: Option<tokio::task::JoinHandle<()>>, stop: &signal::Sender<bool>) -> Result<(), RunError> {
    stop.send_replace(true);
    if let Some(task) = election {
        let _ = tokio::time::timeout(Duration::from_secs(10), task).await;
    }
    Ok(())
}

type Lanes = (Vec<Lane>, Vec<UnboundedReceiver<ObjectRef<Watched>>>, Vec<Writer<Watched>>);

fn lanes(settings: &Settings) -> Lanes {
    let namespaces: Vec<Option<String>> = if settings.watch_namespaces.is_empty() {
        vec![None]
    } else {
        settings.watch_namespaces.iter().cloned().map(Some).collect()
    };
    let (mut lanes, mut queues, mut writers) = (Vec::new(), Vec::new(), Vec::new());
    for namespace in namespaces {
        let writer = Writer::default();
        let (queue, receiver) = unbounded_channel();
        lanes.push(Lane { namespace, store: writer.as_reader(), queue, doubt: Arc::default() });
        queues.push(receiver);
        writers.push(writer);
    }
    (lanes, queues, writers)
}

/// Starts all watches and returns when each has its first list.
fn start_watches(
    ctx: &Arc<Context>,
    writers: Vec<Writer<Watched>>,
    planes: Writer<WatchedControlPlane>,
    events: &UnboundedSender<Event>,
    liveness: &Liveness,
) -> Vec<signal::Receiver<bool>> {
    let client = &ctx.client;
    let mut synced = Vec::new();
    for (lane, writer) in ctx.lanes.iter().zip(writers) {
        let api = match &lane.namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let shared = Arc::clone(ctx);
        let config = watcher::Config::default().page_size(100);
        let on_change = move |change| {
            if let Change::Deleted(object) = &change {
                vanished::deleted(&shared, object);
            }
            shared.object_changed(change);
        };
        let watch = Watch::new("RunaiClusters", api, config, writer, on_change).with_doubt(Arc::clone(&lane.doubt));
        let name = lane
            .namespace
            .as_ref()
            .map_or_else(|| "clusters".to_owned(), |namespace| format!("clusters in {namespace}"));
        synced.push(watch.synced());
        tokio::spawn(watch.with_pulse(liveness.watch(&name, WATCH_AGE)).run());
    }
    let sender = events.clone();
    let watch = Watch::new("RunaiControlPlanes", Api::all(client.clone()), watcher::Config::default(), planes, {
        move |change: Change<WatchedControlPlane>| match change {
            Change::Applied(object) | Change::Deleted(object) | Change::Vanished(object) => {
                let _ = sender.send(Event::Object(object.name_any()));
            }
            Change::Resynced => {}
        }
    });
    synced.push(watch.synced());
    tokio::spawn(watch.with_pulse(liveness.watch("control planes", WATCH_AGE)).run());
    synced.push(watch_sources::<Secret>(ctx, "Secrets", events, liveness, Event::Secret));
    synced.push(watch_sources::<ConfigMap>(ctx, "ConfigMaps", events, liveness, Event::ConfigMap));
    synced
}

/// Watches the metadata of what connections are made from; the one that matters is read when it changes.
fn watch_sources<K>(
    ctx: &Arc<Context>,
    what: &'static str,
    events: &UnboundedSender<Event>,
    liveness: &Liveness,
    event: fn(String) -> Event,
) -> signal::Receiver<bool>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + Send + Sync + 'static,
    PartialObjectMeta<K>: std::fmt::Debug,
{
    let api: Api<PartialObjectMeta<K>> = Api::namespaced(ctx.client.clone(), &ctx.settings.namespace);
    let sender = events.clone();
    let config = watcher::Config::default();
    let watch =
        Watch::new(what, api, config, Writer::default(), move |change: Change<PartialObjectMeta<K>>| match change {
            Change::Applied(object) | Change::Deleted(object) | Change::Vanished(object) => {
                let _ = sender.send(event(object.name_any()));
            }
            Change::Resynced => {}
        });
    let synced = watch.synced();
    tokio::spawn(watch.with_pulse(liveness.watch(what, WATCH_AGE)).run());
    synced
}

/// Applies the control plane that the chart brought along.
async fn apply_default_control_plane(ctx: &Context) -> Result<(), RunError> {
    let Some(path) = &ctx.settings.default_control_plane else { return Ok(()) };
    let wrong = |problem: String| RunError::DefaultControlPlane(format!("{}: {problem}", path.display()));
    let text = tokio::fs::read_to_string(path).await.map_err(|error| wrong(error.to_string()))?;
    let manifest: serde_json::Value = serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let name = manifest.pointer("/metadata/name").and_then(|name| name.as_str()).unwrap_or_default().to_owned();
    let kind = manifest.get("kind").and_then(|kind| kind.as_str());
    if kind != Some("RunaiControlPlane") || name.is_empty() {
        return Err(wrong("must hold one RunaiControlPlane with a metadata.name".to_owned()));
    }
    let api: Api<WatchedControlPlane> = Api::all(ctx.client.clone());
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match call(api.patch(&name, &params, &Patch::Apply(&manifest))).await {
        Ok(_) => {
            info!(control_plane = %name, "applied {}", path.display());
            Ok(())
        }
        Err(error @ CallError::Timeout) => {
            warn!("{error}; {} is applied at the next start", path.display());
            Ok(())
        }
        Err(error @ CallError::Kube(_)) => Err(wrong(error.to_string())),
    }
}
