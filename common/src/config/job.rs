//! `[[job]]`: when it runs, its steps, and what holds for all of them.

use toml::de::DeValue;

use super::lane::{self, Lane};
use super::limits::{self, Limits};
use super::main_file::read_user;
use super::notify::{self, Notify};
use super::problem::Report;
use super::retry::{self, OnCrash, Retry};
use super::scheduled::{self, Scheduled};
use super::step::{self, DEFAULT_STEP_TIMEOUT, Phase, Step, StepDefaults};
use super::table::{Table, Text};
use super::when::{self, Conditions};
use super::workspace::{self, Workspace};
use crate::names::{JobName, SecretName};

/// How a step gets a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecretForm {
    /// As a variable of the environment.
    #[default]
    Environment,
    /// As a file, whose path is in the variable.
    File,
}

impl SecretForm {
    /// Every form.
    pub const ALL: [Self; 2] = [Self::Environment, Self::File];

    /// The form, as in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Environment => "env",
            Self::File => "file",
        }
    }
}

/// A secret that a job's steps get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSecret {
    /// Its name, which is also the variable's.
    pub name: SecretName,
    /// How.
    pub form: SecretForm,
}

/// One job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name.
    pub name: JobName,
    /// The events that it runs for.
    pub when: Conditions,
    /// When it runs by itself.
    pub scheduled: Option<Scheduled>,
    /// Its steps, in order; at least one.
    pub steps: Vec<Step>,
    /// As whom its steps run, if not as the worker's build user.
    pub user: Option<String>,
    /// What its steps may use; what is not said here is the worker's to say.
    pub limits: Limits,
    /// The secrets that its steps get.
    pub secrets: Vec<JobSecret>,
    /// What it must not overlap with.
    pub lane: Lane,
    /// When a run that failed is made anew.
    pub retry: Option<Retry>,
    /// What becomes of a run whose runner died.
    pub on_crash: OnCrash,
    /// Whether a commit that is older than what was deployed last is refused.
    pub forward_only: bool,
    /// What is put into its workspace, and what stays of it.
    pub workspace: Workspace,
    /// Who is told.
    pub notify: Notify,
    /// Whether pull requests from forks may run it (never with secrets).
    pub forks: bool,
}

impl Job {
    /// Whether it puts something where it is used.
    #[must_use]
    pub fn deploys(&self) -> bool {
        self.steps.iter().any(|step| step.phase == Phase::Deploy)
    }
}

pub(super) fn read(mut table: Table<'_, '_>, report: &mut Report) -> (Option<(JobName, std::ops::Range<usize>)>, Option<Job>) {
    let name_text = table.required_text("name", "name = \"image\"", report);
    let name: Option<JobName> = name_text.as_ref().and_then(|text| table.parse_text(text, report));
    let named = name.clone().zip(name_text.map(|text| text.span));
    let job = read_named(&mut table, name, report);
    table.finish(report);
    (named, job)
}

/// Everything is read, also where something before it is wrong, so that all errors are shown at once.
fn read_named(table: &mut Table<'_, '_>, name: Option<JobName>, report: &mut Report) -> Option<Job> {
    let when = when::read(table, report);
    let scheduled = scheduled::read(table, report);
    let timeout = table.duration("timeout", report).unwrap_or(DEFAULT_STEP_TIMEOUT);
    let network = table.boolean("network", report).unwrap_or(true);
    let steps = step::read_all(table, StepDefaults { timeout, network }, report);
    let has_deploy = table.get(Phase::Deploy.as_str()).is_some();
    let user = read_user(table, report);
    let limits = table.table("limits", "`limits`", report).map(|limits| limits::read(limits, report)).unwrap_or_default();
    let secrets = read_secrets(table, report);
    let lane = table.table("lane", "`lane`", report).map(|lane| lane::read(lane, report)).unwrap_or_default();
    let retry = table.table("retry", "`retry`", report).and_then(|retry| retry::read(retry, report));
    let on_crash = retry::read_on_crash(table, has_deploy, report);
    let forward_only = table.boolean("forward_only", report).unwrap_or(true);
    let workspace = workspace::read(table, report);
    let notify = table.table("notify", "`notify`", report).map(|notify| notify::read(notify, report)).unwrap_or_default();
    let forks = table.boolean("forks", report).unwrap_or(false);
    Some(Job {
        name: name?,
        when: when?,
        scheduled,
        steps: steps?,
        user,
        limits,
        secrets,
        lane,
        retry,
        on_crash,
        forward_only,
        workspace,
        notify,
        forks,
    })
}

/// Names, or tables with a name and how the steps get it.
fn read_secrets(job: &mut Table<'_, '_>, report: &mut Report) -> Vec<JobSecret> {
    let items = match job.get("secrets").map(|value| value.get_ref()) {
        Some(DeValue::Array(items)) if items.iter().any(|item| matches!(item.get_ref(), DeValue::Table(_))) => items,
        _ => {
            let texts = job.texts("secrets", report).unwrap_or_default();
            let names = texts.iter().filter_map(|text| read_secret(job, text, report));
            return names.map(|name| JobSecret { name, form: SecretForm::default() }).collect();
        }
    };
    let mut secrets = Vec::new();
    for item in items {
        if let DeValue::Table(_) = item.get_ref() {
            secrets.extend(Table::of_value(job.source, "this secret", item, report).and_then(|table| read_formed(table, report)));
        } else if let Some(text) = job.texts_of("secrets", item, report).and_then(|texts| texts.into_iter().next()) {
            secrets.extend(read_secret(job, &text, report).map(|name| JobSecret { name, form: SecretForm::default() }));
        }
    }
    secrets
}

fn read_formed(mut table: Table<'_, '_>, report: &mut Report) -> Option<JobSecret> {
    let name = table.required_text("name", "name = \"REGISTRY_PASSWORD\"", report);
    let name = name.and_then(|text| read_secret(&table, &text, report));
    let form = table.word("as", &SecretForm::ALL.map(|form| (form.as_str(), form)), report).unwrap_or_default();
    table.finish(report);
    Some(JobSecret { name: name?, form })
}

/// A job's secret becomes an environment variable, so its name must be one.
fn read_secret(table: &Table<'_, '_>, text: &Text, report: &mut Report) -> Option<SecretName> {
    let is_variable = text.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && text.value.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    if !is_variable {
        let help = "use letters, digits and `_`, such as REGISTRY_PASSWORD".to_owned();
        table.wrong(text.span.clone(), format!("{:?} cannot be an environment variable", text.value), Some(help), report);
        return None;
    }
    table.parse_text(text, report)
}
