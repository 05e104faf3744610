//! Programs of others that take the same requests. Neither keeps anything durably.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use anyhow::Result;
use hookspool_tests::receiver::{Connection, secret, until};

use crate::load::load;
use crate::processes::{cpu, memory};
use crate::pushes::{TOKEN, TOKEN_HEADER, requests};
use crate::rounds::Rounds;

/// A program of others; dropped, it is killed.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn is_there(program: &str) -> bool {
    let there =
        Command::new("sh").args(["-c", &format!("PATH=$PATH:/usr/sbin command -v {program}")]).stdout(Stdio::null()).status();
    let there = there.is_ok_and(|status| status.success());
    if !there {
        println!("skipped: {program} is not installed");
    }
    there
}

fn free_port() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string())
}

fn measure(mut command: Command, port: &str, connections: usize, count: usize, rounds: &mut Rounds) -> Result<()> {
    let requests = requests(count);
    let peer = Peer(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    let address = format!("127.0.0.1:{port}");
    until("the peer listens", || Ok(Connection::open(&address).ok()))?;
    rounds.idle.push(memory(peer.0.id(), "VmRSS")?);
    let before = cpu(peer.0.id())?;
    let load = load(&address, &requests, connections, 200)?;
    rounds.add(&load, cpu(peer.0.id())? - before, count);
    rounds.peak.push(memory(peer.0.id(), "VmHWM")?);
    Ok(())
}

/// adnanh/webhook, which checks the same signature; it starts `/bin/true`, or finds that another rule does not hold.
pub(crate) fn webhook_round(runs: bool, connections: usize, count: usize, rounds: &mut Rounds) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let hooks = folder.path().join("hooks.json");
    let signature = serde_json::json!({"match": {
        "type": "payload-hmac-sha256",
        "secret": String::from_utf8(secret().bytes().to_vec())?,
        "parameter": {"source": "header", "name": "X-Hub-Signature-256"},
    }});
    let never = serde_json::json!({"match": {
        "type": "value", "value": "never", "parameter": {"source": "header", "name": "X-GitHub-Event"},
    }});
    let rule = if runs { signature } else { serde_json::json!({"and": [signature, never]}) };
    let hook = serde_json::json!([{"id": "github", "execute-command": "/bin/true", "trigger-rule": rule}]);
    fs::write(&hooks, hook.to_string())?;
    let port = free_port()?;
    let mut command = Command::new("webhook");
    command.args(["-ip", "127.0.0.1", "-port", &port, "-hooks"]).arg(&hooks);
    measure(command, &port, connections, count, rounds)
}

/// json2file-go, which compares a token and writes each body to a file of its own, unsynced. Gives the share of those it
/// answered 200 that are there afterwards: its files are named after the millisecond.
pub(crate) fn json2file_round(connections: usize, count: usize, rounds: &mut Rounds) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("github"))?;
    let port = free_port()?;
    let mut command = Command::new("/usr/sbin/json2file-go");
    command.env("J2F_BASEDIR", folder.path()).env("J2F_BIND", format!("127.0.0.1:{port}"));
    command.env("J2F_DIRLIST", format!("github:{TOKEN}")).env("J2F_TOKEN_HEADERS", TOKEN_HEADER);
    command.env("J2F_URL_PREFIX", "/hooks/").current_dir(folder.path());
    measure(command, &port, connections, count, rounds)?;
    Ok(fs::read_dir(folder.path().join("github"))?.count() as f64 / count as f64)
}
