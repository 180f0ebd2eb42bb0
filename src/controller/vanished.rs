//! An object that went away while its registration was being made.
//!
//! Owns what is done about it: our finalizer was on the object, but somebody took it off, or Kubernetes had read the
//! finalizers of a deletion just before ours came and does not look again. Nothing else will ever delete what was made.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tracing::{info, warn};

use crate::api::Watched;
use crate::domain::{Identity, Provenance, plan, schedule};
use crate::runai::{ApiError, DeleteReply, Operation};

use super::calls::{CallError, call};
use super::pass::Pass;
use super::planes::Connection;

/// So often the deletion is tried: for some minutes, by the usual back-off.
const TRIES: u32 = 8;

impl Pass<'_> {
    /// After a write of `made` to the object failed: deletes the registration if the object is not there any more.
    pub(super) async fn clean_up_after(&self, error: &CallError, made: &Identity) {
        // What an object had noted before is torn away with the notes, and stays.
        let just_made = made.provenance == Provenance::Created && self.recorded.intent.is_some();
        if !just_made || !self.with_case(plan::deletes_what_it_made) {
            return;
        }
        let gone = error.is_not_found() || (error.is_conflict() && self.is_another_by_now().await);
        let Some(connection) = self.connection.clone().filter(|_| gone) else { return };
        let uuid = made.uuid;
        warn!(object = %self.key, %uuid, "the object is gone, its registration was just made and goes too");
        for failures in 1..=TRIES {
            match self.delete_alone(&connection, made).await {
                Ok(true) => {
                    info!(object = %self.key, %uuid, "deletion requested");
                    connection.inventory.gone(uuid);
                    return;
                }
                Ok(false) => return,
                Err(why) => info!(object = %self.key, %uuid, why, "not deleted yet"),
            }
            tokio::time::sleep(schedule::backoff(failures, fastrand::u64(..)).min(Duration::from_secs(30))).await;
        }
        warn!(object = %self.key, %uuid, "the registration of an object that is gone was left behind; delete it in the control plane");
    }

    async fn is_another_by_now(&self) -> bool {
        // Changes nothing, and tells what is there without another right.
        let api: Api<Watched> = Api::namespaced(self.ctx.client.clone(), &self.key.namespace);
        match call(api.patch(&self.key.name, &PatchParams::default(), &Patch::Merge(json!({})))).await {
            Ok(found) => found.uid() != self.object.uid(),
            Err(error) => error.is_not_found(),
        }
    }

    /// `false`: it shall stay, since the whole kind is being removed.
    async fn delete_alone(&self, connection: &Connection, made: &Identity) -> Result<bool, String> {
        if self.ctx.crd.is_deleting().await.map_err(|error| error.to_string())? {
            return Ok(false);
        }
        let said = |error: ApiError| error.to_string();
        let permit = self.fenced(connection, Operation::DeleteCluster).await.map_err(said)?;
        match connection.client.delete(made.uuid, false, permit).await.map_err(said)? {
            DeleteReply::Accepted | DeleteReply::Done | DeleteReply::NotFound => Ok(true),
            DeleteReply::Conflict => Err("the control plane refuses at present (409)".to_owned()),
        }
    }
}
