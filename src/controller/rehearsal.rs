//! A pass without consequences: the same looks and the same plan, and nothing is written.
//!
//! Owns what a rehearsal starts from: objects, control planes and labels that somebody else has read. Decides nothing,
//! and must not know where they were read, nor how an outcome is shown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::reflector::{ObjectRef, store::Writer};
use kube::runtime::watcher::Event;
use tokio::sync::mpsc::unbounded_channel;

use crate::api::{RunaiControlPlaneSpec, Watched, convert};
use crate::domain::{ClusterUuid, DeletionPolicy, Memory, ObjectKey, Plan, Trouble};
use crate::inventory::{Inventory, Options, Snapshot};
use crate::runai::{self, NoObserver, RunaiClient};
use crate::telemetry::health::Pulse;
use crate::telemetry::metrics::Metrics;

use super::context::{Context, Lane, control_plane_of};
use super::lease::Leadership;
use super::notes;
use super::pass::rehearse;
use super::planes::{Connection, Plane, Planes, trouble, unready};
use super::settings::Settings;
use super::signer::Signer;
use super::source::Failed;
use super::sync::lock;

/// What plans depend on and the running operator was told by flags.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flags {
    /// See [`Settings::default_deletion`].
    pub(crate) default_deletion: DeletionPolicy,
    /// See [`Settings::create_quarantine`].
    pub(crate) create_quarantine: Duration,
}

impl Default for Flags {
    fn default() -> Self {
        Self { default_deletion: DeletionPolicy::Delete, create_quarantine: Duration::from_secs(120) }
    }
}

/// Objects and control planes as they are, ready to be asked what the operator would do.
pub(crate) struct Rehearsal {
    ctx: Context,
    /// Lists that started since then are fresh.
    began: Instant,
}

impl Rehearsal {
    /// Takes in all objects, those to be planned for among them. `signer` is `None` for somebody who may not read the
    /// operator's key: every annotation counts as genuine then.
    pub(crate) fn new(client: Client, flags: Flags, signer: Option<Signer>, objects: Vec<Watched>) -> Self {
        let mut writer = Writer::default();
        writer.apply_watcher_event(&Event::Init);
        for object in objects {
            writer.apply_watcher_event(&Event::InitApply(object));
        }
        writer.apply_watcher_event(&Event::InitDone);
        let queue = unbounded_channel().0;
        let lane = Lane { namespace: None, store: writer.as_reader(), queue, doubt: Arc::default() };
        let signer = signer.unwrap_or_else(Signer::believing);
        let leadership = Leadership::always();
        let metrics = Metrics::new(&[], Vec::new());
        let ctx = Context::new(client, settings(flags), leadership, signer, Planes::default(), metrics, vec![lane]);
        for object in ctx.objects(None) {
            let memory = Memory::default();
            ctx.index(&object, &notes::read(&object, &ctx.signer, &memory), &memory);
        }
        Self { ctx, began: Instant::now() }
    }

    /// Makes the control plane `name` known, connected or with the reason why it is not. The first list begins at once.
    /// Must be called inside a tokio runtime.
    pub(crate) fn connect(
        &self,
        name: &str,
        spec: Option<RunaiControlPlaneSpec>,
        found: Result<runai::Settings, Failed>,
    ) {
        let numbers = spec.as_ref().map(convert::settings).transpose();
        let granularity = numbers.as_ref().ok().and_then(Option::as_ref).map(|numbers| numbers.liveness_granularity);
        let connected = match numbers {
            Err(error) => Err(Failed::stalled(error.to_string())),
            Ok(_) => found.and_then(connection),
        };
        let (connection, problem) = match connected {
            Ok(connection) => (Some(Arc::new(connection)), None),
            Err(Failed { problem, retry: _ }) => (None, Some(problem)),
        };
        let plane = Plane {
            reference: ObjectReference::default(),
            spec,
            liveness_granularity: granularity.unwrap_or(Duration::MAX),
            connection,
            problem,
        };
        self.ctx.planes.set(name, Some(plane));
    }

    /// Makes the labels of a namespace known.
    pub(crate) fn label(&self, namespace: &str, labels: BTreeMap<String, String>) {
        self.ctx.planes.set_labels(namespace, Some(labels));
    }

    /// Whether plans depend on the labels of namespaces.
    pub(crate) fn needs_labels(&self) -> bool {
        self.ctx.planes.need_labels()
    }

    /// Whether an object in `namespace` may adopt registrations of the control plane `name`.
    pub(crate) fn may_adopt(&self, name: &str, namespace: &str) -> bool {
        self.ctx.planes.access(name, namespace).access.may_adopt
    }

    /// All registrations of the control plane `name`, and its client.
    ///
    /// # Errors
    /// Why there is no connection, or why the list failed.
    pub(crate) async fn list(&self, name: &str) -> Result<(RunaiClient, Arc<Snapshot>), Trouble> {
        let granted = self.ctx.planes.access(name, "");
        let connection = match (granted.connection, granted.access.who) {
            (Some(connection), _) => connection,
            (None, Err(why)) => return Err(why),
            (None, Ok(_)) => return Err(unready(name)),
        };
        match connection.inventory.fresh(self.began).await {
            Ok(snapshot) => Ok((connection.client.clone(), snapshot)),
            Err(error) => Err(trouble(&error)),
        }
    }

    /// The objects that claim the registration `uuid` of the control plane `name`, its owner first.
    pub(crate) fn claimants(&self, name: &str, uuid: ClusterUuid) -> Vec<ObjectKey> {
        let origin = self.ctx.planes.connection(name).map(|connection| connection.client.origin());
        let claims = lock(&self.ctx.claims);
        let owner = claims.owner(origin.as_ref(), uuid).cloned();
        let here = |key: &&ObjectKey| {
            let held = claims.get(key).and_then(|claim| claim.holds.as_ref());
            held.is_some_and(|held| held.is_at(origin.as_ref())) && Some(*key) != owner.as_ref()
        };
        let mut rest: Vec<_> = claims.claimants(uuid).iter().filter(here).cloned().collect();
        rest.sort();
        owner.into_iter().chain(rest).collect()
    }

    /// The registrations that objects of the control plane `name` claim.
    pub(crate) fn claimed(&self, name: &str) -> Vec<(ClusterUuid, ObjectKey)> {
        let objects = self.ctx.objects(Some(name));
        let claims = lock(&self.ctx.claims);
        let claim = |key: ObjectKey| Some((claims.get(&key)?.holds.as_ref()?.uuid, key));
        let mut claimed: Vec<_> = objects.iter().filter_map(|object| claim(notes::key_of(object))).collect();
        claimed.sort();
        claimed
    }

    /// The control plane that an object refers to.
    pub(crate) fn control_plane_of(&self, key: &ObjectKey) -> Option<String> {
        self.object(key).map(|object| control_plane_of(&object).to_owned())
    }

    fn object(&self, key: &ObjectKey) -> Option<Arc<Watched>> {
        let reference = ObjectRef::new(&key.name).within(&key.namespace);
        self.ctx.lanes.iter().find_map(|lane| lane.store.get(&reference))
    }

    /// What the operator would do first for one of the objects, or that it would do nothing.
    pub(crate) async fn plan(&self, key: &ObjectKey) -> Option<Plan> {
        let object = self.object(key)?;
        // What fails here is what the plan says.
        let _ = self.list(control_plane_of(&object)).await;
        Some(rehearse(&self.ctx, object, self.began).await)
    }
}

fn connection(settings: runai::Settings) -> Result<Connection, Failed> {
    let client =
        RunaiClient::new(settings, Arc::new(NoObserver)).map_err(|error| Failed::stalled(error.user_message()))?;
    let inventory = Inventory::start(client.clone(), Options::default(), unbounded_channel().0, Pulse::default());
    Ok(Connection::new(client, inventory, 1))
}

/// Settings of which only what plans depend on counts: nothing is served, elected or written.
fn settings(flags: Flags) -> Settings {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    Settings {
        namespace: String::new(),
        watch_namespaces: Vec::new(),
        leader_elect: false,
        metrics_bind: nowhere,
        health_bind: nowhere,
        allow_insecure_http: false,
        concurrency: 1,
        default_deletion: Some(flags.default_deletion),
        create_quarantine: flags.create_quarantine,
        create_deadline: Duration::from_secs(20),
        default_control_plane: None,
    }
}
