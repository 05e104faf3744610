//! `hookspool check`: every error of the configuration at once, and what this machine lacks for it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hookspool_common::config::{Condition, Config, Problem, Recipient, Source};
use hookspool_common::forges::{Dialect, Proving};
use hookspool_common::names::SecretName;
use hookspool_common::secrets::SecretStore;
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
    let warnings = warnings(&config);
    if options.json {
        print_json(&mut out, &json!({ "errors": [], "warnings": warnings }))?;
    } else {
        for warning in &warnings {
            eprintln!("warning: {warning}");
        }
        let jobs: usize = config.repositories.iter().map(|repository| repository.jobs.len()).sum();
        let (sources, repositories) = (config.sources.len(), config.repositories.len());
        writeln!(out, "{}: good (sources: {sources}, repositories: {repositories}, jobs: {jobs})", config.file.display())?;
    }
    Ok(if options.strict && !warnings.is_empty() { Exit::Configuration } else { Exit::Success })
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

/// What the configuration refers to and this machine does not have, and what it leaves open. Not an error: the file may be
/// checked elsewhere, and what is open may be meant.
fn warnings(config: &Config) -> Vec<String> {
    let credentials = || std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let receiver = SecretStore::of_receiver(config.directory(), credentials());
    let worker = SecretStore::of_worker(config.directory(), credentials());
    let jobs = || config.repositories.iter().flat_map(|repository| &repository.jobs);
    let of_sources = config.sources.iter().flat_map(|source| &source.secrets);
    let of_mail = config.mail.iter().filter_map(|mail| mail.password.as_ref());
    let of_keys = config.repositories.iter().flat_map(|repository| repository.deploy_key.iter().chain(&repository.https_token));
    let of_jobs = jobs().flat_map(|job| job.secrets.iter().map(|secret| &secret.name));
    let absent = |store: &SecretStore, name: &SecretName| store.read(name).err().map(|error| error.to_string());
    let mut warnings: Vec<String> = of_sources.filter_map(|name| absent(&receiver, name)).collect();
    warnings.extend(of_mail.chain(of_keys).chain(of_jobs).filter_map(|name| absent(&worker, name)));
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
    warnings.sort();
    warnings.dedup();
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
