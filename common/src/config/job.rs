//! `[[job]]`: when it runs, its steps, and who learns of it.

use std::time::Duration;

use toml::de::DeValue;

use super::mail::MailAddress;
use super::main_file::read_user;
use super::problem::{Report, suggestion};
use super::table::{Table, Value};
use super::when::{self, Conditions};
use crate::names::{JobName, SecretName};

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
}

/// What a newcomer to a lane does to those already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnNew {
    /// It waits its turn.
    Queue,
    /// It takes the place of those that have not started.
    #[default]
    ReplaceQueued,
    /// It also ends the one that runs.
    CancelRunning,
}

impl OnNew {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Queue, Self::ReplaceQueued, Self::CancelRunning];

    /// The choice, as in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::ReplaceQueued => "replace-queued",
            Self::CancelRunning => "cancel-running",
        }
    }
}

/// One run of a lane at a time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lane {
    /// The lane's name; without it each job and ref is a lane of its own.
    pub group: Option<String>,
    /// What a newcomer does.
    pub on_new: OnNew,
}

/// When a run is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NotifyOn {
    /// After every run.
    #[default]
    Always,
    /// After runs that did not succeed.
    Failure,
    /// When the job breaks, when it stays broken for a day, and when it is fixed.
    Change,
}

impl NotifyOn {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Always, Self::Failure, Self::Change];

    /// The choice, as in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Failure => "failure",
            Self::Change => "change",
        }
    }
}

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// Whoever pushed.
    Pusher,
    /// This address.
    Address(MailAddress),
}

/// Who is told of a job's runs, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// Who.
    pub to: Vec<Recipient>,
    /// When.
    pub on: NotifyOn,
}

impl Default for Notify {
    fn default() -> Self {
        Self { to: vec![Recipient::Pusher], on: NotifyOn::default() }
    }
}

/// One job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name.
    pub name: JobName,
    /// When it runs.
    pub when: Conditions,
    /// Its steps, in order; at least one.
    pub steps: Vec<Step>,
    /// As whom its steps run, if not as the worker's build user.
    pub user: Option<String>,
    /// The secrets that its steps get as environment.
    pub secrets: Vec<SecretName>,
    /// What it must not overlap with.
    pub lane: Lane,
    /// Who is told.
    pub notify: Notify,
    /// Whether pull requests from forks may run it (never with secrets).
    pub forks: bool,
}

pub(super) fn read(mut table: Table<'_, '_>, report: &mut Report) -> (Option<(JobName, std::ops::Range<usize>)>, Option<Job>) {
    let name_text = table.required_text("name", "name = \"image\"", report);
    let name: Option<JobName> = name_text.as_ref().and_then(|text| table.parse_text(text, report));
    let named = name.clone().zip(name_text.map(|text| text.span));
    let when = when::read(&mut table, report);
    let timeout = table.duration("timeout", report).unwrap_or(DEFAULT_STEP_TIMEOUT);
    let steps = read_steps(&mut table, timeout, report);
    let user = read_user(&mut table, report);
    let secrets = table.texts("secrets", report).unwrap_or_default();
    let secrets = secrets.iter().filter_map(|text| read_secret(&table, text, report)).collect();
    let lane = table.table("lane", "`lane`", report).map(|lane| read_lane(lane, report)).unwrap_or_default();
    let notify = table.table("notify", "`notify`", report).map(|notify| read_notify(notify, report)).unwrap_or_default();
    let forks = table.boolean("forks", report).unwrap_or(false);
    table.finish(report);
    let job = match (name, when, steps) {
        (Some(name), Some(when), Some(steps)) => Some(Job { name, when, steps, user, secrets, lane, notify, forks }),
        _ => None,
    };
    (named, job)
}

/// A job's secret becomes an environment variable, so its name must be one.
fn read_secret(table: &Table<'_, '_>, text: &super::table::Text, report: &mut Report) -> Option<SecretName> {
    let is_variable = text.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && text.value.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    if !is_variable {
        let help = "use letters, digits and `_`, such as REGISTRY_PASSWORD".to_owned();
        table.wrong(text.span.clone(), format!("{:?} cannot be an environment variable", text.value), Some(help), report);
        return None;
    }
    table.parse_text(text, report)
}

fn read_steps(table: &mut Table<'_, '_>, timeout: Duration, report: &mut Report) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut all_could_be_read = true;
    for phase in Phase::ALL {
        if let Some(value) = table.get(phase.as_str()) {
            match read_step(table, phase, value, timeout, report) {
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

fn read_step(job: &Table<'_, '_>, phase: Phase, value: &Value<'_>, timeout: Duration, report: &mut Report) -> Option<Step> {
    if !matches!(value.get_ref(), DeValue::Table(_)) {
        let commands = read_commands(job, phase.as_str(), value, report).map(Commands::Shell)?;
        return Some(Step { phase, commands, user: None, timeout });
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
    table.finish(report);
    Some(Step { phase, commands: commands?, user, timeout: timeout? })
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

/// One of a fixed list of words.
fn read_word<T: Copy>(
    table: &mut Table<'_, '_>,
    key: &'static str,
    words: &[(&'static str, T)],
    report: &mut Report,
) -> Option<T> {
    let text = table.text(key, report)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
        return Some(*value);
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let help = suggestion(&text.value, known.iter().copied()).unwrap_or_else(|| format!("write one of: {}", known.join(", ")));
    table.wrong(text.span, format!("`{key}` cannot be {:?}", text.value), Some(help), report);
    None
}

fn read_lane(mut table: Table<'_, '_>, report: &mut Report) -> Lane {
    let group = table.text("group", report).map(|text| text.value);
    let on_new = read_word(&mut table, "on_new", &OnNew::ALL.map(|word| (word.as_str(), word)), report).unwrap_or_default();
    table.finish(report);
    Lane { group, on_new }
}

fn read_notify(mut table: Table<'_, '_>, report: &mut Report) -> Notify {
    let mut notify = Notify::default();
    if let Some(texts) = table.texts("to", report) {
        let read = |text: &super::table::Text| match text.value.as_str() {
            "pusher" => Some(Recipient::Pusher),
            address if address.contains('@') => table.parse_text(text, report).map(Recipient::Address),
            other => {
                let help = suggestion(other, ["pusher"]).unwrap_or_else(|| "write \"pusher\" or a mail address".to_owned());
                table.wrong(text.span.clone(), format!("{other:?} is nobody who could be mailed"), Some(help), report);
                None
            }
        };
        notify.to = texts.iter().filter_map(read).collect();
    }
    notify.on = read_word(&mut table, "on", &NotifyOn::ALL.map(|word| (word.as_str(), word)), report).unwrap_or_default();
    table.finish(report);
    notify
}
