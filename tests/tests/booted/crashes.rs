//! Runners that die, and machines that do.

use hookspool_tests::booted::Installed;

use super::{a_run_that_waits, machine, release, text, unit};

#[test]
fn a_runner_that_is_killed_leaves_a_run_that_says_how_a_mail_and_nothing_else() {
    let Some(server) = machine() else { return };
    let run = a_run_that_waits(&server, "hides");
    let runner = server.machine.property(&unit(run), "MainPID");
    // No timer: the mark that systemd leaves has the path unit start the pass that finds it.
    server.machine.run(&format!("systemctl stop hookspool-worker.timer; kill -KILL {runner}"));
    assert_eq!(server.wait_for_end(run), text("interrupted", "the runner was killed by SIGKILL while `build` ran"));
    let mail = server.wait_for_mail(run);
    assert!(mail.contains("was killed by SIGKILL while"), "{mail}");
    assert_eq!(server.machine.run("pgrep -x sleep || true"), "", "what hid is gone");
    server.machine.run("systemctl start hookspool-worker.timer");
}

#[test]
fn a_runner_that_died_while_nobody_could_look_is_explained_by_what_systemd_kept() {
    let Some(server) = machine() else { return };
    let run = a_run_that_waits(&server, "lost");
    server.machine.run("systemctl stop 'hookspool-worker.*'");
    server.machine.run(&format!("systemctl kill --signal=ABRT --kill-whom=main {}", unit(run)));
    server.machine.wait_until(&format!("systemctl is-failed {}", unit(run)));
    assert_eq!(server.outcome(run).0, "running");
    server.machine.run("systemctl start hookspool-worker.path hookspool-worker.timer");
    assert_eq!(server.wait_for_end(run), text("interrupted", "the runner was killed by SIGABRT while `build` ran"));
}

#[test]
fn a_run_whose_unit_is_stopped_ends_its_step_and_says_so() {
    let Some(server) = machine() else { return };
    let run = a_run_that_waits(&server, "asked");
    server.machine.run(&format!("systemctl stop {}", unit(run)));
    assert_eq!(server.wait_for_end(run), text("interrupted", "build was ended, because the runner was asked to end"));
}

#[test]
fn after_a_power_failure_in_a_deploy_the_run_is_interrupted_and_mailed_and_nothing_runs_by_itself() {
    let Some(mut server) = machine() else { return };
    let run = a_run_that_waits(&server, "site");
    server.machine.run("sync");
    server.machine.pull_the_plug();
    server.machine.turn_on();
    assert_eq!(server.wait_for_end(run), text("interrupted", "the machine was restarted while `deploy` ran"));
    let mail = server.wait_for_mail(run);
    assert!(mail.contains("the machine was restarted while"), "{mail}");
    let other = server.push("quick-after-power");
    server.wait_for_end(other);
    assert_eq!(server.machine.run("cat /srv/out/site.began"), "began\n", "it was not started again");
}

#[test]
fn a_reboot_asks_runs_to_end_and_the_mail_goes_when_the_machine_is_back() {
    let Some(mut server) = machine() else { return };
    let run = a_run_that_waits(&server, "shop");
    server.machine.shut_down();
    server.machine.turn_on();
    assert_eq!(server.wait_for_end(run), text("interrupted", "deploy was ended, because the runner was asked to end"));
    let mail = server.wait_for_mail(run);
    assert!(mail.contains("deploy was ended"), "{mail}");
    assert_eq!(server.machine.run("cat /srv/out/shop.began"), "began\n");
}

#[test]
fn a_failed_unit_of_the_next_runs_name_is_not_in_its_way() {
    let Some(server) = machine() else { return };
    // A unit of the next run's name that failed, as another ledger's run may have left it.
    let next = server
        .machine
        .run("hookspool runs --limit 1 --json | grep -m 1 '\"run\"' | tr -cd 0-9")
        .trim()
        .parse::<i64>()
        .map_or(1, |run| run + 1);
    let _ = server.machine.try_run(&format!("systemd-run --wait --quiet --unit={} false", unit(next)));
    let run = a_run_that_waits(&server, "first");
    assert_eq!(run, next);
    release(&server, "first");
    assert_eq!(server.wait_for_end(run), text("failed", "build exited with status 3"));
}

/// While this is there, systemd takes its time to start a runner: until `/srv/out/start` is there.
const SLOW: &str = "/run/systemd/system/hookspool-run-.service.d/slow.conf";

/// A run whose pass was killed while systemd was starting its runner.
fn a_run_that_is_being_started(server: &Installed, job: &str) -> i64 {
    server.machine.run(&format!(
        "rm -f /srv/out/start /srv/out/starting; mkdir -p $(dirname {SLOW})
         echo '[Service]' >{SLOW}
         echo 'ExecStartPre=/bin/sh -c \"echo >/srv/out/starting; while ! test -e /srv/out/start; do sleep 0.05; done\"' >>{SLOW}
         systemctl daemon-reload"
    ));
    let run = server.push(job);
    server.machine.wait_until("test -e /srv/out/starting");
    let pass = server.machine.property("hookspool-worker.service", "MainPID");
    server.machine.run(&format!("rm {SLOW}; systemctl daemon-reload; kill -KILL {pass}"));
    server.machine.wait_until(&format!("! test -e /proc/{pass}"));
    assert_eq!(server.machine.property(&unit(run), "ActiveState"), "activating");
    assert_eq!(server.outcome(run).0, "queued");
    run
}

#[test]
fn a_run_whose_pass_is_killed_while_systemd_starts_its_runner_runs_once_without_another_pass() {
    let Some(server) = machine() else { return };
    let run = a_run_that_is_being_started(&server, "half-started");
    server.machine.run("touch /srv/out/start");
    server.machine.wait_until("test -s /srv/out/half-started.began");
    server.machine.run("systemctl start hookspool-worker.service");
    release(&server, "half-started");
    assert_eq!(server.wait_for_end(run), text("failed", "build exited with status 3"));
    assert_eq!(server.machine.run("cat /srv/out/half-started.began"), "began\n");
}

#[test]
fn a_pass_that_is_killed_while_systemd_starts_a_runner_leaves_nothing_in_the_way() {
    let Some(server) = machine() else { return };
    let run = a_run_that_is_being_started(&server, "cut");
    // The unit of the dead pass would never be done; this pass clears it away, and starts its own.
    server.machine.run("systemctl start hookspool-worker.service");
    server.machine.wait_until("test -s /srv/out/cut.began");
    release(&server, "cut");
    assert_eq!(server.wait_for_end(run), text("failed", "build exited with status 3"));
    assert_eq!(server.machine.run("cat /srv/out/cut.began"), "began\n");
    assert_ne!(server.wait_for_mail(run), "");
}
