//! Whom a step runs as, and what it has of its parents: nothing.

use std::fs::{self, File};
use std::os::fd::AsFd;

use hookspool_tests::server::{BUILD_USER, Server, Setup, is_root, wait_for};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::{User, getgrouplist};

use super::{job, open_files, run, runner, start};

/// A script that says everything about itself, as lines of a word and a value.
const ABOUT: &str = "echo uid $(id -ru) $(id -u) >$OUT/about; echo gid $(id -rg) $(id -g) >>$OUT/about; echo groups $(id -G) >>$OUT/about; \
    echo umask $(umask) >>$OUT/about; echo session $(ps -o sid= -p $$) $$ >>$OUT/about; \
    echo privileges $(grep NoNewPrivs /proc/self/status) >>$OUT/about; echo signals $(grep -E 'Sig(Blk|Ign)' /proc/$$/status) >>$OUT/about; \
    echo descriptors $(ls /proc/$$/fd) >>$OUT/about; echo core $(ulimit -S -c) >>$OUT/about; \
    echo home $HOME $(touch $HOME/x && echo good) >>$OUT/about; echo tmp $TMPDIR $(touch $TMPDIR/x && echo good) >>$OUT/about; \
    env | cut -d= -f1 | sort | tr '\\\\n' ' ' >$OUT/variables; readlink /proc/$$/fd/0 >$OUT/input";

fn about(server: &Server, word: &str) -> String {
    let text = server.written("about").expect("the step told of itself");
    let line = text.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_else(|| panic!("no {word} in {text}"));
    line.trim().to_owned()
}

#[test]
fn a_step_has_its_users_ids_and_groups_and_nothing_of_the_workers() {
    if !is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    // More groups than the worker has, so that they show.
    let server = Server::new(&job(&format!("build = \"{ABOUT}\"\nuser = \"{BUILD_USER}\"")));
    run(&server);
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    let user = User::from_name(BUILD_USER).unwrap().unwrap();
    let name = std::ffi::CString::new(BUILD_USER).unwrap();
    let mut groups: Vec<u32> = getgrouplist(&name, user.gid).unwrap().iter().map(|group| group.as_raw()).collect();
    groups.sort_unstable();
    let mut of_step: Vec<u32> = about(&server, "groups").split(' ').map(|group| group.parse().unwrap()).collect();
    of_step.sort_unstable();
    of_step.dedup();
    groups.dedup();
    assert_eq!(of_step, groups);
    assert_eq!(about(&server, "uid"), format!("{0} {0}", user.uid));
    assert_eq!(about(&server, "gid"), format!("{0} {0}", user.gid));
    assert_eq!(about(&server, "privileges"), "NoNewPrivs: 1");
}

#[test]
fn a_step_has_a_session_a_home_and_a_temporary_folder_of_its_own_and_a_clean_environment() {
    let server = Server::new(&job(&format!("build = \"{ABOUT}\"")));
    run(&server);
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert_eq!(about(&server, "umask"), "0022");
    let session = about(&server, "session");
    let (session, own) = session.split_once(' ').unwrap();
    assert_eq!(session, own, "the shell leads its session");
    assert_eq!(about(&server, "signals"), "SigBlk: 0000000000000000 SigIgn: 0000000000000000");
    assert_eq!(about(&server, "core"), "0");
    assert_eq!(server.written("input").as_deref(), Some("/dev/null"));
    let work = server.state("work/1");
    assert_eq!(about(&server, "home"), format!("{} good", work.join("home").display()));
    assert_eq!(about(&server, "tmp"), format!("{} good", work.join("tmp").display()));
    // Given back: nothing of it is left to anybody.
    assert!(!work.exists());
    let variables = server.written("variables").unwrap();
    let known = ["CI", "HOME", "LANG", "LOGNAME", "PATH", "PWD", "SHELL", "TMPDIR", "USER", "_", "OLDPWD", "HOOKSPOOL"];
    let strange = variables.split(' ').find(|name| {
        !known.contains(name)
            && !["HOOKSPOOL_", "WEBHOOKBUILD_"].iter().any(|prefix| name.starts_with(prefix))
            && !name.is_empty()
    });
    assert_eq!(strange, None, "{variables}");
    assert!(variables.contains("HOME "), "{variables}");
}

#[test]
fn what_somebody_left_open_for_a_pass_reaches_neither_runner_nor_step() {
    let server = Server::new(&job("build = { argv = [\"ls\", \"-l\", \"/proc/self/fd\"] }\n\
         test = \"touch $OUT/began; while ! [ -e $OUT/go ]; do sleep 0.02; done\""));
    let stray = server.path().join("stray");
    let file = File::create(&stray).unwrap();
    server.deliver(&hookspool_tests::server::Delivery::push("master", &server.laptop.head()));
    fcntl(file.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let status = server.pass_command().status();
    fcntl(file.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    assert!(status.unwrap().success());
    wait_for("the step", || server.out("began").exists().then_some(()));
    let of_runner = open_files(runner(&server));
    assert!(!of_runner.is_empty() && !of_runner.contains(&stray), "{of_runner:?}");
    // Its own three, and the folder that it lists.
    let log = server.log(1);
    let of_step: Vec<&str> = log.lines().filter_map(|line| line.split_once(" -> ")?.0.split(' ').next_back()).collect();
    assert_eq!(of_step, ["0", "1", "2", "3"], "{log}");
    server.release("go");
    server.settle();
    assert_eq!(server.outcome(1).0, "succeeded");
}

#[test]
fn a_step_is_root_only_where_its_job_or_it_says_so() {
    if !is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    let about = |file: &str| format!("echo $(id -u) $(grep NoNewPrivs /proc/self/status) >$OUT/{file}");
    let (build, test) = (about("build"), about("test"));
    let server = Server::new(&job(&format!("build = \"{build}\"\ntest = {{ run = \"{test}\", user = \"root\" }}")));
    run(&server);
    let expected = (Some("1 NoNewPrivs: 1"), Some("0 NoNewPrivs: 0"));
    assert_eq!((server.written("build").as_deref(), server.written("test").as_deref()), expected);
    // Written where it would hold for every job, it is refused before anything runs.
    let config = fs::read_to_string(server.config()).unwrap();
    let changed = config.replace(&format!("user = \"{BUILD_USER}\"\n[mail]"), "user = \"root\"\n[mail]");
    let changed =
        if changed == config { config.replace(&format!("user = \"{BUILD_USER}\""), "user = \"root\"") } else { changed };
    assert_ne!(changed, config);
    fs::write(server.config(), changed).unwrap();
    let checked = server.hookspool(&["check"]);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(!checked.status.success() && said.contains("steps never run as root by default"), "{said}");
}

#[test]
fn a_build_user_can_do_nothing_to_its_runner() {
    if !is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    let server = Server::with(Setup {
        jobs: &job("build = \"for signal in TERM KILL STOP; do if kill -$signal $PPID; then echo killed >>$OUT/done; fi; done; \
             if true >>/proc/$PPID/mem; then echo wrote >>$OUT/done; fi; \
             if cat /proc/$PPID/environ; then echo read >>$OUT/done; fi; \
             if ls /proc/$PPID/fd; then echo listed >>$OUT/done; fi; \
             if prlimit --pid $PPID --nofile=3; then echo limited >>$OUT/done; fi; \
             if renice 19 $PPID; then echo slowed >>$OUT/done; fi; \
             for group in $(find /sys/fs/cgroup -name cgroup.procs -maxdepth 3); do \
             if echo $$ >$group; then echo $group >>$OUT/done; fi; done; \
             echo over >$OUT/over\""),
        ..Setup::default()
    });
    start(&server);
    server.settle();
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert_eq!((server.written("over").as_deref(), server.written("done")), (Some("over"), None), "{}", server.log(1));
}
