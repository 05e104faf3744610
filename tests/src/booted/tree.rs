//! The files of a Debian machine, made once and kept as an archive in `target/booted/`: making it takes half a minute and the
//! network, unpacking it two seconds.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::programs::workspace;

/// The release that machines are made of: the one that the programs under test were built on.
pub const DEBIAN: &str = "bookworm";

/// What is installed in it, beside what every Debian has.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,cron,curl,git,openssl,ca-certificates";

/// An archive of a machine's files.
#[derive(Debug)]
pub struct Tree {
    archive: PathBuf,
}

impl Tree {
    /// The tree for machines on this one, made where it is absent; `None`, and a word on it, where it cannot be.
    ///
    /// # Panics
    /// When it could be made, and cannot.
    #[must_use]
    pub fn of_this_machine() -> Option<Self> {
        let is_there =
            |name: &str| Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
        if let Some(absent) = ["mmdebstrap", "systemd-nspawn", "nsenter"].into_iter().find(|name| !is_there(name)) {
            println!("SKIPPED: {absent} is not installed");
            return None;
        }
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        if !release.contains(&format!("VERSION_CODENAME={DEBIAN}")) {
            println!(
                "SKIPPED: needs Debian {DEBIAN}, as the programs under test are built for the machine that they are built on"
            );
            return None;
        }
        let folder = workspace().join("target/booted");
        fs::create_dir_all(&folder).expect("a folder can be made");
        let archive = folder.join(format!("{DEBIAN}-{}.tar", PACKAGES.replace(',', "-")));
        // Another test may be about to make it.
        let lock = File::create(folder.join("lock")).expect("a file can be made");
        lock.lock().expect("it can be locked");
        if !archive.exists() {
            make(&archive);
        }
        Some(Self { archive })
    }

    /// Unpacks it into a new folder.
    ///
    /// # Panics
    /// When it cannot be unpacked.
    pub fn unpack(&self, folder: &Path) {
        fs::create_dir(folder).expect("a folder can be made");
        let status =
            Command::new("tar").arg("--extract").arg("--file").arg(&self.archive).arg("--directory").arg(folder).status();
        assert!(status.is_ok_and(|status| status.success()), "{} cannot be unpacked", self.archive.display());
    }
}

fn make(archive: &Path) {
    let unfinished = archive.with_extension("new.tar");
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=minbase", "--quiet", &format!("--include={PACKAGES}")]);
    // Nobody reads them there.
    command.arg("--dpkgopt=path-exclude=/usr/share/doc/*").arg("--dpkgopt=path-exclude=/usr/share/locale/*");
    let output = command.arg(DEBIAN).arg(&unfinished).stdin(Stdio::null()).output().expect("mmdebstrap can be started");
    assert!(output.status.success(), "mmdebstrap: {}", String::from_utf8_lossy(&output.stderr));
    fs::rename(&unfinished, archive).expect("a file can be renamed");
}
