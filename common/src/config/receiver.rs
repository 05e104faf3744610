//! `[receiver]`: where it listens, and whom it believes.

use std::str::FromStr;

use super::address::{Listen, Network};
use super::main_file::read_user;
use super::problem::Report;
use super::spool::{self, Spool};
use super::table::Table;

/// The user that the receiver and the importer run as, unless another is named.
const DEFAULT_USER: &str = "hookspool";

/// `[receiver]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Where it listens for deliveries, unless sockets were passed to it.
    pub listen: Vec<Listen>,
    /// Where it serves its metrics, and nothing else; without it nowhere.
    pub metrics: Option<Listen>,
    /// Proxies whose word on the client's address is taken.
    pub trusted_proxies: Vec<Network>,
    /// The header in which they give it.
    pub proxy_header: ProxyHeader,
    /// The user it runs as, who owns the spool.
    pub user: String,
    /// How much its spool may hold.
    pub spool: Spool,
}

/// The one header in which trusted proxies say for whom they ask. The other is whatever the client wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`, which nearly every proxy sets.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl FromStr for ProxyHeader {
    type Err = String;
    fn from_str(value: &str) -> Result<Self, String> {
        match value.to_ascii_lowercase().as_str() {
            "x-forwarded-for" => Ok(Self::XForwardedFor),
            "forwarded" => Ok(Self::Forwarded),
            _ => Err(format!("{value:?} is not a header that names clients; write \"X-Forwarded-For\" or \"Forwarded\"")),
        }
    }
}

pub(super) fn default() -> Receiver {
    let listen = vec![Listen::Tcp(std::net::SocketAddr::from(([127, 0, 0, 1], 8071)))];
    let proxy_header = ProxyHeader::XForwardedFor;
    let (user, spool) = (DEFAULT_USER.to_owned(), spool::default());
    Receiver { listen, metrics: None, trusted_proxies: Vec::new(), proxy_header, user, spool }
}

pub(super) fn read(mut table: Table<'_, '_>, report: &mut Report) -> Option<Receiver> {
    let mut receiver = default();
    if let Some(value) = table.get("listen") {
        let texts = table.texts("listen", report).unwrap_or_default();
        receiver.listen = texts.iter().filter_map(|text| table.parse_text(text, report)).collect();
        if value.get_ref().as_array().is_some_and(|list| list.is_empty()) {
            table.wrong(value.span(), "`listen` is an empty list, so no delivery could ever come in", None, report);
        }
    }
    receiver.metrics = table.parsed("metrics", report);
    let proxies = table.texts("trusted_proxies", report).unwrap_or_default();
    receiver.trusted_proxies = proxies.iter().filter_map(|text| table.parse_text(text, report)).collect();
    if let Some(header) = table.parsed("proxy_header", report) {
        receiver.proxy_header = header;
    }
    if let Some(user) = read_user(&mut table, report) {
        receiver.user = user;
    }
    receiver.spool = spool::read(&mut table, report);
    table.finish(report);
    Some(receiver)
}
