//! The steps that write to the control plane.
//!
//! Owns how each is sent, once and behind the lease, and how its answer goes back into what the pass knows.

use std::sync::atomic::Ordering;

use kube::runtime::controller::Action;
use tracing::{info, warn};

use crate::domain::plan::{Fate, NewCluster, fate};
use crate::domain::{
    Accepted, ClusterName, ClusterUuid, Identity, Named, Provenance, Reason, RemoteCluster, Sighting, Trouble, schedule,
};
use crate::runai::{self, ApiError, Class, DeleteReply, ErrorKind, Operation};

use super::pass::{Flow, Pass, now};
use super::planes::{Connection, trouble};
use super::settings::SEND_WINDOW;
use super::sync::lock;

impl Pass<'_> {
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
