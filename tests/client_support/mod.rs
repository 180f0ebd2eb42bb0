//! Servers that misbehave byte by byte, and clients for them.
//!
//! Owns what the simulator cannot do because it speaks proper HTTP. Must not know what a test expects.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use runai_cluster_operator::domain::{ClusterName, ClusterUuid};
use runai_cluster_operator::runai::{ClientObserver, Limits, NewCluster, NoObserver, RunaiClient, Settings, TokenApi};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Texts that must never come out of the client again.
pub(crate) const CLIENT_ID: &str = "canary-client-id-5b1e";
pub(crate) const CLIENT_SECRET: &str = "canary-client-secret-93d0";
pub(crate) const TOKEN: &str = "canary.access-token.c7f2";
pub(crate) const BODY: &str = "canary-body-text-e41a";
pub(crate) const CANARIES: [&str; 4] = [CLIENT_ID, CLIENT_SECRET, TOKEN, BODY];

pub(crate) const UUID: &str = "9f55255e-11ed-47c7-acef-fc4054768dbc";

pub(crate) fn uuid() -> ClusterUuid {
    UUID.parse().unwrap()
}

/// The JSON of one registration.
pub(crate) fn record(uuid: &str, name: &str) -> String {
    format!(r#"{{"uuid":"{uuid}","tenantId":1001,"name":"{name}","createdAt":"2026-01-02T03:04:05Z"}}"#)
}

pub(crate) fn new_cluster(name: &str) -> NewCluster {
    NewCluster { name: ClusterName::parse(name).unwrap(), domain: None, version: None }
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// With query.
    pub(crate) path: String,
    /// Request line and headers, lower case.
    pub(crate) head: String,
    pub(crate) body: String,
    /// The client's port: one for each connection.
    pub(crate) peer: u16,
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Sends these bytes and closes.
    Reply(Vec<u8>),
    /// Sends these bytes and waits for the next request on the same connection.
    Keep(Vec<u8>),
    /// Sends these bytes, then resets the connection.
    ReplyThenReset(Vec<u8>),
    /// Sends nothing and keeps the connection.
    Hang,
    /// Resets the connection.
    Reset,
    /// Closes the connection in the polite way.
    Close,
    /// Sends these bytes, then one blank every so often.
    Drip(Vec<u8>, Duration),
    /// Sends the first part once and the second for ever.
    Endless(Vec<u8>, Vec<u8>),
}

/// An answer with the headers that every proper server sends.
pub(crate) fn http(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut bytes = format!("{head}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn json(status: u16, body: impl AsRef<[u8]>) -> Vec<u8> {
    http(status, &[("content-type", "application/json")], body)
}

pub(crate) fn html(status: u16) -> Vec<u8> {
    http(status, &[("content-type", "text/html; charset=utf-8")], format!("<html>{BODY} {TOKEN}</html>"))
}

pub(crate) fn token_reply() -> Vec<u8> {
    json(200, format!(r#"{{"accessToken":"{TOKEN}","expiresIn":3600}}"#))
}

type Script = dyn Fn(&Seen, usize) -> Option<Act> + Send + Sync;

/// A server that follows a script. The script gets the number of earlier requests of the same method and path; where
/// it has no answer, tokens are given out and everything else is an empty list.
pub(crate) struct Hostile {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hostile {
    pub(crate) async fn start(script: impl Fn(&Seen, usize) -> Option<Act> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, log): (Arc<Script>, _) = (Arc::new(script), seen.clone());
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, log) = (script.clone(), log.clone());
                open.spawn(async move {
                    // A client that gave up is no failure of the server.
                    let _ = serve(stream, &*script, &log).await;
                });
            }
        });
        Self { url, seen, task }
    }

    /// Always the same answer but for token requests.
    pub(crate) async fn always(act: Act) -> Self {
        Self::start(move |seen, _| (!seen.path.ends_with("/token")).then(|| act.clone())).await
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, method: &str) -> usize {
        self.seen().iter().filter(|seen| seen.method == method && !seen.path.ends_with("/token")).count()
    }

    pub(crate) fn tokens(&self) -> usize {
        self.seen().iter().filter(|seen| seen.path.ends_with("/token")).count()
    }

    pub(crate) fn client(&self) -> RunaiClient {
        client(&self.url, limits())
    }
}

async fn serve(mut stream: TcpStream, script: &Script, log: &Mutex<Vec<Seen>>) -> std::io::Result<()> {
    while answer(&mut stream, script, log).await? {}
    Ok(())
}

/// Whether the connection goes on.
async fn answer(stream: &mut TcpStream, script: &Script, log: &Mutex<Vec<Seen>>) -> std::io::Result<bool> {
    let seen = read_request(stream).await?;
    let path = |seen: &Seen| seen.path.split('?').next().map(str::to_owned);
    let earlier = {
        let mut log = log.lock().unwrap();
        let same = |old: &&Seen| old.method == seen.method && path(old) == path(&seen);
        let earlier = log.iter().filter(same).count();
        log.push(seen.clone());
        earlier
    };
    let default = || Act::Reply(if seen.path.ends_with("/token") { token_reply() } else { json(200, "[]") });
    match script(&seen, earlier).unwrap_or_else(default) {
        Act::Reply(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await?;
        }
        Act::Keep(bytes) => {
            stream.write_all(&bytes).await?;
            return Ok(true);
        }
        Act::ReplyThenReset(bytes) => {
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            // The bytes must be on their way before the reset overtakes them.
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.set_zero_linger()?;
        }
        Act::Hang => std::future::pending().await,
        Act::Reset => stream.set_zero_linger()?,
        Act::Close => stream.shutdown().await?,
        Act::Drip(bytes, every) => {
            stream.write_all(&bytes).await?;
            loop {
                tokio::time::sleep(every).await;
                stream.write_all(b" ").await?;
            }
        }
        Act::Endless(head, chunk) => {
            stream.write_all(&head).await?;
            loop {
                stream.write_all(&chunk).await?;
            }
        }
    }
    Ok(false)
}

async fn read_request(stream: &mut TcpStream) -> std::io::Result<Seen> {
    let mut bytes = Vec::new();
    let peer = stream.peer_addr()?.port();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut line = head.split(' ').map(str::to_owned);
    let (method, path) = (line.next().unwrap(), line.next().unwrap());
    let lower = head.to_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |value| value.trim().parse().unwrap());
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let body = String::from_utf8_lossy(&bytes[end..]).into_owned();
    Ok(Seen { method, path, head: lower, body, peer })
}

/// Short deadlines, so that a hanging server costs little time; long enough for a busy machine.
pub(crate) fn limits() -> Limits {
    Limits {
        allow_insecure_http: true,
        read_deadline: Duration::from_secs(2),
        list_deadline: Duration::from_secs(2),
        create_deadline: Duration::from_secs(2),
        ..Limits::default()
    }
}

pub(crate) fn patient() -> Limits {
    Limits { allow_insecure_http: true, ..Limits::default() }
}

pub(crate) fn secret(url: &str, id: &str, secret: &str) -> BTreeMap<String, Vec<u8>> {
    let pairs = [("url", url), ("clientID", id), ("clientSecret", secret)];
    pairs.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())).into()
}

pub(crate) fn settings(data: &BTreeMap<String, Vec<u8>>, api: TokenApi, ca: Option<&str>, limits: Limits) -> Settings {
    Settings::from_secret(data, api, ca.map(str::as_bytes), limits).unwrap()
}

pub(crate) fn client_with(settings: Settings) -> RunaiClient {
    observed(settings, Arc::new(NoObserver))
}

pub(crate) fn observed(settings: Settings, observer: Arc<dyn ClientObserver>) -> RunaiClient {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    RunaiClient::new(settings, observer).unwrap()
}

/// A client with the canary credentials.
pub(crate) fn client(url: &str, limits: Limits) -> RunaiClient {
    client_with(settings(&secret(url, CLIENT_ID, CLIENT_SECRET), TokenApi::V1, None, limits))
}

/// Waits until `done` holds; panics with `state` when that takes too long.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done().await {
        assert!(Instant::now() < end, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
