//! What every delivery of GitHub's says: the repository, who did it, and what was done.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::event::{Event, Kind, Person};
use crate::forges::reading::{Unread, owned, parse, shape};
use crate::repository_name::RepositoryName;

#[derive(Deserialize)]
pub(super) struct Repository<'a> {
    #[serde(borrow)]
    clone_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    html_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    full_name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct User<'a> {
    #[serde(borrow)]
    pub(super) login: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) email: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) username: Option<Cow<'a, str>>,
}

/// The repository's name from whichever URL is given; the API's own URL names the host too.
pub(super) fn repository_name(repository: &Repository<'_>) -> Result<RepositoryName, Unread> {
    if let Some(url) = repository.clone_url.as_ref().or(repository.html_url.as_ref()) {
        return url.parse().map_err(shape);
    }
    let url = repository.url.as_deref().ok_or_else(|| shape("the repository has no clone_url, html_url or url"))?;
    let web_url = match (url.strip_prefix("https://api.github.com/repos/"), url.split_once("/api/v3/repos/")) {
        (Some(path), _) => format!("https://github.com/{path}"),
        (None, Some((host, path))) => format!("{host}/{path}"),
        (None, None) => url.to_owned(),
    };
    web_url.parse().map_err(shape)
}

/// The pusher's name and address come from `pusher`, the account from `sender`, which every delivery has.
pub(super) fn person(pusher: Option<&User<'_>>, sender: Option<&User<'_>>) -> Person {
    Person {
        name: pusher.and_then(|user| owned(&user.name)),
        login: sender.and_then(|user| owned(&user.login)),
        email: pusher.and_then(|user| owned(&user.email)),
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
    /// What was done, in GitHub's word.
    pub(super) fn action(&self) -> Result<String, Unread> {
        owned(&self.action).ok_or_else(|| shape("there is no `action`"))
    }

    /// The repository's `owner/name`.
    pub(super) fn full_name(&self) -> Option<&str> {
        self.repository.as_ref()?.full_name.as_deref()
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
        event.pusher = person(None, around.sender.as_ref());
        parse(body, |told| read(told, &around, event))
    })
}

/// An account, where only its name counts.
#[derive(Deserialize)]
pub(super) struct Account {
    pub(super) login: Option<String>,
}

/// The person behind an account; unknown when it is gone.
pub(super) fn author(account: Option<Account>) -> Person {
    Person { login: account.and_then(|account| account.login), ..Person::default() }
}
