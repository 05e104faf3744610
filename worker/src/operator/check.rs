//! `hookspool check`: every error of the configuration at once, and what this machine lacks for it.

use std::io::{self, Write};
use std::path::Path;

use hookspool_common::config::{Condition, Config, Problem, Recipient, Source};
use hookspool_common::forges::{Dialect, Proving};
use hookspool_common::secrets::{Secret, SecretError};
use hookspool_common::trusted::{self, Owners, TrustError};
use nix::unistd::User;
use serde_json::json;

use super::view::print_json;
use super::{Exit, options};
use crate::process::GroupLimit;

pub(super) fn check(path: &Path, options: &options::Check) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(problems) => {
            if options.json {
                let errors: Vec<_> = problems.iter().map(problem_json).collect();
                print_json(&mut out, &json!({ "errors": errors, "warnings": [] }))?;
            } else {
                eprintln!("{problems}");
            }
            return Ok(Exit::Configuration);
        }
    };
    let secrets = Secrets::of(&config);
    let mut warnings: Vec<String> = secrets.warnings.into_iter().chain(warnings(&config)).collect();
    warnings.sort();
    warnings.dedup();
    let errors = secrets.errors;
    if options.json {
        let errors: Vec<_> = errors.iter().map(|error| error_json(error)).collect();
        print_json(&mut out, &json!({ "errors": errors, "warnings": warnings }))?;
    } else {
        for error in &errors {
            eprintln!("{error}");
        }
        for warning in &warnings {
            eprintln!("warning: {warning}");
        }
    }
    if !options.json && errors.is_empty() {
        let jobs: usize = config.repositories.iter().map(|repository| repository.jobs.len()).sum();
        let (sources, repositories) = (config.sources.len(), config.repositories.len());
        writeln!(out, "{}: good (sources: {sources}, repositories: {repositories}, jobs: {jobs})", config.file.display())?;
    }
    let is_good = errors.is_empty() && (warnings.is_empty() || !options.strict);
    Ok(if is_good { Exit::Success } else { Exit::Configuration })
}

/// What is wrong with a secret stands in no line of the configuration.
fn error_json(message: &str) -> serde_json::Value {
    json!({ "file": null, "line": null, "column": null, "message": message, "help": null })
}

fn problem_json(problem: &Problem) -> serde_json::Value {
    json!({
        "file": problem.file,
        "line": problem.place.map(|(line, _)| line),
        "column": problem.place.map(|(_, column)| column),
        "message": problem.message,
        "help": problem.help,
    })
}

/// What there is to say of the secrets that the configuration names, each read as the program reads it that needs it.
#[derive(Default)]
struct Secrets {
    /// Those that their program would not take.
    errors: Vec<String>,
    /// Those that are not there, as the file may be checked elsewhere, and those that cannot be looked at from here.
    warnings: Vec<String>,
}

impl Secrets {
    fn of(config: &Config) -> Self {
        let (receiver, worker) = (super::secrets_of_receiver(config), super::secrets_of_worker(config));
        let mut found = Self::default();
        let of_sources = config.sources.iter().flat_map(|source| &source.secrets);
        of_sources.for_each(|name| found.look(receiver.read(name)));
        let of_mail = config.mail.iter().filter_map(|mail| mail.password.as_ref());
        let of_keys = config.repositories.iter().filter_map(|repository| repository.deploy_key.as_ref());
        of_mail.chain(of_keys).for_each(|name| found.look(worker.read(name)));
        let of_tokens = config.repositories.iter().filter_map(|repository| repository.https_token.as_ref());
        let jobs = config.repositories.iter().flat_map(|repository| &repository.jobs);
        let of_jobs = jobs.flat_map(|job| job.secrets.iter().map(|secret| &secret.name));
        of_tokens.chain(of_jobs).for_each(|name| found.look(worker.read_maskable(name)));
        found.look_at_host_keys(config);
        found.errors.sort();
        found.errors.dedup();
        found
    }

    fn look(&mut self, read: Result<Secret, SecretError>) {
        match read {
            Ok(_) => {}
            Err(error @ SecretError::Absent { .. }) => self.warnings.push(error.to_string()),
            Err(SecretError::Unreadable { name, path, error }) if error.kind() == io::ErrorKind::PermissionDenied => {
                let path = path.display();
                self.warnings.push(format!("secret `{name}` is not checked: {path}: {error}; check it as root"));
            }
            Err(error) => self.errors.push(error.to_string()),
        }
    }

    fn look_at_host_keys(&mut self, config: &Config) {
        if let Err(TrustError::Untrusted(untrusted)) =
            trusted::open(&config.directory().join("known_hosts"), Owners::of_this_process())
        {
            self.errors.push(format!("the pinned host keys: {untrusted}"));
        }
    }
}

/// What this machine lacks for the configuration, and what that leaves open. Not an error: the file may be checked
/// elsewhere, and what is open may be meant.
fn warnings(config: &Config) -> Vec<String> {
    let jobs = || config.repositories.iter().flat_map(|repository| &repository.jobs);
    let mut warnings = Vec::new();
    warnings.extend(open_to_repetition(&config.sources));
    let of_steps = jobs().flat_map(|job| job.steps.iter().filter_map(|step| step.user.as_ref()).chain(job.user.as_ref()));
    let users = of_steps.chain([&config.worker.user, &config.receiver.user]);
    let unknown = users.filter(|name| !matches!(User::from_name(name), Ok(Some(_))));
    warnings.extend(
        unknown.map(|name| format!("there is no user `{name}` on this machine; make one with: adduser --system --group {name}")),
    );
    warnings.extend(beyond_this_machine(config));
    if config.mail.is_none() {
        warnings.push("there is no [mail], so nobody is told of any run".to_owned());
    }
    if let Some(mail) = &config.mail {
        let fixed = jobs().flat_map(|job| &job.notify.to).filter_map(|recipient| match recipient {
            Recipient::Address(address) => Some(address),
            Recipient::Pusher => None,
        });
        let refused = fixed.filter(|address| !mail.allows(&address.address));
        let instead = mail.fallback.as_ref().map_or("nobody".to_owned(), |fallback| fallback.address.clone());
        warnings
            .extend(refused.map(|address| format!("{} is not in [mail] allow, so {instead} is mailed instead", address.address)));
        let ca_file = mail.ca_file.as_ref().filter(|file| !file.exists());
        warnings.extend(ca_file.map(|file| format!("[mail] ca_file {} does not exist", file.display())));
    }
    let anybodys = config.repositories.iter().flat_map(|repository| repository.jobs.iter().map(move |job| (repository, job)));
    let anybodys = anybodys.filter(|(_, job)| job.when.0.iter().any(Condition::is_anybodys_comment));
    warnings.extend(anybodys.map(|(repository, job)| {
        format!(
            "job `{}` of {} runs for the comments of anybody who may comment; say in `when` whose count, by association or pusher",
            job.name, repository.name
        )
    }));
    if config.repositories.is_empty() {
        let folder = config.directory().join("repositories");
        warnings.push(format!("there is no repository in {}, so every delivery is ignored", folder.display()));
    }
    warnings
}

/// Limits that nothing on this machine could hold. A run with one goes on without it.
fn beyond_this_machine(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for repository in &config.repositories {
        for job in &repository.jobs {
            let lacking = GroupLimit::lacking(&job.limits.or(config.worker.limits));
            warnings.extend(lacking.into_iter().filter_map(|limit| {
                let (key, why) = (limit.key, limit.given.err()?);
                Some(format!(
                    "job `{}` of {} has a limit that this machine cannot give: {key} ({why})",
                    job.name, repository.name
                ))
            }));
        }
    }
    warnings
}

/// Where somebody who has seen a delivery could post it again and have it counted.
fn open_to_repetition(sources: &[Source]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        let name = &source.name;
        for earlier in &sources[..number] {
            let shared = source.secrets.iter().filter(|secret| earlier.secrets.contains(secret));
            warnings.extend(shared.map(|secret| {
                format!(
                    "the sources `{}` and `{name}` share the secret `{secret}`: what was sent to one could be posted to the \
                     other; give each a secret of its own",
                    earlier.name
                )
            }));
        }
        // Whoever has seen a token needs no repetition.
        if let Dialect::Generic(generic) = &source.dialect
            && generic.repeats
            && matches!(generic.proving, Proving::Hmac { timestamp: None, .. })
        {
            warnings.push(format!(
                "the source `{name}` has `repeats` and no `timestamp`: whoever has seen a delivery could post it again, at any \
                 time; let its senders sign the time, or use \"standard-webhooks\""
            ));
        }
    }
    warnings
}
