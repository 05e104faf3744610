//! Who sent a request. A proxy's word is taken only where the configuration trusts that proxy, and only from the one
//! header that it names.
//!
//! `allow_from`, the budget of refusals and the log go by it, so a client must not be able to choose it. A proxy passes
//! on every header that it does not set itself: nginx sets `X-Forwarded-For` as our example says, and lets a client's
//! own `Forwarded` through. So the header that no proxy vouches for is never read, and nothing before the last
//! hop that is not a trusted proxy. Where a trusted proxy gives no address, nobody is guessed in its place.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use hookspool_common::config::{ProxyHeader, Receiver};
use hyper::HeaderMap;
use hyper::header::FORWARDED;

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Tcp(IpAddr),
    /// Somebody whom the socket's mode lets in: the web server on this machine.
    Unix,
}

/// Who sent a request, as far as it can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// The last hop that is not a trusted proxy.
    Address(IpAddr),
    /// A trusted proxy that does not say for whom it asks, as it does when it asks for itself.
    Proxy(IpAddr),
    /// Somebody beyond a trusted proxy that hides them, or on a unix socket without a word.
    Unknown,
}

impl Client {
    /// The client of a request with these `headers` that came from `peer`.
    pub(crate) fn of(peer: Peer, headers: &HeaderMap, receiver: &Receiver) -> Self {
        let is_trusted = |address: IpAddr| receiver.trusted_proxies.iter().any(|network| network.contains(address));
        let mut client = match peer {
            Peer::Unix => Self::Unknown,
            Peer::Tcp(address) if is_trusted(address) => Self::Proxy(address),
            Peer::Tcp(address) => return Self::Address(address),
        };
        // Each proxy appends whom it saw, so the list is believed from its end for as long as its members are.
        let (name, hop_of): (&str, fn(&str) -> Option<IpAddr>) = match receiver.proxy_header {
            ProxyHeader::XForwardedFor => (X_FORWARDED_FOR, address),
            ProxyHeader::Forwarded => (FORWARDED.as_str(), forwarded_for),
        };
        for value in headers.get_all(name).iter().rev() {
            // What a client wrote may be no text, and must not hide what a proxy appended to it.
            for hop in from_the_end(&String::from_utf8_lossy(value.as_bytes()), ',') {
                let Some(address) = hop_of(hop) else { return Self::Unknown };
                if !is_trusted(address) {
                    return Self::Address(address);
                }
                client = Self::Proxy(address);
            }
        }
        client
    }

    /// The address, if it is known.
    pub(crate) const fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) | Self::Proxy(address) => Some(address),
            Self::Unknown => None,
        }
    }
}

/// The parts of `text` from its last to its first, except that nothing is parted within quotes. Reading backwards,
/// what a client wrote cannot change how the part after it is read, which a trusted proxy wrote.
fn from_the_end(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let parts = text.rsplit(move |character| {
        is_quoted ^= character == '"';
        character == separator && !is_quoted
    });
    parts.map(str::trim)
}

/// The address in an element of `Forwarded` (RFC 7239, section 4); there is none in `unknown` and `_hidden`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = from_the_end(element, ';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    let quoted = node.strip_prefix('"').and_then(|node| node.strip_suffix('"'));
    address(quoted.unwrap_or(node))
}

/// An address with or without port, as proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(with_port).or_else(in_brackets)
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            Some(address) => address.to_canonical().fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use hookspool_common::config::{Listen, Spool};
    use hyper::header::HeaderValue;

    use super::*;

    fn client(peer: &str, header: ProxyHeader, headers: &[(&'static str, &str)]) -> String {
        let receiver = Receiver {
            listen: vec![Listen::Unix("/".into())],
            metrics: None,
            spool: Spool { limit: 0, reserve: 0, kept_for: std::time::Duration::ZERO, kept_bytes: 0 },
            trusted_proxies: vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
            proxy_header: header,
            user: String::new(),
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        Client::of(peer.parse().map_or(Peer::Unix, Peer::Tcp), &map, &receiver).to_string()
    }

    fn x_forwarded_for(peer: &str, values: &[&str]) -> String {
        let headers: Vec<_> = values.iter().map(|value| ("x-forwarded-for", *value)).collect();
        client(peer, ProxyHeader::XForwardedFor, &headers)
    }

    fn forwarded(values: &[&str]) -> String {
        let headers: Vec<_> = values.iter().map(|value| ("forwarded", *value)).collect();
        client("127.0.0.1", ProxyHeader::Forwarded, &headers)
    }

    #[test]
    fn a_stranger_is_not_believed() {
        assert_eq!(x_forwarded_for("198.51.100.7", &["1.2.3.4"]), "198.51.100.7");
        assert_eq!(client("198.51.100.7", ProxyHeader::Forwarded, &[("forwarded", "for=1.2.3.4")]), "198.51.100.7");
    }

    #[test]
    fn behind_trusted_proxies_the_last_untrusted_hop_counts() {
        assert_eq!(x_forwarded_for("127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(x_forwarded_for("127.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(x_forwarded_for("127.0.0.1", &["6.6.6.6, 203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(x_forwarded_for("127.0.0.1", &["6.6.6.6", "203.0.113.9"]), "203.0.113.9");
        assert_eq!(x_forwarded_for("127.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(x_forwarded_for("127.0.0.1", &["\u{fc}\u{a0}, 203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn a_unix_socket_is_a_proxy() {
        assert_eq!(x_forwarded_for("unix", &[]), "unknown");
        assert_eq!(x_forwarded_for("unix", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(x_forwarded_for("unix", &["[2001:db8::1]:443"]), "2001:db8::1");
    }

    #[test]
    fn where_a_proxy_gives_no_address_nobody_is_guessed() {
        assert_eq!(x_forwarded_for("127.0.0.1", &["203.0.113.9, unknown"]), "unknown");
        assert_eq!(x_forwarded_for("127.0.0.1", &["6.6.6.6, nonsense, 10.0.0.2"]), "unknown");
        assert_eq!(x_forwarded_for("127.0.0.1", &["203.0.113.9", ""]), "unknown");
        for hidden in ["for=unknown", "for=_hidden", "for=\"_SEVKISEK\"", "proto=https", "for=", "for=\"[2001:db8::1\"", ""] {
            assert_eq!(forwarded(&[&format!("for=203.0.113.9, {hidden}")]), "unknown", "{hidden}");
        }
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        for (element, expected) in [
            ("for=192.0.2.43", "192.0.2.43"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=\"[2001:db8::1]\"", "2001:db8::1"),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("by=\"a;b,c\"; FOR=\"192.0.2.60:80\" ;host=\"x=y\"", "192.0.2.60"),
            ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17"),
            ("for=192.0.2.43,for=10.0.0.1;by=\"10.0.0.2\"", "192.0.2.43"),
        ] {
            assert_eq!(forwarded(&[element]), expected, "{element}");
        }
        assert_eq!(forwarded(&["for=192.0.2.43", "for=10.0.0.1"]), "192.0.2.43");
    }

    #[test]
    fn a_quote_that_the_client_left_open_does_not_swallow_what_the_proxy_appended() {
        for left in ["for=\"", "for=\"6.6.6.6", "\"\\", "for=6.6.6.6;by=\"x\\\""] {
            assert_eq!(forwarded(&[&format!("{left}, for=203.0.113.9")]), "203.0.113.9", "{left}");
            assert_eq!(forwarded(&[&format!("{left}, for=\"[2001:db8::1]:80\";by=\"x,y\"")]), "2001:db8::1", "{left}");
        }
    }

    #[test]
    fn the_header_that_the_proxies_do_not_set_is_not_read() {
        let both = [("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=198.51.100.7")];
        assert_eq!(client("127.0.0.1", ProxyHeader::XForwardedFor, &both), "203.0.113.9");
        assert_eq!(client("127.0.0.1", ProxyHeader::Forwarded, &both), "198.51.100.7");
        assert_eq!(client("127.0.0.1", ProxyHeader::XForwardedFor, &both[1..]), "127.0.0.1");
        assert_eq!(client("127.0.0.1", ProxyHeader::Forwarded, &both[..1]), "127.0.0.1");
    }
}
