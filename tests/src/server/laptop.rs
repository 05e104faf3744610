//! The forge's bare repository, and the clone of somebody who works on it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A clone, and the repository that it pushes to.
#[derive(Debug)]
pub struct Laptop {
    clone: PathBuf,
    forge: PathBuf,
}

impl Laptop {
    /// Makes both, with a first commit on `master`.
    pub(super) fn set_up(folder: &Path) -> Self {
        let laptop = Self { clone: folder.join("laptop"), forge: folder.join("forge/octo/shop.git") };
        for folder in [&laptop.clone, &laptop.forge] {
            fs::create_dir_all(folder).expect("a folder can be made");
        }
        git(&laptop.forge, &["init", "--quiet", "--bare", "--initial-branch=master", "."]);
        laptop.git(&["init", "--quiet", "--initial-branch=master", "."]);
        laptop.git(&["remote", "add", "origin", &laptop.forge.to_string_lossy()]);
        laptop.commit("First");
        laptop.push("HEAD:refs/heads/master");
        laptop
    }

    /// The bare repository.
    #[must_use]
    pub fn forge(&self) -> &Path {
        &self.forge
    }

    /// A file of the clone.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.clone.join(name)
    }

    /// Runs git in the clone; what it prints.
    pub fn git(&self, words: &[&str]) -> String {
        git(&self.clone, words)
    }

    /// Runs git in the forge's repository, as the forge itself would.
    pub fn git_on_the_forge(&self, words: &[&str]) -> String {
        git(&self.forge, words)
    }

    /// Writes a script into the clone.
    pub fn write_script(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).expect("a script can be written");
        fs::set_permissions(self.file(name), fs::Permissions::from_mode(0o755)).expect("its mode can be set");
    }

    /// Commits everything, and a change that makes the commit another one; its id.
    pub fn commit(&self, message: &str) -> String {
        fs::write(self.file("message"), message).expect("a file can be written");
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.head()
    }

    /// The id of the commit that the clone is at.
    #[must_use]
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Pushes by force what `refspec` says, such as `HEAD:refs/heads/master`.
    pub fn push(&self, refspec: &str) {
        self.git(&["push", "--quiet", "--force", "origin", refspec]);
    }

    /// Commits, and pushes it to `branch`; its id.
    pub fn push_commit(&self, branch: &str, message: &str) -> String {
        let sha = self.commit(message);
        self.push(&format!("HEAD:refs/heads/{branch}"));
        sha
    }
}

fn git(folder: &Path, words: &[&str]) -> String {
    let mut command = Command::new("git");
    // Nothing of whoever runs the tests: no signing, no hooks, no templates of theirs.
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    command.env("GIT_AUTHOR_NAME", "mona").env("GIT_AUTHOR_EMAIL", "mona@example.org");
    command.env("GIT_COMMITTER_NAME", "mona").env("GIT_COMMITTER_EMAIL", "mona@example.org");
    let output = command.args(words).current_dir(folder).stdin(Stdio::null()).output().expect("git can be started");
    assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
