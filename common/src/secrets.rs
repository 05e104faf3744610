//! Secrets by name: a systemd credential (`$CREDENTIALS_DIRECTORY`, systemd.exec(5)) wins over the file in `secrets/`.
//!
//! A secret is shown nowhere: its `Debug` is a placeholder and it has no `Display`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::names::SecretName;

/// Largest secret file, in bytes: room for a deploy key or a service account, not for a mistake.
pub const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// A secret's bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The secret with exactly these bytes.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It is in none of the places where it may be.
    #[error("secret `{name}` is absent; write it into a file of that name in {}", places(.looked_in))]
    Absent {
        /// The secret's name.
        name: SecretName,
        /// The folders that were looked into.
        looked_in: Vec<PathBuf>,
    },
    /// Its file cannot be read.
    #[error("secret `{name}`: cannot read {}: {error}", path.display())]
    Unreadable {
        /// The secret's name.
        name: SecretName,
        /// Its file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Its file is empty, or too large to be meant.
    #[error("secret `{name}`: {} holds {bytes} bytes; a secret has 1 to {MAX_SECRET_BYTES}", path.display())]
    Size {
        /// The secret's name.
        name: SecretName,
        /// Its file.
        path: PathBuf,
        /// The file's size.
        bytes: u64,
    },
}

fn places(folders: &[PathBuf]) -> String {
    let shown: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    shown.join(" or ")
}

/// The folders in which one program looks for its secrets, best first.
#[derive(Debug, Clone)]
pub struct SecretStore {
    folders: Vec<PathBuf>,
}

impl SecretStore {
    /// The receiver's secrets: `secrets/receiver/` beside the configuration.
    #[must_use]
    pub fn of_receiver(config_directory: &Path, credentials: Option<PathBuf>) -> Self {
        Self::with(config_directory.join("secrets/receiver"), credentials)
    }

    /// The worker's secrets: `secrets/` beside the configuration.
    #[must_use]
    pub fn of_worker(config_directory: &Path, credentials: Option<PathBuf>) -> Self {
        Self::with(config_directory.join("secrets"), credentials)
    }

    fn with(folder: PathBuf, credentials: Option<PathBuf>) -> Self {
        Self { folders: credentials.into_iter().chain([folder]).collect() }
    }

    /// Where the secret lies.
    ///
    /// # Errors
    /// [`SecretError::Absent`] when no folder has it.
    pub fn path(&self, name: &SecretName) -> Result<PathBuf, SecretError> {
        let in_folder = |folder: &PathBuf| Some(folder.join(name.as_str())).filter(|path| path.symlink_metadata().is_ok());
        let absent = || SecretError::Absent { name: name.clone(), looked_in: self.folders.clone() };
        self.folders.iter().find_map(in_folder).ok_or_else(absent)
    }

    /// The secret, without the one line end that an editor or `echo` leaves behind it.
    ///
    /// # Errors
    /// [`SecretError`] when it is absent, unreadable, empty or larger than [`MAX_SECRET_BYTES`].
    pub fn read(&self, name: &SecretName) -> Result<Secret, SecretError> {
        let path = self.path(name)?;
        let unreadable = |error| SecretError::Unreadable { name: name.clone(), path: path.clone(), error };
        let size = std::fs::metadata(&path).map_err(unreadable)?.len();
        let mut bytes = if size > MAX_SECRET_BYTES { Vec::new() } else { std::fs::read(&path).map_err(unreadable)? };
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if bytes.is_empty() {
            return Err(SecretError::Size { name: name.clone(), path, bytes: size });
        }
        Ok(Secret(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> SecretName {
        "hook".parse().unwrap()
    }

    #[test]
    fn a_credential_wins_and_one_line_end_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = folder.path().join("credentials");
        std::fs::create_dir_all(folder.path().join("secrets/receiver")).unwrap();
        std::fs::create_dir(&credentials).unwrap();
        std::fs::write(folder.path().join("secrets/receiver/hook"), "from file\n\n").unwrap();
        let store = SecretStore::of_receiver(folder.path(), Some(credentials.clone()));
        assert_eq!(store.read(&name()).unwrap().bytes(), b"from file\n");
        std::fs::write(credentials.join("hook"), "from credential\r\n").unwrap();
        assert_eq!(store.read(&name()).unwrap().bytes(), b"from credential");
    }

    #[test]
    fn an_absent_or_empty_secret_is_an_error_that_names_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let store = SecretStore::of_worker(folder.path(), None);
        let absent = store.read(&name()).unwrap_err().to_string();
        assert!(absent.contains("`hook`") && absent.contains(&*folder.path().join("secrets").to_string_lossy()), "{absent}");
        std::fs::create_dir(folder.path().join("secrets")).unwrap();
        std::fs::write(folder.path().join("secrets/hook"), "\n").unwrap();
        assert!(matches!(store.read(&name()), Err(SecretError::Size { bytes: 1, .. })));
    }

    #[test]
    fn a_secret_is_never_shown() {
        assert_eq!(format!("{:?}", Secret::new(b"hunter2".to_vec())), "Secret(…)");
    }
}
