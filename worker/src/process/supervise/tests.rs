//! Children that end, hang, ignore, fork and hide. Each test runs in a process of its own, because a supervisor takes
//! over the signals and the orphans of its process.

use super::*;

fn alone(name: &str) -> bool {
    super::super::alone::alone(&format!("supervise::tests::{name}"))
}

fn shell(script: &str, timeout: Duration) -> (Ended, String) {
    let launch = Launch::new("/bin/sh", "/").args(["-c", script]).env("PATH", "/usr/bin:/bin");
    let mut output = Vec::new();
    let mut supervisor = Supervisor::new(None).unwrap();
    let ended = supervisor.run(&launch, timeout, Cancel::Ends, &mut |chunk| output.extend_from_slice(chunk));
    (ended, String::from_utf8(output).unwrap())
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn exit_status_signal_and_output_are_exact() {
    if alone("exit_status_signal_and_output_are_exact") {
        let (ended, output) = shell("echo out; echo err >&2; exit 7", LONG);
        assert_eq!((ended.result, output.as_str()), (ProcessResult::Exited(7), "out\nerr\n"));
        let (ended, _) = shell("kill -SEGV $$", LONG);
        assert_eq!(ended.result, ProcessResult::Signaled(Signal::SIGSEGV as i32));
        assert_eq!(ended.result.to_string(), "was killed by SIGSEGV");
    }
}

#[test]
fn a_program_that_is_missing_is_not_started() {
    if alone("a_program_that_is_missing_is_not_started") {
        let mut supervisor = Supervisor::new(None).unwrap();
        let ended = supervisor.run(&Launch::new("/no/such/program", "/"), LONG, Cancel::Ends, &mut |_| {});
        assert!(matches!(ended.result, ProcessResult::NotStarted(why) if why.contains("No such file")));
    }
}

#[test]
fn a_child_gets_only_the_environment_that_it_was_given() {
    if alone("a_child_gets_only_the_environment_that_it_was_given") {
        let (_, output) = shell("env | sort | cut -d= -f1 | tr '\\n' ' '; ls /proc/self/fd | tr '\\n' ' '", LONG);
        assert_eq!(output, "PATH PWD 0 1 2 3 ", "descriptor 3 is the folder that ls itself reads");
    }
}

#[test]
fn what_ignores_term_is_killed_after_the_grace() {
    if alone("what_ignores_term_is_killed_after_the_grace") {
        let begin = Instant::now();
        let (ended, output) =
            shell("trap 'echo ignored' TERM; echo ready; while :; do sleep 1 & wait; done", Duration::from_secs(1));
        assert_eq!(ended.result, ProcessResult::TimedOut);
        assert!(output.contains("ready") && output.contains("ignored"), "{output}");
        assert!(begin.elapsed() >= GRACE);
    }
}

#[test]
fn what_forks_into_the_background_and_hides_is_gone_afterwards() {
    if alone("what_forks_into_the_background_and_hides_is_gone_afterwards") {
        let hide = "setsid sh -c 'exec env -i sh -c \"echo $$ hidden; exec sleep 1000\"' & sleep 0.3; sleep 1001 & exit 0";
        let (ended, output) = shell(hide, LONG);
        assert_eq!((ended.result, ended.left_behind), (ProcessResult::Exited(0), 2), "{output}");
        assert_eq!(descendants(), []);
    }
}

#[test]
fn a_flood_of_output_arrives_whole() {
    if alone("a_flood_of_output_arrives_whole") {
        let launch = Launch::new("/bin/sh", "/").args(["-c", "head -c 50000000 /dev/zero"]).env("PATH", "/usr/bin:/bin");
        let mut bytes = 0;
        Supervisor::new(None).unwrap().run(&launch, LONG, Cancel::Ends, &mut |chunk| bytes += chunk.len());
        assert_eq!(bytes, 50_000_000);
    }
}

#[test]
fn no_childs_end_is_slept_through() {
    if alone("no_childs_end_is_slept_through") {
        let mut supervisor = Supervisor::new(None).unwrap();
        // Its output ends just before it does, so that two pieces of news come one after the other.
        let launch = Launch::new("/bin/true", "/");
        for round in 0..1000 {
            let began = Instant::now();
            let ended = supervisor.run(&launch, LONG, Cancel::Ends, &mut |_| {});
            assert!(ended.result.is_success() && began.elapsed() < LONG / 2, "round {round}: {ended:?}");
        }
    }
}
