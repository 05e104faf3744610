//! Nothing that a step started outlives it, whichever groups the machine has; and a runner's death is its step's.

use std::path::PathBuf;

use hookspool_common::names::RunId;
use hookspool_tests::server::{Delivery, Server, is_root, kill_now, processes_of, processes_with, wait_for};
use hookspool_worker::process::Containment;

use super::{hierarchies, job, pass_without, runner};

/// Twice forked, each in a session of its own, without environment, under a name that says nothing.
const HIDING: &str = "cp /bin/sleep $OUT/innocent; \
    env -i setsid sh -c 'setsid sh -c \\\"$OUT/innocent 1001 & exec $OUT/innocent 1002\\\" & exit' </dev/null >/dev/null 2>&1; \
    while ! [ -e $OUT/seen ]; do sleep 0.02; done";

fn mounts(is_absent: impl Fn(&[String]) -> bool) -> Vec<PathBuf> {
    hierarchies().into_iter().filter(|(_, controllers)| is_absent(controllers)).map(|(mount, _)| mount).collect()
}

fn is_unified(controllers: &[String]) -> bool {
    controllers.iter().any(|controller| controller == "unified")
}

/// The machine as it is; without the unified hierarchy; with nothing but the unified one; without any.
fn machines() -> [Vec<PathBuf>; 4] {
    [Vec::new(), mounts(is_unified), mounts(|controllers| !is_unified(controllers)), mounts(|_| true)]
}

#[test]
fn what_hides_is_gone_after_its_step_whichever_groups_there_are() {
    if !is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    for absent in machines() {
        let server = Server::new(&job(&format!(
            "build = \"{HIDING}\"\ntest = {{ argv = [\"/bin/true\"] }}\n[job.limits]\nprocesses = 200"
        )));
        server.deliver(&Delivery::push("master", &server.laptop.head()));
        assert!(pass_without(&server, &absent).status().unwrap().success());
        let innocent = server.out("innocent").to_string_lossy().into_owned();
        wait_for("both to hide", || (processes_of(&innocent).len() == 2).then_some(()));
        server.release("seen");
        server.wait_for_state(1, "succeeded");
        assert_eq!(processes_of(&innocent), [0; 0], "without {absent:?}");
        server.settle();
        assert!(server.log(1).contains("build: killed 2 processes that it left running"), "{absent:?}: {}", server.log(1));
    }
}

#[test]
fn a_step_dies_with_its_runner_before_any_pass_looks() {
    for absent in if is_root() { machines().to_vec() } else { vec![Vec::new()] } {
        let server = Server::new(&job("on_crash = \"fail\"\nbuild = { argv = [\"$OUT/sleeper\", \"1001\"] }"));
        let sleeper = server.make_sleeper();
        server.deliver(&Delivery::push("master", &server.laptop.head()));
        let status = if absent.is_empty() { server.pass_command().status() } else { pass_without(&server, &absent).status() };
        assert!(status.unwrap().success());
        wait_for("the step", || (!processes_of(&sleeper).is_empty()).then_some(()));
        kill_now(runner(&server));
        wait_for("the step's death", || processes_of(&sleeper).is_empty().then_some(()));
        server.settle();
        assert_eq!(server.outcome(1).0, "interrupted", "without {absent:?}");
    }
}

#[test]
fn a_root_step_can_leave_its_groups_and_is_gone_after_it_all_the_same() {
    if !is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    // Each hierarchy's own root takes whoever may write there.
    let leave: String =
        hierarchies().iter().map(|(mount, _)| format!("echo $$ >{}/cgroup.procs || true; ", mount.display())).collect();
    let server = Server::new(&job(&format!(
        "user = \"root\"\nbuild = \"{leave}cat /proc/self/cgroup >$OUT/after; {HIDING}\"\n[job.limits]\nprocesses = 200"
    )));
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
    let innocent = server.out("innocent").to_string_lossy().into_owned();
    wait_for("both to hide", || (processes_of(&innocent).len() == 2).then_some(()));
    assert!(!server.written("after").unwrap().contains("hookspool-"), "{:?}", server.written("after"));
    server.release("seen");
    server.settle();
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert_eq!(processes_of(&innocent), [0; 0]);
}

#[test]
fn a_test_that_gives_up_leaves_nothing_of_its_runs() {
    let number = (7_000_000 + std::process::id()).to_string();
    // Nothing in its command line tells whose it is, and as root nothing in its environment either.
    let forget = if is_root() { "env -i " } else { "" };
    let job = format!(
        "[[job]]\nname = \"tests\"\nwhen = [{{ event = \"push\" }}]\n\
         build = \"{forget}setsid sh -c 'sleep {number} & exit'; echo began >$OUT/began; sleep {number}\"\n"
    );
    let server = Server::new(&job);
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
    server.wait_until_written("began");
    let hidden = || processes_with(&["sleep ", &number]);
    wait_for("both", || (processes_of("sleep").iter().filter(|pid| hidden().contains(pid)).count() == 2).then_some(()));
    let groups = server.groups_of(1);
    assert_eq!(groups.is_some(), is_root());
    let state = server.path().join("state");
    drop(server);
    wait_for("their end", || hidden().is_empty().then_some(()));
    assert!(Containment::left_by(&state, RunId::new(1)).is_none());
}
