//! What a run does: its steps, their results, their environment and their end, through the real receiver and worker.

use hookspool_common::event::Event;
use hookspool_tests::server::{BUILD_USER, Delivery, Server, entries, is_root, processes_with, text};
use serde_json::Value;

/// A job `tests` for pushes, with these lines.
fn job(lines: &str) -> String {
    format!("[[job]]\nname = \"tests\"\nwhen = [{{ event = \"push\" }}]\n{lines}\n")
}

/// A server with that job, after one push.
fn after_a_push(lines: &str) -> Server {
    let server = Server::new(&job(lines));
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    server
}

/// The job's own steps with their results, after a checkout that succeeded.
fn steps(server: &Server, run: i64) -> Vec<(String, String)> {
    let mut steps = server.steps(run);
    assert_eq!(steps.remove(0), ("checkout".to_owned(), "succeeded".to_owned()), "{}", server.log(run));
    steps
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, result)| ((*name).to_owned(), (*result).to_owned())).collect()
}

#[test]
fn steps_run_in_order_each_with_its_own_result() {
    // In the file in another order than the one in which they run.
    let step = |name: &str| format!("{name} = \"echo {name} $HOOKSPOOL_STEP >>$OUT/order\"\n");
    let lines: String = ["always", "deploy", "test", "build"].into_iter().map(step).collect();
    let server = after_a_push(&lines);
    assert_eq!(server.outcome(1), ("succeeded".to_owned(), String::new()));
    let all = [("build", "succeeded"), ("test", "succeeded"), ("deploy", "succeeded"), ("always", "succeeded")];
    assert_eq!(steps(&server, 1), pairs(&all));
    assert_eq!(server.written("order").unwrap(), "build build\ntest test\ndeploy deploy\nalways always");
    for step in server.show(1)["steps"].as_array().unwrap() {
        assert!(step["duration_ms"].is_u64() && step["exit_status"] == 0, "{step}");
    }
}

#[test]
fn after_a_failed_build_only_always_runs_and_is_told_the_outcome() {
    let server = after_a_push(
        "build = \"echo no good; exit 7\"\ntest = \"echo x >$OUT/test\"\ndeploy = \"echo x >$OUT/deploy\"\n\
         always = \"echo $HOOKSPOOL_OUTCOME >$OUT/always\"",
    );
    assert_eq!(server.outcome(1), ("failed".to_owned(), "build exited with status 7".to_owned()));
    assert_eq!(steps(&server, 1), pairs(&[("build", "exited with status 7"), ("always", "succeeded")]));
    assert_eq!(server.show(1)["steps"][1]["exit_status"], 7);
    assert_eq!((server.written("test"), server.written("deploy")), (None, None));
    assert_eq!(server.written("always").as_deref(), Some("failed"));
    let body = &server.mails()[0].body;
    assert!(body.contains("  | no good\n"), "{body}");
    for line in ["test      not run", "deploy    not run"] {
        assert!(body.contains(line), "{body}");
    }
}

#[test]
fn a_failing_always_fails_the_run_and_does_not_hide_an_earlier_failure() {
    let server = after_a_push("build = \"true\"\nalways = \"exit 3\"");
    assert_eq!(server.outcome(1), ("failed".to_owned(), "always exited with status 3".to_owned()));
    let server = after_a_push("build = \"exit 4\"\nalways = \"exit 3\"");
    assert_eq!(server.outcome(1), ("failed".to_owned(), "build exited with status 4".to_owned()));
}

#[test]
fn exit_codes_and_signals_are_kept_exactly() {
    for (line, result, status) in [
        ("build = \"exit 42\"", "exited with status 42", Some(42)),
        ("build = \"exit 255\"", "exited with status 255", Some(255)),
        ("build = \"no-such-command\"", "exited with status 127 (a command was not found)", Some(127)),
        ("build = \"./message\"", "exited with status 126 (a command is not executable)", Some(126)),
        ("build = \"kill -9 $$\"", "was killed by SIGKILL", None),
        ("build = \"kill -SEGV $$\"", "was killed by SIGSEGV", None),
        ("build = { argv = [\"/no/such/program\"] }", "could not start: No such file or directory (os error 2)", None),
    ] {
        let server = after_a_push(line);
        assert_eq!(server.outcome(1), ("failed".to_owned(), format!("build {result}")), "{line}");
        assert_eq!(server.show(1)["steps"][1]["exit_status"], status.map_or(Value::Null, Value::from), "{line}");
    }
}

#[test]
fn a_timeout_ends_the_step_and_all_that_it_started() {
    let server = Server::new(&job("timeout = \"1s\"\nbuild = \"$OUT/sleeper 1000 & echo started; $OUT/sleeper 1001\"\n\
         test = \"echo x >$OUT/test\"\nalways = \"echo $HOOKSPOOL_OUTCOME >$OUT/always\""));
    let sleeper = server.make_sleeper();
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert_eq!(server.outcome(1), ("timed_out".to_owned(), "build took too long and was ended".to_owned()));
    assert_eq!(processes_with(&[&sleeper]), [0; 0]);
    assert_eq!(server.written("test"), None);
    assert_eq!(server.written("always").as_deref(), Some("timed_out"));
    assert!(server.mails()[0].subject().contains("timed out on master"), "{}", server.mails()[0].subject());
    assert!(server.mails()[0].body.contains("  | started\n"), "{}", server.mails()[0].body);
}

#[test]
fn a_step_that_ignores_the_polite_signal_is_killed() {
    let server = Server::new(&job(
        "build = { run = \"trap '' TERM; (trap '' TERM; while :; do $OUT/sleeper 1; done) & wait\", timeout = \"1s\" }",
    ));
    let sleeper = server.make_sleeper();
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert_eq!(server.outcome(1).0, "timed_out");
    assert_eq!(processes_with(&[&sleeper]), [0; 0]);
}

#[test]
fn a_step_has_exactly_the_documented_environment() {
    let server = Server::new(&job(
        "secrets = [\"TOKEN\"]\nbuild = { argv = [\"/usr/bin/env\"] }\ntest = \"cat $HOOKSPOOL_EVENT >$OUT/event.json\"",
    ));
    server.write_secret("TOKEN", "open sesame");
    let sha = server.laptop.head();
    let delivery = server.deliver_and_settle(&Delivery::push("master", &sha));
    let log = server.log(1);
    let (_, after) = log.split_once("] build: as user").unwrap();
    let (env, _) = after.split_once("[hookspool] build succeeded").unwrap();
    let mut variables: Vec<(&str, &str)> = env.lines().skip(1).filter_map(|line| line.split_once('=')).collect();
    variables.sort_unstable();
    let work = server.state("work/1").to_string_lossy().into_owned();
    let (source, home, tmp) = (format!("{work}/src"), format!("{work}/home"), format!("{work}/tmp"));
    let forge = server.laptop.forge().to_string_lossy().into_owned();
    let event_file = format!("{work}/event.json");
    let user = if is_root() { BUILD_USER.to_owned() } else { whoami() };
    let expected = [
        ("CI", "true"),
        ("HOME", &home),
        ("HOOKSPOOL", "true"),
        ("HOOKSPOOL_BEFORE", "1111111111111111111111111111111111111111"),
        ("HOOKSPOOL_BRANCH", "master"),
        ("HOOKSPOOL_CLONE_URL", &forge),
        ("HOOKSPOOL_DELIVERY", &delivery),
        ("HOOKSPOOL_EVENT", &event_file),
        ("HOOKSPOOL_EVENT_KIND", "push"),
        ("HOOKSPOOL_JOB", "tests"),
        ("HOOKSPOOL_PUSHER", "mona"),
        ("HOOKSPOOL_REF", "refs/heads/master"),
        ("HOOKSPOOL_REPOSITORY", "github.com/octo/shop"),
        ("HOOKSPOOL_RUN", "1"),
        ("HOOKSPOOL_SHA", &sha),
        ("HOOKSPOOL_SOURCE", "github"),
        ("HOOKSPOOL_STEP", "build"),
        ("HOOKSPOOL_WORKSPACE", &source),
        ("LANG", "C.UTF-8"),
        ("LOGNAME", &user),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("SHELL", "/bin/sh"),
        ("TMPDIR", &tmp),
        ("TOKEN", "***"),
        ("USER", &user),
        ("WEBHOOKBUILD_CONTAINERNAME", "shop-master"),
        ("WEBHOOKBUILD_DOMAINNAME", "shop-master.localhost"),
        ("WEBHOOKBUILD_FOLDER", &source),
        ("WEBHOOKBUILD_NAME", "shop"),
        ("WEBHOOKBUILD_URL", &forge),
    ];
    assert_eq!(variables, expected);
    let event: Event = serde_json::from_str(&server.written("event.json").unwrap()).unwrap();
    assert_eq!(serde_json::to_value(&event).unwrap(), server.show(1)["event"]);
    assert_eq!(event.commits.unwrap()[0].sha.as_str(), sha);
}

fn whoami() -> String {
    let output = std::process::Command::new("id").arg("-un").output().expect("id can be started");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_step_works_in_its_workspace_with_a_home_and_a_folder_for_temporary_files_of_its_own() {
    let server = after_a_push(
        "build = \"pwd >$OUT/pwd; touch $HOME/a $TMPDIR/b ./c; umask >$OUT/umask\"\n\
         test = \"test -e $HOME/a && test -e $TMPDIR/b && test -e ./c && git status --porcelain >$OUT/status\"",
    );
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert_eq!(server.written("pwd"), Some(server.state("work/1/src").to_string_lossy().into_owned()));
    assert_eq!(server.written("status").as_deref(), Some("?? c"));
    assert_eq!(server.written("umask").as_deref(), Some("0022"));
    assert!(!server.state("work/1").exists());
}

#[test]
fn arguments_reach_a_program_without_a_shell() {
    let server = after_a_push("build = { argv = [\"/usr/bin/printf\", \"<%s>\", \"$HOME `id` *\", \"a  b\", \"; false\"] }");
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert!(server.log(1).contains("\n<$HOME `id` *><a  b><; false>\n"), "{}", server.log(1));
}

#[test]
fn a_list_of_commands_ends_at_the_first_that_fails() {
    let server = after_a_push("build = [\"cd /; echo a >$OUT/a\", \"pwd >$OUT/pwd; exit 3\", \"echo b >$OUT/b\"]");
    assert_eq!(server.outcome(1).1, "build exited with status 3");
    assert!(server.written("a").is_some() && server.written("b").is_none());
    // Each begins in the workspace.
    assert_eq!(server.written("pwd"), Some(server.state("work/1/src").to_string_lossy().into_owned()));
    let server = after_a_push("build = \"false; echo not reached >$OUT/a\"");
    assert_eq!((server.outcome(1).1.as_str(), server.written("a")), ("build exited with status 1", None));
    let server = after_a_push("build = \"echo $NO_SUCH_VARIABLE; echo not reached >$OUT/a\"");
    assert_eq!((server.outcome(1).0.as_str(), server.written("a")), ("failed", None));
}

#[test]
fn each_step_runs_as_its_own_user_and_finds_what_the_one_before_it_made() {
    if !is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    let server = after_a_push(
        "user = \"bin\"\nbuild = \"id -un >made\"\n\
         test = { run = \"id -un >>made; cp made $TMPDIR/made\", user = \"daemon\" }\n\
         deploy = { run = \"id -un >>made; cp made $OUT/made; id -un >own-by-root\", user = \"root\" }\n\
         always = \"id -un >>made && cat made\"",
    );
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert_eq!(server.written("made").unwrap(), "bin\ndaemon\nroot");
    assert!(server.log(1).contains("\nbin\ndaemon\nroot\nbin\n"), "{}", server.log(1));
    let unknown = after_a_push("build = \"true\"\nuser = \"no-such-user\"");
    let (state, reason) = unknown.outcome(1);
    assert!(state == "failed" && reason.contains("`no-such-user`") && reason.contains("adduser"), "{state} {reason}");
}

#[test]
fn secrets_reach_steps_and_neither_log_nor_mail() {
    let server = Server::new(&job("secrets = [\"TOKEN\", \"KEY\"]\n\
         build = \"echo \\\"token=$TOKEN.\\\"; echo \\\"$KEY\\\"; printf 'open '; sleep 0.3; echo sesame; \
         echo \\\"$TOKEN\\\" >$OUT/token; exit 1\""));
    server.write_secret("TOKEN", "open sesame\n");
    server.write_secret("KEY", "-----BEGIN-----\nabcdefgh\nijklmnop\n");
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert_eq!(server.written("token").as_deref(), Some("open sesame"));
    let log = server.log(1);
    assert!(log.contains("token=***.\n***\n***\n"), "{log}");
    let everything = format!("{log}{}{}", server.mails()[0].body, server.show(1));
    assert!(server.mails()[0].body.contains("  | token=***.\n"), "{}", server.mails()[0].body);
    for secret in ["sesame", "abcdefgh", "ijklmnop"] {
        assert!(!everything.contains(secret), "{everything}");
    }
}

#[test]
fn a_secret_that_is_absent_or_too_short_to_be_masked_fails_the_run_and_is_named() {
    let server = Server::new(&job("secrets = [\"TOKEN\"]\nbuild = \"echo x >$OUT/ran\""));
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert!(
        server.outcome(1).1.starts_with("secret `TOKEN` is absent; write it into a file of that name in "),
        "{}",
        server.outcome(1).1
    );
    server.write_secret("TOKEN", "12345");
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert!(server.outcome(2).1.contains("`TOKEN` has 5 bytes"), "{}", server.outcome(2).1);
    assert_eq!((server.states().join(" ").as_str(), server.written("ran")), ("failed failed", None));
    assert!(
        server.mails()[0].words().contains("secret `TOKEN` is absent; write it into a file of that name in"),
        "{}",
        server.mails()[0].body
    );
}

#[test]
fn nothing_of_a_run_is_left_but_log_and_mail_and_the_next_pass_changes_nothing() {
    let server = after_a_push("build = \"mkdir -p a/b; echo x >a/b/c; chmod 500 a/b\"\ntest = \"exit 1\"");
    assert_eq!(server.outcome(1).0, "failed");
    assert_eq!((entries(&server.state("work")), entries(&server.state("runs"))), (vec![], vec![]));
    let contents = || {
        // What is in the ledger's log counts, too, whoever closed the file last.
        let ledger = rusqlite::Connection::open(server.state("ledger.db")).unwrap();
        ledger.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        let script = "find state logs spool mail out -type f ! -name '*-shm' ! -name '*-wal' | sort | xargs -d '\\n' sha256sum; \
                      find state logs spool mail out | grep -v -e '-shm$' -e '-wal$' | sort";
        let output = std::process::Command::new("sh").args(["-c", script]).current_dir(server.path()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let before = contents();
    assert!(before.contains("state/ledger.db") && before.contains("logs/runs/1.log"), "{before}");
    server.run_pass();
    assert_eq!(contents(), before);
}

#[test]
fn a_job_that_is_gone_from_the_configuration_is_refused() {
    let server = Server::new(&job("build = \"echo x >$OUT/ran\""));
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    let other = job("build = \"echo x >$OUT/ran\"").replace("tests", "another");
    server.configure(hookspool_tests::server::Setup { jobs: &other, ..Default::default() });
    server.settle();
    let shown = server.show(1);
    assert_eq!((text(&shown["state"]), text(&shown["job"])), ("refused".to_owned(), "tests".to_owned()));
    assert!(text(&shown["reason"]).contains("job `tests` is not in "), "{shown}");
    assert_eq!(server.written("ran"), None);
}

#[test]
fn a_ledger_that_was_lost_does_not_run_everything_again() {
    let server =
        Server::new("[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\nbuild = \"echo $HOOKSPOOL_SHA >>$OUT/built\"\n");
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.push_commit("master", "1")));
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        let _ = std::fs::remove_file(server.state(name));
    }
    server.run_pass();
    assert!(server.runs().is_empty());
    let new = server.laptop.push_commit("master", "2");
    server.deliver_and_settle(&Delivery::push("master", &new));
    assert_eq!(server.written("built").unwrap().lines().collect::<Vec<_>>().len(), 2);
    assert_eq!(server.written("built").unwrap().lines().last(), Some(&*new));
}

#[test]
fn a_step_whose_user_does_not_exist_fails_and_always_still_runs() {
    let server = after_a_push(
        "test = { run = \"true\", user = \"nobody-at-all\" }\ndeploy = \"echo x >$OUT/deployed\"\nalways = \"echo $HOOKSPOOL_OUTCOME >$OUT/outcome\"",
    );
    let (state, reason) = server.outcome(1);
    assert!(
        state == "failed" && reason.starts_with("test could not start: there is no user `nobody-at-all`"),
        "{state}: {reason}"
    );
    assert_eq!((server.written("deployed"), server.written("outcome").as_deref()), (None, Some("failed")));
}
