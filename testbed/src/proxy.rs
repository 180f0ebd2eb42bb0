//! A TCP proxy on loopback that delays, cuts, refuses and swallows. Owns connections and the rules that hold for them;
//! does not know what flows through.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use crate::Error;

const CHUNK: usize = 64 * 1024;

/// What holds at present.
#[derive(Clone, Copy, Debug, Default)]
struct Rules {
    /// Every piece of data waits so long, either way.
    delay: Duration,
    /// New connections are reset.
    refuse: bool,
    /// New connections are silent.
    silent: bool,
    /// Connections below this number are silent.
    silent_below: u64,
    /// Connections below this number are reset.
    cut_below: u64,
}

impl Rules {
    fn silences(&self, id: u64) -> bool {
        self.silent || id < self.silent_below
    }
}

/// Stands between clients and one server of this machine. Ends with its value.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    rules: watch::Sender<Rules>,
    /// The number of the next connection.
    next: watch::Receiver<u64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and connects each client to `upstream`.
    ///
    /// # Errors
    /// [`Error::Io`] when no port can be had.
    pub async fn start(upstream: SocketAddr) -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Error::io("binding the proxy"))?;
        let address = listener.local_addr().map_err(Error::io("the proxy's address"))?;
        let (rules, watched) = watch::channel(Rules::default());
        let (count, next) = watch::channel(0);
        let accepting = tokio::spawn(async move {
            loop {
                // Both fail when descriptors run out; whoever connects tries again.
                let Ok((client, _)) = listener.accept().await else { continue };
                let id = *count.borrow();
                count.send_replace(id + 1);
                if watched.borrow().refuse {
                    reset(client);
                } else {
                    tokio::spawn(serve(client, upstream, id, watched.clone()));
                }
            }
        });
        Ok(Self { address, rules, next, accepting })
    }

    /// `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on every piece of data waits so long, either way.
    pub fn delay(&self, by: Duration) {
        self.rules.send_modify(|rules| rules.delay = by);
    }

    /// From now on new connections are reset; those that are open stay.
    pub fn refuse(&self) {
        self.rules.send_modify(|rules| rules.refuse = true);
    }

    /// Resets all connections that are open.
    pub fn cut(&self) {
        let next = *self.next.borrow();
        self.rules.send_modify(|rules| rules.cut_below = next);
    }

    /// Connections that are open stay so, and nothing passes any more, as after a firewall forgot them. New ones work.
    pub fn silence(&self) {
        let next = *self.next.borrow();
        self.rules.send_modify(|rules| rules.silent_below = next);
    }

    /// Nothing passes any more on any connection, new ones included.
    pub fn black_hole(&self) {
        self.silence();
        self.rules.send_modify(|rules| rules.silent = true);
    }

    /// Everything passes again. Connections that swallowed something are reset, since they can never go on.
    pub fn heal(&self) {
        let next = *self.next.borrow();
        self.rules.send_modify(|rules| {
            let cut = if rules.silent { next } else { rules.silent_below };
            *rules = Rules { cut_below: rules.cut_below.max(cut), ..Rules::default() };
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        // Connections end with the rules.
    }
}

async fn serve(mut client: TcpStream, upstream: SocketAddr, id: u64, rules: watch::Receiver<Rules>) {
    let Ok(mut server) = TcpStream::connect(upstream).await else { return reset(client) };
    let mut cut = rules.clone();
    let ended = {
        let ((client_read, client_write), (server_read, server_write)) = (client.split(), server.split());
        tokio::select! {
            // An error of the wait means that the proxy has gone.
            _ = cut.wait_for(|rules| id < rules.cut_below) => false,
            (up, down) = async { tokio::join!(pump(client_read, server_write, id, &rules), pump(server_read, client_write, id, &rules)) }
                => up.is_ok() && down.is_ok(),
        }
    };
    if !ended {
        reset(client);
        reset(server);
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    id: u64,
    rules: &watch::Receiver<Rules>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await?;
        let delay = rules.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if rules.borrow().silences(id) {
            // What was swallowed is lost for good: this connection waits for its cut.
            std::future::pending::<()>().await;
        }
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}

fn reset(stream: TcpStream) {
    // Without lingering, closing sends RST. Should that fail, it is an orderly end.
    let _orderly = stream.set_zero_linger();
    drop(stream);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SOON: Duration = Duration::from_secs(10);
    const NEVER: Duration = Duration::from_millis(300);

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        address
    }

    async fn connect(proxy: &Proxy) -> TcpStream {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(answers(&mut stream, SOON).await);
        stream
    }

    async fn answers(stream: &mut TcpStream, limit: Duration) -> bool {
        let ask = async {
            stream.write_all(b"x").await?;
            stream.read_exact(&mut [0]).await
        };
        tokio::time::timeout(limit, ask).await.is_ok_and(|answer| answer.is_ok())
    }

    async fn ends(stream: &mut TcpStream) -> bool {
        let end = tokio::time::timeout(SOON, stream.read(&mut [0])).await;
        matches!(end, Ok(Ok(0) | Err(_)))
    }

    #[tokio::test]
    async fn passes_delays_cuts_and_refuses() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let mut stream = connect(&proxy).await;
        proxy.delay(Duration::from_millis(200));
        assert!(!answers(&mut stream, Duration::from_millis(100)).await);
        proxy.heal();
        proxy.cut();
        assert!(ends(&mut stream).await);
        let mut kept = connect(&proxy).await;
        proxy.refuse();
        let refused = TcpStream::connect(proxy.address()).await;
        assert!(match refused {
            Ok(mut stream) => ends(&mut stream).await,
            Err(_) => true,
        });
        assert!(answers(&mut kept, SOON).await);
    }

    #[tokio::test]
    async fn silence_swallows_and_healing_cuts_what_swallowed() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let mut old = connect(&proxy).await;
        proxy.silence();
        assert!(!answers(&mut old, NEVER).await);
        let mut new = connect(&proxy).await;
        proxy.black_hole();
        assert!(!answers(&mut new, NEVER).await);
        let mut newest = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(!answers(&mut newest, NEVER).await);
        proxy.heal();
        assert!(ends(&mut old).await && ends(&mut new).await && ends(&mut newest).await);
        connect(&proxy).await;
    }
}
