//! Accept loop of the public port.
//!
//! Owns listeners and connection tasks. Must not know what a request means.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::connection::{Breaker, Connection};
use crate::pipeline::{self, Shared};

/// How long connections may finish what they do when the simulator stops.
const GRACE: Duration = Duration::from_millis(800);

/// Accepts until `closing` turns true. Connection tasks hold `alive` while they live.
pub(crate) async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut closing: watch::Receiver<bool>,
    alive: Arc<()>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.wait_for(|closing| *closing) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let task = serve(stream, Arc::clone(&shared), closing.clone());
                let alive = Arc::clone(&alive);
                tokio::spawn(async move {
                    task.await;
                    drop(alive);
                });
            }
            // Out of file descriptors, most likely: give connections a chance to end.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>, mut closing: watch::Receiver<bool>) {
    let breaker = Breaker::default();
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let tls = shared.state().tls.clone();
    let connection = match tls {
        None => Connection::plain(stream, breaker.clone()),
        Some(keeper) => match TlsAcceptor::from(keeper.server()).accept(stream).await {
            Ok(stream) => Connection::tls(stream, breaker.clone()),
            Err(error) => return tracing::debug!(%error, "handshake failed"),
        },
    };
    let service = service_fn(|request| pipeline::serve(Arc::clone(&shared), breaker.clone(), request));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .serve_connection(TokioIo::new(connection), service);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        ended = serving.as_mut() => return log_end(ended),
        _ = closing.wait_for(|closing| *closing) => serving.as_mut().graceful_shutdown(),
    }
    if let Ok(ended) = tokio::time::timeout(GRACE, serving).await {
        log_end(ended);
    }
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
