//! Somebody's clone of the demo's repository, from which they push.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use hookspool_common::git_name::{RefName, Sha};

use super::installation::Installation;
use crate::operator::send::github::push_body;
use crate::operator::send::push::{PushedCommit, PushedRef};

const PUSHER: (&str, &str) = ("octocat", "octocat@example.org");

/// The project's scripts: small enough to be read in the log.
const SCRIPTS: [(&str, &str); 3] = [
    (
        "build",
        "#!/bin/sh -eu\n. ./goods\necho \"building the page of $goods at $HOOKSPOOL_SHA\"\necho \"<h1>We sell $goods</h1>\" >index.html\n",
    ),
    (
        "test",
        "#!/bin/sh -eu\necho 'testing index.html'\nif grep -q 'We sell [a-z]' index.html; then\n  echo 'ok: the page sells something'\nelse\n  \
         echo 'FAIL: the page sells nothing' >&2\n  exit 1\nfi\n",
    ),
    ("deploy", "#!/bin/sh -eu\ncp index.html \"$1\"\necho \"deployed to $1\"\n"),
];

pub(super) struct Laptop {
    clone: PathBuf,
}

/// git, without anything of whoever runs this; what it prints.
pub(in crate::operator) fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let (login, address) = PUSHER;
    let mut command = Command::new("git");
    // No signing, no hooks, no templates of theirs.
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    command.env("GIT_AUTHOR_NAME", login).env("GIT_AUTHOR_EMAIL", address);
    command.env("GIT_COMMITTER_NAME", login).env("GIT_COMMITTER_EMAIL", address);
    let output = command
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .context("cannot start git; is it installed?")?;
    let words = arguments.join(" ");
    ensure!(output.status.success(), "git {words}: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

impl Laptop {
    /// Makes the bare repository and the clone.
    pub(super) fn set_up(installation: &Installation) -> anyhow::Result<Self> {
        fs::create_dir_all(&installation.forge)?;
        git(&installation.forge, &["init", "--quiet", "--bare", "--initial-branch=main", "."])?;
        let clone = installation.folder.join("laptop");
        fs::create_dir_all(&clone)?;
        git(&clone, &["init", "--quiet", "--initial-branch=main", "."])?;
        git(&clone, &["remote", "add", "origin", &installation.forge.to_string_lossy()])?;
        for (name, text) in SCRIPTS {
            let script = clone.join(name);
            fs::write(&script, text)?;
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { clone })
    }

    /// Commits a change of what is sold, pushes it, and gives the body of the delivery that GitHub would send for it.
    pub(super) fn push(&self, message: &str, goods: &str) -> anyhow::Result<Vec<u8>> {
        fs::write(self.clone.join("goods"), format!("goods='{goods}'\n"))?;
        let before: Option<Sha> =
            git(&self.clone, &["rev-parse", "--quiet", "--verify", "HEAD"]).ok().and_then(|sha| sha.parse().ok());
        git(&self.clone, &["add", "--all"])?;
        git(&self.clone, &["commit", "--quiet", "--message", message])?;
        git(&self.clone, &["push", "--quiet", "origin", "main"])?;
        let sha: Sha = git(&self.clone, &["rev-parse", "HEAD"])?.parse()?;
        let paths = git(&self.clone, &["show", "--pretty=", "--name-only", "HEAD"])?.lines().map(str::to_owned).collect();
        let commit = PushedCommit { sha: sha.clone(), message: message.to_owned(), paths: Some(paths) };
        Ok(push_body(&PushedRef {
            repository: &"github.com/octo/shop".parse()?,
            reference: &RefName::of_branch("main")?,
            before: before.as_ref(),
            after: &sha,
            forced: false,
            pusher: PUSHER,
            commits: &[commit],
        }))
    }
}
