//! A real mail server for the tests: exim4 on a free loopback port, with STARTTLS, AUTH and mailboxes as maildirs.
//!
//! It owns a folder of its own and touches nothing of the machine's mail. It runs as the user `Debian-exim` where the
//! tests run as root (exim never delivers as root), else as whoever runs the tests.

use std::fs::{self, OpenOptions, Permissions};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};

/// Who may log in.
pub const LOGIN: &str = "ci";
/// Their password.
pub const PASSWORD: &str = "correct horse battery";
/// The mailboxes that there are, all of [`DOMAIN`].
pub const MAILBOXES: [&str; 2] = ["mona", "ops"];
/// The domain that the server takes mail for.
pub const DOMAIN: &str = "example.org";
/// The server's name, which its certificate bears.
pub const HOST: &str = "localhost";

const PROGRAM: &str = "/usr/sbin/exim4";
/// How long anything here may take. On a busy machine, starting takes a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// A mail server, stopped until it is started; it ends with this value.
#[derive(Debug)]
pub struct Exim {
    folder: tempfile::TempDir,
    port: u16,
    tls_port: u16,
    daemon: Option<Child>,
}

impl Exim {
    /// Sets a server up, or says why it cannot be and returns nothing.
    ///
    /// # Errors
    /// When anything but the absence of exim4 and openssl keeps it from being set up.
    pub fn prepare() -> anyhow::Result<Option<Self>> {
        if !Path::new(PROGRAM).exists() {
            println!("SKIPPED: exim4 is not installed");
            return Ok(None);
        }
        let user = User::from_uid(geteuid())?.context("whoever runs this has no name")?;
        let user = if geteuid().is_root() { User::from_name("Debian-exim")?.context("no user Debian-exim")? } else { user };
        let folder = tempfile::tempdir()?;
        // The server's user must be able to reach what is its own in there.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        for name in ["spool", "mail", "log"] {
            let path = folder.path().join(name);
            fs::create_dir(&path)?;
            if geteuid().is_root() {
                chown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
            }
        }
        make_certificate(folder.path(), &user)?;
        // Both are held until both are known, so that they differ.
        let (first, second) = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
        let (port, tls_port) = (first.local_addr()?.port(), second.local_addr()?.port());
        let server = Self { folder, port, tls_port, daemon: None };
        fs::write(server.configuration_file(), configuration(server.folder.path(), tls_port, &user))?;
        Ok(Some(server))
    }

    /// Starts the server and waits until it greets.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let daemon = Command::new(PROGRAM)
            .arg("-C")
            .arg(self.configuration_file())
            // Ports that are named here need no pid file, which only root and exim's user could remove.
            .args(["-bdf", "-q1m", "-oX", &format!("127.0.0.1.{} : 127.0.0.1.{}", self.port, self.tls_port)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start exim4")?;
        self.daemon = Some(daemon);
        self.wait_for("exim4 to listen", |server| {
            if let Some(status) = server.daemon.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("exim4 ended with {status}: {}", server.log());
            }
            Ok(TcpStream::connect((HOST, server.port)).ok())
        })?;
        Ok(())
    }

    /// Stops the server.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        if daemon.try_wait()?.is_none() {
            // Not reaped yet, so the number is still its own.
            kill(Pid::from_raw(i32::try_from(daemon.id())?), Signal::SIGTERM)?;
        }
        let deadline = Instant::now() + PATIENCE;
        while daemon.try_wait()?.is_none() {
            if Instant::now() > deadline {
                daemon.kill()?;
                daemon.wait()?;
                bail!("exim4 does not end");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The port that it listens on when it runs, and there offers STARTTLS.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The port on which it expects TLS from the first byte.
    #[must_use]
    pub const fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// The certificate of the server, which is its own authority.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// A program that is called as sendmail(8) is and hands its mail to this server, which need not run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn sendmail(&self) -> anyhow::Result<PathBuf> {
        let (source, script) = (self.folder.path().join("sendmail.sh"), self.folder.path().join("sendmail"));
        fs::write(&source, format!("#!/bin/sh\nexec {PROGRAM} -C '{}' \"$@\"\n", self.configuration_file().display()))?;
        // What this process itself had open for writing, a child of another test may hold open: "text file busy".
        let status = Command::new("install").args(["-m", "755"]).args([&source, &script]).status()?;
        ensure!(status.success(), "install: {status}");
        Ok(script)
    }

    /// The mails of a mailbox, in no particular order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn mails(&self, mailbox: &str) -> anyhow::Result<Vec<String>> {
        let new = self.folder.path().join("mail").join(mailbox).join("new");
        if !new.exists() {
            return Ok(Vec::new());
        }
        fs::read_dir(new)?.map(|entry| Ok(fs::read_to_string(entry?.path())?)).collect()
    }

    /// Waits until a mailbox holds this many mails.
    ///
    /// # Errors
    /// When it does not within twenty seconds.
    pub fn wait_for_mails(&mut self, mailbox: &str, count: usize) -> anyhow::Result<Vec<String>> {
        self.wait_for(&format!("{count} mails for {mailbox}"), |server| {
            let mails = server.mails(mailbox)?;
            ensure!(mails.len() <= count, "{} mails for {mailbox} instead of {count}", mails.len());
            Ok(Some(mails).filter(|mails| mails.len() == count))
        })
    }

    /// What the server wrote down.
    #[must_use]
    pub fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.folder.path().join("log").join(name)).unwrap_or_default();
        read("main") + &read("panic")
    }

    fn configuration_file(&self) -> PathBuf {
        self.folder.path().join("exim.conf")
    }

    fn wait_for<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self)? {
                return Ok(found);
            }
            ensure!(Instant::now() < deadline, "waited in vain for {what}; exim4 says:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error:#}");
        }
    }
}

fn make_certificate(folder: &Path, user: &User) -> anyhow::Result<()> {
    let key = folder.join("key.pem");
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&key)?;
    if geteuid().is_root() {
        chown(&key, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=hookspool test", "-addext", &format!("subjectAltName=DNS:{HOST}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(folder.join("certificate.pem"))
        .output()
        .context("cannot start openssl")?;
    ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// See "The Exim Specification", chapters 14 (main), 42 (access control), 15 (routers), 26 (appendfile), 34 (plaintext).
fn configuration(folder: &Path, tls_port: u16, user: &User) -> String {
    let folder = folder.display();
    let mailboxes = MAILBOXES.join(" : ");
    let (user, group) = (&user.name, user.gid);
    format!(
        r#"exim_user = {user}
exim_group = {group}
# Everything here belongs to that user, so no delivery needs root.
deliver_drop_privilege = true
primary_hostname = {HOST}
spool_directory = {folder}/spool
log_file_path = {folder}/log/%s
tls_on_connect_ports = {tls_port}
keep_environment =
add_environment = PATH=/usr/bin:/bin
rfc1413_hosts =
host_lookup =
tls_advertise_hosts = *
tls_certificate = {folder}/certificate.pem
tls_privatekey = {folder}/key.pem
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
acl_smtp_rcpt = recipient
acl_smtp_data = accept

begin acl
recipient:
  deny  !encrypted = *
        message = TLS first
  deny  !authenticated = *
        message = log in first
  defer local_parts = greylisted
        message = come back later
  deny  !verify = recipient
  accept

begin routers
mailboxes:
  driver = accept
  domains = {DOMAIN}
  local_parts = {mailboxes}
  transport = mailbox

begin transports
mailbox:
  driver = appendfile
  directory = {folder}/mail/$local_part_data
  maildir_format
  create_directory
  user = {user}
  group = {group}

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{LOGIN}}}}}{{eq{{$auth3}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = "Username:: : Password::"
  server_condition = ${{if and{{{{eq{{$auth1}}{{{LOGIN}}}}}{{eq{{$auth2}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth1
"#
    )
}
