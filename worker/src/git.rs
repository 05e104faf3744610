//! git, deaf to everything but what it is told here: no configuration of the machine or of a user, no prompt, no hook,
//! no helper but ours, and no transport but the one that the clone address names.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::Context;
use hookspool_common::config::Repository;
use hookspool_common::secrets::SecretStore;
use hookspool_common::trusted::{self, Owners};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::process::{Account, Launch, end_with_this_process};
use crate::receiver_side::Patient;

pub use credential::Helper;

mod credential; // how a token reaches git

/// How long a mirror may take to answer. The answer takes some milliseconds; what takes longer than this waits for something
/// that somebody put in its way.
const PATIENCE: Duration = Duration::from_secs(60);

/// Settings that a repository's own configuration cannot override, as `-c` comes last.
const SETTINGS: [&str; 12] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.askPass=",
    "core.pager=cat",
    "credential.helper=",
    "protocol.ext.allow=never",
    "protocol.allow=user",
    "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
    "gc.autoDetach=false",
    "maintenance.autoDetach=false",
    "advice.detachedHead=false",
];

/// How git reaches a repository: which transport is allowed, and with which ssh key.
#[derive(Debug, Clone, Default)]
pub struct Remote {
    /// The clone address.
    pub address: String,
    /// The ssh key.
    pub deploy_key: Option<PathBuf>,
    /// Where the forge's host keys are pinned, beside those of the machine.
    pub known_hosts: Option<PathBuf>,
    /// Who gives git the token.
    pub token: Option<Helper>,
    /// The authorities that vouch for an https server, in place of the machine's.
    pub ca_file: Option<PathBuf>,
}

impl Remote {
    /// How this repository is reached, by its file and what lies beside it.
    ///
    /// # Errors
    /// When its deploy key or token is absent, or others could have written these or the pinned host keys.
    pub fn of(repository: &Repository, config_directory: &Path, secrets: &SecretStore) -> anyhow::Result<Self> {
        let deploy_key = repository.deploy_key.as_ref().map(|name| secrets.path(name)).transpose()?;
        let known_hosts = config_directory.join("known_hosts");
        match trusted::open(&known_hosts, Owners::of_this_process()) {
            Err(error) if !error.is_absent() => return Err(anyhow::Error::new(error).context("the pinned host keys")),
            _ => {}
        }
        if let Some(ca_file) = &repository.ca_file {
            trusted::open(ca_file, Owners::of_this_process()).context("the server's authorities (`ca_file`)")?;
        }
        let address = repository.clone.clone();
        // Read once here, so that a token that cannot be had is said as what it is.
        repository.https_token.as_ref().map(|name| secrets.read(name)).transpose()?;
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let helper = |name| Helper::of(&address, name, config_directory, credentials);
        let token = repository.https_token.as_ref().and_then(helper);
        let ca_file = repository.ca_file.clone();
        Ok(Self { deploy_key, known_hosts: Some(known_hosts), token, ca_file, address })
    }

    /// The one transport that this address needs (git(1), `GIT_ALLOW_PROTOCOL`).
    fn transport(&self) -> &'static str {
        match self.address.split_once("://").map(|(scheme, _)| scheme) {
            Some("https") => "https",
            Some("http") => "http:https",
            Some("git") => "git",
            Some("file") => "file",
            None if self.address.starts_with('/') => "file",
            _ => "ssh",
        }
    }

    /// ssh without anybody's configuration: it never asks, and never trusts a host that nobody pinned.
    fn ssh_command(&self) -> String {
        let mut words = vec![
            "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o ConnectTimeout=30 -o ServerAliveInterval=30"
                .to_owned(),
        ];
        if let Some(known_hosts) = &self.known_hosts {
            words.push(format!("-o UserKnownHostsFile={}", quoted(known_hosts)));
        }
        if let Some(key) = &self.deploy_key {
            words.push(format!("-o IdentitiesOnly=yes -i {}", quoted(key)));
        }
        words.join(" ")
    }
}

/// For the shell that git runs `GIT_SSH_COMMAND` with.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

/// What git and its like find in their environment.
fn environment(remote: Option<&Remote>) -> Vec<(&'static str, String)> {
    let mut environment: Vec<(&'static str, String)> = [
        ("PATH", crate::environment::PATH),
        ("LC_ALL", "C.UTF-8"),
        ("HOME", "/nonexistent"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ASKPASS", "/bin/false"),
        ("GIT_PROTOCOL_FROM_USER", "0"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_LFS_SKIP_SMUDGE", "1"),
        ("GIT_ALLOW_PROTOCOL", remote.map_or("file", Remote::transport)),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    if let Some(remote) = remote {
        environment.push(("GIT_SSH_COMMAND", remote.ssh_command()));
    }
    environment
}

/// What git is told by `-c`.
fn settings(remote: Option<&Remote>) -> Vec<String> {
    let helper = remote.and_then(|remote| remote.token.as_ref()).map(|helper| format!("credential.helper={}", helper.command()));
    let ca_file = remote.and_then(|remote| remote.ca_file.as_ref()).map(|path| format!("http.sslCAInfo={}", path.display()));
    let settings = SETTINGS.into_iter().map(str::to_owned).chain(helper).chain(ca_file);
    settings.flat_map(|setting| ["-c".to_owned(), setting]).collect()
}

/// A git command that is to be supervised, in `folder`, as `account` (or as this process's user).
#[must_use]
pub fn launch(folder: &Path, remote: Option<&Remote>, account: Option<&Account>, arguments: &[&str]) -> Launch {
    let mut launch = Launch::new("git", folder).args(settings(remote)).args(arguments);
    for (name, value) in environment(remote) {
        launch = launch.env(name, value);
    }
    match account {
        Some(account) => launch.account(account.clone()),
        None => launch,
    }
}

/// Asks a mirror of ours something that needs neither network nor patience: whether git said yes, and its output.
///
/// # Errors
/// When git itself cannot be started, or does not answer in time; then it is killed, with whatever it started.
pub fn ask(folder: &Path, arguments: &[&str]) -> io::Result<(bool, String)> {
    ask_within(PATIENCE, folder, arguments)
}

fn ask_within(patience: Duration, folder: &Path, arguments: &[&str]) -> io::Result<(bool, String)> {
    let mut command = command(folder, None, arguments);
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::null());
    end_with_this_process(&mut command);
    let mut git = command.spawn()?;
    let mut said = Vec::new();
    let heard = match git.stdout.take() {
        Some(stdout) => Patient::until(stdout, patience).read_to_end(&mut said),
        None => Err(io::Error::other("it has no output")),
    };
    if heard.is_err() {
        // Its output ends when it does, so it lives, and its number is its own.
        let _ = killpg(Pid::from_raw(git.id().cast_signed()), Signal::SIGKILL);
    }
    let status = git.wait()?;
    match heard {
        Ok(_) => Ok((status.success(), text(&said))),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            let what = arguments.first().copied().unwrap_or_default();
            let why = format!("git {what} did not answer within {} s, and was killed", patience.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, why))
        }
        Err(error) => Err(error),
    }
}

/// Asks the forge something, for a person who waits at a terminal.
///
/// # Errors
/// When git itself cannot be started.
pub fn ask_remote(folder: &Path, remote: &Remote, arguments: &[&str]) -> io::Result<(bool, String)> {
    let Output { status, stdout, .. } = command(folder, Some(remote), arguments).output()?;
    Ok((status.success(), text(&stdout)))
}

fn text(said: &[u8]) -> String {
    String::from_utf8_lossy(said).trim_end().to_owned()
}

/// A git command for whoever waits for it in their own way.
pub(crate) fn command(folder: &Path, remote: Option<&Remote>, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(settings(remote)).args(arguments).current_dir(folder).env_clear().envs(environment(remote)).stdin(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(address: &str) -> Remote {
        Remote { address: address.to_owned(), ..Remote::default() }
    }

    #[test]
    fn only_the_transport_of_the_address_is_allowed() {
        for (address, transport) in [
            ("https://github.com/o/n.git", "https"),
            ("git@github.com:o/n.git", "ssh"),
            ("ssh://git@github.com/o/n.git", "ssh"),
            ("/srv/git/n.git", "file"),
            ("file:///srv/git/n.git", "file"),
        ] {
            assert_eq!(remote(address).transport(), transport, "{address}");
        }
    }

    #[test]
    fn a_git_that_waits_for_something_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let arguments = ["config", "--file", &pipe.to_string_lossy(), "--list"];
        let error = ask_within(Duration::from_millis(100), folder.path(), &arguments).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    }

    #[test]
    fn a_key_whose_path_has_a_quote_stays_one_word() {
        let remote = Remote { deploy_key: Some("/a'b/key".into()), ..remote("git@h:o/n") };
        assert!(remote.ssh_command().ends_with(r"-i '/a'\''b/key'"), "{}", remote.ssh_command());
    }
}
