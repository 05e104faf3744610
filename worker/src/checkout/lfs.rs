//! Git LFS: what a commit's pointers stand for is fetched into the mirror, as the worker and with the clone's key or token,
//! and copied from there. Where it comes from is the clone address alone; a `.lfsconfig` is not asked, because whoever
//! wrote the commit could send the worker anywhere with it.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use hookspool_common::ledger::ProcessResult;

use super::mirror::ask;
use super::tree::{Part, failed};
use super::{Checkout, Tools};
use crate::folders::make_folder;
use crate::git::Remote;

/// What makes git write the contents and not the pointers; `git lfs install` writes the same.
const FILTER: [(&str, &str); 4] = [
    ("filter.lfs.clean", "git-lfs clean -- %f"),
    ("filter.lfs.smudge", "git-lfs smudge -- %f"),
    ("filter.lfs.process", "git-lfs filter-process"),
    ("filter.lfs.required", "true"),
];

/// The variable that makes the filter do its work, where it is to.
pub(super) fn variable(with_lfs: bool) -> Option<(&'static str, &'static str)> {
    with_lfs.then_some(("GIT_LFS_SKIP_SMUDGE", "0"))
}

/// Fetches what the commits of all parts name.
pub(super) fn fetch(tools: &mut Tools<'_>, parts: &[Part]) -> Result<(), Checkout> {
    if !is_installed() {
        let why = "`lfs = true` needs git-lfs, which this machine does not have; install the package git-lfs, or leave `lfs` out";
        return Err(Checkout::Failed(ProcessResult::NotStarted(why.to_owned())));
    }
    for part in parts {
        if objects(&part.mirror, part)?.is_empty() {
            continue;
        }
        let server = format!("lfs.url={}", server(&part.remote));
        let origin = format!("remote.origin.url={}", part.remote.address);
        let arguments = ["-c", &server, "-c", &origin, "lfs", "fetch", "origin", part.sha.as_str()];
        tools.git(&part.mirror, Some(&part.remote), None, &arguments)?;
    }
    Ok(())
}

/// The workspace's part gets the filter and copies of its objects. It is the worker's own still.
pub(super) fn provide(tools: &mut Tools<'_>, part: &Part, folder: &Path) -> Result<(), Checkout> {
    for (name, value) in FILTER {
        tools.git(folder, None, None, &["config", name, value])?;
    }
    for object in objects(&part.mirror, part)? {
        let place = Path::new("lfs/objects").join(&object[..2]).join(&object[2..4]);
        let (from, to) = (part.mirror.join(&place).join(&object), folder.join(".git").join(&place));
        let copy = || -> io::Result<()> {
            make_folder(&to, 0o755)?;
            fs::copy(&from, to.join(&object))?;
            // When it was last of use.
            File::open(&from)?.set_modified(SystemTime::now())
        };
        copy().map_err(|error| failed(&from, &error))?;
    }
    Ok(())
}

fn is_installed() -> bool {
    let mut command = Command::new("git-lfs");
    command.arg("version").env_clear().env("PATH", crate::environment::PATH).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Where a server keeps large files beside its repository (git-lfs, docs/api/server-discovery.md).
fn server(remote: &Remote) -> String {
    let address = remote.address.trim_end_matches('/');
    let is_web = address.starts_with("https://") || address.starts_with("http://");
    match address.strip_suffix(".git") {
        _ if !is_web => address.to_owned(),
        Some(_) => format!("{address}/info/lfs"),
        None => format!("{address}.git/info/lfs"),
    }
}

/// The ids of the objects that the commit's pointers name: SHA-256 in hex.
fn objects(mirror: &Path, part: &Part) -> Result<Vec<String>, Checkout> {
    let (is_read, listed) = ask(mirror, &["lfs", "ls-files", "--long", part.sha.as_str()])?;
    if !is_read {
        return Err(Checkout::Failed(ProcessResult::NotStarted(format!("git lfs cannot read commit {}", part.sha.short()))));
    }
    // A file's name may hold a line end, and what follows it may look like a line. It can name another object of the same
    // repository, and nothing else.
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let id = |line: &str| line.split_once(' ').map(|(id, _)| id.to_owned()).filter(|id| id.len() == 64 && id.bytes().all(is_hex));
    let mut objects: Vec<String> = listed.lines().filter_map(id).collect();
    objects.sort_unstable();
    objects.dedup();
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_files_come_from_where_the_repository_comes_from() {
        for (address, expected) in [
            ("https://h/o/n.git", "https://h/o/n.git/info/lfs"),
            ("https://h/o/n", "https://h/o/n.git/info/lfs"),
            ("git@h:o/n.git", "git@h:o/n.git"),
            ("/srv/git/n.git", "/srv/git/n.git"),
        ] {
            assert_eq!(server(&Remote { address: address.to_owned(), ..Remote::default() }), expected);
        }
    }
}
