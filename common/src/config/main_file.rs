//! `hookspool.toml`: folders, the receiver, its sources, the worker and mail.

use std::path::{Path, PathBuf};

use super::limits::{self, Limits};
use super::mail::{self, Mail};
use super::problem::{Report, SourceText};
use super::receiver::{self, Receiver};
use super::retention::{self, Retention};
use super::source::{self, Source};
use super::table::{Table, Value, parse, read_file};
use crate::names::SourceName;

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

/// `[worker]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Runs at once.
    pub slots: u64,
    /// The user that steps run as where nothing else is said.
    pub user: String,
    /// The domain under which `WEBHOOKBUILD_DOMAINNAME` is made.
    pub domain: Option<String>,
    /// What steps may use where their job says nothing.
    pub limits: Limits,
    /// How long runs are kept.
    pub retention: Retention,
}

impl Default for Worker {
    fn default() -> Self {
        let (limits, retention) = (Limits::default(), Retention::default());
        Self { slots: 1, user: DEFAULT_BUILD_USER.to_owned(), domain: None, limits, retention }
    }
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
        Some(table) => receiver::read(table, report),
        None => Some(receiver::default()),
    };
    let (sources, source_names) = source::read_all(&mut top, report);
    let worker = match top.table("worker", "[worker]", report) {
        Some(table) => read_worker(table, report),
        None => Some(Worker::default()),
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

/// Who steps run as where nobody says otherwise. That is never root: a step that is root is a step that says so.
fn read_build_user(table: &mut Table<'_, '_>, report: &mut Report) -> Option<String> {
    let span = table.get("user").map(Value::span);
    let user = read_user(table, report)?;
    if let Some(span) = span.filter(|_| user == "root") {
        let help = "name an ordinary user here, and write `user = \"root\"` in each job or step that needs root".to_owned();
        table.wrong(span, "steps never run as root by default", Some(help), report);
        return None;
    }
    Some(user)
}

fn read_worker(mut table: Table<'_, '_>, report: &mut Report) -> Option<Worker> {
    let slots = if table.get("slots").is_some() { table.number("slots", 1..=MAX_SLOTS, report) } else { Some(1) };
    let user = read_build_user(&mut table, report).unwrap_or_else(|| DEFAULT_BUILD_USER.to_owned());
    let domain = table.text("domain", report).map(|text| text.value);
    let limits = table.table("limits", "[worker.limits]", report).map(|limits| limits::read(limits, report)).unwrap_or_default();
    let retention = table.table("retention", "[worker.retention]", report);
    let retention = retention.map(|retention| retention::read(retention, report)).unwrap_or_default();
    table.finish(report);
    Some(Worker { slots: slots?, user, domain, limits, retention })
}
