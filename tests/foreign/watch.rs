//! A bug of the library that this operator is built with.

use http::Method;
use serde_json::json;

use crate::gate::Act;
use crate::stage::{LONG, on_stage};

#[test]
fn kube_1042_a_watch_that_cannot_start_again_is_built_anew() {
    on_stage(async |stage| {
        let plane = stage.plane("kube-1042").await;
        plane.apply(stage, "kube-1042").await;
        stage.until_ready("kube-1042").await;
        // The API server refuses the version that the watch would go on from, and only that.
        stage.gate.rule(Method::GET, "runaiclusters?&watch=true", Act::Refuse(410), 1);
        stage.gate.forget();
        stage.gate.cut();
        stage.gate.struck(LONG, "runaiclusters?&watch=true", 1).await;
        stage.world.patch("kube-1042", json!({ "spec": { "name": "kube-1042-b" } })).await;
        stage.until("kube-1042", "renamed", |object| object["status"]["name"] == "kube-1042-b").await;
        assert!(stage.gate.count(&Method::GET, "runaiclusters?&limit=") >= 1, "a list came before the next watch");
    });
}
