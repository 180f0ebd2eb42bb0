//! What a `RunaiControlPlane` says of itself: status, Events, metrics.
//!
//! Owns the meaning of its conditions. Must not know how a connection is built.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource};
use tracing::warn;

use crate::api::conditions::{Wanted, merge, status_patch_over};
use crate::api::control_plane::{Capabilities, Registrations};
use crate::api::{FIELD_MANAGER, RunaiControlPlaneStatus, WatchedControlPlane};
use crate::domain::{EventNote, Reason, Trouble};
use crate::telemetry::objects::{ControlPlaneFacts, Registrations as Counted};

use super::calls::call;
use super::context::Context;
use super::control_plane::ControlPlanes;
use super::pass::now;
use super::planes::{Connection, trouble};
use super::sync::lock;

/// Refused credentials need a person after this long: a rotation passes through them.
const STALL_AFTER: Duration = Duration::from_secs(60);
/// The reason of a control plane in order, in the API's own spelling of a good state.
const ANSWERS: &str = "Connected";

/// How a control plane stands.
enum Standing {
    /// Its API answers.
    Answers,
    /// The first list is under way.
    Early,
    /// Something is wrong.
    Troubled(Trouble),
}

impl ControlPlanes {
    /// Writes the status of `name` if it differs.
    pub(super) async fn write_status(&mut self, name: &str) {
        let Some(object) = self.store.get(&ObjectRef::new(name)) else { return };
        let standing = self.standing(name);
        if matches!(standing, Standing::Early) {
            return;
        }
        let connection = self.ctx.planes.connection(name);
        let after = status(&self.ctx, &object, connection.as_deref(), &standing);
        let seen = self.seen.entry(name.to_owned()).or_default();
        seen.written = Some(Instant::now());
        seen.dirty = false;
        let Some(patch) = status_patch_over(&object.status, &after) else { return };
        if !self.ctx.leadership.is_leader() {
            return;
        }
        let api: Api<WatchedControlPlane> = Api::all(self.ctx.client.clone());
        let params = PatchParams::apply(FIELD_MANAGER);
        match call(api.patch_status(name, &params, &Patch::Merge(&patch))).await {
            Ok(_) => self.announce(&object, &after),
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                warn!(control_plane = name, %error, "status not written");
                self.seen.entry(name.to_owned()).or_default().dirty = true;
            }
        }
    }

    /// One Event for each transition of Ready.
    fn announce(&self, object: &WatchedControlPlane, after: &RunaiControlPlaneStatus) {
        let ready = |status: &RunaiControlPlaneStatus| {
            let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
            ready.map(|c| (c.status.clone(), c.reason.clone(), c.message.clone()))
        };
        let said = object.status().and_then(ready).map(|(status, reason, _)| (status, reason));
        if let Some((status, reason, message)) = ready(after)
            && said != Some((status.clone(), reason.clone()))
        {
            let note = EventNote { warning: status != "True", reason, message };
            self.ctx.events.publish(object.object_ref(&()), note, "Reconcile");
        }
    }

    fn standing(&mut self, name: &str) -> Standing {
        let standing = self.standing_now(name);
        let seen = self.seen.entry(name.to_owned()).or_default();
        match standing {
            Standing::Troubled(trouble) if matches!(trouble.reason, Reason::AuthFailed | Reason::Forbidden) => {
                let since = *seen.refused_since.get_or_insert_with(Instant::now);
                Standing::Troubled(Trouble { stalled: since.elapsed() >= STALL_AFTER, ..trouble })
            }
            other => {
                seen.refused_since = None;
                other
            }
        }
    }

    fn standing_now(&self, name: &str) -> Standing {
        if let Some(problem) = self.ctx.planes.problem(name) {
            return Standing::Troubled(problem);
        }
        let Some(connection) = self.ctx.planes.connection(name) else { return Standing::Early };
        let health = connection.inventory.health();
        match (health.consecutive_failures, &health.last_error) {
            (0, _) if connection.inventory.snapshot().is_some() => Standing::Answers,
            (0, _) | (_, None) => Standing::Early,
            (_, Some(error)) => Standing::Troubled(trouble(error)),
        }
    }
}

fn status(
    ctx: &Context,
    object: &WatchedControlPlane,
    connection: Option<&Connection>,
    standing: &Standing,
) -> RunaiControlPlaneStatus {
    let generation = object.metadata.generation;
    let wanted = |type_, status, reason: &str, message: &str| Wanted {
        type_,
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: generation,
    };
    let mut conditions = Vec::new();
    match standing {
        Standing::Answers | Standing::Early => {
            conditions.push(wanted(
                "Ready",
                "True",
                ANSWERS,
                "the control plane answers and its registrations can be listed",
            ));
        }
        Standing::Troubled(trouble) => {
            conditions.push(wanted("Ready", "False", trouble.reason.as_str(), &trouble.message));
            if trouble.stalled {
                conditions.push(wanted("Stalled", "True", trouble.reason.as_str(), &trouble.message));
            }
        }
    }
    let before = object.status().cloned().unwrap_or_default();
    let registrations = connection.and_then(|connection| count(ctx, connection));
    let capabilities = connection.map(|connection| capabilities(connection, &before)).or(before.capabilities);
    RunaiControlPlaneStatus {
        observed_generation: generation,
        url: connection.map(|connection| connection.client.origin().to_string()).or(before.url),
        tenant_id: connection
            .and_then(|connection| connection.who().tenant)
            .map(|tenant| tenant.0)
            .or(before.tenant_id),
        capabilities,
        registrations: registrations.or(before.registrations),
        conditions: merge(&before.conditions, conditions, now()),
    }
}

fn capabilities(connection: &Connection, before: &RunaiControlPlaneStatus) -> Capabilities {
    let known = connection.client.capabilities();
    let same_server = before.url.as_deref() == Some(connection.client.origin().as_str());
    let before = before.capabilities.filter(|_| same_server).unwrap_or_default();
    // What takes a while to show, a restart does not take back.
    Capabilities {
        minimal_list: known.minimal_list.or(before.minimal_list),
        include_requested_for_delete: known.include_requested_for_delete.or(before.include_requested_for_delete),
        bootstrap_token: known.bootstrap_token.or(before.bootstrap_token),
    }
}

fn count(ctx: &Context, connection: &Connection) -> Option<Registrations> {
    let snapshot = connection.inventory.snapshot()?;
    let counts = snapshot.counts();
    let owned: HashSet<_> = lock(&ctx.claims).owned(&connection.client.origin()).collect();
    let managed = snapshot.iter().filter(|record| record.deleted_at.is_none() && owned.contains(&record.uuid)).count();
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    Some(Registrations {
        total: number(counts.total),
        managed: number(managed),
        unmanaged: number(counts.total.saturating_sub(managed)),
        deleting: number(counts.deleting),
    })
}

/// What the metrics say of the control plane `name`.
pub(super) fn metrics(ctx: &Context, name: &str) -> ControlPlaneFacts {
    let connection = ctx.planes.connection(name);
    let counted = connection.as_deref().and_then(|connection| count(ctx, connection));
    let number = |count: i64| u64::try_from(count).unwrap_or_default();
    ControlPlaneFacts {
        inventory_at: connection
            .and_then(|connection| connection.inventory.health().last_success)
            .and_then(|age| Instant::now().checked_sub(age)),
        registrations: counted.map(|counted| Counted {
            total: number(counted.total),
            managed: number(counted.managed),
            unmanaged: number(counted.unmanaged),
            deleting: number(counted.deleting),
        }),
    }
}
