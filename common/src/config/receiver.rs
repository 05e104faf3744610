//! `[receiver]`: where it listens, and whom it believes.

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
    /// Where it listens, unless a socket was passed to it.
    pub listen: Listen,
    /// Proxies whose word on the client's address is taken.
    pub trusted_proxies: Vec<Network>,
    /// The user it runs as, who owns the spool.
    pub user: String,
    /// How much its spool may hold.
    pub spool: Spool,
}

pub(super) fn default() -> Receiver {
    let listen = Listen::Tcp(std::net::SocketAddr::from(([127, 0, 0, 1], 8071)));
    Receiver { listen, trusted_proxies: Vec::new(), user: DEFAULT_USER.to_owned(), spool: spool::default() }
}

pub(super) fn read(mut table: Table<'_, '_>, report: &mut Report) -> Option<Receiver> {
    let mut receiver = default();
    if let Some(listen) = table.parsed("listen", report) {
        receiver.listen = listen;
    }
    let proxies = table.texts("trusted_proxies", report).unwrap_or_default();
    receiver.trusted_proxies = proxies.iter().filter_map(|text| table.parse_text(text, report)).collect();
    if let Some(user) = read_user(&mut table, report) {
        receiver.user = user;
    }
    receiver.spool = spool::read(&mut table, report);
    table.finish(report);
    Some(receiver)
}
