//! A real Docker registry: Debian's `docker-registry` on a free loopback port, which tells a webhook of what happens.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::curl::curl;

const PROGRAM: &str = "/usr/bin/docker-registry";
const PATIENCE: Duration = Duration::from_secs(20);
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The digest of `{}` (FIPS 180-4), which is an image's configuration here.
const EMPTY_CONFIG: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// The registry. It ends with this value.
#[derive(Debug)]
pub struct Registry {
    folder: tempfile::TempDir,
    port: u16,
    daemon: Child,
}

impl Registry {
    /// Starts a registry that posts its notifications to `url` with this `Authorization`, or says that there is none.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(url: &str, authorization: &str) -> anyhow::Result<Option<Self>> {
        if !Path::new(PROGRAM).exists() {
            println!("SKIPPED: docker-registry is not installed");
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let config = folder.path().join("config.yml");
        fs::write(&config, configuration(folder.path(), port, url, authorization))?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let daemon = command.spawn().context("cannot start docker-registry")?;
        let mut registry = Self { folder, port, daemon };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = registry.daemon.try_wait()?;
            ensure!(ended.is_none() && Instant::now() < deadline, "docker-registry does not listen:\n{}", registry.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Some(registry))
    }

    /// Pushes an image without layers; the digest of its manifest.
    pub fn push(&self, name: &str, tag: &str) -> String {
        let place = curl(&["--request", "POST", &self.url(&format!("{name}/blobs/uploads/"))], b"");
        assert_eq!(place.status, 202, "{}\n{}", place.head, self.log());
        let place = place.header("location").expect("an upload has a place").trim().to_owned();
        let put = ["--request", "PUT", "--data-binary", "@-", "--header"];
        let upload = format!("{place}&digest={EMPTY_CONFIG}");
        let blob = curl(&[&put[..], &["Content-Type: application/octet-stream", &upload]].concat(), b"{}");
        assert_eq!(blob.status, 201, "{}\n{}", blob.body, self.log());
        let config = format!(r#"{{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"{EMPTY_CONFIG}"}}"#);
        let manifest = format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[]}}"#);
        let content_type = format!("Content-Type: {MANIFEST}");
        let place = self.url(&format!("{name}/manifests/{tag}"));
        let answer = curl(&[&put[..], &[&content_type, &place]].concat(), manifest.as_bytes());
        assert_eq!(answer.status, 201, "{}\n{}", answer.body, self.log());
        answer.header("docker-content-digest").expect("a manifest has a digest").trim().to_owned()
    }

    /// Fetches an image's manifest, as somebody who pulls it.
    pub fn pull(&self, name: &str, tag: &str) {
        let answer = curl(&["--header", &format!("Accept: {MANIFEST}"), &self.url(&format!("{name}/manifests/{tag}"))], b"");
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// What it wrote down.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn url(&self, rest: &str) -> String {
        format!("http://127.0.0.1:{}/v2/{rest}", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Not reaped yet, so the number is still its own.
        let _ = i32::try_from(self.daemon.id()).map(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL));
        let _ = self.daemon.wait();
    }
}

/// See docs.docker.com, "Configuring a registry" and "Work with notifications".
fn configuration(folder: &Path, port: u16, url: &str, authorization: &str) -> String {
    let folder = folder.display();
    format!(
        "version: 0.1\n\
         log: {{ level: warn }}\n\
         storage: {{ filesystem: {{ rootdirectory: {folder}/data }} }}\n\
         http: {{ addr: '127.0.0.1:{port}', secret: of-the-tests }}\n\
         notifications:\n\
         \x20 endpoints:\n\
         \x20   - name: hookspool\n\
         \x20     url: {url}\n\
         \x20     headers: {{ Authorization: ['{authorization}'] }}\n\
         \x20     timeout: 5s\n\
         \x20     threshold: 1\n\
         \x20     backoff: 100ms\n"
    )
}
