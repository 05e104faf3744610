//! Secrets by name: a systemd credential (`$CREDENTIALS_DIRECTORY`, systemd.exec(5)) wins over the file in `secrets/`.
//!
//! A secret is shown nowhere: its `Debug` is a placeholder and it has no `Display`. One that others could have written is
//! not used: whoever chooses the secret chooses who is believed.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use crate::masking::MIN_MASKED_BYTES;
use crate::names::SecretName;
use crate::trusted::{self, Owners, TrustError, Untrusted};

/// Largest secret file, in bytes: room for a deploy key or a service account, not for a mistake.
pub const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// A secret's bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    written: Vec<u8>,
    /// Where the one line end begins that an editor or `echo` leaves behind it.
    end: usize,
}

impl Secret {
    /// The secret with exactly these bytes.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self { end: bytes.len(), written: bytes }
    }

    fn of_file(written: Vec<u8>) -> Self {
        let line = written.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        Self { end: line.unwrap_or(&written).len(), written }
    }

    /// The bytes, without the line end after them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.written[..self.end]
    }

    /// The bytes as they are in the secret's file. A key for ssh is none without its last line end.
    #[must_use]
    pub fn as_written(&self) -> &[u8] {
        &self.written
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
    /// Others could have written it.
    #[error("secret `{name}`: {untrusted}")]
    Untrusted {
        /// The secret's name.
        name: SecretName,
        /// Its file, or what leads to it.
        untrusted: Untrusted,
    },
    /// It is too short to be masked.
    #[error(
        "secret `{name}` has {bytes} bytes; below {MIN_MASKED_BYTES} it could not be masked in logs, so write a longer one into {}",
        path.display()
    )]
    Short {
        /// The secret's name.
        name: SecretName,
        /// Its file.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// Its file is empty, or too large to be meant.
    #[error("secret `{name}`: {} is empty, or holds more than {MAX_SECRET_BYTES} bytes", path.display())]
    Size {
        /// The secret's name.
        name: SecretName,
        /// Its file.
        path: PathBuf,
    },
}

fn places(folders: &[PathBuf]) -> String {
    let shown: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    shown.join(" or ")
}

/// The folders in which one program looks for its secrets, best first, and whose files count there.
#[derive(Debug, Clone)]
pub struct SecretStore {
    folders: Vec<PathBuf>,
    owners: Owners,
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
        let folders = credentials.into_iter().chain([folder]).collect();
        Self { folders, owners: Owners::of_this_process() }
    }

    /// Takes files of this user too: what the receiver takes as its own, whoever asks.
    #[must_use]
    pub fn trusting(self, user: Uid) -> Self {
        Self { owners: self.owners.and(user), ..self }
    }

    /// Where the secret lies, for a program that is to read it itself. Nobody but its owner can put another there.
    ///
    /// # Errors
    /// [`SecretError`] when it is absent, unreadable, or others could have written it.
    pub fn path(&self, name: &SecretName) -> Result<PathBuf, SecretError> {
        self.open(name).map(|(_, path)| path)
    }

    /// The secret, without the one line end that an editor or `echo` leaves behind it.
    ///
    /// # Errors
    /// [`SecretError`] when it is absent, unreadable, empty, larger than [`MAX_SECRET_BYTES`], or others could have
    /// written it.
    pub fn read(&self, name: &SecretName) -> Result<Secret, SecretError> {
        self.read_with_path(name).map(|(secret, _)| secret)
    }

    /// The secret of a step, which can be masked.
    ///
    /// # Errors
    /// As [`Self::read`], and when it is shorter than [`MIN_MASKED_BYTES`].
    pub fn read_maskable(&self, name: &SecretName) -> Result<Secret, SecretError> {
        let (secret, path) = self.read_with_path(name)?;
        match secret.bytes().len() {
            bytes if bytes < MIN_MASKED_BYTES => Err(SecretError::Short { name: name.clone(), path, bytes }),
            _ => Ok(secret),
        }
    }

    fn read_with_path(&self, name: &SecretName) -> Result<(Secret, PathBuf), SecretError> {
        let (file, path) = self.open(name)?;
        let mut bytes = Vec::new();
        let read = file.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes);
        let size = read.map_err(|error| SecretError::Unreadable { name: name.clone(), path: path.clone(), error })? as u64;
        let secret = Secret::of_file(bytes);
        if secret.bytes().is_empty() || size > MAX_SECRET_BYTES {
            return Err(SecretError::Size { name: name.clone(), path });
        }
        Ok((secret, path))
    }

    fn open(&self, name: &SecretName) -> Result<(File, PathBuf), SecretError> {
        for folder in &self.folders {
            let path = folder.join(name.as_str());
            match trusted::open(&path, self.owners) {
                // A link that leads nowhere is there, and is not passed over.
                Err(error) if error.is_absent() && !path.is_symlink() => {}
                Ok(opened) => return Ok(opened),
                Err(TrustError::Untrusted(untrusted)) => return Err(SecretError::Untrusted { name: name.clone(), untrusted }),
                Err(TrustError::Unreadable { path, error }) => {
                    return Err(SecretError::Unreadable { name: name.clone(), path, error });
                }
            }
        }
        Err(SecretError::Absent { name: name.clone(), looked_in: self.folders.clone() })
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
        assert_eq!(store.read(&name()).unwrap().as_written(), b"from credential\r\n");
    }

    #[test]
    fn an_absent_or_empty_secret_is_an_error_that_names_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let store = SecretStore::of_worker(folder.path(), None);
        let absent = store.read(&name()).unwrap_err().to_string();
        assert!(absent.contains("`hook`") && absent.contains(&*folder.path().join("secrets").to_string_lossy()), "{absent}");
        std::fs::create_dir(folder.path().join("secrets")).unwrap();
        std::fs::write(folder.path().join("secrets/hook"), "\n").unwrap();
        assert!(matches!(store.read(&name()), Err(SecretError::Size { .. })));
        std::fs::write(folder.path().join("secrets/hook"), vec![b'x'; 64 * 1024 + 1]).unwrap();
        assert!(matches!(store.read(&name()), Err(SecretError::Size { .. })));
    }

    #[test]
    fn a_secret_that_others_may_write_is_an_error_and_is_not_passed_over_for_the_next_place() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let credentials = folder.path().join("credentials");
        std::fs::create_dir(folder.path().join("secrets")).unwrap();
        std::fs::create_dir(&credentials).unwrap();
        let store = SecretStore::of_worker(folder.path(), Some(credentials.clone()));
        std::fs::write(folder.path().join("secrets/hook"), "from file").unwrap();
        std::os::unix::fs::symlink("nowhere", credentials.join("hook")).unwrap();
        assert!(matches!(store.read(&name()), Err(SecretError::Unreadable { .. })));
        std::fs::remove_file(credentials.join("hook")).unwrap();
        std::fs::write(credentials.join("hook"), "from credential").unwrap();
        std::fs::set_permissions(credentials.join("hook"), std::fs::Permissions::from_mode(0o660)).unwrap();
        for error in [store.read(&name()).unwrap_err(), store.path(&name()).unwrap_err()] {
            let message = error.to_string();
            assert!(message.starts_with("secret `hook`: ") && message.contains("chmod go-w "), "{message}");
        }
    }

    #[test]
    fn what_could_not_be_masked_is_named_with_its_length() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("secrets")).unwrap();
        let store = SecretStore::of_worker(folder.path(), None);
        for (text, is_good) in [("12345\n", false), ("123456\n", true)] {
            std::fs::write(folder.path().join("secrets/hook"), text).unwrap();
            assert_eq!(store.read_maskable(&name()).is_ok(), is_good);
        }
        std::fs::write(folder.path().join("secrets/hook"), "12345\n").unwrap();
        let message = store.read_maskable(&name()).unwrap_err().to_string();
        assert!(message.starts_with("secret `hook` has 5 bytes; below 6 "), "{message}");
    }

    #[test]
    fn a_secret_is_never_shown() {
        assert_eq!(format!("{:?}", Secret::new(b"hunter2".to_vec())), "Secret(…)");
    }
}
