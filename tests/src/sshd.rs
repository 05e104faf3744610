//! A real sshd on loopback, for one key, as whoever runs the tests.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::server::{is_root, wait_for};

const PROGRAM: &str = "/usr/sbin/sshd";

/// The server, its host key, and the one key that may come in.
#[derive(Debug)]
pub struct Sshd {
    folder: tempfile::TempDir,
    port: u16,
    daemon: Child,
}

impl Sshd {
    /// Starts it and waits until it greets; `None` where sshd is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            println!("SKIPPED: sshd is not installed");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder can be made");
        for key in ["host", "client", "stranger"] {
            make_key(&folder.path().join(key));
        }
        if is_root() {
            // Debian's service makes it; sshd wants it when it is root.
            fs::create_dir_all("/run/sshd").expect("sshd's own folder can be made");
        }
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr()).expect("a port is free").port();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let settings = [
            format!("HostKey={}", at("host")),
            format!("AuthorizedKeysFile={}", at("client.pub")),
            "ListenAddress=127.0.0.1".to_owned(),
            "PidFile=none".to_owned(),
            "UsePAM=no".to_owned(),
            // The keys lie in a temporary folder, which others may write to.
            "StrictModes=no".to_owned(),
            "PasswordAuthentication=no".to_owned(),
            "PermitRootLogin=prohibit-password".to_owned(),
        ];
        let mut command = Command::new(PROGRAM);
        command.args(["-D", "-e", "-f", "/dev/null", "-p", &port.to_string()]);
        for setting in &settings {
            command.args(["-o", setting]);
        }
        let log = fs::File::create(folder.path().join("log")).expect("a log can be made");
        let daemon = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("sshd can be started");
        let server = Self { folder, port, daemon };
        wait_for("sshd to greet", || {
            let mut greeting = [0; 4];
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?.read_exact(&mut greeting).ok()?;
            (&greeting == b"SSH-").then_some(())
        });
        Some(server)
    }

    /// The ssh URL of a folder of this machine.
    #[must_use]
    pub fn url(&self, folder: &Path) -> String {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().expect("whoever this is has a name");
        format!("ssh://{}@127.0.0.1:{}{}", user.name, self.port, folder.display())
    }

    /// The line of `known_hosts` that pins its host key.
    #[must_use]
    pub fn known_hosts(&self) -> String {
        format!("[127.0.0.1]:{} {}", self.port, self.read("host.pub"))
    }

    /// The private key that it lets in.
    #[must_use]
    pub fn key(&self) -> String {
        self.read("client")
    }

    /// A private key that it does not know.
    #[must_use]
    pub fn strangers_key(&self) -> String {
        self.read("stranger")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).expect("a key can be read")
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn make_key(path: &PathBuf) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(path).status();
    assert!(made.is_ok_and(|status| status.success()), "ssh-keygen cannot make {}", path.display());
}
