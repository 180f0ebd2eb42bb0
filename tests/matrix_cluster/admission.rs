//! An admission webhook that Kubernetes asks before it deletes one object, and that takes its time.
//!
//! Kubernetes has read the finalizers of the object by then, and does not look again after the answer.

use std::net::{Ipv4Addr, SocketAddr};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::authority::Authority;
use crate::stage::{LONG, Stage};

const NAME: &str = "slow-deletion";

/// The webhook. Ends when it is dropped; the configuration is taken away by [`Self::close`].
pub struct SlowDeletion {
    asked: watch::Receiver<bool>,
    answers: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl SlowDeletion {
    /// From here on the deletion of this RunaiCluster waits.
    pub async fn of(stage: &Stage, name: &str) -> Self {
        testbed::install_crypto_provider();
        let authority = Authority::new("admission");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let (ask, asked) = watch::channel(false);
        let (answers, answer) = watch::channel(false);
        let router = Router::new().route("/", post(review)).with_state((ask, answer));
        let listener = Tls { listener, acceptor: authority.acceptor("127.0.0.1") };
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let hook = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": NAME },
            "webhooks": [{
                "name": "slow.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                // The longest that Kubernetes allows. A test that takes longer fails: the deletion would go on.
                "timeoutSeconds": 30, "failurePolicy": "Fail",
                "clientConfig": { "url": url, "caBundle": STANDARD.encode(&authority.pem) },
                "matchConditions": [{ "name": "one", "expression": format!("request.name == '{name}'") }],
                "rules": [{
                    "apiGroups": ["runai-operator.io"], "apiVersions": ["*"], "resources": ["runaiclusters"],
                    "operations": ["DELETE"],
                }],
            }],
        });
        stage.world.apply(&hook).await;
        Self { asked, answers, task }
    }

    /// Waits until Kubernetes asks, with the object in hand as it was.
    pub async fn asked(&mut self) {
        tokio::time::timeout(LONG, self.asked.wait_for(|asked| *asked)).await.expect("Kubernetes asks").unwrap();
    }

    /// The deletion goes on.
    pub fn answer(&self) {
        self.answers.send_replace(true);
    }

    pub async fn close(self, stage: &Stage) {
        stage.world.kubectl(&["delete", "validatingwebhookconfiguration", NAME]).await;
    }
}

impl Drop for SlowDeletion {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn review(
    State((ask, mut answer)): State<(watch::Sender<bool>, watch::Receiver<bool>)>,
    Json(review): Json<Value>,
) -> Json<Value> {
    ask.send_replace(true);
    // A sender that is gone means that the test is over.
    let _ = answer.wait_for(|answer| *answer).await;
    Json(json!({
        "apiVersion": review["apiVersion"], "kind": review["kind"],
        "response": { "uid": review["request"]["uid"], "allowed": true },
    }))
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, peer)) = self.listener.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
