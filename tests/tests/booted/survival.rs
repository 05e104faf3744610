//! What happens to the worker, and not to its runs.

use super::{a_run_that_waits, machine, release, text, unit};

/// Installs a worker as a package manager does: the new file takes the old one's name. It leaves a word each time that it is
/// started.
const INSTALL: &str = r#"
rm -f /srv/out/new-program
cat >/usr/local/bin/hookspool-worker.new <<'END'
#!/bin/sh
echo "$1" >>/srv/out/new-program
exec /usr/src/hookspool/target/release/hookspool-worker "$@"
END
chmod 755 /usr/local/bin/hookspool-worker.new
mv /usr/local/bin/hookspool-worker.new /usr/local/bin/hookspool-worker
"#;

/// Installs the former one.
const RESTORE: &str = "install -m 755 /usr/src/hookspool/target/release/hookspool-worker /usr/local/bin/";

#[test]
fn a_run_goes_on_when_all_of_the_workers_units_are_stopped_and_its_end_is_known() {
    let Some(server) = machine() else { return };
    let run = a_run_that_waits(&server, "stopped");
    let runner = server.machine.property(&unit(run), "MainPID");
    server.machine.run("systemctl stop 'hookspool-worker.*'");
    assert_eq!(server.machine.property(&unit(run), "MainPID"), runner);
    release(&server, "stopped");
    // Nobody passes any more. The runner itself writes the end down.
    assert_eq!(server.wait_for_end(run), text("failed", "build exited with status 3"));
    assert_eq!(
        server.machine.run("systemctl is-active hookspool-worker.service hookspool-worker.path || true"),
        "inactive\ninactive\n"
    );
    assert!(server.mail(run).is_none());
    server.machine.run("systemctl start hookspool-worker.path hookspool-worker.timer");
    let mail = server.wait_for_mail(run);
    assert!(mail.contains("stopped"), "{mail}");
}

#[test]
fn a_deploy_may_install_hookspool_itself_and_restart_all_of_it() {
    let Some(server) = machine() else { return };
    server.machine.run(&format!(
        "cat >/srv/out/install-hookspool <<'OUTER'\n#!/bin/sh -eu\n{INSTALL}systemctl daemon-reload\n\
         systemctl restart hookspool-receiver.socket hookspool-receiver.service 'hookspool-worker.*'\nOUTER\n\
         chmod 755 /srv/out/install-hookspool"
    ));
    let run = server.push("itself");
    assert_eq!(server.wait_for_end(run), text("failed", "deploy exited with status 5"));
    assert_eq!(server.machine.run("cat /srv/out/itself"), "deployed\n");
    // What comes next is the new program's.
    let next = server.push("quick");
    assert_eq!(server.wait_for_end(next), text("succeeded", ""));
    assert!(server.machine.run("sort -u /srv/out/new-program").starts_with("pass\n"));
    server.machine.run(RESTORE);
}

#[test]
fn where_no_unit_passes_a_runner_goes_on_as_a_pass_of_the_program_that_is_installed_by_then() {
    let Some(server) = machine() else { return };
    // The units are stopped; a person makes a pass, and two runs share the only slot.
    server.machine.run("systemctl stop 'hookspool-worker.*'; sed -i 's/^slots = 4/slots = 1/' /etc/hookspool/hookspool.toml");
    server.machine.run(
        "cd /srv/clone; git push --quiet origin HEAD:refs/heads/replaced HEAD:refs/heads/second
         for branch in replaced second; do hookspool send --repository github.com/octo/shop --ref $branch --pusher mona@example.org --id by-hand-$branch; done
         hookspool-worker pass 2>/dev/null",
    );
    let run = server
        .machine
        .run("hookspool trace by-hand-replaced --json | grep -m 1 '\"run\"' | tr -cd 0-9")
        .trim()
        .parse()
        .expect("a run");
    server.machine.wait_until("test -s /srv/out/replaced.began");
    assert_eq!(server.machine.property(&unit(run), "ExecStopPost"), "");
    server.machine.run(INSTALL);
    release(&server, "replaced");
    assert_eq!(server.wait_for_end(run), text("failed", "build exited with status 3"));
    assert_eq!(server.wait_for_end(run + 1), text("succeeded", ""));
    assert!(server.machine.run("sort -u /srv/out/new-program").starts_with("pass\n"));
    let mail = server.wait_for_mail(run + 1);
    assert!(mail.contains("second"), "{mail}");
    server.machine.run(RESTORE);
    server.machine.run(
        "sed -i 's/^slots = 1/slots = 4/' /etc/hookspool/hookspool.toml
         systemctl start hookspool-worker.path hookspool-worker.timer",
    );
}
