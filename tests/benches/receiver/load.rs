//! The load: keep-alive connections with one request under way on each.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hookspool_tests::receiver::{Connection, DEADLINE};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What a round of requests took.
pub(crate) struct Load {
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Sends every request once, on `connections` that are kept alive; every answer must have `status`.
///
/// Two threads look after the connections, so that the load takes little of the processor that it measures.
pub(crate) fn load(address: &str, requests: &[Vec<u8>], connections: usize, status: u16) -> Result<Load> {
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
