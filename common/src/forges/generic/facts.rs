//! Where in headers, path and body the facts of an event are.
//!
//! A fact that is not there is absent: nothing is guessed.

use serde_json::Value;

use crate::event::{Check, Deployment, Event, Kind, Package, Person, Pipeline, Release, Service};
use crate::forges::{GENERIC, PATH_HEADER, reading};
use crate::git_name::{RefName, Sha};
use crate::headers::Headers;

/// Longest text of a fact, in bytes, before its own type bounds it.
const MAX_FACT_BYTES: usize = 4096;

/// Where a fact is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It is always this.
    Constant(String),
    /// At this JSON Pointer (RFC 6901) in the body.
    Pointer(String),
    /// In this header, in lower case.
    Header(String),
    /// In the path's parameter, which begins after so many bytes and ends before so many.
    Path {
        /// Bytes of the path before the parameter.
        before: usize,
        /// Bytes of the path after it.
        after: usize,
    },
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Where it is.
    pub origin: Origin,
    /// What is put before it, such as `refs/heads/`.
    pub prefix: String,
}

/// What the deliveries of a source tell of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The kind of its events. A push to a tag is a tag, and one to the zero commit a deletion.
    pub event: Kind,
    /// The list in the body that holds one event an item; the pointers of the facts then start at an item.
    pub each: Option<String>,
    /// Every fact by its key: one of [`Facts::KEYS`].
    pub picked: Vec<(&'static str, Fact)>,
}

impl Facts {
    /// The kinds that can be described.
    pub const KINDS: [Kind; 7] =
        [Kind::Push, Kind::Release, Kind::Package, Kind::Check, Kind::Deployment, Kind::Pipeline, Kind::Service];

    /// The facts that can be picked.
    pub const KEYS: [&str; 14] = [
        "repository",
        "ref",
        "sha",
        "before",
        "pusher",
        "action",
        "name",
        "service",
        "version",
        "tag",
        "digest",
        "status",
        "environment",
        "url",
    ];
}

impl Facts {
    /// The text of a fact, if it is there.
    fn text(&self, key: &str, headers: &Headers, item: &Value) -> Option<String> {
        let (_, fact) = self.picked.iter().find(|(known, _)| *known == key)?;
        let text = match &fact.origin {
            Origin::Constant(text) => text.clone(),
            Origin::Header(name) => headers.one(name).ok().flatten()?.to_owned(),
            Origin::Path { before, after } => {
                let path = headers.one(PATH_HEADER).ok().flatten()?;
                path.get(*before..path.len().checked_sub(*after)?)?.to_owned()
            }
            Origin::Pointer(pointer) => match item.pointer(pointer)? {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => return None,
            },
        };
        (!text.is_empty() && text.len() <= MAX_FACT_BYTES).then(|| format!("{}{text}", fact.prefix))
    }

    /// The event of one item, or why it is none: a ref or commit that is there and is not of its form would have its
    /// job run other code than it is about.
    pub(super) fn event(&self, headers: &Headers, item: &Value) -> Result<Event, String> {
        let text = |key| self.text(key, headers, item);
        let mut event = Event::of(self.event, GENERIC);
        if let Some(name) = text("ref") {
            event = event.with_ref(name.parse::<RefName>().map_err(|error| error.to_string())?);
        }
        let is_gone = text("sha").is_some_and(|sha| sha.bytes().all(|byte| byte == b'0'));
        let sha = text("sha").filter(|_| !is_gone).map(|sha| sha.parse::<Sha>()).transpose();
        event.sha = sha.map_err(|error| error.to_string())?;
        event.repository = text("repository").and_then(|name| name.parse().ok());
        event.before = text("before").and_then(|sha| sha.parse().ok());
        event.pusher = text("pusher").map(|text| person(&text)).unwrap_or_default();
        if self.event == Kind::Push {
            event.kind = match (event.tag.is_some(), is_gone) {
                (false, false) => Kind::Push,
                (false, true) => Kind::BranchDeleted,
                (true, false) => Kind::Tag,
                (true, true) => Kind::TagDeleted,
            };
        }
        self.add_subject(&mut event, &text);
        Ok(event)
    }

    fn add_subject(&self, event: &mut Event, text: &impl Fn(&'static str) -> Option<String>) {
        let action = text("action");
        match self.event {
            Kind::Release => {
                event.release = Some(Release {
                    action: action.unwrap_or_default(),
                    name: text("name"),
                    url: text("url"),
                    ..Release::default()
                });
            }
            Kind::Package => {
                event.package = Some(Package {
                    action: action.unwrap_or_default(),
                    name: text("name"),
                    ecosystem: None,
                    version: text("version"),
                    tag: text("tag"),
                    digest: text("digest"),
                    url: text("url"),
                });
            }
            Kind::Check => event.check = Some(Check { action, name: text("name"), status: text("status"), url: text("url") }),
            Kind::Deployment => {
                event.deployment = Some(Deployment {
                    action,
                    environment: text("environment"),
                    status: text("status"),
                    url: text("url"),
                    ..Deployment::default()
                });
            }
            Kind::Pipeline => {
                let (name, status, url) = (text("name"), text("status"), text("url"));
                event.pipeline = Some(Pipeline { action, id: None, name, status, url });
            }
            Kind::Service => event.service = Some(Service { name: text("service").or_else(|| text("name")), action }),
            _ => {}
        }
    }
}

/// `Name <address>`, an address or a login.
fn person(text: &str) -> Person {
    match text.contains(['<', '@']) {
        true if text.contains('<') => reading::author(text),
        true => Person { email: Some(text.to_owned()), ..Person::default() },
        false => Person { login: Some(text.to_owned()), ..Person::default() },
    }
}
