//! An object that went away while its registration was being made.
//!
//! Owns what is done about it: our finalizer was on the object, but somebody took it off, or Kubernetes had read the
//! finalizers of a deletion just before ours came and does not look again. Nothing else will ever delete what was made.

use std::sync::Arc;

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tracing::warn;

use crate::api::Watched;
use crate::domain::{Identity, Step, plan, schedule};

use super::calls::{CallError, call};
use super::context::Context;
use super::notes;
use super::pass::Pass;

/// So often the deletion is tried, by the usual back-off: for some minutes.
const TRIES: u32 = 8;

/// After an object was deleted: deletes the registration that it leaves behind, if it was just made.
pub(super) fn deleted(ctx: &Arc<Context>, object: &Arc<Watched>) {
    let key = notes::key_of(object);
    // The ordinary end waits for our finalizer, and says since when.
    let Some(memory) = ctx.memory(&key, object).filter(|_| !object.is_deleted()) else { return };
    let (ctx, object) = (Arc::clone(ctx), Arc::clone(object));
    tokio::spawn(async move {
        let mut pass = Pass::new(&ctx, key, object, memory);
        if let Some(made) = pass.with_case(plan::left_behind) {
            pass.clean_up(&made).await;
        }
    });
}

impl Pass<'_> {
    /// After a write of `made` to the object failed: deletes the registration if the object is not there any more.
    pub(super) async fn clean_up_after(&mut self, error: &CallError, made: &Identity) {
        let asks = self.with_case(|case| plan::clean_up(case, made)).is_some();
        if asks && (error.is_not_found() || (error.is_conflict() && self.is_another_by_now().await)) {
            self.clean_up(made).await;
        }
    }

    async fn clean_up(&mut self, made: &Identity) {
        let (uuid, mut failures) = (made.uuid, 0);
        while let Some(plan) = self.with_case(|case| plan::clean_up(case, made)) {
            match plan.step {
                Step::Look(look) => self.look(&look).await,
                Step::Delete { uuid, force } => {
                    let mut cleaned_up = self.ctx.cleaned_up.lock().await;
                    if cleaned_up.contains(&uuid) {
                        return;
                    }
                    warn!(object = %self.key, %uuid, "the object is gone, its registration was just made and goes too");
                    self.delete(uuid, force).await;
                    if self.observed.trouble.is_none() {
                        cleaned_up.insert(uuid);
                        return;
                    }
                }
                // It stays.
                Step::Mark(_) | Step::Forget(_) | Step::Create(_) | Step::Rename(..) | Step::Release | Step::Rest => {
                    return;
                }
            }
            let Some(trouble) = self.observed.trouble.take() else { continue };
            failures += 1;
            if failures > TRIES {
                warn!(object = %self.key, %uuid, "left behind, delete it in the control plane: {}", trouble.message);
                return;
            }
            self.observed.crd_deleting = None;
            let pause = trouble.retry_after.unwrap_or_else(|| schedule::backoff(failures, fastrand::u64(..)));
            tokio::time::sleep(pause).await;
        }
    }

    async fn is_another_by_now(&self) -> bool {
        // Changes nothing, and tells what is there without another right.
        let api: Api<Watched> = Api::namespaced(self.ctx.client.clone(), &self.key.namespace);
        match call(api.patch(&self.key.name, &PatchParams::default(), &Patch::Merge(json!({})))).await {
            Ok(found) => found.uid() != self.object.uid(),
            Err(error) => error.is_not_found(),
        }
    }
}
