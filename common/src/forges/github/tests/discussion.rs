//! Issues, comments and reviews: what they say, and that what is said on a request is never taken for the repository's.

use super::*;
use crate::event::CommentOn;

fn an_issue() -> Value {
    json!({
        "number": 7, "title": "It does not start", "state": "open", "state_reason": null, "labels": [{"name": "bug"}],
        "user": {"login": "lisa"}, "html_url": "https://github.com/octo/shop/issues/7",
    })
}

fn a_comment() -> Value {
    json!({
        "body": "/deploy staging\nplease", "user": {"login": "lisa"}, "author_association": "MEMBER",
        "html_url": "https://github.com/octo/shop/issues/7#issuecomment-1",
    })
}

fn a_request() -> Value {
    json!({
        "number": 7,
        "head": {"ref": "topic", "sha": SHA, "repo": {"full_name": "mallory/shop"}},
        "base": {"ref": "main", "sha": OLD, "repo": {"full_name": "octo/shop"}},
        "labels": [{"name": "ready"}],
    })
}

#[test]
fn an_issue_says_what_happened_to_it() {
    let mut body = told(json!({"action": "labeled", "issue": an_issue(), "label": {"name": "bug"}}));
    insta::assert_json_snapshot!(event_of("issues", &body));
    body["issue"]["state_reason"] = "not_planned".into();
    body["issue"]["user"] = Value::Null;
    let issue = event_of("issues", &body).issue.unwrap();
    assert_eq!((issue.state_reason.as_deref(), issue.author.is_unknown()), (Some("not_planned"), true));
}

#[test]
fn a_comment_on_an_issue_names_no_ref() {
    insta::assert_json_snapshot!(event_of(
        "issue_comment",
        &told(json!({"action": "created", "issue": an_issue(), "comment": a_comment()}))
    ));
}

#[test]
fn a_comment_on_a_pull_request_names_the_requests_own_ref_and_no_commit() {
    let mut issue = an_issue();
    issue["pull_request"] = json!({"url": "https://api.github.com/repos/octo/shop/pulls/7"});
    let event = event_of("issue_comment", &told(json!({"action": "created", "issue": issue, "comment": a_comment()})));
    assert_eq!(event.reference.as_ref().unwrap().as_str(), "refs/pull/7/head");
    assert_eq!((&event.branch, &event.tag, &event.sha), (&None, &None, &None));
    assert_eq!((event.comment.as_ref().unwrap().on, event.action()), (CommentOn::PullRequest, Some("created")));
    assert_eq!(event.labels().unwrap(), ["bug"]);
}

#[test]
fn a_comment_on_a_commit_names_the_commit() {
    let mut comment = a_comment();
    comment["commit_id"] = SHA.into();
    insta::assert_json_snapshot!(event_of("commit_comment", &told(json!({"action": "created", "comment": comment}))));
}

#[test]
fn a_review_and_its_comments_are_about_the_commit_that_was_looked_at() {
    let mut comment = a_comment();
    comment["commit_id"] = OLD.into();
    comment["state"] = "approved".into();
    for (event, subject, action) in
        [("pull_request_review", "review", "submitted"), ("pull_request_review_comment", "comment", "created")]
    {
        let body = told(json!({"action": action, subject: comment, "pull_request": a_request()}));
        let event = event_of(event, &body);
        assert_eq!((event.kind, event.action(), event.sha.as_ref().unwrap().as_str()), (Kind::Comment, Some(action), OLD));
        assert_eq!(event.reference.as_ref().unwrap().as_str(), "refs/pull/7/head");
        assert_eq!(event.pull_request.as_ref().unwrap().from_fork, Some(true));
        if action == "submitted" {
            insta::assert_json_snapshot!("a_review", event);
        }
    }
    comment["body"] = Value::Null;
    let silent = told(json!({"action": "submitted", "review": comment, "pull_request": a_request()}));
    assert_eq!(event_of("pull_request_review", &silent).comment.unwrap().body, "");
}

#[test]
fn what_has_no_action_or_number_is_of_another_shape() {
    assert!(reason_of("issues", &told(json!({"issue": an_issue()}))).contains("no `action`"));
    assert!(reason_of("issues", &told(json!({"action": "opened", "issue": {}}))).contains("number"));
    assert!(reason_of("issue_comment", &told(json!({"action": "created", "comment": a_comment()}))).contains("issue"));
    let mut request = a_request();
    request["number"] = Value::Null;
    let body = told(json!({"action": "submitted", "review": a_comment(), "pull_request": request}));
    assert!(reason_of("pull_request_review", &body).contains("no number"));
}
