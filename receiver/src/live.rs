//! What is in force: the configuration and the secrets that go with it. It is replaced as a whole, never changed.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use hookspool_common::config::{Config, Problems};
use hookspool_common::secrets::{SecretError, SecretStore};

use crate::sources::Sources;

/// A configuration and its secrets.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) config: Config,
    pub(crate) sources: Sources,
}

/// Why there is no [`Live`]; everything that is wrong, at once.
#[derive(Debug)]
pub(crate) enum Unfit {
    Config(Problems),
    Secrets(Vec<SecretError>),
}

impl Live {
    /// The configuration at `file`, and its secrets.
    pub(crate) fn read(file: &Path) -> Result<Self, Unfit> {
        let config = Config::load(file).map_err(Unfit::Config)?;
        Self::of(config).map_err(Unfit::Secrets)
    }

    /// `config` with its secrets.
    pub(crate) fn of(config: Config) -> Result<Self, Vec<SecretError>> {
        let credentials = env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let sources = Sources::read(&config, &SecretStore::of_receiver(config.directory(), credentials))?;
        Ok(Self { config, sources })
    }
}

/// The one that is in force.
#[derive(Debug)]
pub(crate) struct InForce(RwLock<Arc<Live>>);

impl InForce {
    /// From the start it is `live`.
    pub(crate) fn new(live: Live) -> Self {
        Self(RwLock::new(Arc::new(live)))
    }

    /// What is in force now. Whoever asks keeps it for as long as it needs it.
    pub(crate) fn now(&self) -> Arc<Live> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on it is `live`.
    pub(crate) fn replace(&self, live: Live) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
    }
}
