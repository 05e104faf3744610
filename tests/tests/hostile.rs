//! Scripts and repositories that mean no good, or have gone wrong: the server stays well, and says what was the matter.

use std::fs;
use std::path::Path;
use std::process::Command;

use hookspool_tests::server::{Delivery, Server, give, is_root, processes_of, processes_with, wait_for};

fn job(lines: &str) -> String {
    format!("[[job]]\nname = \"tests\"\nwhen = [{{ event = \"push\" }}]\n{lines}\n")
}

/// One push of what the clone holds, and all that comes of it.
fn push(server: &Server) {
    let sha = server.laptop.push_commit("master", "A change");
    server.deliver_and_settle(&Delivery::push("master", &sha));
}

fn outcome(server: &Server) -> (String, String) {
    server.outcome(1)
}

fn failed(why: &str) -> (String, String) {
    ("failed".to_owned(), why.to_owned())
}

#[test]
fn a_script_that_is_missing_or_not_executable_is_named_in_the_mail() {
    let server = Server::new(&job("build = \"./no-such-script\""));
    push(&server);
    assert_eq!(outcome(&server), failed("build exited with status 127 (a command was not found)"));
    assert!(server.mails()[0].body.contains("  | /bin/sh: 1: ./no-such-script: not found\n"), "{}", server.mails()[0].body);
    let server = Server::new(&job("build = \"./script\""));
    fs::write(server.laptop.file("script"), "#!/bin/sh\n").unwrap();
    push(&server);
    assert_eq!(outcome(&server), failed("build exited with status 126 (a command is not executable)"));
    assert!(server.mails()[0].body.contains("./script: Permission denied"), "{}", server.mails()[0].body);
    let server = Server::new(&job("build = { argv = [\"./script\"] }"));
    fs::write(server.laptop.file("script"), "#!/bin/sh\n").unwrap();
    push(&server);
    assert_eq!(outcome(&server), failed("build could not start: Permission denied (os error 13)"));
}

#[test]
fn a_gibibyte_of_output_is_bounded_and_its_end_is_kept() {
    let server = Server::new(&job(
        "build = \"echo the beginning; yes 'this line is répété' | head -c 1073741824; echo; echo the end; exit 1\"",
    ));
    push(&server);
    assert_eq!(outcome(&server), failed("build exited with status 1"));
    let log = server.stored_log(1);
    assert!((16 << 20..18 << 20).contains(&log.len()), "{}", log.len());
    let text = String::from_utf8(log).unwrap();
    assert!(text.contains("\nthe beginning\nthis line is répété\n") && text.contains("\nthe end\n"));
    let left_out = text.lines().find_map(|line| line.strip_suffix(" bytes of output are left out here; the end follows"));
    let left_out: u64 = left_out.and_then(|line| line.strip_prefix("[hookspool] ")).unwrap().parse().unwrap();
    let kept = (1 << 30) - left_out;
    assert!((16 << 20..18 << 20).contains(&kept), "{left_out}");
    assert!(server.mails()[0].body.contains("  | the end\n"));
    assert!(server.mails()[0].body.len() < 64 << 10);
}

#[test]
fn what_forks_into_the_background_is_gone_after_its_step() {
    let server =
        Server::new(&job("build = \"$OUT/sleeper 1001 & nohup $OUT/sleeper 1002 >/dev/null 2>&1 & echo done\"\ntest = \"true\""));
    let sleeper = server.make_sleeper();
    push(&server);
    assert_eq!(outcome(&server).0, "succeeded");
    assert_eq!(processes_with(&[&sleeper]), [0; 0]);
    assert!(server.log(1).contains("killed 2 processes that it left running"), "{}", server.log(1));
}

#[test]
fn what_hides_in_its_own_session_under_another_parent_without_environment_is_gone_after_its_step() {
    let server = Server::new(&job(
        "build = \"env -i setsid sh -c 'setsid sh -c \\\"$OUT/sleeper 1001 & exec $OUT/sleeper 1002\\\" & exit' \
         </dev/null >/dev/null 2>&1; while ! [ -e $OUT/seen ]; do sleep 0.02; done\"\n\
         test = { argv = [\"/bin/true\"] }",
    ));
    let sleeper = server.make_sleeper();
    let sha = server.laptop.head();
    server.deliver(&Delivery::push("master", &sha));
    server.run_pass();
    wait_for("both to hide", || (processes_of(&sleeper).len() == 2).then_some(()));
    server.release("seen");
    server.settle();
    assert_eq!(outcome(&server).0, "succeeded", "{}", server.log(1));
    assert_eq!(processes_with(&[&sleeper]), [0; 0]);
}

#[test]
fn a_fork_bomb_is_gone_when_its_time_is_over() {
    // Each process makes two more, up to about two hundred; all of them ignore the polite signal's absence and stay.
    let server = Server::new(&job(
        "build = { run = \"bomb() { if [ $1 -gt 0 ]; then bomb $(($1 - 1)) & bomb $(($1 - 1)) & fi; $OUT/sleeper 1000; }; bomb 6\", \
         timeout = \"2s\" }",
    ));
    let sleeper = server.make_sleeper();
    let sha = server.laptop.head();
    server.deliver(&Delivery::push("master", &sha));
    server.run_pass();
    wait_for("the bomb", || (processes_of(&sleeper).len() > 100).then_some(()));
    server.settle();
    assert_eq!(outcome(&server).0, "timed_out");
    assert_eq!(processes_with(&[&sleeper]), [0; 0]);
}

#[test]
fn output_that_is_not_utf8_becomes_utf8() {
    let server =
        Server::new(&job("build = \"printf 'caf\\\\351 \\\\377\\\\376 caf\\\\303\\\\251 \\\\033[31mred\\\\007\\\\n'; exit 1\""));
    push(&server);
    let log = String::from_utf8(server.stored_log(1)).expect("the log is UTF-8");
    assert!(log.contains("caf\u{fffd} \u{fffd}\u{fffd} café \u{1b}[31mred"), "{log}");
    // Neither a terminal nor a mail program obeys what a script prints.
    for shown in [server.log(1), server.mails()[0].body.clone()] {
        assert!(shown.contains("café") && !shown.contains('\u{1b}') && !shown.contains('\u{7}'), "{shown:?}");
    }
}

#[test]
fn a_step_that_closes_its_output_goes_on_to_its_end() {
    let server =
        Server::new(&job("build = \"echo last words; exec >&- 2>&-; sleep 0.3; echo x 2>/dev/null || : >$OUT/after; exit 5\""));
    push(&server);
    assert_eq!(outcome(&server), failed("build exited with status 5"));
    assert!(server.log(1).contains("\nlast words\n"));
    assert!(server.out("after").exists());
}

#[test]
fn a_step_that_locks_its_workspace_does_not_keep_it() {
    let server = Server::new(&job("build = \"mkdir -p a/b $HOME/c; touch a/b/d; chmod 000 a/b a . $HOME/c $HOME $TMPDIR\""));
    // settle() waits until nothing of the run is left.
    push(&server);
    assert_eq!(outcome(&server).0, "succeeded", "{}", server.log(1));
    assert!(!server.state("work/1").exists());
}

#[test]
fn a_step_that_fills_its_workspace_with_links_removes_nothing_of_others() {
    let server = Server::new(&job(
        "build = \"ln -s $OUT out; ln -s / root; ln -s .. up; ln $OUT/precious hard || true; mkfifo pipe; ln -s $OUT $HOME/out; \
         mkdir deep; cd deep; perl -e 'for (1..3000) { mkdir q(d) and chdir q(d) or die }'\"\ntest = \"true\"",
    ));
    let precious = server.out("precious");
    fs::write(&precious, "kept").unwrap();
    push(&server);
    assert_eq!(outcome(&server).0, "succeeded", "{}", server.log(1));
    assert!(!server.state("work/1").exists());
    assert_eq!(server.written("precious").as_deref(), Some("kept"));
}

#[test]
fn what_root_leaves_in_a_workspace_is_removed_too() {
    if !is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    let server = Server::new(&job(
        "user = \"bin\"\nbuild = \"touch mine\"\ntest = { run = \"mkdir own; touch own/x; chmod 000 own; chown daemon mine\", user = \"root\" }\n\
         deploy = { run = \"id -un >>mine\", user = \"daemon\" }",
    ));
    push(&server);
    assert_eq!(outcome(&server).0, "succeeded", "{}", server.log(1));
    assert!(!server.state("work/1").exists());
}

/// Fills the clone with everything that a repository could try while it is fetched and checked out. Whatever comes of
/// it would make a file called PWNED.
fn fill_with_malice(server: &Server) {
    let laptop = &server.laptop;
    let pwned = server.out("PWNED").to_string_lossy().into_owned();
    laptop.write_script("pwn", &format!("#!/bin/sh\ntouch '{pwned}'\ncat\n"));
    for hook in ["post-checkout", "post-merge", "reference-transaction", "post-index-change", "fsmonitor-watchman"] {
        for folder in ["hooks", ".githooks"] {
            fs::create_dir_all(laptop.file(folder)).expect("malice can be written");
            laptop.write_script(&format!("{folder}/{hook}"), &format!("#!/bin/sh\ntouch '{pwned}'\n"));
        }
    }
    // A folder that looks like a repository of its own, with a configuration that runs things.
    let config = format!("[core]\n\tfsmonitor = {pwned}.sh\n\thooksPath = hooks\n\tsshCommand = touch {pwned}\n\tbare = true\n");
    fs::create_dir_all(laptop.file("embedded/objects")).expect("malice can be written");
    fs::create_dir_all(laptop.file("embedded/refs")).expect("malice can be written");
    for (name, text) in [
        ("config", config.as_str()),
        (".gitconfig", config.as_str()),
        ("embedded/config", config.as_str()),
        ("embedded/HEAD", "ref: refs/heads/master\n"),
        ("embedded/objects/keep", ""),
        ("embedded/refs/keep", ""),
        (".gitattributes", "* filter=pwn diff=pwn merge=pwn\n*.bin filter=lfs\n"),
        (".lfsconfig", &format!("[lfs]\n\turl = ext::sh -c touch% {pwned}\n")),
        ("--upload-pack=x", "an option, or a file\n"),
        ("-rf", "another\n"),
        ("two\nlines", "with a newline\n"),
        ("a.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
    ] {
        fs::write(laptop.file(name), text).expect("malice can be written");
    }
    let submodules = format!(
        "[submodule \"ext\"]\n\tpath = ext\n\turl = ext::sh -c touch% {pwned}\n\tupdate = !touch {pwned}\n\
         [submodule \"option\"]\n\tpath = option\n\turl = --upload-pack=touch {pwned}\n\
         [submodule \"../../up\"]\n\tpath = up\n\turl = https://example.org/x.git\n"
    );
    fs::write(laptop.file(".gitmodules"), submodules).expect("malice can be written");
    std::os::unix::fs::symlink("../../../../..", laptop.file("link-up")).expect("malice can be written");
    std::os::unix::fs::symlink("/etc/passwd", laptop.file("link-out")).expect("malice can be written");
    laptop.git(&["add", "--all"]);
    for path in ["ext", "option"] {
        laptop.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{},{path}", laptop.head())]);
    }
    laptop.git(&["config", "filter.pwn.smudge", "cat"]);
}

#[test]
fn nothing_of_a_hostile_repository_is_executed_on_its_way_into_the_workspace() {
    let server = Server::new(&job(
        "build = \"git ls-files -z | sort -z | xargs -0 -n 1 ls -d -- >$OUT/listing; git ls-files --deleted >$OUT/status; \
         readlink link-up link-out >$OUT/links; cat -- ./--upload-pack=x ./-rf >$OUT/contents; \
         ls -A >$OUT/all; ls -A .git/hooks >$OUT/hooks 2>/dev/null || true; git config --list --local >$OUT/config\"",
    ));
    fs::write(server.out("PWNED.sh"), "#!/bin/sh\ntouch \"$0.ran\"\n").unwrap();
    give(&server.out("PWNED.sh"), "daemon");
    Command::new("chmod").arg("755").arg(server.out("PWNED.sh")).status().unwrap();
    fill_with_malice(&server);
    server.laptop.git(&["commit", "--quiet", "--message", "Harmless"]);
    server.laptop.push("HEAD:refs/heads/master");
    // The forge's own repository may be hostile too.
    let hook = server.laptop.forge().join("hooks/post-upload-pack");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, format!("#!/bin/sh\ntouch '{}'\n", server.out("PWNED").display())).unwrap();
    Command::new("chmod").arg("755").arg(&hook).status().unwrap();
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert_eq!(outcome(&server).0, "succeeded", "{}", server.log(1));
    for name in ["PWNED", "PWNED.sh.ran"] {
        assert!(!server.out(name).exists(), "{name}");
    }
    let found = Command::new("find").arg(server.path()).args(["-name", "PWNED"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    // The workspace is right all the same: every file, links as links, nothing fetched for submodules.
    assert_eq!(server.written("links").as_deref(), Some("../../../../..\n/etc/passwd"));
    assert_eq!(server.written("contents").as_deref(), Some("an option, or a file\nanother"));
    assert_eq!(server.written("status").as_deref(), Some(""));
    assert_eq!(server.written("hooks").unwrap_or_default(), "");
    let all = server.written("all").unwrap();
    for name in ["two", "lines", ".gitmodules", "--upload-pack=x", "-rf", "embedded", "link-out"] {
        assert!(all.lines().any(|line| line == name), "{name}: {all}");
    }
    let config = server.written("config").unwrap();
    assert!(!config.contains("pwn") && !config.contains("submodule"), "{config}");
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn a_step_that_rewrites_its_clone_does_no_harm_to_the_next_run() {
    // Written into its own .git and into whatever it can reach; the next run begins from the mirror.
    let server = Server::new(&job(
        "build = \"printf '[core]\\\\n\\\\tfsmonitor = touch $OUT/PWNED\\\\n\\\\thooksPath = /\\\\n' >>.git/config; \
         mkdir -p .git/hooks; printf '#!/bin/sh\\\\ntouch $OUT/PWNED\\\\n' >.git/hooks/post-checkout; chmod 755 .git/hooks/post-checkout; \
         git remote -v; rm -rf .git/objects; echo ok\"",
    ));
    push(&server);
    fs::remove_file(server.out("PWNED")).ok();
    let sha = server.laptop.push_commit("master", "Next");
    server.deliver_and_settle(&Delivery::push("master", &sha));
    assert_eq!(server.states(), ["succeeded", "succeeded"], "{}", server.log(2));
}
