//! Files that decide what root does: opened first, then looked at through the open descriptor, and read from that.
//!
//! Configuration, secrets and scripts count only if nobody else could have written them: they, and every folder and link on
//! the way to them, belong to root or to whoever runs this program, and neither group nor others may write to them. Where a
//! folder has the sticky bit, as `/tmp` has, others may write to it, but cannot replace what is not theirs. So is the way of
//! sshd's `StrictModes` (sshd_config(5)). Each step of the way is an open descriptor: what is swapped meanwhile is not used.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open as open_at_root, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{Gid, Group, Uid, User};

/// Links that are followed on one way; as many as the kernel follows (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Who may have written what is to be trusted: root, whoever runs this program, and perhaps one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owners {
    own: Uid,
    also: Option<Uid>,
}

impl Owners {
    /// Root, and whoever runs this program.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self { own: Uid::effective(), also: None }
    }

    /// And `other`, but for links: those would lead this program to files that `other` cannot read.
    #[must_use]
    pub const fn and(self, other: Uid) -> Self {
        Self { also: Some(other), ..self }
    }

    fn include(self, found: &FileStat, is_link: bool) -> bool {
        let owner = Uid::from_raw(found.st_uid);
        owner.is_root() || owner == self.own || (self.also == Some(owner) && !is_link)
    }
}

/// A file, folder or link that others could have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untrusted {
    /// Where it is.
    pub path: PathBuf,
    is_foreign: bool,
    is_writable: bool,
    described: String,
    own: Uid,
}

impl Untrusted {
    /// Whose it is, and why that does not do.
    #[must_use]
    pub fn problem(&self) -> String {
        let others = if self.own.is_root() { "root".to_owned() } else { format!("root and {}", user_name(self.own.as_raw())) };
        format!("it {}, so others than {others} could change what is used here", self.described)
    }

    /// The command that mends it.
    #[must_use]
    pub fn remedy(&self) -> String {
        let path = quoted(&self.path);
        let commands =
            [self.is_foreign.then(|| format!("chown -h root {path}")), self.is_writable.then(|| format!("chmod go-w {path}"))];
        commands.into_iter().flatten().collect::<Vec<_>>().join(" && ")
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; run: {}", self.path.display(), self.problem(), self.remedy())
    }
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It cannot be opened, or it is no file.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// How far the way led.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others could have changed it, or what leads to it.
    #[error("{0}")]
    Untrusted(Untrusted),
}

impl TrustError {
    /// Whether there is no such file.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Unreadable { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }
}

/// Opens a file to read, and gives where it really lies.
///
/// # Errors
/// [`TrustError`] when it cannot be opened, is no file, or others could have changed it or what leads to it.
pub fn open(path: &Path, owners: Owners) -> Result<(File, PathBuf), TrustError> {
    let mut way = Way::from_root(owners)?;
    let name = way.to(path)?.ok_or_else(|| way.unreadable(path, Errno::EISDIR))?;
    way.open_file(&name)
}

/// The names in a folder, in no particular order.
///
/// # Errors
/// As [`open`].
pub fn names_in(folder: &Path, owners: Owners) -> Result<Vec<OsString>, TrustError> {
    let mut way = Way::from_root(owners)?;
    if way.to(folder)?.is_some() {
        return Err(way.unreadable(folder, Errno::ENOTDIR));
    }
    let list = || -> nix::Result<Vec<OsString>> {
        let here = openat(&way.at, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let mut names = Vec::new();
        for entry in Dir::from_fd(here)?.iter() {
            names.push(OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned());
        }
        Ok(names)
    };
    let mut names = list().map_err(|error| way.unreadable(folder, error))?;
    names.retain(|name| name != "." && name != "..");
    Ok(names)
}

/// How far a path has been followed: a folder that is trusted, with all above it.
struct Way {
    owners: Owners,
    at: OwnedFd,
    path: PathBuf,
    links: usize,
}

const LOOK: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

impl Way {
    fn from_root(owners: Owners) -> Result<Self, TrustError> {
        let root = PathBuf::from("/");
        let failed = |error: Errno| TrustError::Unreadable { path: PathBuf::from("/"), error: error.into() };
        let at = open_at_root("/", LOOK | OFlag::O_DIRECTORY, Mode::empty()).map_err(failed)?;
        let way = Self { owners, at, path: root, links: 0 };
        way.trust(&way.at, &way.path)?;
        Ok(way)
    }

    fn unreadable(&self, path: &Path, error: Errno) -> TrustError {
        TrustError::Unreadable { path: self.path.join(path), error: error.into() }
    }

    /// Follows `path`: to the folder that it names, or to the folder of what it names, whose name is given then.
    fn to(&mut self, path: &Path) -> Result<Option<OsString>, TrustError> {
        let absolute = std::path::absolute(path).map_err(|error| TrustError::Unreadable { path: path.to_owned(), error })?;
        let mut ahead = names_of(&absolute);
        while let Some(name) = ahead.pop() {
            let entry = openat(&self.at, name.as_os_str(), LOOK, Mode::empty());
            let entry = entry.map_err(|error| self.unreadable(Path::new(&name), error))?;
            let path = if name == ".." { self.path.parent().unwrap_or(&self.path).to_owned() } else { self.path.join(&name) };
            match self.trust(&entry, &path)? {
                SFlag::S_IFDIR => (self.at, self.path) = (entry, path),
                SFlag::S_IFLNK => {
                    let target = self.follow(&entry).map_err(|error| self.unreadable(Path::new(&name), error))?;
                    if target.is_absolute() {
                        let links = self.links;
                        *self = Self { links, ..Self::from_root(self.owners)? };
                    }
                    ahead.extend(names_of(&target));
                }
                _ if ahead.is_empty() => return Ok(Some(name)),
                _ => return Err(self.unreadable(Path::new(&name), Errno::ENOTDIR)),
            }
        }
        Ok(None)
    }

    fn follow(&mut self, link: &OwnedFd) -> nix::Result<PathBuf> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::ELOOP);
        }
        readlinkat(link, "").map(PathBuf::from)
    }

    fn open_file(&self, name: &OsStr) -> Result<(File, PathBuf), TrustError> {
        // A pipe in the file's place must not make anybody wait.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let opened = openat(&self.at, name, flags, Mode::empty()).map_err(|error| self.unreadable(Path::new(name), error))?;
        let path = self.path.join(name);
        if self.trust(&opened, &path)? != SFlag::S_IFREG {
            return Err(TrustError::Unreadable { path, error: io::Error::other("it is no file") });
        }
        Ok((File::from(opened), path))
    }

    /// What kind of thing it is, if nobody else could have changed it.
    fn trust(&self, opened: impl AsFd, path: &Path) -> Result<SFlag, TrustError> {
        let found = fstat(opened).map_err(|error| TrustError::Unreadable { path: path.to_owned(), error: error.into() })?;
        let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
        let mode = Mode::from_bits_truncate(found.st_mode);
        let is_sticky = kind == SFlag::S_IFDIR && mode.contains(Mode::S_ISVTX);
        // A link's own mode means nothing.
        let is_writable = mode.intersects(Mode::S_IWGRP | Mode::S_IWOTH) && !is_sticky && kind != SFlag::S_IFLNK;
        let is_foreign = !self.owners.include(&found, kind == SFlag::S_IFLNK);
        if is_foreign || is_writable {
            let described = whose(found.st_uid, found.st_gid, found.st_mode);
            let own = self.owners.own;
            return Err(TrustError::Untrusted(Untrusted { path: path.to_owned(), is_foreign, is_writable, described, own }));
        }
        Ok(kind)
    }
}

/// The names of a path, the last one first.
fn names_of(path: &Path) -> Vec<OsString> {
    let named = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    let mut names: Vec<OsString> = named.map(|part| part.as_os_str().to_owned()).collect();
    names.reverse();
    names
}

/// `belongs to root:adm with mode 0640`.
pub(crate) fn whose(uid: u32, gid: u32, mode: u32) -> String {
    format!("belongs to {}:{} with mode {:04o}", user_name(uid), group_name(gid), mode & 0o7777)
}

/// The user's name, or its number where it has none.
pub(crate) fn user_name(uid: u32) -> String {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

fn group_name(gid: u32) -> String {
    Group::from_gid(Gid::from_raw(gid)).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name)
}

/// A path as a word for the shell.
fn quoted(path: &Path) -> String {
    let text = String::from_utf8_lossy(&path.as_os_str().to_owned().into_vec()).into_owned();
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+@:,".contains(&byte)) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
