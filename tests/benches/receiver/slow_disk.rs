//! A disk whose every sync takes two milliseconds longer, modelled by a library that is loaded before libc.

use std::path::PathBuf;
use std::process::Command;

use hookspool_tests::programs::workspace;

const SLOWER_BY_MICROS: &str = "2000";

pub(crate) struct SlowDisk(PathBuf);

impl SlowDisk {
    /// Builds the library; none, and the reason printed, where its source or a compiler is absent.
    pub(crate) fn build() -> Option<Self> {
        let source = workspace().join("../shared/bench/slowsync.c");
        if !source.exists() {
            println!("skipped: no slow disk, as {} is absent", source.display());
            return None;
        }
        // Where every user can read it.
        let library = std::env::temp_dir().join("hookspool-slowsync.so");
        let built = Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl").status();
        if !built.is_ok_and(|status| status.success()) {
            println!("skipped: no slow disk, as cc cannot build {}", source.display());
            return None;
        }
        Some(Self(library))
    }

    pub(crate) fn slow_down(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.0).env("SLOW_SYNC_US", SLOWER_BY_MICROS);
    }
}
