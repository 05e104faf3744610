//! The steps of a job: what each executes, as whom, for how long, and whether it may use the network.

use std::time::Duration;

use toml::de::DeValue;

use super::main_file::read_user;
use super::problem::Report;
use super::table::{Table, Value};

/// How long a step may take where nothing else is said.
pub const DEFAULT_STEP_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// A job's steps have these names and this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Makes what is to be tested.
    Build,
    /// Says whether it is good.
    Test,
    /// Puts it where it is used; only after build and test succeeded.
    Deploy,
    /// Runs last, whatever came before.
    Always,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 4] = [Self::Build, Self::Test, Self::Deploy, Self::Always];

    /// The phase's key in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Test => "test",
            Self::Deploy => "deploy",
            Self::Always => "always",
        }
    }
}

/// What a step executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commands {
    /// Scripts for `/bin/sh -eu -c`, one after the other.
    Shell(Vec<String>),
    /// A program and its arguments, without a shell.
    Argv(Vec<String>),
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which one.
    pub phase: Phase,
    /// What it executes.
    pub commands: Commands,
    /// As whom, if not as the job's user.
    pub user: Option<String>,
    /// How long it may take.
    pub timeout: Duration,
    /// Whether it may use the network.
    pub network: bool,
}

/// What the steps of a job have in common where they do not say otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct StepDefaults {
    pub(super) timeout: Duration,
    pub(super) network: bool,
}

pub(super) fn read_all(table: &mut Table<'_, '_>, defaults: StepDefaults, report: &mut Report) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut all_could_be_read = true;
    for phase in Phase::ALL {
        if let Some(value) = table.get(phase.as_str()) {
            match read_step(table, phase, value, defaults, report) {
                Some(step) => steps.push(step),
                None => all_could_be_read = false,
            }
        }
    }
    if steps.is_empty() && all_could_be_read {
        let message = "this job has no step, so it would do nothing";
        table.wrong(table.span(), message, Some("write build, test, deploy or always".to_owned()), report);
        return None;
    }
    all_could_be_read.then_some(steps)
}

fn read_step(job: &Table<'_, '_>, phase: Phase, value: &Value<'_>, defaults: StepDefaults, report: &mut Report) -> Option<Step> {
    let StepDefaults { timeout, network } = defaults;
    if !matches!(value.get_ref(), DeValue::Table(_)) {
        let commands = read_commands(job, phase.as_str(), value, report).map(Commands::Shell)?;
        return Some(Step { phase, commands, user: None, timeout, network });
    }
    let mut table = Table::of_value(job.source, "this step", value, report)?;
    let run = table.get("run");
    let argv = table.get("argv");
    let commands = match (run, argv) {
        (Some(run), None) => read_commands(&table, "run", run, report).map(Commands::Shell),
        (None, Some(argv)) => read_commands(&table, "argv", argv, report).map(Commands::Argv),
        (Some(_), Some(_)) => {
            table.wrong(value.span(), "this step has both `run` and `argv`; one of them says what it executes", None, report);
            None
        }
        (None, None) => {
            table.absent("run", "run = \"./script\", or argv = [\"./program\", \"argument\"]", report);
            None
        }
    };
    let user = read_user(&mut table, report);
    let timeout = if table.get("timeout").is_some() { table.duration("timeout", report) } else { Some(timeout) };
    let network = table.boolean("network", report).unwrap_or(network);
    table.finish(report);
    Some(Step { phase, commands: commands?, user, timeout: timeout?, network })
}

fn read_commands(table: &Table<'_, '_>, key: &'static str, value: &Value<'_>, report: &mut Report) -> Option<Vec<String>> {
    let texts = table.texts_of(key, value, report)?;
    if texts.is_empty() || texts[0].value.trim().is_empty() {
        table.wrong(value.span(), format!("`{key}` is empty"), None, report);
        return None;
    }
    if let Some(text) = texts.iter().find(|text| text.value.contains('\0')) {
        table.wrong(text.span.clone(), "a command cannot hold a NUL character", None, report);
        return None;
    }
    Some(texts.into_iter().map(|text| text.value).collect())
}
