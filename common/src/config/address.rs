//! Where the receiver listens, and the networks that count as proxies.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Where the receiver listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address, such as `127.0.0.1:8071`; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A unix socket, written `unix:/path`.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = String;
    fn from_str(value: &str) -> Result<Self, String> {
        if let Some(path) = value.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() {
                Ok(Self::Unix(path))
            } else {
                Err(format!("{value:?}: a unix socket needs an absolute path"))
            };
        }
        let hint =
            "write an address and port such as \"127.0.0.1:8071\" or \"[::1]:8071\", or \"unix:/run/hookspool/receiver.sock\"";
        value.parse().map(Self::Tcp).map_err(|_| format!("{value:?} is not an address to listen on; {hint}"))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An address block such as `10.0.0.0/8` (RFC 4632) or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

impl Network {
    /// Whether `address` lies in the block. An IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let ((own, own_width), (other, other_width)) = (bits(self.address), bits(address.to_canonical()));
        own_width == other_width && (self.prefix == 0 || (own ^ other) >> (128 - self.prefix) == 0)
    }
}

impl Network {
    /// A block of IPv4 addresses mapped into IPv6 is one of IPv4, as its addresses are. A block that holds more than
    /// those stays what it is.
    fn canonical(self) -> Self {
        match (self.address.to_canonical(), self.prefix.checked_sub(96)) {
            (IpAddr::V4(v4), Some(prefix)) if self.address.is_ipv6() => Self { address: IpAddr::V4(v4), prefix },
            _ => self,
        }
    }
}

impl FromStr for Network {
    type Err = String;
    fn from_str(value: &str) -> Result<Self, String> {
        let (address, prefix) = value.split_once('/').map_or((value, None), |(address, prefix)| (address, Some(prefix)));
        let parsed = address.parse::<IpAddr>().ok().and_then(|address| {
            let width = bits(address).1;
            let prefix = prefix.map_or(Some(width), |prefix| prefix.parse().ok().filter(|prefix| *prefix <= width))?;
            Some(Self { address, prefix }.canonical())
        });
        parsed.ok_or_else(|| format!("{value:?} is not a network; write an address block such as \"127.0.0.0/8\" or \"::1\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on() {
        assert_eq!("127.0.0.1:0".parse::<Listen>().unwrap().to_string(), "127.0.0.1:0");
        assert_eq!("unix:/run/x.sock".parse::<Listen>().unwrap(), Listen::Unix("/run/x.sock".into()));
        for bad in ["localhost:80", "8071", "unix:x", "127.0.0.1"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_network_holds_its_addresses() {
        let holds = |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(holds("127.0.0.0/8", "127.9.9.9") && !holds("127.0.0.0/8", "128.0.0.1"));
        assert!(holds("127.0.0.0/8", "::ffff:127.0.0.1") && holds("::1", "::1") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("::/0", "fe80::1") && holds("10.1.2.3", "10.1.2.3") && !holds("10.1.2.3", "10.1.2.4"));
        assert!(holds("::ffff:192.0.2.0/120", "192.0.2.7") && holds("::ffff:192.0.2.0/120", "::ffff:192.0.2.7"));
        assert!(!holds("::ffff:192.0.2.0/120", "192.0.3.7") && holds("::ffff:192.0.2.7", "192.0.2.7"));
        assert!(holds("::ffff:0:0/96", "10.0.0.1") && !holds("192.0.2.0/24", "192.0.3.7"));
        for bad in ["127.0.0.0/33", "::/129", "x", "1.2.3.4/", "1.2.3"] {
            assert!(bad.parse::<Network>().is_err(), "{bad:?}");
        }
    }
}
