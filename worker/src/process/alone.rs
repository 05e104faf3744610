//! A test in a process of its own: a supervisor takes over the signals and the orphans of its process, and a runner in a
//! unit moves to another group.

use std::process::Command;

/// Runs the test `name` again in a process of its own, where `HOOKSPOOL_ALONE` is set; `true` there.
pub(super) fn alone(name: &str) -> bool {
    if std::env::var_os("HOOKSPOOL_ALONE").is_some() {
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let name = format!("process::{name}");
    // The test harness has threads of its own, which would take the signals that a supervisor waits for.
    let words = ["--block-signal=CHLD", "--block-signal=TERM", "--block-signal=INT"];
    let mut command = Command::new("env");
    command.args(words).arg(program).args(["--exact", &name, "--nocapture"]).env("HOOKSPOOL_ALONE", "1");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    false
}
