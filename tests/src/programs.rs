//! The programs under test: built once a test process, from the same profile as the tests, and found beside them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The workspace's folder.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// The program `name`, up to date.
///
/// # Panics
/// When the programs cannot be built: nothing that follows would mean anything.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let path = FOLDER.get_or_init(build).join(name);
    assert!(path.is_file(), "there is no program {}; is it a [[bin]] of a default member?", path.display());
    path
}

/// Puts the programs where everybody can execute them.
///
/// # Panics
/// When they cannot be copied.
pub fn install(folder: &Path) {
    for name in ["hookspool", "hookspool-worker", "hookspool-receiver"] {
        // Not copied by this process: while it has a file open for writing, a child of another test may hold it open.
        let status = Command::new("install").args(["-m", "755"]).arg(program(name)).arg(folder).status();
        assert!(status.is_ok_and(|status| status.success()), "{name} cannot be copied to {}", folder.display());
    }
}

/// Builds the programs in the profile that this test was built in, and names their folder.
fn build() -> PathBuf {
    // target/PROFILE/deps/TEST-HASH, or target/PROFILE/PROGRAM
    let test = env::current_exe().unwrap_or_else(|error| panic!("this test does not know its own path: {error}"));
    let Some(folder) = test.ancestors().skip(1).find(|folder| !folder.ends_with("deps")) else {
        panic!("{} lies in no target folder", test.display())
    };
    let release = folder.ends_with("release");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--bins"]).args(release.then_some("--release")).current_dir(workspace());
    if let Some(target) = folder.parent() {
        build.env("CARGO_TARGET_DIR", target);
    }
    let status = build.status().unwrap_or_else(|error| panic!("cargo cannot be started: {error}"));
    assert!(status.success(), "the programs do not build");
    folder.to_owned()
}
