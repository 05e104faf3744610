//! More connections and bytes than there is room for. Real deliveries come in all the same, and memory has a bound.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hookspool_tests::receiver::{Connection, Installation, Post, RunningReceiver, until};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::skipped;

/// The bound that README.md states, in MiB.
const BOUND_MIB: u64 = 192;

/// The bound for whoever has the secret, and sends a body that is made to take much when it is read.
const SIGNED_BOUND_MIB: u64 = 512;

/// The receiver's places.
const PLACES: usize = 512;

const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n";

/// A connection that sends one byte of a request that never ends whenever it is asked to, and comes back when it is closed.
struct Slow {
    source: Ipv4Addr,
    target: SocketAddr,
    /// What is sent at once, before the single bytes.
    start: Vec<u8>,
    stream: Option<TcpStream>,
}

impl Slow {
    /// Half of them never finish their head, the others their body. A hundred share an address.
    fn new(number: usize, target: SocketAddr) -> Self {
        let start = if number.is_multiple_of(2) {
            b"POST /hooks/github HTTP/1.1\r\nhost: x\r\nx-slow: ".to_vec()
        } else {
            Post::push("master", 1).head(1_000_000)
        };
        let [high, low] = u16::try_from(256 + number / 100).unwrap().to_be_bytes();
        Self { source: Ipv4Addr::new(127, 0, high, low), target, start, stream: None }
    }

    fn open(&self) -> std::io::Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((self.source, 0)).into())?;
        socket.connect(&self.target.into())?;
        let mut stream = TcpStream::from(socket);
        stream.write_all(&self.start)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    /// Sends one byte, on a new connection where the receiver closed the last one.
    fn send_a_byte(&mut self) {
        let is_open = self.stream.as_mut().is_some_and(|stream| {
            let waits = |error: std::io::Error| error.kind() == ErrorKind::WouldBlock;
            stream.read(&mut [0; 512]).map_or_else(waits, |count| count > 0)
                && stream.write_all(b"a").map_or_else(waits, |()| true)
        });
        if !is_open {
            // Between connecting and writing it may be closed again, which is what this is about.
            self.stream = self.open().ok();
        }
    }
}

/// Raises the limit of descriptors to what the flood and the test itself need, or says why it cannot.
fn descriptors_for(connections: usize) -> Result<(), String> {
    let wanted = u64::try_from(connections + 2000).unwrap();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < wanted {
        return Err(format!("{connections} connections need {wanted} descriptors, and the hard limit is {hard}"));
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(wanted), hard).map_err(|error| error.to_string())
}

#[test]
fn ten_thousand_connections_that_send_a_byte_a_second_starve_no_delivery() {
    const CONNECTIONS: usize = 10_000;
    const ROUNDS: usize = 6;
    const FORGES: u64 = 8;
    if let Err(why) = descriptors_for(CONNECTIONS) {
        return skipped(&why);
    }
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    let target = receiver.address().parse().unwrap();
    let (rounds, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let accepted = std::thread::scope(|scope| {
        for half in 0..2 {
            let (rounds, is_over) = (&rounds, &is_over);
            scope.spawn(move || {
                let mut flood: Vec<_> = (0..CONNECTIONS).filter(|n| n % 2 == half).map(|n| Slow::new(n, target)).collect();
                while !is_over.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    flood.iter_mut().for_each(Slow::send_a_byte);
                    rounds.fetch_add(1, Ordering::Relaxed);
                    // A byte a second is what this flood is.
                    std::thread::sleep(Duration::from_secs(1).saturating_sub(began.elapsed()));
                }
            });
        }
        let deliveries: Vec<_> = (0..FORGES)
            .map(|forge| {
                let (receiver, rounds) = (&receiver, &rounds);
                // The first round of each half opens all connections.
                let lasts = move || rounds.load(Ordering::Relaxed) < 2 * ROUNDS;
                let numbers = (1_000_000 * (forge + 1)..).take_while(move |_| lasts());
                scope.spawn(move || numbers.map(|number| receiver.post(&Post::push("master", number))).collect::<Vec<_>>())
            })
            .collect();
        let answers: Vec<_> = deliveries.into_iter().map(|thread| thread.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        let answers: Vec<_> = answers.into_iter().flat_map(Result::unwrap).map(Result::unwrap).collect();
        assert!(answers.iter().all(|answer| answer.status == 202), "{answers:?}");
        answers.len()
    });
    let peak = receiver.peak_mib().unwrap();
    println!("{accepted} deliveries were accepted beside {CONNECTIONS} slow connections; the receiver had {peak} MiB at most");
    assert!(accepted > 0 && installation.records().unwrap().len() == accepted);
    assert!(peak < BOUND_MIB, "{peak} MiB");
    assert!(installation.log().unwrap().contains("all places are taken"));
}

/// As many connections as there are places, each of which was answered once and then sends this.
fn fill(receiver: &RunningReceiver, count: usize, then: &[u8]) -> Vec<Connection> {
    let mut open: Vec<_> = (0..count).map(|_| receiver.connect().unwrap()).collect();
    for connection in &mut open {
        connection.send(HEALTH).unwrap();
        assert_eq!(connection.answer().unwrap().status, 200);
        connection.send(then).unwrap();
    }
    open
}

#[test]
fn a_newcomer_closes_the_connection_that_was_idle_longest_and_no_other() {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    let mut open = fill(&receiver, PLACES, b"");
    // The first asks again, so the second has been idle longest.
    open[0].send(HEALTH).unwrap();
    assert_eq!(open[0].answer().unwrap().status, 200);
    assert_eq!(receiver.post(&Post::push("master", 1)).unwrap().status, 202);
    assert_eq!(open[1].answer().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    open.remove(1);
    for connection in &mut open {
        connection.send(HEALTH).unwrap();
        assert_eq!(connection.answer().unwrap().status, 200);
    }
}

#[test]
fn a_head_that_takes_too_long_is_cut() {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    let mut connection = receiver.connect().unwrap();
    connection.send(b"POST /hooks/github HTTP/1.1\r\nhost: x\r\n").unwrap();
    assert_eq!(connection.answer().unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

/// A signed push of this size that does not compress, but for the last byte.
fn large_push(number: u64, bytes: usize) -> (Vec<u8>, Vec<u8>) {
    let small = String::from_utf8(Post::push("master", number).bytes()).unwrap();
    let (_, body) = small.split_once("\r\n\r\n").unwrap();
    let rest = bytes - body.len() - r#""noise":"","#.len();
    // It repeats farther away than zstd looks back.
    let mut noise = crate::noise(number, 1024 * 1024).repeat(30);
    noise.truncate(rest);
    let body = body.replacen('{', &format!(r#"{{"noise":"{noise}","#), 1);
    let mut bytes = Post::signed("push", &format!("large-{number}"), body).bytes();
    let last = bytes.split_off(bytes.len() - 1);
    (bytes, last)
}

/// Waits until there is no memory for a body that is larger than ordinary ones.
fn wait_until_full(receiver: &RunningReceiver) {
    let (mut bytes, last) = large_push(3, 100 * 1024);
    bytes.extend(last);
    let is_full = || Ok((receiver.ask(&bytes)?.text("status") == "busy").then_some(()));
    until("the memory for large bodies is full", is_full).unwrap();
}

#[test]
fn four_connections_that_hold_the_largest_bodies_turn_no_ordinary_delivery_away() {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    // Nothing has to be right about them but the form of the signature. The first two have all that large bodies share.
    let forged = Post::push("master", 666);
    let most = 25 * 1024 * 1024;
    let unfinished = [(most, most - 1), (7296 * 1024, 7296 * 1024 - 1), (most, 60 * 1024), (most, 60 * 1024)];
    let mut holding: Vec<_> = unfinished.iter().map(|_| receiver.connect().unwrap()).collect();
    for (connection, (announced, sent)) in holding.iter_mut().zip(unfinished) {
        connection.send(&[forged.head(announced), vec![b' '; sent]].concat()).unwrap();
    }
    wait_until_full(&receiver);
    for number in 2..100 {
        assert_eq!(receiver.post(&Post::push("master", number)).unwrap().status, 202);
    }
    let (bytes, last) = large_push(100, 60 * 1024);
    assert_eq!(receiver.ask(&[bytes, last].concat()).unwrap().status, 202);
    for connection in &mut holding[..2] {
        connection.send(b" ").unwrap();
        assert_eq!(connection.answer().unwrap().status, 401, "it was held all the time");
    }
}

#[test]
fn memory_stays_under_its_bound_when_everything_is_full_at_once() {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    // Together they have the 32 MiB that large bodies share.
    let bodies = [(1, 25 * 1024), (2, 7 * 1024 + 128)].map(|(number, kib)| large_push(number, kib * 1024));
    let mut sending: Vec<_> = bodies.iter().map(|_| receiver.connect().unwrap()).collect();
    std::thread::scope(|scope| {
        for (connection, (body, _)) in sending.iter_mut().zip(&bodies) {
            scope.spawn(|| connection.send(body).unwrap());
        }
    });
    wait_until_full(&receiver);
    // All others have the largest head, and the most that every body may have.
    let head = Post::push("master", 666).and("x-large", "x".repeat(15_000)).head(64 * 1024);
    let mut open = fill(&receiver, PLACES - sending.len(), &[head, vec![b' '; 64 * 1024 - 1]].concat());
    for (connection, (_, last)) in sending.iter_mut().zip(&bodies) {
        connection.send(last).unwrap();
    }
    for connection in &mut sending {
        let answer = connection.answer().unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    for connection in &mut open {
        connection.send(b" ").unwrap();
    }
    let answers: Vec<_> = open.iter_mut().map(|connection| connection.answer().unwrap().status).collect();
    // Some may have waited for longer than a body may take.
    assert!(answers.iter().all(|status| [401, 408, 429].contains(status)), "all were read: {answers:?}");
    let peak = receiver.peak_mib().unwrap();
    println!("with everything full at once the receiver had {peak} MiB at most");
    assert!(peak < BOUND_MIB, "{peak} MiB");
}

#[test]
fn a_signed_body_that_is_a_list_of_millions_takes_no_more_than_readme_says() {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    let small = String::from_utf8(Post::push("master", 1).body().to_vec()).unwrap();
    // An empty path is the shortest text that is kept until the whole body was read.
    let paths = r#""","#.repeat(1_900_000);
    let commit = format!(r#"{{"id":"{}","message":"","added":[{paths}""],"modified":[],"removed":[]}}"#, "1".repeat(40));
    let body = small.replacen('{', &format!(r#"{{"commits":[{commit}],"#), 1);
    let mut connection = receiver.connect().unwrap();
    connection.send(&Post::signed("push", "millions", body).bytes()).unwrap();
    // Unoptimised, and beside other tests, reading it may take longer than one deadline.
    let answer = (0..6).find_map(|_| connection.answer().ok()).expect("an answer");
    assert_eq!(answer.status, 202, "{}", answer.body);
    // More than any forge sends is not read at all, and of commits no more is kept than an event may list.
    let values = small.replacen('{', &format!(r#"{{"commits":[{}{{}}],"#, "{},".repeat(8 * 1024 * 1024)), 1);
    let mut connection = receiver.connect().unwrap();
    connection.send(&Post::signed("push", "more", values).bytes()).unwrap();
    let answer = (0..6).find_map(|_| connection.answer().ok()).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.text("reason").contains("more than 2000000 values"), "{}", answer.body);
    let peak = receiver.peak_mib().unwrap();
    println!("reading a list of millions of texts, the receiver had {peak} MiB at most");
    assert!(peak < SIGNED_BOUND_MIB, "{peak} MiB");
}
