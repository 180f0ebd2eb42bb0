//! The reconciler of `RunaiControlPlane`: from object, Secret and CA to a connection, and from what is seen to status.
//!
//! Owns when a connection is built, replaced and dropped. One task handles all control planes, one event at a time:
//! there are few, and their work is small.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::{info, warn};

use crate::api::control_plane::CaBundleKind;
use crate::api::{RunaiControlPlaneSpec, WatchedControlPlane, convert};
use crate::domain::{EventNote, Reason};
use crate::inventory::{self, Inventory};
use crate::runai::{ClientObserver, Limits, Operation, RunaiClient};
use crate::telemetry::health::{Liveness, Pulse};
use crate::telemetry::metrics::{ApiCode, Metrics, RefreshResult};
use crate::telemetry::objects::Registrations;

use super::cluster_metrics;
use super::context::Context;
use super::plane_status;
use super::planes::{Connection, Plane, trouble};
use super::source::{Failed, Source};
use super::watch::{Change, Watch};

/// How often staleness and postponed status writes are looked at, and failed loads tried again.
const TICK: Duration = Duration::from_secs(5);
/// The work on one control plane asks the Kubernetes API a few times, each under a deadline: after so long it is stuck.
const WORK_AGE: Duration = Duration::from_secs(600);
/// An inventory that looks for so long is stuck. What the deadlines of all requests of one look add up to is less, so that
/// a control plane may be as slow as it likes.
const LOOK_AGE: Duration = Duration::from_secs(2 * 3600);

/// Something that may matter to a control plane.
#[derive(Debug)]
pub(crate) enum Event {
    /// Its object was made, changed or deleted.
    Object(String),
    /// A Secret of the operator's namespace changed.
    Secret(String),
    /// A ConfigMap of the operator's namespace changed.
    ConfigMap(String),
    /// Its inventory has news.
    Inventory(String, inventory::Change),
}

/// Emits an Event about the control plane `name`.
pub(crate) fn tell(ctx: &Context, name: &str, reason: Reason, message: &str) {
    let Some(reference) = ctx.planes.reference(name) else { return };
    let note = EventNote { warning: true, reason: reason.as_str().to_owned(), message: message.to_owned() };
    ctx.events.publish(reference, note, "Reconcile");
}

/// The task.
pub(crate) struct ControlPlanes {
    pub(super) ctx: Arc<Context>,
    pub(super) store: Store<WatchedControlPlane>,
    events: UnboundedSender<Event>,
    pub(super) seen: HashMap<String, Seen>,
    labels_watched: bool,
    liveness: Liveness,
    pulse: Pulse,
}

/// What the task remembers of one control plane.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Which inventory the forwarding task belongs to.
    pub(super) stale: bool,
    /// Which version of the spec was loaded: the echo of a status write needs no loading.
    loaded: Option<(Option<String>, Option<i64>)>,
    /// Loading failed in a way that may pass by itself.
    retry: bool,
    /// Since when refused credentials or missing permissions last.
    pub(super) refused_since: Option<Instant>,
    /// When status was last written, and whether it may differ since.
    pub(super) written: Option<Instant>,
    pub(super) dirty: bool,
    /// What was counted last.
    counted: Option<Registrations>,
}

impl ControlPlanes {
    pub(crate) fn new(
        ctx: Arc<Context>,
        store: Store<WatchedControlPlane>,
        events: UnboundedSender<Event>,
        liveness: Liveness,
    ) -> Self {
        let pulse = liveness.watch("work on control planes", WORK_AGE);
        Self { ctx, store, events, seen: HashMap::new(), labels_watched: false, liveness, pulse }
    }

    /// Loads every control plane once: before that, no object is looked at.
    pub(crate) async fn load_all(&mut self) {
        for object in self.store.state() {
            self.load(&object.name_any()).await;
        }
    }

    /// Handles events until the channel closes.
    pub(crate) async fn run(mut self, mut events: UnboundedReceiver<Event>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.pulse.beat();
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.handle(event).await,
                    None => return,
                },
                _ = tick.tick() => self.tick().await,
            }
        }
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Object(name) => {
                let version = self.store.get(&ObjectRef::new(&name)).map(|object| version(&object));
                let loaded = self.seen.get(&name).and_then(|seen| seen.loaded.clone());
                if version.is_none() || version != loaded {
                    self.load(&name).await;
                }
            }
            Event::Secret(secret) => self.load_where(|spec| names_secret(spec, &secret)).await,
            Event::ConfigMap(map) => self.load_where(|spec| names_config_map(spec, &map)).await,
            Event::Inventory(name, change) => self.inventory_changed(&name, change).await,
        }
    }

    async fn load_where(&mut self, concerns: impl Fn(&RunaiControlPlaneSpec) -> bool) {
        let names: Vec<_> = self
            .store
            .state()
            .iter()
            .filter(|object| object.spec().is_ok_and(&concerns))
            .map(|object| object.name_any())
            .collect();
        for name in names {
            self.load(&name).await;
        }
    }

    /// Brings the connection in step with object, Secret and CA.
    async fn load(&mut self, name: &str) {
        self.pulse.beat();
        let Some(object) = self.store.get(&ObjectRef::new(name)) else {
            self.drop_plane(name);
            return;
        };
        let old = self.ctx.planes.connection(name);
        let (plane, retry) = match self.connect(name, &object, old.clone()).await {
            Ok(plane) => (plane, false),
            Err(Failed { problem, retry }) => {
                warn!(control_plane = name, reason = problem.reason.as_str(), "{}", problem.message);
                let spec = object.spec().ok().cloned();
                let granularity = spec.as_ref().and_then(|spec| convert::settings(spec).ok());
                let plane = Plane {
                    reference: object.object_ref(&()),
                    spec,
                    liveness_granularity: granularity.map_or(Duration::MAX, |settings| settings.liveness_granularity),
                    // Credentials in memory serve open deletions.
                    connection: old.clone(),
                    problem: Some(problem),
                };
                (plane, retry)
            }
        };
        if let (Some(old), Some(new)) = (&old, &plane.connection)
            && !Arc::ptr_eq(old, new)
        {
            old.inventory.stop();
        }
        self.ctx.planes.set(name, Some(plane));
        let seen = self.seen.entry(name.to_owned()).or_default();
        seen.retry = retry;
        seen.loaded = Some(version(&object));
        if self.ctx.planes.need_labels() {
            self.watch_labels().await;
        }
        self.ctx.wake_all(Some(name));
        self.write_status(name).await;
    }

    fn drop_plane(&mut self, name: &str) {
        self.seen.remove(name);
        if let Some(connection) = self.ctx.planes.set(name, None).and_then(|plane| plane.connection) {
            connection.inventory.stop();
        }
        self.ctx.metrics.control_plane(name, None);
        self.ctx.wake_all(Some(name));
    }

    async fn connect(
        &self,
        name: &str,
        object: &WatchedControlPlane,
        old: Option<Arc<Connection>>,
    ) -> Result<Plane, Failed> {
        let invalid = |message: String| Failed::stalled(message);
        let spec = object.spec().map_err(|error| invalid(error.to_string()))?.clone();
        let settings = convert::settings(&spec).map_err(|error| invalid(error.to_string()))?;
        let limits = Limits {
            allow_insecure_http: self.ctx.settings.allow_insecure_http,
            create_deadline: self.ctx.settings.create_deadline,
            ..Limits::default()
        };
        let source = Source { client: &self.ctx.client, namespace: &self.ctx.settings.namespace, limits };
        let client_settings = source.settings(&spec).await?;
        let options = inventory::Options {
            interval: settings.poll_interval,
            liveness_granularity: settings.liveness_granularity,
            ..inventory::Options::default()
        };
        let connection = match old {
            Some(old) if *old.client.settings() == client_settings => {
                old.inventory.set_options(options);
                super::sync::lock(&old.throttle).set(settings.max_deletions_per_minute);
                old
            }
            _ => {
                info!(control_plane = name, origin = %client_settings.origin(), "connecting");
                let observer = Arc::new(Observer(self.ctx.metrics.clone()));
                let client =
                    RunaiClient::new(client_settings, observer).map_err(|error| invalid(error.user_message()))?;
                let inventory = self.start_inventory(name, client.clone(), options);
                let connection = Arc::new(Connection::new(client, inventory, settings.max_deletions_per_minute));
                tokio::spawn(cluster_metrics::run(Arc::clone(&self.ctx), name.to_owned(), Arc::clone(&connection)));
                connection
            }
        };
        Ok(Plane {
            reference: object.object_ref(&()),
            spec: Some(spec),
            liveness_granularity: settings.liveness_granularity,
            connection: Some(connection),
            problem: None,
        })
    }

    /// The news of an inventory go through this task, so that they are handled in order with the rest.
    fn start_inventory(&self, name: &str, client: RunaiClient, options: inventory::Options) -> Inventory {
        let (sender, mut changes) = unbounded_channel();
        let pulse = self.liveness.watch(&format!("inventory of {name}"), LOOK_AGE);
        let (events, name) = (self.events.clone(), name.to_owned());
        let inventory = Inventory::start(client, options, sender, pulse);
        tokio::spawn(async move {
            while let Some(change) = changes.recv().await {
                if events.send(Event::Inventory(name.clone(), change)).is_err() {
                    return;
                }
            }
        });
        inventory
    }

    /// Starts to watch the labels of namespaces, once, and waits for the first list.
    async fn watch_labels(&mut self) {
        if std::mem::replace(&mut self.labels_watched, true) {
            return;
        }
        let api: Api<PartialObjectMeta<Namespace>> = Api::all(self.ctx.client.clone());
        let ctx = Arc::clone(&self.ctx);
        let on_change = move |change: Change<PartialObjectMeta<Namespace>>| {
            let (name, labels) = match &change {
                Change::Applied(namespace) => {
                    (namespace.name_any(), Some(namespace.metadata.labels.clone().unwrap_or_default()))
                }
                Change::Deleted(namespace) | Change::Vanished(namespace) => (namespace.name_any(), None),
                Change::Resynced => return,
            };
            if ctx.planes.set_labels(&name, labels) {
                ctx.wake_namespace(&name);
            }
        };
        let config = watcher::Config::default();
        let watch = Watch::new("namespace labels", api, config, Writer::default(), on_change);
        let mut synced = watch.synced();
        tokio::spawn(watch.run());
        let first = synced.wait_for(|synced| *synced);
        if tokio::time::timeout(Duration::from_secs(30), first).await.is_err() {
            warn!(
                "the labels of namespaces cannot be listed yet; namespaces that a selector must match count as not selected"
            );
        }
    }

    // ---- news ----

    async fn inventory_changed(&mut self, name: &str, change: inventory::Change) {
        let Some(connection) = self.ctx.planes.connection(name) else { return };
        let seen = self.seen.entry(name.to_owned()).or_default();
        match change {
            inventory::Change::Ready => {
                self.ctx.wake_all(Some(name));
                self.write_status(name).await;
            }
            inventory::Change::Capabilities => seen.dirty = true,
            inventory::Change::Records(changed) => {
                seen.dirty = true;
                let snapshot = connection.inventory.snapshot();
                self.ctx.wake_for(&changed, |name| {
                    let named = snapshot.as_ref().map(|snapshot| snapshot.named(name)).unwrap_or_default();
                    named.iter().map(|record| record.uuid).collect()
                });
            }
            inventory::Change::Health { ok, error } => {
                match (ok, error) {
                    (true, _) => info!(control_plane = name, "the control plane answers again"),
                    (false, Some(error)) => warn!(control_plane = name, "{}", trouble(&error).message),
                    (false, None) => warn!(control_plane = name, "the control plane does not answer"),
                }
                if ok {
                    self.ctx.wake_all(Some(name));
                }
                self.write_status(name).await;
            }
        }
    }

    async fn tick(&mut self) {
        for name in self.ctx.planes.names() {
            self.pulse.beat();
            self.show_metrics(&name);
            let stale = self.ctx.planes.connection(&name).is_some_and(|connection| connection.inventory.health().stale);
            let seen = self.seen.entry(name.clone()).or_default();
            if std::mem::replace(&mut seen.stale, stale) != stale {
                self.ctx.wake_all(Some(&name));
            }
            if seen.retry {
                self.load(&name).await;
            } else if self.is_due(&name) {
                self.write_status(&name).await;
            }
        }
    }

    /// Counts change with every object that comes: they are written at the pace of the lists.
    fn is_due(&self, name: &str) -> bool {
        let interval = self.store.get(&ObjectRef::new(name)).and_then(|object| {
            object.spec().ok().and_then(|spec| convert::settings(spec).ok()).map(|settings| settings.poll_interval)
        });
        self.seen.get(name).is_some_and(|seen| {
            let rested = seen.written.is_none_or(|at| at.elapsed() >= interval.unwrap_or(TICK));
            rested && (seen.dirty || seen.refused_since.is_some())
        })
    }

    /// An object that is gone by force, or that adopts, changes the counts without any change of a record.
    fn show_metrics(&mut self, name: &str) {
        let facts = plane_status::metrics(&self.ctx, name);
        let seen = self.seen.entry(name.to_owned()).or_default();
        if std::mem::replace(&mut seen.counted, facts.registrations) != facts.registrations {
            seen.dirty = true;
        }
        self.ctx.metrics.control_plane(name, Some(facts));
    }
}

/// Which object, and which version of its spec.
fn version(object: &WatchedControlPlane) -> (Option<String>, Option<i64>) {
    (object.uid(), object.metadata.generation)
}

fn names_secret(spec: &RunaiControlPlaneSpec, secret: &str) -> bool {
    let ca = spec.ca_bundle_ref.as_ref().is_some_and(|ca| ca.kind == CaBundleKind::Secret && ca.name == secret);
    spec.connection_secret_ref.name == secret || ca
}

fn names_config_map(spec: &RunaiControlPlaneSpec, map: &str) -> bool {
    spec.ca_bundle_ref.as_ref().is_some_and(|ca| ca.kind == CaBundleKind::ConfigMap && ca.name == map)
}

/// Moves the metrics of the client.
struct Observer(Metrics);

impl ClientObserver for Observer {
    fn request(&self, operation: Operation, code: Option<u16>, took: Duration) {
        self.0.api_request(operation.as_str(), code.map_or(ApiCode::None, ApiCode::Status), took);
    }

    fn token_refresh(&self, ok: bool) {
        self.0.token_refresh(if ok { RefreshResult::Success } else { RefreshResult::Error });
    }

    fn rate_limit_wait(&self, waited: Duration) {
        self.0.rate_limit_wait(waited);
    }
}
