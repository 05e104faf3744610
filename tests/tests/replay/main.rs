//! What came in, seen again and run again, as the operator would: `hookspool deliveries` and `hookspool replay`.

mod seeing; // what came in
mod replaying; // and again
mod rehearsing; // under another configuration
mod hostile; // an inbox that somebody else wrote to

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use hookspool_tests::programs::program;
use hookspool_tests::server::{Delivery, Server, is_root};
use nix::unistd::User;

const JOBS: &str = "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\", branch = \"master\" }]\nbuild = \"echo ran >>$OUT/ran\"\n\
    [[job]]\nname = \"image\"\nwhen = [{ event = \"tag\", tag = \"v*\" }]\nbuild = \"true\"\n";

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A server that has run a push to `master`, was told of one that nothing is to run for, and of a ping.
fn server() -> (Server, [Delivery; 2]) {
    let server = Server::new(JOBS);
    let sha = server.laptop.head();
    let pushed = Delivery::push("master", &sha);
    server.deliver_and_settle(&pushed);
    let ignored = Delivery::push("develop", &sha);
    assert_eq!(server.post(&ignored).status, 200);
    server.settle();
    (server, [pushed, ignored])
}

/// The server's configuration, changed, in a folder that the receiver's user cannot enter.
fn changed(server: &Server, name: &str, change: impl Fn(String) -> String) -> PathBuf {
    let folder = server.path().join(name);
    fs::create_dir_all(folder.join("repositories")).expect("a folder can be made");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("its mode can be set");
    for file in ["hookspool.toml", "repositories/shop.toml"] {
        let text = fs::read_to_string(server.path().join(file)).expect("the configuration can be read");
        fs::write(folder.join(file), change(text)).expect("a configuration can be written");
    }
    folder.join("hookspool.toml")
}

/// The operator's program with another configuration than the server's.
fn hookspool(config: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(program("hookspool"));
    command.args(words).arg("--config").arg(config).stdin(Stdio::null()).output().expect("hookspool can be started")
}

/// Whether users cannot be kept apart here; says so.
fn skipped() -> bool {
    if !is_root() {
        println!("SKIPPED: needs root");
    }
    !is_root()
}

fn uid_of(user: &str) -> u32 {
    User::from_name(user).ok().flatten().expect("every Debian has this user").uid.as_raw()
}
