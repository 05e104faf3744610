//! The demo's installation: configuration, secret, folders. As root it uses two accounts that every Debian has, so that
//! the demo keeps the real privileges apart; as anyone else everything is one's own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use hookspool_common::secrets::Secret;
use nix::unistd::{User, geteuid};

use crate::folders::make_folder;

/// Accounts that may stand for the receiver's user; the first that exists does.
const RECEIVER_USERS: [&str; 2] = ["hookspool", "nobody"];
/// Accounts that may stand for the build user.
const BUILD_USERS: [&str; 3] = ["hookspool-build", "daemon", "bin"];

pub(super) struct Installation {
    pub(super) folder: PathBuf,
    pub(super) config_file: PathBuf,
    /// The bare repository that stands for GitHub's.
    pub(super) forge: PathBuf,
    /// Where the deploy puts the site.
    pub(super) site: PathBuf,
    pub(super) maildir: PathBuf,
    pub(super) secret: Secret,
    /// Who the receiver runs as; absent when everything is one's own.
    pub(super) receiver_user: Option<User>,
}

impl Installation {
    pub(super) fn make(within: Option<&Path>) -> anyhow::Result<Self> {
        let within = within.map_or_else(std::env::temp_dir, Path::to_owned);
        let folder = tempfile::Builder::new().prefix("hookspool-demo-").tempdir_in(&within);
        let folder = folder.with_context(|| format!("cannot make a folder in {}", within.display()))?.keep();
        let (receiver_user, build_user) = if geteuid().is_root() {
            (Some(first_known(&RECEIVER_USERS)?), Some(first_known(&BUILD_USERS)?))
        } else {
            (None, None)
        };
        let at = |name: &str| folder.join(name);
        let installation = Self {
            config_file: at("etc/hookspool.toml"),
            forge: at("forge/octo/shop.git"),
            site: at("site"),
            maildir: at("mail"),
            secret: Secret::new(uuid::Uuid::now_v7().simple().to_string().into_bytes()),
            receiver_user,
            folder: folder.clone(),
        };
        installation.fill(build_user.as_ref()).with_context(|| format!("cannot fill {}", folder.display()))?;
        Ok(installation)
    }

    fn fill(&self, build_user: Option<&User>) -> anyhow::Result<()> {
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o755))?;
        let config = self.folder.join("etc");
        make_folder(&config.join("repositories"), 0o755)?;
        make_folder(&config.join("secrets"), 0o711)?;
        make_folder(&config.join("secrets/receiver"), 0o750)?;
        make_folder(&self.site, 0o755)?;
        make_folder(&self.folder.join("spool"), 0o750)?;
        let secret = config.join("secrets/receiver/github-webhook");
        fs::write(&secret, self.secret.bytes())?;
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o400))?;
        if let Some(user) = &self.receiver_user {
            for path in [self.folder.join("spool"), config.join("secrets/receiver"), secret] {
                chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
            }
        }
        if let Some(user) = build_user {
            chown(&self.site, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        fs::write(&self.config_file, self.main_file(build_user))?;
        fs::write(config.join("repositories/shop.toml"), self.repository_file())?;
        Ok(())
    }

    fn main_file(&self, build_user: Option<&User>) -> String {
        let folder = self.folder.display();
        let user = |user: Option<&User>| user.map(|user| format!("user = \"{}\"\n", user.name)).unwrap_or_default();
        format!(
            r#"[paths]
spool = "{folder}/spool"
state = "{folder}/state"
logs = "{folder}/logs"

[receiver]
listen = "127.0.0.1:0"          # any free port
{receiver_user}
[[source]]
name = "github"
provider = "github"
path = "/hooks/github"
secret = ["github-webhook"]     # secrets/receiver/github-webhook

[worker]
slots = 2
{build_user}
[mail]
from = "Hookspool <ci@example.org>"
smtp = "maildir:{folder}/mail"
allow = ["@example.org"]
fallback = "ops@example.org"
"#,
            receiver_user = user(self.receiver_user.as_ref()),
            build_user = user(build_user),
        )
    }

    fn repository_file(&self) -> String {
        format!(
            r#"repository = "github.com/octo/shop"
source = "github"
clone = "{forge}"

[[job]]
name = "site"
when = [{{ event = "push", branch = "main" }}]
build = "./build"
test = "./test"
deploy = {{ argv = ["./deploy", "{site}"] }}
notify = {{ to = ["pusher"], on = "always" }}
"#,
            forge = self.forge.display(),
            site = self.site.display(),
        )
    }
}

fn first_known(names: &[&str]) -> anyhow::Result<User> {
    let known = names.iter().find_map(|name| User::from_name(name).ok().flatten());
    known.with_context(|| format!("none of the users {} is on this machine", names.join(", ")))
}
