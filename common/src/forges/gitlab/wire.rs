//! What most deliveries of GitLab's say: the project, and who did it.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::event::{Event, Kind, Person};
use crate::forges::reading::{Unread, owned, parse, shape};
use crate::git_name::RefName;
use crate::repository_name::RepositoryName;

#[derive(Deserialize)]
pub(super) struct Project<'a> {
    pub(super) id: Option<u64>,
    #[serde(borrow)]
    web_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    homepage: Option<Cow<'a, str>>,
    #[serde(borrow)]
    git_http_url: Option<Cow<'a, str>>,
}

pub(super) fn repository_name(project: &Project<'_>) -> Result<RepositoryName, Unread> {
    let url = project.git_http_url.as_ref().or(project.web_url.as_ref()).or(project.homepage.as_ref());
    url.ok_or_else(|| shape("the project has no git_http_url, web_url or homepage"))?.parse().map_err(shape)
}

#[derive(Deserialize)]
pub(super) struct User<'a> {
    pub(super) id: Option<u64>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    email: Option<Cow<'a, str>>,
    #[serde(borrow)]
    username: Option<Cow<'a, str>>,
}

pub(super) fn person(user: Option<&User<'_>>) -> Person {
    Person {
        name: user.and_then(|user| owned(&user.name)),
        login: user.and_then(|user| owned(&user.username)),
        // GitLab writes this where the user shows no address.
        email: user.and_then(|user| owned(&user.email)).filter(|email| email != "[REDACTED]"),
    }
}

#[derive(Deserialize)]
pub(super) struct Label {
    title: Option<String>,
}

pub(super) fn titles(labels: Option<Vec<Label>>) -> Vec<String> {
    labels.into_iter().flatten().filter_map(|label| label.title).collect()
}

/// What is around a delivery's subject.
#[derive(Deserialize)]
pub(super) struct Around<'a> {
    #[serde(borrow)]
    project: Option<Project<'a>>,
    /// The project once more, under other names; a job had nothing else before GitLab 15.
    #[serde(borrow)]
    repository: Option<Project<'a>>,
    #[serde(borrow)]
    user: Option<User<'a>>,
}

impl Around<'_> {
    /// The project's number.
    pub(super) fn project_id(&self) -> Option<u64> {
        self.project.as_ref()?.id
    }

    /// Who has this number, if it is the one who did it: GitLab names nobody else.
    pub(super) fn user_with(&self, id: Option<u64>) -> Person {
        person(self.user.as_ref().filter(|user| user.id.is_some() && user.id == id))
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
        event.repository = around.project.as_ref().or(around.repository.as_ref()).map(repository_name).transpose()?;
        event.pusher = person(around.user.as_ref());
        parse(body, |told| read(told, &around, event))
    })
}

/// The ref under which GitLab keeps a merge request's head.
pub(super) fn head_of(iid: u64) -> Result<RefName, Unread> {
    format!("refs/merge-requests/{iid}/head").parse().map_err(shape)
}
