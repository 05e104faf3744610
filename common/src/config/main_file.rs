//! `hookspool.toml`: folders, the receiver, its sources, the worker and mail.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::address::{Listen, Network};
use super::mail::{self, Mail};
use super::problem::{Report, SourceText, suggestion};
use super::table::{Table, parse, read_file};
use crate::forges::Provider;
use crate::names::{SecretName, SourceName};

/// The user that the receiver and the importer run as, unless another is named.
const DEFAULT_RECEIVER_USER: &str = "hookspool";
/// The user that steps run as, unless the worker, the job or the step names another.
const DEFAULT_BUILD_USER: &str = "hookspool-build";
/// Most runs at once that may be configured: more than any one machine that this is made for can bear.
const MAX_SLOTS: u64 = 64;

/// The folders that Hookspool writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// `inbox.db` and the wake file; the receiver's.
    pub spool: PathBuf,
    /// `ledger.db`, `runs/`, `repos/` and `work/`; root's.
    pub state: PathBuf,
    /// `runs/N.log`.
    pub logs: PathBuf,
}

/// `[receiver]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Where it listens, unless a socket was passed to it.
    pub listen: Listen,
    /// Proxies whose word on the client's address is taken.
    pub trusted_proxies: Vec<Network>,
    /// The user it runs as, who owns the spool.
    pub user: String,
}

/// `[[source]]`: one path that a forge posts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: SourceName,
    /// Whose deliveries come in there.
    pub provider: Provider,
    /// The URL's path.
    pub path: String,
    /// The names of its secrets, any of which may sign.
    pub secrets: Vec<SecretName>,
}

/// `[worker]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Runs at once.
    pub slots: u64,
    /// The user that steps run as where nothing else is said.
    pub user: String,
    /// The domain under which `WEBHOOKBUILD_DOMAINNAME` is made.
    pub domain: Option<String>,
}

/// What of the main file could be read; a part that is absent has its errors in the report.
pub(super) struct MainFile {
    pub(super) paths: Option<Paths>,
    pub(super) receiver: Option<Receiver>,
    pub(super) sources: Vec<Source>,
    /// The names of all sources, also of those with other errors, so that one error does not look like two.
    pub(super) source_names: Vec<SourceName>,
    pub(super) worker: Option<Worker>,
    pub(super) mail: Option<Mail>,
}

pub(super) fn read(file: &Path, report: &mut Report) -> Option<MainFile> {
    let text = read_file(file, report)?;
    let source = SourceText { file, text: &text };
    let document = parse(&source, report)?;
    let mut top = Table::new(&source, "hookspool.toml", document.get_ref(), 0..0);
    let paths = top.table("paths", "[paths]", report);
    let paths = paths.map_or_else(|| Some(default_paths()), |table| read_paths(table, report));
    let receiver = match top.table("receiver", "[receiver]", report) {
        Some(table) => read_receiver(table, report),
        None => Some(default_receiver()),
    };
    let (sources, source_names) = read_sources(&mut top, report);
    let worker = match top.table("worker", "[worker]", report) {
        Some(table) => read_worker(table, report),
        None => Some(Worker { slots: 1, user: DEFAULT_BUILD_USER.to_owned(), domain: None }),
    };
    let mail = top.table("mail", "[mail]", report).and_then(|table| mail::read(table, report));
    top.finish(report);
    Some(MainFile { paths, receiver, sources, source_names, worker, mail })
}

fn default_paths() -> Paths {
    Paths { spool: "/var/spool/hookspool".into(), state: "/var/lib/hookspool".into(), logs: "/var/log/hookspool".into() }
}

fn read_paths(mut table: Table<'_, '_>, report: &mut Report) -> Option<Paths> {
    let defaults = default_paths();
    let mut folder = |key, default: PathBuf, report: &mut Report| match table.text(key, report) {
        Some(text) => table.absolute_path(&text, report),
        None => Some(default),
    };
    let spool = folder("spool", defaults.spool, report);
    let state = folder("state", defaults.state, report);
    let logs = folder("logs", defaults.logs, report);
    let span = table.span();
    let source = table.source;
    table.finish(report);
    let (spool, state, logs) = (spool?, state?, logs?);
    let inside = |outer: &Path, inner: &Path| inner.starts_with(outer);
    if inside(&spool, &state) || inside(&spool, &logs) || inside(&state, &spool) {
        let message = "`spool` belongs to the receiver, `state` and `logs` to root: none may lie in the other".to_owned();
        source.problem(report, span, message, None);
        return None;
    }
    Some(Paths { spool, state, logs })
}

fn default_receiver() -> Receiver {
    let listen = Listen::Tcp(std::net::SocketAddr::from(([127, 0, 0, 1], 8071)));
    Receiver { listen, trusted_proxies: Vec::new(), user: DEFAULT_RECEIVER_USER.to_owned() }
}

fn read_receiver(mut table: Table<'_, '_>, report: &mut Report) -> Option<Receiver> {
    let mut receiver = default_receiver();
    if let Some(listen) = table.parsed("listen", report) {
        receiver.listen = listen;
    }
    let proxies = table.texts("trusted_proxies", report).unwrap_or_default();
    receiver.trusted_proxies = proxies.iter().filter_map(|text| table.parse_text(text, report)).collect();
    if let Some(user) = read_user(&mut table, report) {
        receiver.user = user;
    }
    table.finish(report);
    Some(receiver)
}

/// The key `user`: the name of an account of this machine.
pub(super) fn read_user(table: &mut Table<'_, '_>, report: &mut Report) -> Option<String> {
    let text = table.text("user", report)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let first = text.value.bytes().next();
    if first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && text.value.bytes().all(plain)
        && text.value.len() <= 32
    {
        return Some(text.value);
    }
    table.wrong(text.span, format!("{:?} is not a user name", text.value), None, report);
    None
}

fn read_sources(top: &mut Table<'_, '_>, report: &mut Report) -> (Vec<Source>, Vec<SourceName>) {
    let mut sources: Vec<Source> = Vec::new();
    let mut names: Vec<SourceName> = Vec::new();
    let mut paths: Vec<String> = Vec::new();
    let tables = top.tables("source", "this [[source]]", report);
    if tables.is_empty() && top.get("source").is_none() {
        let help = "write a [[source]] with name, provider, path and secret".to_owned();
        top.wrong(0..0, "there is no [[source]], so no delivery could ever come in", Some(help), report);
    }
    for mut table in tables {
        let name = table.required_text("name", "name = \"github\"", report);
        let name_span = name.as_ref().map_or(table.span(), |text| text.span.clone());
        let name: Option<SourceName> = name.and_then(|text| table.parse_text(&text, report));
        if let Some(name) = &name {
            if names.contains(name) {
                table.wrong(name_span, format!("there are two sources with the name `{name}`"), None, report);
            }
            names.push(name.clone());
        }
        let provider = read_provider(&mut table, report);
        let path = read_source_path(&mut table, &paths, report);
        paths.extend(path.clone());
        if table.get("secret").is_none() {
            table.absent("secret", "secret = \"NAME\", with the secret itself in secrets/receiver/NAME", report);
        }
        let secrets = table.texts("secret", report).unwrap_or_default();
        let secrets: Vec<SecretName> = secrets.iter().filter_map(|text| table.parse_text(text, report)).collect();
        table.finish(report);
        if let (Some(name), Some(provider), Some(path)) = (name, provider, path) {
            sources.push(Source { name, provider, path, secrets });
        }
    }
    (sources, names)
}

fn read_provider(table: &mut Table<'_, '_>, report: &mut Report) -> Option<Provider> {
    let text = table.required_text("provider", "provider = \"github\"", report)?;
    if let Some(provider) = Provider::ALL.into_iter().find(|provider| provider.as_str() == text.value) {
        return Some(provider);
    }
    let known = Provider::ALL.map(Provider::as_str);
    let help = suggestion(&text.value, known).unwrap_or_else(|| format!("the providers are: {}", known.join(", ")));
    table.wrong(text.span, format!("there is no provider {:?}", text.value), Some(help), report);
    None
}

/// Paths that the receiver itself answers.
const OWN_PATHS: [&str; 2] = ["/health", "/ready"];

fn read_source_path(table: &mut Table<'_, '_>, taken: &[String], report: &mut Report) -> Option<String> {
    let text = table.required_text("path", "path = \"/hooks/github\"", report)?;
    let span: Range<usize> = text.span;
    let well_formed =
        text.value.starts_with('/') && text.value.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%".contains(&byte));
    if !well_formed {
        let message = format!("{:?} is not a path: it begins with `/` and holds neither spaces nor one of ? # %", text.value);
        table.wrong(span, message, None, report);
    } else if OWN_PATHS.contains(&text.value.as_str()) {
        table.wrong(span, format!("the receiver itself answers {}", text.value), None, report);
    } else if taken.contains(&text.value) {
        table.wrong(span, format!("there are two sources with the path {}", text.value), None, report);
    } else {
        return Some(text.value);
    }
    None
}

fn read_worker(mut table: Table<'_, '_>, report: &mut Report) -> Option<Worker> {
    let slots = if table.get("slots").is_some() { table.number("slots", 1..=MAX_SLOTS, report) } else { Some(1) };
    let user = read_user(&mut table, report).unwrap_or_else(|| DEFAULT_BUILD_USER.to_owned());
    let domain = table.text("domain", report).map(|text| text.value);
    table.finish(report);
    Some(Worker { slots: slots?, user, domain })
}
