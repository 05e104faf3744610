//! Pushes of every forge through the real receiver: what was really sent, and several changes in one push.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::PathBuf;

use hookspool_common::event::Kind;
use hookspool_common::forges::{Dialect, Provider, Reading};
use hookspool_common::record::Answer;
use hookspool_tests::programs::workspace;
use hookspool_tests::receiver::{Installation, Post, RunningReceiver};
use serde_json::json;

/// The forge, and what it calls a push and a tag.
const FORGES: [(Provider, &str, &str); 6] = [
    (Provider::Github, "push", "push"),
    (Provider::Gitlab, "Push Hook", "Tag Push Hook"),
    (Provider::Gitea, "push", "create"),
    (Provider::Forgejo, "push", "create"),
    (Provider::Bitbucket, "repo:push", "repo:push"),
    (Provider::BitbucketServer, "repo:refs_changed", "repo:refs_changed"),
];

/// A receiver whose source is this forge and whose jobs want every push and tag of these repositories.
fn receiver_for(provider: Provider, repositories: &[String]) -> (Installation, RunningReceiver) {
    let installation = Installation::new().unwrap();
    let config = fs::read_to_string(installation.config()).unwrap();
    let provider = format!("provider = \"{}\"", provider.as_str());
    fs::write(installation.config(), config.replace("provider = \"github\"", &provider)).unwrap();
    for (number, name) in repositories.iter().enumerate() {
        let text = format!(
            "repository = \"{name}\"\nsource = \"github\"\n[[job]]\nname = \"branches\"\nwhen = {{ event = \"push\", branch = \"**\" }}\nbuild = \"true\"\n\
             [[job]]\nname = \"tags\"\nwhen = {{ event = \"tag\", tag = \"**\" }}\nbuild = \"true\"\n"
        );
        installation.write_repository(&format!("r{number}"), &text).unwrap();
    }
    let receiver = installation.start().unwrap();
    (installation, receiver)
}

/// The recorded pushes and tags of a forge: the event's name, the file's name, and the body.
fn recordings(provider: Provider, push: &'static str, tag: &'static str) -> Vec<(&'static str, String, Vec<u8>)> {
    let folder = workspace().join("../shared/payloads").join(provider.as_str());
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("SKIPPED: ../shared/payloads/{} is not there", provider.as_str());
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let named = files.into_iter().filter_map(|file| {
        let name = file.file_stem()?.to_str()?.to_owned();
        let event = if name.starts_with("HookPush") { push } else { tag };
        (name.starts_with("HookPush") || name.starts_with("HookTag")).then(|| (event, name, fs::read(&file).unwrap()))
    });
    named.collect()
}

#[test]
fn every_recorded_push_and_tag_is_accepted_by_a_signature_alone() {
    for (provider, push, tag) in FORGES {
        let recordings = recordings(provider, push, tag);
        let repositories = recordings.iter().map(|(event, name, body)| {
            let mut headers = hookspool_common::headers::Headers::new();
            let post = Post::signed_by(provider, event, name, body.clone());
            for header in Dialect::Forge(provider).kept_headers() {
                post.header(header).into_iter().for_each(|value| headers.add(header, &value));
            }
            match Dialect::Forge(provider).read(&headers, body).unwrap() {
                Reading::Events(events) => events[0].repository.clone().unwrap().to_string(),
                Reading::Nothing(reason) => panic!("{name}: {reason}"),
            }
        });
        let mut repositories: Vec<String> = repositories.collect();
        repositories.sort();
        repositories.dedup();
        let (installation, receiver) = receiver_for(provider, &repositories);
        for (event, name, body) in &recordings {
            let (forge, post) = (provider.as_str(), Post::signed_by(provider, event, name, body.clone()));
            for header in Dialect::Forge(provider).signature_headers() {
                let Some(value) = post.header(header) else { continue };
                let forged =
                    Dialect::Forge(provider).signature_headers().iter().fold(post.clone(), |post, header| post.without(header));
                let forged = forged.and(header, format!("{}0", &value[..value.len() - 1].replace('0', "1")));
                assert_eq!(receiver.post(&forged).unwrap().status, 401, "{forge} {name}");
            }
            let answer = receiver.post(&post).unwrap();
            assert_eq!(answer.status, 202, "{forge} {name}: {}", answer.body);
        }
        let records = installation.records().unwrap();
        assert_eq!(records.len(), recordings.len(), "{}", provider.as_str());
        for record in records {
            assert_eq!(record.answer, Answer::Accepted, "{}: {:?}", provider.as_str(), record.reason);
            for event in record.proposals.iter().map(|proposal| &proposal.event) {
                assert!(event.is_consistent() && event.branch.is_some() != event.tag.is_some(), "{event:?}");
            }
        }
    }
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
    assert_eq!((answer.status, &json["jobs"]), (202, &json!(["branches", "tags"])));
    let record = installation.records().unwrap().pop().unwrap();
    let told: Vec<_> = record
        .proposals
        .iter()
        .map(|proposal| (proposal.event.kind, proposal.event.reference.clone().unwrap().to_string()))
        .collect();
    assert_eq!(told, [(Kind::Push, "refs/heads/feature/x".to_owned()), (Kind::Tag, "refs/tags/v1".to_owned())]);
}
