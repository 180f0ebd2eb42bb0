//! The two HTTP servers for machines: `/metrics` on one address, `/livez` and `/readyz` on another.
//!
//! Two addresses, because a NetworkPolicy usually lets Prometheus reach the first only. Owns sockets, routes and the
//! flow control of a scrape; what the answers say is decided in [`metrics`](super::metrics) and
//! [`health`](super::health).

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::stream;
use thiserror::Error;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::{Semaphore, mpsc, watch},
    time::{Instant, timeout_at},
};

use super::{
    health::{Liveness, Readiness},
    metrics::{CONTENT_TYPE, Metrics},
};

/// A scrape is sent in pieces of about this many bytes, so that memory does not grow with the number of objects.
const CHUNK: usize = 64 * 1024;
/// Pieces that may wait for a slow reader.
const CHUNKS_IN_FLIGHT: usize = 2;
/// Scrapes at the same time; more get 503. Each may hold one thread of the blocking pool.
const SCRAPES: usize = 4;
/// How long one scrape may take, from the first byte to the last.
const SCRAPE_DEADLINE: Duration = Duration::from_secs(30);

/// Why a server could not start or went down.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address is taken, not ours, or needs privileges.
    #[error("cannot listen on {address} for {what}: {source}")]
    Bind {
        /// What the address is for.
        what: &'static str,
        /// The address as configured.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The server ended although nobody asked for it.
    #[error("the server for {what} failed: {source}")]
    Serve {
        /// What the server is for.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// A server that is bound, and serves once it is [run](Self::run).
#[derive(Debug)]
pub struct Server {
    what: &'static str,
    listener: TcpListener,
    router: Router,
}

impl Server {
    /// Binds the metrics server.
    ///
    /// # Errors
    /// [`ServeError::Bind`].
    pub async fn metrics(address: SocketAddr, metrics: Metrics) -> Result<Self, ServeError> {
        Self::bind("metrics", address, metrics_router(metrics)).await
    }

    /// Binds the health server.
    ///
    /// # Errors
    /// [`ServeError::Bind`].
    pub async fn health(address: SocketAddr, readiness: Readiness, liveness: Liveness) -> Result<Self, ServeError> {
        Self::bind("health", address, health_router(readiness, liveness)).await
    }

    async fn bind(what: &'static str, address: SocketAddr, router: Router) -> Result<Self, ServeError> {
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|source| ServeError::Bind { what, address, source })?;
        Ok(Self { what, listener, router })
    }

    /// The address in use; tells the port when the configured one was 0.
    ///
    /// # Errors
    /// [`ServeError::Serve`] when the socket is broken.
    pub fn address(&self) -> Result<SocketAddr, ServeError> {
        self.listener.local_addr().map_err(|source| ServeError::Serve { what: self.what, source })
    }

    /// Serves until `shutdown` turns true or its sender is gone, then finishes the open requests.
    ///
    /// # Errors
    /// [`ServeError::Serve`] when the listener breaks.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) -> Result<(), ServeError> {
        let Self { what, listener, router } = self;
        axum::serve(listener, router)
            .with_graceful_shutdown(async move {
                // An error means that the sender is gone: a shutdown as well.
                let _ = shutdown.wait_for(|stop| *stop).await;
            })
            .await
            .map_err(|source| ServeError::Serve { what, source })
    }
}

fn metrics_router(metrics: Metrics) -> Router {
    let scrapes = Arc::new(Semaphore::new(SCRAPES));
    Router::new().route("/metrics", get(scrape)).with_state((metrics, scrapes))
}

fn health_router(readiness: Readiness, liveness: Liveness) -> Router {
    Router::new().route("/readyz", get(readyz).with_state(readiness)).route("/livez", get(livez).with_state(liveness))
}

async fn readyz(State(readiness): State<Readiness>) -> Response {
    verdict(&readiness.closed(), "waiting for")
}

async fn livez(State(liveness): State<Liveness>) -> Response {
    let stopped: Vec<_> = liveness.stale().iter().map(ToString::to_string).collect();
    verdict(&stopped, "stuck")
}

/// 200 when there is nothing to complain of, else 503 with one complaint per line.
fn verdict(complaints: &[String], what: &str) -> Response {
    if complaints.is_empty() {
        return (StatusCode::OK, "ok\n").into_response();
    }
    let body: String = complaints.iter().map(|complaint| format!("{what}: {complaint}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

/// Renders on a thread of the blocking pool and passes the pieces on as the reader takes them.
async fn scrape(State((metrics, scrapes)): State<(Metrics, Arc<Semaphore>)>) -> Response {
    let Ok(permit) = scrapes.try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many scrapes at the same time\n").into_response();
    };
    let (pieces, received) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let mut out = Pieces {
        buffer: String::with_capacity(CHUNK),
        pieces,
        runtime: Handle::current(),
        deadline: Instant::now() + SCRAPE_DEADLINE,
    };
    tokio::task::spawn_blocking(move || {
        let result = metrics.encode(&mut out).and_then(|()| out.flush());
        if result.is_err() {
            // The end marker is missing then, so that the reader cannot take the text for complete; but a clean end
            // of the body would still hide it from a lenient one.
            out.abort();
        }
        drop(permit);
    });
    let body = stream::unfold(received, async |mut received| received.recv().await.map(|piece| (piece, received)));
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], Body::from_stream(body)).into_response()
}

/// Collects text and sends it off piece by piece.
struct Pieces {
    buffer: String,
    pieces: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
    deadline: Instant,
}

impl Pieces {
    fn flush(&mut self) -> fmt::Result {
        let piece = std::mem::replace(&mut self.buffer, String::with_capacity(CHUNK));
        self.send(Ok(Bytes::from(piece)))
    }

    fn send(&self, piece: io::Result<Bytes>) -> fmt::Result {
        match self.runtime.block_on(timeout_at(self.deadline, self.pieces.send(piece))) {
            Ok(Ok(())) => Ok(()),
            // The reader is gone, or too slow.
            Ok(Err(_)) | Err(_) => Err(fmt::Error),
        }
    }

    fn abort(&self) {
        // With a full channel the reader is the cause, and hangs up on its own.
        let _ = self.pieces.try_send(Err(io::ErrorKind::TimedOut.into()));
    }
}

impl fmt::Write for Pieces {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.buffer.push_str(text);
        if self.buffer.len() >= CHUNK { self.flush() } else { Ok(()) }
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
