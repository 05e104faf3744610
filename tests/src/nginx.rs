//! A real nginx with TLS on loopback, whose `server` includes the configuration that is shipped, and curl as its client.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::programs::workspace;
use crate::receiver::{Post, SOURCE_PATH};
use crate::server::{is_root, wait_for};

const PROGRAM: &str = "/usr/sbin/nginx";

/// The name in the certificate.
const NAME: &str = "ci.example.org";

/// The server, and the certificate that it made itself.
#[derive(Debug)]
pub struct Nginx {
    folder: tempfile::TempDir,
    port: u16,
    daemon: Child,
}

impl Nginx {
    /// Starts it before `upstream` (`IP:PORT` or `unix:/path`) and waits until it listens; `None` where nginx, openssl or
    /// curl is not installed.
    ///
    /// # Panics
    /// When they are installed and it does not start.
    #[must_use]
    pub fn start(upstream: &str) -> Option<Self> {
        let runs = |program: &str, version: &str| Command::new(program).arg(version).output().is_ok();
        if !Path::new(PROGRAM).exists() || !runs("openssl", "version") || !runs("curl", "--version") {
            println!("SKIPPED: nginx, openssl or curl is not installed");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder can be made");
        make_certificate(folder.path());
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr()).expect("a port is free").port();
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration(folder.path(), port, upstream)).expect("the configuration can be written");
        let mut command = Command::new(PROGRAM);
        command.arg("-c").arg(&file).arg("-e").arg(folder.path().join("error.log"));
        let daemon = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("nginx can be started");
        let server = Self { folder, port, daemon };
        wait_for("nginx to listen", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        Some(server)
    }

    /// Posts a delivery over TLS from one of this machine's own addresses, at most so many bytes a second: the status, and
    /// the body.
    ///
    /// # Panics
    /// When nginx does not answer.
    #[must_use]
    pub fn post_from(&self, source: Ipv4Addr, post: &Post, bytes_a_second: Option<u32>) -> (u16, String) {
        self.post_to(SOURCE_PATH, source, post, bytes_a_second)
    }

    /// The same, to another path.
    ///
    /// # Panics
    /// When nginx does not answer.
    #[must_use]
    pub fn post_to(&self, path: &str, source: Ipv4Addr, post: &Post, bytes_a_second: Option<u32>) -> (u16, String) {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "60", "--write-out", "\n%{http_code}"]);
        command.arg("--cacert").arg(self.folder.path().join("certificate.pem"));
        command.args(["--resolve", &format!("{NAME}:{}:127.0.0.1", self.port), "--interface", &source.to_string()]);
        if let Some(bytes) = bytes_a_second {
            command.args(["--limit-rate", &bytes.to_string()]);
        }
        // Whoever sends what is too large need not wait for a leave to do so.
        command.args(["--header", "expect:"]);
        for (name, value) in post.headers() {
            command.args(["--header", &format!("{name}: {}", String::from_utf8_lossy(value))]);
        }
        command.args(["--data-binary", "@-", &format!("https://{NAME}:{}{path}", self.port)]);
        let mut curl = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("curl can be started");
        // A body that is refused is not read to its end.
        let _ = curl.stdin.take().map(|mut stdin| stdin.write_all(post.body()));
        let output = curl.wait_with_output().expect("curl ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap_or_else(|| panic!("curl said {text:?}; {}", self.log()));
        (status.parse().unwrap_or_else(|_| panic!("curl said {text:?}")), body.to_owned())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It ends its own workers, which SIGKILL would leave behind.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.daemon.id()).unwrap_or(0));
        if pid.as_raw() > 0 {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        }
        let _ = self.daemon.wait();
    }
}

fn make_certificate(folder: &Path) {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &format!("/CN={NAME}")]);
    command.args(["-addext", &format!("subjectAltName=DNS:{NAME}"), "-keyout", "key.pem", "-out", "certificate.pem"]);
    let made = command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(made.is_ok_and(|status| status.success()), "a certificate can be made");
}

fn configuration(folder: &Path, port: u16, upstream: &str) -> String {
    let folder = folder.display();
    let shipped = workspace().join("docs/examples/nginx.conf");
    // The user that the receiver runs as, whose unix socket it is.
    let user = if is_root() { "user nobody nogroup;" } else { "" };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = temporary.iter().map(|name| format!("{name}_temp_path {folder}/{name};\n")).collect();
    format!(
        "{user}\ndaemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\
         upstream hookspool {{ server {upstream}; }}\n\
         server {{\nlisten 127.0.0.1:{port} ssl;\nserver_name {NAME};\n\
         ssl_certificate {folder}/certificate.pem;\nssl_certificate_key {folder}/key.pem;\ninclude {};\n}}\n}}\n",
        shipped.display()
    )
}
