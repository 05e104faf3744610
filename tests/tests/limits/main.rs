//! What a step is, may use, and cannot do: with the real kernel's groups, limits and namespaces, as root where those need
//! root, and with what is said where a machine cannot give them.

mod identity; // whom a step runs as, and what it has of its parents
mod resources; // memory, processes, processor, files, output, workspace
mod ending; // nothing that a step started outlives it
mod network; // network = false
mod elsewhere; // machines without this or that, and workers without root

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hookspool_tests::server::{Delivery, Server, wait_for};

fn job(lines: &str) -> String {
    format!("[[job]]\nname = \"tests\"\nwhen = [{{ event = \"push\" }}]\n{lines}\n")
}

/// A push, and a pass that starts its run.
fn start(server: &Server) {
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
}

/// A push, and all that comes of it.
fn run(server: &Server) {
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
}

fn failed(why: &str) -> (String, String) {
    ("failed".to_owned(), why.to_owned())
}

/// The machine's hierarchies of cgroups: the mount, and the controllers, of which the unified one's are `unified` too.
fn hierarchies() -> Vec<(PathBuf, Vec<String>)> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts can be read");
    let read = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let mount = PathBuf::from(before.split(' ').nth(4)?);
        let words: Vec<&str> = after.split(' ').collect();
        let controllers = match words[0] {
            "cgroup" => words[2].replace(',', " "),
            "cgroup2" => fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default() + " unified",
            _ => return None,
        };
        Some((mount, controllers.split_whitespace().map(str::to_owned).collect()))
    };
    mounts.lines().filter_map(read).collect()
}

/// Whether something here can limit this, for root; a test that needs it says that it is passed over.
fn can_limit(controllers: &[&str]) -> bool {
    if !hookspool_tests::server::is_root() {
        println!("SKIPPED: needs root");
        return false;
    }
    let hierarchies = hierarchies();
    let has =
        |name: &&&str| !hierarchies.iter().any(|(_, controllers)| controllers.iter().any(|controller| controller == **name));
    match controllers.iter().find(has) {
        None => true,
        Some(missing) => {
            println!("SKIPPED: needs the {missing} controller of cgroups");
            false
        }
    }
}

/// The folders of the groups that a process is in, as its own `/proc/self/cgroup` says, which the step wrote to
/// `$OUT/groups`; only those that were made for a run.
fn groups(server: &Server) -> Vec<PathBuf> {
    let text = server.wait_until_written("groups");
    let hierarchies = hierarchies();
    let folder = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let (_, names, path) = (fields.next()?, fields.next()?, fields.next()?);
        let name = if names.is_empty() { "unified" } else { names.split(',').next()? };
        let (mount, _) = hierarchies.iter().find(|(_, controllers)| controllers.iter().any(|controller| controller == name))?;
        path.contains("hookspool-").then(|| mount.join(path.trim_start_matches('/')))
    };
    text.lines().filter_map(folder).collect()
}

/// The group that has this file, of those of a step.
fn group_with(groups: &[PathBuf], file: &str) -> PathBuf {
    let found = groups.iter().find(|group| group.join(file).exists());
    found.unwrap_or_else(|| panic!("none of {groups:?} has {file}")).clone()
}

/// Every group of these is gone.
fn assert_gone(groups: &[PathBuf]) {
    assert!(!groups.is_empty());
    let left: Vec<&PathBuf> = groups.iter().filter(|group| group.exists()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A pass on a machine where these mounts are absent. What it starts sees none of them either.
fn pass_without(server: &Server, mounts: &[PathBuf]) -> Command {
    let pass = server.pass_command();
    let umount: String = mounts.iter().map(|mount| format!("umount {} && ", mount.display())).collect();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &format!("{umount}exec \"$@\""), "sh"]).arg(pass.get_program()).args(pass.get_args());
    command.current_dir("/").env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The runner of this server's only run at work.
fn runner(server: &Server) -> i32 {
    let config = server.config().to_string_lossy().into_owned();
    let find = || hookspool_tests::server::processes_with(&[" runner ", &config]).first().copied();
    wait_for("a runner", find)
}

/// Which file a process has open at each of its descriptors.
fn open_files(pid: i32) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")).into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
}
