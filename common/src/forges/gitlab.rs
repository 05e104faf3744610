//! GitLab's deliveries, after docs.gitlab.com, "Webhook events", "System hooks" and "Webhooks", "Validate payloads by
//! using a secret token".

use std::borrow::Cow;

use serde::Deserialize;

use super::content_type::JSON;
use super::reading::{Unread, commit_id, nothing, owned, parse, paths, reading, shape};
use super::{Forge, Malformed, Reading, Sent};
use crate::clock::Instant;
use crate::event::{Commit, Event, Kind, Person, PullRequest, Side};
use crate::git_name::RefName;
use crate::headers::Headers;
use crate::repository_name::RepositoryName;
use crate::secrets::Secret;
use crate::signature::{self, Proof, SignatureError};

pub(super) const FORGE: Forge = Forge {
    name: "gitlab",
    content_types: &[JSON],
    // The first is a delivery's own, since GitLab 17.4; the second that of the event, in older ones.
    id_headers: &["idempotency-key", "x-gitlab-event-uuid"],
    signature_headers: &[TOKEN_HEADER],
    kept_headers: &["content-type", "user-agent", EVENT_HEADER, "idempotency-key", "x-gitlab-event-uuid", "x-gitlab-instance"],
    signed_headers: &[],
    verify,
    read,
    headers_of_a_delivery,
};

const EVENT_HEADER: &str = "x-gitlab-event";
const TOKEN_HEADER: &str = "x-gitlab-token";

#[derive(Deserialize)]
struct Project<'a> {
    #[serde(borrow)]
    web_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    git_http_url: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Author<'a> {
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
    author: Option<Author<'a>>,
    #[serde(borrow)]
    added: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    modified: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    removed: Option<Vec<Cow<'a, str>>>,
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
    checkout_sha: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_username: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_email: Option<Cow<'a, str>>,
    #[serde(borrow)]
    project: Project<'a>,
    #[serde(borrow)]
    commits: Option<Vec<RawCommit<'a>>>,
    total_commits_count: Option<u64>,
}

#[derive(Deserialize)]
struct Label<'a> {
    #[serde(borrow)]
    title: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct LastCommit<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct MergeRequestAttributes<'a> {
    iid: u64,
    #[serde(borrow)]
    action: Option<Cow<'a, str>>,
    #[serde(borrow)]
    source_branch: Cow<'a, str>,
    #[serde(borrow)]
    target_branch: Cow<'a, str>,
    source_project_id: Option<u64>,
    target_project_id: Option<u64>,
    #[serde(borrow)]
    last_commit: Option<LastCommit<'a>>,
}

#[derive(Deserialize)]
struct MergeRequest<'a> {
    #[serde(borrow)]
    user: Option<Author<'a>>,
    #[serde(borrow)]
    project: Project<'a>,
    #[serde(borrow)]
    object_attributes: MergeRequestAttributes<'a>,
    #[serde(borrow)]
    labels: Option<Vec<Label<'a>>>,
}

/// What a System Hook, whose header is the same for every event, calls its event in the body.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    object_kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event_name: Option<Cow<'a, str>>,
}

/// GitLab sends the secret itself; what it sent is then all that vouches for the body.
fn verify(headers: &Headers, body: &[u8], secrets: &[Secret], _now: Instant) -> Result<Proof, SignatureError> {
    let token = headers.one(TOKEN_HEADER).ok().flatten().ok_or(SignatureError)?;
    signature::verify_token(token.as_bytes(), body, secrets)
}

fn headers_of_a_delivery(sent: &Sent<'_>, secret: &Secret) -> Headers {
    let mut headers = Headers::new();
    headers.add("content-type", "application/json");
    headers.add("user-agent", "GitLab/hookspool");
    headers.add(EVENT_HEADER, sent.event);
    headers.add("idempotency-key", sent.id);
    headers.add(TOKEN_HEADER, &String::from_utf8_lossy(secret.bytes()));
    headers
}

fn read(headers: &Headers, body: &[u8]) -> Result<Reading, Malformed> {
    let event = headers.one(EVENT_HEADER).ok().flatten().ok_or(Malformed::EventHeader("X-Gitlab-Event"))?;
    let mut event: String = event.chars().take(64).collect();
    if event == "System Hook" {
        let named = parse(body, |named: Named<'_>| Ok(owned(&named.object_kind).or_else(|| owned(&named.event_name))));
        event = match named {
            Ok(name) => system_hook(name.as_deref().unwrap_or_default()),
            Err(unread) => return reading("GitLab", "System Hook", Err(unread)),
        };
    }
    let read = match event.as_str() {
        "Push Hook" | "Tag Push Hook" => parse(body, |delivery| push(delivery, &event)),
        "Merge Request Hook" => parse(body, merge_request),
        _ => return nothing("GitLab", &event, body),
    };
    reading("GitLab", &event, read.map(|event| vec![event]))
}

/// The header that the same event has in a project's webhook.
fn system_hook(name: &str) -> String {
    match name {
        "push" => "Push Hook".to_owned(),
        "tag_push" => "Tag Push Hook".to_owned(),
        "merge_request" => "Merge Request Hook".to_owned(),
        other => format!("System Hook {other}"),
    }
}

fn repository_name(project: &Project<'_>) -> Result<RepositoryName, Unread> {
    let url = project.git_http_url.as_ref().or(project.web_url.as_ref());
    url.ok_or_else(|| shape("the project has no git_http_url or web_url"))?.parse().map_err(shape)
}

fn commit(raw: &RawCommit<'_>, all_are_listed: bool) -> Result<Commit, Unread> {
    let author = raw.author.as_ref();
    Ok(Commit {
        sha: commit_id(raw.id.as_ref())?.ok_or_else(|| shape("a commit has no id"))?,
        message: owned(&raw.message).unwrap_or_default(),
        author: Person {
            name: author.and_then(|author| owned(&author.name)),
            login: None,
            email: author.and_then(|author| owned(&author.email)),
        },
        paths: paths([&raw.added, &raw.modified, &raw.removed]).filter(|_| all_are_listed),
    })
}

/// GitLab says a commit's id as zeros where there is none, and lists at most twenty commits.
fn push(push: Push<'_>, name: &str) -> Result<Event, Unread> {
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
    let all_are_listed = push.total_commits_count.is_none_or(|total| total <= listed.len() as u64);
    let commits = listed.iter().map(|raw| commit(raw, all_are_listed)).collect::<Result<Vec<_>, _>>()?;
    let mut event = Event::of(kind, name).with_ref(reference);
    event.repository = Some(repository_name(&push.project)?);
    // For an annotated tag `after` is the tag object, and `checkout_sha` the commit.
    event.sha = commit_id(push.checkout_sha.as_ref())?.or(after).filter(|_| !kind.is_deletion());
    event.created = Some(before.is_none() && !kind.is_deletion());
    event.before = before;
    event.pusher = Person { name: owned(&push.user_name), login: owned(&push.user_username), email: owned(&push.user_email) };
    event.commits = push.commits.is_some().then_some(commits);
    Ok(event)
}

fn merge_request(delivery: MergeRequest<'_>) -> Result<Event, Unread> {
    let request = &delivery.object_attributes;
    let branch = |name: &str| RefName::of_branch(name).map_err(shape);
    let sha = commit_id(request.last_commit.as_ref().and_then(|commit| commit.id.as_ref()))?;
    let labels = delivery.labels.iter().flatten().filter_map(|label| owned(&label.title)).collect();
    let user = delivery.user.as_ref();
    let mut event = Event::of(Kind::PullRequest, "Merge Request Hook");
    event = event.with_ref(format!("refs/merge-requests/{}/head", request.iid).parse().map_err(shape)?);
    event.repository = Some(repository_name(&delivery.project)?);
    event.sha.clone_from(&sha);
    event.pusher = Person {
        name: user.and_then(|user| owned(&user.name)),
        login: user.and_then(|user| owned(&user.username)),
        // GitLab writes this where the user shows no address.
        email: user.and_then(|user| owned(&user.email)).filter(|email| email != "[REDACTED]"),
    };
    event.pull_request = Some(PullRequest {
        number: request.iid,
        // A test from GitLab's settings has none.
        action: owned(&request.action).unwrap_or_default(),
        head: Side { reference: branch(&request.source_branch)?, sha },
        base: Side { reference: branch(&request.target_branch)?, sha: None },
        labels,
        from_fork: request.source_project_id.zip(request.target_project_id).map(|(source, target)| source != target),
    });
    Ok(event)
}
