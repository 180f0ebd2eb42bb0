//! Many objects at once. Owns making, watching and deleting them, at a cost that does not disturb what is measured.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use runai_simulator::AgentCommand;
use serde_json::json;
use testbed::wait_until;

use crate::world::{TEAM, World, cluster, condition};

const LONG: Duration = Duration::from_secs(180);
/// Objects applied at once: more than the operator takes on, less than disturbs the API server.
const APPLIED_AT_ONCE: usize = 16;

pub struct Fleet {
    objects: Api<DynamicObject>,
    planes: Api<DynamicObject>,
}

impl Fleet {
    pub async fn new(world: &World) -> Self {
        let client = world.bed.client().await.unwrap();
        let kind = |kind: &str| ApiResource::from_gvk(&GroupVersionKind::gvk("runai-operator.io", "v1alpha1", kind));
        Self {
            objects: Api::namespaced_with(client.clone(), TEAM, &kind("RunaiCluster")),
            planes: Api::all_with(client, &kind("RunaiControlPlane")),
        }
    }

    /// Makes `count` objects with the label `batch`.
    pub async fn create(&self, batch: &str, count: usize) {
        let made = stream::iter(0..count).map(|number| {
            let name = format!("{batch}-{number:04}");
            let domain = format!("https://{name}.example.com");
            let mut object = cluster(TEAM, &name, json!({ "domain": domain, "version": "2.24" }));
            object["metadata"]["labels"] = json!({ "batch": batch });
            async move { self.objects.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await }
        });
        made.buffer_unordered(APPLIED_AT_ONCE).try_for_each(async |_| Ok(())).await.unwrap();
    }

    /// Waits until the control plane holds `registrations` and every object of the batch has the condition.
    pub async fn until(&self, world: &World, batch: &str, registrations: usize, kind: &str) {
        // The simulator is asked first, since that costs the API server nothing.
        let all_there = world.simulator.until(LONG, |simulator| simulator.live_clusters().len() >= registrations).await;
        assert!(all_there, "{} of {registrations}\n{}", world.simulator.live_clusters().len(), world.tail());
        let params = ListParams::default().labels(&format!("batch={batch}"));
        let what = format!("{batch}: all {kind}");
        let all = wait_until(LONG, &what, async || {
            let list = self.objects.list(&params).await.map_err(|error| error.to_string())?;
            let is = |object: &&DynamicObject| condition(&object.data, kind).0 == "True";
            match list.items.len() - list.items.iter().filter(is).count() {
                0 if !list.items.is_empty() => Ok(()),
                missing => Err(format!("{missing} of {} are not", list.items.len())),
            }
        });
        if let Err(error) = all.await {
            panic!("{error}\n{}", world.tail());
        }
    }

    /// Starts the agents of all registrations.
    pub fn start_agents(world: &World) {
        for record in world.simulator.live_clusters() {
            let start = AgentCommand::Start { after_seconds: 0.0, client_secret: None };
            world.simulator.agent(record.uuid, start).unwrap();
        }
    }

    /// Deletes all objects of the batch and waits until they are gone.
    pub async fn delete(&self, world: &World, batch: &str) {
        let params = ListParams::default().labels(&format!("batch={batch}"));
        self.objects.delete_collection(&DeleteParams::default(), &params).await.unwrap();
        let what = format!("{batch}: all gone");
        let gone = wait_until(LONG, &what, async || {
            let list = self.objects.list_metadata(&params).await.map_err(|error| error.to_string())?;
            if list.items.is_empty() { Ok(()) } else { Err(format!("{} are left", list.items.len())) }
        });
        if let Err(error) = gone.await {
            panic!("{error}\n{}", world.tail());
        }
    }

    /// Waits until the control plane `default` says this of Ready.
    pub async fn until_control_plane(&self, world: &World, status: &str, reason: &str) {
        let what = format!("control plane Ready={status}/{reason}");
        let said = wait_until(LONG, &what, async || {
            let plane = self.planes.get("default").await.map_err(|error| error.to_string())?;
            let (is, why) = condition(&plane.data, "Ready");
            if is == status && why == reason { Ok(()) } else { Err(format!("{is}/{why}")) }
        });
        if let Err(error) = said.await {
            panic!("{error}\n{}", world.tail());
        }
    }

    /// Gives the control plane another poll interval.
    pub async fn poll_every(&self, world: &World, interval: &str) {
        let patch = json!({ "spec": { "pollInterval": interval } }).to_string();
        world.kubectl(&["patch", "rcp", "default", "--type=merge", "-p", &patch]).await;
    }
}
