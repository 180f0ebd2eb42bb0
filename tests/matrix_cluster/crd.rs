//! Row 39: the kind itself is taken away and comes back, under a process that goes on.

use serde_json::{Value, json};

use crate::stage::{LONG, on_stage};
use crate::world::uuid;

const CRD: &str = "runaiclusters.runai-operator.io";

#[test]
fn row_39_a_kind_that_is_removed_and_installed_again_is_waited_for() {
    on_stage(async |stage| {
        let plane = stage.plane("kindless").await;
        plane.apply(stage, "kindless").await;
        let id = uuid(&stage.until_ready("kindless").await);
        let text = stage.world.kubectl(&["get", "crd", CRD, "-o", "json"]).await;
        let mut crd: Value = serde_json::from_str(&text).unwrap();
        crd["metadata"] = json!({ "name": CRD, "labels": crd["metadata"]["labels"] });
        crd["status"].take();
        let seq = plane.simulator.last_seq();
        stage.world.kubectl(&["delete", "crd", CRD, "--timeout=60s"]).await;
        // Longer than several attempts to list what does not exist.
        tokio::time::sleep(std::time::Duration::from_secs(6)).await;
        stage.assert_alive();
        stage.world.apply(&crd).await;
        stage.world.bed.kubectl_handle().established(&[CRD]).await.unwrap();
        // What was kept by the uninstall is taken over again, by name, as the guide says.
        stage
            .eventually("the kind to be served", async || {
                let object = plane.object("kindless", json!({ "adoption": { "policy": "IfExists" } }));
                stage.world.bed.kubectl_apply(&object.to_string()).await.map(|_| ())
            })
            .await;
        let object =
            stage.world.until_within(LONG, "kindless", "adopted", |o| o["status"]["origin"] == "Adopted").await;
        assert_eq!(uuid(&object), id);
        assert!(plane.sent_since(seq).is_empty(), "{:?}", plane.sent_since(seq));
        plane.apply(stage, "kindless-new").await;
        stage.until_ready("kindless-new").await;
        stage.assert_alive();
    });
}
