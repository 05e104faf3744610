//! The keys of a job beyond its steps: what they mean, and where they are wrong.

use std::time::Duration;

use super::{MAIN, load, problems};
use crate::config::*;

const MIB: u64 = 1024 * 1024;

/// A repository with one job that has these lines.
fn with_job(lines: &str) -> String {
    let job = "[[job]]\nname = \"a\"\nwhen = { event = \"push\" }\nbuild = \"true\"";
    format!("repository = \"github.com/octo/shop\"\nsource = \"github\"\n{job}\n{lines}\n")
}

fn job(lines: &str) -> Job {
    load(MAIN, &[("a.toml", &with_job(lines))]).1.unwrap().repositories.remove(0).jobs.remove(0)
}

#[test]
fn limits_of_a_job_win_over_those_of_the_worker() {
    let main = MAIN.replace("slots = 2", "slots = 2\nlimits = { memory = \"1GiB\", processes = 100, output = \"1MiB\" }");
    let text = with_job("limits = { memory = \"64MiB\", cpu_weight = 20, open_files = 256, workspace = \"1GiB\" }");
    let config = load(&main, &[("a.toml", &text)]).1.unwrap();
    let limits = config.repositories[0].jobs[0].limits.or(config.worker.limits);
    assert_eq!((limits.memory, limits.processes, limits.output_bytes()), (Some(64 * MIB), Some(100), MIB));
    assert_eq!((limits.cpu_weight, limits.open_files, limits.workspace), (Some(20), Some(256), Some(1024 * MIB)));
    assert_eq!(job("").limits, Limits::default());
    assert_eq!(Limits::default().output_bytes(), DEFAULT_OUTPUT_BYTES);
}

#[test]
fn only_a_job_that_deploys_is_held_after_a_crash_by_default() {
    assert_eq!((job("").on_crash, job("").deploys()), (OnCrash::Retry, false));
    assert_eq!((job("deploy = \"true\"").on_crash, job("deploy = \"true\"").deploys()), (OnCrash::Hold, true));
    assert_eq!(job("deploy = \"true\"\non_crash = \"fail\"").on_crash, OnCrash::Fail);
    assert!(job("").forward_only && !job("forward_only = false").forward_only);
}

#[test]
fn a_retry_names_its_reasons_or_is_for_what_tests_do_not_decide() {
    let by_default = Retry { attempts: 2, on: vec![RetryOn::Checkout, RetryOn::TimedOut], delay: Duration::from_secs(60) };
    assert_eq!(job("retry = { attempts = 2 }").retry, Some(by_default));
    let said = job("retry = { attempts = 3, on = [\"test\"], delay = \"5s\" }").retry;
    assert_eq!(said, Some(Retry { attempts: 3, on: vec![RetryOn::Test], delay: Duration::from_secs(5) }));
    assert_eq!(job("").retry, None);
}

#[test]
fn secrets_are_variables_or_files() {
    let secrets = |lines: &str| {
        let secrets = job(lines).secrets;
        secrets.into_iter().map(|secret| (secret.name.to_string(), secret.form.as_str())).collect::<Vec<_>>()
    };
    let expected = [("A".to_owned(), "env"), ("B".to_owned(), "file"), ("C".to_owned(), "env")];
    assert_eq!(secrets("secrets = [\"A\", { name = \"B\", as = \"file\" }, { name = \"C\" }]"), expected);
    assert_eq!(secrets("secrets = \"A\""), expected[..1]);
}

#[test]
fn a_step_has_the_network_of_its_job_unless_it_says_otherwise() {
    let network = |lines: &str| job(lines).steps.iter().map(|step| step.network).collect::<Vec<_>>();
    assert_eq!(network("test = \"true\""), [true, true]);
    assert_eq!(network("network = false\ntest = { run = \"true\", network = true }"), [false, true]);
}

#[test]
fn what_is_cached_are_plain_folders_of_the_workspace() {
    let cache = job("cache = [\"target\", \"web/node_modules/\"]").workspace.cache.unwrap();
    assert_eq!((cache.paths, cache.size), (vec!["target".to_owned(), "web/node_modules".to_owned()], 2048 * MIB));
    assert_eq!(job("cache = { paths = [\"x\"], size = \"1MiB\" }").workspace.cache.unwrap().size, MIB);
    for hostile in ["/etc", "../x", "a/../../b", "", ".", ".git", ".git/hooks", "./a/.."] {
        let wrong = problems(MAIN, &[("a.toml", &with_job(&format!("cache = [\"{hostile}\"]")))]);
        assert!(wrong.contains("cannot be kept as a cache"), "{hostile}: {wrong}");
    }
}

#[test]
fn a_token_is_for_https_alone() {
    let with = |clone: &str| with_job("").replace("[[job]]", &format!("clone = \"{clone}\"\nhttps_token = \"token\"\n[[job]]"));
    let config = load(MAIN, &[("a.toml", &with("https://github.com/octo/shop.git"))]).1.unwrap();
    assert_eq!(config.repositories[0].https_token.as_ref().unwrap().as_str(), "token");
    for clone in ["git@github.com:octo/shop.git", "http://github.com/octo/shop.git", "/srv/git/shop.git"] {
        let wrong = problems(MAIN, &[("a.toml", &with(clone))]);
        assert!(wrong.contains("a.toml:4:15: `https_token` is for"), "{wrong}");
    }
}

#[test]
fn what_no_job_can_mean_is_refused_in_its_place() {
    let lines = "limits = { memory = \"1MiB\", processes = 0, cpu_weight = 20000, open_files = 1, swap = \"1GiB\" }\n\
                 lane = { priority = 101 }\n\
                 retry = { on = [\"tests\"], delay = \"1 minute\" }\n\
                 on_crash = \"again\"\nkeep = \"on_failure\"\nsubmodules = \"yes\"\n\
                 secrets = [{ name = \"A-B\" }, { as = \"file\" }, { name = \"C\", as = \"folder\" }, 7]\n\
                 cache = { path = [\"target\"] }\n";
    insta::assert_snapshot!(problems(MAIN, &[("a.toml", &with_job(lines))]));
    let worker = "slots = 2\nretention = { age = \"1\", count = 0, logs = \"1GiB\" }";
    insta::assert_snapshot!(problems(&MAIN.replace("slots = 2", worker), &[]));
}
