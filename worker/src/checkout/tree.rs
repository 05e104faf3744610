//! The workspace's files: each part gets the history of its commit from a mirror, then all of it is given to the job's user,
//! and only then does git write the first file, as that user.
//!
//! Until then the tree is the worker's own and holds nothing but folders and `.git`s, so that no link can lead out of it.

use std::path::{Path, PathBuf};

use hookspool_common::git_name::Sha;
use hookspool_common::ledger::ProcessResult;

use super::hand_over::hand_over;
use super::{Checkout, Target, Tools, lfs};
use crate::folders::make_folder;
use crate::git::Remote;
use crate::process::Account;

/// A commit and where its files go.
#[derive(Debug)]
pub(super) struct Part {
    /// The mirror that holds it.
    pub(super) mirror: PathBuf,
    /// How it was fetched.
    pub(super) remote: Remote,
    /// The commit.
    pub(super) sha: Sha,
    /// The mirror's ref that reaches it.
    pub(super) reference: String,
    /// What the workspace calls that ref.
    pub(super) local: String,
    /// Its folder within the workspace; nothing for the clone itself.
    pub(super) path: PathBuf,
    /// Its submodules: name and address.
    pub(super) modules: Vec<(String, String)>,
}

impl Part {
    /// The commit that the run is about.
    pub(super) fn of_clone(mirror: PathBuf, remote: &Remote, target: &Target) -> Self {
        let local = match (target.reference.branch(), target.reference.tag()) {
            (Some(branch), _) => format!("refs/remotes/origin/{branch}"),
            (_, Some(_)) => target.reference.to_string(),
            _ => format!("refs/remotes/origin/{}", target.reference.short()),
        };
        let (remote, path, modules) = (remote.clone(), PathBuf::new(), Vec::new());
        Self { mirror, remote, sha: target.sha.clone(), reference: target.reference.to_string(), local, path, modules }
    }

    /// Its git folder, whole but without any file of the commit.
    fn begin(&self, tools: &mut Tools<'_>, folder: &Path, with_lfs: bool) -> Result<(), Checkout> {
        let (mirror, refspec) = (self.mirror.to_string_lossy(), format!("+{}:{}", self.reference, self.local));
        make_folder(folder, 0o755).map_err(|error| failed(folder, &error))?;
        tools.git(folder, None, None, &["init", "--quiet", "--template=", "--initial-branch=main", "."])?;
        tools.git(folder, None, None, &["config", "remote.origin.url", &self.remote.address])?;
        for (name, address) in &self.modules {
            tools.git(folder, None, None, &["config", &format!("submodule.{name}.url"), address])?;
        }
        tools.git(folder, None, None, &["fetch", "--quiet", "--no-write-fetch-head", "--", &mirror, &refspec])?;
        if with_lfs { lfs::provide(tools, self, folder) } else { Ok(()) }
    }
}

/// Makes the workspace of these parts, the clone first.
pub(super) fn fill(
    tools: &mut Tools<'_>,
    parts: &[Part],
    account: &Account,
    work: &Path,
    with_lfs: bool,
) -> Result<(), Checkout> {
    let source = work.join("src");
    for part in parts {
        part.begin(tools, &source.join(&part.path), with_lfs)?;
    }
    let handed = hand_over(work, nix::unistd::geteuid(), account);
    handed.map_err(|error| {
        Checkout::Failed(ProcessResult::NotStarted(format!("cannot give {} to its user: {error}", work.display())))
    })?;
    for part in parts {
        let arguments = ["checkout", "--quiet", "--detach", part.sha.as_str()];
        tools.git_with(&source.join(&part.path), None, Some(account), &arguments, lfs::variable(with_lfs))?;
    }
    Ok(())
}

pub(super) fn failed(path: &Path, error: &std::io::Error) -> Checkout {
    Checkout::Failed(ProcessResult::NotStarted(format!("{}: {error}", path.display())))
}
