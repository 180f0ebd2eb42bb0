//! The steps that write to the object; those that write to the control plane are in `send`.
//!
//! Owns how each step is carried out and how its outcome goes back into what the pass knows. Every write is fenced by
//! the lease, and every write to the object's metadata is a compare-and-swap.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};
use tracing::{debug, info, warn};

use crate::api::conditions::status_patch_over;
use crate::api::{FIELD_MANAGER, RunaiClusterStatus, Watched};
use crate::domain::claims::{Holding, NameClaim};
use crate::domain::plan::Stale;
use crate::domain::{EventNote, Identity, Marks, Named, Plan, Reason, report, schedule};

use super::calls::{CallError, call};
use super::clock::Boottime;
use super::notes;
use super::pass::{Flow, Pass, Written, now};
use super::status;
use super::sync::lock;

impl Pass<'_> {
    fn api(&self) -> Api<Watched> {
        Api::namespaced(self.ctx.client.clone(), &self.key.namespace)
    }

    pub(super) fn reference(&self) -> ObjectReference {
        self.object.object_ref(&())
    }

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
        if let Some(made) = marks.identity.as_ref().filter(|_| self.recorded.intent.is_some()) {
            // Kept before the write: the news that the object is gone may overtake the answer.
            self.memory.notes(made, now());
            self.keep();
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
    pub(super) fn reread(&mut self) {
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
            Err(error) if error.is_not_found() => {
                self.ctx.overtaken(&self.key, &self.object);
                Written::Done
            }
            Err(error) if error.is_conflict() => {
                debug!(object = %self.key, "somebody else wrote before the status");
                self.ctx.overtaken(&self.key, &self.object);
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
            self.ctx.overtaken(&self.key, &self.object);
            return Flow::End(Action::await_change());
        }
        if error.is_conflict() {
            debug!(object = %self.key, "somebody else wrote first");
            let pause = schedule::backoff(1, fastrand::u64(..));
            // Where the watch lags, what it brings will wake the object.
            let lags = self.ctx.overtaken(&self.key, &self.object);
            return Flow::End(Action::requeue(if lags { pause } else { pause / 4 }));
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
}
