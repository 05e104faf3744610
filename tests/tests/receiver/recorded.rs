//! What GitHub really sent, and all of it under every name that GitHub has for an event.

use std::collections::BTreeSet;

use hookspool_common::event::Kind;
use hookspool_common::forges::Provider;
use hookspool_common::record::Answer;
use hookspool_common::repository_name::RepositoryName;
use hookspool_tests::receiver::{Installation, Post};
use hookspool_tests::recordings::{self, Recording};
use serde_json::Value;

/// GitHub's events (docs.github.com, "Webhook events and payloads").
const EVENTS: [&str; 60] = [
    "branch_protection_configuration",
    "branch_protection_rule",
    "check_run",
    "check_suite",
    "code_scanning_alert",
    "commit_comment",
    "create",
    "custom_property",
    "custom_property_values",
    "delete",
    "dependabot_alert",
    "deploy_key",
    "deployment",
    "deployment_protection_rule",
    "deployment_review",
    "deployment_status",
    "discussion",
    "discussion_comment",
    "fork",
    "github_app_authorization",
    "gollum",
    "installation",
    "installation_repositories",
    "installation_target",
    "issue_comment",
    "issues",
    "label",
    "marketplace_purchase",
    "member",
    "membership",
    "merge_group",
    "meta",
    "milestone",
    "org_block",
    "organization",
    "package",
    "page_build",
    "personal_access_token_request",
    "ping",
    "project",
    "projects_v2",
    "projects_v2_item",
    "public",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "pull_request_review_thread",
    "push",
    "registry_package",
    "release",
    "repository",
    "repository_advisory",
    "repository_ruleset",
    "secret_scanning_alert",
    "sponsorship",
    "star",
    "status",
    "team",
    "workflow_job",
    "workflow_run",
];

/// A configuration in which everything that a recording tells of is wanted.
fn wanting_everything(recordings: &[Recording]) -> Installation {
    let installation = Installation::new().unwrap();
    let mut names = BTreeSet::new();
    for Recording { body, .. } in recordings {
        let body: Value = serde_json::from_slice(body).unwrap();
        let urls = ["clone_url", "html_url", "url"].map(|key| body["repository"][key].as_str().unwrap_or_default().to_owned());
        let web =
            urls.iter().find(|url| !url.is_empty()).unwrap().replace("https://api.github.com/repos/", "https://github.com/");
        names.insert(web.parse::<RepositoryName>().unwrap().to_string());
    }
    let kinds: Vec<String> =
        Kind::ALL.iter().filter(|kind| **kind != Kind::Schedule).map(|kind| format!("\"{}\"", kind.as_str())).collect();
    for (number, name) in names.iter().enumerate() {
        let text = format!(
            "repository = \"{name}\"\nsource = \"github\"\nclone = \"https://{name}.git\"\n\
             [[job]]\nname = \"all\"\nwhen = [{{ event = [{}] }}]\nbuild = \"true\"\n",
            kinds.join(", ")
        );
        installation.write_repository(&format!("recorded-{number}"), &text).unwrap();
    }
    installation
}

#[test]
fn every_recorded_body_is_stored_as_what_it_is_and_no_tag_is_taken_for_a_branch() {
    let recordings = recordings::of(Provider::Github);
    let installation = wanting_everything(&recordings);
    let receiver = installation.start().unwrap();
    for Recording { name, event, body, .. } in &recordings {
        let answer = receiver.post(&Post::signed(event, name, body.clone())).unwrap();
        let record = installation.records().unwrap().pop().unwrap();
        assert_eq!((answer.status, record.answer), (202, Answer::Accepted), "{name}: {}", answer.body);
        assert_eq!(record.provider_id.as_deref(), Some(name.as_str()));
        let body: Value = serde_json::from_slice(body).unwrap();
        for event in record.proposals.iter().map(|proposal| &proposal.event) {
            let reference = event.reference.as_ref().map(ToString::to_string);
            let of_release = body["release"]["tag_name"].as_str().map(|tag| format!("refs/tags/{tag}"));
            if let Some(sent) = body["ref"].as_str().map(str::to_owned).or(of_release) {
                assert_eq!(reference.as_deref(), Some(&*sent), "{name}");
            }
            // What a deployment is of may be a branch, a tag or a commit.
            assert_eq!(reference.is_none(), event.kind == Kind::Deployment, "{name}");
            let reference = reference.unwrap_or_default();
            assert_eq!(event.branch.as_deref(), reference.strip_prefix("refs/heads/"), "{name}");
            assert_eq!(event.tag.as_deref(), reference.strip_prefix("refs/tags/"), "{name}");
            assert_eq!([Kind::Tag, Kind::Release].contains(&event.kind), reference.starts_with("refs/tags/"), "{name}");
        }
    }
    assert_eq!(installation.records().unwrap().len(), recordings.len());
}

#[test]
fn whatever_github_calls_a_signed_body_it_is_never_an_error() {
    let recordings = recordings::of(Provider::Github);
    let installation = wanting_everything(&recordings);
    let receiver = installation.start().unwrap();
    let mut connection = receiver.connect().unwrap();
    for event in EVENTS {
        for Recording { name, body, .. } in &recordings {
            // One byte more makes it other content, so that it is not only known to have been seen.
            let body = [body.as_slice(), " ".repeat(1 + event.len()).as_bytes(), b"\n"].concat();
            connection.send(&Post::signed(event, &format!("{event}-{name}"), body).bytes()).unwrap();
            let answer = connection.answer().unwrap();
            assert!([200, 202].contains(&answer.status), "{name} as {event}: {}", answer.body);
        }
    }
    for record in installation.records().unwrap() {
        for event in record.proposals.iter().map(|proposal| &proposal.event) {
            assert!(event.is_consistent(), "{event:?}");
        }
    }
}
