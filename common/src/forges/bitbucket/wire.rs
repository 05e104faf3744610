//! What every delivery of Bitbucket Cloud's says: the repository, and who did it.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::event::{Event, Kind, Person};
use crate::forges::reading::{Unread, owned, parse, shape};
use crate::repository_name::RepositoryName;

/// Bitbucket Cloud has one host.
pub(super) const HOST: &str = "bitbucket.org";

#[derive(Deserialize)]
pub(super) struct Repository<'a> {
    #[serde(borrow)]
    full_name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct Actor<'a> {
    #[serde(borrow)]
    display_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    nickname: Option<Cow<'a, str>>,
    #[serde(borrow)]
    username: Option<Cow<'a, str>>,
}

pub(super) fn repository_name(repository: &Repository<'_>) -> Result<RepositoryName, Unread> {
    let name = repository.full_name.as_deref().ok_or_else(|| shape("the repository has no full_name"))?;
    format!("{HOST}/{name}").parse().map_err(shape)
}

pub(super) fn person(actor: Option<&Actor<'_>>) -> Person {
    let login = |actor: &Actor<'_>| owned(&actor.nickname).or_else(|| owned(&actor.username));
    Person { name: actor.and_then(|actor| owned(&actor.display_name)), login: actor.and_then(login), email: None }
}

/// What is around a delivery's subject.
#[derive(Deserialize)]
struct Around<'a> {
    #[serde(borrow)]
    repository: Repository<'a>,
    #[serde(borrow)]
    actor: Option<Actor<'a>>,
}

/// Reads the body once for what is around its subject, and once for the subject, which `read` adds to the event.
pub(super) fn about<T: DeserializeOwned>(
    body: &[u8],
    kind: Kind,
    name: &str,
    read: impl FnOnce(T, Event) -> Result<Event, Unread>,
) -> Result<Vec<Event>, Unread> {
    parse(body, |around: Around<'_>| {
        let mut event = Event::of(kind, name);
        event.repository = Some(repository_name(&around.repository)?);
        event.pusher = person(around.actor.as_ref());
        parse(body, |told| Ok(vec![read(told, event)?]))
    })
}

/// Addresses of one thing.
#[derive(Default, Deserialize)]
pub(super) struct Links {
    html: Option<Link>,
    pub(super) commit: Option<Link>,
}

#[derive(Deserialize)]
pub(super) struct Link {
    pub(super) href: String,
}

/// The address of the page for people.
pub(super) fn page(links: Option<Links>) -> Option<String> {
    links?.html.map(|link| link.href)
}

/// An account, where only its name counts.
#[derive(Deserialize)]
pub(super) struct Account {
    display_name: Option<String>,
    nickname: Option<String>,
}

pub(super) fn author(account: Option<Account>) -> Person {
    let (name, login) = account.map(|account| (account.display_name, account.nickname)).unwrap_or_default();
    Person { name, login, email: None }
}
