//! `[[source]]`: the paths that forges post to.

use super::address::Network;
use super::generic;
use super::pacticipants::{self, Pacticipants};
use super::problem::{Report, suggestion};
use super::source_path::SourcePath;
use super::table::Table;
use crate::forges::{Dialect, GENERIC, Malformed, Provider, Reading};
use crate::headers::Headers;
use crate::names::{SecretName, SourceName};

/// `[[source]]`: one path that a forge posts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: SourceName,
    /// How its deliveries prove themselves, and what they say.
    pub dialect: Dialect,
    /// The URL's path.
    pub path: SourcePath,
    /// The names of its secrets, any of which may sign.
    pub secrets: Vec<SecretName>,
    /// Where its deliveries may come from; `None`: from everywhere.
    pub allow_from: Option<Vec<Network>>,
    /// The repositories of a Pact Broker's pacticipants, which the broker does not know.
    pub repositories: Pacticipants,
}

impl Source {
    /// Reads a delivery.
    ///
    /// # Errors
    /// [`Malformed`] when it is not this provider's form at all.
    pub fn read(&self, headers: &Headers, body: &[u8]) -> Result<Reading, Malformed> {
        let mut reading = self.dialect.read(headers, body)?;
        if let Reading::Events(events) = &mut reading {
            events.iter_mut().for_each(|event| self.repositories.name_repository(event));
        }
        Ok(reading)
    }
}

/// Every source that could be read, and the names of all, also of those with errors.
pub(super) fn read_all(top: &mut Table<'_, '_>, report: &mut Report) -> (Vec<Source>, Vec<SourceName>) {
    let mut sources: Vec<Source> = Vec::new();
    let mut names: Vec<SourceName> = Vec::new();
    let mut paths: Vec<SourcePath> = Vec::new();
    let tables = top.tables("source", "this [[source]]", report);
    if tables.is_empty() && top.get("source").is_none() {
        let help = "write a [[source]] with name, provider, path and secret".to_owned();
        top.wrong(0..0, "there is no [[source]], so no delivery could ever come in", Some(help), report);
    }
    for mut table in tables {
        let name = read_name(&mut table, &names, report);
        names.extend(name.clone());
        let path = read_path(&mut table, &paths, report);
        paths.extend(path.clone());
        let dialect = read_dialect(&mut table, path.as_ref(), report);
        let is_pact_broker = dialect == Some(Dialect::Forge(Provider::PactBroker));
        let repositories = if is_pact_broker { pacticipants::read(&mut table, report) } else { Pacticipants::default() };
        let secrets = read_secrets(&mut table, report);
        let allow_from = read_allow_from(&mut table, report);
        table.finish(report);
        if let (Some(name), Some(dialect), Some(path)) = (name, dialect, path) {
            sources.push(Source { name, dialect, path, secrets, allow_from, repositories });
        }
    }
    (sources, names)
}

fn read_secrets(table: &mut Table<'_, '_>, report: &mut Report) -> Vec<SecretName> {
    const EXAMPLE: &str = "secret = \"NAME\", with the secret itself in secrets/receiver/NAME";
    let Some(value) = table.get("secret") else {
        table.absent("secret", EXAMPLE, report);
        return Vec::new();
    };
    let Some(texts) = table.texts_of("secret", value, report) else { return Vec::new() };
    if texts.is_empty() {
        let message = "`secret` is an empty list, so every delivery would be refused";
        table.wrong(value.span(), message, Some(format!("write {EXAMPLE}")), report);
    }
    texts.iter().filter_map(|text| table.parse_text(text, report)).collect()
}

fn read_allow_from(table: &mut Table<'_, '_>, report: &mut Report) -> Option<Vec<Network>> {
    let value = table.get("allow_from")?;
    let texts = table.texts_of("allow_from", value, report)?;
    if texts.is_empty() {
        let help = Some("leave `allow_from` out to take deliveries from everywhere".to_owned());
        table.wrong(value.span(), "`allow_from` lists no network, so no delivery could ever come in", help, report);
    }
    Some(texts.iter().filter_map(|text| table.parse_text(text, report)).collect())
}

fn read_name(table: &mut Table<'_, '_>, taken: &[SourceName], report: &mut Report) -> Option<SourceName> {
    let text = table.required_text("name", "name = \"github\"", report)?;
    let name: SourceName = table.parse_text(&text, report)?;
    if taken.contains(&name) {
        table.wrong(text.span, format!("there are two sources with the name `{name}`"), None, report);
    }
    Some(name)
}

fn read_dialect(table: &mut Table<'_, '_>, path: Option<&SourcePath>, report: &mut Report) -> Option<Dialect> {
    let text = table.required_text("provider", "provider = \"github\"", report)?;
    if text.value == GENERIC {
        return generic::read(table, path, report).map(|generic| Dialect::Generic(Box::new(generic)));
    }
    if let Some(provider) = Provider::ALL.into_iter().find(|provider| provider.as_str() == text.value) {
        if let Some(name) = path.and_then(SourcePath::parameter) {
            let message = format!("nothing of {} makes use of the path's `{{{name}}}`; only a generic source does", text.value);
            table.wrong(text.span, message, None, report);
        }
        return Some(Dialect::Forge(provider));
    }
    let known = Dialect::names();
    let help =
        suggestion(&text.value, known.iter().copied()).unwrap_or_else(|| format!("the providers are: {}", known.join(", ")));
    table.wrong(text.span, format!("there is no provider {:?}", text.value), Some(help), report);
    None
}

/// Paths that the receiver itself answers.
const OWN_PATHS: [&str; 2] = ["/health", "/ready"];

fn read_path(table: &mut Table<'_, '_>, taken: &[SourcePath], report: &mut Report) -> Option<SourcePath> {
    let text = table.required_text("path", "path = \"/hooks/github\"", report)?;
    let path: SourcePath = table.parse_text(&text, report)?;
    if OWN_PATHS.contains(&text.value.as_str()) {
        table.wrong(text.span, format!("the receiver itself answers {path}"), None, report);
    } else if let Some(other) = taken.iter().find(|other| other.clashes_with(&path)) {
        let message = if *other == path {
            format!("there are two sources with the path {path}")
        } else {
            format!("a request could be for this source and for the one with the path {other}")
        };
        table.wrong(text.span, message, None, report);
    } else {
        return Some(path);
    }
    None
}
