//! The sources with their secrets, by the path that a forge posts to. The secrets stay in this process.

use hookspool_common::config::{self, Config};
use hookspool_common::secrets::{Secret, SecretError, SecretStore};

use crate::client::Client;

/// One source.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) config: config::Source,
    /// Any of them may sign: there are several while one is being replaced.
    pub(crate) secrets: Vec<Secret>,
}

impl Source {
    /// Whether it takes deliveries from everywhere.
    pub(crate) const fn is_open(&self) -> bool {
        self.config.allow_from.is_none()
    }

    /// Whether the configuration lists the client's network. Who cannot be known is in no list.
    pub(crate) fn lists(&self, client: Client) -> bool {
        let listed = |address| self.config.allow_from.iter().flatten().any(|network| network.contains(address));
        client.address().is_some_and(listed)
    }
}

/// Every source.
#[derive(Debug)]
pub(crate) struct Sources(Vec<Source>);

impl Sources {
    /// The configuration's sources. One secret that cannot be had is an error, and all such are told: half a receiver
    /// helps nobody.
    pub(crate) fn read(config: &Config, store: &SecretStore) -> Result<Self, Vec<SecretError>> {
        let mut errors = Vec::new();
        let mut with_secrets = |source: &config::Source| {
            let secrets = source.secrets.iter().filter_map(|name| store.read(name).map_err(|error| errors.push(error)).ok());
            let secrets = secrets.collect();
            Source { config: source.clone(), secrets }
        };
        let sources = config.sources.iter().map(&mut with_secrets).collect();
        if errors.is_empty() { Ok(Self(sources)) } else { Err(errors) }
    }

    /// The source at `path`; one that is written out goes before one with a parameter. There are few, so they are
    /// looked through.
    pub(crate) fn at(&self, path: &str) -> Option<&Source> {
        let fitting = || self.0.iter().filter(|source| source.config.path.fits(path));
        fitting().find(|source| source.config.path.parameter().is_none()).or_else(|| fitting().next())
    }

    /// Every source with these secrets.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn with_secrets(config: &Config, secrets: &[Secret]) -> Self {
        Self(config.sources.iter().map(|source| Source { config: source.clone(), secrets: secrets.to_vec() }).collect())
    }
}
