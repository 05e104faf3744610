//! Which commit runs: a payload is a hint, the forge is the truth. Everything through the real receiver and worker, with
//! a real git repository.

use hookspool_common::forges::Provider;
use hookspool_tests::receiver::Post;
use hookspool_tests::server::{Delivery, Push, Server, Setup, text};
use serde_json::json;

/// A job for every branch, one for every tag, and one that would show that a tag was taken for a branch.
const JOBS: &str = r#"
[[job]]
name = "branch"
when = [{ event = "push", branch = "**" }]
build = "git rev-parse HEAD >$OUT/branch.sha; env >$OUT/branch.env"

[[job]]
name = "tag"
when = [{ event = "tag", tag = "v*" }]
build = "git rev-parse HEAD >$OUT/tag.sha; env >$OUT/tag.env; echo once >>$OUT/tag.count"

[[job]]
name = "gone"
when = [{ event = "branch_deleted" }]
build = "git rev-parse HEAD >$OUT/gone.sha; env >$OUT/gone.env; echo once >>$OUT/gone.count"
"#;

/// A variable in what `env` printed.
fn variable(env: &str, name: &str) -> Option<String> {
    env.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).map(str::to_owned)
}

fn jobs_of(server: &Server) -> Vec<String> {
    server.runs().iter().map(|run| text(&run["job"])).collect()
}

#[test]
fn a_push_runs_at_exactly_its_commit_and_no_other_job() {
    let server = Server::new(JOBS);
    let old = server.laptop.push_commit("master", "Second");
    server.laptop.push_commit("master", "Third");
    server.deliver_and_settle(&Delivery::push("master", &old));
    assert_eq!(jobs_of(&server), ["branch"]);
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    // A commit that is still on the branch, although no longer its last.
    assert_eq!(server.written("branch.sha").as_deref(), Some(&*old));
    let env = server.written("branch.env").unwrap();
    assert_eq!(variable(&env, "HOOKSPOOL_SHA"), Some(old));
    assert_eq!(variable(&env, "HOOKSPOOL_BRANCH").as_deref(), Some("master"));
}

#[test]
fn a_branch_with_a_slash_stays_whole_in_environment_and_mail() {
    let server = Server::new(JOBS);
    let sha = server.laptop.push_commit("feature/x", "A feature");
    server.deliver_and_settle(&Delivery::push("feature/x", &sha));
    let env = server.written("branch.env").unwrap();
    assert_eq!(variable(&env, "HOOKSPOOL_BRANCH").as_deref(), Some("feature/x"));
    assert_eq!(variable(&env, "HOOKSPOOL_REF").as_deref(), Some("refs/heads/feature/x"));
    assert_eq!(variable(&env, "WEBHOOKBUILD_CONTAINERNAME").as_deref(), Some("shop-feature-x"));
    assert_eq!(server.written("branch.sha"), Some(sha.clone()));
    let mails = server.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].subject(), format!("[octo/shop] branch succeeded on feature/x ({})", &sha[..10]));
    assert!(mails[0].words().contains("on branch feature/x of octo/shop"), "{}", mails[0].body);
}

#[test]
fn a_tag_runs_the_job_for_tags_and_never_one_for_branches() {
    let server = Server::new(JOBS);
    let sha = server.laptop.head();
    server.laptop.git(&["tag", "v1"]);
    server.laptop.push("refs/tags/v1");
    server.deliver_and_settle(&Delivery::tag("v1", &sha));
    assert_eq!(jobs_of(&server), ["tag"]);
    let env = server.written("tag.env").unwrap();
    assert_eq!(variable(&env, "HOOKSPOOL_TAG").as_deref(), Some("v1"));
    assert_eq!(variable(&env, "WEBHOOKBUILD_TAG").as_deref(), Some("v1"));
    assert_eq!(variable(&env, "HOOKSPOOL_BRANCH"), None);
    assert_eq!(server.written("tag.sha"), Some(sha));
    assert!(server.mails()[0].words().contains("on tag v1 of octo/shop"), "{}", server.mails()[0].body);
}

#[test]
fn an_annotated_tag_runs_at_the_commit_that_it_names() {
    let server = Server::new(JOBS);
    let sha = server.laptop.head();
    for (tag, run) in [("v2", 1), ("v3", 2)] {
        server.laptop.git(&["tag", "--annotate", "--message", "A release", tag]);
        server.laptop.push(&format!("refs/tags/{tag}"));
        let object = server.laptop.git(&["rev-parse", &format!("refs/tags/{tag}")]);
        assert_ne!(object, sha);
        // GitHub says the tag's own object as `after`, and the commit beside it; an old server may leave that out.
        let head_commit = Some(&*sha).filter(|_| tag == "v2");
        let reference = format!("refs/tags/{tag}");
        server.deliver_and_settle(&Push { created: true, head_commit, ..Push::of(&reference, &object) }.into());
        assert_eq!(server.outcome(run).0, "succeeded", "{}", server.log(run));
        assert_eq!(server.written("tag.sha").as_deref(), Some(&*sha));
        assert_eq!(variable(&server.written("tag.env").unwrap(), "HOOKSPOOL_TAG").as_deref(), Some(tag));
    }
    assert_eq!(jobs_of(&server), ["tag", "tag"]);
}

#[test]
fn a_push_and_a_create_of_one_tag_are_one_run() {
    // Which comes first, and whether the first has run already when the second comes.
    for (create_first, settle_between) in [(false, false), (true, false), (false, true), (true, true)] {
        let server = Server::new(JOBS);
        let sha = server.laptop.head();
        server.laptop.git(&["tag", "v1"]);
        server.laptop.push("refs/tags/v1");
        let mut tellings = [Delivery::tag("v1", &sha), Delivery::other_telling("create", "tag", "v1")];
        if create_first {
            tellings.reverse();
        }
        let first = server.deliver(&tellings[0]);
        if settle_between {
            server.settle();
        }
        let second = server.deliver_and_settle(&tellings[1]);
        let case = format!("create first: {create_first}, settled between: {settle_between}");
        assert_eq!(server.states(), ["succeeded"], "{case}");
        assert_eq!(server.written("tag.count").as_deref(), Some("once"), "{case}");
        assert_eq!(server.written("tag.sha"), Some(sha.clone()), "{case}");
        let shown = server.show(1);
        let deliveries: Vec<String> =
            shown["deliveries"].as_array().unwrap().iter().map(|delivery| text(&delivery["delivery"])).collect();
        assert_eq!(deliveries, [first, second], "{case}");
        assert_eq!(server.mails().len(), 1, "{case}");
    }
}

#[test]
fn after_a_force_push_the_old_commit_is_refused_and_the_new_one_runs() {
    let server = Server::new(JOBS);
    let first = server.laptop.head();
    let old = server.laptop.push_commit("master", "A mistake");
    server.laptop.git(&["reset", "--quiet", "--hard", &first]);
    let new = server.laptop.push_commit("master", "Better");
    server.deliver_and_settle(&Delivery::push("master", &old));
    let (state, reason) = server.outcome(1);
    assert_eq!(state, "refused");
    assert!(reason.contains(&old[..10]) && reason.contains("is not on refs/heads/master"), "{reason}");
    assert_eq!(server.written("branch.sha"), None);
    server.deliver_and_settle(&Push { forced: true, ..Push::of("refs/heads/master", &new) }.into());
    assert_eq!(server.states(), ["refused", "succeeded"]);
    assert_eq!(server.written("branch.sha"), Some(new));
}

#[test]
fn a_commit_that_nobody_has_is_refused_with_a_mail_and_nothing_runs() {
    let server = Server::new(JOBS);
    server.deliver_and_settle(&Delivery::push("master", "1234567890123456789012345678901234567890"));
    assert_eq!(server.states(), ["refused"]);
    assert_eq!(server.steps(1).len(), 1, "{:?}", server.steps(1));
    assert_eq!(server.written("branch.sha"), None);
    let mail = &server.mails()[0];
    assert_eq!(mail.header("To"), "mona@example.org");
    assert!(mail.subject().contains("refused"), "{}", mail.subject());
    let words = mail.words();
    assert!(words.contains("commit 1234567890 is not on refs/heads/master as the forge has it now"), "{words}");
    assert!(words.contains("None of its commands was run"), "{words}");
}

#[test]
fn a_commit_of_another_branch_is_refused() {
    let server = Server::new(JOBS);
    let other = server.laptop.push_commit("develop", "Not for master");
    server.deliver_and_settle(&Delivery::push("master", &other));
    assert_eq!(server.states(), ["refused"]);
    assert_eq!(server.written("branch.sha"), None);
    server.deliver_and_settle(&Delivery::push("develop", &other));
    assert_eq!(server.states(), ["refused", "succeeded"]);
}

#[test]
fn a_deleted_branch_runs_its_job_once_at_the_default_branch() {
    let server = Server::new(JOBS);
    let master = server.laptop.head();
    server.laptop.push_commit("old", "To be deleted");
    server.laptop.push(":refs/heads/old");
    server.deliver(&Delivery::deleted("old"));
    server.deliver_and_settle(&Delivery::other_telling("delete", "branch", "old"));
    assert_eq!(jobs_of(&server), ["gone"]);
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert_eq!(server.written("gone.sha"), Some(master));
    assert_eq!(server.written("gone.count").as_deref(), Some("once"));
    let env = server.written("gone.env").unwrap();
    assert_eq!(variable(&env, "HOOKSPOOL_BRANCH").as_deref(), Some("old"));
    assert_eq!(variable(&env, "HOOKSPOOL_EVENT_KIND").as_deref(), Some("branch_deleted"));
}

#[test]
fn a_deletion_is_refused_when_the_branch_is_there_again() {
    let server = Server::new(JOBS);
    server.laptop.push_commit("old", "Deleted, and made again");
    server.deliver_and_settle(&Delivery::deleted("old"));
    let (state, reason) = server.outcome(1);
    assert_eq!((state.as_str(), reason.as_str()), ("refused", "refs/heads/old is on the forge again"));
    assert_eq!(server.written("gone.sha"), None);
}

#[test]
fn a_push_to_a_branch_that_is_gone_is_refused() {
    let server = Server::new(JOBS);
    let sha = server.laptop.push_commit("short-lived", "Soon gone");
    server.deliver_and_settle(&Delivery::push("short-lived", &sha));
    server.laptop.push(":refs/heads/short-lived");
    server.deliver_and_settle(&Delivery::push("short-lived", &sha));
    assert_eq!(server.states(), ["succeeded", "refused"]);
    assert_eq!(server.outcome(2).1, "refs/heads/short-lived is not on the forge any more");
}

const PULL_REQUEST_JOBS: &str = r#"
[[job]]
name = "own"
when = [{ event = "pull_request", action = "opened" }]
build = "git rev-parse HEAD >$OUT/own.sha; env >$OUT/own.env"
secrets = ["TOKEN"]

[[job]]
name = "everyones"
when = [{ event = "pull_request" }]
build = "git rev-parse HEAD >$OUT/everyones.sha; env >$OUT/everyones.env"
secrets = ["TOKEN"]
forks = true
"#;

#[test]
fn a_pull_request_of_the_repository_itself_runs_with_secrets() {
    let server = Server::new(PULL_REQUEST_JOBS);
    server.write_secret("TOKEN", "open sesame\n");
    let sha = server.laptop.push_commit("topic", "A proposal");
    server.laptop.push("HEAD:refs/pull/7/head");
    server.deliver_and_settle(&Delivery::pull_request(7, &sha, "octo/shop"));
    assert_eq!(server.states(), ["succeeded", "succeeded"]);
    for job in ["own", "everyones"] {
        assert_eq!(server.written(&format!("{job}.sha")).as_deref(), Some(&*sha));
        let env = server.written(&format!("{job}.env")).unwrap();
        assert_eq!(variable(&env, "TOKEN").as_deref(), Some("open sesame"), "{job}");
        assert_eq!(variable(&env, "HOOKSPOOL_PULL_REQUEST").as_deref(), Some("7"));
        assert_eq!(variable(&env, "HOOKSPOOL_BASE_BRANCH").as_deref(), Some("master"));
        assert_eq!(variable(&env, "HOOKSPOOL_BRANCH"), None);
    }
}

#[test]
fn a_pull_request_of_a_fork_runs_only_where_forks_may_and_without_secrets() {
    // A payload that lies about its fork changes nothing: the forge has the commit on no branch.
    for claimed in ["mallory/shop", "octo/shop"] {
        let server = Server::new(PULL_REQUEST_JOBS);
        server.write_secret("TOKEN", "open sesame\n");
        // As GitHub has it: the commit is on no branch of this repository.
        let sha = server.laptop.commit("From a fork");
        server.laptop.push("HEAD:refs/pull/8/head");
        server.deliver_and_settle(&Delivery::pull_request(8, &sha, claimed));
        let (state, reason) = server.outcome(1);
        assert_eq!(state, "refused", "{claimed}");
        assert!(reason.contains("fork") && reason.contains("job `own` does not say `forks = true`"), "{reason}");
        assert_eq!(server.written("own.sha"), None);
        assert_eq!(server.outcome(2).0, "succeeded", "{}", server.log(2));
        assert_eq!(server.written("everyones.sha"), Some(sha));
        let env = server.written("everyones.env").unwrap();
        assert!(!env.contains("TOKEN") && !env.contains("open sesame"), "{env}");
    }
}

#[test]
fn a_forks_request_at_a_commit_of_ours_is_still_a_forks() {
    let server = Server::new(PULL_REQUEST_JOBS);
    server.write_secret("TOKEN", "open sesame\n");
    let sha = server.laptop.push_commit("master", "Ours");
    server.laptop.push("HEAD:refs/pull/8/head");
    server.deliver_and_settle(&Delivery::pull_request(8, &sha, "mallory/shop"));
    assert_eq!(server.states(), ["refused", "succeeded"]);
    assert_eq!(server.written("everyones.sha"), Some(sha));
    assert_eq!(variable(&server.written("everyones.env").unwrap(), "TOKEN"), None);
}

#[test]
fn what_is_said_on_a_request_runs_at_its_branch_or_not_at_all_where_the_forge_keeps_no_ref_for_it() {
    let job = "[[job]]\nname = \"said\"\nforks = true\n\
               when = [{ event = \"comment\", comment = \"/build\" }]\nbuild = \"git rev-parse HEAD >>$OUT/said.sha\"\n";
    let mut server = Server::new(job);
    server.move_to(Provider::Bitbucket, "bitbucket.org/octo/shop");
    let sha = server.laptop.push_commit("topic", "A proposal");
    let end = |repository: &str, branch: &str| json!({ "branch": { "name": branch }, "repository": { "full_name": repository } });
    let said_on_one_from = |source: &str| {
        let body = json!({
            "pullrequest": { "id": 7, "source": end(source, "topic"), "destination": end("octo/shop", "master") },
            "comment": { "content": { "raw": "/build" } }, "repository": { "full_name": "octo/shop" },
        });
        server.post_and_settle(&Post::signed_by(Provider::Bitbucket, "pullrequest:comment_created", source, body.to_string()));
    };
    said_on_one_from("octo/shop");
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert_eq!(server.written("said.sha").as_deref(), Some(&*sha));
    said_on_one_from("mallory/shop");
    let refused = ("refused".to_owned(), "the event names no ref, so there is nothing to check out".to_owned());
    assert_eq!(server.outcome(2), refused);
    assert_eq!(server.written("said.sha"), Some(sha));
}

#[test]
fn a_branch_name_is_never_executed() {
    let server = Server::new(JOBS);
    let names = ["$(touch${IFS}PWNED)", "`touch${IFS}PWNED`", "-rf", "--upload-pack=x", "a;b", "it's", "say-\"hello\"", "ümläut"];
    for (run, name) in (1..).zip(names) {
        let sha = server.laptop.push_commit(name, name);
        server.deliver_and_settle(&Delivery::push(name, &sha));
        assert_eq!(server.outcome(run).0, "succeeded", "{name}:\n{}", server.log(run));
        assert_eq!(server.written("branch.sha"), Some(sha), "{name}");
        assert_eq!(variable(&server.written("branch.env").unwrap(), "HOOKSPOOL_BRANCH").as_deref(), Some(name));
        assert_eq!(text(&server.show(run)["ref"]), format!("refs/heads/{name}"));
    }
    assert_eq!(server.mails().len(), names.len());
    assert!(server.mails()[2].subject().contains(" on -rf "), "{}", server.mails()[2].subject());
    let found = std::process::Command::new("find").arg(server.path()).args(["-name", "PWNED"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[test]
fn an_unreachable_forge_fails_the_run_and_the_mail_has_gits_words() {
    let server = Server::new(JOBS);
    let sha = server.laptop.head();
    let away = server.path().join("away");
    std::fs::rename(server.laptop.forge(), &away).unwrap();
    server.deliver_and_settle(&Delivery::push("master", &sha));
    assert_eq!(server.outcome(1), ("failed".to_owned(), "checkout exited with status 128".to_owned()));
    assert_eq!(server.written("branch.sha"), None);
    let body = &server.mails()[0].body;
    assert!(body.contains("  | fatal: ") && body.contains("does not appear to be a git repository"), "{body}");
    // It is the forge's failure alone: once it is back, the next push runs.
    std::fs::rename(&away, server.laptop.forge()).unwrap();
    server.deliver_and_settle(&Delivery::push("master", &sha));
    assert_eq!(server.states(), ["failed", "succeeded"]);
}

#[test]
fn two_runs_of_one_repository_go_on_at_once() {
    // Each waits until the other has begun, so both succeed only if they overlap.
    let job = |own: &str, other: &str| {
        format!(
            "[[job]]\nname = \"{own}\"\nwhen = [{{ event = \"push\" }}]\n\
             build = {{ run = \"git log >$OUT/{own}; while ! [ -s $OUT/{other} ]; do sleep 0.02; done\", timeout = \"30s\" }}\n"
        )
    };
    let server = Server::with(Setup { jobs: &(job("a", "b") + &job("b", "a")), slots: 2, ..Setup::default() });
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert_eq!(server.states(), ["succeeded", "succeeded"], "{}", server.log(1) + &server.log(2));
}
