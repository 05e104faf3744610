//! `hookspool send`: a signed test delivery, to see that everything between here and the mail works.

mod ping; // what a forge sends when somebody only tries
pub(super) mod push; // a push, and which forge tells it how
pub(super) mod github;
mod gitea; // and Forgejo
mod gitlab;
mod bitbucket;
mod bitbucket_server;

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use hookspool_common::clock::{Clock, SystemClock};
use hookspool_common::config::{Config, Listen, Repository, Source};
use hookspool_common::forges::{Dialect, Provider, Sent};
use hookspool_common::git_name::{RefName, Sha};
use hookspool_common::names::SourceName;
use hookspool_common::repository_name::RepositoryName;

use super::explain::read_body;
use super::post::{Destination, post};
use super::{Exit, options};
use crate::git;
use ping::ping;
use push::{PushedCommit, PushedRef, delivery_of, tells_of_pushes};

pub(super) fn send(config: &Config, options: &options::Send) -> anyhow::Result<Exit> {
    let repository = options.repository.as_deref().map(|name| find_repository(config, name)).transpose()?;
    let of_repository = || repository.and_then(|repository| source_of(config, repository));
    let source_name = options.source.as_ref().or_else(of_repository).context("name a --source")?;
    let source = config.source(source_name).with_context(|| format!("there is no source `{source_name}`"))?;
    ensure!(
        options.pusher.is_none() || source.dialect != Provider::Bitbucket.into(),
        "Bitbucket Cloud tells nobody's mail address, so a --pusher cannot be sent"
    );
    let (event, body) = what(config, options, &source.dialect, repository)?;
    let destination = match &options.url {
        Some(url) => Destination::Url(url.clone()),
        None => local(config, source, path_of(source, options.path.as_deref())?)?,
    };
    let secret_name = source.secrets.first().with_context(|| format!("source `{source_name}` has no secret"))?;
    let secret = super::secrets_of_receiver(config).read(secret_name)?;
    let id = options.id.clone().unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let sent = Sent { event: &event, id: &id, body: &body, at: SystemClock.now() };
    let headers = source.dialect.headers_of_a_delivery(&sent, &secret);
    let answer = post(&destination, &headers, &body)?;
    writeln!(io::stdout().lock(), "{} {}", answer.status, answer.body.trim_end())?;
    Ok(if (200..300).contains(&answer.status) { Exit::Success } else { Exit::Failure })
}

/// Of the repository's sources the first that can tell of a push, else the first.
fn source_of<'c>(config: &'c Config, repository: &'c Repository) -> Option<&'c SourceName> {
    let tells = |name: &&SourceName| config.source(name).is_some_and(|source| tells_of_pushes(&source.dialect));
    repository.sources.iter().find(tells).or(repository.sources.first())
}

/// The repository with this name.
pub(super) fn find_repository<'c>(config: &'c Config, name: &str) -> anyhow::Result<&'c Repository> {
    let configured = || config.repositories.iter().map(|repository| repository.name.as_str()).collect::<Vec<_>>().join(", ");
    let parsed: Option<RepositoryName> = name.parse().ok();
    let found = config.repositories.iter().find(|repository| Some(&repository.name) == parsed.as_ref());
    found.with_context(|| format!("{name} is not in the configuration; its repositories are: {}", configured()))
}

/// The event's name and the body.
fn what(
    config: &Config,
    options: &options::Send,
    dialect: &Dialect,
    repository: Option<&Repository>,
) -> anyhow::Result<(String, Vec<u8>)> {
    if let Some(repository) = repository {
        let told = match dialect {
            Dialect::Forge(provider) => present_push(config, options, *provider, repository)?,
            Dialect::Generic(_) => None,
        };
        let (event, body) = told.with_context(|| {
            format!("how the sender of a {} source tells of a push is not known here; give --source and --body", dialect.name())
        })?;
        return Ok((event.to_owned(), body));
    }
    match (dialect, options.event.as_deref(), &options.body) {
        (Dialect::Forge(provider), None, None) => Ok(ping(*provider)),
        (Dialect::Generic(_), None, None) => Ok((String::new(), Vec::new())),
        (Dialect::Generic(_) | Dialect::Forge(Provider::PactBroker), None, Some(file)) => Ok((String::new(), read_body(file)?)),
        (Dialect::Generic(_) | Dialect::Forge(Provider::PactBroker), Some(event), _) => {
            bail!("whoever sends to a {} source names the event in the body; leave --event {event} out", dialect.name())
        }
        (Dialect::Forge(_), Some(event), Some(file)) => Ok((event.to_owned(), read_body(file)?)),
        (Dialect::Forge(_), Some(event), None) => bail!("an event `{event}` needs a --body; without --event a ping is sent"),
        (Dialect::Forge(_), None, Some(_)) => bail!("name the --event that this --body tells of"),
    }
}

/// A push that tells of what is on the ref now, so that it is there when the run looks.
fn present_push(
    config: &Config,
    options: &options::Send,
    provider: Provider,
    repository: &Repository,
) -> anyhow::Result<Option<(&'static str, Vec<u8>)>> {
    let (reference, sha) = present(config, repository, options.reference.as_deref())?;
    let address = options.pusher.clone().unwrap_or_else(|| "noreply@github.com".to_owned());
    let commit = PushedCommit { sha: sha.clone(), message: "Sent by hand with `hookspool send`".to_owned(), paths: None };
    let push = PushedRef {
        repository: &repository.name,
        reference: &reference,
        before: None,
        after: &sha,
        forced: false,
        pusher: ("hookspool", &address),
        commits: &[commit],
    };
    Ok(delivery_of(provider, &push))
}

/// A ref that the forge has now, and what it is at: a branch by its name, a full ref, or the default branch.
pub(super) fn present(config: &Config, repository: &Repository, wanted: Option<&str>) -> anyhow::Result<(RefName, Sha)> {
    let wanted = wanted.unwrap_or("HEAD");
    let full = if wanted.starts_with("refs/") || wanted == "HEAD" { wanted.to_owned() } else { format!("refs/heads/{wanted}") };
    let said = git_ls_remote(config, repository, &full)?;
    let symbolic = said.lines().find_map(|line| line.strip_prefix("ref: ")?.strip_suffix(&format!("\t{full}")));
    let reference: RefName = symbolic.unwrap_or(&full).parse()?;
    let sha = said.lines().find_map(|line| line.strip_suffix(&format!("\t{full}"))?.parse::<Sha>().ok());
    Ok((reference, sha.with_context(|| format!("{} has no {full}", repository.clone))?))
}

fn git_ls_remote(config: &Config, repository: &Repository, reference: &str) -> anyhow::Result<String> {
    let remote = git::Remote::of(repository, config.directory(), &super::secrets_of_worker(config))?;
    let (succeeded, said) =
        git::ask_remote(Path::new("/"), &remote, &["ls-remote", "--symref", "--", &repository.clone, reference])?;
    ensure!(succeeded, "git cannot reach {}; as whoever runs this: git ls-remote {}", repository.clone, repository.clone);
    Ok(said)
}

/// The path that is called.
fn path_of(source: &Source, asked: Option<&str>) -> anyhow::Result<String> {
    match (asked, source.path.parameter()) {
        (Some(path), _) if source.path.fits(path) => Ok(path.to_owned()),
        (Some(path), _) => bail!("source `{}` takes {}, not {path}", source.name, source.path),
        (None, None) => Ok(source.path.to_string()),
        (None, Some(name)) => bail!("name what is called with --path, such as --path {}", source.path.with(&name.to_uppercase())),
    }
}

/// Where the receiver itself listens.
fn local(config: &Config, source: &Source, path: String) -> anyhow::Result<Destination> {
    let listen = &config.receiver.listen;
    let known = listen.iter().find_map(|listen| match listen {
        Listen::Tcp(address) if address.port() != 0 => Some(Destination::Url(format!("http://{address}{path}"))),
        Listen::Tcp(_) => None,
        Listen::Unix(socket) => {
            let (socket, path, proxy_header) = (socket.clone(), path.clone(), config.receiver.proxy_header);
            Some(Destination::Socket { socket, path, proxy_header })
        }
    });
    let places = || listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    known.with_context(|| {
        format!(
            "the receiver listens on {}, any free port; name the proxy's URL with --url https://HOST{}",
            places(),
            source.path
        )
    })
}
