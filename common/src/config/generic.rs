//! The keys of a `[[source]]` with `provider = "generic"`: how its sender proves itself, and where the facts are.

use super::problem::{Report, suggestion};
use super::source_path::SourcePath;
use super::table::{Table, Text, Value};
use crate::event::Kind;
use crate::forges::{Encoding, Fact, Facts, Generic, Origin, Proving, TOLERANCE, Timestamp};
use crate::git_name::RefName;
use crate::repository_name::RepositoryName;
use crate::signature::Algorithm;
use toml::de::DeValue;

/// What GitHub's header is called, which most senders took over.
const DEFAULT_HEADER: &str = "x-hub-signature-256";
const DEFAULT_PREFIX: &str = "sha256=";

pub(super) fn read(table: &mut Table<'_, '_>, path: Option<&SourcePath>, report: &mut Report) -> Option<Generic> {
    let proving = read_proving(table, report);
    let id_header = read_header(table, "id", report);
    let repeats = table.boolean("repeats", report).unwrap_or(false);
    let facts = match table.table("facts", "[source.facts]", report) {
        Some(facts) => read_facts(facts, path, report),
        None => {
            table.absent("facts", "[source.facts] with event and repository below this source", report);
            None
        }
    };
    Some(Generic { proving: proving?, id_header, repeats, facts: facts? })
}

/// A header's name, in lower case (RFC 9110 section 5.1: a token).
fn read_header(table: &mut Table<'_, '_>, key: &'static str, report: &mut Report) -> Option<String> {
    let text = table.text(key, report)?;
    header_name(table, &text, report)
}

fn header_name(table: &Table<'_, '_>, text: &Text, report: &mut Report) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !text.value.is_empty() && text.value.bytes().all(is_plain) {
        return Some(text.value.to_ascii_lowercase());
    }
    table.wrong(text.span.clone(), format!("{:?} is not the name of a header", text.value), None, report);
    None
}

fn read_proving(table: &mut Table<'_, '_>, report: &mut Report) -> Option<Proving> {
    if let Some(token) = table.table("token", "`token`", report) {
        if let Some(signature) = table.get("signature") {
            table.wrong(signature.span(), "a source has either a `token` or a `signature`", None, report);
        }
        return read_token(token, report);
    }
    match table.get("signature") {
        None => Some(Proving::Hmac {
            header: DEFAULT_HEADER.to_owned(),
            prefix: DEFAULT_PREFIX.to_owned(),
            encoding: Encoding::Hex,
            algorithm: Algorithm::Sha256,
            timestamp: read_timestamp(table, report),
        }),
        Some(value) if value.get_ref().as_str() == Some("standard-webhooks") => {
            let tolerance = table.duration("tolerance", report).unwrap_or(TOLERANCE);
            Some(Proving::StandardWebhooks { tolerance })
        }
        Some(value) if value.get_ref().as_str().is_some() => {
            let help = "write \"standard-webhooks\", or a table such as { header = \"X-Signature\", encoding = \"base64\" }";
            table.wrong(value.span(), "there is no such form of `signature`", Some(help.to_owned()), report);
            None
        }
        Some(value) => {
            let timestamp = read_timestamp(table, report);
            let signature = Table::of_value(table.source, "`signature`", value, report)?;
            read_hmac(signature, timestamp, report)
        }
    }
}

fn read_token(mut token: Table<'_, '_>, report: &mut Report) -> Option<Proving> {
    if token.get("header").is_none() {
        token.absent("header", "header = \"Authorization\", prefix = \"Bearer \"", report);
    }
    let header = read_header(&mut token, "header", report);
    let prefix = token.text("prefix", report).map(|text| text.value).unwrap_or_default();
    token.finish(report);
    Some(Proving::Token { header: header?, prefix })
}

fn read_hmac(mut table: Table<'_, '_>, timestamp: Option<Timestamp>, report: &mut Report) -> Option<Proving> {
    if table.get("header").is_none() {
        table.absent("header", "header = \"X-Hub-Signature-256\"", report);
    }
    let header = read_header(&mut table, "header", report);
    let prefix = table.text("prefix", report).map(|text| text.value).unwrap_or_default();
    let encoding = one_of(&mut table, "encoding", &[("hex", Encoding::Hex), ("base64", Encoding::Base64)], report);
    let algorithms = [("sha256", Algorithm::Sha256), ("sha512", Algorithm::Sha512), ("sha1", Algorithm::Sha1)];
    let algorithm = one_of(&mut table, "algorithm", &algorithms, report);
    let insecure = table.boolean("insecure", report).unwrap_or(false);
    if algorithm == Some(Algorithm::Sha1) && !insecure {
        let help = "let the sender use sha256; if it cannot, write insecure = true beside it".to_owned();
        table.wrong(table.span(), "sha1 is not to be relied on", Some(help), report);
        return None;
    }
    table.finish(report);
    Some(Proving::Hmac { header: header?, prefix, encoding: encoding?, algorithm: algorithm?, timestamp })
}

/// The value that a word stands for; the first where nothing is written.
fn one_of<T: Copy>(table: &mut Table<'_, '_>, key: &'static str, words: &[(&'static str, T)], report: &mut Report) -> Option<T> {
    if table.get(key).is_none() {
        return words.first().map(|(_, value)| *value);
    }
    let text = table.text(key, report)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
        return Some(*value);
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let message = format!("`{key}` must be one of {}, and is {:?}", known.join(", "), text.value);
    table.wrong(text.span, message, None, report);
    None
}

fn read_timestamp(table: &mut Table<'_, '_>, report: &mut Report) -> Option<Timestamp> {
    let mut timestamp = table.table("timestamp", "`timestamp`", report)?;
    if timestamp.get("header").is_none() {
        timestamp.absent("header", "header = \"X-Timestamp\"", report);
    }
    let header = read_header(&mut timestamp, "header", report);
    let tolerance = timestamp.duration("tolerance", report).unwrap_or(TOLERANCE);
    timestamp.finish(report);
    Some(Timestamp { header: header?, tolerance })
}

fn read_facts(mut table: Table<'_, '_>, path: Option<&SourcePath>, report: &mut Report) -> Option<Facts> {
    let event = read_kind(&mut table, report);
    let each = table.text("each", report).and_then(|text| pointer(&table, &text, report));
    if table.get("repository").is_none() {
        let example = "repository = \"github.com/owner/name\", or { pointer = \"/repository/url\" }";
        table.absent("repository", example, report);
    }
    let mut picked = Vec::new();
    for key in Facts::KEYS {
        if let Some(value) = table.get(key) {
            picked.extend(read_fact(&table, key, value, path, report).map(|fact| (key, fact)));
        }
    }
    table.finish(report);
    Some(Facts { event: event?, each, picked })
}

fn read_kind(table: &mut Table<'_, '_>, report: &mut Report) -> Option<Kind> {
    let text = table.required_text("event", "event = \"push\"", report)?;
    if let Some(kind) = Facts::KINDS.into_iter().find(|kind| kind.as_str() == text.value) {
        return Some(kind);
    }
    let known = Facts::KINDS.map(Kind::as_str);
    let help = suggestion(&text.value, known).unwrap_or_else(|| format!("a generic source can tell of: {}", known.join(", ")));
    table.wrong(text.span, format!("a generic source cannot tell of {:?}", text.value), Some(help), report);
    None
}

fn read_fact(
    facts: &Table<'_, '_>,
    key: &'static str,
    value: &Value<'_>,
    path: Option<&SourcePath>,
    report: &mut Report,
) -> Option<Fact> {
    if let DeValue::String(text) = value.get_ref() {
        let flaw = match key {
            "repository" => text.parse::<RepositoryName>().err().map(|error| error.to_string()),
            "ref" => text.parse::<RefName>().err().map(|error| error.to_string()),
            _ => None,
        };
        flaw.into_iter().for_each(|flaw| facts.wrong(value.span(), flaw, None, report));
        return Some(Fact { origin: Origin::Constant(text.to_string()), prefix: String::new() });
    }
    let mut table = Table::of_value(facts.source, key, value, report)?;
    let prefix = table.text("prefix", report).map(|text| text.value).unwrap_or_default();
    let of_pointer = table.text("pointer", report).and_then(|text| pointer(&table, &text, report)).map(Origin::Pointer);
    let of_header = read_header(&mut table, "header", report).map(Origin::Header);
    let of_path = table.text("parameter", report).and_then(|text| parameter(&table, &text, path, report));
    let written = ["pointer", "header", "parameter"].into_iter().filter(|key| table.get(key).is_some()).count();
    if written != 1 {
        let help = "write one of { pointer = \"/a/b\" }, { header = \"X-A\" } or { parameter = \"service\" }".to_owned();
        table.wrong(table.span(), format!("`{key}` must come from exactly one place"), Some(help), report);
        return None;
    }
    table.finish(report);
    of_pointer.or(of_header).or(of_path).map(|origin| Fact { origin, prefix })
}

/// A JSON Pointer (RFC 6901 section 3).
fn pointer(table: &Table<'_, '_>, text: &Text, report: &mut Report) -> Option<String> {
    let escapes_well = text.value.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if (text.value.is_empty() || text.value.starts_with('/')) && escapes_well {
        return Some(text.value.clone());
    }
    let message = format!("{:?} is not a JSON Pointer", text.value);
    table.wrong(text.span.clone(), message, Some("write it like /repository/clone_url".to_owned()), report);
    None
}

fn parameter(table: &Table<'_, '_>, text: &Text, path: Option<&SourcePath>, report: &mut Report) -> Option<Origin> {
    let path = path?;
    if path.parameter() == Some(text.value.as_str()) {
        let (before, after) = path.around();
        return Some(Origin::Path { before, after });
    }
    let help = format!("write path = \"…/{{{}}}\"", text.value);
    table.wrong(text.span.clone(), format!("the path {path} has no {{{}}}", text.value), Some(help), report);
    None
}
