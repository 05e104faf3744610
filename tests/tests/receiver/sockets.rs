//! Where the receiver listens: addresses of the configuration, and sockets that the real systemd-socket-activate passes.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use hookspool_tests::receiver::{Answer, Connection, Installation, Post, until};
use nix::unistd::{Uid, User};

use crate::skipped;

const GET_METRICS: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";

/// A folder that the receiver may make sockets in.
fn run_folder(installation: &Installation) -> PathBuf {
    let folder = installation.path().join("run");
    fs::create_dir(&folder).unwrap();
    installation.give_to_user(&folder).unwrap();
    folder
}

/// The receiver with passed sockets; killed when this goes.
struct Activated(Child);

impl Drop for Activated {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Starts the receiver as systemd would: at the first connection to one of the sockets, under the same number. `None`
/// where that is not installed.
fn activate(installation: &Installation, sockets: &[&str], names: Option<&str>) -> Option<Activated> {
    let program = "systemd-socket-activate";
    if Command::new(program).arg("--version").stdout(Stdio::null()).status().is_err() {
        skipped("systemd-socket-activate is not installed");
        return None;
    }
    let mut command = Command::new(program);
    for socket in sockets {
        command.arg("--listen").arg(socket.strip_prefix("unix:").unwrap_or(socket));
    }
    command.args(names.map(|names| format!("--fdname={names}")));
    let inner = installation.command().unwrap();
    command.arg(inner.get_program()).args(inner.get_args()).stdout(Stdio::null()).stderr(Stdio::null());
    if Uid::effective().is_root() {
        let user = User::from_name("nobody").unwrap().unwrap();
        std::os::unix::process::CommandExt::uid(&mut command, user.uid.as_raw());
        std::os::unix::process::CommandExt::gid(&mut command, user.gid.as_raw());
    }
    Some(Activated(command.spawn().unwrap()))
}

/// Asks until somebody listens.
fn ask(address: &str, request: &[u8]) -> Answer {
    let answer = until("the socket answers", || {
        let Ok(mut connection) = Connection::open(address) else { return Ok(None) };
        connection.send(request)?;
        Ok(Some(connection.answer()?))
    });
    answer.unwrap()
}

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn it_listens_at_several_addresses_at_once() {
    let installation = Installation::new().unwrap();
    let unix = format!("unix:{}/receiver.sock", run_folder(&installation).display());
    installation.edit_config("\"127.0.0.1:0\"", &format!("[\"127.0.0.1:0\", \"{unix}\"]")).unwrap();
    let receiver = installation.start().unwrap();
    assert_eq!(receiver.next_place("listening").unwrap(), unix);
    assert_eq!(receiver.post(&Post::push("master", 1)).unwrap().status, 202);
    assert_eq!(ask(&unix, &Post::push("master", 2).bytes()).status, 202);
}

#[test]
fn passed_sockets_serve_what_their_names_say_and_win_over_the_configuration() {
    let installation = Installation::new().unwrap();
    // Nobody but root could bind these.
    installation.write_config("127.0.0.1:1", "metrics = \"127.0.0.1:2\"").unwrap();
    let folder = run_folder(&installation);
    let unix = |name: &str| format!("unix:{}/{name}.sock", folder.display());
    let (tcp, local, metrics) = (free_port(), unix("local"), unix("metrics"));
    let Some(_receiver) = activate(&installation, &[&tcp, &metrics, &local], Some("web:metrics:anything")) else { return };
    assert_eq!(ask(&tcp, &Post::push("master", 1).bytes()).status, 202);
    assert_eq!(ask(&local, &Post::push("master", 2).bytes()).status, 202);
    assert!(ask(&metrics, GET_METRICS).body.contains("\nhookspool_deliveries_total{source=\"github\",answer=\"accepted\"} 2\n"));
    assert_eq!(ask(&metrics, &Post::push("master", 3).bytes()).status, 404);
    assert_eq!((ask(&tcp, GET_METRICS).status, ask(&local, GET_METRICS).status), (404, 404));
}

#[test]
fn sockets_without_a_name_take_deliveries() {
    let installation = Installation::new().unwrap();
    installation.write_config("127.0.0.1:1", "").unwrap();
    let folder = run_folder(&installation);
    let sockets = ["one", "two"].map(|name| format!("unix:{}/{name}.sock", folder.display()));
    let Some(_receiver) = activate(&installation, &[&sockets[0], &sockets[1]], None) else { return };
    for (number, socket) in (1..).zip(&sockets) {
        assert_eq!(ask(socket, &Post::push("master", number).bytes()).status, 202);
    }
}

#[test]
fn for_what_no_socket_is_passed_the_configuration_counts() {
    let installation = Installation::new().unwrap();
    let folder = run_folder(&installation);
    let unix = |name: &str| format!("unix:{}/{name}.sock", folder.display());
    let (configured, metrics) = (unix("configured"), unix("metrics"));
    installation.write_config(&configured, "").unwrap();
    let Some(_receiver) = activate(&installation, &[&metrics], Some("metrics")) else { return };
    assert_eq!(ask(&metrics, GET_METRICS).status, 200);
    assert_eq!(ask(&configured, &Post::push("master", 1).bytes()).status, 202);
}
