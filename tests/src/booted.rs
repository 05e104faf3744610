//! A whole Debian machine with systemd as PID 1, in a container (systemd-nspawn(1)): units, transient units, timers, cron and
//! reboots as they are. Commands are run in it as root.
//!
//! It needs root, and what makes and boots a tree. It never touches the systemd of the machine that tests. However the test
//! ends, a caretaker kills the machine and removes it.

mod cgroups; // a cgroup for the machine, in each hierarchy that systemd uses
mod installation; // Hookspool, installed as README says, and a forge
mod tree; // the machine's files

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::programs::{program, workspace};
use crate::server::{is_root, kill_now, wait_for};
use cgroups::Cgroups;

pub use installation::Installed;
pub use tree::{DEBIAN, Tree};

/// The search path within.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the repository of this project lies within.
pub const SOURCE: &str = "/usr/src/hookspool";

/// A machine. It is a folder with its files, and when it is on, a process that is its PID 1.
#[derive(Debug)]
pub struct Machine {
    folder: PathBuf,
    cgroups: Cgroups,
    nspawn: Option<Child>,
    /// It waits for as long as its standard input is open.
    caretaker: Child,
}

impl Machine {
    /// A machine that has been booted, with the programs under test and the project's files in [`SOURCE`]; `None`, and a word
    /// on it, where there can be none.
    ///
    /// # Panics
    /// When it could be, and is not.
    #[must_use]
    pub fn boot() -> Option<Self> {
        let tree = Tree::of_this_machine()?;
        if !is_root() {
            println!("SKIPPED: needs root to boot a machine in a container");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("hookspool-machine-").tempdir().expect("a folder can be made").keep();
        let cgroups = Cgroups::make(&folder.file_name().expect("it has a name").to_string_lossy());
        let caretaker = start_caretaker(&folder, &cgroups);
        tree.unpack(&folder.join("tree"));
        let mut machine = Self { folder, cgroups, nspawn: None, caretaker };
        machine.turn_on();
        Some(machine)
    }

    /// Boots it, with whatever its disk holds.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn turn_on(&mut self) {
        let console = File::options().append(true).create(true).open(self.folder.join("console")).expect("a file can be made");
        let mut nspawn = Command::new("sh");
        // The shell enters the machine's cgroups, and becomes nspawn.
        nspawn.args(["-c", &format!("{}exec systemd-nspawn \"$@\"", self.cgroups.entering()), "nspawn"]);
        nspawn.arg("--directory").arg(self.folder.join("tree"));
        nspawn.args([
            "--boot",
            "--register=no",
            "--keep-unit",
            "--console=pipe",
            "--private-network",
            "--link-journal=no",
            "--quiet",
        ]);
        let programs = program("hookspool-worker");
        let programs = programs.parent().expect("it lies in a folder");
        for (from, to) in [
            (workspace().join("docs"), "docs"),
            (workspace().join("systemd"), "systemd"),
            (programs.to_owned(), "target/release"),
        ] {
            nspawn.arg(format!("--bind-ro={}:{SOURCE}/{to}", from.display()));
        }
        nspawn.arg(format!("--bind-ro={}/README.md:{SOURCE}/README.md", workspace().display()));
        nspawn.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1").stdin(Stdio::null());
        let child =
            nspawn.stdout(console.try_clone().expect("it is open")).stderr(console).spawn().expect("nspawn can be started");
        fs::write(self.folder.join("nspawn"), child.id().to_string()).expect("a file can be written");
        self.nspawn = Some(child);
        wait_for("PID 1", || self.pid_1());
        wait_for(&format!("the machine, whose console is {}", self.folder.join("console").display()), || {
            let state = self.try_run("systemctl is-system-running");
            ["running", "degraded"].contains(&said(&state).trim()).then_some(())
        });
    }

    /// Ends it as its power button would.
    ///
    /// # Panics
    /// When it does not end.
    pub fn shut_down(&mut self) {
        let _ = self.try_run("systemctl poweroff");
        let mut nspawn = self.nspawn.take().expect("it is on");
        wait_for("the machine's end", || nspawn.try_wait().expect("it can be asked").map(drop));
    }

    /// Ends it as a power failure would: nobody is asked.
    ///
    /// # Panics
    /// When it does not end.
    pub fn pull_the_plug(&mut self) {
        kill_now(self.pid_1().expect("it is on"));
        let mut nspawn = self.nspawn.take().expect("it is on");
        wait_for("the machine's end", || nspawn.try_wait().expect("it can be asked").map(drop));
        self.cgroups.empty();
    }

    /// The number of its PID 1 on the machine that tests.
    fn pid_1(&self) -> Option<i32> {
        let pid = self.nspawn.as_ref()?.id();
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?.split_whitespace().next()?.parse().ok()
    }

    /// A file of the machine's, seen from outside.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join("tree").join(name.trim_start_matches('/'))
    }

    /// Runs a script in it, as root; what it prints.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, script: &str) -> String {
        let output = self.try_run(script);
        assert!(output.status.success(), "{script}\nended with {}:\n{}", output.status, said(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a script in it, as root; the JSON that it prints.
    ///
    /// # Panics
    /// When it fails, or prints something else.
    #[must_use]
    pub fn json(&self, script: &str) -> Value {
        serde_json::from_str(&self.run(script)).expect("it prints JSON")
    }

    /// Runs a script in it, as root.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn try_run(&self, script: &str) -> Output {
        self.command(script).output().expect("nsenter can be started")
    }

    /// The same, to be started by the caller.
    ///
    /// # Panics
    /// When the machine is off.
    #[must_use]
    pub fn command(&self, script: &str) -> Command {
        let pid = self.pid_1().expect("the machine is on");
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid.to_string(), "--all", "--", "/bin/sh", "-euc", script]);
        command.env_clear().env("PATH", PATH).env("HOME", "/root").stdin(Stdio::null());
        command
    }

    /// Waits until a script succeeds in it; what it prints.
    pub fn wait_until(&self, script: &str) -> String {
        wait_for(&format!("`{script}`"), || {
            let output = self.try_run(script);
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        })
    }

    /// The properties of a unit, as `systemctl show` gives them.
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.run(&format!("systemctl show --property={name} --value {unit}")).trim().to_owned()
    }

    /// What its journal holds, for whoever looks into a test that failed.
    #[must_use]
    pub fn journal(&self) -> String {
        said(&self.try_run("journalctl --no-pager --output=short-precise -n 200"))
    }
}

/// What a command said on both of its outputs.
#[must_use]
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A shell that ends the machine, and removes it, when this process is gone: a machine that all tests of a file share is
/// dropped by nobody.
fn start_caretaker(folder: &Path, cgroups: &Cgroups) -> Child {
    let script = r#"
        cat >/dev/null
        folder=$1
        shift
        if nspawn=$(cat "$folder/nspawn"); then
            kill -KILL $(cat "/proc/$nspawn/task/$nspawn/children") "$nspawn"
        fi
        for try in 1 2 3 4 5 6 7 8 9 10; do
            for group; do find "$group" -depth -type d -exec rmdir {} \; ; done
            rm -rf --one-file-system "$folder"
            left=$(ls -d "$folder" "$@")
            test -z "$left" && break
            sleep 0.2
        done"#;
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", script, "caretaker"]).arg(folder).args(cgroups.folders());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("a shell can be started")
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.caretaker.stdin.take());
        let _ = self.caretaker.wait();
        let _ = self.nspawn.as_mut().map(Child::wait);
    }
}
