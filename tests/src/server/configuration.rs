//! What a server is told to do: its two files of configuration, and the worker's secrets.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use hookspool_common::forges::Provider;

use super::{BUILD_USER, RECEIVER_USER, Server, is_root};

/// What a server is configured with. In every text, `$OUT` stands for a folder that steps may write to.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// The `[[job]]`s of `github.com/octo/shop`.
    pub jobs: &'a str,
    /// `[worker] slots`.
    pub slots: u32,
    /// Tables of `[worker]`'s, such as `[worker.limits]`.
    pub worker: &'a str,
    /// The lines of `[mail]` that say how it leaves; a maildir otherwise.
    pub smtp: Option<&'a str>,
    /// More `[[source]]`s that may speak of `github.com/octo/shop`, each as its name and its other lines.
    pub sources: &'a [(&'a str, &'a str)],
    /// More lines of `[receiver]`.
    pub receiver: &'a str,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self { jobs: "", slots: 2, worker: "", smtp: None, sources: &[], receiver: "" }
    }
}

impl Server {
    /// Writes the configuration anew.
    pub fn configure(&self, setup: Setup<'_>) {
        let folder = self.path().display();
        let user = |name: &str| if is_root() { format!("user = \"{name}\"\n") } else { String::new() };
        let (receiver, worker) = (user(RECEIVER_USER), user(BUILD_USER));
        let smtp = setup.smtp.map_or_else(|| format!("smtp = \"maildir:{folder}/mail\""), str::to_owned);
        let (slots, tables, more) = (setup.slots, setup.worker, setup.receiver);
        let main = format!(
            "[paths]\nspool = \"{folder}/spool\"\nstate = \"{folder}/state\"\nlogs = \"{folder}/logs\"\n\
             [receiver]\nlisten = \"127.0.0.1:0\"\n{receiver}{more}\n\
             [[source]]\nname = \"github\"\nprovider = \"github\"\npath = \"/hooks/github\"\nsecret = \"webhook\"\n\
             [worker]\nslots = {slots}\n{worker}{tables}\n\
             [mail]\nfrom = \"Hookspool <ci@example.org>\"\n{smtp}\nallow = [\"@example.org\"]\nfallback = \"ops@example.org\"\n"
        );
        let more =
            setup.sources.iter().map(|(name, lines)| format!("[[source]]\nname = \"{name}\"\nsecret = \"webhook\"\n{lines}\n"));
        let main = more.fold(main, |main, source| main + &source);
        fs::write(self.config(), main).expect("the configuration can be written");
        // The fixture of the receiver brings a repository of its own.
        let _ = fs::remove_file(self.path().join("repositories/project.toml"));
        let forge = self.laptop.forge().display();
        let sources: Vec<&str> = ["github"].into_iter().chain(setup.sources.iter().map(|(name, _)| *name)).collect();
        let jobs = self.filled(setup.jobs);
        let repository = format!("repository = \"github.com/octo/shop\"\nsource = {sources:?}\nclone = \"{forge}\"\n{jobs}");
        fs::write(self.path().join("repositories/shop.toml"), repository).expect("the repository's file can be written");
    }

    /// `text` with the path of the folder for `$OUT`.
    #[must_use]
    pub fn filled(&self, text: &str) -> String {
        text.replace("$OUT", &self.path().join("out").to_string_lossy())
    }

    /// Writes a secret of the worker's.
    pub fn write_secret(&self, name: &str, value: &str) {
        let path = self.path().join("secrets").join(name);
        fs::write(&path, value).expect("the secret can be written");
        fs::set_permissions(&path, Permissions::from_mode(0o400)).expect("its mode can be set");
    }

    /// Lets every receiver from now on listen where the present one does.
    pub fn keep_address(&self) {
        let address = self.receiver.as_ref().expect("a receiver runs").address();
        let config = fs::read_to_string(self.config()).expect("the configuration can be read");
        fs::write(self.config(), config.replace("127.0.0.1:0", address)).expect("the configuration can be written");
    }

    /// Makes the source another forge's and the repository one of its own, and starts the receiver anew.
    pub fn move_to(&mut self, provider: Provider, repository: &str) {
        self.stop_receiver();
        let changes = [
            (self.config(), "provider = \"github\"".to_owned(), format!("provider = \"{}\"", provider.as_str())),
            (self.path().join("repositories/shop.toml"), "github.com/octo/shop".to_owned(), repository.to_owned()),
        ];
        for (file, old, new) in changes {
            let text = fs::read_to_string(&file).expect("the configuration can be read");
            assert!(text.contains(&old), "{text}");
            fs::write(&file, text.replace(&old, &new)).expect("the configuration can be written");
        }
        self.start_receiver();
    }
}
