//! The rights on which the real installation rests. Who may do what is asked of the kernel, by children that are those users.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hookspool_common::config::Config;
use hookspool_common::inbox::INBOX_FILE;
use hookspool_common::names::SecretName;

use super::Finding;
use super::child::{Access, Deed, Wish, act};
use crate::folders::Folders;
use crate::operator::beside::beside_this;
use crate::process::Account;

/// Something that a user must not be able to do.
struct Ban {
    what: &'static str,
    wishes: Vec<Wish>,
}

/// Looks at the rights of the receiver's user, and of every user that a job's step may run as.
pub(super) fn look(config: &Config, receiver: &Account, builder: &Account) -> anyhow::Result<Vec<Finding>> {
    let mut findings = vec![spool_is_the_receivers(config, receiver)];
    findings.push(secrets_can_be_used(config));
    let (bans_of_all, bans_of_builders) = (bans_of_all(config), bans_of_builders(config));
    for ban in &bans_of_all {
        findings.push(look_at(receiver, ban)?);
    }
    for user in builders(config, builder) {
        match user {
            Ok(user) if user.is_root() => {}
            Ok(user) => {
                findings.push(is_not_the_receiver(&user, receiver));
                for ban in bans_of_all.iter().chain(&bans_of_builders) {
                    findings.push(look_at(&user, ban)?);
                }
            }
            Err((name, why)) => findings.push(Finding { what: format!("user {name}"), found: Err(why) }),
        }
    }
    Ok(findings)
}

fn look_at(user: &Account, ban: &Ban) -> anyhow::Result<Finding> {
    let may = act(user, Deed::Try(ban.wishes.clone()))?;
    anyhow::ensure!(may.len() == ban.wishes.len(), "a child answers what it was not asked");
    let can: Vec<String> =
        ban.wishes.iter().zip(may).filter(|(_, may)| *may).map(|(wish, _)| wish.path.display().to_string()).collect();
    let what = format!("user {} cannot {}", user.name, ban.what);
    let found = if can.is_empty() { Ok(String::new()) } else { Err(format!("but can with {}", can.join(", "))) };
    Ok(Finding { what, found })
}

fn spool_is_the_receivers(config: &Config, receiver: &Account) -> Finding {
    let spool = &config.paths.spool;
    let found = match fs::symlink_metadata(spool) {
        Ok(found) if found.is_dir() && found.uid() == receiver.uid.as_raw() && found.mode() & 0o022 == 0 => Ok(String::new()),
        Ok(found) => Err(format!("it belongs to user {} with mode {:04o}", found.uid(), found.mode() & 0o7777)),
        Err(error) => Err(error.to_string()),
    };
    Finding { what: format!("{} is {}'s alone to write to", spool.display(), receiver.name), found }
}

/// Each secret of the worker's is one that the worker would take.
fn secrets_can_be_used(config: &Config) -> Finding {
    let store = crate::operator::secrets_of_worker(config);
    let wrong: Vec<String> = secrets(config)
        .iter()
        .filter_map(|name| store.path(name).err())
        .filter(|error| !matches!(error, hookspool_common::secrets::SecretError::Absent { .. }))
        .map(|error| error.to_string())
        .collect();
    let found = if wrong.is_empty() { Ok(String::new()) } else { Err(wrong.join("; ")) };
    Finding { what: "nobody but root could have written the worker's secrets".to_owned(), found }
}

fn is_not_the_receiver(user: &Account, receiver: &Account) -> Finding {
    let found = if user.uid == receiver.uid { Err("they are one".to_owned()) } else { Ok(String::new()) };
    Finding { what: format!("user {} is another than the receiver's, {}", user.name, receiver.name), found }
}

/// Every user that a step may run as, by number.
fn builders(config: &Config, builder: &Account) -> Vec<Result<Account, (String, String)>> {
    let jobs = config.repositories.iter().flat_map(|repository| &repository.jobs);
    let named = jobs.flat_map(|job| job.user.iter().chain(job.steps.iter().filter_map(|step| step.user.as_ref())));
    let mut users = BTreeMap::from([(builder.name.clone(), Ok(builder.clone()))]);
    for name in named {
        users.entry(name.clone()).or_insert_with(|| Account::named(name).map_err(|error| (name.clone(), error.to_string())));
    }
    users.into_values().collect()
}

/// What neither the receiver's user nor a step's may do.
fn bans_of_all(config: &Config) -> Vec<Ban> {
    let folders = Folders::new(&config.paths);
    let (state, logs) = (folders.state().to_owned(), config.paths.logs.clone());
    let mut configuration =
        vec![config.file.clone(), config.directory().join("repositories"), config.directory().join("secrets")];
    configuration.extend(config.repositories.iter().map(|repository| repository.file.clone()));
    configuration.push(config.directory().join("known_hosts"));
    let of_state = ["", "ledger.db", "ledger.db-wal", "runs", "repos", "modules", "cache", "kept", "work", "pass.lock"]
        .map(|name| state.join(name));
    let of_logs = ["", "runs", "worker.log"].map(|name| logs.join(name));
    let own = ["ledger.db", "runs", "repos", "modules", "cache", "kept"].map(|name| state.join(name));
    let programs = ["hookspool", "hookspool-worker"].iter().filter_map(|name| beside_this(name).ok());
    vec![
        Ban { what: "change the configuration", wishes: writes(configuration) },
        Ban { what: "read the worker's secrets", wishes: reads(secret_files(config)) },
        Ban { what: "write to the worker's state", wishes: writes(of_state) },
        Ban { what: "read the ledger, or list runs, mirrors, caches and what is kept", wishes: reads(own) },
        Ban { what: "write to the logs", wishes: writes(of_logs) },
        Ban { what: "change the programs that root runs", wishes: writes(programs) },
    ]
}

/// What a step may not do, and the receiver may.
fn bans_of_builders(config: &Config) -> Vec<Ban> {
    let spool = &config.paths.spool;
    let receivers = config.sources.iter().flat_map(|source| &source.secrets);
    let receivers = receivers.map(|name| config.directory().join("secrets/receiver").join(name.as_str()));
    let logs = [config.paths.logs.join("runs")];
    vec![
        Ban { what: "read the receiver's secrets", wishes: reads(receivers) },
        Ban { what: "read or write the inbox", wishes: [reads([spool.join(INBOX_FILE)]), writes([spool.clone()])].concat() },
        Ban { what: "read the logs of runs", wishes: reads(logs) },
    ]
}

fn secrets(config: &Config) -> Vec<SecretName> {
    let repositories = || config.repositories.iter();
    let of_forges = repositories().flat_map(|repository| repository.deploy_key.iter().chain(&repository.https_token));
    let of_jobs =
        repositories().flat_map(|repository| &repository.jobs).flat_map(|job| job.secrets.iter().map(|secret| &secret.name));
    let of_mail = config.mail.iter().filter_map(|mail| mail.password.as_ref());
    of_forges.chain(of_jobs).chain(of_mail).cloned().collect()
}

/// The folder of the worker's secrets, and each of them.
fn secret_files(config: &Config) -> Vec<PathBuf> {
    let folder = config.directory().join("secrets");
    secrets(config).iter().map(|name| folder.join(name.as_str())).chain([folder.clone()]).collect()
}

fn reads(paths: impl IntoIterator<Item = PathBuf>) -> Vec<Wish> {
    paths.into_iter().map(|path| Wish { path, to: Access::Read }).collect()
}

/// To write to something is also to put another in its place, or in that of a folder above it.
fn writes(paths: impl IntoIterator<Item = PathBuf>) -> Vec<Wish> {
    let mut wishes: Vec<Wish> = Vec::new();
    for path in paths {
        let above = path.ancestors().skip(1).filter(|folder| !is_sticky(folder)).map(Path::to_owned);
        for path in [path.clone()].into_iter().chain(above) {
            let wish = Wish { path, to: Access::Write };
            if !wishes.contains(&wish) {
                wishes.push(wish);
            }
        }
    }
    wishes
}

/// Where only their owners can replace what is in it. What lies in it belongs to root, or the worker would not take it.
fn is_sticky(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|found| found.mode() & 0o1000 != 0)
}
