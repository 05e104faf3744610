//! What every delivery of Gitea's and Forgejo's says: the repository, who did it, and what was done.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::event::{Event, Kind, Person};
use crate::forges::reading::{Unread, owned, parse, said, shape};
use crate::git_name::RefName;
use crate::repository_name::RepositoryName;

#[derive(Deserialize)]
pub(super) struct Repository<'a> {
    #[serde(borrow)]
    clone_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    html_url: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct User<'a> {
    #[serde(borrow)]
    login: Option<Cow<'a, str>>,
    #[serde(borrow)]
    full_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    email: Option<Cow<'a, str>>,
    #[serde(borrow)]
    username: Option<Cow<'a, str>>,
}

pub(super) fn repository_name(repository: &Repository<'_>) -> Result<RepositoryName, Unread> {
    let url = repository.clone_url.as_ref().or(repository.html_url.as_ref());
    url.ok_or_else(|| shape("the repository has no clone_url or html_url"))?.parse().map_err(shape)
}

pub(super) fn person(user: Option<&User<'_>>) -> Person {
    let login = |user: &User<'_>| owned(&user.login).or_else(|| owned(&user.username));
    Person {
        name: user.and_then(|user| owned(&user.full_name).or_else(|| owned(&user.name))),
        login: user.and_then(login),
        email: user.and_then(|user| owned(&user.email)),
    }
}

/// What is around a delivery's subject.
#[derive(Deserialize)]
pub(super) struct Around<'a> {
    #[serde(borrow)]
    action: Option<Cow<'a, str>>,
    #[serde(borrow)]
    repository: Option<Repository<'a>>,
    #[serde(borrow)]
    sender: Option<User<'a>>,
}

impl Around<'_> {
    /// What was done, in the forge's word.
    pub(super) fn action(&self) -> Result<String, Unread> {
        owned(&self.action).ok_or_else(|| shape("there is no `action`"))
    }
}

/// Reads the body once for what is around its subject, and once for the subject, which `read` adds to the event.
pub(super) fn about<T: DeserializeOwned>(
    body: &[u8],
    kind: Kind,
    name: &str,
    read: impl FnOnce(T, &Around<'_>, Event) -> Result<Event, Unread>,
) -> Result<Event, Unread> {
    parse(body, |around: Around<'_>| {
        let mut event = Event::of(kind, name);
        event.repository = around.repository.as_ref().map(repository_name).transpose()?;
        event.pusher = person(around.sender.as_ref());
        parse(body, |told| read(told, &around, event))
    })
}

/// The repository of a subject that has one of its own.
#[derive(Deserialize)]
pub(super) struct OwnRepository {
    clone_url: Option<String>,
    html_url: Option<String>,
    pub(super) full_name: Option<String>,
}

impl OwnRepository {
    pub(super) fn name(self) -> Result<RepositoryName, Unread> {
        let url = said(self.clone_url).or(said(self.html_url));
        url.ok_or_else(|| shape("the repository has no clone_url or html_url"))?.parse().map_err(shape)
    }
}

/// An account, where only its name counts.
#[derive(Deserialize)]
pub(super) struct Account {
    login: Option<String>,
    /// Gogs' name for it.
    username: Option<String>,
}

/// The person behind an account; unknown when it is gone.
pub(super) fn author(account: Option<Account>) -> Person {
    let login = account.and_then(|account| said(account.login).or(said(account.username)));
    Person { login, ..Person::default() }
}

/// The ref under which the forge keeps a request's head.
pub(super) fn head_of(number: u64) -> Result<RefName, Unread> {
    format!("refs/pull/{number}/head").parse().map_err(shape)
}
