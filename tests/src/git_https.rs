//! A real web server with TLS that serves git repositories to whoever knows the token: nginx, fcgiwrap and git's own
//! http-backend. What came with each request can be asked afterwards.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::server::{is_root, wait_for};

const NGINX: &str = "/usr/sbin/nginx";
const FCGIWRAP: &str = "/usr/sbin/fcgiwrap";
const BACKEND: &str = "/usr/lib/git-core/git-http-backend";

/// The token that opens the repositories.
pub const TOKEN: &str = "open-sesame-4711";

/// The servers.
#[derive(Debug)]
pub struct GitHttps {
    folder: tempfile::TempDir,
    port: u16,
    other_port: u16,
    daemons: Vec<Child>,
}

impl GitHttps {
    /// Serves the repositories below `root`; `None` where something is not installed.
    ///
    /// # Panics
    /// When all is installed and it does not start.
    #[must_use]
    pub fn start(root: &Path) -> Option<Self> {
        if ![NGINX, FCGIWRAP, BACKEND].iter().all(|program| Path::new(program).exists()) {
            println!("SKIPPED: nginx, fcgiwrap or git's http-backend is not installed");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder can be made");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its mode can be set");
        make_certificate(folder.path());
        fs::write(folder.path().join("users"), format!("x-access-token:{{PLAIN}}{TOKEN}\n")).expect("the users can be written");
        let sockets = [(), ()].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free"));
        let [port, other_port] = sockets.map(|socket| socket.local_addr().expect("it has an address").port());
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration(folder.path(), root, port, other_port)).expect("the configuration can be written");
        let start = |command: &mut Command| {
            let log = fs::File::create(folder.path().join("daemon.log")).expect("a log can be made");
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("a daemon can be started")
        };
        let socket = format!("unix:{}", folder.path().join("fcgi").display());
        let backend = start(Command::new(FCGIWRAP).arg("-s").arg(socket));
        let nginx = start(Command::new(NGINX).arg("-c").arg(&file).arg("-e").arg(folder.path().join("error.log")));
        let server = Self { port, other_port, daemons: vec![nginx, backend], folder };
        wait_for("nginx to listen", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        wait_for("fcgiwrap to listen", || server.folder.path().join("fcgi").exists().then_some(()));
        Some(server)
    }

    /// The address of a repository; it wants the token.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.port)
    }

    /// The same repository under an address that sends whoever asks to another host, which wants a token too.
    #[must_use]
    pub fn moved_url(&self, path: &str) -> String {
        format!("https://localhost:{}/moved/{path}", self.port)
    }

    /// The same repository on the other host.
    #[must_use]
    pub fn other_url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}/{path}", self.other_port)
    }

    /// The authority that vouches for it.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// The requests so far: `PORT STATUS PATH AUTHORIZATION`.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// Of these, those to the other host.
    #[must_use]
    pub fn requests_elsewhere(&self) -> Vec<String> {
        let port = format!("{} ", self.other_port);
        self.requests().into_iter().filter(|line| line.starts_with(&port)).collect()
    }
}

impl Drop for GitHttps {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            // nginx ends its own workers, which SIGKILL would leave behind.
            let pid = nix::unistd::Pid::from_raw(i32::try_from(daemon.id()).unwrap_or(0));
            if pid.as_raw() > 0 {
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            }
            let _ = daemon.wait();
        }
    }
}

fn make_certificate(folder: &Path) {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]);
    command.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "key.pem", "-out", "certificate.pem"]);
    let made = command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(made.is_ok_and(|status| status.success()), "a certificate can be made");
}

fn configuration(folder: &Path, root: &Path, port: u16, other_port: u16) -> String {
    let (folder, root) = (folder.display(), root.display());
    // The repositories belong to whoever runs the tests.
    let user = if is_root() { "user root;" } else { "" };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = temporary.iter().map(|name| format!("{name}_temp_path {folder}/{name};\n")).collect();
    let server = |port: u16| {
        format!(
            "server {{\nlisten 127.0.0.1:{port} ssl;\nssl_certificate {folder}/certificate.pem;\nssl_certificate_key {folder}/key.pem;\n\
             location /moved/ {{ rewrite ^/moved/(.*)$ https://127.0.0.1:{other_port}/$1 redirect; }}\n\
             location /public/ {{ auth_basic off; {} }}\n\
             location / {{ auth_basic git; auth_basic_user_file {folder}/users; {} }}\n}}\n",
            backend(&folder.to_string(), &root.to_string()),
            backend(&folder.to_string(), &root.to_string())
        )
    };
    format!(
        "{user}\ndaemon off;\nworker_processes 1;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\nhttp {{\n{temporary}\
         log_format told '$server_port $status $request_uri [$http_authorization]';\naccess_log {folder}/access.log told;\n{}{}}}\n",
        server(port),
        server(other_port)
    )
}

fn backend(folder: &str, root: &str) -> String {
    format!(
        "fastcgi_pass unix:{folder}/fcgi; fastcgi_param SCRIPT_FILENAME {BACKEND}; fastcgi_param GIT_PROJECT_ROOT {root}; \
         fastcgi_param GIT_HTTP_EXPORT_ALL 1; fastcgi_param PATH_INFO $uri; fastcgi_param QUERY_STRING $query_string; \
         fastcgi_param REQUEST_METHOD $request_method; fastcgi_param CONTENT_TYPE $content_type; \
         fastcgi_param CONTENT_LENGTH $content_length; fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding; \
         fastcgi_param REMOTE_USER $remote_user; gzip off;"
    )
}
