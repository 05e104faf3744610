//! What is made to be attacked: a folder with a forge, and an installation for each attack, with the machine's real users and
//! a file that nobody but root may read.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use hookspool_common::config::Config;
use tempfile::TempDir;

use crate::folders::{Folders, make_folder};
use crate::operator::demo::laptop::git;
use crate::process::Account;

/// The repository that the scratch installations know.
pub(super) const REPOSITORY: &str = "github.com/octo/shop";
/// Its job. It wants pushes to `master`.
pub(super) const JOB: &str = "tests";

/// The forge's commits.
pub(super) struct Commits {
    /// The tip of `master`, and the commit before it.
    pub(super) tip: String,
    pub(super) before: String,
    /// The tip of a branch that no job wants.
    pub(super) elsewhere: String,
    /// The head of somebody's request.
    pub(super) request: String,
}

pub(super) struct Scratch {
    folder: TempDir,
    pub(super) receiver: Account,
    builder: Account,
    pub(super) commits: Commits,
}

impl Scratch {
    /// Makes it in `within`, or where temporary things are.
    pub(super) fn make(within: Option<&Path>, receiver: &Account, builder: &Account) -> anyhow::Result<Self> {
        let within = within.map_or_else(std::env::temp_dir, Path::to_owned);
        let made = tempfile::Builder::new().prefix("hookspool-selftest-").tempdir_in(&within);
        let folder = made.with_context(|| format!("cannot make a folder in {}", within.display()))?;
        // All users come by here.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let commits = make_forge(folder.path()).context("cannot make a repository")?;
        Ok(Self { folder, receiver: receiver.clone(), builder: builder.clone(), commits })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// An installation of its own.
    pub(super) fn installation(&self, number: usize) -> anyhow::Result<Installation> {
        let folder = self.folder().join(number.to_string());
        make_folder(&folder, 0o755)?;
        make_folder(&folder.join("etc/repositories"), 0o755)?;
        for (name, mode, owner) in [("spool", 0o750, &self.receiver), ("out", 0o755, &self.builder)] {
            make_folder(&folder.join(name), mode)?;
            chown(folder.join(name), Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))?;
        }
        let file = folder.join("etc/hookspool.toml");
        write(&file, &self.main_file(&folder))?;
        write(&folder.join("etc/repositories/shop.toml"), &self.repository_file(&folder))?;
        let config = Config::load(&file)?;
        let folders = Folders::new(&config.paths);
        let installation = Installation { config, folders, folder, secret: uuid::Uuid::now_v7().simple().to_string() };
        fs::write(installation.canary(), &installation.secret)?;
        fs::set_permissions(installation.canary(), Permissions::from_mode(0o600))?;
        Ok(installation)
    }

    fn main_file(&self, folder: &Path) -> String {
        let folder = folder.display();
        let (receiver, builder) = (&self.receiver.name, &self.builder.name);
        format!(
            "[paths]\nspool = \"{folder}/spool\"\nstate = \"{folder}/state\"\nlogs = \"{folder}/logs\"\n\
             [receiver]\nuser = \"{receiver}\"\n\
             [[source]]\nname = \"github\"\nprovider = \"github\"\npath = \"/hooks/github\"\nsecret = \"none\"\n\
             [worker]\nuser = \"{builder}\"\n"
        )
    }

    fn repository_file(&self, folder: &Path) -> String {
        let (forge, folder) = (self.folder().join("forge.git"), folder.display());
        let forge = forge.display();
        format!(
            "repository = \"{REPOSITORY}\"\nsource = \"github\"\nclone = \"{forge}\"\n\
             [[job]]\nname = \"{JOB}\"\nwhen = {{ event = \"push\", branch = \"master\" }}\n\
             build = \"echo $HOOKSPOOL_REPOSITORY $HOOKSPOOL_JOB $(git rev-parse HEAD) >>{folder}/out/ran\"\n"
        )
    }

    /// Removes everything.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        let path = self.folder().to_owned();
        self.folder.close().with_context(|| format!("cannot remove {}", path.display()))
    }
}

/// One scratch installation.
pub(super) struct Installation {
    pub(super) config: Config,
    pub(super) folders: Folders,
    /// What is in the canary.
    pub(super) secret: String,
    folder: PathBuf,
}

impl Installation {
    /// A file that root alone may read and write; it stands for /etc/shadow.
    pub(super) fn canary(&self) -> PathBuf {
        self.at("canary")
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, Permissions::from_mode(0o644))?)
}

fn make_forge(folder: &Path) -> anyhow::Result<Commits> {
    let (forge, clone) = (folder.join("forge.git"), folder.join("clone"));
    for made in [&forge, &clone] {
        make_folder(made, 0o755)?;
    }
    git(&forge, &["init", "--quiet", "--bare", "--initial-branch=master", "."])?;
    git(&clone, &["init", "--quiet", "--initial-branch=master", "."])?;
    let forge = forge.to_string_lossy().into_owned();
    let commit_and_push = |reference: &str| -> anyhow::Result<String> {
        git(&clone, &["commit", "--quiet", "--allow-empty", "--message", reference])?;
        git(&clone, &["push", "--quiet", &forge, &format!("HEAD:{reference}")])?;
        git(&clone, &["rev-parse", "HEAD"])
    };
    let before = commit_and_push("refs/heads/master")?;
    let tip = commit_and_push("refs/heads/master")?;
    let elsewhere = commit_and_push("refs/heads/elsewhere")?;
    let request = commit_and_push("refs/pull/8/head")?;
    Ok(Commits { tip, before, elsewhere, request })
}
