//! What a step learns of its event: environment variables and one file. Nothing is ever put into a command.

use std::path::Path;

use hookspool_common::config::{Phase, Repository};
use hookspool_common::ledger::{Outcome, Run};

use crate::process::Account;

/// Where programs are looked for.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Longest label of a host name, in bytes (RFC 1035 section 2.3.4).
const MAX_LABEL_BYTES: usize = 63;

/// What a step's environment is made of.
#[derive(Debug, Clone, Copy)]
pub struct StepContext<'a> {
    /// The run; its commit is known.
    pub run: &'a Run,
    /// The repository.
    pub repository: &'a Repository,
    /// The phase.
    pub phase: Phase,
    /// What the run has come to so far; `always` is told.
    pub outcome: &'a Outcome,
    /// The run's folder, with `src`, `home` and `tmp`.
    pub work: &'a Path,
    /// The file with the event.
    pub event_file: &'a Path,
    /// Who the step runs as.
    pub account: &'a Account,
    /// The domain of development sites.
    pub domain: Option<&'a str>,
    /// The variables of the job's secrets.
    pub secrets: &'a [(String, Vec<u8>)],
}

type Variable = (String, Vec<u8>);

/// The whole environment of a step, in no particular order.
#[must_use]
pub fn of(context: &StepContext<'_>) -> Vec<Variable> {
    let mut variables = of_the_machine(context);
    variables.extend(of_the_event(context));
    variables.extend(of_the_old_server(context));
    variables.extend_from_slice(context.secrets);
    // exec(2) cannot pass a NUL; a name or address from a forge may hold one.
    for (_, value) in &mut variables {
        value.retain(|byte| *byte != 0);
    }
    variables
}

fn set(name: &str, value: impl ToString) -> Variable {
    (name.to_owned(), value.to_string().into_bytes())
}

fn of_the_machine(context: &StepContext<'_>) -> Vec<Variable> {
    let at = |name: &str| context.work.join(name).display().to_string();
    vec![
        set("CI", "true"),
        set("PATH", PATH),
        set("LANG", "C.UTF-8"),
        set("SHELL", "/bin/sh"),
        set("USER", &context.account.name),
        set("LOGNAME", &context.account.name),
        set("HOME", at("home")),
        set("TMPDIR", at("tmp")),
    ]
}

fn of_the_event(context: &StepContext<'_>) -> Vec<Variable> {
    let run = context.run;
    let event = &run.event;
    let mut variables = vec![
        set("HOOKSPOOL", "true"),
        set("HOOKSPOOL_RUN", run.id),
        set("HOOKSPOOL_JOB", &run.job),
        set("HOOKSPOOL_STEP", context.phase.as_str()),
        set("HOOKSPOOL_SOURCE", &run.source),
        set("HOOKSPOOL_REPOSITORY", &run.repository),
        set("HOOKSPOOL_CLONE_URL", &context.repository.clone),
        set("HOOKSPOOL_WORKSPACE", context.work.join("src").display()),
        set("HOOKSPOOL_EVENT", context.event_file.display()),
        set("HOOKSPOOL_EVENT_KIND", event.kind.as_str()),
    ];
    let mut known = |name: &str, value: Option<String>| variables.extend(value.map(|value| set(name, value)));
    known("HOOKSPOOL_DELIVERY", run.delivery.map(|delivery| delivery.to_string()));
    known("HOOKSPOOL_REF", run.reference.as_ref().map(ToString::to_string));
    known("HOOKSPOOL_BRANCH", event.branch.clone());
    known("HOOKSPOOL_TAG", event.tag.clone());
    known("HOOKSPOOL_SHA", run.sha.as_ref().map(ToString::to_string));
    known("HOOKSPOOL_BEFORE", event.before.as_ref().map(ToString::to_string));
    known("HOOKSPOOL_PUSHER", event.pusher.login.clone().or_else(|| event.pusher.name.clone()));
    known("HOOKSPOOL_PULL_REQUEST", event.pull_request.as_ref().map(|request| request.number.to_string()));
    known(
        "HOOKSPOOL_BASE_BRANCH",
        event.pull_request.as_ref().and_then(|request| request.base.reference.branch()).map(str::to_owned),
    );
    known("HOOKSPOOL_ACTION", event.action().map(str::to_owned));
    known("HOOKSPOOL_SERVICE", event.service.as_ref().and_then(|service| service.name.clone()));
    if let Some(pact) = &event.pact {
        known("HOOKSPOOL_PACT_URL", pact.url.clone());
        known("HOOKSPOOL_PACT_CONSUMER", pact.consumer.name.clone());
        known("HOOKSPOOL_PACT_CONSUMER_VERSION", pact.consumer.version.clone());
        known("HOOKSPOOL_PACT_PROVIDER", pact.provider.name.clone());
        known("HOOKSPOOL_PACT_PROVIDER_VERSION", pact.provider.version.clone());
    }
    known("HOOKSPOOL_OUTCOME", (context.phase == Phase::Always).then(|| context.outcome.state().to_string()));
    variables
}

/// The variables of the 2Pi continuous-integration server, whose scripts go on working.
fn of_the_old_server(context: &StepContext<'_>) -> Vec<Variable> {
    let short = context.run.reference.as_ref().map_or("", |reference| reference.short());
    let label = label(&format!("{}-{short}", context.repository.name.name()));
    let domain = context.domain.unwrap_or("localhost");
    let mut variables = vec![
        set("WEBHOOKBUILD_URL", &context.repository.clone),
        set("WEBHOOKBUILD_NAME", context.repository.name.name()),
        set("WEBHOOKBUILD_FOLDER", context.work.join("src").display()),
        set("WEBHOOKBUILD_DOMAINNAME", format!("{label}.{domain}")),
        set("WEBHOOKBUILD_CONTAINERNAME", label),
    ];
    variables.extend(context.run.event.tag.as_ref().map(|tag| set("WEBHOOKBUILD_TAG", tag)));
    variables
}

/// The text as one label of a host name, which is also a valid container name.
fn label(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let parts: Vec<&str> = plain.split('-').filter(|part| !part.is_empty()).collect();
    let mut label = parts.join("-");
    label.truncate(MAX_LABEL_BYTES);
    label.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_safe_whatever_the_branch_is_called() {
        assert_eq!(label("cmfive-feature/Add $(reboot)"), "cmfive-feature-add-reboot");
        assert_eq!(label("x-../../etc"), "x-etc");
        assert_eq!(label(&"a-".repeat(60)).len(), 63);
    }
}
