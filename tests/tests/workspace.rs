//! What a job finds in its workspace beside the commit: submodules and large files, from where they may come and from nowhere
//! else, whatever the commit says.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use hookspool_tests::server::{Delivery, Server, is_root, wait_for};

fn job(lines: &str) -> String {
    format!("[[job]]\nname = \"tests\"\nwhen = [{{ event = \"push\" }}, {{ event = \"pull_request\" }}]\nforks = true\n{lines}\n")
}

/// A copy of the forge's repository, with a commit of its own; its path and that commit.
fn library(server: &Server, place: &str) -> (PathBuf, String) {
    let path = server.laptop.forge().parent().unwrap().join(place);
    server.laptop.git(&["clone", "--quiet", "--bare", &server.laptop.forge().to_string_lossy(), &path.to_string_lossy()]);
    (path, server.laptop.head())
}

/// Commits these submodules, each as name, path and address, at `commit`; the new commit.
fn commit_with(server: &Server, modules: &[(&str, &str, &str)], commit: &str) -> String {
    let sections =
        modules.iter().map(|(name, path, address)| format!("[submodule \"{name}\"]\n\tpath = {path}\n\turl = {address}\n"));
    fs::write(server.laptop.file(".gitmodules"), sections.collect::<String>()).unwrap();
    server.laptop.git(&["add", ".gitmodules"]);
    for (_, path, _) in modules {
        server.laptop.git(&[
            "-c",
            "core.protectNTFS=false",
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("160000,{commit},{path}"),
        ]);
    }
    server.laptop.git(&["commit", "--quiet", "--message", "With submodules"]);
    server.laptop.push("HEAD:refs/heads/master");
    server.laptop.head()
}

#[test]
fn submodules_are_there_with_theirs_at_their_commits_and_belong_to_the_jobs_user() {
    let server = Server::new(&job(
        "submodules = true\nbuild = \"git submodule status --recursive >$OUT/status; git status --porcelain >$OUT/clean; \
         stat -c %U deps/a/inner/message >$OUT/owner; git -C deps/a log -1 --format=%s >$OUT/a; cat deps/a/inner/message >$OUT/inner\"",
    ));
    let first = server.laptop.head();
    let (inner, _) = library(&server, "inner.git");
    let a = commit_with(&server, &[("in", "inner", "../inner.git")], &first);
    let (_, _) = library(&server, "a.git");
    server.laptop.git(&["reset", "--quiet", "--hard", &first]);
    let sha = commit_with(&server, &[("a", "deps/a", "../a.git")], &a);
    server.deliver_and_settle(&Delivery::push("master", &sha));
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    let status = server.written("status").unwrap().trim_start().to_owned();
    assert!(status.starts_with(&format!("{a} deps/a")) && status.contains(&format!(" {first} deps/a/inner")), "{status}");
    assert_eq!(server.written("clean").as_deref(), Some(""));
    assert_eq!((server.written("a").as_deref(), server.written("inner").as_deref()), (Some("With submodules"), Some("First")));
    if is_root() {
        assert_eq!(server.written("owner").as_deref(), Some("daemon"));
    }
    // What is on no branch there any more is found all the same; what never was ends the run.
    server.laptop.git(&["--git-dir", &inner.to_string_lossy(), "update-ref", "-d", "refs/heads/master"]);
    fs::remove_dir_all(server.state("modules/github.com/octo/shop")).unwrap();
    let again = server.laptop.git(&["commit-tree", "-p", &sha, "-m", "Again", &format!("{sha}^{{tree}}")]);
    server.laptop.push(&format!("{again}:refs/heads/master"));
    server.deliver_and_settle(&Delivery::push("master", &again));
    assert_eq!(server.outcome(2).0, "succeeded", "{}", server.log(2));
    let sha = commit_with(&server, &[("a", "deps/a", "../a.git")], "1234567890123456789012345678901234567890");
    server.deliver_and_settle(&Delivery::push("master", &sha));
    assert_eq!(server.outcome(3).0, "failed", "{}", server.log(3));
}

#[test]
fn without_the_key_nothing_is_fetched_for_submodules() {
    let server = Server::new(&job("build = \"ls -A lib >$OUT/lib\""));
    let (_, commit) = library(&server, "lib.git");
    let sha = commit_with(&server, &[("lib", "lib", "../lib.git")], &commit);
    server.deliver_and_settle(&Delivery::push("master", &sha));
    assert_eq!((server.outcome(1).0.as_str(), server.written("lib").as_deref()), ("succeeded", Some("")));
}

#[test]
fn a_hostile_gitmodules_runs_nothing_reads_nothing_and_ends_the_run() {
    let server = Server::new(&job("submodules = true\nbuild = \"echo x >$OUT/ran\""));
    let (_, commit) = library(&server, "lib.git");
    let pwned = server.out("PWNED").display().to_string();
    // A repository that root can read, and the job's user cannot.
    let private = server.path().join("private/secret.git");
    fs::create_dir_all(private.parent().unwrap()).unwrap();
    server.laptop.git(&["clone", "--quiet", "--bare", &server.laptop.forge().to_string_lossy(), &private.to_string_lossy()]);
    std::os::unix::fs::symlink(&private, server.laptop.forge().with_file_name("link.git")).unwrap();
    let (private, ext) = (private.display().to_string(), format!("ext::sh -c touch% {pwned}"));
    let option = format!("--upload-pack=touch {pwned}");
    let first = server.laptop.head();
    let hostile: [(&str, &str, &str, &str); 11] = [
        ("ext", "lib", &ext, "is no address"),
        ("option", "lib", &option, "is no address"),
        ("out", "lib", "../../../private/secret.git", "does not lie beside"),
        ("absolute", "lib", &private, "does not lie beside"),
        ("link", "lib", "../link.git", "does not lie beside"),
        ("far", "lib", "../../../../../../../../../../../../x", "leads out of"),
        ("web", "lib", "https://example.org/x.git", "a submodule of a folder is beside it"),
        ("../../../up", "lib", "../lib.git", "is no name for a submodule"),
        ("absent", "lib", "../absent.git", "absent.git"),
        ("itself", "lib", "./", ""),
        ("fd", "lib", "fd::3", "is no address"),
    ];
    for (run, (name, path, address, why)) in (1..).zip(hostile) {
        server.laptop.git(&["reset", "--quiet", "--hard", &first]);
        let sha = commit_with(&server, &[(name, path, address)], &commit);
        server.deliver_and_settle(&Delivery::push("master", &sha));
        let (state, reason) = server.outcome(run);
        if name == "itself" {
            // The clone itself is beside itself; its commit has no submodules.
            assert_eq!(state, "succeeded", "{reason}");
            fs::remove_file(server.out("ran")).unwrap();
            continue;
        }
        assert!(state == "refused" && reason.contains(why), "{name}: {state}: {reason}\n{}", server.log(run));
    }
    assert_eq!(server.written("ran"), None);
    let found = Command::new("find").arg(server.path()).args(["-name", "PWNED"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

/// A pipe that nobody ever writes to: whoever reads it waits for ever.
fn make_pipe(server: &Server) -> String {
    let pipe = server.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    pipe.display().to_string()
}

#[test]
fn a_gitmodules_that_includes_a_file_of_this_machine_is_read_without_it() {
    let server = Server::new(&job("submodules = true\nbuild = \"cat lib/message >$OUT/lib\""));
    let (_, commit) = library(&server, "lib.git");
    let pipe = make_pipe(&server);
    // What a file that only root reads says must not become a submodule either.
    let private = server.path().join("private.config");
    fs::write(&private, "[submodule \"private\"]\n\tpath = private\n\turl = ../lib.git\n").unwrap();
    commit_with(&server, &[("lib", "lib", "../lib.git"), ("private", "private", "../lib.git")], &commit);
    let includes = format!("[include]\n\tpath = {pipe}\n[include]\n\tpath = {}\n", private.display());
    let module = "[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib.git\n";
    fs::write(server.laptop.file(".gitmodules"), format!("{includes}{module}")).unwrap();
    server.laptop.git(&["add", ".gitmodules"]);
    server.laptop.git(&["commit", "--quiet", "--message", "With includes"]);
    server.laptop.push("HEAD:refs/heads/master");
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert_eq!(server.written("lib").as_deref(), Some("First"));
    assert!(!server.log(1).contains("submodule private"), "{}", server.log(1));
}

#[test]
fn a_run_that_waits_for_its_mirror_can_be_cancelled() {
    let server = Server::new(&job("build = \"echo x >$OUT/ran\""));
    let lock = server.state("repos/github.com/octo/shop.lock");
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let held = fs::File::create(&lock).unwrap();
    held.lock().unwrap();
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
    wait_for("the run to come to its mirror", || server.log(1).contains("checkout: ").then_some(()));
    let cancelled = server.hookspool(&["cancel", "1"]);
    assert!(cancelled.status.success(), "{}", String::from_utf8_lossy(&cancelled.stderr));
    let (state, reason) = server.outcome(1);
    assert!(state == "cancelled" && reason.contains("checkout was ended"), "{state}: {reason}");
    drop(held);
    server.settle();
    assert_eq!(server.written("ran"), None);
}

#[test]
fn a_path_that_leads_elsewhere_is_no_place_for_a_submodule() {
    let server = Server::new(&job(
        "submodules = true\nbuild = \"git ls-files -s >$OUT/files; ls -A .git/hooks >$OUT/hooks 2>/dev/null || true\"",
    ));
    library(&server, "lib.git");
    let first = server.laptop.head();
    // git itself keeps such paths out of a tree, so only .gitmodules can name them.
    for (run, path) in (1..).zip(["../up", "/etc/x", ".git/hooks", "a/../../x", "-x"]) {
        server.laptop.git(&["reset", "--quiet", "--hard", &first]);
        fs::write(server.laptop.file(".gitmodules"), format!("[submodule \"x\"]\n\tpath = {path}\n\turl = ../lib.git\n"))
            .unwrap();
        let sha = server.laptop.push_commit("master", path);
        server.deliver_and_settle(&Delivery::push("master", &sha));
        let (state, reason) = server.outcome(run);
        assert!(state == "refused" && reason.contains("is no folder for a submodule"), "{path}: {state}: {reason}");
    }
    // A link where the submodule's folder would lie: a tree holds one or the other, so it is a link, and nothing is fetched.
    server.laptop.git(&["reset", "--quiet", "--hard", &first]);
    fs::write(server.laptop.file(".gitmodules"), "[submodule \"x\"]\n\tpath = link/lib\n\turl = ../lib.git\n").unwrap();
    std::os::unix::fs::symlink(server.out(""), server.laptop.file("link")).unwrap();
    let sha = server.laptop.push_commit("master", "A link");
    server.deliver_and_settle(&Delivery::push("master", &sha));
    assert_eq!(server.outcome(6).0, "succeeded", "{}", server.log(6));
    assert!(!server.out("lib").exists());
}

#[test]
fn a_forks_run_reads_no_other_repository_of_this_machine() {
    let server = Server::new(&job("submodules = true\nbuild = \"cat lib/message >$OUT/lib\""));
    let (_, commit) = library(&server, "lib.git");
    let sha = commit_with(&server, &[("lib", "lib", "../lib.git")], &commit);
    server.deliver_and_settle(&Delivery::push("master", &sha));
    assert_eq!(
        (server.outcome(1).0.as_str(), server.written("lib").as_deref()),
        ("succeeded", Some("First")),
        "{}",
        server.log(1)
    );
    fs::remove_file(server.out("lib")).unwrap();
    server.laptop.git(&["commit", "--quiet", "--allow-empty", "--message", "From a fork"]);
    let sha = server.laptop.head();
    server.laptop.push("HEAD:refs/pull/8/head");
    server.deliver_and_settle(&Delivery::pull_request(8, &sha, "mallory/shop"));
    let (state, reason) = server.outcome(2);
    assert!(state == "refused" && reason.contains("a fork's run reads no other repository of this machine"), "{state}: {reason}");
    assert_eq!(server.written("lib"), None);
}

fn has_lfs() -> bool {
    let there = Command::new("git-lfs").arg("version").output().is_ok();
    if !there {
        println!("SKIPPED: git-lfs is not installed");
    }
    there
}

/// Commits and pushes a large file as Git LFS does.
fn push_large_file(server: &Server) -> String {
    let address = format!("file://{}", server.laptop.forge().display());
    server.laptop.git(&["remote", "set-url", "origin", &address]);
    server.laptop.git(&["lfs", "install", "--local"]);
    fs::write(server.laptop.file(".gitattributes"), "*.bin filter=lfs diff=lfs merge=lfs -text\n").unwrap();
    fs::write(server.laptop.file("large.bin"), "the contents\n".repeat(1000)).unwrap();
    // Nothing there: whoever obeyed it would fail.
    fs::write(server.laptop.file(".lfsconfig"), "[lfs]\n\turl = https://127.0.0.1:1/evil\n").unwrap();
    server.laptop.git(&["config", "lfs.url", &address]);
    server.laptop.push_commit("master", "A large file")
}

#[test]
fn large_files_are_there_when_they_are_asked_for_and_pointers_when_not() {
    if !has_lfs() {
        return;
    }
    for (lines, expected) in [("lfs = true", "the contents"), ("", "version https://git-lfs.github.com/spec/v1")] {
        let server = Server::new(&job(&format!(
            "{lines}\nbuild = \"head -n 1 large.bin >$OUT/line; git status --porcelain >$OUT/status; stat -c %U large.bin >$OUT/owner\""
        )));
        let sha = push_large_file(&server);
        server.deliver_and_settle(&Delivery::push("master", &sha));
        assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
        assert_eq!((server.written("line").as_deref(), server.written("status").as_deref()), (Some(expected), Some("")));
        if is_root() {
            assert_eq!(server.written("owner").as_deref(), Some("daemon"));
        }
    }
}

#[test]
fn without_git_lfs_the_run_says_what_to_install() {
    if !has_lfs() || !is_root() {
        println!("SKIPPED: needs root, to hide a program");
        return;
    }
    let server = Server::new(&job("lfs = true\nbuild = \"echo x >$OUT/ran\""));
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    let pass = server.pass_command();
    let mut hidden = Command::new("unshare");
    hidden.args(["-m", "sh", "-c", "mount --bind /dev/null \"$(command -v git-lfs)\" && exec \"$@\"", "sh"]);
    let status = hidden.arg(pass.get_program()).args(pass.get_args()).status().unwrap();
    assert!(status.success());
    server.settle();
    let (state, reason) = server.outcome(1);
    assert!(
        state == "failed" && reason.contains("`lfs = true` needs git-lfs") && reason.contains("install the package git-lfs"),
        "{reason}"
    );
}

#[test]
fn a_large_file_that_the_server_does_not_have_fails_the_run() {
    if !has_lfs() {
        return;
    }
    let server = Server::new(&job("lfs = true\nbuild = \"echo x >$OUT/ran\""));
    let sha = push_large_file(&server);
    fs::remove_dir_all(server.laptop.forge().join("lfs")).unwrap();
    server.deliver_and_settle(&Delivery::push("master", &sha));
    assert_eq!((server.outcome(1).0.as_str(), server.written("ran")), ("failed", None), "{}", server.log(1));
}
