//! The sources with their secrets, by the path that a forge posts to. The secrets stay in this process.

use hookspool_common::config::{Config, Network};
use hookspool_common::forges::Provider;
use hookspool_common::names::SourceName;
use hookspool_common::secrets::{Secret, SecretError, SecretStore};

use crate::client::Client;

/// One source.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: SourceName,
    pub(crate) provider: Provider,
    /// Any of them may sign: there are several while one is being replaced.
    pub(crate) secrets: Vec<Secret>,
    path: String,
    /// Where it takes deliveries from; none: from everywhere.
    allow_from: Option<Vec<Network>>,
}

impl Source {
    /// Whether it takes deliveries from everywhere.
    pub(crate) const fn is_open(&self) -> bool {
        self.allow_from.is_none()
    }

    /// Whether the configuration lists the client's network. Who cannot be known is in no list.
    pub(crate) fn lists(&self, client: Client) -> bool {
        let listed = |address| self.allow_from.iter().flatten().any(|network| network.contains(address));
        client.address().is_some_and(listed)
    }
}

/// Every source.
#[derive(Debug)]
pub(crate) struct Sources(Vec<Source>);

impl Sources {
    /// The configuration's sources. One secret that cannot be had is an error: half a receiver helps nobody.
    pub(crate) fn read(config: &Config, store: &SecretStore) -> Result<Self, SecretError> {
        let with_secrets = |source: &hookspool_common::config::Source| {
            let secrets = source.secrets.iter().map(|name| store.read(name)).collect::<Result<_, _>>()?;
            Ok(Source {
                name: source.name.clone(),
                provider: source.provider,
                secrets,
                path: source.path.clone(),
                allow_from: source.allow_from.clone(),
            })
        };
        config.sources.iter().map(with_secrets).collect::<Result<_, _>>().map(Self)
    }

    /// The source at `path`. There are few, so they are looked through.
    pub(crate) fn at(&self, path: &str) -> Option<&Source> {
        self.0.iter().find(|source| source.path == path)
    }

    #[cfg(test)]
    pub(crate) fn of_github(path: &str, secret: &[u8]) -> Self {
        let secrets = vec![Secret::new(secret.to_vec())];
        let name = "github".parse().unwrap();
        Self(vec![Source { name, provider: Provider::Github, secrets, path: path.to_owned(), allow_from: None }])
    }
}
