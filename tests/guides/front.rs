//! What stands between the page and the loopback interface: a proxy that knows the hosts which a page names, each with
//! a certificate of a private authority.
//!
//! Owns CONNECT and TLS. Must not know what the hosts serve.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;

/// A host that can be reached.
#[derive(Clone)]
struct Host {
    tls: TlsAcceptor,
    /// Speaks plain HTTP.
    upstream: SocketAddr,
    /// Ends with the host: connections to it end then, too.
    standing: watch::Receiver<()>,
}

type Hosts = Arc<Mutex<BTreeMap<String, (watch::Sender<()>, Host)>>>;

/// The proxy. Ends when it is dropped.
pub struct Front {
    address: SocketAddr,
    hosts: Hosts,
    task: JoinHandle<()>,
}

impl Front {
    pub async fn start() -> Self {
        testbed::install_crypto_provider();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let hosts = Hosts::default();
        let known = Arc::clone(&hosts);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let known = Arc::clone(&known);
                // A client that goes away, or trusts nobody here, is no trouble of ours.
                tokio::spawn(async move { drop(serve(stream, &known).await) });
            }
        });
        Self { address, hosts, task }
    }

    /// The value of `HTTPS_PROXY` and the like.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Leads `https://<host>` to a plain HTTP server. Called again it changes the certificate; connections end.
    pub fn lead(&self, host: &str, authority: &Authority, upstream: SocketAddr) {
        let (standing, watcher) = watch::channel(());
        let host_entry = Host { tls: authority.acceptor(host), upstream, standing: watcher };
        self.hosts.lock().unwrap().insert(host.to_owned(), (standing, host_entry));
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, hosts: &Hosts) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 8192 {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let name = head.strip_prefix("CONNECT ").and_then(|rest| rest.split_once(":443 ")).map(|(name, _)| name);
    let host = name.and_then(|name| hosts.lock().unwrap().get(name).map(|(_, host)| host.clone()));
    let Some(mut host) = host else {
        return stream.write_all(b"HTTP/1.1 502 Unknown host\r\ncontent-length: 0\r\n\r\n").await;
    };
    stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await?;
    let mut client = host.tls.accept(stream).await?;
    let mut upstream = TcpStream::connect(host.upstream).await?;
    tokio::select! {
        done = copy_bidirectional(&mut client, &mut upstream) => drop(done?),
        // An error says that the host has another certificate by now.
        _ = host.standing.changed() => {}
    }
    Ok(())
}
