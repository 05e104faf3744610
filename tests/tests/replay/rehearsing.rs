//! What another configuration would run.

use std::path::Path;
use std::process::Command;

use hookspool_tests::programs::program;
use hookspool_tests::server::text;
use serde_json::{Value, json};

use crate::{changed, err, hookspool, out, server};

/// What a dry run prints, and its status.
fn dry_run(config: &Path, words: &[&str]) -> (String, Option<i32>) {
    let output = hookspool(config, &[&["replay", "--dry-run"], words].concat());
    assert_eq!(err(&output), "");
    (out(&output), output.status.code())
}

#[test]
fn a_dry_run_says_what_a_new_configuration_would_run_and_what_it_would_not() {
    let (mut server, [pushed, ignored]) = server();
    let week = ["--since", "7d"];
    let (said, status) = dry_run(&server.config(), &week);
    assert_eq!((said.as_str(), status), ("2 deliveries: 0 more to run, 0 not any more, 1 unchanged\n", Some(0)));
    // Literally `replay --since 7d --config NEW --dry-run`.
    let new = changed(&server, "new", |text| {
        text.replace("name = \"tests\"", "name = \"check\"").replace("branch = \"master\"", "branch = \"*\"")
    });
    let words = ["replay", "--since", "7d", "--config", &new.to_string_lossy(), "--dry-run"];
    let output = Command::new(program("hookspool")).args(words).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let said = out(&output);
    let lines: Vec<&str> = said.lines().collect();
    let sha = &server.laptop.head()[..10];
    let is = |line: &str, mark: &str, job: &str, branch: &str, id: &str| {
        let delivery = text(&server.json(&["deliveries", id, "--json"])["delivery"]);
        line.starts_with(&format!("{mark} job {job} of github.com/octo/shop  (push refs/heads/{branch} {sha}, {delivery}, 20"))
    };
    assert!(is(lines[0], "-", "tests", "master", &pushed.id) && lines[0].contains("): job `tests` is not in "), "{said}");
    assert!(is(lines[1], "+", "check", "master", &pushed.id) && is(lines[2], "+", "check", "develop", &ignored.id), "{said}");
    assert_eq!(lines[3], "2 deliveries: 2 more to run, 1 not any more, 0 unchanged");
    let json: Value =
        serde_json::from_slice(&hookspool(&new, &["replay", "--since", "7d", "--dry-run", "--json"]).stdout).unwrap();
    assert_eq!((&json["added"], &json["removed"], &json["changes"][0]["change"]), (&json!(2), &json!(1), &json!("removed")));
    // Against another configuration, instead of what was asked for at the time.
    let against = new.to_string_lossy();
    assert_eq!(dry_run(&new, &["--since", "7d", "--against", &against]).1, Some(0));
    let (said, status) = dry_run(&server.config(), &["--since", "7d", "--against", &against]);
    assert!(said.contains("+ job tests") && said.contains("- job check") && status == Some(1), "{said}");
    // Named ones are shown also when nothing changes.
    let (said, status) = dry_run(&server.config(), &[&pushed.id]);
    assert!(said.starts_with("  job tests of github.com/octo/shop") && status == Some(0), "{said}");
    assert_eq!(dry_run(&new, &[&ignored.id]).1, Some(1));
    // Repositories and sources that are gone are named.
    let new = changed(&server, "moved", |text| text.replace("github.com/octo/shop", "github.com/octo/store"));
    assert!(dry_run(&new, &week).0.contains("): github.com/octo/shop is not in the configuration"), "{}", dry_run(&new, &week).0);
    let new = changed(&server, "renamed", |text| {
        text.replace("\"github\"\nprovider", "\"forge\"\nprovider").replace("source = [\"github\"]", "source = [\"forge\"]")
    });
    let (said, status) = dry_run(&new, &week);
    assert!(
        said.contains("): source `github` is gone\n")
            && said.contains("2 deliveries: to source `github`, which ")
            && status == Some(1),
        "{said}"
    );
    // What is gone with the time is said, and is no promise that nothing would change.
    server.tamper("DELETE FROM body WHERE seq = 1");
    let (said, status) = dry_run(&server.config(), &week);
    assert!(said.starts_with("? delivery ") && said.contains("it asked for tests when it came\n") && status == Some(1), "{said}");
    server.tamper(
        "UPDATE inbox SET newest_pruned_at = (SELECT received_at FROM delivery WHERE seq = 1); DELETE FROM delivery WHERE seq = 1",
    );
    let (said, status) = dry_run(&server.config(), &week);
    assert!(said.starts_with("? what came until 20") && status == Some(1), "{said}");
    // Nothing of all that ran or was written.
    assert_eq!((server.runs().len(), server.written("ran").as_deref()), (1, Some("ran")));
}
