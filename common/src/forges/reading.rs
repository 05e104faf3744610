//! What every forge's parser needs: JSON that is not what was expected, commit ids that may be zeros, texts that may be
//! empty.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{MAX_EVENTS, Malformed, Reading};
use crate::event::{Event, MAX_COMMITS, Person};
use crate::git_name::Sha;

/// Why a delivery gives no event.
pub(super) enum Unread {
    /// It is not JSON at all.
    NotJson(String),
    /// It is not of the shape that the forge documents.
    Shape(String),
    /// It is well formed, and starts nothing for this reason.
    Other(String),
}

pub(super) fn shape(why: impl ToString) -> Unread {
    Unread::Shape(why.to_string())
}

/// Parses `body` as the forge's own type and reads events out of it.
pub(super) fn parse<'a, T: Deserialize<'a>, R>(body: &'a [u8], read: impl FnOnce(T) -> Result<R, Unread>) -> Result<R, Unread> {
    match serde_json::from_slice(body) {
        Ok(delivery) => read(delivery),
        Err(error) if is_json(body) => Err(shape(error)),
        Err(error) => Err(Unread::NotJson(error.to_string())),
    }
}

/// Whether it is JSON, whatever the type that it did not fit took it for (RFC 8259 section 8.1: in UTF-8).
fn is_json(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok_and(|body| serde_json::from_str::<IgnoredAny>(body).is_ok())
}

/// Any JSON at all.
pub(super) fn check_json(body: &[u8]) -> Result<(), Malformed> {
    serde_json::from_slice::<IgnoredAny>(body).map(drop).map_err(|error| Malformed::NotJson(error.to_string()))
}

/// The outcome of reading an event that the forge calls `name`.
pub(super) fn reading(forge: &str, name: &str, read: Result<Vec<Event>, Unread>) -> Result<Reading, Malformed> {
    match read {
        Ok(events) if events.is_empty() => Ok(Reading::Nothing(format!("this `{name}` tells of nothing that happened"))),
        Ok(events) => Ok(Reading::Events(events)),
        Err(Unread::NotJson(error)) => Err(Malformed::NotJson(error)),
        Err(Unread::Shape(why)) => {
            Ok(Reading::Nothing(format!("this `{name}` is not of the shape that {forge} documents: {why}")))
        }
        Err(Unread::Other(why)) => Ok(Reading::Nothing(why)),
    }
}

/// An event of a kind that starts nothing; only that it is JSON is checked.
pub(super) fn nothing(forge: &str, name: &str, body: &[u8]) -> Result<Reading, Malformed> {
    check_json(body)?;
    Ok(Reading::Nothing(format!("{forge}'s event `{name}` starts nothing in Hookspool")))
}

pub(super) fn owned(text: &Option<Cow<'_, str>>) -> Option<String> {
    text.as_deref().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A text, unless the forge says nothing with it.
pub(super) fn said(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// Why a repository's new name starts nothing, and what is to be done about it.
pub(super) fn moved(former: &str, now: &str) -> Unread {
    Unread::Other(format!("{former} is {now} now; change `repository` where repositories/*.toml says {former}"))
}

/// A list of which as many are kept as an event may list, and one more, by which it is known not to be whole.
pub(super) fn listed<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    Option::<Listed<T>>::deserialize(deserializer).map(|list| list.map(|list| list.0))
}

struct Listed<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Listed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keeper<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Keeper<T> {
            type Value = Listed<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<Self::Value, S::Error> {
                let mut kept = Vec::new();
                while kept.len() <= MAX_COMMITS {
                    let Some(item) = items.next_element()? else { return Ok(Listed(kept)) };
                    kept.push(item);
                }
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Listed(kept))
            }
        }
        deserializer.deserialize_seq(Keeper(PhantomData))
    }
}

/// Whether a delivery that tells of so many changes is read.
pub(super) fn few_enough(changes: usize) -> Result<(), Unread> {
    if changes <= MAX_EVENTS {
        return Ok(());
    }
    Err(Unread::Other(format!(
        "it tells of {changes} changes at once, of which at most {MAX_EVENTS} are read; `hookspool send` can tell of one"
    )))
}

/// A commit's id; the zero id and an absent one are `None`.
pub(super) fn commit_id(text: Option<&Cow<'_, str>>) -> Result<Option<Sha>, Unread> {
    match text.map(AsRef::as_ref) {
        None => Ok(None),
        Some(zeros) if zeros.bytes().all(|byte| byte == b'0') => Ok(None),
        Some(id) => id.parse().map(Some).map_err(shape),
    }
}

/// The same of a text that is owned.
pub(super) fn commit(text: Option<String>) -> Result<Option<Sha>, Unread> {
    commit_id(text.map(Cow::from).as_ref())
}

/// The paths of a commit's three lists, each once; `None` when the forge gave none of the lists.
pub(super) fn paths(lists: [&Option<Vec<Cow<'_, str>>>; 3]) -> Option<Vec<String>> {
    if lists.iter().all(|list| list.is_none()) {
        return None;
    }
    let mut paths: Vec<String> = lists.into_iter().flatten().flatten().map(|path| path.to_string()).collect();
    paths.sort();
    paths.dedup();
    Some(paths)
}

/// `Name <address>`, as git writes an author.
pub(super) fn author(raw: &str) -> Person {
    match raw.strip_suffix('>').and_then(|raw| raw.rsplit_once('<')) {
        Some((name, address)) => {
            Person { name: owned(&Some(name.trim().into())), login: None, email: owned(&Some(address.into())) }
        }
        None => Person { name: owned(&Some(raw.trim().into())), login: None, email: None },
    }
}
