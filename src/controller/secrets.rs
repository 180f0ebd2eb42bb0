//! The Secrets that were published: watched, read and written.
//!
//! Owns the watch, the newest version of each, and how a failed call is told. Must not know what a Secret holds. Nothing of
//! a Secret, and nothing that the API says about one, goes into a log or a message: it may quote a value.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch as signal;

use crate::api::{FIELD_MANAGER, MANAGED_BY};
use crate::domain::{ObjectKey, Reason, Trouble};

use super::calls::{CallError, call};
use super::context::Context;
use super::published::{belongs_to, owner_of};
use super::sync::lock;
use super::watch::{Change, Watch};

/// A pass waits so long for the first list of Secrets; after that it reads them one by one.
const FIRST_LIST: Duration = Duration::from_secs(3);

type Name = (String, String);

/// See the module.
pub(crate) struct Secrets {
    client: Client,
    known: Mutex<HashMap<Name, Arc<Secret>>>,
    /// Since when.
    wanted: signal::Sender<Option<Instant>>,
    /// How many watches have their first list, of how many.
    synced: signal::Sender<(usize, usize)>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

/// What became of a write.
pub(super) enum Put {
    /// It is there.
    Done,
    /// Somebody else wrote first: look again.
    Again,
    /// The namespace goes away, and nothing is made in it.
    Going,
    /// It failed.
    Failed(Trouble),
}

impl Secrets {
    pub(crate) fn new(client: Client, watches: usize) -> Self {
        Self {
            client,
            known: Mutex::default(),
            wanted: signal::Sender::new(None),
            synced: signal::Sender::new((0, watches)),
        }
    }

    /// Waits until an object asks for install credentials, and watches from then on. Until then nothing here costs
    /// anything, and no right to read Secrets is used.
    pub(crate) async fn watch(ctx: Arc<Context>) {
        // The sender lives as long as the context.
        let _ = ctx.secrets.wanted.subscribe().wait_for(Option::is_some).await;
        for lane in &ctx.lanes {
            let api: Api<Secret> = match &lane.namespace {
                Some(namespace) => Api::namespaced(ctx.client.clone(), namespace),
                None => Api::all(ctx.client.clone()),
            };
            let config = watcher::Config::default().labels(&format!("{MANAGED_BY}={FIELD_MANAGER}")).page_size(100);
            let writer = Writer::default();
            let (shared, store, namespace) = (Arc::clone(&ctx), writer.as_reader(), lane.namespace.clone());
            let mut first = true;
            let on_change = move |change: Change<Secret>| match change {
                Change::Applied(secret) => {
                    if shared.secrets.keep(&secret) {
                        wake_owner(&shared, &secret);
                    }
                }
                Change::Deleted(secret) | Change::Vanished(secret) => {
                    shared.secrets.drop_older(&secret);
                    wake_owner(&shared, &secret);
                }
                Change::Resynced => {
                    shared.secrets.resync(namespace.as_deref(), &store);
                    if std::mem::take(&mut first) {
                        shared.secrets.synced.send_modify(|(done, _)| *done += 1);
                        wake_askers(&shared, namespace.as_deref());
                    }
                }
            };
            tokio::spawn(Watch::new("published Secrets", api, config, writer, on_change).run());
        }
    }

    /// Keeps what is newer than what is known; says whether it was.
    fn keep(&self, secret: &Arc<Secret>) -> bool {
        let mut known = lock(&self.known);
        let name = name_of(secret);
        let newer = known.get(&name).is_none_or(|old| version(secret) > version(old));
        if newer {
            known.insert(name, Arc::clone(secret));
        }
        newer
    }

    fn drop_older(&self, secret: &Secret) {
        let mut known = lock(&self.known);
        let name = name_of(secret);
        if known.get(&name).is_some_and(|old| version(old) <= version(secret)) {
            known.remove(&name);
        }
    }

    /// A list is what the API server holds, also if that is older than what was written: it may have been restored.
    fn resync(&self, namespace: Option<&str>, store: &Store<Secret>) {
        let mut known = lock(&self.known);
        known.retain(|(of, _), _| namespace.is_some_and(|namespace| namespace != of));
        known.extend(store.state().into_iter().map(|secret| (name_of(&secret), secret)));
    }

    /// The Secret as it is known, else as it is. What only the API server can tell is asked of it: a Secret without our
    /// label is not watched, and nothing would tell that somebody took it away.
    pub(super) async fn find(&self, namespace: &str, name: &str) -> Result<Option<Arc<Secret>>, Trouble> {
        self.in_step().await;
        match self.known(namespace, name) {
            Some(secret) if is_watched(&secret) => Ok(Some(secret)),
            Some(_) | None => self.read(namespace, name).await,
        }
    }

    /// As [`Self::find`], without a look at the API server for what is not known.
    pub(super) async fn recall(&self, namespace: &str, name: &str) -> Result<Option<Arc<Secret>>, Trouble> {
        let in_step = self.in_step().await;
        match self.known(namespace, name) {
            Some(secret) if in_step && is_watched(&secret) => Ok(Some(secret)),
            None if in_step => Ok(None),
            Some(_) | None => self.read(namespace, name).await,
        }
    }

    fn known(&self, namespace: &str, name: &str) -> Option<Arc<Secret>> {
        lock(&self.known).get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Begins to watch, and waits for the first list, but not for long: without the right to list there is none.
    pub(super) async fn in_step(&self) -> bool {
        let since = *self.wanted.borrow();
        let since = since.unwrap_or_else(|| {
            let now = Instant::now();
            self.wanted.send_replace(Some(now));
            now
        });
        let mut synced = self.synced.subscribe();
        let all = synced.wait_for(|(done, of)| done == of);
        tokio::time::timeout(FIRST_LIST.saturating_sub(since.elapsed()), all).await.is_ok()
    }

    /// The Secret as it is.
    pub(super) async fn read(&self, namespace: &str, name: &str) -> Result<Option<Arc<Secret>>, Trouble> {
        let found = call(self.api(namespace).get_opt(name)).await;
        let found = found.map_err(|error| told("read", namespace, name, &error))?.map(Arc::new);
        match &found {
            Some(secret) => {
                lock(&self.known).insert(name_of(secret), Arc::clone(secret));
            }
            None => {
                lock(&self.known).remove(&(namespace.to_owned(), name.to_owned()));
            }
        }
        Ok(found)
    }

    /// Makes the Secret say `target`, compare-and-swap: new where `target` has no version, else in place of just that one.
    pub(super) async fn put(&self, namespace: &str, target: &Secret, locked: bool) -> Put {
        let (api, name) = (self.api(namespace), target.name_any());
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let mut target = target.clone();
        if locked {
            // Nobody can change a Secret that was made immutable; it is ours to replace.
            if let Err(error) = call(api.delete(&name, &exactly(&target))).await
                && !error.is_not_found()
            {
                return self.failed("delete", namespace, &name, &error).await;
            }
            (target.metadata.resource_version, target.metadata.uid) = (None, None);
        }
        let (verb, written) = match &target.metadata.resource_version {
            None => ("create", call(api.create(&params, &target)).await),
            Some(_) => ("update", call(api.replace(&name, &params, &target)).await),
        };
        match written {
            Ok(written) => {
                self.keep(&Arc::new(written));
                Put::Done
            }
            Err(error) => self.failed(verb, namespace, &name, &error).await,
        }
    }

    /// Deletes the Secret if it belongs to the object with this UID.
    pub(super) async fn remove(&self, namespace: &str, name: &str, owner: &str) -> Result<(), Trouble> {
        let Some(found) = self.find(namespace, name).await?.filter(|found| belongs_to(found, owner)) else {
            return Ok(());
        };
        match call(self.api(namespace).delete(name, &exactly(&found))).await {
            Err(error) if !error.is_not_found() => {
                // What was known may have been old.
                lock(&self.known).remove(&name_of(&found));
                Err(told("delete", namespace, name, &error))
            }
            Ok(_) | Err(_) => {
                self.drop_older(&found);
                Ok(())
            }
        }
    }

    /// The names of all known Secrets of one object.
    pub(super) fn of_owner(&self, namespace: &str, uid: &str) -> Vec<String> {
        let known = lock(&self.known);
        let all = known.iter().filter(|((of, _), secret)| of == namespace && belongs_to(secret, uid));
        all.map(|((_, name), _)| name.clone()).collect()
    }

    async fn failed(&self, verb: &str, namespace: &str, name: &str, error: &CallError) -> Put {
        if error.is_terminating() || error.is_not_found() {
            // A namespace that goes, or a Secret that somebody deleted meanwhile: the look tells which.
            lock(&self.known).remove(&(namespace.to_owned(), name.to_owned()));
            return if verb == "create" { Put::Going } else { Put::Again };
        }
        if error.code() == Some(409) {
            return match self.read(namespace, name).await {
                Ok(_) => Put::Again,
                Err(trouble) => Put::Failed(trouble),
            };
        }
        Put::Failed(told(verb, namespace, name, error))
    }

    fn api(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// Deletes just this one, and just as it is.
fn exactly(secret: &Secret) -> DeleteParams {
    let (uid, resource_version) = (secret.metadata.uid.clone(), secret.metadata.resource_version.clone());
    DeleteParams { preconditions: Some(Preconditions { uid, resource_version }), ..DeleteParams::default() }
}

/// Whether its changes are told: it bears our label.
fn is_watched(secret: &Secret) -> bool {
    secret.labels().get(MANAGED_BY).is_some_and(|by| by == FIELD_MANAGER)
}

fn name_of(secret: &Secret) -> Name {
    (secret.namespace().unwrap_or_default(), secret.name_any())
}

/// Kubernetes orders resourceVersions as numbers (KEP-5504).
fn version(secret: &Secret) -> Option<u64> {
    secret.resource_version().and_then(|version| version.parse().ok())
}

fn wake_owner(ctx: &Context, secret: &Secret) {
    let (Some(namespace), Some(owner)) = (secret.namespace(), owner_of(secret)) else { return };
    ctx.wake(&ObjectKey { namespace, name: owner.name.clone() });
}

/// Whoever asked while Secrets could not be listed may be helped now.
fn wake_askers(ctx: &Context, namespace: Option<&str>) {
    for object in ctx.objects(None) {
        let asks = object.spec().is_ok_and(|spec| spec.install_info.is_some());
        if asks && namespace.is_none_or(|namespace| object.namespace().as_deref() == Some(namespace)) {
            ctx.wake(&super::notes::key_of(&object));
        }
    }
}

/// A failed call in the words of a condition: never the API's own, which may quote the Secret.
fn told(verb: &str, namespace: &str, name: &str, error: &CallError) -> Trouble {
    match error.code() {
        Some(403) => Trouble {
            reason: Reason::Forbidden,
            message: format!(
                "the operator may not {verb} Secret {name} in namespace {namespace}: set installInfo.enabled to true in the values of \
                 its chart, or remove spec.installInfo; if it is true, a quota or an admission policy refuses it"
            ),
            stalled: true,
            retry_after: None,
        },
        code => {
            let said = code.map_or_else(|| "did not answer".to_owned(), |code| format!("answered with status {code}"));
            Trouble {
                reason: Reason::ConnectionFailed,
                message: format!("Secret {name} could not be handled ({verb}): the Kubernetes API {said}; trying on"),
                stalled: false,
                retry_after: None,
            }
        }
    }
}
