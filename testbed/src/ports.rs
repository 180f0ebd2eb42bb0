//! Free loopback ports. Knows nothing of who uses them.

use std::net::{Ipv4Addr, TcpListener};

use crate::Error;

/// Below the range from which Linux and macOS take the local ports of outgoing connections: a port that a restarted
/// server wants back must not be lent to some client meanwhile.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// `N` different ports of 127.0.0.1 on which nobody listens right now.
///
/// Another process may take one before it is used; whoever starts a server with it tries again with new ports.
///
/// # Errors
/// [`Error::State`] when a thousand random tries find nothing.
pub fn free_ports<const N: usize>() -> Result<[u16; N], Error> {
    let mut found = [0; N];
    let mut listeners = Vec::with_capacity(N);
    for slot in &mut found {
        let (port, listener) = (0..1000)
            .find_map(|_| {
                let port = fastrand::u16(RANGE);
                TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok().map(|listener| (port, listener))
            })
            .ok_or_else(|| Error::State("no free loopback port found".to_owned()))?;
        *slot = port;
        // Held until all are found, so that they differ.
        listeners.push(listener);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ports_differ_and_can_be_bound() {
        let ports = free_ports::<3>().unwrap();
        assert!(ports[0] != ports[1] && ports[1] != ports[2] && ports[0] != ports[2]);
        for port in ports {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }
}
