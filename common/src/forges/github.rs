//! GitHub's deliveries, after docs.github.com, "Webhook events and payloads" and "Validating webhook deliveries".

use std::borrow::Cow;

use serde::Deserialize;

use super::reading::{Unread, commit_id, nothing, owned, parse, paths, reading, shape};
use super::{Forge, Malformed, Reading, Sent, hub_signature};
use crate::clock::Instant;
use crate::event::{Commit, Event, Kind, Person, PullRequest, Side};
use crate::git_name::RefName;
use crate::headers::Headers;
use crate::repository_name::RepositoryName;
use crate::secrets::Secret;
use crate::signature::{Proof, SignatureError};

pub(super) const FORGE: Forge = Forge {
    name: "github",
    id_headers: &[ID_HEADER],
    signature_headers: &[SIGNATURE_HEADER],
    kept_headers: &["content-type", "user-agent", EVENT_HEADER, ID_HEADER, "x-github-hook-id"],
    signed_headers: &[],
    verify,
    read,
    headers_of_a_delivery,
};

const ID_HEADER: &str = "x-github-delivery";
const SIGNATURE_HEADER: &str = "x-hub-signature-256";
const EVENT_HEADER: &str = "x-github-event";

/// GitHub lists at most this many commits in a push; a list this long may have been cut off.
const MAX_LISTED_COMMITS: usize = 2048;

#[derive(Deserialize)]
struct Repository<'a> {
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
struct User<'a> {
    #[serde(borrow)]
    login: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    email: Option<Cow<'a, str>>,
    #[serde(borrow)]
    username: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct RawCommit<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    author: Option<User<'a>>,
    #[serde(borrow)]
    added: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    removed: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    modified: Option<Vec<Cow<'a, str>>>,
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(rename = "ref", borrow)]
    reference: Cow<'a, str>,
    #[serde(borrow)]
    before: Option<Cow<'a, str>>,
    #[serde(borrow)]
    after: Option<Cow<'a, str>>,
    created: Option<bool>,
    #[serde(default)]
    deleted: bool,
    forced: Option<bool>,
    #[serde(borrow)]
    repository: Repository<'a>,
    #[serde(borrow)]
    pusher: Option<User<'a>>,
    #[serde(borrow)]
    sender: Option<User<'a>>,
    #[serde(borrow)]
    commits: Option<Vec<RawCommit<'a>>>,
    #[serde(borrow)]
    head_commit: Option<RawCommit<'a>>,
}

#[derive(Deserialize)]
struct CreateOrDelete<'a> {
    #[serde(rename = "ref", borrow)]
    reference: Cow<'a, str>,
    #[serde(borrow)]
    ref_type: Cow<'a, str>,
    #[serde(borrow)]
    repository: Repository<'a>,
    #[serde(borrow)]
    sender: Option<User<'a>>,
}

#[derive(Deserialize)]
struct RawSide<'a> {
    #[serde(rename = "ref", borrow)]
    reference: Cow<'a, str>,
    #[serde(borrow)]
    sha: Option<Cow<'a, str>>,
    #[serde(borrow)]
    repo: Option<Repository<'a>>,
}

#[derive(Deserialize)]
struct Label<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct RawPullRequest<'a> {
    #[serde(borrow)]
    head: RawSide<'a>,
    #[serde(borrow)]
    base: RawSide<'a>,
    #[serde(borrow)]
    labels: Option<Vec<Label<'a>>>,
}

#[derive(Deserialize)]
struct PullRequestDelivery<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
    number: u64,
    #[serde(borrow)]
    pull_request: RawPullRequest<'a>,
    #[serde(borrow)]
    repository: Repository<'a>,
    #[serde(borrow)]
    sender: Option<User<'a>>,
}

#[derive(Deserialize)]
struct Ping<'a> {
    #[serde(borrow)]
    repository: Option<Repository<'a>>,
    #[serde(borrow)]
    sender: Option<User<'a>>,
}

fn verify(headers: &Headers, body: &[u8], secrets: &[Secret], _now: Instant) -> Result<Proof, SignatureError> {
    hub_signature::verify(headers, SIGNATURE_HEADER, body, secrets)
}

fn headers_of_a_delivery(sent: &Sent<'_>, secret: &Secret) -> Headers {
    let mut headers = Headers::new();
    headers.add("content-type", "application/json");
    headers.add("user-agent", "GitHub-Hookshot/hookspool");
    headers.add(EVENT_HEADER, sent.event);
    headers.add(ID_HEADER, sent.id);
    headers.add(SIGNATURE_HEADER, &hub_signature::of(sent.body, secret));
    headers
}

fn read(headers: &Headers, body: &[u8]) -> Result<Reading, Malformed> {
    let event = headers.one(EVENT_HEADER).ok().flatten().ok_or(Malformed::EventHeader("X-GitHub-Event"))?;
    let event: String = event.chars().take(64).collect();
    let read = match event.as_str() {
        "push" => parse(body, push),
        "create" => parse(body, |delivery| create_or_delete(delivery, true)),
        "delete" => parse(body, |delivery| create_or_delete(delivery, false)),
        "pull_request" => parse(body, pull_request),
        "ping" => parse(body, ping),
        _ => return nothing("GitHub", &event, body),
    };
    reading("GitHub", &event, read.map(|event| vec![event]))
}

/// The repository's name from whichever URL is given; the API's own URL names the host too.
fn repository_name(repository: &Repository<'_>) -> Result<RepositoryName, Unread> {
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
fn person(pusher: Option<&User<'_>>, sender: Option<&User<'_>>) -> Person {
    Person {
        name: pusher.and_then(|user| owned(&user.name)),
        login: sender.and_then(|user| owned(&user.login)),
        email: pusher.and_then(|user| owned(&user.email)),
    }
}

fn commit(raw: &RawCommit<'_>) -> Result<Commit, Unread> {
    let author = raw.author.as_ref();
    Ok(Commit {
        sha: commit_id(raw.id.as_ref())?.ok_or_else(|| shape("a commit has no id"))?,
        message: owned(&raw.message).unwrap_or_default(),
        author: Person {
            name: author.and_then(|user| owned(&user.name)),
            login: author.and_then(|user| owned(&user.username)),
            email: author.and_then(|user| owned(&user.email)),
        },
        paths: paths([&raw.added, &raw.removed, &raw.modified]),
    })
}

fn push(push: Push<'_>) -> Result<Event, Unread> {
    let reference: RefName = push.reference.parse().map_err(shape)?;
    let kind = match (reference.branch(), reference.tag(), push.deleted) {
        (Some(_), _, false) => Kind::Push,
        (Some(_), _, true) => Kind::BranchDeleted,
        (_, Some(_), false) => Kind::Tag,
        (_, Some(_), true) => Kind::TagDeleted,
        _ => return Err(Unread::Other(format!("a push to `{reference}`, which is neither a branch nor a tag, starts nothing"))),
    };
    let after = commit_id(push.after.as_ref())?;
    // For an annotated tag `after` is the tag object; the commit is the head commit.
    let tagged = push.head_commit.as_ref().filter(|_| kind == Kind::Tag).and_then(|head| head.id.as_ref());
    let sha = commit_id(tagged)?.or(after);
    if sha.is_none() && !kind.is_deletion() {
        return Err(shape("a push that deletes nothing has no `after`"));
    }
    let commits = match &push.commits {
        Some(listed) if listed.len() < MAX_LISTED_COMMITS => Some(listed.iter().map(commit).collect::<Result<Vec<_>, _>>()?),
        _ => None,
    };
    let mut event = Event::of(kind, "push").with_ref(reference);
    event.repository = Some(repository_name(&push.repository)?);
    event.sha = sha.filter(|_| !kind.is_deletion());
    event.before = commit_id(push.before.as_ref())?;
    event.created = push.created;
    event.forced = push.forced;
    event.pusher = person(push.pusher.as_ref(), push.sender.as_ref());
    event.commits = commits;
    Ok(event)
}

fn create_or_delete(delivery: CreateOrDelete<'_>, created: bool) -> Result<Event, Unread> {
    // Here `ref` is the short name, and GitHub does not say the commit.
    let (kind, reference) = match (delivery.ref_type.as_ref(), created) {
        ("branch", true) => (Kind::BranchCreated, RefName::of_branch(&delivery.reference)),
        ("branch", false) => (Kind::BranchDeleted, RefName::of_branch(&delivery.reference)),
        ("tag", true) => (Kind::Tag, RefName::of_tag(&delivery.reference)),
        ("tag", false) => (Kind::TagDeleted, RefName::of_tag(&delivery.reference)),
        (other, _) => {
            return Err(Unread::Other(format!(
                "a `{}` of a {other:?} starts nothing",
                if created { "create" } else { "delete" }
            )));
        }
    };
    let mut event = Event::of(kind, if created { "create" } else { "delete" }).with_ref(reference.map_err(shape)?);
    event.repository = Some(repository_name(&delivery.repository)?);
    event.created = Some(created);
    event.pusher = person(None, delivery.sender.as_ref());
    Ok(event)
}

fn side(raw: &RawSide<'_>) -> Result<Side, Unread> {
    Ok(Side { reference: RefName::of_branch(&raw.reference).map_err(shape)?, sha: commit_id(raw.sha.as_ref())? })
}

/// Whether the changes come from another repository. A head without repository is one whose fork was deleted.
fn from_fork(request: &RawPullRequest<'_>) -> Option<bool> {
    let base = request.base.repo.as_ref()?.full_name.as_deref()?;
    Some(request.head.repo.as_ref().and_then(|repo| repo.full_name.as_deref()) != Some(base))
}

fn pull_request(delivery: PullRequestDelivery<'_>) -> Result<Event, Unread> {
    let request = &delivery.pull_request;
    let labels = request.labels.as_ref().map(|labels| labels.iter().filter_map(|label| owned(&label.name)).collect());
    let reference = format!("refs/pull/{}/head", delivery.number).parse().map_err(shape)?;
    let head = side(&request.head)?;
    let mut event = Event::of(Kind::PullRequest, "pull_request").with_ref(reference);
    event.repository = Some(repository_name(&delivery.repository)?);
    event.sha = Some(head.sha.clone().ok_or_else(|| shape("the head has no sha"))?);
    event.pusher = person(None, delivery.sender.as_ref());
    event.pull_request = Some(PullRequest {
        number: delivery.number,
        action: delivery.action.chars().take(64).collect(),
        head,
        base: side(&request.base)?,
        labels: labels.unwrap_or_default(),
        from_fork: from_fork(request),
    });
    Ok(event)
}

fn ping(delivery: Ping<'_>) -> Result<Event, Unread> {
    let mut event = Event::of(Kind::Ping, "ping");
    event.repository = delivery.repository.as_ref().map(repository_name).transpose()?;
    event.pusher = person(None, delivery.sender.as_ref());
    Ok(event)
}

#[cfg(test)]
mod tests;
