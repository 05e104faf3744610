//! What a branch's life asks for: a site of its own that is made, brought up to date and removed; and commits that ask for
//! nothing.

use std::fs;

use hookspool_tests::server::{Delivery, Push, Server, text};

/// A site for each branch: made with it, brought up to date by each push, removed with it.
const SITE: &str = r#"
[[job]]
name = "make"
when = [{ event = "branch_created", branch = "feature/*" }]
lane = { group = "site", on_new = "queue" }
deploy = "mkdir $OUT/$WEBHOOKBUILD_CONTAINERNAME; cp message $OUT/$WEBHOOKBUILD_CONTAINERNAME/"

[[job]]
name = "update"
when = [{ event = "push", branch = "feature/*" }]
lane = { group = "site", on_new = "queue" }
deploy = "cp message $OUT/$WEBHOOKBUILD_CONTAINERNAME/"

[[job]]
name = "remove"
when = [{ event = "branch_deleted", branch = "feature/*" }]
lane = { group = "site", on_new = "queue" }
deploy = "cp message $OUT/farewell; rm -r $OUT/$WEBHOOKBUILD_CONTAINERNAME"
"#;

#[test]
fn a_branch_has_a_site_of_its_own_for_as_long_as_it_lives() {
    let server = Server::new(SITE);
    let site = |file: &str| server.written(&format!("shop-feature-till/{file}"));
    server.laptop.git(&["checkout", "--quiet", "-b", "feature/till"]);
    let made = server.laptop.push_commit("feature/till", "A till");
    let push = |sha, created| Delivery::from(Push { created, ..Push::of("refs/heads/feature/till", sha) });
    // GitHub tells of it twice. It is made once, before it is brought up to date.
    server.deliver(&Delivery::other_telling("create", "branch", "feature/till"));
    server.deliver_and_settle(&push(&made, true));
    let jobs = |server: &Server| server.runs().iter().map(|run| text(&run["job"])).collect::<Vec<_>>();
    assert_eq!((jobs(&server), server.states()), (vec!["make".to_owned(), "update".to_owned()], vec!["succeeded".to_owned(); 2]));
    assert_eq!(site("message").as_deref(), Some("A till"));
    let updated = server.laptop.push_commit("feature/till", "A better till");
    server.deliver_and_settle(&push(&updated, false));
    assert_eq!(site("message").as_deref(), Some("A better till"));
    // Another branch's news is none of its own.
    server.laptop.git(&["checkout", "--quiet", "master"]);
    let on_master = server.laptop.push_commit("master", "On master");
    assert_eq!(server.post(&Delivery::push("master", &on_master)).status, 200);
    server.laptop.push(":refs/heads/feature/till");
    server.deliver(&Delivery::deleted("feature/till"));
    server.deliver(&Delivery::other_telling("delete", "branch", "feature/till"));
    server.settle();
    assert_eq!(jobs(&server), ["make", "update", "update", "remove"]);
    assert_eq!(server.outcome(4).0, "succeeded");
    assert!(!server.out("shop-feature-till").exists());
    // What cleans up is the default branch's.
    assert_eq!(server.written("farewell").as_deref(), Some("On master"));
    // A branch of the same name, made anew from an older commit, is another branch.
    server.laptop.git(&["push", "--quiet", "origin", &format!("{made}:refs/heads/feature/till")]);
    server.deliver_and_settle(&push(&made, true));
    assert_eq!(server.states(), ["succeeded"; 6], "{:?}", server.runs());
    assert_eq!(site("message").as_deref(), Some("A till"));
}

#[test]
fn a_commit_that_says_so_runs_nothing_and_the_answer_says_why() {
    let server = Server::new("[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }, { event = \"tag\" }]\nbuild = \"true\"\n");
    let sha = server.laptop.push_commit("master", "Fix a typo [skip ci]");
    let skipping = |message: &str| {
        let mut delivery = Delivery::push("master", &sha);
        delivery.body["commits"][0]["message"] = message.into();
        delivery.body["head_commit"]["message"] = message.into();
        delivery
    };
    let answer = server.post(&skipping("Fix a typo [skip ci]"));
    assert_eq!((answer.status, answer.text("status").as_str()), (200, "ignored"), "{}", answer.body);
    assert!(answer.text("reason").contains("job `tests`: its commit says [skip ci]"), "{}", answer.body);
    // A tag asks for itself, whatever its commit says.
    server.laptop.git(&["push", "--quiet", "origin", "HEAD:refs/tags/v1"]);
    server.deliver_and_settle(&Delivery::tag("v1", &sha));
    server.deliver_and_settle(&skipping("Fix a typo"));
    assert_eq!(server.states(), ["succeeded", "succeeded"]);
    let body = server.path().join("push.json");
    fs::write(&body, skipping("Fix a typo\n\nskip-checks: true").body.to_string()).unwrap();
    let words = ["explain", "--source", "github", "--header", "X-GitHub-Event: push", "--body", &body.to_string_lossy()];
    let explained = String::from_utf8_lossy(&server.hookspool(&words).stdout).into_owned();
    assert!(explained.contains("its commit says skip-checks: true"), "{explained}");
}

#[test]
fn a_receiver_that_was_taken_over_cannot_make_root_run_what_its_commit_forbids() {
    let mut server = Server::new("[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\nbuild = \"true\"\n");
    let sha = server.laptop.head();
    server.deliver(&Delivery::push("master", &sha));
    server.tamper("UPDATE delivery SET proposals = replace(proposals, 'A change', 'A change [no ci]')");
    server.settle();
    assert_eq!(server.outcome(1), ("refused".to_owned(), "the event does not match: its commit says [no ci]".to_owned()));
}
