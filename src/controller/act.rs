//! The steps that write something: to the object, or to the control plane.
//!
//! Owns how each step is carried out and how its outcome goes back into what the pass knows. Every write is fenced by
//! the lease, and every write to the object's metadata is a compare-and-swap.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};
use tracing::{debug, info, warn};

use crate::api::conditions::status_patch_over;
use crate::api::{FIELD_MANAGER, RunaiClusterStatus, Watched};
use crate::domain::claims::{Holding, NameClaim};
use crate::domain::plan::{Fate, NewCluster, Stale, fate};
use crate::domain::{
    Accepted, ClusterName, ClusterUuid, EventNote, Identity, Marks, Named, Plan, Provenance, Reason, RemoteCluster,
    Sighting, Trouble, report, schedule,
};
use crate::runai::{self, ApiError, Class, DeleteReply, ErrorKind, Operation};

use super::calls::{CallError, call};
use super::clock::Boottime;
use super::notes;
use super::pass::{Flow, Pass, Written, now};
use super::planes::{Connection, trouble};
use super::settings::SEND_WINDOW;
use super::status;
use super::sync::lock;

impl Pass<'_> {
    fn api(&self) -> Api<Watched> {
        Api::namespaced(self.ctx.client.clone(), &self.key.namespace)
    }

    pub(super) fn reference(&self) -> ObjectReference {
        self.object.object_ref(&())
    }

    // ---- to the object ----

    /// Makes the metadata say `marks`. The claims say it first: two objects cannot mark one registration.
    pub(super) async fn mark(&mut self, marks: &Marks) -> Flow {
        if !self.claim(marks) {
            return Flow::GoOn;
        }
        if let Some(intent) = &marks.intent {
            let Some(turn) = &mut self.turn else {
                // Without a turn the look is not the last thing before the intent: take it, and look anew.
                self.observed.named = Named::NotLooked;
                return Flow::GoOn;
            };
            turn.intent_started = Some(Boottime::now());
            self.memory.intends(intent);
        }
        let patch = notes::mark_patch(&self.object, marks, &self.ctx.signer);
        if let Err(flow) = self.patch_metadata(&patch, marks.identity.as_ref()).await {
            return flow;
        }
        self.observed.armed = marks.intent.as_ref().map(|intent| intent.attempt);
        self.memory.marked(marks);
        self.reread();
        Flow::GoOn
    }

    /// Lays claim to what `marks` say. `false` if somebody else was first.
    pub(super) fn claim(&self, marks: &Marks) -> bool {
        let name = marks.intent.as_ref().map(|intent| NameClaim {
            origin: intent.origin.clone(),
            tenant: intent.tenant,
            name: intent.name.clone(),
        });
        let holds = marks.identity.as_ref().map(|of| Holding { uuid: of.uuid, origin: of.origin.clone() });
        let mut claims = lock(&self.ctx.claims);
        let others = [
            holds.as_ref().and_then(|held| claims.owner(held.origin.as_ref(), held.uuid)),
            name.as_ref().and_then(|name| claims.name_holder(name)),
        ];
        if others.into_iter().flatten().any(|other| *other != self.key) {
            return false;
        }
        claims.set(&self.key, Some(super::context::claim(&self.object, holds, name)));
        true
    }

    /// Takes in what the object says now.
    fn reread(&mut self) {
        let asked_at = self.recorded.delete_requested_at;
        self.renote();
        self.recorded.delete_requested_at = self.recorded.delete_requested_at.or(asked_at);
        self.look_again();
    }

    /// Brings notes and claims in step with the object.
    fn renote(&mut self) {
        self.recorded = notes::read(&self.object, &self.ctx.signer, &self.memory);
        self.ctx.index(&self.object, &self.recorded, &self.memory);
    }

    /// Takes out of status what is over.
    pub(super) async fn forget(&mut self, what: Stale) -> Flow {
        let patch = match what {
            Stale::Registration => {
                json!({ "status": { "uuid": null, "origin": null, "state": null, "lastLiveness": null } })
            }
            Stale::Attempt => json!({ "status": { "createPending": null } }),
        };
        match self.patch_status(patch).await {
            Ok(()) => {
                self.reread();
                Flow::GoOn
            }
            Err(error) => self.failed(&error),
        }
    }

    pub(super) async fn release(&mut self, plan: &Plan) -> Flow {
        let patch = notes::release_patch(&self.object);
        if let Err(flow) = self.patch_metadata(&patch, None).await {
            return flow;
        }
        info!(object = %self.key, why = plan.why.as_str(), "{}; finalizer removed", plan.message);
        self.ctx.released(&self.key, &self.object);
        if let Some(note) = report::farewell(plan, &status::before(&self.object)) {
            self.ctx.events.publish(self.reference(), note, "Delete");
        }
        Flow::End(Action::await_change())
    }

    /// Writes `after` if it differs from what is there.
    pub(super) async fn write_status(&mut self, after: &RunaiClusterStatus) -> Written {
        let Some(patch) = status_patch_over(&self.object.status, after) else {
            return Written::Done;
        };
        match self.patch_status(patch).await {
            Ok(()) => {
                // An observed registration is noted in status alone, and the echo of this write is not looked at.
                self.renote();
                Written::Done
            }
            Err(error) if error.is_not_found() => Written::Done,
            Err(error) if error.is_conflict() => {
                debug!(object = %self.key, "somebody else wrote before the status");
                Written::TooLate
            }
            Err(error) => {
                warn!(object = %self.key, %error, "status not written");
                Written::Failed
            }
        }
    }

    /// Compare-and-swap here too: what is said of an older version of the object may be wrong by now.
    async fn patch_status(&mut self, mut patch: Value) -> Result<(), CallError> {
        patch["metadata"] = json!({ "resourceVersion": self.object.resource_version() });
        let params = PatchParams::apply(FIELD_MANAGER);
        let api = self.api();
        let written = call(api.patch_status(&self.key.name, &params, &Patch::Merge(&patch))).await?;
        self.object = Arc::new(written);
        Ok(())
    }

    /// `made`: the registration that only this write notes.
    async fn patch_metadata(&mut self, patch: &Value, made: Option<&Identity>) -> Result<(), Flow> {
        if !self.ctx.leadership.is_leader() {
            return Err(Flow::End(Action::await_change()));
        }
        let params = PatchParams::apply(FIELD_MANAGER);
        let api = self.api();
        match call(api.patch(&self.key.name, &params, &Patch::Merge(patch))).await {
            Ok(written) => {
                self.object = Arc::new(written);
                Ok(())
            }
            // What was claimed for the write stays claimed until the object is seen again: the write may have happened.
            Err(error) => {
                if let Some(made) = made {
                    self.clean_up_after(&error, made).await;
                }
                Err(self.failed(&error))
            }
        }
    }

    /// A write to the object failed: the next pass sees what became of it.
    fn failed(&mut self, error: &CallError) -> Flow {
        if error.is_not_found() {
            return Flow::End(Action::await_change());
        }
        if error.is_conflict() {
            debug!(object = %self.key, "somebody else wrote first");
            return Flow::End(Action::requeue(schedule::backoff(1, fastrand::u64(..)) / 4));
        }
        warn!(object = %self.key, %error, "object not written");
        self.tell_unfit(error);
        self.memory.pass_ended(Some(Reason::ConnectionFailed), now());
        Flow::End(Action::requeue(schedule::backoff(self.memory.failures, fastrand::u64(..))))
    }

    /// A stored value of the wrong type makes the API refuse every write, of a finalizer or a status too, until somebody
    /// corrects it. Only an Event can say so, once.
    fn tell_unfit(&self, error: &CallError) {
        let known = self.memory.trouble.is_some_and(|(reason, _)| reason == Reason::ConnectionFailed);
        let Some(said) = error.unfit().filter(|_| !known) else { return };
        let message =
            format!("the Kubernetes API refuses every write to this object until its spec is corrected: {said}");
        let note = EventNote { warning: true, reason: Reason::InvalidSpec.as_str().to_owned(), message };
        self.ctx.events.publish(self.reference(), note, "Reconcile");
    }

    // ---- to the control plane ----

    pub(super) async fn create(&mut self, new: &NewCluster) -> Flow {
        let (Some(connection), Some(turn), Some(attempt)) =
            (self.connection.clone(), &mut self.turn, self.observed.armed.take())
        else {
            return Flow::End(Action::requeue(schedule::FIRST_DELAY));
        };
        let (Some(permit), Some(started)) = (turn.permit.take(), turn.intent_started) else {
            return Flow::End(Action::requeue(schedule::FIRST_DELAY));
        };
        let permit = permit.only_if(self.fence(&connection)).only_if(move || started.elapsed() < SEND_WINDOW);
        let NewCluster { name, domain, version } = new.clone();
        let body = runai::NewCluster { name, domain, version };
        self.memory.unsent = None;
        self.ctx.keep(&self.key, &self.object, &self.memory);
        let outcome = connection.client.create(&body, permit).await;
        // The turn is over; what follows is bookkeeping.
        self.turn = None;
        match outcome {
            Ok(record) => self.created(&connection, record),
            Err(error) => self.not_created(&error, attempt),
        }
        Flow::GoOn
    }

    fn created(&mut self, connection: &Connection, record: RemoteCluster) {
        info!(object = %self.key, uuid = %record.uuid, "registration created");
        connection.inventory.wrote(record.clone());
        let who = connection.who();
        self.memory.learned = Some(Identity {
            uuid: record.uuid,
            provenance: Provenance::Created,
            tenant: Some(record.tenant),
            origin: Some(who.origin),
            credential: Some(who.credential),
            created: Some(record.created_at),
        });
        self.reread();
        self.observed.uuid = Sighting::Present(record);
    }

    fn not_created(&mut self, error: &ApiError, attempt: uuid::Uuid) {
        // From here on only a look that starts later says anything.
        self.observed.named = Named::NotLooked;
        match fate(error.certainly_not_sent(), error.status()) {
            Fate::Unsent => {
                self.memory.unsent = Some(attempt);
                self.observed.trouble = Some(trouble(error));
            }
            Fate::Refused => {
                let refusal = Self::refusal(error);
                self.memory.refused = Some((attempt, refusal.clone()));
                self.observed.refused = Some(refusal);
            }
            Fate::Unknown => {
                info!(object = %self.key, %error, "the answer to the create was lost; looking what became of it");
            }
        }
    }

    pub(super) async fn rename(&mut self, uuid: ClusterUuid, name: &ClusterName) -> Flow {
        let Some(connection) = self.connection.clone() else { return Flow::GoOn };
        if let Some(away) = away(&connection) {
            self.observed.trouble = Some(away);
            return Flow::GoOn;
        }
        let outcome = match self.fenced(&connection, Operation::RenameCluster).await {
            Ok(permit) => connection.client.rename(uuid, name, permit).await,
            Err(error) => Err(error),
        };
        heard(&connection, &outcome);
        match outcome {
            Ok(()) => {
                info!(object = %self.key, %uuid, %name, "registration renamed");
                self.memory.renamed(self.object.metadata.generation.unwrap_or_default(), now());
                connection.inventory.renamed(uuid, name);
                if let Sighting::Present(record) = &mut self.observed.uuid {
                    name.as_str().clone_into(&mut record.name);
                }
            }
            Err(error) if error.class() == Class::Gone => self.observed.uuid = Sighting::NotListed,
            Err(error) => self.observed.trouble = Some(Self::refusal(&error)),
        }
        Flow::GoOn
    }

    pub(super) async fn delete(&mut self, uuid: ClusterUuid, force: bool) -> Flow {
        let Some(connection) = self.connection.clone() else { return Flow::GoOn };
        if let Some(away) = away(&connection) {
            self.observed.trouble = Some(away);
            return Flow::GoOn;
        }
        if !force && let Err(held) = lock(&connection.throttle).take(std::time::Instant::now()) {
            if held.first {
                self.tell_throttled();
            }
            self.observed.trouble = Some(Trouble {
                reason: Reason::DeletionThrottled,
                message: "waiting: the control plane's spec.maxDeletionsPerMinute is reached".to_owned(),
                stalled: false,
                retry_after: Some(held.wait),
            });
            return Flow::GoOn;
        }
        let outcome = match self.fenced(&connection, Operation::DeleteCluster).await {
            Ok(permit) => connection.client.delete(uuid, force, permit).await,
            Err(error) => Err(error),
        };
        heard(&connection, &outcome);
        match outcome {
            Ok(reply) => self.deleted(&connection, uuid, reply),
            Err(error) => self.observed.trouble = Some(trouble(&error)),
        }
        Flow::GoOn
    }

    fn deleted(&mut self, connection: &Connection, uuid: ClusterUuid, reply: DeleteReply) {
        let repeated = std::mem::replace(&mut self.observed.delete_sent, true);
        info!(object = %self.key, %uuid, ?reply, "deletion requested");
        match reply {
            DeleteReply::Accepted | DeleteReply::Done => {
                let at = *self.recorded.delete_requested_at.get_or_insert_with(now);
                let done = reply == DeleteReply::Done;
                let (origin, credential) = (connection.client.origin(), connection.client.credential());
                self.memory.delete_accepted = Some(Accepted { origin, credential, done });
                if done {
                    connection.inventory.gone(uuid);
                    self.observed.uuid = Sighting::NotListed;
                } else {
                    connection.inventory.delete_requested(uuid, at);
                    if let Sighting::Present(record) = &mut self.observed.uuid {
                        record.delete_requested_at.get_or_insert(at);
                    }
                }
            }
            DeleteReply::NotFound => self.observed.uuid = Sighting::NotListed,
            DeleteReply::Conflict if repeated => {
                self.observed.trouble = Some(Trouble {
                    reason: Reason::Rejected,
                    message: format!("the control plane refuses to delete registration {uuid} at present (409)"),
                    stalled: false,
                    retry_after: None,
                });
            }
            DeleteReply::Conflict => self.observed.uuid = Sighting::NotListed,
        }
    }

    /// A permit behind the fence.
    pub(super) async fn fenced(
        &self,
        connection: &Connection,
        operation: Operation,
    ) -> Result<runai::Permit, ApiError> {
        Ok(connection.client.permit(operation).await?.only_if(self.fence(connection)))
    }

    /// Nothing is sent without the lease, nor once the connection has been replaced: whoever replaced it may have done so
    /// to stop just this.
    fn fence(&self, connection: &Connection) -> impl FnOnce() -> bool + Send + Sync + 'static {
        let (leadership, inventory) = (self.ctx.leadership.clone(), connection.inventory.clone());
        move || leadership.is_leader() && !inventory.is_stopped()
    }

    /// What a refused name means, at a create as at a rename: the server holds it, for a record that no list shows.
    fn refusal(error: &ApiError) -> Trouble {
        let told = trouble(error);
        match error.status() {
            Some(409) => Trouble { reason: Reason::NameHeld, stalled: false, ..told },
            Some(_) | None => told,
        }
    }

    fn tell_throttled(&self) {
        let name = super::context::control_plane_of(&self.object);
        warn!(control_plane = name, "deletions are slowed down by spec.maxDeletionsPerMinute");
        super::control_plane::tell(
            self.ctx,
            name,
            Reason::DeletionThrottled,
            "more RunaiClusters are being deleted than spec.maxDeletionsPerMinute allows; the rest waits. To stop, scale the operator to zero and set spec.deletion.policy: Orphan",
        );
    }
}

/// Why nothing is changed while the control plane is away: neither the last change nor the last list was answered. The
/// poller's list is the one probe for all that wait, and wakes them when it is back.
fn away(connection: &Connection) -> Option<Trouble> {
    let health = connection.inventory.health();
    let told = health.last_error.filter(|_| health.consecutive_failures > 0).map(|error| trouble(&error))?;
    (told.reason == Reason::ConnectionFailed && connection.silent.load(Ordering::Relaxed)).then_some(told)
}

/// Notes whether a change was answered at all.
fn heard<T>(connection: &Connection, outcome: &Result<T, ApiError>) {
    let silent = outcome.as_ref().is_err_and(|error| match &error.kind {
        ErrorKind::Transport(_) => true,
        _ => error.status().is_some_and(|code| code >= 500),
    });
    connection.silent.store(silent, Ordering::Relaxed);
}
