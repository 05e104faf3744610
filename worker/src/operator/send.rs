//! `hookspool send`: a signed test delivery, to see that everything between here and the mail works.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use hookspool_common::clock::{Clock, SystemClock};
use hookspool_common::config::{Config, Listen, Repository, Source};
use hookspool_common::forges::{Dialect, Provider, Sent};
use hookspool_common::git_name::{RefName, Sha};
use hookspool_common::names::SourceName;
use hookspool_common::repository_name::RepositoryName;
use hookspool_common::secrets::SecretStore;
use serde_json::json;

use super::explain::read_body;
use super::github_delivery::{PushedCommit, PushedRef, push_body};
use super::post::post;
use super::{Exit, options};
use crate::git;

pub(super) fn send(config: &Config, options: &options::Send) -> anyhow::Result<Exit> {
    let repository = options.repository.as_deref().map(|name| find_repository(config, name)).transpose()?;
    let of_repository = || repository.and_then(|repository| source_of(config, repository));
    let source_name = options.source.as_ref().or_else(of_repository).context("name a --source")?;
    let source = config.source(source_name).with_context(|| format!("there is no source `{source_name}`"))?;
    let speaks_githubs_form = speaks_githubs_form(source);
    let provider = source.dialect.name();
    ensure!(
        repository.is_none() || speaks_githubs_form,
        "`--repository` cannot speak for {provider} yet; give --event and --body"
    );
    let (event, body) = what(config, options, repository)?;
    let url = match &options.url {
        Some(url) => url.clone(),
        None => local_url(config, source)?,
    };
    let secret_name = source.secrets.first().with_context(|| format!("source `{source_name}` has no secret"))?;
    let secret = SecretStore::of_receiver(config.directory(), credentials()).read(secret_name)?;
    let id = options.id.clone().unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let sent = Sent { event: &event, id: &id, body: &body, at: SystemClock.now() };
    let headers = source.dialect.headers_of_a_delivery(&sent, &secret);
    let answer = post(&url, &headers, &body)?;
    writeln!(io::stdout().lock(), "{} {}", answer.status, answer.body.trim_end())?;
    Ok(if (200..300).contains(&answer.status) { Exit::Success } else { Exit::Failure })
}

fn speaks_githubs_form(source: &Source) -> bool {
    matches!(source.dialect, Dialect::Forge(Provider::Github | Provider::Gitea | Provider::Forgejo))
}

/// Of the repository's sources the first that can tell of a push in GitHub's form, else the first.
fn source_of<'c>(config: &'c Config, repository: &'c Repository) -> Option<&'c SourceName> {
    let speaks = |name: &&SourceName| config.source(name).is_some_and(speaks_githubs_form);
    repository.sources.iter().find(speaks).or(repository.sources.first())
}

fn credentials() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

fn find_repository<'c>(config: &'c Config, name: &str) -> anyhow::Result<&'c Repository> {
    let name: RepositoryName = name.parse()?;
    let found = config.repositories.iter().find(|repository| repository.name == name);
    found.with_context(|| format!("{name} is not in the configuration"))
}

/// The event's name and the body.
fn what(config: &Config, options: &options::Send, repository: Option<&Repository>) -> anyhow::Result<(String, Vec<u8>)> {
    if let Some(repository) = repository {
        return Ok(("push".to_owned(), present_push(config, options, repository)?));
    }
    let body = match &options.body {
        Some(file) => read_body(file)?,
        // With its time, because the same content twice would be one delivery.
        None if options.event == "ping" => {
            let zen = "Hookspool asks whether anybody listens.";
            json!({ "zen": zen, "hook_id": 1, "sent_at": SystemClock.now().to_string() }).to_string().into_bytes()
        }
        None => bail!("an event `{}` needs a --body", options.event),
    };
    Ok((options.event.clone(), body))
}

/// A push that tells of what is on the ref now, so that it is there when the run looks.
fn present_push(config: &Config, options: &options::Send, repository: &Repository) -> anyhow::Result<Vec<u8>> {
    let wanted = options.reference.as_deref().unwrap_or("HEAD");
    let full = if wanted.starts_with("refs/") || wanted == "HEAD" { wanted.to_owned() } else { format!("refs/heads/{wanted}") };
    let said = git_ls_remote(config, repository, &full)?;
    let symbolic = said.lines().find_map(|line| line.strip_prefix("ref: ")?.strip_suffix(&format!("\t{full}")));
    let reference: RefName = symbolic.unwrap_or(&full).parse()?;
    let sha = said.lines().find_map(|line| line.strip_suffix(&format!("\t{full}"))?.parse::<Sha>().ok());
    let sha = sha.with_context(|| format!("{} has no {full}", repository.clone))?;
    let address = options.pusher.clone().unwrap_or_else(|| "noreply@github.com".to_owned());
    let commit = PushedCommit { sha: sha.clone(), message: "Sent by hand with `hookspool send`".to_owned(), paths: None };
    Ok(push_body(&PushedRef {
        repository: &repository.name,
        reference: &reference,
        before: None,
        after: &sha,
        forced: false,
        pusher: ("hookspool", &address),
        commits: &[commit],
    }))
}

fn git_ls_remote(config: &Config, repository: &Repository, reference: &str) -> anyhow::Result<String> {
    let remote = git::Remote::of(repository, config.directory(), &SecretStore::of_worker(config.directory(), credentials()))?;
    let (succeeded, said) =
        git::ask_remote(Path::new("/"), &remote, &["ls-remote", "--symref", "--", &repository.clone, reference])?;
    ensure!(succeeded, "git cannot reach {}; as whoever runs this: git ls-remote {}", repository.clone, repository.clone);
    Ok(said)
}

fn local_url(config: &Config, source: &Source) -> anyhow::Result<String> {
    match &config.receiver.listen {
        Listen::Tcp(address) if address.port() != 0 => Ok(format!("http://{address}{}", source.path)),
        other => {
            bail!("the receiver listens on {other}, which has no URL; name the proxy's with --url https://HOST{}", source.path)
        }
    }
}
