//! What starts a pass, beside the path unit: socket, timer, cron, and an operator.

use super::{machine, release, text, unit};

#[test]
fn a_delivery_starts_the_receiver_by_its_socket() {
    let Some(server) = machine() else { return };
    server.machine.run("systemctl stop hookspool-receiver.service");
    let run = server.push("socket");
    assert_eq!(server.machine.run("systemctl is-active hookspool-receiver.service"), "active\n");
    assert_eq!(server.wait_for_end(run), text("succeeded", ""));
}

#[test]
fn the_timer_takes_over_what_nobody_was_woken_for() {
    let Some(server) = machine() else { return };
    // Each second, so that the test need not wait for the minute.
    server.machine.run(
        "systemctl stop hookspool-worker.path; mkdir -p /run/systemd/system/hookspool-worker.timer.d
         printf '[Timer]\\nOnCalendar=*:*:*\\n' >/run/systemd/system/hookspool-worker.timer.d/often.conf
         systemctl daemon-reload; systemctl restart hookspool-worker.timer",
    );
    let run = server.push("timed");
    assert_eq!(server.wait_for_end(run), text("succeeded", ""));
    server.machine.run(
        "rm -r /run/systemd/system/hookspool-worker.timer.d; systemctl daemon-reload
         systemctl restart hookspool-worker.timer; systemctl start hookspool-worker.path",
    );
}

#[test]
fn crons_line_makes_passes_whose_runs_outlive_cron() {
    let Some(server) = machine() else { return };
    // The very line, but for the time: when cron starts, so that the test need not wait for the minute.
    server.machine.run(
        "systemctl stop 'hookspool-worker.*'
         sed 's/^\\* \\* \\* \\* \\*/@reboot/' /usr/src/hookspool/systemd/hookspool.cron >/etc/cron.d/hookspool; grep -q ^@reboot /etc/cron.d/hookspool
         cd /srv/clone; git push --quiet origin HEAD:refs/heads/cron
         hookspool send --repository github.com/octo/shop --ref cron --pusher mona@example.org --id by-cron
         rm -f /run/crond.reboot; systemctl restart cron",
    );
    server.machine.wait_until("test -s /srv/out/cron.began");
    let run =
        server.machine.run("hookspool trace by-cron --json | grep -m 1 '\"run\"' | tr -cd 0-9").trim().parse().expect("a run");
    assert_eq!(server.machine.property(&unit(run), "ActiveState"), "active");
    server.machine.run("rm /etc/cron.d/hookspool; systemctl kill --signal=KILL cron; systemctl stop cron");
    release(&server, "cron");
    assert_eq!(server.wait_for_end(run), text("failed", "build exited with status 3"));
    let mail = server.wait_for_mail(run);
    assert!(mail.contains("cron"), "{mail}");
    server.machine.run("systemctl start hookspool-worker.path hookspool-worker.timer");
}

#[test]
fn a_replay_has_the_workers_unit_make_the_pass() {
    let Some(server) = machine() else { return };
    let first = server.push("replayed");
    server.wait_for_end(first);
    server.machine.run("systemctl stop 'hookspool-worker.*'");
    let said = server.machine.run("hookspool replay delivery-replayed");
    assert!(said.contains("hookspool-worker.service"), "{said}");
    let invocation = server.machine.property("hookspool-worker.service", "InvocationID");
    assert_eq!(server.wait_for_end(first + 1), text("succeeded", ""));
    assert_ne!(invocation, "");
    server.machine.run("systemctl start hookspool-worker.path hookspool-worker.timer");
}
