//! Bitbucket Server's and Data Center's deliveries, after confluence.atlassian.com, "Event payload" and "Manage
//! webhooks", "Secure your webhook".

use std::borrow::Cow;

use serde::Deserialize;

use super::reading::{Unread, check_json, commit_id, nothing, owned, parse, reading, shape};
use super::{Forge, Malformed, Reading, Sent, hub_signature};
use crate::clock::Instant;
use crate::event::{Event, Kind, Person, PullRequest, Side};
use crate::git_name::RefName;
use crate::headers::Headers;
use crate::repository_name::RepositoryName;
use crate::secrets::Secret;
use crate::signature::{Proof, SignatureError};

pub(super) const FORGE: Forge = Forge {
    name: "bitbucket-server",
    id_headers: &[ID_HEADER],
    signature_headers: &[SIGNATURE_HEADER],
    kept_headers: &["content-type", "user-agent", EVENT_HEADER, ID_HEADER],
    signed_headers: &[],
    verify,
    read,
    headers_of_a_delivery,
};

const EVENT_HEADER: &str = "x-event-key";
const ID_HEADER: &str = "x-request-id";
const SIGNATURE_HEADER: &str = "x-hub-signature";

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
struct Repository<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    links: Option<Links<'a>>,
}

#[derive(Deserialize)]
struct Actor<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(rename = "emailAddress", borrow)]
    email_address: Option<Cow<'a, str>>,
    #[serde(rename = "displayName", borrow)]
    display_name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(rename = "refId", borrow)]
    ref_id: Cow<'a, str>,
    #[serde(rename = "fromHash", borrow)]
    from_hash: Option<Cow<'a, str>>,
    #[serde(rename = "toHash", borrow)]
    to_hash: Option<Cow<'a, str>>,
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow)]
    actor: Option<Actor<'a>>,
    #[serde(borrow)]
    repository: Repository<'a>,
    #[serde(borrow)]
    changes: Vec<Change<'a>>,
}

#[derive(Deserialize)]
struct End<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(rename = "latestCommit", borrow)]
    latest_commit: Option<Cow<'a, str>>,
    #[serde(borrow)]
    repository: Repository<'a>,
}

#[derive(Deserialize)]
struct RawPullRequest<'a> {
    id: u64,
    #[serde(rename = "fromRef", borrow)]
    from: End<'a>,
    #[serde(rename = "toRef", borrow)]
    to: End<'a>,
}

#[derive(Deserialize)]
struct PullRequestDelivery<'a> {
    #[serde(borrow)]
    actor: Option<Actor<'a>>,
    #[serde(rename = "pullRequest", borrow)]
    pull_request: RawPullRequest<'a>,
}

fn verify(headers: &Headers, body: &[u8], secrets: &[Secret], _now: Instant) -> Result<Proof, SignatureError> {
    hub_signature::verify(headers, SIGNATURE_HEADER, body, secrets)
}

fn headers_of_a_delivery(sent: &Sent<'_>, secret: &Secret) -> Headers {
    let mut headers = Headers::new();
    headers.add("content-type", "application/json; charset=utf-8");
    headers.add("user-agent", "Atlassian HttpClient hookspool");
    headers.add(EVENT_HEADER, sent.event);
    headers.add(ID_HEADER, sent.id);
    headers.add(SIGNATURE_HEADER, &hub_signature::of(sent.body, secret));
    headers
}

fn read(headers: &Headers, body: &[u8]) -> Result<Reading, Malformed> {
    let event = headers.one(EVENT_HEADER).ok().flatten().ok_or(Malformed::EventHeader("X-Event-Key"))?;
    let event: String = event.chars().take(64).collect();
    let read = match event.split_once(':') {
        Some(("repo", "refs_changed")) => parse(body, refs_changed),
        Some(("pr", action)) if !action.starts_with("comment") => {
            parse(body, |delivery| pull_request(delivery, action, &event)).map(|event| vec![event])
        }
        Some(("diagnostics", "ping")) => {
            check_json(body)?;
            Ok(vec![Event::of(Kind::Ping, &event)])
        }
        _ => return nothing("Bitbucket Server", &event, body),
    };
    reading("Bitbucket Server", &event, read)
}

/// The clone addresses name the repository; the http one holds `/scm/`, which is no part of its name.
fn repository_name(repository: &Repository<'_>) -> Result<RepositoryName, Unread> {
    let links = repository.links.as_ref().and_then(|links| links.clone.as_deref()).unwrap_or_default();
    let by_name = |name: &str| links.iter().find(|link| link.name.as_deref() == Some(name));
    let link = by_name("ssh").or_else(|| by_name("http")).or_else(|| links.first());
    let link = link.ok_or_else(|| shape("the repository has no clone address"))?;
    link.href.replacen("/scm/", "/", 1).parse().map_err(shape)
}

fn person(actor: Option<&Actor<'_>>) -> Person {
    Person {
        name: actor.and_then(|actor| owned(&actor.display_name)),
        login: actor.and_then(|actor| owned(&actor.name)),
        email: actor.and_then(|actor| owned(&actor.email_address)),
    }
}

/// One event for each ref that the push changed. The newest commits that it lists may be of any of these, so none is
/// taken for any.
fn refs_changed(push: Push<'_>) -> Result<Vec<Event>, Unread> {
    let repository = repository_name(&push.repository)?;
    let pusher = person(push.actor.as_ref());
    let read = |change: &Change<'_>| -> Result<Option<Event>, Unread> {
        let reference: RefName = change.ref_id.parse().map_err(shape)?;
        let (before, after) = (commit_id(change.from_hash.as_ref())?, commit_id(change.to_hash.as_ref())?);
        let deleted = change.kind.as_deref() == Some("DELETE") || after.is_none();
        let kind = match (reference.branch(), reference.tag(), deleted) {
            (Some(_), _, false) => Kind::Push,
            (Some(_), _, true) => Kind::BranchDeleted,
            (_, Some(_), false) => Kind::Tag,
            (_, Some(_), true) => Kind::TagDeleted,
            _ => return Ok(None),
        };
        let mut event = Event::of(kind, "repo:refs_changed").with_ref(reference);
        event.repository = Some(repository.clone());
        event.sha = after.filter(|_| !deleted);
        event.created = Some(before.is_none() && !deleted);
        event.before = before;
        event.pusher = pusher.clone();
        Ok(Some(event))
    };
    push.changes.iter().filter_map(|change| read(change).transpose()).collect()
}

fn pull_request(delivery: PullRequestDelivery<'_>, action: &str, name: &str) -> Result<Event, Unread> {
    let request = &delivery.pull_request;
    let side = |end: &End<'_>| -> Result<Side, Unread> {
        Ok(Side { reference: end.id.parse().map_err(shape)?, sha: commit_id(end.latest_commit.as_ref())? })
    };
    let head = side(&request.from)?;
    let reference = format!("refs/pull-requests/{}/from", request.id).parse().map_err(shape)?;
    let mut event = Event::of(Kind::PullRequest, name).with_ref(reference);
    event.repository = Some(repository_name(&request.to.repository)?);
    event.sha.clone_from(&head.sha);
    event.pusher = person(delivery.actor.as_ref());
    event.pull_request = Some(PullRequest {
        number: request.id,
        action: action.to_owned(),
        head,
        base: side(&request.to)?,
        labels: Vec::new(),
        from_fork: request.from.repository.id.zip(request.to.repository.id).map(|(from, to)| from != to),
    });
    Ok(event)
}
