//! What most deliveries of Bitbucket Server's say: the repository, and who did it.

use std::borrow::Cow;

use serde::Deserialize;

use crate::event::Person;
use crate::forges::reading::{Unread, owned, shape};
use crate::repository_name::RepositoryName;

#[derive(Deserialize)]
struct Link<'a> {
    #[serde(borrow)]
    href: Cow<'a, str>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Links<'a> {
    #[serde(borrow)]
    clone: Option<Vec<Link<'a>>>,
}

#[derive(Deserialize)]
pub(super) struct Repository<'a> {
    pub(super) id: Option<u64>,
    #[serde(borrow)]
    links: Option<Links<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Actor<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(rename = "emailAddress", borrow)]
    email_address: Option<Cow<'a, str>>,
    #[serde(rename = "displayName", borrow)]
    display_name: Option<Cow<'a, str>>,
}

/// The clone addresses name the repository; the http one holds `/scm/`, which is no part of its name.
pub(super) fn repository_name(repository: &Repository<'_>) -> Result<RepositoryName, Unread> {
    let links = repository.links.as_ref().and_then(|links| links.clone.as_deref()).unwrap_or_default();
    let by_name = |name: &str| links.iter().find(|link| link.name.as_deref() == Some(name));
    let link = by_name("ssh").or_else(|| by_name("http")).or_else(|| links.first());
    let link = link.ok_or_else(|| shape("the repository has no clone address"))?;
    link.href.replacen("/scm/", "/", 1).parse().map_err(shape)
}

pub(super) fn person(actor: Option<&Actor<'_>>) -> Person {
    Person {
        name: actor.and_then(|actor| owned(&actor.display_name)),
        login: actor.and_then(|actor| owned(&actor.name)),
        email: actor.and_then(|actor| owned(&actor.email_address)),
    }
}
