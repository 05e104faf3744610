//! Who sent a request. A proxy's word (`X-Forwarded-For`) is taken only where the configuration trusts that proxy.
//!
//! Used for the log alone: nothing is allowed or refused because of an address.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use hookspool_common::config::Network;
use hyper::HeaderMap;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Tcp(IpAddr),
    /// Somebody whom the socket's mode lets in: the web server on this machine.
    Unix,
}

/// Who sent a request, as far as it can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client(Option<IpAddr>);

impl Client {
    /// The last hop that is not one of the `trusted` proxies.
    pub(crate) fn of(peer: Peer, headers: &HeaderMap, trusted: &[Network]) -> Self {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        let mut client = match peer {
            Peer::Unix => None,
            Peer::Tcp(address) if is_trusted(address) => Some(address),
            Peer::Tcp(address) => return Self(Some(address)),
        };
        // Each proxy appends whom it saw, so the list is believed from its end for as long as its members are.
        for value in headers.get_all(FORWARDED_FOR).iter().rev() {
            for hop in value.to_str().unwrap_or_default().rsplit(',') {
                let Some(address) = address(hop.trim()) else { return Self(client) };
                client = Some(address);
                if !is_trusted(address) {
                    return Self(client);
                }
            }
        }
        Self(client)
    }
}

/// An address with or without port, as proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(with_port).or_else(in_brackets)
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.to_canonical().fmt(f),
            None => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&'static str]) -> String {
        let peer = peer.parse().map_or(Peer::Unix, Peer::Tcp);
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        Client::of(peer, &headers, &["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]).to_string()
    }

    #[test]
    fn a_stranger_is_not_believed() {
        assert_eq!(client("198.51.100.7", &["1.2.3.4"]), "198.51.100.7");
    }

    #[test]
    fn behind_trusted_proxies_the_last_untrusted_hop_counts() {
        assert_eq!(client("127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(client("127.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("127.0.0.1", &["6.6.6.6, 203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(client("127.0.0.1", &["6.6.6.6", "203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("127.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn a_unix_socket_is_a_proxy() {
        assert_eq!(client("unix", &[]), "unix");
        assert_eq!(client("unix", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(client("unix", &["[2001:db8::1]:443"]), "2001:db8::1");
    }

    #[test]
    fn what_is_not_an_address_ends_the_belief() {
        assert_eq!(client("127.0.0.1", &["203.0.113.9, unknown"]), "127.0.0.1");
        assert_eq!(client("127.0.0.1", &["6.6.6.6, nonsense, 10.0.0.2"]), "10.0.0.2");
    }
}
