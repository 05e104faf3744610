//! Gitea's and Forgejo's deliveries, after docs.gitea.com and forgejo.org, "Webhooks". Gogs, from which both come, has
//! the same bodies under headers of its own.

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
use crate::signature::{self, Proof, SignatureError};

pub(super) const FORGE: Forge = Forge {
    name: "gitea",
    id_headers: &["x-gitea-delivery", "x-forgejo-delivery", "x-gogs-delivery"],
    signature_headers: &["x-gitea-signature", "x-forgejo-signature", "x-gogs-signature", HUB_SIGNATURE_HEADER],
    kept_headers: &[
        "content-type",
        "user-agent",
        "x-gitea-event",
        "x-forgejo-event",
        "x-gogs-event",
        "x-gitea-delivery",
        "x-forgejo-delivery",
        "x-gogs-delivery",
    ],
    signed_headers: &[],
    verify,
    read,
    headers_of_a_delivery,
};

/// Forgejo sends Gitea's headers beside its own.
pub(super) const FORGEJO: Forge = Forge { name: "forgejo", ..FORGE };

const EVENT_HEADERS: [&str; 3] = ["x-forgejo-event", "x-gitea-event", "x-gogs-event"];
/// Bare hex digits.
const SIGNATURE_HEADERS: [&str; 3] = ["x-forgejo-signature", "x-gitea-signature", "x-gogs-signature"];
/// Hex digits after `sha256=`, as GitHub's.
const HUB_SIGNATURE_HEADER: &str = "x-hub-signature-256";

#[derive(Deserialize)]
struct Repository<'a> {
    #[serde(borrow)]
    clone_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    html_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    full_name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct User<'a> {
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
    #[serde(borrow)]
    repository: Repository<'a>,
    #[serde(borrow)]
    pusher: Option<User<'a>>,
    #[serde(borrow)]
    commits: Option<Vec<RawCommit<'a>>>,
    #[serde(borrow)]
    head_commit: Option<RawCommit<'a>>,
    total_commits: Option<u64>,
}

#[derive(Deserialize)]
struct CreateOrDelete<'a> {
    #[serde(borrow)]
    sha: Option<Cow<'a, str>>,
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

fn verify(headers: &Headers, body: &[u8], secrets: &[Secret], _now: Instant) -> Result<Proof, SignatureError> {
    match SIGNATURE_HEADERS.iter().find_map(|name| headers.one(name).ok().flatten()) {
        Some(digits) => signature::verify_hex(digits, body, secrets),
        None => hub_signature::verify(headers, HUB_SIGNATURE_HEADER, body, secrets),
    }
}

fn headers_of_a_delivery(sent: &Sent<'_>, secret: &Secret) -> Headers {
    let digits = signature::hex(&signature::hmac_sha256(secret, sent.body));
    let mut headers = Headers::new();
    headers.add("content-type", "application/json");
    for forge in ["gitea", "forgejo"] {
        headers.add(&format!("x-{forge}-event"), sent.event);
        headers.add(&format!("x-{forge}-delivery"), sent.id);
        headers.add(&format!("x-{forge}-signature"), &digits);
    }
    headers
}

fn read(headers: &Headers, body: &[u8]) -> Result<Reading, Malformed> {
    let event = EVENT_HEADERS.iter().find_map(|name| headers.one(name).ok().flatten());
    let event: String = event.ok_or(Malformed::EventHeader("X-Gitea-Event"))?.chars().take(64).collect();
    let read = match event.as_str() {
        "push" => parse(body, push),
        "create" => parse(body, |delivery| create_or_delete(delivery, true)),
        "delete" => parse(body, |delivery| create_or_delete(delivery, false)),
        // Labels, reviews and the like come under names of their own in some versions, and have the same body.
        name if name == "pull_request" || name.starts_with("pull_request_") && !name.contains("comment") => {
            parse(body, pull_request)
        }
        _ => return nothing("Gitea", &event, body),
    };
    reading("Gitea", &event, read.map(|event| vec![event]))
}

fn repository_name(repository: &Repository<'_>) -> Result<RepositoryName, Unread> {
    let url = repository.clone_url.as_ref().or(repository.html_url.as_ref());
    url.ok_or_else(|| shape("the repository has no clone_url or html_url"))?.parse().map_err(shape)
}

fn person(user: Option<&User<'_>>) -> Person {
    let login = |user: &User<'_>| owned(&user.login).or_else(|| owned(&user.username));
    Person {
        name: user.and_then(|user| owned(&user.full_name).or_else(|| owned(&user.name))),
        login: user.and_then(login),
        email: user.and_then(|user| owned(&user.email)),
    }
}

fn commit(raw: &RawCommit<'_>, all_are_listed: bool) -> Result<Commit, Unread> {
    Ok(Commit {
        sha: commit_id(raw.id.as_ref())?.ok_or_else(|| shape("a commit has no id"))?,
        message: owned(&raw.message).unwrap_or_default(),
        author: person(raw.author.as_ref()),
        paths: paths([&raw.added, &raw.removed, &raw.modified]).filter(|_| all_are_listed),
    })
}

/// What is absent is zeros: `before` of a ref that is new, `after` of one that is gone. The newest commit comes first.
fn push(push: Push<'_>) -> Result<Event, Unread> {
    let reference: RefName = push.reference.parse().map_err(shape)?;
    let (before, after) = (commit_id(push.before.as_ref())?, commit_id(push.after.as_ref())?);
    let kind = match (reference.branch(), reference.tag(), &after) {
        (Some(_), _, Some(_)) => Kind::Push,
        (Some(_), _, None) => Kind::BranchDeleted,
        (_, Some(_), Some(_)) => Kind::Tag,
        (_, Some(_), None) => Kind::TagDeleted,
        _ => return Err(Unread::Other(format!("a push to `{reference}`, which is neither a branch nor a tag, starts nothing"))),
    };
    let listed = push.commits.as_deref().unwrap_or_default();
    let all_are_listed = push.total_commits.is_none_or(|total| total <= listed.len() as u64);
    let commits = listed.iter().rev().map(|raw| commit(raw, all_are_listed)).collect::<Result<Vec<_>, _>>()?;
    let tagged = push.head_commit.as_ref().filter(|_| kind == Kind::Tag).and_then(|head| head.id.as_ref());
    let mut event = Event::of(kind, "push").with_ref(reference);
    event.repository = Some(repository_name(&push.repository)?);
    event.sha = commit_id(tagged)?.or(after);
    event.created = Some(before.is_none() && !kind.is_deletion());
    event.before = before;
    event.pusher = person(push.pusher.as_ref());
    event.commits = push.commits.is_some().then_some(commits);
    Ok(event)
}

fn create_or_delete(delivery: CreateOrDelete<'_>, created: bool) -> Result<Event, Unread> {
    // The short name in some versions, the full one in others.
    let name = delivery.reference.as_ref();
    let reference = match delivery.ref_type.as_ref() {
        "branch" => RefName::of_branch(name.strip_prefix("refs/heads/").unwrap_or(name)),
        "tag" => RefName::of_tag(name.strip_prefix("refs/tags/").unwrap_or(name)),
        other => return Err(Unread::Other(format!("a {other:?} that is made or deleted starts nothing"))),
    };
    let reference = reference.map_err(shape)?;
    let kind = match (reference.tag().is_some(), created) {
        (false, true) => Kind::BranchCreated,
        (false, false) => Kind::BranchDeleted,
        (true, true) => Kind::Tag,
        (true, false) => Kind::TagDeleted,
    };
    let mut event = Event::of(kind, if created { "create" } else { "delete" }).with_ref(reference);
    event.repository = Some(repository_name(&delivery.repository)?);
    event.sha = commit_id(delivery.sha.as_ref())?.filter(|_| created);
    event.created = Some(created);
    event.pusher = person(delivery.sender.as_ref());
    Ok(event)
}

fn side(raw: &RawSide<'_>) -> Result<Side, Unread> {
    let name = raw.reference.as_ref();
    // When the branch is gone, `ref` is the pull request's own.
    let reference = if name.starts_with("refs/") { name.parse() } else { RefName::of_branch(name) };
    Ok(Side { reference: reference.map_err(shape)?, sha: commit_id(raw.sha.as_ref())? })
}

fn pull_request(delivery: PullRequestDelivery<'_>) -> Result<Event, Unread> {
    let request = &delivery.pull_request;
    let name_of = |side: &RawSide<'_>| side.repo.as_ref().and_then(|repo| owned(&repo.full_name));
    let head = side(&request.head)?;
    let reference = format!("refs/pull/{}/head", delivery.number).parse().map_err(shape)?;
    let mut event = Event::of(Kind::PullRequest, "pull_request").with_ref(reference);
    event.repository = Some(repository_name(&delivery.repository)?);
    event.sha.clone_from(&head.sha);
    event.pusher = person(delivery.sender.as_ref());
    event.pull_request = Some(PullRequest {
        number: delivery.number,
        action: delivery.action.to_string(),
        head,
        base: side(&request.base)?,
        labels: request.labels.iter().flatten().filter_map(|label| owned(&label.name)).collect(),
        from_fork: name_of(&request.base).map(|base| name_of(&request.head) != Some(base)),
    });
    Ok(event)
}
