//! Deliveries a second of the real receiver, against what its disk allows and against a peer, in one run.
//!
//! Absolute figures drift from hour to hour, so everything is run in turn, several rounds, and printed as medians and
//! ratios. The bodies are 10 KiB GitHub pushes that all differ, signed before the clock starts; the delivery ids are
//! in no order. Whatever was answered 202 is counted in the inbox afterwards.
//!
//! `cargo bench -p hookspool-tests --bench receiver` builds the release programs first, and takes about a minute.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hookspool_common::clock;
use hookspool_common::inbox::{Entry, INBOX_FILE, Inbox, SqliteInbox};
use hookspool_common::names::DeliveryId;
use hookspool_common::record::Answer;
use hookspool_tests::receiver::{Connection, DEADLINE, Installation, Post, secret, until};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

const ROUNDS: u64 = 5;
const CONNECTIONS: usize = 32;
/// Deliveries in a round of the receiver and of the bare inbox.
const DELIVERIES: usize = 12_000;
/// Deliveries in a round with a single connection.
const SINGLE_DELIVERIES: usize = 3_000;
/// Deliveries in a round of the peer, which is slower.
const PEER_DELIVERIES: usize = 3_000;
const BODY_BYTES: usize = 10 * 1024;
/// How long the disk alone is measured in a round.
const DISK_TIME: Duration = Duration::from_millis(500);

/// Numbers that look like chance, always the same ones (splitmix64).
fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A push of three commits as GitHub tells it, filled up to [`BODY_BYTES`] with what Hookspool does not look at.
fn body(number: u64) -> String {
    let sha = |part: u64| format!("{:016x}{:016x}{:08x}", scattered(number * 7 + part), scattered(number * 7 + part + 1), part);
    let person = r#"{"name":"Ada Example","email":"ada@example.org","username":"ada"}"#;
    let commit = |part: u64| {
        format!(
            r#"{{"id":"{}","tree_id":"{}","distinct":true,"message":"Change number {part} of {number}\n\nBecause it had to be.","timestamp":"2026-03-01T12:00:00Z","url":"https://github.com/owner/project/commit/{}","author":{person},"committer":{person},"added":["src/new_{part}.rs"],"removed":[],"modified":["README.md","src/lib.rs"]}}"#,
            sha(part),
            sha(part + 1),
            sha(part)
        )
    };
    let commits = [commit(1), commit(2), commit(3)];
    let mut text = format!(
        r#"{{"ref":"refs/heads/master","before":"{}","after":"{}","created":false,"deleted":false,"forced":false,"repository":{{"id":{number},"full_name":"owner/project","html_url":"https://github.com/owner/project","clone_url":"https://github.com/owner/project.git","default_branch":"master"}},"pusher":{{"name":"ada","email":"ada@example.org"}},"sender":{{"login":"ada","id":1}},"commits":[{}],"head_commit":{},"more":{{"#,
        sha(0),
        sha(3),
        commits.join(","),
        commits[2]
    );
    for key in 0.. {
        let pair = format!(
            r#""key_{key}_url":"https://api.github.com/repos/owner/project/key_{key}{{/{:x}}}","#,
            scattered(number + key)
        );
        if text.len() + pair.len() + 10 > BODY_BYTES {
            break;
        }
        text.push_str(&pair);
    }
    text.push_str(r#""end":0}}"#);
    text
}

/// Signed requests whose ids and bodies no other round has.
fn requests(round: u64, count: usize) -> Vec<Vec<u8>> {
    let request = |number: u64| {
        let id = format!("{:016x}-{:016x}", scattered(number), scattered(number ^ 0xffff_ffff));
        Post::signed("push", &id, body(number)).bytes()
    };
    (0..count as u64).map(|number| request(round * 10_000_000 + number)).collect()
}

/// What a round of requests took.
struct Load {
    rate: f64,
    p50: f64,
    p99: f64,
}

/// Sends every request once, on `connections` that are kept alive; every answer must have `status`.
///
/// Two threads look after the connections, so that the load takes little of the processor that it measures.
fn load(address: &str, requests: &[Vec<u8>], connections: usize, status: u16) -> Result<Load> {
    let next = AtomicUsize::new(0);
    let open = |count: usize| (0..count).map(|_| Connection::open(address)).collect::<io::Result<Vec<_>>>();
    let shares = [open(connections.div_ceil(2))?, open(connections / 2)?];
    let started = Instant::now();
    let mut times = thread::scope(|scope| {
        let work = |share| attend(share, requests, &next, status);
        let threads = shares.map(|share| scope.spawn(move || work(share)));
        let mut all = Vec::with_capacity(requests.len());
        for thread in threads {
            all.extend(thread.join().map_err(|_| anyhow::anyhow!("a thread of the load panicked"))??);
        }
        Ok::<_, anyhow::Error>(all)
    })?;
    let took = started.elapsed().as_secs_f64();
    ensure!(times.len() == requests.len(), "{} answers to {} requests", times.len(), requests.len());
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    Ok(Load { rate: requests.len() as f64 / took, p50: at(50), p99: at(99) })
}

/// Keeps one request under way on each connection until there are none left; how long each took.
fn attend(mut open: Vec<Connection>, requests: &[Vec<u8>], next: &AtomicUsize, status: u16) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    let send = |connection: &mut Connection| -> Result<Option<Instant>> {
        let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) else { return Ok(None) };
        let sent = Instant::now();
        connection.send(request)?;
        Ok(Some(sent))
    };
    let mut sent = open.iter_mut().map(send).collect::<Result<Vec<_>>>()?;
    while sent.iter().any(Option::is_some) {
        let mut waiting: Vec<PollFd<'_>> = open.iter().map(|open| PollFd::new(open.as_fd(), PollFlags::POLLIN)).collect();
        ensure!(poll(&mut waiting, PollTimeout::try_from(DEADLINE)?)? > 0, "no answer for {DEADLINE:?}");
        let answered: Vec<bool> = waiting.iter().map(|waiting| waiting.any() == Some(true)).collect();
        for (number, connection) in open.iter_mut().enumerate().filter(|(number, _)| answered[*number]) {
            let answer = connection.answer()?;
            ensure!(answer.status == status, "an answer of {}: {}", answer.status, answer.body);
            times.extend(sent[number].map(|sent| sent.elapsed()));
            sent[number] = send(connection)?;
        }
    }
    Ok(times)
}

/// What the kernel says of a process: a line of /proc/PID/status in MiB.
fn memory(pid: u32, key: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).context("no such line")?;
    Ok(line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<f64>()? / 1024.0)
}

/// CPU time that a process has used, with the children that it has waited for, in seconds.
fn cpu(pid: u32) -> Result<f64> {
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("a stat without a name")?;
    let ticks = fields.split(' ').skip(11).take(4).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / TICKS_A_SECOND)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What all rounds of one thing gave.
#[derive(Default)]
struct Rounds {
    rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    cpu_micros: Vec<f64>,
    idle: Vec<f64>,
    peak: Vec<f64>,
}

impl Rounds {
    fn add(&mut self, load: &Load, cpu: f64, requests: usize) {
        self.rate.push(load.rate);
        self.p50.push(load.p50);
        self.p99.push(load.p99);
        self.cpu_micros.push(cpu * 1e6 / requests as f64);
    }

    fn rate(&self) -> f64 {
        median(self.rate.clone())
    }

    fn print(&self, name: &str) {
        let [p50, p99, cpu] = [&self.p50, &self.p99, &self.cpu_micros].map(|values| median(values.clone()));
        let [idle, peak] = [&self.idle, &self.peak].map(|values| median(values.clone()));
        let rate = self.rate();
        println!("{name:44} {rate:>8.0}/s  p50 {p50:6.2} ms  p99 {p99:6.2} ms  cpu {cpu:4.0} µs  rss {idle:.1} → {peak:.1} MiB");
    }
}

/// One round of the receiver with a fresh inbox; leaves the rows in `kept` for the bare inbox.
fn receiver_round(round: u64, connections: usize, count: usize, rounds: &mut Rounds) -> Result<Vec<Entry>> {
    let requests = requests(round, count);
    let installation = Installation::new()?;
    let receiver = installation.start()?;
    rounds.idle.push(memory(receiver.pid(), "VmRSS")?);
    let before = cpu(receiver.pid())?;
    let load = load(receiver.address(), &requests, connections, 202)?;
    rounds.add(&load, cpu(receiver.pid())? - before, count);
    rounds.peak.push(memory(receiver.pid(), "VmHWM")?);
    receiver.stop()?;
    let entries = stored_entries(&installation.spool().join(INBOX_FILE))?;
    ensure!(entries.len() == count, "{count} deliveries were answered 202 and {} are stored", entries.len());
    Ok(entries)
}

/// The very rows that the receiver wrote, to be written again without it.
fn stored_entries(inbox: &Path) -> Result<Vec<Entry>> {
    let connection = rusqlite::Connection::open(inbox)?;
    let mut keys = connection.prepare("SELECT key FROM seen WHERE seq = ?1")?;
    let mut rows = connection.prepare(
        "SELECT seq, provider_id, received_at, proposals, headers, zstd FROM delivery JOIN body USING (seq) ORDER BY seq",
    )?;
    let mut rows = rows.query([])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let seen_keys = keys.query_map([row.get::<_, i64>(0)?], |row| row.get(0))?.collect::<Result<_, _>>()?;
        entries.push(Entry {
            id: DeliveryId::generate(),
            source: "github".parse()?,
            provider_id: row.get(1)?,
            received_at: clock::Instant::from_millis(row.get(2)?),
            answer: Answer::Accepted,
            reason: None,
            proposals: row.get(3)?,
            seen_keys,
            headers: row.get(4)?,
            body: row.get(5)?,
        });
    }
    Ok(entries)
}

/// Rows a second when nothing but the inbox works, in transactions of `batch` rows.
fn bare_round(entries: &[Entry], batch: usize) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let mut inbox = SqliteInbox::open(&folder.path().join(INBOX_FILE))?;
    let started = Instant::now();
    for batch in entries.chunks(batch) {
        inbox.deliver(batch)?;
    }
    Ok(entries.len() as f64 / started.elapsed().as_secs_f64())
}

/// 12 KiB overwritten and synced, times a second.
fn disk_round() -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let file = File::create(folder.path().join("file"))?;
    let block = vec![7; 12 * 1024];
    file.write_all_at(&block, 0)?;
    file.sync_all()?;
    let (started, mut times) = (Instant::now(), 0);
    while started.elapsed() < DISK_TIME {
        file.write_all_at(&block, 0)?;
        file.sync_data()?;
        times += 1;
    }
    Ok(f64::from(times) / started.elapsed().as_secs_f64())
}

/// A program of others; dropped, it is killed.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One round of adnanh/webhook, which checks the same signature and starts `/bin/true`.
fn webhook_round(round: u64, rounds: &mut Rounds) -> Result<()> {
    let requests = requests(round, PEER_DELIVERIES);
    let folder = tempfile::tempdir()?;
    let hooks = folder.path().join("hooks.json");
    let secret = String::from_utf8(secret().bytes().to_vec())?;
    let rule = serde_json::json!([{
        "id": "github",
        "execute-command": "/bin/true",
        "trigger-rule": {"match": {
            "type": "payload-hmac-sha256",
            "secret": secret,
            "parameter": {"source": "header", "name": "X-Hub-Signature-256"},
        }},
    }]);
    fs::write(&hooks, rule.to_string())?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let mut command = Command::new("webhook");
    command.args(["-ip", "127.0.0.1", "-port", &port, "-hooks"]).arg(&hooks).stdout(Stdio::null()).stderr(Stdio::null());
    let peer = Peer(command.spawn()?);
    let address = format!("127.0.0.1:{port}");
    until("webhook listens", || Ok(Connection::open(&address).ok()))?;
    rounds.idle.push(memory(peer.0.id(), "VmRSS")?);
    let before = cpu(peer.0.id())?;
    let load = load(&address, &requests, CONNECTIONS, 200)?;
    rounds.add(&load, cpu(peer.0.id())? - before, requests.len());
    rounds.peak.push(memory(peer.0.id(), "VmHWM")?);
    Ok(())
}

fn main() -> Result<()> {
    let has_peer = Command::new("webhook").arg("-version").stdout(Stdio::null()).status().is_ok();
    let (mut many, mut single, mut peer) = (Rounds::default(), Rounds::default(), Rounds::default());
    let (mut bare, mut bare_single, mut disk) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        eprintln!("round {} of {ROUNDS}", round + 1);
        disk.push(disk_round()?);
        let entries = receiver_round(4 * round, CONNECTIONS, DELIVERIES, &mut many)?;
        bare.push(bare_round(&entries, CONNECTIONS)?);
        let entries = receiver_round(4 * round + 1, 1, SINGLE_DELIVERIES, &mut single)?;
        bare_single.push(bare_round(&entries, 1)?);
        if has_peer {
            webhook_round(4 * round + 2, &mut peer)?;
        }
    }
    let (bare, bare_single, disk) = (median(bare), median(bare_single), median(disk));
    println!("10 KiB pushes that differ, medians of {ROUNDS} rounds; every 202 was found in the inbox");
    println!("{:44} {disk:>8.0}/s", "F: 12 KiB overwritten and synced");
    println!("{:44} {bare:>8.0}/s", "bare inbox, 32 rows a transaction");
    println!("{:44} {bare_single:>8.0}/s", "bare inbox, 1 row a transaction");
    many.print("receiver, 32 connections");
    single.print("receiver, 1 connection");
    if has_peer {
        peer.print("adnanh/webhook with /bin/true, 32 connections");
    } else {
        println!("skipped: webhook is not installed");
    }
    println!("receiver at 32 / bare inbox:       {:.2} (aim: 0.5 at least, 0.75 later)", many.rate() / bare);
    println!("receiver at 32 / F:                {:.2} (aim: 1.05)", many.rate() / disk);
    println!("receiver at 1 / F:                 {:.2} (aim: 0.25)", single.rate() / disk);
    if has_peer {
        println!("receiver at 32 / adnanh/webhook:   {:.2} (aim: 3 at least, 3.5 later)", many.rate() / peer.rate());
    }
    Ok(())
}
