//! Checks, statuses, workflows and deployments: a branch is named only where it is certainly the repository's own.

use super::*;

fn a_suite(head_branch: &str) -> Value {
    json!({"head_branch": head_branch, "head_sha": SHA, "status": "completed", "conclusion": "success", "app": {"name": "GitHub Actions"}, "pull_requests": []})
}

/// A request between two repositories, as checks list them.
fn a_checked_request(head: u64, base: u64) -> Value {
    json!({"head": {"ref": "main", "repo": {"id": head}}, "base": {"ref": "main", "repo": {"id": base}}})
}

fn branch_of(event: &str, body: &Value) -> Option<String> {
    let event = event_of(event, body);
    assert_eq!(event.sha.as_ref().unwrap().as_str(), SHA);
    assert!(event.is_consistent());
    event.branch
}

#[test]
fn a_check_run_and_its_suite_are_on_a_branch_of_the_repository() {
    let run = json!({
        "name": "lint", "head_sha": SHA, "status": "in_progress", "conclusion": null,
        "html_url": "https://github.com/octo/shop/runs/1", "check_suite": a_suite("feature/x"), "pull_requests": [],
    });
    insta::assert_json_snapshot!("check_run", event_of("check_run", &told(json!({"action": "created", "check_run": run}))));
    let suite = told(json!({"action": "completed", "check_suite": a_suite("feature/x")}));
    insta::assert_json_snapshot!("check_suite", event_of("check_suite", &suite));
}

#[test]
fn a_check_of_a_fork_is_on_no_branch() {
    let suite = |requests: Value, branch: Value| {
        let mut suite = a_suite("main");
        (suite["pull_requests"], suite["head_branch"]) = (requests, branch);
        told(json!({"action": "completed", "check_suite": suite}))
    };
    let run = |on_suite: Value, on_run: Value| {
        let mut suite = a_suite("main");
        suite["pull_requests"] = on_suite;
        let run = json!({"name": "lint", "head_sha": SHA, "check_suite": suite, "pull_requests": on_run});
        told(json!({"action": "completed", "check_run": run}))
    };
    let (ours, foreign) = (json!([a_checked_request(1, 1)]), json!([a_checked_request(1, 1), a_checked_request(2, 1)]));
    assert_eq!(branch_of("check_suite", &suite(ours.clone(), "main".into())).as_deref(), Some("main"));
    assert_eq!(branch_of("check_suite", &suite(foreign.clone(), "main".into())), None);
    // As GitHub documents it.
    assert_eq!(branch_of("check_suite", &suite(json!([]), Value::Null)), None);
    assert_eq!(branch_of("check_run", &run(ours.clone(), ours.clone())).as_deref(), Some("main"));
    assert_eq!(branch_of("check_run", &run(foreign.clone(), ours.clone())), None);
    assert_eq!(branch_of("check_run", &run(ours, foreign)), None);
}

#[test]
fn a_status_is_on_a_branch_only_where_it_is_the_head_of_exactly_one() {
    let branch = |name: &str, sha: &str| json!({"name": name, "commit": {"sha": sha}});
    let status = |branches: Value| {
        told(json!({
            "sha": SHA, "context": "ci/lint", "state": "failure", "target_url": "https://ci.example.org/1", "branches": branches,
        }))
    };
    insta::assert_json_snapshot!(event_of("status", &status(json!([branch("main", SHA), branch("old", OLD)]))));
    assert_eq!(branch_of("status", &status(json!([branch("main", SHA), branch("topic", SHA)]))), None);
    assert_eq!(branch_of("status", &status(json!([branch("main", OLD)]))), None);
    assert_eq!(branch_of("status", &status(json!([]))), None);
}

#[test]
fn a_workflows_run_is_on_a_branch_only_where_its_head_is_ours() {
    let run = |head: Value| {
        let run = json!({
            "id": 9, "name": "CI", "head_branch": "main", "head_sha": SHA, "head_repository": head, "status": "completed",
            "conclusion": "success", "html_url": "https://github.com/octo/shop/actions/runs/9",
        });
        told(json!({"action": "completed", "workflow_run": run}))
    };
    insta::assert_json_snapshot!(event_of("workflow_run", &run(json!({"full_name": "octo/shop"}))));
    assert_eq!(branch_of("workflow_run", &run(json!({"full_name": "mallory/shop"}))), None);
    assert_eq!(branch_of("workflow_run", &run(Value::Null)), None);
    let mut unnamed = run(json!({}));
    unnamed["repository"] = json!({"html_url": "https://github.com/octo/shop"});
    assert_eq!(branch_of("workflow_run", &unnamed), None);
}

fn a_deployment(reference: &str) -> Value {
    json!({"id": 5, "sha": SHA, "ref": reference, "task": "deploy", "environment": "production"})
}

#[test]
fn a_deployments_short_ref_may_be_anything_and_is_not_taken_for_a_branch() {
    let body = |reference: &str| told(json!({"action": "created", "deployment": a_deployment(reference)}));
    insta::assert_json_snapshot!(event_of("deployment", &body("main")));
    for short in ["v1", SHA, ""] {
        assert_eq!(event_of("deployment", &body(short)).reference, None, "{short}");
    }
    assert_eq!(branch_of("deployment", &body("refs/heads/main")).as_deref(), Some("main"));
    assert_eq!(event_of("deployment", &body("refs/tags/v1")).tag.as_deref(), Some("v1"));
    assert!(reason_of("deployment", &body("refs/heads/../x")).contains("../x"));
}

#[test]
fn a_deployments_status_says_how_far_it_is_and_where() {
    let status =
        json!({"state": "in_progress", "environment": "staging", "log_url": "", "target_url": "https://ci.example.org/5"});
    let body = json!({"action": "created", "deployment": a_deployment("main"), "deployment_status": status});
    insta::assert_json_snapshot!(event_of("deployment_status", &told(body)));
}
