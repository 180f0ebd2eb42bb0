//! Both servers over real sockets: answers, refusals, shutdown.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use super::{SCRAPES, ServeError, Server};
use crate::telemetry::{
    health::{Liveness, Readiness},
    metrics::Metrics,
    objects::ObjectFacts,
};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const DEADLINE: Duration = Duration::from_secs(20);

struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), ServeError>>,
}

fn run(server: Server) -> Running {
    let address = server.address().unwrap();
    let (stop, stopped) = watch::channel(false);
    Running { address, stop, task: tokio::spawn(server.run(stopped)) }
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let reply = timeout(DEADLINE, async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    })
    .await
    .expect("no reply in time");
    let status = reply.split(' ').nth(1).unwrap().parse().unwrap();
    (status, reply)
}

#[tokio::test]
async fn readyz_and_livez_name_what_is_missing() {
    let (readiness, liveness) = (Readiness::default(), Liveness::default());
    let gate = readiness.gate("clusters synced");
    let server = run(Server::health(LOOPBACK, readiness, liveness.clone()).await.unwrap());

    let (status, body) = get(server.address, "/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains("waiting for: clusters synced"), "{body}");
    assert_eq!(get(server.address, "/livez").await.0, 200);

    gate.open();
    assert_eq!(get(server.address, "/readyz").await.0, 200);

    let _pulse = liveness.watch("watch of clusters", Duration::ZERO);
    while liveness.stale().is_empty() {
        tokio::task::yield_now().await;
    }
    let (status, body) = get(server.address, "/livez").await;
    assert_eq!(status, 503);
    assert!(body.contains("stuck: watch of clusters"), "{body}");
    assert_eq!(get(server.address, "/metrics").await.0, 404, "metrics are on their own address");
}

#[tokio::test]
async fn metrics_are_served_whole_also_when_large() {
    let metrics = Metrics::new(&["Connected"], Vec::new());
    for n in 0..2000 {
        let facts = ObjectFacts { state: Some("Connected".into()), ..ObjectFacts::default() };
        metrics.object("team", &format!("cluster-{n}"), Some(&facts));
    }
    let server = run(Server::metrics(LOOPBACK, metrics).await.unwrap());
    let (status, reply) = get(server.address, "/metrics").await;
    assert_eq!(status, 200);
    let head = reply.split_once("\r\n\r\n").unwrap().0.to_lowercase();
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: "));
    assert_eq!(kind, Some("application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
    assert!(reply.contains("# EOF\n"));
    let body: String = unchunk(reply.split_once("\r\n\r\n").unwrap().1);
    assert_eq!(body.matches("runai_operator_cluster_info{").count(), 2000);
    assert!(body.len() > 2 * super::CHUNK, "not large enough to need several pieces");
}

fn unchunk(mut encoded: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = encoded.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        body.push_str(&rest[..size]);
        encoded = &rest[size + 2..];
    }
    body
}

#[tokio::test]
async fn readers_that_do_not_read_cannot_pile_up() {
    let metrics = Metrics::new(&["Connected"], Vec::new());
    for n in 0..20_000 {
        let facts = ObjectFacts { state: Some("Connected".into()), ..ObjectFacts::default() };
        metrics.object("team", &format!("{}-{n}", "c".repeat(200)), Some(&facts));
    }
    let server = run(Server::metrics(LOOPBACK, metrics).await.unwrap());
    let mut lazy = Vec::new();
    for _ in 0..SCRAPES {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        // The first bytes prove that the scrape holds its place.
        timeout(DEADLINE, stream.read_exact(&mut [0; 64])).await.unwrap().unwrap();
        lazy.push(stream);
    }
    assert_eq!(get(server.address, "/metrics").await.0, 503);
    drop(lazy);
    timeout(DEADLINE, async {
        while get(server.address, "/metrics").await.0 != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("places are not given back");
}

#[tokio::test]
async fn a_taken_address_is_a_clear_error() {
    let first = Server::health(LOOPBACK, Readiness::default(), Liveness::default()).await.unwrap();
    let taken = first.address().unwrap();
    let error = Server::metrics(taken, Metrics::new(&[], Vec::new())).await.unwrap_err();
    let message = error.to_string();
    assert!(message.contains(&taken.to_string()) && message.contains("metrics"), "{message}");
}

#[tokio::test]
async fn shutdown_ends_the_server() {
    let server = run(Server::health(LOOPBACK, Readiness::default(), Liveness::default()).await.unwrap());
    assert_eq!(get(server.address, "/livez").await.0, 200);
    server.stop.send(true).unwrap();
    timeout(DEADLINE, server.task).await.expect("still serving").unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn losing_the_sender_is_a_shutdown() {
    let server = run(Server::health(LOOPBACK, Readiness::default(), Liveness::default()).await.unwrap());
    drop(server.stop);
    timeout(DEADLINE, server.task).await.expect("still serving").unwrap().unwrap();
}
