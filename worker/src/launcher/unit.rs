//! A runner's unit: its name, and what systemctl(1) says of it and does with it.
//!
//! Trusted: systemd. Its words are read one property a line, and nothing is decided by text that is meant for people.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use hookspool_common::names::RunId;
use sha2::{Digest, Sha256};

use super::{End, cgroup_mount};
use crate::environment;

/// The state folder whose runs need no more than their number to be told apart.
const USUAL_STATE: &str = "/var/lib/hookspool";

/// Longest name of the state folder within a unit's name, which may have 255 bytes in all (systemd.unit(5)).
const MAX_STATE_BYTES: usize = 200;

/// systemd keeps a file here for each transient unit that it knows, also for one that has failed.
const TRANSIENT_UNITS: &str = "/run/systemd/transient";

const PREFIX: &str = "hookspool-run-";
const SUFFIX: &str = ".service";

/// The names of one installation's units. A number is not enough: several installations may share a machine, and what
/// tells them apart is the ledger that gives the numbers.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// Empty, or `-` and the state folder.
    installation: String,
}

impl Names {
    pub(super) fn of(state: &Path) -> Self {
        let installation = if state == Path::new(USUAL_STATE) { String::new() } else { format!("-{}", escaped(state)) };
        Self { installation }
    }

    /// The unit of a run.
    pub(super) fn unit(&self, run: RunId) -> String {
        format!("{PREFIX}{run}{}{SUFFIX}", self.installation)
    }

    /// The unit of another command of the worker.
    pub(super) fn aside(&self, command: &str) -> String {
        format!("hookspool-{command}{}{SUFFIX}", self.installation)
    }

    /// The run of a unit, if it is one of this installation.
    fn run(&self, unit: &str) -> Option<RunId> {
        let number = unit.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.strip_suffix(&self.installation)?;
        number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok()).flatten()
    }

    /// The runs of this installation whose units systemd knows.
    pub(super) fn known(&self) -> io::Result<Vec<RunId>> {
        let entries = match fs::read_dir(TRANSIENT_UNITS) {
            Ok(entries) => entries,
            // It is made for the first of them.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut runs = Vec::new();
        for entry in entries {
            runs.extend(entry?.file_name().to_str().and_then(|name| self.run(name)));
        }
        Ok(runs)
    }

    /// Whether systemd knows the unit of a run.
    pub(super) fn knows(&self, run: RunId) -> bool {
        Path::new(TRANSIENT_UNITS).join(self.unit(run)).exists()
    }
}

/// A folder as a part of a unit's name: `-` for each `/`, and `\x` and two digits for what a name must not hold, or would
/// mean a `/` there (systemd.unit(5), "String Escaping for Inclusion in Unit Names").
fn escaped(folder: &Path) -> String {
    let path = folder.as_os_str().as_encoded_bytes();
    let mut name = String::new();
    for byte in path.strip_prefix(b"/").unwrap_or(path) {
        match byte {
            b'/' => name.push('-'),
            byte if byte.is_ascii_alphanumeric() || b"_.:".contains(byte) => name.push(char::from(*byte)),
            byte => name.push_str(&format!("\\x{byte:02x}")),
        }
    }
    if name.len() <= MAX_STATE_BYTES {
        return name;
    }
    Sha256::digest(path).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What systemd says of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// Whether anything of it runs, is about to, or is being ended.
    pub(super) is_at_work: bool,
    /// How its main process ended, where it was no success.
    pub(super) end: Option<End>,
}

/// Whether anything of a unit is there to run in. It costs no process to know, where cgroup v2 is mounted.
pub(super) fn has_cgroup(slice: &str, unit: &str) -> bool {
    cgroup_mount().is_some_and(|mount| mount.join(slice).join(unit).is_dir())
}

/// What systemd says of a unit; `None` when it knows of none.
pub(super) fn show(unit: &str) -> anyhow::Result<Option<Shown>> {
    let properties = "--property=LoadState,ActiveState,Result,ExecMainCode,ExecMainStatus";
    systemctl(&["show", properties, unit]).map(|said| read(&said))
}

/// Has systemctl(1) do this, and gives what it prints.
pub(super) fn systemctl(words: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new("systemctl");
    command.args(words).env_clear().env("PATH", environment::PATH).stdin(Stdio::null());
    let output = command.output().context("cannot start systemctl")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "systemctl {} failed ({}): {}", words.join(" "), output.status, said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn read(said: &str) -> Option<Shown> {
    let properties: HashMap<&str, &str> = said.lines().filter_map(|line| line.split_once('=')).collect();
    let of = |name: &str| properties.get(name).copied().unwrap_or_default();
    if of("LoadState") == "not-found" {
        return None;
    }
    let status: i32 = of("ExecMainStatus").parse().unwrap_or_default();
    let result = of("Result");
    // waitid(2): CLD_EXITED, CLD_KILLED, CLD_DUMPED; 0 while there was no main process that ended.
    let end = match of("ExecMainCode") {
        "1" if status != 0 => Some(End::Exited(status)),
        "2" | "3" => {
            Some(End::Killed(status, Some(result).filter(|result| !["signal", "core-dump"].contains(result)).map(str::to_owned)))
        }
        _ if result != "success" => Some(End::Failed(result.to_owned())),
        _ => None,
    };
    Some(Shown { is_at_work: !["inactive", "failed"].contains(&of("ActiveState")), end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_installation_knows_its_own_units_alone() {
        let (usual, other) = (Names::of(Path::new("/var/lib/hookspool")), Names::of(Path::new("/srv/my-ci/state")));
        assert_eq!(usual.unit(RunId::new(7)), "hookspool-run-7.service");
        assert_eq!(other.unit(RunId::new(7)), "hookspool-run-7-srv-my\\x2dci-state.service");
        assert_eq!(usual.run("hookspool-run-7.service"), Some(RunId::new(7)));
        assert_eq!(other.run("hookspool-run-7-srv-my\\x2dci-state.service"), Some(RunId::new(7)));
        for (names, unit) in [
            (&usual, "hookspool-run-7-srv-my\\x2dci-state.service"),
            (&other, "hookspool-run-7.service"),
            (&other, "hookspool-run-7-srv-your-ci-state.service"),
            (&usual, "hookspool-run-.service"),
            (&usual, "hookspool-run-+7.service"),
            (&usual, "hookspool-worker.service"),
        ] {
            assert_eq!(names.run(unit), None, "{unit}");
        }
    }

    #[test]
    fn folders_that_differ_have_names_that_differ_and_fit() {
        let long = format!("/{}", "x/".repeat(400));
        let folders = ["/a/b", "/a-b", "/a b", "/a\\x2db", "/ä", &long, &format!("{long}y")];
        let names: std::collections::HashSet<String> = folders.iter().map(|folder| escaped(Path::new(folder))).collect();
        assert_eq!(names.len(), folders.len(), "{names:?}");
        assert!(names.iter().all(|name| name.len() <= MAX_STATE_BYTES && name.is_ascii()), "{names:?}");
    }

    #[test]
    fn what_systemd_says_is_told_in_words_that_follow_the_runner() {
        let said = |result: &str, code: u8, status: u8| {
            let text =
                format!("LoadState=loaded\nActiveState=failed\nResult={result}\nExecMainCode={code}\nExecMainStatus={status}\n");
            let shown = read(&text).unwrap();
            assert!(!shown.is_at_work);
            shown.end.map(|end| end.to_string())
        };
        assert_eq!(said("signal", 2, 9).as_deref(), Some("was killed by SIGKILL"));
        assert_eq!(said("core-dump", 3, 6).as_deref(), Some("was killed by SIGABRT"));
        assert_eq!(said("oom-kill", 2, 9).as_deref(), Some("was killed by SIGKILL (oom-kill)"));
        assert_eq!(said("exit-code", 1, 70).as_deref(), Some("exited with status 70"));
        assert_eq!(said("resources", 0, 0).as_deref(), Some("ended (resources)"));
        assert_eq!(said("success", 1, 0), None);
        assert_eq!(read("LoadState=not-found\nActiveState=inactive\nResult=success\n"), None);
        assert!(read("LoadState=loaded\nActiveState=deactivating\nResult=success\n").unwrap().is_at_work);
    }
}
