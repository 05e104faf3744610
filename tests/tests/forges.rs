//! Deliveries of every forge through the real receiver: what was really sent, several changes in one push, what people
//! say and publish, and the signatures of GitLab.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;

use hookspool_common::clock::{Clock, Instant, SystemClock};
use hookspool_common::event::{Event, Kind};
use hookspool_common::forges::{Dialect, Provider, Sent};
use hookspool_common::record::Answer;
use hookspool_common::secrets::Secret;
use hookspool_tests::receiver::{Installation, Post, RunningReceiver, secret};
use hookspool_tests::recordings::{self, Recording};
use serde_json::{Value, json};

/// The forge, and what it calls a push.
const FORGES: [(Provider, &str); 6] = [
    (Provider::Github, "push"),
    (Provider::Gitlab, "Push Hook"),
    (Provider::Gitea, "push"),
    (Provider::Forgejo, "push"),
    (Provider::Bitbucket, "repo:push"),
    (Provider::BitbucketServer, "repo:refs_changed"),
];

/// A secret that GitLab signs with, where it sends another one as it is.
const SIGNING_KEY: &[u8] = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// An installation whose source is this forge.
fn installation_for(provider: Provider) -> Installation {
    let installation = Installation::new().unwrap();
    let config = fs::read_to_string(installation.config()).unwrap();
    let provider = format!("provider = \"{}\"", provider.as_str());
    fs::write(installation.config(), config.replace("provider = \"github\"", &provider)).unwrap();
    installation
}

/// A receiver whose source is this forge and whose jobs want every push, tag and deleted branch of these repositories.
fn receiver_for(provider: Provider, repositories: &[String]) -> (Installation, RunningReceiver) {
    let installation = installation_for(provider);
    for (number, name) in repositories.iter().enumerate() {
        let text = format!(
            "repository = \"{name}\"\nsource = \"github\"\n[[job]]\nname = \"branches\"\nwhen = {{ event = \"push\", branch = \"**\" }}\nbuild = \"true\"\n\
             [[job]]\nname = \"tags\"\nwhen = {{ event = \"tag\", tag = \"**\" }}\nbuild = \"true\"\n\
             [[job]]\nname = \"gone\"\nwhen = {{ event = \"branch_deleted\", branch = \"**\" }}\nbuild = \"true\"\n"
        );
        installation.write_repository(&format!("r{number}"), &text).unwrap();
    }
    let receiver = installation.start().unwrap();
    (installation, receiver)
}

/// A receiver whose source is this forge, with this secret, and whose jobs want these kinds of event of every repository
/// that the recordings speak of.
fn receiver_of_recordings(
    provider: Provider,
    secret: &Secret,
    recordings: &[Recording],
    kinds: &[Kind],
) -> (Installation, RunningReceiver) {
    let installation = installation_for(provider);
    fs::write(installation.path().join("secrets/receiver/webhook"), secret.bytes()).unwrap();
    let events = recordings.iter().flat_map(|recording| &recording.events);
    let repositories: BTreeSet<String> = events.map(|event| event.repository.clone().unwrap().to_string()).collect();
    // A job for `schedule` has one.
    let kinds: Vec<&str> = kinds.iter().copied().filter(|kind| *kind != Kind::Schedule).map(Kind::as_str).collect();
    for (number, name) in repositories.iter().enumerate() {
        let text = format!(
            "repository = \"{name}\"\nsource = \"github\"\nclone = \"https://{name}.git\"\n\
             [[job]]\nname = \"wanted\"\nwhen = {{ event = {kinds:?} }}\nbuild = \"true\"\n"
        );
        installation.write_repository(&format!("recorded-{number}"), &text).unwrap();
    }
    let receiver = installation.start().unwrap();
    (installation, receiver)
}

/// The delivery under each of its signatures alone, and that changed.
fn forged(post: &Post, provider: Provider) -> Vec<Post> {
    let dialect = Dialect::Forge(provider);
    let headers = dialect.signature_headers();
    let unsigned = headers.iter().fold(post.clone(), |post, header| post.without(header));
    let signatures = headers.iter().filter_map(|header| Some((*header, post.header(header)?)));
    let changed = signatures.map(|(header, value)| {
        let (most, last) = value.split_at(value.len() - 1);
        unsigned.clone().and(header, format!("{most}{}", if last == "0" { "1" } else { "0" }))
    });
    changed.collect()
}

#[test]
fn every_recording_is_taken_by_a_signature_alone_and_stored_as_it_was_reviewed() {
    // Everything is wanted of a secret that is a token to GitLab, and tags alone of one that it signs with.
    let wanted = [(secret(), &Kind::ALL[..]), (Secret::new(SIGNING_KEY.to_vec()), &[Kind::Tag][..])];
    let mut stored = 0;
    for (provider, _) in FORGES {
        let recordings = recordings::of(provider);
        for (secret, kinds) in &wanted {
            let (installation, receiver) = receiver_of_recordings(provider, secret, &recordings, kinds);
            for Recording { name, event, body, events } in &recordings {
                let shown = format!("{} {name}", provider.as_str());
                let post = Post::signed_with(secret, provider, event, name, body.clone());
                for forged in forged(&post, provider) {
                    assert_eq!(receiver.post(&forged).unwrap().status, 401, "{shown}");
                }
                let answer = receiver.post(&post).unwrap();
                let record = installation.records().unwrap().pop().unwrap();
                let wanted: Vec<Event> = events.iter().filter(|event| kinds.contains(&event.kind)).cloned().collect();
                let expected = if wanted.is_empty() { (200, Answer::Ignored) } else { (202, Answer::Accepted) };
                assert_eq!((answer.status, record.answer), expected, "{shown}: {}", answer.body);
                assert_eq!(record.reason.is_some(), wanted.is_empty(), "{shown}: {:?}", record.reason);
                assert_eq!(record.provider_id.as_deref(), Some(name.as_str()), "{shown}");
                let proposed: Vec<Event> = record.proposals.into_iter().map(|proposal| proposal.event).collect();
                assert_eq!(proposed, wanted, "{shown}");
            }
            assert_eq!(installation.records().unwrap().len(), recordings.len(), "{}", provider.as_str());
        }
        stored += recordings.len();
    }
    println!("{stored} recordings were stored");
}

/// A push as GitHub, Gitea, Forgejo and Gogs send it; `number` makes it another one.
fn a_push(number: u8) -> String {
    json!({
        "ref": "refs/heads/ümläut+more&so=on", "after": format!("{number:040x}"),
        "repository": { "full_name": "octo/shop", "clone_url": "https://git.example.org/octo/shop.git" },
    })
    .to_string()
}

/// `body` in a form, every byte escaped.
fn form(body: &str) -> String {
    format!("payload={}", body.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>())
}

const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn a_form_is_signed_as_it_came_by_github_and_within_by_gitea_forgejo_and_gogs() {
    let hosts = ["git.example.org/octo/shop".to_owned()];
    for (provider, signs_what_is_within) in [(Provider::Github, false), (Provider::Gitea, true), (Provider::Forgejo, true)] {
        let (installation, receiver) = receiver_for(provider, &hosts);
        let post = |id: &str, signed: String, sent: String| {
            let post = Post::signed_by(provider, "push", id, signed).with("content-type", FORM).with_body(sent);
            receiver.post(&post).unwrap()
        };
        let (json, form) = (a_push(1), form(&a_push(1)));
        let (right, wrong) = if signs_what_is_within { (&json, &form) } else { (&form, &json) };
        let name = provider.as_str();
        assert_eq!(post("1", wrong.clone(), form.clone()).status, 401, "{name}");
        assert_eq!(post("1", right.clone(), form.replace("%75", "%76")).status, 401, "{name}");
        let answer = post("1", right.clone(), form.clone());
        assert_eq!((answer.status, answer.text("status").as_str()), (202, "accepted"), "{name}: {}", answer.body);
        let record = installation.records().unwrap().pop().unwrap();
        assert_eq!(record.proposals[0].event.branch.as_deref(), Some("ümläut+more&so=on"), "{name}");
        // The same bytes, signed as before, are the same delivery, in a form or not.
        if signs_what_is_within {
            let answer = receiver.post(&Post::signed_by(provider, "push", "2", json)).unwrap();
            assert_eq!(answer.text("status"), "duplicate", "{name}");
        }
    }
}

#[test]
fn gogs_is_understood_as_gitea_in_a_form_too() {
    let (_installation, receiver) = receiver_for(Provider::Gitea, &["git.example.org/octo/shop".to_owned()]);
    let signed = Post::signed_by(Provider::Gitea, "push", "1", a_push(1)).with("content-type", FORM).with_body(form(&a_push(1)));
    let signature = signed.header("x-gitea-signature").unwrap();
    let others = ["gitea", "forgejo"].map(|forge| ["event", "delivery", "signature"].map(|part| format!("x-{forge}-{part}")));
    let gogs = others.as_flattened().iter().fold(signed, |post, header| post.without(header));
    let gogs = gogs.and("x-gogs-event", "push").and("x-gogs-delivery", "1");
    let answer = receiver.post(&gogs.clone().and("x-gogs-signature", signature)).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(receiver.post(&gogs.and("x-gogs-signature", "00".repeat(32))).unwrap().status, 401);
}

fn takes_forms(provider: Provider) -> bool {
    Dialect::Forge(provider).takes(Some(FORM), b"payload=")
}

#[test]
fn a_forge_that_sends_no_forms_is_not_sent_one() {
    for (provider, push) in FORGES.into_iter().filter(|(provider, _)| !takes_forms(*provider)) {
        let (installation, receiver) = receiver_for(provider, &[]);
        let answer = receiver.post(&Post::signed_by(provider, push, "1", form("{}")).with("content-type", FORM)).unwrap();
        assert_eq!((answer.status, answer.text("status").as_str()), (415, "wrong_type"), "{}", provider.as_str());
        assert!(installation.records().unwrap().is_empty());
    }
    assert_eq!(FORGES.into_iter().filter(|(provider, _)| takes_forms(*provider)).count(), 3);
}

#[test]
fn every_change_of_one_push_to_bitbucket_is_an_event() {
    let (installation, receiver) = receiver_for(Provider::Bitbucket, &["bitbucket.org/octo/shop".to_owned()]);
    let (old, new) = ("a51241ae1f00cbe728930db48e890b18fd527f99", "c14c1bb05dfb1fdcdf06b31485fff61b0ea44277");
    let tip = |kind: &str, name: &str, hash: &str| json!({ "type": kind, "name": name, "target": { "hash": hash } });
    let body = json!({
        "push": { "changes": [
            { "new": tip("branch", "feature/x", new), "old": tip("branch", "feature/x", old), "created": false, "closed": false },
            { "new": tip("tag", "v1", new), "old": null, "created": true, "closed": false },
            { "new": null, "old": tip("branch", "gone", old), "created": false, "closed": true },
        ] },
        "repository": { "full_name": "octo/shop" }, "actor": { "nickname": "octocat" },
    });
    let answer = receiver.post(&Post::signed_by(Provider::Bitbucket, "repo:push", "three", body.to_string())).unwrap();
    let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, &json["jobs"]), (202, &json!(["branches", "tags", "gone"])));
    let record = installation.records().unwrap().pop().unwrap();
    let told: Vec<_> = record
        .proposals
        .iter()
        .map(|proposal| (proposal.event.kind, proposal.event.reference.clone().unwrap().to_string()))
        .collect();
    let expected = [(Kind::Push, "refs/heads/feature/x"), (Kind::Tag, "refs/tags/v1"), (Kind::BranchDeleted, "refs/heads/gone")];
    assert_eq!(told, expected.map(|(kind, reference)| (kind, reference.to_owned())));
    let gone = &record.proposals[2].event;
    assert_eq!((&gone.sha, gone.before.as_ref().unwrap().as_str()), (&None, old));
}

/// The project of GitLab that the tests below speak of.
fn project() -> Value {
    json!({ "id": 5, "git_http_url": "https://git.example.com/group/sub/shop.git" })
}

/// A receiver whose one repository has a job for `/deploy` in a comment, one for releases, and one for pushes to `main`.
fn receiver_of_talk(provider: Provider, repository: &str) -> (Installation, RunningReceiver) {
    let installation = installation_for(provider);
    let text = format!(
        "repository = \"{repository}\"\nsource = \"github\"\n\
         [[job]]\nname = \"on-comment\"\nwhen = {{ event = \"comment\", comment = \"/deploy\" }}\nbuild = \"true\"\n\
         [[job]]\nname = \"on-release\"\nwhen = {{ event = \"release\", tag = \"v*\" }}\nbuild = \"true\"\n\
         [[job]]\nname = \"on-push\"\nwhen = {{ event = \"push\", branch = \"main\" }}\nbuild = \"true\"\n"
    );
    installation.write_repository("talk", &text).unwrap();
    let receiver = installation.start().unwrap();
    (installation, receiver)
}

/// What the receiver answers: its status, and the jobs that are to run or the reason why there are none.
fn answer_to(receiver: &RunningReceiver, post: &Post) -> (u16, Value) {
    let answer = receiver.post(post).unwrap();
    let mut body: Value = serde_json::from_str(&answer.body).unwrap();
    let key = if answer.status == 202 { "jobs" } else { "reason" };
    (answer.status, body[key].take())
}

#[test]
fn comments_and_releases_of_every_forge_that_has_them_start_a_job() {
    let of_gitea = json!({ "full_name": "group/sub/shop", "clone_url": "https://git.example.com/group/sub/shop.git" });
    let of_server =
        json!({ "id": 84, "links": { "clone": [{ "href": "https://git.example.com/scm/group/sub/shop.git", "name": "http" }] } });
    let end = json!({ "id": "refs/heads/main", "repository": of_server });
    let note =
        json!({ "project": project(), "object_attributes": { "note": "/deploy", "action": "create" }, "issue": { "iid": 1 } });
    let gitea_comment = json!({ "action": "created", "issue": { "number": 1 }, "comment": { "body": "/deploy\nplease" }, "repository": of_gitea });
    let gitea_release = json!({ "action": "published", "release": { "tag_name": "v1" }, "repository": of_gitea });
    let gitlab_release = json!({ "action": "create", "tag": "v1", "project": project() });
    let cloud = json!({ "comment": { "content": { "raw": "/deploy" } }, "issue": { "id": 1 }, "repository": { "full_name": "octo/shop" } });
    let server = json!({ "comment": { "text": "/deploy" }, "pullRequest": { "id": 7, "fromRef": end, "toRef": end } });
    let ours = "git.example.com/group/sub/shop";
    let cases = [
        (Provider::Gitlab, ours, "Note Hook", &note, "on-comment"),
        (Provider::Gitlab, ours, "Release Hook", &gitlab_release, "on-release"),
        (Provider::Gitea, ours, "issue_comment", &gitea_comment, "on-comment"),
        (Provider::Gitea, ours, "release", &gitea_release, "on-release"),
        (Provider::Forgejo, ours, "issue_comment", &gitea_comment, "on-comment"),
        (Provider::Forgejo, ours, "release", &gitea_release, "on-release"),
        (Provider::Bitbucket, "bitbucket.org/octo/shop", "issue:comment_created", &cloud, "on-comment"),
        (Provider::BitbucketServer, ours, "pr:comment:added", &server, "on-comment"),
    ];
    for (provider, repository, event, body, job) in cases {
        let (_installation, receiver) = receiver_of_talk(provider, repository);
        let answer = answer_to(&receiver, &Post::signed_by(provider, event, "one", body.to_string()));
        assert_eq!(answer, (202, json!([job])), "{} {event}", provider.as_str());
    }
}

#[test]
fn a_system_hook_of_gitlab_starts_what_a_projects_own_would_and_tells_of_new_names() {
    let (_installation, receiver) = receiver_of_talk(Provider::Gitlab, "git.example.com/group/sub/shop");
    let told =
        |id: &str, body: Value| answer_to(&receiver, &Post::signed_by(Provider::Gitlab, "System Hook", id, body.to_string()));
    let (old, new) = ("a51241ae1f00cbe728930db48e890b18fd527f99", "c14c1bb05dfb1fdcdf06b31485fff61b0ea44277");
    let push = json!({ "event_name": "push", "ref": "refs/heads/main", "before": old, "after": new, "project": project() });
    assert_eq!(told("push", push), (202, json!(["on-push"])));
    let note = json!({ "object_kind": "note", "project": project(), "object_attributes": { "note": "/deploy" }, "commit": { "id": new } });
    assert_eq!(told("note", note), (202, json!(["on-comment"])));
    let update = json!({ "event_name": "repository_update", "project": project(), "changes": [], "refs": ["refs/heads/main"] });
    let (status, reason) = told("update", update);
    assert!(status == 200 && reason.as_str().unwrap().contains("choose push and tag push events"), "{reason}");
    let renamed = json!({ "event_name": "project_rename", "path_with_namespace": "group/store", "old_path_with_namespace": "group/sub/shop" });
    let why = "group/sub/shop is group/store now; change `repository` where repositories/*.toml says group/sub/shop";
    assert_eq!(told("rename", renamed), (200, json!(why)));
}

#[test]
fn a_signed_delivery_of_gitlab_counts_once_and_nothing_else_counts_at_all() {
    let installation = installation_for(Provider::Gitlab);
    let key = Secret::new(SIGNING_KEY.to_vec());
    let other_key = Secret::new(b"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_vec());
    fs::write(installation.path().join("secrets/receiver/webhook"), key.bytes()).unwrap();
    let text = "repository = \"git.example.com/group/sub/shop\"\nsource = \"github\"\n\
                [[job]]\nname = \"image\"\nwhen = { event = \"release\" }\nbuild = \"true\"\n";
    installation.write_repository("signed", text).unwrap();
    let receiver = installation.start().unwrap();
    let body = json!({ "action": "create", "tag": "v1", "project": project() }).to_string();
    let now = SystemClock.now();
    let sent = |seconds: i64, secret: &Secret| {
        let at = Instant::from_millis(now.millis() + seconds * 1000);
        Post::sent(Provider::Gitlab, &Sent { event: "Release Hook", id: "an-id", body: body.as_bytes(), at }, secret)
    };
    let status = |post: &Post| receiver.post(post).unwrap().status;
    let good = sent(0, &key);
    assert_eq!(status(&sent(-360, &key)), 401, "it was signed too long ago");
    assert_eq!(status(&sent(360, &key)), 401, "it is from the future");
    assert_eq!(status(&sent(0, &other_key)), 401, "another key signed it");
    assert_eq!(status(&good.clone().with_body(body.replace("v1", "v2"))), 401, "its body was changed");
    assert_eq!(status(&good.clone().with("webhook-id", "another-id")), 401, "its id was changed");
    assert_eq!(
        status(&good.clone().with("webhook-timestamp", (now.millis() / 1000 + 1).to_string())),
        401,
        "its time was changed"
    );
    let unsigned = good.clone().without("webhook-signature");
    assert_eq!(status(&unsigned), 401, "it is not signed");
    assert_eq!(status(&unsigned.and("x-gitlab-token", key.bytes())), 401, "the key itself was taken for a token");
    let accepted = receiver.post(&good).unwrap();
    assert_eq!((accepted.status, accepted.text("status")), (202, "accepted".to_owned()));
    let again = receiver.post(&sent(10, &key)).unwrap();
    assert_eq!((again.status, again.text("status")), (200, "duplicate".to_owned()));
    assert_eq!(again.text("delivery"), accepted.text("delivery"));
    assert_eq!(installation.records().unwrap().len(), 1);
}
