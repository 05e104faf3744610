//! The sources with their secrets, by the path that a forge posts to. The secrets stay in this process.

use hookspool_common::config::Config;
use hookspool_common::forges::Provider;
use hookspool_common::names::SourceName;
use hookspool_common::secrets::{Secret, SecretError, SecretStore};

/// One source.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: SourceName,
    pub(crate) provider: Provider,
    /// Any of them may sign: there are several while one is being replaced.
    pub(crate) secrets: Vec<Secret>,
    path: String,
}

/// Every source.
#[derive(Debug)]
pub(crate) struct Sources(Vec<Source>);

impl Sources {
    /// The configuration's sources. One secret that cannot be had is an error, and all such are told: half a receiver
    /// helps nobody.
    pub(crate) fn read(config: &Config, store: &SecretStore) -> Result<Self, Vec<SecretError>> {
        let mut errors = Vec::new();
        let mut with_secrets = |source: &hookspool_common::config::Source| {
            let secrets = source.secrets.iter().filter_map(|name| store.read(name).map_err(|error| errors.push(error)).ok());
            let secrets = secrets.collect();
            Source { name: source.name.clone(), provider: source.provider, secrets, path: source.path.clone() }
        };
        let sources = config.sources.iter().map(&mut with_secrets).collect();
        if errors.is_empty() { Ok(Self(sources)) } else { Err(errors) }
    }

    /// The source at `path`. There are few, so they are looked through.
    pub(crate) fn at(&self, path: &str) -> Option<&Source> {
        self.0.iter().find(|source| source.path == path)
    }

    #[cfg(test)]
    pub(crate) fn of_github(path: &str, secret: &[u8]) -> Self {
        let secrets = vec![Secret::new(secret.to_vec())];
        let name = "github".parse().unwrap();
        Self(vec![Source { name, provider: Provider::Github, secrets, path: path.to_owned() }])
    }
}
