//! How many runs of a job that does nothing are over in a second, with one slot and with two: each with its own runner, its
//! own checkout, journal and log, all of it on disk. Beside it, in turn: the bare start of the same program, the least that
//! git has to do for a checkout, and task-spooler, which keeps nothing and checks nothing out.
//!
//! `cargo bench -p hookspool-tests --bench runs [-- RUNS ROUNDS]`. Absolute figures drift with the machine; the ratios of
//! one run hold.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use hookspool_tests::server::{Delivery, Server, Setup};

const JOB: &str = "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\nbuild = { argv = [\"/bin/true\"] }\nnotify = { on = \"failure\" }\n";

fn quietly(command: &mut Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.as_ref().is_ok_and(|status| status.success()), "{command:?}: {status:?}");
}

/// How often in a second `work` can be done by so many at once.
fn rate(count: usize, at_once: usize, work: impl Fn(usize) + Sync) -> f64 {
    let (started, work) = (Instant::now(), &work);
    std::thread::scope(|scope| {
        for worker in 0..at_once {
            scope.spawn(move || (worker..count).step_by(at_once).for_each(work));
        }
    });
    count as f64 / started.elapsed().as_secs_f64()
}

fn start_and_end(count: usize, slots: usize) -> f64 {
    rate(count, slots, |_| quietly(&mut Command::new("/bin/true")))
}

/// A clone of the commit from a mirror on the same disk.
fn git_alone(server: &Server, count: usize, slots: usize) -> f64 {
    let mirror = server.state("repos/github.com/octo/shop.git");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    rate(count, slots, |number| {
        let target = folder.path().join(number.to_string());
        let mut fetch = Command::new("git");
        quietly(
            fetch.arg("-C").arg(&mirror).args(["fetch", "--quiet"]).arg(server.laptop.forge()).arg("+refs/heads/*:refs/heads/*"),
        );
        quietly(Command::new("git").args(["clone", "--quiet", "--branch", "master"]).arg(&mirror).arg(target));
    })
}

fn ours(server: &Server, count: usize) -> f64 {
    let sha = server.laptop.head();
    // There is none before the first pass.
    server.run_pass();
    let ledger = rusqlite::Connection::open(server.state("ledger.db")).expect("the ledger can be opened");
    let before: i64 = ledger.query_row("SELECT coalesce(max(id), 0) FROM run", [], |row| row.get(0)).expect("it can be asked");
    (0..count).for_each(|number| drop(server.deliver(&Delivery::push(&format!("b{number}"), &sha))));
    server.run_pass();
    let over = || -> (i64, Option<i64>, Option<i64>) {
        let sql = "SELECT count(*), min(started_at), max(ended_at) FROM run WHERE state = 'succeeded' AND id > ?1";
        ledger.query_row(sql, [before], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("runs can be counted")
    };
    let deadline = Instant::now() + std::time::Duration::from_secs(300);
    loop {
        let (ended, first, last) = over();
        if ended == count as i64 {
            let took = last.unwrap_or_default() - first.unwrap_or_default();
            return count as f64 * 1000.0 / took as f64;
        }
        assert!(Instant::now() < deadline, "{ended} of {count} runs are over\n{}", server.worker_log());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// task-spooler, where it is installed.
fn task_spooler(count: usize, slots: usize) -> Option<f64> {
    let folder = tempfile::tempdir().ok()?;
    let socket = folder.path().join("socket");
    let tsp = |words: &[&str]| {
        let mut command = Command::new("tsp");
        command.args(words).env("TS_SOCKET", &socket).env("TMPDIR", folder.path()).env("TS_MAXFINISHED", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    if !tsp(&["-S", &slots.to_string()]).status().ok()?.success() {
        return None;
    }
    let started = Instant::now();
    (0..count).for_each(|_| quietly(&mut tsp(&["-n", "/bin/true"])));
    quietly(&mut tsp(&["-w"]));
    let rate = count as f64 / started.elapsed().as_secs_f64();
    let _ = tsp(&["-K"]).status();
    Some(rate)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse::<usize>().ok());
    let (count, rounds) = (numbers.next().unwrap_or(60), numbers.next().unwrap_or(3));
    for slots in [1, 2] {
        let server = Server::with(Setup { jobs: JOB, slots, ..Setup::default() });
        let refs: Vec<String> = (0..count).map(|number| format!("HEAD:refs/heads/b{number}")).collect();
        let words: Vec<&str> = ["push", "--quiet", "origin"].into_iter().chain(refs.iter().map(String::as_str)).collect();
        server.laptop.git(&words);
        let slots = slots as usize;
        assert!(Path::new("/bin/true").exists());
        let (mut runs, mut starts, mut gits, mut spooled) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            runs.push(ours(&server, count));
            starts.push(start_and_end(count * 5, slots));
            gits.push(git_alone(&server, count, slots));
            spooled.extend(task_spooler(count * 5, slots));
        }
        let (runs, starts, gits, spooled) = (median(runs), median(starts), median(gits), median(spooled));
        println!("{slots} slots: runs {runs:8.1}/s");
        println!("         git fetch and clone alone {gits:8.1}/s   ours {:.2} of it", runs / gits);
        println!("         /bin/true started and ended {starts:8.1}/s   ours {:.3} of it (aim 0.35)", runs / starts);
        println!("         task-spooler {spooled:8.1}/s   ours {:.3} of it (aim 0.9)", runs / spooled);
    }
}
