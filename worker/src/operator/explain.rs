//! `hookspool explain`: what a payload would run, or the first condition that failed. Nothing is stored.

use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use hookspool_common::config::Config;
use hookspool_common::event::{Event, Kind};
use hookspool_common::forges::{Dialect, GENERIC, PATH_HEADER, Provider, Reading};
use hookspool_common::headers::Headers;
use hookspool_common::matching::{Matching, matches, reason_for_nothing};
use hookspool_common::names::SourceName;
use serde_json::{Map, Value, json};

use super::view::{print_json, shown};
use super::{Exit, options};

pub(super) fn explain(config_path: &Path, options: &options::Explain) -> anyhow::Result<Exit> {
    let mut headers = parse_headers(&options.headers)?;
    if let Some(path) = &options.path {
        headers.add(PATH_HEADER, path);
    }
    let body = read_body(&options.body)?;
    let (reading, target) = match &options.source {
        None => (dialect(options.provider.as_deref().unwrap_or_default())?.read(&headers, &body), None),
        Some(name) => {
            let config = Config::load(config_path)?;
            let known = || config.sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ");
            let source = config.source(name);
            let source = source.with_context(|| format!("there is no source `{name}`; the configuration has: {}", known()))?;
            (source.read(&headers, &body), Some((config, name)))
        }
    };
    let (events, reason, exit) = match reading {
        Ok(Reading::Events(events)) => (events, None, Exit::Success),
        Ok(Reading::Nothing(reason)) => (Vec::new(), Some(reason), Exit::Success),
        Err(malformed) => (Vec::new(), Some(malformed.to_string()), Exit::Failure),
    };
    let explained = Explained { events, reason, matching: None }.matched(target.as_ref().map(|(config, name)| (config, *name)));
    let mut out = io::stdout().lock();
    if options.json {
        print_json(&mut out, &explained.json())?
    } else {
        explained.print(&mut out)?
    }
    Ok(exit)
}

struct Explained {
    events: Vec<Event>,
    reason: Option<String>,
    /// Absent when only a provider was named.
    matching: Option<Matching>,
}

impl Explained {
    fn matched(mut self, target: Option<(&Config, &SourceName)>) -> Self {
        let Some((config, source)) = target else { return self };
        let mut all = Matching::default();
        // A ping asks for nothing, so nothing can fail to match.
        for event in self.events.iter().filter(|event| event.kind != Kind::Ping) {
            let matching = matches(config, source, event);
            if matching.matches.is_empty() && self.reason.is_none() {
                self.reason = Some(reason_for_nothing(config, source, event));
            }
            all.matches.extend(matching.matches);
            all.misses.extend(matching.misses);
        }
        self.reason = self.reason.filter(|_| all.matches.is_empty());
        self.matching = Some(all);
        self
    }

    fn json(&self) -> Value {
        let mut object = Map::from_iter([("events".to_owned(), json!(self.events))]);
        if let Some(matching) = &self.matching {
            object.insert("matches".to_owned(), json!(matching.matches));
            object.insert("misses".to_owned(), json!(matching.misses));
        }
        if let Some(reason) = &self.reason {
            object.insert("reason".to_owned(), json!(reason));
        }
        Value::Object(object)
    }

    fn print(&self, out: &mut impl Write) -> anyhow::Result<()> {
        for event in &self.events {
            let reference = event.reference.as_ref().map(|reference| format!(" {reference}")).unwrap_or_default();
            let sha = event.sha.as_ref().map(|sha| format!(" at {}", sha.short())).unwrap_or_default();
            let repository = event.repository.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
            writeln!(out, "event: {}{reference}{sha}{repository}", event.kind.as_str())?;
        }
        let matching = self.matching.clone().unwrap_or_default();
        for one in &matching.matches {
            writeln!(out, "would run: job `{}` of {}", one.job, one.repository)?;
        }
        for miss in &matching.misses {
            writeln!(out, "would not run: job `{}` of {}: {}", miss.job, miss.repository, shown(&miss.reason))?;
        }
        if let Some(reason) = &self.reason {
            writeln!(out, "nothing to run: {}", shown(reason))?;
        }
        Ok(())
    }
}

fn dialect(name: &str) -> anyhow::Result<Dialect> {
    ensure!(name != GENERIC, "what a generic source tells of stands in its configuration; name it with --source NAME");
    let provider = Provider::ALL.into_iter().find(|provider| provider.as_str() == name);
    let known = || Provider::ALL.map(Provider::as_str).join(", ");
    provider.map(Dialect::Forge).with_context(|| format!("there is no provider {name:?}; the providers are: {}", known()))
}

pub(super) fn parse_headers(lines: &[String]) -> anyhow::Result<Headers> {
    let mut headers = Headers::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { bail!("header {line:?} has no colon; write 'Name: value'") };
        headers.add(name.trim(), value.trim());
    }
    Ok(headers)
}

/// The file's bytes, or those of standard input for `-`.
pub(super) fn read_body(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut body = Vec::new();
        io::stdin().lock().read_to_end(&mut body).context("cannot read standard input")?;
        return Ok(body);
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
