//! Events against conditions, and the words for what failed.

use std::fs;

use super::*;
use crate::event::{Commit, Person, PullRequest, Side};

const SHA: &str = "366701fde727cb7a9e7f21eb88264f59f6f9b89c";

fn config(when: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let main = "[[source]]\nname='github'\nprovider='github'\npath='/g'\nsecret='s'\n";
    let repository =
        format!("repository='github.com/octo/shop'\nsource='github'\n[[job]]\nname='j'\nbuild='true'\nwhen={when}\n");
    fs::write(folder.path().join("hookspool.toml"), main).unwrap();
    fs::create_dir(folder.path().join("repositories")).unwrap();
    fs::write(folder.path().join("repositories/shop.toml"), repository).unwrap();
    Config::load(&folder.path().join("hookspool.toml")).unwrap_or_else(|problems| panic!("{problems}"))
}

fn event(kind: Kind, reference: &str) -> Event {
    let mut event = Event::of(kind, "push").with_ref(reference.parse().unwrap());
    event.repository = Some("github.com/octo/shop".parse().unwrap());
    event
}

fn touching(mut event: Event, paths: &[&str]) -> Event {
    let paths = Some(paths.iter().map(|path| (*path).to_owned()).collect());
    event.commits = Some(vec![Commit { sha: SHA.parse().unwrap(), message: String::new(), author: Person::default(), paths }]);
    event
}

fn pull_request(action: &str, base: &str, labels: &[&str]) -> Event {
    let mut event = event(Kind::PullRequest, "refs/pull/7/head");
    let side = |branch: &str| Side { reference: format!("refs/heads/{branch}").parse().unwrap(), sha: None };
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    let (head, base) = (side("changes"), side(base));
    event.pull_request = Some(PullRequest { number: 7, action: action.into(), head, base, labels, from_fork: Some(false) });
    event
}

/// Why the one job does not run; empty when it does.
fn why(when: &str, event: &Event) -> String {
    let matching = matches(&config(when), &"github".parse().unwrap(), event);
    assert_eq!(matching.matches.len() + matching.misses.len(), 1);
    matching.misses.first().map(|miss| miss.reason.clone()).unwrap_or_default()
}

#[test]
fn any_entry_all_keys_any_value() {
    let when = "[{ event = 'push', branch = ['master', 'release/*'] }, { event = 'tag', tag = 'v*' }]";
    for good in
        [event(Kind::Push, "refs/heads/master"), event(Kind::Push, "refs/heads/release/1"), event(Kind::Tag, "refs/tags/v1")]
    {
        assert_eq!(why(when, &good), "");
    }
    assert_eq!(why(when, &event(Kind::Push, "refs/heads/x")), r#"branch "x" does not fit "master", "release/*""#);
    assert_eq!(why(when, &event(Kind::Tag, "refs/tags/1")), r#"tag "1" does not fit "v*""#);
}

#[test]
fn a_tag_named_like_a_branch_does_not_run_the_branchs_job() {
    let when = "[{ event = ['push', 'tag'], branch = 'master' }]";
    assert_eq!(why(when, &event(Kind::Tag, "refs/tags/master")), r#"the event has no branch, and `branch` asks for "master""#);
}

#[test]
fn paths_rule_out_only_what_is_known() {
    let when = "[{ event = 'push', paths = ['**', '!docs/**'] }]";
    let push = event(Kind::Push, "refs/heads/master");
    assert_eq!(why(when, &touching(push.clone(), &["docs/a", "src/b"])), "");
    let only_docs = why(when, &touching(push.clone(), &["docs/a", "docs/b"]));
    assert_eq!(only_docs, r#"no changed path fits "**", "!docs/**" ("docs/a", "docs/b")"#);
    assert_eq!(why(when, &touching(push.clone(), &[])), r#"no changed path fits "**", "!docs/**" (none)"#);
    assert_eq!(why(when, &push), "");
}

#[test]
fn pull_requests_by_base_action_and_labels() {
    let when = "[{ event = 'pull_request', base = 'main', action = ['opened', 'labeled'], labels = ['ready', '!wip'] }]";
    assert_eq!(why(when, &pull_request("opened", "main", &["x", "ready"])), "");
    assert_eq!(why(when, &pull_request("opened", "dev", &["ready"])), r#"base "dev" does not fit "main""#);
    assert_eq!(why(when, &pull_request("closed", "main", &["ready"])), r#"action "closed" does not fit "opened", "labeled""#);
    let held_back = why(when, &pull_request("opened", "main", &["ready", "wip"]));
    assert_eq!(held_back, r#"labels "ready", "wip" does not fit "ready", "!wip""#);
    assert_eq!(why(when, &pull_request("opened", "main", &[])), r#"labels none does not fit "ready", "!wip""#);
}

#[test]
fn a_push_that_makes_a_branch_runs_branch_created_jobs_too() {
    let mut push = event(Kind::Push, "refs/heads/feature/x");
    let when = "[{ event = 'branch_created', branch = 'feature/**' }]";
    assert_eq!(why(when, &push), "the event is `push`, not `branch_created`");
    push.created = Some(true);
    assert_eq!(why(when, &push), "");
}

#[test]
fn another_repository_or_another_source_runs_nothing() {
    let config = config("[{ event = 'push' }]");
    let mut push = event(Kind::Push, "refs/heads/master");
    push.repository = Some("https://GitHub.com/octo/shop.git".parse().unwrap());
    assert_eq!(matches(&config, &"github".parse().unwrap(), &push).matches.len(), 1);
    assert_eq!(matches(&config, &"other".parse().unwrap(), &push), Matching::default());
    push.repository = Some("github.com/octo/other".parse().unwrap());
    assert!(matches(&config, &"github".parse().unwrap(), &push).matches.is_empty());
    let reason = reason_for_nothing(&config, &"github".parse().unwrap(), &push);
    assert_eq!(reason, "github.com/octo/other is not in the configuration of source `github`");
}

#[test]
fn a_comment_counts_by_who_wrote_it() {
    use crate::event::{Comment, CommentOn};
    let comment = |association: Option<&str>, login: Option<&str>| {
        let mut event = event(Kind::Comment, "refs/pull/7/head");
        event.pusher.login = login.map(str::to_owned);
        let (action, body) = ("created".to_owned(), "/deploy now\nplease".to_owned());
        let association = association.map(str::to_owned);
        let (author, number, url) = (event.pusher.clone(), Some(7), None);
        event.comment = Some(Comment { action, on: CommentOn::PullRequest, number, body, author, association, url });
        event
    };
    let runs = |when: &str, event: &Event| !matches(&config(when), &"github".parse().unwrap(), event).matches.is_empty();
    let members = "{event='comment', comment='/deploy**', association=['OWNER', 'MEMBER']}";
    assert!(runs(members, &comment(Some("MEMBER"), Some("lisa"))));
    assert!(!runs(members, &comment(Some("NONE"), Some("lisa"))) && !runs(members, &comment(None, Some("lisa"))));
    let lisa = "{event='comment', pusher='lisa'}";
    assert!(runs(lisa, &comment(None, Some("lisa"))) && !runs(lisa, &comment(Some("OWNER"), Some("mallory"))));
    assert!(!runs(lisa, &comment(Some("OWNER"), None)));
}

proptest::proptest! {
    #[test]
    fn what_matches_does_not_depend_on_how_the_repository_is_spelt(
        spelling in 0..10_usize, branch in "[a-z]{1,8}", asked in "[a-z*]{1,4}", upper in proptest::prelude::any::<bool>(),
    ) {
        let host = if upper { "GitHub.COM" } else { "github.com" };
        let spelt = match spelling {
            0 => format!("https://{host}/octo/shop"),
            1 => format!("https://{host}/octo/shop.git"),
            2 => format!("http://user:word@{host}:8080/octo/shop/"),
            3 => format!("ssh://git@{host}/octo/shop.git"),
            4 => format!("ssh://git@{host}:22/octo/shop"),
            5 => format!("git@{host}:octo/shop.git"),
            6 => format!("git@{host}:/octo/shop"),
            7 => format!("git://{host}/octo/shop.git"),
            8 => format!("git+ssh://{host}/octo/shop"),
            _ => format!("{host}/octo/shop"),
        };
        let config = config(&format!("{{event='push', branch='{asked}'}}"));
        let plain = event(Kind::Push, &format!("refs/heads/{branch}"));
        let mut other = plain.clone();
        other.repository = Some(spelt.parse().unwrap());
        let source = "github".parse().unwrap();
        proptest::prop_assert_eq!(matches(&config, &source, &plain), matches(&config, &source, &other));
    }
}

#[test]
fn a_commit_that_wants_nothing_to_run_is_the_reason_where_all_else_fits() {
    let pushed = |reference: &str, message: &str| {
        let mut event = touching(Event { sha: Some(SHA.parse().unwrap()), ..event(Kind::Push, reference) }, &["a"]);
        event.commits.as_mut().unwrap()[0].message = message.to_owned();
        event
    };
    let when = "{ event = 'push', branch = 'master' }";
    assert_eq!(why(when, &pushed("refs/heads/master", "Fix")), "");
    assert_eq!(why(when, &pushed("refs/heads/master", "Fix [ci skip]")), "its commit says [ci skip]");
    let of_another = why(when, &pushed("refs/heads/develop", "Fix [ci skip]"));
    assert_eq!(of_another, r#"branch "develop" does not fit "master""#);
    // A branch is made, whatever the commit says that it begins with.
    let made = Event { created: Some(true), ..pushed("refs/heads/master", "Fix [ci skip]") };
    assert_eq!(why("{ event = 'branch_created' }", &made), "");
    assert_eq!(why(when, &made), "its commit says [ci skip]");
}
