//! From a delivery to the end of its run.

use hookspool_tests::booted::Installed;

use super::{a_run_that_waits, machine, release, text, unit};

#[test]
fn a_delivery_wakes_a_pass_whose_run_is_a_unit_and_ends_with_its_exact_status() {
    let Some(server) = machine() else { return };
    let run = server.push("exits");
    assert_eq!(server.wait_for_end(run), text("failed", "build exited with status 7"));
    let mail = server.wait_for_mail(run);
    assert!(mail.contains("build exited with status 7"), "{mail}");
    assert_eq!(server.left_of(run), "");
    // systemd found nothing wrong with any unit.
    assert_eq!(server.machine.run("systemctl list-units --failed --plain --no-legend 'hookspool*'"), "");
}

fn properties(server: &Installed, run: i64, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| server.machine.property(&unit(run), name)).collect()
}

#[test]
fn a_runs_unit_is_its_own_in_every_way_and_confined_unless_a_step_is_roots() {
    let Some(server) = machine() else { return };
    let run = a_run_that_waits(&server, "properties");
    let root = a_run_that_waits(&server, "root");
    for run in [run, root] {
        let names = [
            "Type",
            "NotifyAccess",
            "KillMode",
            "SendSIGHUP",
            "TimeoutStopUSec",
            "OOMPolicy",
            "Delegate",
            "LimitCORESoft",
            "UMask",
            "Slice",
            "StandardOutput",
            "StandardError",
            "Restart",
            "ActiveState",
        ];
        let values = [
            "notify",
            "main",
            "mixed",
            "no",
            "1min 30s",
            "continue",
            "yes",
            "0",
            "0027",
            "hookspool.slice",
            "null",
            "journal",
            "no",
            "active",
        ];
        assert_eq!(properties(&server, run, &names), values);
        let at_its_end = server.machine.property(&unit(run), "ExecStopPost");
        assert!(at_its_end.contains("exec touch") && at_its_end.contains(" /var/lib/hookspool/pass.again ;"), "{at_its_end}");
        let runner = server.machine.property(&unit(run), "MainPID");
        let group = server.machine.run(&format!("cat /proc/{runner}/cgroup"));
        assert!(group.contains(&format!("/hookspool.slice/{}", unit(run))), "{group}");
        let environment =
            server.machine.run(&format!("tr '\\0' '\\n' </proc/{runner}/environ | cut -d= -f1 | sort | tr '\\n' ' '"));
        assert_eq!(
            environment, "HOOKSPOOL_PASS_UNIT INVOCATION_ID JOURNAL_STREAM LANG NOTIFY_SOCKET PATH SYSTEMD_EXEC_PID ",
            "of run {run}"
        );
    }
    assert_eq!(server.machine.property(&unit(run), "CPUWeight"), "50");
    let confinement = ["PrivateTmp", "ProtectSystem", "NoNewPrivileges"];
    assert_eq!(properties(&server, run, &confinement), ["yes", "full", "yes"]);
    assert_eq!(properties(&server, root, &confinement), ["no", "no", "no"]);
    // A mount that a deploy makes as root is the machine's.
    let namespace = |pid: &str| server.machine.run(&format!("readlink /proc/{pid}/ns/mnt"));
    let of = |run| namespace(&server.machine.property(&unit(run), "MainPID"));
    assert_eq!((of(root) == namespace("1"), of(run) == namespace("1")), (true, false));
    release(&server, "properties");
    release(&server, "root");
    assert_eq!(server.wait_for_end(run), text("failed", "build exited with status 3"));
    assert_eq!(server.wait_for_end(root), text("failed", "build exited with status 3"));
}

#[test]
fn a_run_has_a_copy_of_the_workers_credentials_for_as_long_as_it_lives() {
    let Some(server) = machine() else { return };
    server.machine.run(
        "mkdir -p /etc/systemd/system/hookspool-worker.service.d; umask 077; printf deep-secret >/srv/token
         printf '[Service]\\nLoadCredential=TOKEN:/srv/token\\n' >/etc/systemd/system/hookspool-worker.service.d/token.conf
         systemctl daemon-reload",
    );
    let run = a_run_that_waits(&server, "secret");
    // The pass is over, and with it its own copy; the file that both came from may go too.
    server.machine.wait_until("! test -e /run/credentials/hookspool-worker.service");
    server.machine.run("rm /srv/token /etc/systemd/system/hookspool-worker.service.d/token.conf; systemctl daemon-reload");
    assert_eq!(server.machine.run("cat /srv/out/secret"), "terces-peed");
    let copy = format!("/run/credentials/{}/TOKEN", unit(run));
    assert_eq!(server.machine.run(&format!("cat {copy}; stat -c ' %U %a' {copy}")), "deep-secret root 400\n");
    release(&server, "secret");
    server.wait_for_end(run);
    server.machine.run(&format!("! test -e /run/credentials/{}", unit(run)));
}
