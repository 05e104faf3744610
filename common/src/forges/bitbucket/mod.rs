//! Bitbucket Cloud's deliveries, after support.atlassian.com, "Event payloads" and "Manage webhooks", "Secure webhooks".

use std::borrow::Cow;

use serde::Deserialize;

use super::reading::{Unread, author, commit_id, nothing, owned, parse, reading, shape};
use super::{Forge, Malformed, Reading, Sent, hub_signature};
use crate::clock::Instant;
use crate::event::{Commit, Event, Kind, Person, PullRequest, Side};
use crate::git_name::{RefName, Sha};
use crate::headers::Headers;
use crate::repository_name::RepositoryName;
use crate::secrets::Secret;
use crate::signature::{Proof, SignatureError};

pub(super) const FORGE: Forge = Forge {
    name: "bitbucket",
    id_headers: &[ID_HEADER],
    signature_headers: &[SIGNATURE_HEADER],
    kept_headers: &["content-type", "user-agent", EVENT_HEADER, ID_HEADER, "x-hook-uuid", "x-attempt-number"],
    signed_headers: &[],
    verify,
    read,
    headers_of_a_delivery,
};

const EVENT_HEADER: &str = "x-event-key";
const ID_HEADER: &str = "x-request-uuid";
const SIGNATURE_HEADER: &str = "x-hub-signature";

/// Bitbucket Cloud has one host.
const HOST: &str = "bitbucket.org";

#[derive(Deserialize)]
struct Repository<'a> {
    #[serde(borrow)]
    full_name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Actor<'a> {
    #[serde(borrow)]
    display_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    nickname: Option<Cow<'a, str>>,
    #[serde(borrow)]
    username: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct RawAuthor<'a> {
    #[serde(borrow)]
    raw: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Target<'a> {
    #[serde(borrow)]
    hash: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    author: Option<RawAuthor<'a>>,
}

#[derive(Deserialize)]
struct Tip<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    target: Option<Target<'a>>,
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    new: Option<Tip<'a>>,
    #[serde(borrow)]
    old: Option<Tip<'a>>,
    created: Option<bool>,
    forced: Option<bool>,
    truncated: Option<bool>,
    #[serde(borrow)]
    commits: Option<Vec<Target<'a>>>,
}

#[derive(Deserialize)]
struct Changes<'a> {
    #[serde(borrow)]
    changes: Vec<Change<'a>>,
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow)]
    push: Changes<'a>,
    #[serde(borrow)]
    repository: Repository<'a>,
    #[serde(borrow)]
    actor: Option<Actor<'a>>,
}

#[derive(Deserialize)]
struct Branch<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct End<'a> {
    #[serde(borrow)]
    branch: Branch<'a>,
    #[serde(borrow)]
    commit: Option<Target<'a>>,
    #[serde(borrow)]
    repository: Option<Repository<'a>>,
}

#[derive(Deserialize)]
struct RawPullRequest<'a> {
    id: u64,
    #[serde(borrow)]
    source: End<'a>,
    #[serde(borrow)]
    destination: End<'a>,
}

#[derive(Deserialize)]
struct PullRequestDelivery<'a> {
    #[serde(borrow)]
    pullrequest: RawPullRequest<'a>,
    #[serde(borrow)]
    repository: Repository<'a>,
    #[serde(borrow)]
    actor: Option<Actor<'a>>,
}

fn verify(headers: &Headers, body: &[u8], secrets: &[Secret], _now: Instant) -> Result<Proof, SignatureError> {
    hub_signature::verify(headers, SIGNATURE_HEADER, body, secrets)
}

fn headers_of_a_delivery(sent: &Sent<'_>, secret: &Secret) -> Headers {
    let mut headers = Headers::new();
    headers.add("content-type", "application/json");
    headers.add("user-agent", "Bitbucket-Webhooks/2.0");
    headers.add(EVENT_HEADER, sent.event);
    headers.add(ID_HEADER, sent.id);
    headers.add(SIGNATURE_HEADER, &hub_signature::of(sent.body, secret));
    headers
}

fn read(headers: &Headers, body: &[u8]) -> Result<Reading, Malformed> {
    let event = headers.one(EVENT_HEADER).ok().flatten().ok_or(Malformed::EventHeader("X-Event-Key"))?;
    let event: String = event.chars().take(64).collect();
    let read = match event.split_once(':') {
        Some(("repo", "push")) => parse(body, push),
        Some(("pullrequest", action)) if !action.starts_with("comment") => {
            parse(body, |delivery| pull_request(delivery, action, &event)).map(|event| vec![event])
        }
        _ => return nothing("Bitbucket", &event, body),
    };
    reading("Bitbucket", &event, read)
}

fn repository_name(repository: &Repository<'_>) -> Result<RepositoryName, Unread> {
    let name = repository.full_name.as_deref().ok_or_else(|| shape("the repository has no full_name"))?;
    format!("{HOST}/{name}").parse().map_err(shape)
}

fn person(actor: Option<&Actor<'_>>) -> Person {
    let login = |actor: &Actor<'_>| owned(&actor.nickname).or_else(|| owned(&actor.username));
    Person { name: actor.and_then(|actor| owned(&actor.display_name)), login: actor.and_then(login), email: None }
}

/// One event for each ref that the push changed.
fn push(push: Push<'_>) -> Result<Vec<Event>, Unread> {
    let repository = repository_name(&push.repository)?;
    let pusher = person(push.actor.as_ref());
    push.push.changes.iter().filter_map(|change| read_change(change, &repository, &pusher).transpose()).collect()
}

/// `None` for what is neither branch nor tag, such as Mercurial's bookmarks of old.
fn read_change(change: &Change<'_>, repository: &RepositoryName, pusher: &Person) -> Result<Option<Event>, Unread> {
    let tip = change.new.as_ref().or(change.old.as_ref()).ok_or_else(|| shape("a change has neither `new` nor `old`"))?;
    let (kind, reference) = match (tip.kind.as_ref(), change.new.is_some()) {
        ("branch" | "named_branch", true) => (Kind::Push, RefName::of_branch(&tip.name)),
        ("branch" | "named_branch", false) => (Kind::BranchDeleted, RefName::of_branch(&tip.name)),
        ("tag" | "annotated_tag", true) => (Kind::Tag, RefName::of_tag(&tip.name)),
        ("tag" | "annotated_tag", false) => (Kind::TagDeleted, RefName::of_tag(&tip.name)),
        _ => return Ok(None),
    };
    let hash_of = |tip: &Option<Tip<'_>>| {
        commit_id(tip.as_ref().and_then(|tip| tip.target.as_ref()).and_then(|target| target.hash.as_ref()))
    };
    // Bitbucket lists no paths, and at most five commits.
    let listed = change.commits.as_ref().filter(|_| change.truncated != Some(true));
    let commits = listed.map(|commits| commits.iter().rev().map(commit).collect::<Result<Vec<_>, _>>()).transpose()?;
    let mut event = Event::of(kind, "repo:push").with_ref(reference.map_err(shape)?);
    event.repository = Some(repository.clone());
    event.sha = hash_of(&change.new)?;
    event.before = hash_of(&change.old)?;
    event.created = change.created;
    event.forced = change.forced;
    event.pusher = pusher.clone();
    event.commits = commits;
    Ok(Some(event))
}

fn commit(target: &Target<'_>) -> Result<Commit, Unread> {
    let raw_author = target.author.as_ref().and_then(|author| author.raw.as_deref());
    Ok(Commit {
        sha: commit_id(target.hash.as_ref())?.ok_or_else(|| shape("a commit has no hash"))?,
        message: owned(&target.message).unwrap_or_default(),
        author: raw_author.map(author).unwrap_or_default(),
        paths: None,
    })
}

/// Bitbucket Cloud shows pull requests under no ref of the repository, and their commits cut short; so the branch is
/// what the event tells, where it is the repository's own.
fn pull_request(delivery: PullRequestDelivery<'_>, action: &str, name: &str) -> Result<Event, Unread> {
    let request = &delivery.pullrequest;
    let side = |end: &End<'_>| -> Result<Side, Unread> {
        let full: Option<Sha> = end.commit.as_ref().and_then(|commit| commit.hash.as_ref()?.parse().ok());
        Ok(Side { reference: RefName::of_branch(&end.branch.name).map_err(shape)?, sha: full })
    };
    let name_of = |end: &End<'_>| end.repository.as_ref().and_then(|repository| owned(&repository.full_name));
    let head = side(&request.source)?;
    let mut event = Event::of(Kind::PullRequest, name);
    event.repository = Some(repository_name(&delivery.repository)?);
    event.sha.clone_from(&head.sha);
    event.pusher = person(delivery.actor.as_ref());
    event.pull_request = Some(PullRequest {
        number: request.id,
        action: action.to_owned(),
        head,
        base: side(&request.destination)?,
        labels: Vec::new(),
        from_fork: name_of(&request.destination).map(|base| name_of(&request.source) != Some(base)),
    });
    Ok(event)
}
