//! `[[source]]`: the paths that forges post to.

use std::ops::Range;

use super::address::Network;
use super::problem::{Report, suggestion};
use super::table::Table;
use crate::forges::Provider;
use crate::names::{SecretName, SourceName};

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
    /// Where its deliveries may come from; `None`: from everywhere.
    pub allow_from: Option<Vec<Network>>,
}

/// Every source that could be read, and the names of all, also of those with errors.
pub(super) fn read_all(top: &mut Table<'_, '_>, report: &mut Report) -> (Vec<Source>, Vec<SourceName>) {
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
        let allow_from = read_allow_from(&mut table, report);
        table.finish(report);
        if let (Some(name), Some(provider), Some(path)) = (name, provider, path) {
            sources.push(Source { name, provider, path, secrets, allow_from });
        }
    }
    (sources, names)
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
