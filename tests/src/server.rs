//! A whole server in a temporary folder: a forge with a real git repository, a clone to push from, a configuration, the
//! real receiver, and passes of the real worker.
//!
//! As root it keeps the real privileges apart: the spool belongs to the receiver's user, steps run as another. As
//! anyone else everything is one's own. What became of a run is asked of the real `hookspool`, as a person would.

mod configuration; // what it is told to do
mod asking; // what the operator's program says of it
mod github; // what GitHub would send
mod laptop; // the forge's repository, and somebody's clone of it
mod mails; // what a maildir holds
mod tampering; // what whoever has taken over the receiver could do
mod processes; // who runs on this machine
mod leftovers; // what is left of runs, and how it is ended

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::{User, geteuid};
use serde_json::Value;

use crate::programs::program;
use crate::receiver::{Answer, Installation, Post, RunningReceiver};

pub use configuration::Setup;
pub use github::{Delivery, Push};
pub use laptop::Laptop;
pub use mails::{Mail, read as read_maildir};
pub use processes::{kill_now, killed, processes_of, processes_with};

/// How long anything may take before a test gives up on it. Nothing waits this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whom steps run as where the tests run as root.
pub const BUILD_USER: &str = "daemon";
/// Whom the receiver runs as there.
pub const RECEIVER_USER: &str = "nobody";

/// The search path of a system service.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether this is root, so that users can be kept apart.
#[must_use]
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Looks until there is something, and gives it.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The server.
#[derive(Debug)]
pub struct Server {
    installation: Installation,
    receiver: Option<RunningReceiver>,
    /// From which commits are pushed.
    pub laptop: Laptop,
}

impl Server {
    /// A server with these jobs, two slots and a maildir, and one commit on `master`.
    #[must_use]
    pub fn new(jobs: &str) -> Self {
        Self::with(Setup { jobs, ..Setup::default() })
    }

    /// A server that is set up like this.
    #[must_use]
    pub fn with(setup: Setup<'_>) -> Self {
        let installation = Installation::new().expect("the installation can be made");
        let laptop = Laptop::set_up(installation.path());
        let mut server = Self { installation, receiver: None, laptop };
        server.make_folders();
        server.configure(setup);
        server.start_receiver();
        server
    }

    fn make_folders(&self) {
        for (name, mode) in [("secrets", 0o711), ("secrets/receiver", 0o750), ("out", 0o755), ("spool", 0o750)] {
            let folder = self.path().join(name);
            fs::create_dir_all(&folder).expect("a folder can be made");
            fs::set_permissions(&folder, Permissions::from_mode(mode)).expect("its mode can be set");
        }
        let webhook = self.path().join("secrets/receiver/webhook");
        fs::set_permissions(&webhook, Permissions::from_mode(0o400)).expect("the secret's mode can be set");
        give(&self.path().join("secrets/receiver"), RECEIVER_USER);
        give(&webhook, RECEIVER_USER);
        give(&self.out(""), BUILD_USER);
    }

    /// Everything is below this folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.installation.path()
    }

    /// `hookspool.toml`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.installation.config()
    }

    /// The spool folder.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.installation.spool()
    }

    /// Below the worker's state folder.
    #[must_use]
    pub fn state(&self, name: &str) -> PathBuf {
        self.path().join("state").join(name)
    }

    /// Below the folder that steps may write to.
    #[must_use]
    pub fn out(&self, name: &str) -> PathBuf {
        self.path().join("out").join(name)
    }

    /// What a step wrote to `$OUT/name`, if it did.
    #[must_use]
    pub fn written(&self, name: &str) -> Option<String> {
        fs::read(self.out(name)).ok().map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    /// Lets steps go on that wait for `$OUT/name`.
    pub fn release(&self, name: &str) {
        fs::write(self.out(name), "go").expect("a file can be written");
    }

    /// `$OUT/sleeper`, a sleep(1) that can be told from everybody else's; gives its path.
    #[must_use]
    pub fn make_sleeper(&self) -> String {
        let path = self.out("sleeper");
        std::os::unix::fs::symlink("/bin/sleep", &path).expect("a link can be made");
        path.to_string_lossy().into_owned()
    }

    /// Waits until a step has written `$OUT/name`.
    pub fn wait_until_written(&self, name: &str) -> String {
        let log = || format!("$OUT/{name}; {:?}\n{}", self.runs(), self.worker_log());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(text) = self.written(name).filter(|text| !text.is_empty()) {
                return text;
            }
            assert!(Instant::now() < deadline, "waited in vain for {}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until a run is in this state.
    pub fn wait_for_state(&self, run: i64, state: &str) {
        wait_for(&format!("run {run} to be {state}"), || (self.outcome(run).0 == state).then_some(()));
    }

    /// The receiver.
    #[must_use]
    pub fn receiver(&self) -> &RunningReceiver {
        self.receiver.as_ref().expect("a receiver runs")
    }

    /// Starts the receiver.
    pub fn start_receiver(&mut self) {
        self.receiver = Some(self.installation.start().unwrap_or_else(|error| panic!("{error:#}")));
    }

    /// Stops the receiver.
    pub fn stop_receiver(&mut self) {
        if let Some(receiver) = self.receiver.take() {
            receiver.stop().expect("the receiver ends");
        }
    }

    /// Where the receiver takes GitHub's deliveries.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("/hooks/github")
    }

    /// A path of the receiver's.
    #[must_use]
    pub fn url_of(&self, path: &str) -> String {
        format!("http://{}{path}", self.receiver.as_ref().expect("a receiver runs").address())
    }

    /// Posts a delivery, signed, under a fresh id.
    #[must_use]
    pub fn post(&self, delivery: &Delivery) -> Answer {
        let receiver = self.receiver.as_ref().expect("a receiver runs");
        let post = Post::signed(delivery.event, &delivery.id, delivery.body.to_string());
        receiver.post(&post).unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// Posts what another forge sent and jobs are to come of, and lets the worker do all there is to do.
    pub fn post_and_settle(&self, post: &Post) {
        let receiver = self.receiver.as_ref().expect("a receiver runs");
        let answer = receiver.post(post).unwrap_or_else(|error| panic!("no answer: {error}"));
        assert_eq!(answer.status, 202, "{}", answer.body);
        self.settle();
    }

    /// Posts a delivery that jobs are to come of; gives the id that the receiver answers.
    pub fn deliver(&self, delivery: &Delivery) -> String {
        let answer = self.post(delivery);
        assert_eq!((answer.status, answer.text("status").as_str()), (202, "accepted"), "{}", answer.body);
        answer.text("delivery")
    }

    /// The worker's command for one pass, with a system service's environment.
    #[must_use]
    pub fn pass_command(&self) -> Command {
        let mut command = Command::new(program("hookspool-worker"));
        let log = File::options().append(true).create(true).open(self.path().join("pass.log")).expect("a log can be opened");
        command.arg("pass").arg("--config").arg(self.config()).env_clear().env("PATH", PATH).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command
    }

    /// Starts a pass and does not wait for it.
    #[must_use]
    pub fn start_pass(&self) -> Child {
        self.pass_command().spawn().expect("a pass can be started")
    }

    /// Runs one pass to its end.
    pub fn run_pass(&self) {
        let status = self.pass_command().status().expect("a pass can be started");
        assert!(status.success(), "the pass ended with {status}:\n{}", self.worker_log());
    }

    /// What passes and runners said.
    #[must_use]
    pub fn worker_log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.path().join(name)).unwrap_or_default();
        format!("{}\n{}", read("pass.log"), read("logs/worker.log"))
    }

    /// Passes, as cron would start them, until nothing is left to do: every run over and cleaned up, every mail tried.
    pub fn settle(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.run_pass();
            let unsettled = self.unsettled();
            let Some(unsettled) = unsettled else { return };
            assert!(Instant::now() < deadline, "it does not come to rest: {unsettled}\n{}", self.worker_log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn unsettled(&self) -> Option<String> {
        for run in self.runs() {
            if ["queued", "running"].iter().any(|state| run["state"] == *state) {
                return Some(run.to_string());
            }
            let shown = self.show(run["run"].as_i64().unwrap_or_default());
            let is_untried = |mail: &Value| mail["state"] == "due" && mail["error"].is_null();
            if shown["mails"].as_array().is_some_and(|mails| mails.iter().any(is_untried)) {
                return Some(shown["mails"].to_string());
            }
        }
        let left: Vec<PathBuf> = [self.state("work"), self.state("runs")].iter().flat_map(|folder| entries(folder)).collect();
        let marks = [self.spool().join("wake"), self.state("pass.again")].into_iter().filter(|mark| mark.exists());
        let left: Vec<PathBuf> = left.into_iter().chain(marks).collect();
        (!left.is_empty()).then(|| format!("{left:?}"))
    }

    /// Delivers, and lets the worker do all there is to do.
    pub fn deliver_and_settle(&self, delivery: &Delivery) -> String {
        let id = self.deliver(delivery);
        self.settle();
        id
    }

    /// The mails in the maildir, in the order of the runs that they tell of.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        mails::read(&self.path().join("mail"))
    }
}

/// A text of JSON; empty where there is none.
#[must_use]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What is in a folder.
#[must_use]
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path()).collect()
}

/// As root, gives a file or folder to a user.
pub fn give(path: &Path, user: &str) {
    if is_root() {
        let user = User::from_name(user).ok().flatten().unwrap_or_else(|| panic!("there is no user {user}"));
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root may give files away");
    }
}
