//! A runner as a transient unit of systemd's: `hookspool-run-N.service`.
//!
//! PID 1 is then its parent. It lives in a cgroup of its own, so that nothing done to the pass or its unit reaches it, and
//! nothing that it started outlives it; and how it ended is known, if no pass was there to see it.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use hookspool_common::config::{Config, Paths};
use hookspool_common::names::RunId;

use super::unit::{self, Names};
use super::{End, Launcher, Order, PASS_UNIT, Program, environment_of_runner, words_of, words_of_runner};
use crate::alive::Alive;
use crate::folders::Folders;

/// All runs of the machine, so that they can be limited, seen and stopped as one.
const SLICE: &str = "hookspool.slice";

/// What every runner's unit is like, and why.
const PROPERTIES: [&str; 14] = [
    // It did not get its run, and that is no failure; see runner::NOT_MINE.
    "SuccessExitStatus=75",
    // It is started when it says so, which is once its run is its own.
    "NotifyAccess=main",
    "TimeoutStartSec=60",
    // Only the runner is asked to end. It ends its step politely; what is left when it is gone is killed.
    "KillMode=mixed",
    "SendSIGHUP=no",
    // Its step has ten seconds. `always` may go on for as long, but holds up no shutdown for longer than any other service.
    "TimeoutStopSec=90",
    // A step that was killed for want of memory is a failed step. The run goes on, to `always` and to its mail.
    "OOMPolicy=continue",
    // It makes a cgroup for each of its steps.
    "Delegate=yes",
    // A runner that crashes holds secrets, which do not belong in a core file. A step may raise it.
    "LimitCORE=0:infinity",
    "UMask=0027",
    // At a shutdown runs end before the network does.
    "After=network.target",
    // A run has a log of its own. What concerns the operator is in the journal.
    "StandardOutput=null",
    "StandardError=journal",
    "SyslogIdentifier=hookspool-worker",
];

/// What runs without a step as root are like beside that, and the folders that are not what they were then. Root is
/// spared: a deploy must be able to install packages, write anywhere, and leave a mount or a file in /tmp behind.
/// ProtectHome= and the like would hide what users deploy to.
const CONFINEMENT: [(&[&str], &str); 3] = [
    (&[], "NoNewPrivileges=yes"),
    (&["/usr", "/boot", "/efi", "/etc"], "ProtectSystem=full"),
    (&["/tmp", "/var/tmp"], "PrivateTmp=yes"),
];

/// Starts runners as units.
#[derive(Debug)]
pub struct Transient {
    program: Program,
    config_file: PathBuf,
    paths: Paths,
    credentials: Option<PathBuf>,
    pass_unit: Option<String>,
    names: Names,
}

impl Transient {
    /// The launcher of this installation. `pass_unit` makes its passes; without one a runner becomes a pass itself.
    #[must_use]
    pub fn new(config: &Config, program: &Program, credentials: Option<PathBuf>, pass_unit: Option<String>) -> Self {
        Self {
            program: program.clone(),
            config_file: config.file.clone(),
            paths: config.paths.clone(),
            credentials,
            pass_unit,
            names: Names::of(&config.paths.state),
        }
    }

    /// The words after `systemd-run` (systemd-run(1)).
    fn words(&self, order: &Order) -> io::Result<Vec<OsString>> {
        let mut words: Vec<OsString> = ["--quiet", "--no-ask-password", "--service-type=notify"].map(Into::into).to_vec();
        words.push(format!("--unit={}", self.names.unit(order.run)).into());
        words.push(format!("--slice={SLICE}").into());
        words.push(format!("--description={}", order.title).into());
        let mut property = |text: OsString| words.extend(["--property".into(), text]);
        PROPERTIES.iter().for_each(|text| property(text.into()));
        if !order.has_root {
            // Nothing may hide an installation, or make it read-only, from its own runs.
            let spared = |(hidden, _): &&(&[&str], _)| !self.lies_in(hidden);
            CONFINEMENT.iter().filter(spared).for_each(|(_, text)| property(text.into()));
        }
        // Beside other services and runs; within the unit there is nobody to share with.
        if let Some(weight) = order.cpu_weight {
            property(format!("CPUWeight={weight}").into());
        }
        // At its end a mark has a pass look at once, unless it says that it did not get its run: then nothing has changed, and
        // the pass would start it again and again. OnFailure= would keep the unit loaded for as long as that unit is.
        if self.pass_unit.is_some() {
            let script = r#"if test "$$EXIT_CODE" != exited || test "$$EXIT_STATUS" = 0; then exec touch "$$0"; fi"#;
            let mark = quoted(&Folders::new(&self.paths).pass_mark());
            property(format!("ExecStopPost=/bin/sh -c '{script}' {mark}").into());
        }
        self.go_on(words, &words_of_runner(order.run, &self.config_file))
    }

    /// What every unit of the worker is given: credentials, variables, and the program with these words.
    fn go_on(&self, mut words: Vec<OsString>, command: &[OsString]) -> io::Result<Vec<OsString>> {
        // The pass's own are taken away with its end; these live as long as the unit.
        for path in self.credentials()? {
            let mut text = with("LoadCredential=", Path::new(path.file_name().unwrap_or_default()));
            text.push(":");
            text.push(&path);
            words.extend(["--property".into(), text]);
        }
        for (name, value) in environment_of_runner() {
            words.push(variable(name, &value));
        }
        if let Some(pass_unit) = &self.pass_unit {
            words.push(variable(PASS_UNIT, &pass_unit.into()));
        }
        words.push("--".into());
        words.push(literal(self.program.for_others().into_os_string()));
        words.extend(command.iter().cloned().map(literal));
        Ok(words)
    }

    /// The words after `systemd-run` for a command that nobody waits for, and of which nothing is kept.
    fn words_aside(&self, command: &str) -> io::Result<Vec<OsString>> {
        let mut words: Vec<OsString> = ["--quiet", "--no-ask-password", "--collect", "--no-block"].map(Into::into).to_vec();
        words.push(format!("--unit={}", self.names.aside(command)).into());
        words.push(format!("--description=Hookspool's worker: {command}").into());
        for property in ["UMask=0027", "LimitCORE=0:infinity", "SyslogIdentifier=hookspool-worker"] {
            words.extend(["--property".into(), property.into()]);
        }
        self.go_on(words, &words_of(command, &self.config_file))
    }

    /// Has systemd start a unit. What it said, if it did not.
    fn run(&self, words: Vec<OsString>) -> anyhow::Result<Option<String>> {
        let mut command = Command::new("systemd-run");
        command.args(words).env_clear().env("PATH", crate::environment::PATH).stdin(Stdio::null()).stdout(Stdio::null());
        let output = command.output().context("cannot start systemd-run")?;
        let said = || format!("({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        Ok((!output.status.success()).then(said))
    }

    /// Whether anything that a run writes lies in one of these, or its configuration in one that is not only read-only.
    fn lies_in(&self, folders: &[&str]) -> bool {
        let config = Some(&self.config_file).filter(|_| folders.contains(&"/tmp"));
        let paths = [&self.paths.state, &self.paths.logs, &self.paths.spool].into_iter().chain(config);
        paths.into_iter().any(|path| folders.iter().any(|folder| path.starts_with(folder)))
    }

    /// The files of the pass's credentials, in the order of their names.
    fn credentials(&self) -> io::Result<Vec<PathBuf>> {
        let Some(folder) = &self.credentials else { return Ok(Vec::new()) };
        let mut files =
            std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
        files.sort();
        Ok(files)
    }

    /// Removes a unit that stands in the way of a run's own: its pass died before the runner could claim the run, or the
    /// unit of another ledger's run with this number failed. Whether there is none any more.
    fn clear_the_way(&self, run: RunId) -> anyhow::Result<bool> {
        if !self.names.knows(run) {
            return Ok(true);
        }
        // While this is held, that runner cannot claim the run.
        let Some(lock) = Alive::take_over(&Folders::new(&self.paths), run)? else { return Ok(false) };
        self.bury(&lock)?;
        Ok(true)
    }
}

/// A path as one word of a unit's command line (systemd.service(5), "Command Lines"). Configured paths are UTF-8.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"").replace('$', "$$"))
}

fn with(name: &str, value: &Path) -> OsString {
    let mut text = OsString::from(name);
    text.push(value);
    text
}

fn variable(name: &str, value: &OsString) -> OsString {
    with(&format!("--setenv={name}="), Path::new(value))
}

/// systemd replaces variables in a command line; `$$` is a `$` (systemd.service(5)).
fn literal(word: OsString) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    if !word.as_bytes().contains(&b'$') {
        return word;
    }
    let doubled = word.as_bytes().iter().flat_map(|byte| std::iter::repeat_n(*byte, if *byte == b'$' { 2 } else { 1 }));
    OsString::from_vec(doubled.collect())
}

impl Launcher for Transient {
    fn start(&self, order: &Order) -> anyhow::Result<()> {
        if !self.clear_the_way(order.run)? {
            return Ok(());
        }
        let words = self.words(order).context("cannot read the pass's credentials")?;
        let Some(said) = self.run(words)? else { return Ok(()) };
        let end = unit::show(&self.names.unit(order.run))?.and_then(|shown| shown.end);
        self.forget(order.run)?;
        let end = end.map_or_else(String::new, |end| format!("; the runner {end}"));
        bail!("systemd cannot start {} {said}{end}", self.names.unit(order.run))
    }

    fn start_aside(&self, command: &'static str) -> anyhow::Result<()> {
        let words = self.words_aside(command).context("cannot read the pass's credentials")?;
        match self.run(words)? {
            Some(said) => bail!("systemd cannot start {} {said}", self.names.aside(command)),
            None => Ok(()),
        }
    }

    fn bury(&self, lock: &Alive) -> anyhow::Result<Option<End>> {
        let unit = self.names.unit(lock.run());
        let mut shown = unit::show(&unit)?;
        if shown.as_ref().is_some_and(|shown| shown.is_at_work) {
            // The runner is dead, and what it left dies slowly, or PID 1 has not noticed yet.
            unit::systemctl(&["stop", &unit])?;
            shown = unit::show(&unit)?;
        }
        self.forget(lock.run())?;
        Ok(shown.and_then(|shown| shown.end))
    }

    fn remembered(&self) -> io::Result<Vec<RunId>> {
        self.names.known()
    }

    fn forget(&self, run: RunId) -> anyhow::Result<()> {
        let unit = self.names.unit(run);
        // It ends by itself, or has; only a unit that failed is kept.
        if unit::has_cgroup(SLICE, &unit) {
            return Ok(());
        }
        match unit::systemctl(&["reset-failed", &unit]) {
            Err(error) if self.names.knows(run) => Err(error),
            _ => Ok(()),
        }
    }
}
