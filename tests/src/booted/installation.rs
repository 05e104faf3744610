//! Hookspool on a machine, installed by the very commands of README, with a forge (bare git repositories) and somebody's
//! clone beside it. Deliveries come through the real receiver.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Machine, SOURCE, said};
use crate::programs::workspace;
use crate::server::{Mail, PATIENCE, read_maildir, text};

/// The section of README that is followed.
const SECTION: &str = "## A real installation";

/// How often one looks whether something has come.
const LOOK: Duration = Duration::from_millis(20);

/// What each of its blocks that is followed holds, in this order. The others are for machines without systemd, and for
/// forges that are not here.
const BLOCKS: [&str; 6] = [
    "target/release/hookspool-worker",
    "systemd-sysusers",
    "docs/examples/hookspool.toml",
    "openssl rand",
    "hookspool check",
    "systemctl daemon-reload",
];

/// The commands of README that install Hookspool where systemd is, a block at a time. Building is left out: the programs
/// under test are there already.
fn blocks() -> Vec<String> {
    let readme = fs::read_to_string(workspace().join("README.md")).expect("README can be read");
    let section = readme.split_once(SECTION).map(|(_, rest)| rest.split("\n## ").next().unwrap_or_default());
    let section = section.expect("README has this section");
    let all: Vec<&str> =
        section.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("```").map(|(code, _)| code)).collect();
    let block = |words: &&str| {
        let found = all.iter().find(|block| block.contains(words)).unwrap_or_else(|| panic!("README has no block with {words}"));
        found.lines().filter(|line| *line != "cargo build --release").map(|line| format!("{line}\n")).collect()
    };
    BLOCKS.iter().map(block).collect()
}

/// Hookspool on a machine.
#[derive(Debug)]
pub struct Installed {
    /// The machine.
    pub machine: Machine,
}

impl Installed {
    /// Installs it on a machine, with these `[[job]]`s of `github.com/octo/shop`, and `more` of the main file.
    ///
    /// # Panics
    /// When a command of README fails.
    #[must_use]
    pub fn on(machine: Machine, jobs: &str, more: &str) -> Self {
        let installed = Self { machine };
        installed.make_forge();
        for (block, words) in blocks().iter().zip(BLOCKS) {
            // The password is typed where README says so.
            installed.machine.run(&format!("cd {SOURCE}; (\n{block}\n) <<'END'\ntyped-password\nEND"));
            if words == "docs/examples/hookspool.toml" {
                installed.configure(jobs, more);
            }
        }
        installed
    }

    /// "Make it yours": the configuration of this machine in place of the example.
    pub fn configure(&self, jobs: &str, more: &str) {
        let main = format!(
            "[receiver]\nlisten = \"127.0.0.1:8071\"\n\
             [[source]]\nname = \"github\"\nprovider = \"github\"\npath = \"/hooks/github\"\nsecret = \"github-webhook\"\n\
             [mail]\nfrom = \"CI <ci@example.org>\"\nsmtp = \"maildir:/var/mail/ci\"\nallow = [\"@example.org\"]\n\
             [worker]\nslots = 4\n{more}"
        );
        let repository =
            format!("repository = \"github.com/octo/shop\"\nsource = \"github\"\nclone = \"file:///srv/forge/shop.git\"\n{jobs}");
        fs::write(self.machine.path("/etc/hookspool/hookspool.toml"), main).expect("a file can be written");
        fs::write(self.machine.path("/etc/hookspool/repositories/shop.toml"), repository).expect("a file can be written");
        self.machine.run("cd /etc/hookspool/repositories; rm -f site.toml; chgrp hookspool shop.toml; chmod 0640 shop.toml");
    }

    fn make_forge(&self) {
        self.machine.run(
            "git config --system user.name Mona; git config --system user.email mona@example.org
             git config --system init.defaultBranch master
             git init --quiet --bare /srv/forge/shop.git; git init --quiet /srv/clone; cd /srv/clone
             git commit --quiet --allow-empty --message First
             git remote add origin /srv/forge/shop.git; git push --quiet origin master
             mkdir --mode 1777 /srv/out",
        );
    }

    /// Makes a branch at the forge, and has the receiver told of it as the forge would; gives the run that comes of it.
    ///
    /// # Panics
    /// When none comes of it.
    pub fn push(&self, branch: &str) -> i64 {
        self.push_as(branch, &format!("delivery-{}", branch.replace('/', "-")))
    }

    /// Moves a branch on, or makes it, and has the receiver told of it in a delivery with this id.
    ///
    /// # Panics
    /// When no run comes of it.
    pub fn push_as(&self, branch: &str, id: &str) -> i64 {
        self.machine.run(&format!(
            "cd /srv/clone; git commit --quiet --allow-empty --message 'For {branch}'; git push --quiet origin HEAD:refs/heads/{branch}
             hookspool send --repository github.com/octo/shop --ref {branch} --pusher mona@example.org --id {id}"
        ));
        self.wait_for(&format!("a run of {branch}"), || {
            // Until a pass has taken the delivery over, there is none.
            let traced = self.machine.try_run(&format!("hookspool trace {id} --json"));
            serde_json::from_slice::<Value>(&traced.stdout).ok()?[0]["runs"][0]["run"].as_i64()
        })
    }

    /// What `hookspool show` says of a run.
    #[must_use]
    pub fn show(&self, run: i64) -> Value {
        self.machine.json(&format!("hookspool show {run} --json"))
    }

    /// State and reason of a run.
    #[must_use]
    pub fn outcome(&self, run: i64) -> (String, String) {
        let shown = self.show(run);
        (text(&shown["state"]), text(&shown["reason"]))
    }

    /// Waits until a run is over, and nothing is left of it: no unit, no process, no folder. State and reason.
    ///
    /// # Panics
    /// When something is left.
    pub fn wait_for_end(&self, run: i64) -> (String, String) {
        let outcome = self.wait_for(&format!("run {run} to end"), || {
            Some(self.outcome(run)).filter(|(state, _)| !["queued", "running"].contains(&state.as_str()))
        });
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = self.left_of(run);
            if left.is_empty() {
                return outcome;
            }
            assert!(Instant::now() < deadline, "of run {run}, which {outcome:?}, is left:\n{left}\n{}", self.machine.journal());
            std::thread::sleep(LOOK);
        }
    }

    /// What is left of a run: its unit, processes of its own, its folders, cgroups of its name.
    #[must_use]
    pub fn left_of(&self, run: i64) -> String {
        let script = format!(
            "systemctl list-units --all --plain --no-legend 'hookspool-run-{run}.*'
             ls -d /run/systemd/transient/hookspool-run-{run}.service /var/lib/hookspool/runs/{run} /var/lib/hookspool/work/{run} 2>/dev/null || true
             find /sys/fs/cgroup -type d \\( -name 'hookspool-run-{run}' -o -name 'hookspool-run-{run}.*' \\)
             grep --text --files-with-matches 'HOOKSPOOL_RUN={run}$' --null-data /proc/[0-9]*/environ 2>/dev/null || true"
        );
        said(&self.machine.try_run(&script))
    }

    /// The mail that tells of a run, if it was sent.
    #[must_use]
    pub fn mail(&self, run: i64) -> Option<Mail> {
        let of_run = |mail: &Mail| mail.header("X-Hookspool-Run") == run.to_string();
        read_maildir(&self.machine.path("/var/mail/ci")).into_iter().find(of_run)
    }

    /// Waits for the mail that tells of a run; its words.
    ///
    /// # Panics
    /// When it does not come.
    #[must_use]
    pub fn wait_for_mail(&self, run: i64) -> String {
        self.wait_for(&format!("the mail of run {run}"), || self.mail(run)).words()
    }

    /// Waits for something; when it does not come, the journal says why.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait_for<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "waited in vain for {what}:\n{}\n{}",
                self.machine.run("hookspool runs"),
                self.machine.journal()
            );
            std::thread::sleep(LOOK);
        }
    }
}
