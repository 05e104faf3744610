//! The kernel's real groups, as this machine has them; also below one that looks like a unit's. Root makes them.

use std::fs;
use std::time::Duration;

use hookspool_common::ledger::ProcessResult;
use nix::sys::wait::waitpid;

use super::*;
use crate::process::{Cancel, Launch, Supervisor};

const RUN: RunId = RunId::new(1);

/// Whether this is the process in which the test is to do its work, as root.
fn alone(name: &str) -> bool {
    if !geteuid().is_root() {
        println!("SKIPPED: needs root");
        return false;
    }
    super::super::alone::alone(&format!("containment::tests::{name}"))
}

/// The supervisor's own child, and what it said.
fn run(supervisor: &mut Supervisor, script: &str) -> (crate::process::Ended, String) {
    let mut said = Vec::new();
    let launch = Launch::new("/bin/sh", "/").args(["-c", script]).env("PATH", "/usr/bin:/bin");
    let ended = supervisor.run(&launch, Duration::from_secs(60), Cancel::Ends, &mut |chunk| said.extend_from_slice(chunk));
    (ended, String::from_utf8(said).unwrap())
}

/// Every folder that a run of this state folder has in any hierarchy.
fn left(state: &Path) -> Vec<PathBuf> {
    let name = name(state, RUN);
    let folders = hierarchies()
        .into_iter()
        .flat_map(|hierarchy| [hierarchy.mount.join(&name), hierarchy.mount.join(format!("{name}{STEPS}"))]);
    folders.filter(|folder| folder.exists()).collect()
}

/// Asks for everything, and sees that what was said to hold does. `parent` is where groups of the unified hierarchy lie.
fn everything_that_is_given_holds(state: &Path) {
    let mut supervisor = Supervisor::new(Containment::make(state, RUN)).unwrap();
    let (_, before) = run(&mut supervisor, "cat /proc/self/cgroup");
    let limits = Limits { memory: Some(32 << 20), processes: Some(20), cpu_weight: Some(50), ..Limits::default() };
    let outcomes = supervisor.limit(&limits);
    let given = |key: &str| outcomes.iter().any(|limit| limit.key == key && limit.given.is_ok());
    println!("{outcomes:?}\n{before}");
    if given("memory") {
        let (ended, _) = run(&mut supervisor, "exec tail /dev/zero");
        assert_eq!(ended.result.to_string(), "was killed by SIGKILL: it used more memory than its limit of 32 MiB");
        let (ended, _) = run(&mut supervisor, "true");
        assert_eq!((ended.result, ended.remarks.len()), (ProcessResult::Exited(0), 0));
    }
    if given("processes") {
        let (ended, _) = run(&mut supervisor, "i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i + 1)); done; exit 0");
        assert!(ended.remarks.iter().any(|remark| remark.ends_with("could not start a process: its limit is 20")), "{ended:?}");
        assert!((1..20).contains(&ended.left_behind), "{ended:?}");
        // What was stopped for the killing goes on.
        assert_eq!(run(&mut supervisor, "sh -c 'sh -c true'").0.result, ProcessResult::Exited(0));
    }
    if given("cpu_weight") {
        let (_, groups) = run(&mut supervisor, "cat /proc/self/cgroup");
        assert!(groups.contains("steps"), "{groups}");
    }
    supervisor.end();
}

#[test]
fn what_is_said_to_hold_does_and_nothing_stays() {
    if alone("what_is_said_to_hold_does_and_nothing_stays") {
        let state = tempfile::tempdir().unwrap();
        everything_that_is_given_holds(state.path());
        assert!(left(state.path()).is_empty(), "{:?}", left(state.path()));
    }
}

#[test]
fn in_a_units_group_the_runner_moves_aside_and_the_same_holds() {
    if !alone("in_a_units_group_the_runner_moves_aside_and_the_same_holds") {
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let hierarchies = hierarchies();
    let Some(unified) = hierarchies.iter().find(|hierarchy| hierarchy.version == Version::Two) else {
        println!("SKIPPED: needs the unified hierarchy of cgroups");
        return;
    };
    let home = unified.own_group().unwrap();
    // As a slice with a unit that has what its slice has.
    let slice = unified.mount.join(format!("hookspool-test-{}", std::process::id()));
    let unit = slice.join("hookspool-run-1.service");
    fs::create_dir_all(&unit).unwrap();
    for controller in Controller::ALL {
        for folder in [&unified.mount, &slice] {
            let _ = fs::write(folder.join("cgroup.subtree_control"), format!("+{}", controller.name()));
        }
    }
    fs::write(unit.join("cgroup.procs"), "0").unwrap();
    everything_that_is_given_holds(state.path());
    assert_eq!(unified.own_group().unwrap(), unit.join("runner"));
    let groups: Vec<_> = fs::read_dir(&unit).unwrap().map(|entry| entry.unwrap()).filter(|entry| entry.path().is_dir()).collect();
    assert_eq!(groups.len(), 1, "{groups:?}");
    assert!(left(state.path()).is_empty(), "{:?}", left(state.path()));
    fs::write(home.join("cgroup.procs"), "0").unwrap();
    for folder in [unit.join("runner"), unit, slice] {
        fs::remove_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    }
}

#[test]
fn what_a_dead_runner_left_is_found_in_every_hierarchy_and_ended() {
    if !alone("what_a_dead_runner_left_is_found_in_every_hierarchy_and_ended") {
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let mut containment = Containment::make(state.path(), RUN).unwrap();
    containment.limit(&Limits { memory: Some(64 << 20), processes: Some(20), cpu_weight: Some(50), ..Limits::default() });
    let (_reader, output) = std::io::pipe().unwrap();
    let launch = Launch::new("/bin/sleep", "/").args(["1000"]);
    let pid = launch.spawn(&output, &containment.admissions().unwrap()).unwrap();
    assert!(!left(state.path()).is_empty());
    drop(containment);
    Containment::left_by(state.path(), RUN).unwrap().end();
    assert!(matches!(waitpid(pid, None), Ok(nix::sys::wait::WaitStatus::Signaled(..))));
    assert!(left(state.path()).is_empty(), "{:?}", left(state.path()));
    assert!(Containment::left_by(state.path(), RUN).is_none());
}

#[test]
fn runs_of_different_installations_have_different_groups() {
    assert_eq!(name(Path::new("/var/lib/hookspool"), RUN), "hookspool-run-1");
    let names = ["/a/b", "/a-b", "/a/b/"].map(|state| name(Path::new(state), RUN));
    assert!(
        names[0] != names[1] && names.iter().all(|name| name.starts_with("hookspool-") && name.ends_with("-run-1")),
        "{names:?}"
    );
}
