//! The real receiver with a folder of its own: written, started on a free port, stopped, killed and started again.

mod wire; // raw HTTP, so that a test can send what no well-behaved client would

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use hookspool_common::inbox::{INBOX_FILE, InboxReader, SqliteInboxReader};
use hookspool_common::record::Record;
use hookspool_common::secrets::Secret;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};
use tempfile::TempDir;

use crate::programs::program;

pub use wire::{Answer, Connection, Post, push_body};

/// How long anything may take before a test gives up on it.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The path of the source.
pub const SOURCE_PATH: &str = "/hooks/github";

const SECRET: &[u8] = b"a secret of the tests";

/// The user that the receiver runs as where the tests run as root.
const USER: &str = "nobody";

/// The repository of [`Installation::new`] and its jobs.
const REPOSITORY_FILE: &str = r#"
repository = "github.com/owner/project"
source = "github"
clone = "https://github.com/owner/project.git"

[[job]]
name = "image"
when = [{ event = "push", branch = "master" }, { event = "tag", tag = "v*" }]
build = "true"
"#;

/// A configuration and a spool in a temporary folder.
#[derive(Debug)]
pub struct Installation {
    folder: TempDir,
    program: PathBuf,
}

impl Installation {
    /// One repository, `github.com/owner/project`, whose job `image` wants pushes to `master` and tags `v*`.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> Result<Self> {
        Self::with_program(program("hookspool-receiver"))
    }

    /// The same, for a program that was built otherwise.
    ///
    /// # Errors
    /// What the system says.
    pub fn with_program(program: PathBuf) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // The receiver's user must be able to come in.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let installation = Self { folder, program };
        for name in ["repositories", "secrets/receiver", "spool"] {
            fs::create_dir_all(installation.path().join(name))?;
        }
        fs::write(installation.path().join("secrets/receiver/webhook"), SECRET)?;
        installation.write_config("127.0.0.1:0", "")?;
        installation.write_repository("project", REPOSITORY_FILE)?;
        installation.give_to_user(&installation.spool())?;
        Ok(installation)
    }

    /// Writes `hookspool.toml` with another address to listen on, and lines to add to `[receiver]`.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_config(&self, listen: &str, more: &str) -> Result<()> {
        let folder = self.path().display();
        let text = format!(
            "[paths]\nspool = \"{folder}/spool\"\nstate = \"{folder}/state\"\nlogs = \"{folder}/logs\"\n\
             [receiver]\nlisten = \"{listen}\"\n{more}\n\
             [[source]]\nname = \"github\"\nprovider = \"github\"\npath = \"{SOURCE_PATH}\"\nsecret = \"webhook\"\n"
        );
        Ok(fs::write(self.config(), text)?)
    }

    /// Adds lines to the source.
    ///
    /// # Errors
    /// What the system says.
    pub fn add_to_source(&self, lines: &str) -> Result<()> {
        let text = fs::read_to_string(self.config())?;
        Ok(fs::write(self.config(), format!("{text}{lines}\n"))?)
    }

    /// Writes `repositories/NAME.toml`.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_repository(&self, name: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.path().join(format!("repositories/{name}.toml")), text)?)
    }

    /// Writes a secret of the receiver's.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_secret(&self, name: &str, value: &str) -> Result<()> {
        Ok(fs::write(self.path().join("secrets/receiver").join(name), value)?)
    }

    /// Replaces a part of `hookspool.toml`.
    ///
    /// # Errors
    /// When it is not in there, or what the system says.
    pub fn edit_config(&self, part: &str, by: &str) -> Result<()> {
        let text = fs::read_to_string(self.config())?;
        anyhow::ensure!(text.contains(part), "no {part:?} in {text}");
        Ok(fs::write(self.config(), text.replacen(part, by, 1))?)
    }

    /// Gives `path` to the user that the receiver runs as.
    ///
    /// # Errors
    /// What the system says.
    pub fn give_to_user(&self, path: &Path) -> Result<()> {
        if Uid::effective().is_root() {
            let user = User::from_name(USER)?.ok_or_else(|| anyhow!("there is no user {USER}"))?;
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        Ok(())
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `hookspool.toml`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path().join("hookspool.toml")
    }

    /// The spool folder.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.path().join("spool")
    }

    /// Everything that the receivers of this installation wrote to standard error.
    ///
    /// # Errors
    /// What the system says.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.path().join("receiver.log"))?)
    }

    /// Every delivery in the inbox.
    ///
    /// # Errors
    /// When the inbox cannot be read.
    pub fn records(&self) -> Result<Vec<Record>> {
        let mut reader = SqliteInboxReader::open(&self.spool().join(INBOX_FILE))?;
        let mut records = Vec::new();
        loop {
            let after = records.last().map_or(0, |record: &Record| record.seq);
            let more = reader.read_after(after, 1000)?;
            if more.is_empty() {
                return Ok(records);
            }
            records.extend(more);
        }
    }

    /// The program with this installation's configuration, as a user that is not root.
    ///
    /// # Errors
    /// What the system says.
    pub fn command(&self) -> Result<Command> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path().join("receiver.log"))?;
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.config()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        command.env_remove("CREDENTIALS_DIRECTORY").env_remove("NOTIFY_SOCKET").env_remove("RUST_LOG");
        if Uid::effective().is_root() {
            let user = User::from_name(USER)?.ok_or_else(|| anyhow!("there is no user {USER}"))?;
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        Ok(command)
    }

    /// Starts the receiver and waits until it listens.
    ///
    /// # Errors
    /// With its log, when it does not.
    pub fn start(&self) -> Result<RunningReceiver> {
        self.start_with(&mut self.command()?)
    }

    /// Starts it with a command that was made from [`Installation::command`].
    ///
    /// # Errors
    /// With its log, when it does not listen.
    pub fn start_with(&self, command: &mut Command) -> Result<RunningReceiver> {
        let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
        let stdout = child.stdout.take().ok_or_else(|| anyhow!("no standard output"))?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut receiver = RunningReceiver { child, listening: String::new(), lines: Some(Mutex::new(lines)) };
        receiver.listening =
            receiver.next_place("listening").with_context(|| format!("it says:\n{}", self.log().unwrap_or_default()))?;
        Ok(receiver)
    }

    /// Runs the receiver until it ends by itself: its exit code, and what it wrote to standard error.
    ///
    /// # Errors
    /// When it does not end.
    pub fn run_to_end(&self, command: &mut Command) -> Result<(Option<i32>, String)> {
        let mut receiver = RunningReceiver { child: command.spawn()?, listening: String::new(), lines: None };
        let status = receiver.wait()?;
        Ok((status.code(), self.log()?))
    }
}

/// A receiver that listens. Dropped, it is killed.
#[derive(Debug)]
pub struct RunningReceiver {
    child: Child,
    listening: String,
    /// What it prints.
    lines: Option<Mutex<mpsc::Receiver<String>>>,
}

impl RunningReceiver {
    /// Where it listens, as it says itself.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.listening
    }

    /// The place in its next line, which must say that it is there for `what`: `listening` or `metrics`.
    ///
    /// # Errors
    /// When no such line comes.
    pub fn next_place(&self, what: &str) -> Result<String> {
        let lines = self.lines.as_ref().context("its lines are not read")?.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.recv_timeout(DEADLINE).map_err(|_| anyhow!("it does not say that it is {what} on some address"))?;
        let place = line.strip_prefix(what).and_then(|rest| rest.strip_prefix(" on "));
        Ok(place.with_context(|| format!("an unexpected line: {line}"))?.to_owned())
    }

    /// Asks it to read its configuration and its secrets anew.
    ///
    /// # Errors
    /// When it is not there any more.
    pub fn hang_up(&self) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGHUP)?)
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new connection to it.
    ///
    /// # Errors
    /// What the system says.
    pub fn connect(&self) -> io::Result<Connection> {
        Connection::open(&self.listening)
    }

    /// A new connection to it from one of this machine's own addresses.
    ///
    /// # Errors
    /// What the system says.
    pub fn connect_from(&self, source: Ipv4Addr) -> io::Result<Connection> {
        Connection::open_from(source, &self.listening)
    }

    /// The most memory that it ever had, in MiB (`VmHWM`, proc_pid_status(5)).
    ///
    /// # Errors
    /// When the system does not say.
    pub fn peak_mib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
    }

    /// Sends one request on a connection of its own.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn ask(&self, request: &[u8]) -> io::Result<Answer> {
        let mut connection = self.connect()?;
        connection.send(request)?;
        connection.answer()
    }

    /// Asks whether it is ready.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn ready(&self) -> io::Result<Answer> {
        self.ask(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n")
    }

    /// Posts one delivery on a connection of its own.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn post(&self, post: &Post) -> io::Result<Answer> {
        self.ask(&post.bytes())
    }

    /// Asks it to end.
    ///
    /// # Errors
    /// When it is not there any more.
    pub fn terminate(&self) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?)
    }

    /// Kills it, and waits until it is gone.
    ///
    /// # Errors
    /// What the system says.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.terminate()?;
        self.wait()
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it does not end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        until("the receiver ends", || Ok(self.child.try_wait()?))
    }
}

impl Drop for RunningReceiver {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again until there is an answer.
///
/// # Errors
/// When there is none at the deadline, or when asking fails.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            bail!("waited in vain: {what}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The secret that the source's deliveries are signed with.
#[must_use]
pub fn secret() -> Secret {
    Secret::new(SECRET.to_vec())
}
