//! An https token reaches git through its credential helper (gitcredentials(7)), which is this program once more: git asks
//! it on a pipe, and it answers only for the host of the clone address. So the token is in nobody's arguments or
//! environment and in no file of git's, and where a server sends git elsewhere, it does not go along.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use hookspool_common::names::SecretName;
use hookspool_common::secrets::SecretStore;
use url::Url;

use super::quoted;

/// Who one is where the address does not say: GitHub wants this name for some tokens, and nobody minds it.
const USER: &str = "x-access-token";

/// Most lines that git may ask with; it has seven kinds of them.
const MAX_LINES: usize = 64;

/// What the helper is told when it is started: no secret.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Helper {
    /// The host that the token is for, with its port where that is not 443.
    #[arg(long)]
    host: String,
    /// The name of the secret.
    #[arg(long)]
    secret: SecretName,
    /// Where the configuration lies, with the secrets beside it.
    #[arg(long)]
    config_directory: PathBuf,
    /// systemd's credentials, which win.
    #[arg(long)]
    credentials: Option<PathBuf>,
}

impl Helper {
    /// The helper for an https address; none for any other.
    pub(crate) fn of(address: &str, secret: &SecretName, config_directory: &Path, credentials: Option<PathBuf>) -> Option<Self> {
        let host = host_of(&Url::parse(address).ok().filter(|url| url.scheme() == "https")?)?;
        Some(Self { host, secret: secret.clone(), config_directory: config_directory.to_owned(), credentials })
    }

    /// The command for the shell by which git starts it. It names the program by the process that is at work, so that it is
    /// the same one even where an upgrade has put another in its place.
    pub(super) fn command(&self) -> String {
        let own = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
        // The operator's program asks the forge too, and has the worker beside it.
        let program = match std::env::current_exe() {
            Ok(path) if path.file_name().is_some_and(|name| name == "hookspool") => path.with_file_name("hookspool-worker"),
            _ => own,
        };
        let mut command = format!("!{} credential --host {}", quoted(&program), quoted(Path::new(&self.host)));
        command.push_str(&format!(" --secret {} --config-directory {}", self.secret, quoted(&self.config_directory)));
        if let Some(credentials) = &self.credentials {
            command.push_str(&format!(" --credentials {}", quoted(credentials)));
        }
        command
    }

    /// Answers git. `operation` is git's; only `get` has an answer (git-credential(1)).
    ///
    /// # Errors
    /// When git breaks off, or the secret cannot be had.
    pub fn answer(&self, operation: &str, question: impl BufRead, mut answer: impl Write) -> anyhow::Result<()> {
        if operation != "get" {
            return Ok(());
        }
        let Some(user) = self.user_asked_for(question)? else { return Ok(()) };
        let token = SecretStore::of_worker(&self.config_directory, self.credentials.clone()).read(&self.secret)?;
        let is_line = !token.bytes().iter().any(u8::is_ascii_control);
        anyhow::ensure!(is_line, "secret `{}` has more than one line, so it is no token for https", self.secret);
        let told = [format!("username={user}\npassword=").as_bytes(), token.bytes(), b"\n"].concat();
        answer.write_all(&told).context("git does not listen")
    }

    /// The user to answer for, if it is this helper that is asked.
    fn user_asked_for(&self, question: impl BufRead) -> io::Result<Option<String>> {
        let (mut protocol, mut host, mut user) = (String::new(), String::new(), USER.to_owned());
        for line in question.lines().take(MAX_LINES) {
            let line = line?;
            match line.split_once('=') {
                Some(("protocol", value)) => value.clone_into(&mut protocol),
                Some(("host", value)) => value.clone_into(&mut host),
                Some(("username", value)) => value.clone_into(&mut user),
                Some(_) => {}
                None => break,
            }
        }
        let asked = Url::parse(&format!("https://{host}")).ok().and_then(|url| host_of(&url));
        Ok((protocol == "https" && asked.as_deref() == Some(&self.host)).then_some(user))
    }
}

/// Host and port in one spelling.
fn host_of(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(address: &str, operation: &str, question: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("secrets")).unwrap();
        std::fs::write(folder.path().join("secrets/token"), "open sesame\n").unwrap();
        let helper = Helper::of(address, &"token".parse().unwrap(), folder.path(), None).unwrap();
        let mut said = Vec::new();
        helper.answer(operation, question.as_bytes(), &mut said).unwrap();
        String::from_utf8(said).unwrap()
    }

    #[test]
    fn the_token_is_for_its_host_alone() {
        let told = "username=x-access-token\npassword=open sesame\n";
        let address = "https://Git.example.org/o/n.git";
        assert_eq!(answer(address, "get", "protocol=https\nhost=git.example.org\n\n"), told);
        assert_eq!(answer(address, "get", "protocol=https\nhost=git.example.org:443\npath=o/n.git\n"), told);
        for asked in [
            "protocol=https\nhost=evil.test\n",
            "protocol=https\nhost=git.example.org:8443\n",
            "protocol=https\nhost=git.example.org.evil.test\n",
            "protocol=https\nhost=git.example.org@evil.test\n",
            "protocol=http\nhost=git.example.org\n",
            "host=git.example.org\n",
            "protocol=https\n\nhost=git.example.org\n",
            "",
        ] {
            assert_eq!(answer(address, "get", asked), "", "{asked:?}");
        }
        for operation in ["store", "erase", "anything"] {
            assert_eq!(answer(address, operation, "protocol=https\nhost=git.example.org\n"), "");
        }
    }

    #[test]
    fn a_user_in_the_address_is_kept() {
        let said = answer("https://mona@h.example:8443/n", "get", "protocol=https\nhost=h.example:8443\nusername=mona\n");
        assert_eq!(said, "username=mona\npassword=open sesame\n");
    }

    #[test]
    fn only_https_has_a_helper_and_its_command_holds_names_alone() {
        let name = "token".parse().unwrap();
        assert_eq!(Helper::of("http://h/n", &name, Path::new("/etc"), None), None);
        assert_eq!(Helper::of("git@h:n", &name, Path::new("/etc"), None), None);
        let command = Helper::of("https://h/n", &name, Path::new("/etc/it's"), Some("/run/c".into())).unwrap().command();
        let end = r" credential --host 'h' --secret token --config-directory '/etc/it'\''s' --credentials '/run/c'";
        assert!(command.starts_with("!'/") && command.ends_with(end), "{command}");
    }
}
