//! RunaiClusters of the team through one shared connection: what many objects at once are watched and changed with.
//!
//! Owns requests as the administrator. Must not know any fault.

use std::time::Duration;

use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use testbed::wait_until;

use crate::world::{TEAM, World, cluster, condition};

#[derive(Clone)]
pub struct Objects {
    api: Api<DynamicObject>,
}

impl Objects {
    pub async fn of(world: &World) -> Self {
        let kind = ApiResource {
            group: "runai-operator.io".to_owned(),
            version: "v1alpha1".to_owned(),
            api_version: "runai-operator.io/v1alpha1".to_owned(),
            kind: "RunaiCluster".to_owned(),
            plural: "runaiclusters".to_owned(),
        };
        Self { api: Api::namespaced_with(world.bed.client().await.unwrap(), TEAM, &kind) }
    }

    pub async fn create(&self, name: &str, spec: Value) {
        let object = serde_json::from_value(cluster(TEAM, name, spec)).unwrap();
        self.api.create(&PostParams::default(), &object).await.unwrap();
    }

    pub async fn patch(&self, name: &str, patch: &Value) {
        self.api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub async fn rename(&self, name: &str, to: &str) {
        self.patch(name, &json!({ "spec": { "name": to } })).await;
    }

    pub async fn delete(&self, name: &str) {
        self.api.delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub async fn get(&self, name: &str) -> Option<Value> {
        let object = self.api.get_opt(name).await.unwrap();
        object.map(|object| serde_json::to_value(object).unwrap())
    }

    pub async fn all(&self) -> Vec<Value> {
        let list = self.api.list(&ListParams::default()).await.unwrap();
        list.items.into_iter().map(|object| serde_json::to_value(object).unwrap()).collect()
    }

    /// Waits until the object, or its absence (`Null`), is as wanted.
    pub async fn seen(
        &self,
        limit: Duration,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, String> {
        let what = format!("{name}: {what}");
        let seen = wait_until(limit, &what, async || {
            let object = self.get(name).await.unwrap_or_default();
            if wanted(&object) { Ok(object) } else { Err(brief(&object)) }
        });
        seen.await.map_err(|error| error.to_string())
    }
}

/// Ready, with the newest spec handled, under this name. A look that ends a doubt tells no state yet: the next list does.
pub fn is_settled(object: &Value, remote_name: &str) -> bool {
    condition(object, "Ready").0 == "True"
        && condition(object, "Synced").0 == "True"
        && object["status"]["observedGeneration"] == object["metadata"]["generation"]
        && object["status"]["name"] == remote_name
        && object["status"]["state"].is_string()
}

pub fn brief(object: &Value) -> String {
    let meta = &object["metadata"];
    json!({ "annotations": meta["annotations"], "deleted": meta["deletionTimestamp"], "status": object["status"] })
        .to_string()
}
