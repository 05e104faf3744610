//! What GitHub tells of beside pushes: releases, packages, comments, workflows, deployments and merge queues run jobs, each
//! at the commit that is certain. Everything through the real receiver and worker, with a real git repository.

use hookspool_tests::server::{Delivery, Push, Server, text};
use serde_json::{Value, json};

const JOBS: &str = r#"
[[job]]
name = "release"
when = [{ event = "release", action = "published", tag = "v*" }]
build = "git rev-parse HEAD >$OUT/release.sha; env >$OUT/release.env"

[[job]]
name = "deploy"
when = [{ event = "comment", action = "created", comment = "/deploy*" }]
build = "git rev-parse HEAD >$OUT/deploy.sha; env >$OUT/deploy.env; cat $HOOKSPOOL_EVENT >$OUT/deploy.json"
secrets = ["TOKEN"]

[[job]]
name = "after-ci"
when = [{ event = "pipeline", name = "CI", status = "success", branch = "master" }]
build = "git rev-parse HEAD >$OUT/after-ci.sha; env >$OUT/after-ci.env"

[[job]]
name = "image"
when = [{ event = "package", name = "web" }]
build = "cat $HOOKSPOOL_EVENT >$OUT/image.json"

[[job]]
name = "production"
when = [{ event = "deployment", environment = "production", action = "created" }]
build = "git rev-parse HEAD >$OUT/production.sha"

[[job]]
name = "retest"
when = [{ event = "check", action = "rerequested", name = "tests" }]
build = "git rev-parse HEAD >$OUT/retest.sha"

[[job]]
name = "queue"
when = [{ event = "push", branch = "gh-readonly-queue/**" }]
build = "git rev-parse HEAD >$OUT/queue.sha; echo once >>$OUT/queue.count"
"#;

fn jobs_of(server: &Server) -> Vec<String> {
    server.runs().iter().map(|run| text(&run["job"])).collect()
}

fn variable(env: &str, name: &str) -> Option<String> {
    env.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).map(str::to_owned)
}

/// Posts what no job is to come of; gives the reason.
fn ignored(server: &Server, delivery: &Delivery) -> String {
    let answer = server.post(delivery);
    assert_eq!((answer.status, answer.text("status").as_str()), (200, "ignored"), "{}", answer.body);
    answer.text("reason")
}

fn release(action: &str, tag: &str, draft: bool) -> Delivery {
    let release =
        json!({ "tag_name": tag, "target_commitish": "master", "name": "A release", "draft": draft, "prerelease": false });
    Delivery::new("release", json!({ "action": action, "release": release }))
}

#[test]
fn a_release_runs_at_its_tag() {
    let server = Server::new(JOBS);
    let sha = server.laptop.head();
    server.laptop.git(&["tag", "--annotate", "--message", "A release", "v1"]);
    server.laptop.push("refs/tags/v1");
    // The release's target has moved on; the tag has not.
    server.laptop.push_commit("master", "After the release");
    server.deliver_and_settle(&release("published", "v1", false));
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert_eq!(jobs_of(&server), ["release"]);
    assert_eq!(server.written("release.sha"), Some(sha));
    let env = server.written("release.env").unwrap();
    assert_eq!(variable(&env, "HOOKSPOOL_TAG").as_deref(), Some("v1"));
    assert_eq!(variable(&env, "HOOKSPOOL_EVENT_KIND").as_deref(), Some("release"));
    assert_eq!(variable(&env, "HOOKSPOOL_BRANCH"), None);
    assert!(ignored(&server, &release("edited", "v1", false)).contains("action \"edited\" does not fit"));
    assert!(ignored(&server, &release("published", "v2", true)).contains("the event has no tag"));
}

#[test]
fn a_release_whose_tag_is_not_on_the_forge_is_refused() {
    let server = Server::new(JOBS);
    server.deliver_and_settle(&release("published", "v1", false));
    assert_eq!(server.outcome(1), ("refused".to_owned(), "refs/tags/v1 is not on the forge any more".to_owned()));
}

fn comment(text: &str, is_request: bool) -> Delivery {
    let mut issue = json!({ "number": 7, "title": "Please deploy", "state": "open", "labels": [], "user": { "login": "lisa" } });
    if is_request {
        issue["pull_request"] = json!({});
    }
    let comment = json!({ "body": text, "user": { "login": "lisa" }, "author_association": "MEMBER" });
    Delivery::new("issue_comment", json!({ "action": "created", "issue": issue, "comment": comment }))
}

#[test]
fn a_comment_on_an_issue_runs_its_job_at_the_default_branch() {
    let server = Server::new(JOBS);
    server.write_secret("TOKEN", "open sesame\n");
    let sha = server.laptop.push_commit("master", "To be deployed");
    server.laptop.push_commit("other", "Not this");
    server.deliver_and_settle(&comment("/deploy staging\r\nthank you", false));
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert_eq!(server.written("deploy.sha"), Some(sha));
    let event: Value = serde_json::from_str(&server.written("deploy.json").unwrap()).unwrap();
    assert_eq!(event["comment"]["body"], "/deploy staging\r\nthank you");
    assert_eq!((&event["comment"]["association"], &event["issue"]["number"]), (&json!("MEMBER"), &json!(7)));
    let env = server.written("deploy.env").unwrap();
    assert_eq!(variable(&env, "TOKEN").as_deref(), Some("open sesame"));
    let reason = ignored(&server, &comment("I think we should\n/deploy", false));
    assert!(reason.contains("comment \"I think we should\" does not fit"), "{reason}");
}

#[test]
fn a_comment_on_a_forks_request_runs_nothing_of_the_forks_with_secrets() {
    let server = Server::new(JOBS);
    server.write_secret("TOKEN", "open sesame\n");
    server.laptop.commit("From a fork");
    server.laptop.push("HEAD:refs/pull/7/head");
    server.deliver_and_settle(&comment("/deploy", true));
    let (state, reason) = server.outcome(1);
    assert_eq!(state, "refused");
    assert!(reason.contains("fork") && reason.contains("job `deploy` does not say `forks = true`"), "{reason}");
    assert_eq!(server.written("deploy.sha"), None);
}

#[test]
fn a_comment_on_a_request_of_the_repository_itself_runs_at_its_head() {
    let server = Server::new(JOBS);
    server.write_secret("TOKEN", "open sesame\n");
    let sha = server.laptop.push_commit("topic", "A proposal");
    server.laptop.push("HEAD:refs/pull/7/head");
    server.deliver_and_settle(&comment("/deploy", true));
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert_eq!(server.written("deploy.sha"), Some(sha));
}

#[test]
fn a_comment_on_an_old_commit_runs_at_the_default_branch_and_has_the_commit_as_a_fact() {
    let server = Server::new(JOBS);
    server.write_secret("TOKEN", "open sesame\n");
    let old = server.laptop.push_commit("master", "With a hole");
    let sha = server.laptop.push_commit("master", "Mended");
    let comment = json!({ "body": "/deploy", "user": { "login": "mallory" }, "author_association": "NONE", "commit_id": old });
    server.deliver_and_settle(&Delivery::new("commit_comment", json!({ "action": "created", "comment": comment })));
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert_eq!((server.written("deploy.sha"), text(&server.show(1)["sha"])), (Some(sha.clone()), sha.clone()));
    assert_eq!(variable(&server.written("deploy.env").unwrap(), "HOOKSPOOL_SHA"), Some(sha));
    let event: Value = serde_json::from_str(&server.written("deploy.json").unwrap()).unwrap();
    assert_eq!(event["sha"], json!(old));
}

#[test]
fn a_comment_on_a_request_that_was_merged_deploys_no_past() {
    let server = Server::new(JOBS);
    server.write_secret("TOKEN", "open sesame\n");
    let sha = server.laptop.push_commit("master", "A proposal that was merged");
    server.laptop.push("HEAD:refs/pull/7/head");
    server.laptop.push_commit("master", "What came after it");
    server.deliver_and_settle(&comment("/deploy", true));
    let wanted = format!(
        "commit {} is the tip of no branch now, so what is said of it counts as a fork's, and job `deploy` does not say `forks = true`",
        &sha[..10]
    );
    assert_eq!(server.outcome(1), ("refused".to_owned(), wanted));
    assert_eq!(server.written("deploy.sha"), None);
}

fn workflow_run(sha: &str, head: &str, conclusion: Value) -> Delivery {
    let run = json!({
        "id": 9, "name": "CI", "head_branch": "master", "head_sha": sha, "head_repository": { "full_name": head },
        "status": "completed", "conclusion": conclusion,
    });
    Delivery::new("workflow_run", json!({ "action": "completed", "workflow_run": run }))
}

#[test]
fn a_workflow_that_succeeded_runs_the_job_at_its_commit_and_a_forks_does_not() {
    let server = Server::new(JOBS);
    let sha = server.laptop.push_commit("master", "Tested by GitHub");
    server.laptop.push_commit("master", "Not tested yet");
    let reason = ignored(&server, &workflow_run(&sha, "octo/shop", json!("failure")));
    assert!(reason.contains("status \"failure\" does not fit"), "{reason}");
    // A fork may call its branch as it likes.
    let reason = ignored(&server, &workflow_run(&sha, "mallory/shop", json!("success")));
    assert!(reason.contains("the event has no branch"), "{reason}");
    server.deliver_and_settle(&workflow_run(&sha, "octo/shop", json!("success")));
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert_eq!(server.written("after-ci.sha"), Some(sha));
    assert_eq!(variable(&server.written("after-ci.env").unwrap(), "HOOKSPOOL_BRANCH").as_deref(), Some("master"));
}

#[test]
fn a_check_that_is_asked_for_again_runs_at_its_commit_if_the_branch_has_it() {
    let server = Server::new(JOBS);
    let sha = server.laptop.push_commit("topic", "To be tested again");
    let asked = |sha: &str, branch: &str| {
        let suite = json!({ "head_branch": branch, "pull_requests": [] });
        let run =
            json!({ "name": "tests", "head_sha": sha, "status": "completed", "conclusion": "failure", "check_suite": suite });
        Delivery::new("check_run", json!({ "action": "rerequested", "check_run": run }))
    };
    server.deliver_and_settle(&asked(&sha, "topic"));
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert_eq!(server.written("retest.sha"), Some(sha.clone()));
    server.deliver_and_settle(&asked(&sha, "master"));
    let (state, reason) = server.outcome(2);
    assert!(state == "refused" && reason.contains("is not on refs/heads/master"), "{state} {reason}");
}

#[test]
fn an_images_name_tag_and_digest_are_in_the_events_file() {
    let server = Server::new(JOBS);
    let digest = "sha256:3da1996a8115d7616457760d9920b815241d0a03b34cf5f04e9a0e9d8de37498";
    let version = json!({ "version": digest, "container_metadata": { "tag": { "name": "v1", "digest": digest } } });
    let package = json!({ "name": "web", "package_type": "CONTAINER", "package_version": version });
    server.deliver_and_settle(&Delivery::new("package", json!({ "action": "published", "package": package })));
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    let event: Value = serde_json::from_str(&server.written("image.json").unwrap()).unwrap();
    let wanted = json!({ "action": "published", "name": "web", "ecosystem": "container", "version": digest, "tag": "v1", "digest": digest });
    assert_eq!((&event["package"], event.get("tag")), (&wanted, None));
}

#[test]
fn a_deployment_runs_at_its_commit() {
    let server = Server::new(JOBS);
    let sha = server.laptop.push_commit("master", "To be deployed");
    server.laptop.push_commit("master", "Not to be deployed");
    let deployment = json!({ "id": 5, "sha": sha, "ref": "master", "task": "deploy", "environment": "production" });
    let status = json!({ "state": "success", "environment": "staging" });
    server.deliver_and_settle(&Delivery::new("deployment", json!({ "action": "created", "deployment": deployment })));
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert_eq!(server.written("production.sha"), Some(sha));
    let status = json!({ "action": "created", "deployment": deployment, "deployment_status": status });
    let reason = ignored(&server, &Delivery::new("deployment_status", status));
    assert!(reason.contains("environment \"staging\" does not fit"), "{reason}");
}

#[test]
fn a_merge_group_and_the_push_of_its_branch_are_one_run() {
    for push_first in [false, true] {
        let server = Server::new(JOBS);
        let base = server.laptop.head();
        let branch = format!("gh-readonly-queue/master/pr-7-{base}");
        let sha = server.laptop.push_commit(&branch, "Merge pull request #7");
        let reference = format!("refs/heads/{branch}");
        let group = json!({ "head_ref": reference, "head_sha": sha, "base_ref": "refs/heads/master", "base_sha": base });
        let group = |action: &str| Delivery::new("merge_group", json!({ "action": action, "merge_group": group }));
        let mut tellings = [group("checks_requested"), Push { created: true, ..Push::of(&reference, &sha) }.into()];
        if push_first {
            tellings.reverse();
        }
        tellings.iter().for_each(|telling| drop(server.deliver_and_settle(telling)));
        assert_eq!(server.states(), ["succeeded"], "push first: {push_first}");
        assert_eq!(server.written("queue.sha"), Some(sha.clone()));
        assert_eq!(server.written("queue.count").as_deref(), Some("once"));
        assert!(ignored(&server, &group("destroyed")).contains("is destroyed"));
    }
}

#[test]
fn a_repository_that_was_renamed_says_what_to_change() {
    let server = Server::new(JOBS);
    let mut renamed =
        Delivery::new("repository", json!({ "action": "renamed", "changes": { "repository": { "name": { "from": "shop" } } } }));
    renamed.body["repository"]["clone_url"] = "https://github.com/octo/store.git".into();
    let reason = ignored(&server, &renamed);
    let wanted =
        "github.com/octo/shop was renamed and is github.com/octo/store now; write `repository = \"github.com/octo/store\"`";
    assert!(reason.starts_with(wanted), "{reason}");
}

#[test]
fn explain_reads_a_form_as_the_receiver_does() {
    let server = Server::new(JOBS);
    let form = server.path().join("form");
    let json = release("published", "v1", false).body.to_string();
    std::fs::write(&form, format!("payload={}", json.replace('"', "%22"))).expect("a file can be written");
    let explain = |more: &[&str]| {
        let words =
            ["explain", "--source", "github", "--header", "X-GitHub-Event: release", "--body", &form.to_string_lossy(), "--json"];
        server.hookspool(&[&words, more].concat())
    };
    let explained = explain(&["--header", "Content-Type: application/x-www-form-urlencoded"]);
    let json: Value = serde_json::from_slice(&explained.stdout).expect("explain prints JSON");
    assert_eq!(json["matches"], json!([{ "repository": "github.com/octo/shop", "job": "release" }]), "{json}");
    for (headers, why) in
        [(&[][..], "the body is not JSON"), (&["--header", "Content-Type: text/plain"][..], "\"text/plain\" is none that")]
    {
        let explained = explain(headers);
        let json: Value = serde_json::from_slice(&explained.stdout).expect("explain prints JSON");
        assert!(!explained.status.success() && text(&json["reason"]).contains(why), "{json}");
    }
}
