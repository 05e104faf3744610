//! What was answered 2xx is on disk, whatever happens to the receiver, the disk or the inbox.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use hookspool_common::inbox::INBOX_FILE;
use hookspool_tests::receiver::{Answer, Installation, Post, RunningReceiver, until};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount, umount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use rusqlite::Connection;

use crate::{noise, skipped};

/// The ids in the inbox, with the forge's ids.
fn stored(installation: &Installation) -> BTreeMap<String, String> {
    let records = installation.records().unwrap();
    records.iter().map(|record| (record.id.to_string(), record.provider_id.clone().unwrap())).collect()
}

/// Posts pushes that all differ on eight connections, until the receiver is gone; kills it after `enough` were accepted.
fn accepted_until_killed(receiver: RunningReceiver, numbers: &AtomicU64, enough: usize) -> Vec<(String, u64)> {
    let accepted = Mutex::new(Vec::new());
    let pid = Pid::from_raw(i32::try_from(receiver.pid()).unwrap());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = receiver.connect().unwrap();
                loop {
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    let sent = connection.send(&Post::push("master", number).bytes());
                    let Ok(answer) = sent.and_then(|()| connection.answer()) else { return };
                    assert_eq!(answer.status, 202, "{}", answer.body);
                    let mut accepted = accepted.lock().unwrap();
                    accepted.push((answer.text("delivery"), number));
                    if accepted.len() == enough {
                        kill(pid, Signal::SIGKILL).unwrap();
                    }
                }
            });
        }
    });
    receiver.kill().unwrap();
    accepted.into_inner().unwrap()
}

#[test]
fn killed_under_load_it_has_every_delivery_that_it_answered() {
    let installation = Installation::new().unwrap();
    let (numbers, mut all) = (AtomicU64::new(1), Vec::new());
    for enough in [1, 7, 60, 200, 333] {
        all.extend(accepted_until_killed(installation.start().unwrap(), &numbers, enough));
        let receiver = installation.start().unwrap();
        let stored = stored(&installation);
        for (id, number) in &all {
            assert_eq!(stored.get(id), Some(&format!("push-master-{number}")), "{id} was answered 202");
        }
        let (id, number) = all.last().unwrap();
        let again = receiver.post(&Post::push("master", *number)).unwrap();
        assert_eq!((again.text("status").as_str(), &again.text("delivery")), ("duplicate", id));
    }
    assert!(all.len() >= 601);
}

#[test]
fn a_request_in_flight_at_sigterm_is_answered_and_stored() {
    let installation = Installation::new().unwrap();
    let mut receiver = installation.start().unwrap();
    let post = Post::push("master", 1).and("expect", "100-continue");
    let bytes = post.bytes();
    let head_end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let mut connection = receiver.connect().unwrap();
    connection.send(&bytes[..head_end]).unwrap();
    // It says so when it begins to read the body: then the request is in flight.
    assert_eq!(connection.answer().unwrap().status, 100);
    receiver.terminate().unwrap();
    until("nobody else is let in", || Ok(receiver.connect().is_err().then_some(()))).unwrap();
    connection.send(&bytes[head_end..]).unwrap();
    let answer = connection.answer().unwrap();
    assert_eq!((answer.status, stored(&installation).len()), (202, 1));
    assert_eq!(receiver.wait().unwrap().code(), Some(0));
}

#[test]
fn idle_it_ends_at_once_and_clears_up() {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    assert_eq!(receiver.post(&Post::push("master", 1)).unwrap().status, 202);
    assert_eq!(receiver.stop().unwrap().code(), Some(0));
    assert!(!installation.spool().join("inbox.db-wal").exists(), "the inbox was closed");
    assert_eq!(stored(&installation).len(), 1);
}

fn ready(receiver: &RunningReceiver) -> Answer {
    receiver.ask(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n").unwrap()
}

#[test]
fn a_locked_inbox_is_503_and_afterwards_it_goes_on() {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    let other = Connection::open(installation.spool().join(INBOX_FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = receiver.post(&Post::push("master", 1)).unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("30")));
    assert_eq!(answer.body, r#"{"status":"unavailable"}"#);
    assert_eq!(ready(&receiver).status, 503);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(receiver.post(&Post::push("master", 1)).unwrap().status, 202);
    assert_eq!((ready(&receiver).status, stored(&installation).len()), (200, 1));
    assert!(installation.log().unwrap().contains("locked by another process"));
}

/// A small disk of its own, gone at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path) -> nix::Result<Self> {
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some("size=1m,mode=0700"))?;
        Ok(Self(path.to_owned()))
    }

    fn enlarge(&self) {
        mount(Some("tmpfs"), &self.0, Some("tmpfs"), MsFlags::MS_REMOUNT, Some("size=16m")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount(&self.0);
    }
}

fn large_push(number: u64) -> Post {
    let body = String::from_utf8(Post::push("master", number).bytes()).unwrap();
    let (_, body) = body.split_once("\r\n\r\n").unwrap();
    let body = body.replacen('{', &format!(r#"{{"noise":"{}","#, noise(number, 20_000)), 1);
    Post::signed("push", &format!("push-master-{number}"), body)
}

#[test]
fn a_full_disk_is_503_and_loses_nothing() {
    if !Uid::effective().is_root() {
        return skipped("only root can mount a small disk");
    }
    let installation = Installation::new().unwrap();
    let disk = match SmallDisk::mount(&installation.spool()) {
        Ok(disk) => disk,
        Err(Errno::EPERM) => return skipped("no file system may be mounted here"),
        Err(error) => panic!("{error}"),
    };
    installation.give_to_user(&installation.spool()).unwrap();
    let receiver = installation.start().unwrap();
    let mut accepted = Vec::new();
    let refused = (1..200).find(|number| {
        let answer = receiver.post(&large_push(*number)).unwrap();
        if answer.status == 202 {
            accepted.push(answer.text("delivery"));
        } else {
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("30")), "{}", answer.body);
        }
        answer.status != 202
    });
    let refused = refused.expect("a disk of 1 MiB does not hold 4 MB");
    assert!(accepted.len() > 5, "{accepted:?}");
    assert!(installation.log().unwrap().contains("disk is full"), "{}", installation.log().unwrap());
    receiver.kill().unwrap();
    let receiver = installation.start();
    disk.enlarge();
    let receiver = receiver.or_else(|_| installation.start()).unwrap();
    let ids: Vec<String> = stored(&installation).into_keys().collect();
    assert_eq!(ids, accepted);
    assert_eq!(receiver.post(&large_push(refused)).unwrap().status, 202);
}

#[test]
fn a_disk_that_is_full_for_a_while_is_503_for_a_while() {
    if !Uid::effective().is_root() {
        return skipped("only root can mount a small disk");
    }
    let installation = Installation::new().unwrap();
    let disk = match SmallDisk::mount(&installation.spool()) {
        Ok(disk) => disk,
        Err(Errno::EPERM) => return skipped("no file system may be mounted here"),
        Err(error) => panic!("{error}"),
    };
    installation.give_to_user(&installation.spool()).unwrap();
    let receiver = installation.start().unwrap();
    fill(&installation.spool().join("ballast")).unwrap();
    assert_eq!(receiver.post(&large_push(1)).unwrap().status, 503);
    assert_eq!(ready(&receiver).status, 503);
    disk.enlarge();
    assert_eq!(receiver.post(&large_push(1)).unwrap().status, 202);
    assert_eq!((ready(&receiver).status, stored(&installation).len()), (200, 1));
}

/// Writes a file until nothing more fits.
fn fill(path: &Path) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    loop {
        match io::Write::write_all(&mut file, &[0; 4096]) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
