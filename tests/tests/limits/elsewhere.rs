//! Machines without this or that, and workers without root: what can be given is, and what cannot is said.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use hookspool_tests::programs;
use hookspool_tests::server::{BUILD_USER, Delivery, Server, Setup, is_root, wait_for};

use super::{failed, hierarchies, job, pass_without};

fn all_mounts() -> Vec<PathBuf> {
    hierarchies().into_iter().map(|(mount, _)| mount).collect()
}

const ALL: &str = "[job.limits]\nmemory = \"64MiB\"\nprocesses = 20\ncpu_weight = 50\nopen_files = 64\nworkspace = \"8MiB\"";

/// A run of a job whose user has no other processes, on a machine without cgroups.
fn run_without_groups(slots: u32, build: &str) -> Server {
    let jobs = job(&format!("user = \"news\"\nbuild = \"{build}\"\n{ALL}"));
    let server = Server::with(Setup { jobs: &jobs, slots, ..Setup::default() });
    fs::set_permissions(server.out(""), fs::Permissions::from_mode(0o777)).expect("root may");
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    assert!(pass_without(&server, &all_mounts()).status().is_ok_and(|status| status.success()));
    wait_for("the run's end", || (!["queued", "running"].contains(&server.outcome(1).0.as_str())).then_some(()));
    server.settle();
    server
}

#[test]
fn root_without_cgroups_counts_processes_by_user_where_that_means_the_same_and_says_what_is_missing() {
    if !is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    let many = "i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i + 1)); done";
    let server = run_without_groups(1, many);
    assert!(server.outcome(1).1.starts_with("build exited with status 2"), "{:?}", server.outcome(1));
    let log = server.log(1);
    assert!(log.contains("Cannot fork"), "{log}");
    let line = "limits: 20 processes (all of user news), 64 open files, workspace 8 MiB, output 16 MiB; \
                not on this machine: memory (no cgroup can be made), cpu_weight (no cgroup can be made)\n";
    assert!(log.contains(line), "{log}");
    // With two slots another run may have the same user.
    let server = run_without_groups(2, many);
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert!(
        server.log(1).contains("not on this machine: memory (no cgroup can be made), processes (no cgroup"),
        "{}",
        server.log(1)
    );
}

#[test]
fn check_warns_of_limits_that_the_machine_cannot_give() {
    if !is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    let server = Server::new(&job(&format!("build = \"true\"\n{ALL}")));
    let umount: String = all_mounts().iter().map(|mount| format!("umount {} && ", mount.display())).collect();
    let check = |prelude: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &format!("{prelude}exec \"$@\""), "sh"]).arg(programs::program("hookspool"));
        let output = command.arg("check").arg("--config").arg(server.config()).output().unwrap();
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = check(&umount);
    for limit in ["memory (no memory controller)", "processes (no pids controller)", "cpu_weight (no cpu controller)"] {
        let warning =
            format!("warning: job `tests` of github.com/octo/shop has a limit that this machine cannot give: {limit}\n");
        assert!(said.contains(&warning), "{said}");
    }
    let here = hierarchies();
    let has = |name: &str| here.iter().any(|(_, controllers)| controllers.iter().any(|controller| controller == name));
    let said = check("");
    for (name, limit) in [("memory", "memory"), ("pids", "processes"), ("cpu", "cpu_weight")] {
        assert_eq!(said.contains(&format!("cannot give: {limit} (")), !has(name), "{said}");
    }
}

#[test]
fn a_worker_that_is_not_root_says_what_it_cannot_give_and_starts_nothing_that_must_have_no_network() {
    if !is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    let jobs = job(&format!(
        "build = \"id -un >$OUT/user; ulimit -n >$OUT/files\"\ndeploy = {{ run = \"touch $OUT/deployed\", network = false }}\n{ALL}"
    ));
    let mut server = Server::new(&jobs);
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.stop_receiver();
    let folder = server.path().join("programs");
    fs::create_dir(&folder).unwrap();
    programs::install(&folder);
    let given = Command::new("chown").arg("-R").arg(format!("{BUILD_USER}:")).arg(server.path()).status();
    assert!(given.unwrap().success());
    let mut pass = Command::new("setpriv");
    pass.args([&format!("--reuid={BUILD_USER}"), &format!("--regid={BUILD_USER}"), "--clear-groups"]);
    pass.arg(folder.join("hookspool-worker")).arg("pass").arg("--config").arg(server.config()).current_dir("/");
    pass.stderr(std::process::Stdio::null());
    assert!(pass.status().unwrap().success());
    wait_for("the run's end", || (!["queued", "running"].contains(&server.outcome(1).0.as_str())).then_some(()));
    assert_eq!(
        server.outcome(1),
        failed("deploy could not start: network = false needs a worker that runs as root; run it as root, or leave that out")
    );
    assert!(!server.out("deployed").exists());
    assert_eq!((server.written("user").as_deref(), server.written("files").as_deref()), (Some(BUILD_USER), Some("64")));
    let line = "limits: 64 open files, workspace 8 MiB, output 16 MiB; not on this machine: memory (the worker is not root), \
                processes (the worker is not root), cpu_weight (the worker is not root)\n";
    assert!(server.log(1).contains(line), "{}", server.log(1));
}
