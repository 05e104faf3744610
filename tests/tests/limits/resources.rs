//! Memory, processes, processor, files, output and workspace: what is asked for holds, and what met its limit says so.

use std::fs;

use hookspool_tests::server::{Delivery, Server, Setup, is_root, processes_of, processes_with, wait_for};

use super::{assert_gone, can_limit, failed, group_with, groups, job, run, start};

const GROUPS: &str = "cat /proc/self/cgroup >$OUT/groups";

#[test]
fn a_memory_hog_is_killed_and_the_run_says_why() {
    if !can_limit(&["memory"]) {
        return;
    }
    // tail(1) keeps a line until it ends.
    let server = Server::new(&job(
        "build = { argv = [\"tail\", \"/dev/zero\"] }\nalways = \"cat /proc/self/cgroup >$OUT/groups\"\n[job.limits]\nmemory = \"32MiB\"",
    ));
    run(&server);
    assert_eq!(server.outcome(1), failed("build was killed by SIGKILL: it used more memory than its limit of 32 MiB"));
    let log = server.log(1);
    assert!(log.contains("limits: memory 32 MiB (cgroup v"), "{log}");
    assert!(log.contains("build: the system killed 1 of its processes: its limit of memory is 32 MiB"), "{log}");
    assert!(server.mails()[0].words().contains("it used more memory than its limit of 32 MiB"), "{}", server.mails()[0].body);
    let step = server.show(1)["steps"][1].clone();
    assert_eq!((step["limit"].as_str(), step["exit_status"].as_i64()), (Some("memory"), None));
    assert_gone(&groups(&server));
}

#[test]
fn a_shell_whose_command_was_killed_for_want_of_memory_says_so_and_one_that_goes_on_has_succeeded() {
    if !can_limit(&["memory"]) {
        return;
    }
    let server =
        Server::new(&job("build = \"tail /dev/zero || true\"\ntest = \"tail /dev/zero\"\n[job.limits]\nmemory = \"32MiB\""));
    run(&server);
    assert_eq!(server.outcome(1), failed("test exited with status 137: it used more memory than its limit of 32 MiB"));
    assert_eq!(server.steps(1)[1], ("build".to_owned(), "succeeded".to_owned()));
    assert!(server.log(1).contains("build: the system killed 1 of its processes"), "{}", server.log(1));
    assert_eq!(server.show(1)["steps"][2]["exit_status"], 137);
}

#[test]
fn a_fork_bomb_meets_its_limit_and_another_run_is_none_the_worse() {
    if !can_limit(&["pids"]) {
        return;
    }
    let other = "[[job]]\nname = \"other\"\nwhen = [{ event = \"push\", branch = \"other\" }]\nbuild = \"sh -c 'sh -c true' && echo good\"\n";
    // The shell itself starts nothing more once the bomb is at work; it waits with what it has.
    let bomb = job(
        "build = \"cat /proc/self/cgroup >$OUT/groups; bomb() { bomb | bomb & }; bomb 2>/dev/null; while ! [ -e $OUT/go ]; do :; done\"\n\
         [job.limits]\nprocesses = 60",
    )
    .replace("event = \"push\"", "event = \"push\", branch = \"master\"");
    let server = Server::with(Setup { jobs: &(bomb + other), ..Setup::default() });
    start(&server);
    let pids = group_with(&groups(&server), "pids.max");
    let events = || fs::read_to_string(pids.join("pids.events")).unwrap_or_default();
    wait_for("a fork to be refused", || events().lines().any(|line| line.starts_with("max ") && line != "max 0").then_some(()));
    let sha = server.laptop.push_commit("other", "Another");
    server.deliver(&Delivery::push("other", &sha));
    server.run_pass();
    server.wait_for_state(2, "succeeded");
    let members: u32 = fs::read_to_string(pids.join("pids.current")).unwrap().trim().parse().unwrap();
    assert!(members <= 60, "{members}");
    server.release("go");
    server.settle();
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert!(server.log(1).contains("times it could not start a process: its limit is 60"), "{}", server.log(1));
    assert_gone(&groups(&server));
    // The shells of the bomb have the script in their command line.
    assert_eq!(processes_with(&["bomb() {", &server.out("").to_string_lossy()]), [0; 0]);
}

#[test]
fn a_share_of_the_processor_is_set_for_the_run() {
    if !can_limit(&["cpu"]) {
        return;
    }
    let jobs = job(&format!("build = \"{GROUPS}; while ! [ -e $OUT/go ]; do sleep 0.02; done\"\n[job.limits]\ncpu_weight = 50"));
    let server = Server::new(&jobs);
    start(&server);
    let groups = groups(&server);
    let (file, value) =
        if groups.iter().any(|group| group.join("cpu.shares").exists()) { ("cpu.shares", "512") } else { ("cpu.weight", "50") };
    assert_eq!(fs::read_to_string(group_with(&groups, file).join(file)).unwrap().trim(), value);
    server.release("go");
    server.settle();
    assert!(server.log(1).contains("limits: cpu_weight 50 (cgroup v"), "{}", server.log(1));
    assert_gone(&groups);
}

#[test]
fn limits_of_the_worker_hold_where_the_job_says_nothing_and_the_jobs_own_come_first() {
    let jobs = job(
        "build = \"ulimit -Sn >$OUT/soft; ulimit -Hn >$OUT/hard; : {1..9}; exec 9</dev/null\"\n[job.limits]\nopen_files = 64",
    );
    let server =
        Server::with(Setup { jobs: &jobs, worker: "[worker.limits]\nopen_files = 128\noutput = \"1MiB\"", ..Setup::default() });
    run(&server);
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert_eq!((server.written("soft").as_deref(), server.written("hard").as_deref()), (Some("64"), Some("64")));
    let line = "limits: 64 open files, output 1 MiB; not configured: memory, processes, cpu_weight, workspace";
    assert!(server.log(1).contains(line), "{}", server.log(1));
}

#[test]
fn a_limit_on_open_files_is_met_by_whoever_opens_more() {
    let server = Server::new(&job(
        "build = { argv = [\"perl\", \"-e\", \"for (1..100) { open($f[$_], '<', '/dev/null') or die qq(file $_: $!\\\\n) }\"] }\n\
         [job.limits]\nopen_files = 20",
    ));
    run(&server);
    assert_eq!(server.outcome(1).0, "failed");
    assert!(server.log(1).contains("Too many open files"), "{}", server.log(1));
}

#[test]
fn a_flood_of_output_ends_at_the_jobs_own_limit_and_its_end_is_kept() {
    let server = Server::new(&job(
        "build = \"echo first; yes 'a line' | head -c 20000000; echo; echo the end; exit 1\"\n[job.limits]\noutput = \"64KiB\"",
    ));
    run(&server);
    let log = String::from_utf8(server.stored_log(1)).unwrap();
    // What is kept of the end is a quarter of a mebibyte.
    assert!((64 << 10..400 << 10).contains(&log.len()), "{}", log.len());
    assert!(log.contains("\nfirst\n") && log.contains("\nthe end\n") && log.contains("output 64 KiB"), "{}", &log[..2000]);
}

#[test]
fn a_step_that_fills_its_workspace_is_ended_and_always_still_runs() {
    // It never ends by itself, and does not mind a signal.
    let server = Server::new(&job(
        "build = \"trap '' TERM; i=0; while :; do i=$((i + 1)); head -c 100000 /dev/zero >file$i; done\"\n\
         test = \"touch $OUT/tested\"\nalways = \"head -c 100000 /dev/zero >more; touch $OUT/tidied\"\n[job.limits]\nworkspace = \"4MiB\"",
    ));
    run(&server);
    assert_eq!(server.outcome(1), failed("build was ended: its workspace held more than its limit of 4 MiB"));
    assert_eq!(server.steps(1)[2], ("always".to_owned(), "succeeded".to_owned()));
    assert!(server.out("tidied").exists() && !server.out("tested").exists());
    assert_eq!(server.show(1)["steps"][1]["limit"], "workspace");
    assert!(server.log(1).contains("workspace 4 MiB"), "{}", server.log(1));
}

#[test]
fn no_file_is_larger_than_the_workspace_may_be_however_fast_it_is_written() {
    let server = Server::new(&job(
        "build = \"head -c 1000000000 /dev/zero >big\"\nalways = \"stat -c %s big >$OUT/size\"\n[job.limits]\nworkspace = \"1MiB\"",
    ));
    run(&server);
    let (state, reason) = server.outcome(1);
    assert!(state == "failed" && reason.contains("its workspace held more than its limit of 1 MiB"), "{reason}");
    let size: u64 = server.written("size").unwrap().parse().unwrap();
    // Root's files have no such limit, and are found by measuring.
    assert!(size <= 1 << 20, "{size}");
}

#[test]
fn what_succeeded_with_too_full_a_workspace_has_failed_wherever_it_lies() {
    for place in ["$HOME", "$TMPDIR", "."] {
        let write = format!("mkdir -p {place}/deep/er; for i in 1 2 3 4; do head -c 500000 /dev/zero >{place}/deep/er/$i; done");
        let server = Server::new(&job(&format!("build = \"{write}\"\n[job.limits]\nworkspace = \"1MiB\"")));
        run(&server);
        let (state, reason) = server.outcome(1);
        assert!(state == "failed" && reason.contains("its workspace held more than its limit of 1 MiB"), "{place}: {reason}");
    }
}

#[test]
fn a_tree_that_cannot_be_measured_is_too_much() {
    let deep = "i=0; while [ $i -lt 600 ]; do mkdir d; cd d; i=$((i + 1)); done";
    let server = Server::new(&job(&format!("build = \"{deep}\"\n[job.limits]\nworkspace = \"100MiB\"")));
    run(&server);
    assert!(server.outcome(1).1.contains("its workspace held more than its limit of 100 MiB"), "{:?}", server.outcome(1));
    assert!(server.log(1).contains("its workspace is more than 500 folders deep"), "{}", server.log(1));
}

#[test]
fn a_run_without_limits_says_that_none_is_configured() {
    let server = Server::new(&job("build = \"true\""));
    run(&server);
    let line = "[hookspool] limits: output 16 MiB; not configured: memory, processes, cpu_weight, open_files, workspace\n";
    assert_eq!(server.log(1).matches(line).count(), 1, "{}", server.log(1));
}

#[test]
fn a_runner_that_is_killed_leaves_no_group_of_any_kind() {
    if !can_limit(&["memory", "pids", "cpu"]) {
        return;
    }
    assert!(is_root());
    let server = Server::new(&job(&format!(
        "on_crash = \"fail\"\nbuild = \"{GROUPS}; $OUT/sleeper 1001 & env -i setsid sh -c '$OUT/sleeper 1002 & exit' & exec $OUT/sleeper 1003\"\n\
         [job.limits]\nmemory = \"64MiB\"\nprocesses = 50\ncpu_weight = 10"
    )));
    let sleeper = server.make_sleeper();
    start(&server);
    let groups = groups(&server);
    wait_for("all of them", || (processes_of(&sleeper).len() == 3).then_some(()));
    assert!(groups.len() >= 3 && groups.iter().all(|group| group.exists()), "{groups:?}");
    hookspool_tests::server::kill_now(super::runner(&server));
    server.settle();
    assert_eq!(server.outcome(1).0, "interrupted");
    assert_eq!(processes_of(&sleeper), [0; 0]);
    assert_gone(&groups);
}
