//! Power is cut: a file system stops at once (xfs_io's `shutdown`, which throws away what was not synced), again and
//! again, while deliveries come in. Every delivery that was answered 202 is there when it is mounted anew.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use hookspool_common::inbox::{INBOX_FILE, InboxReader, SqliteInboxReader};
use hookspool_tests::receiver::{Installation, Post, RunningReceiver};
use nix::unistd::geteuid;

/// How often the power is cut, on each kind of file system.
const CUTS: usize = 100;

/// Smallest file system that both kinds can be made in, in bytes; its file is sparse.
const IMAGE_BYTES: u64 = 320 * 1024 * 1024;

const CONNECTIONS: usize = 4;

/// A file system in a file, mounted where the spool is.
struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Disk {
    fn make(make: &[&str], image: PathBuf, mount: PathBuf) -> Self {
        File::create(&image).unwrap().set_len(IMAGE_BYTES).unwrap();
        run(make[0], &[&make[1..], &[image.to_str().unwrap()]].concat());
        let disk = Self { image, mount };
        disk.mount();
        disk
    }

    fn mount(&self) {
        run("mount", &["-o", "loop", self.image.to_str().unwrap(), self.mount.to_str().unwrap()]);
    }

    fn unmount(&self) {
        run("umount", &[self.mount.to_str().unwrap()]);
    }

    /// From here on nothing is written any more, not even the file system's own journal.
    fn cut_the_power(&self) {
        run("xfs_io", &["-x", "-c", "shutdown", self.mount.to_str().unwrap()]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that failed may have left it mounted.
        let _ = Command::new("umount").args(["--lazy", "--quiet"]).arg(&self.mount).stderr(Stdio::null()).status();
    }
}

/// Posts pushes that all differ until one is not accepted, and cuts the power once `enough` were; the ids of all that
/// were answered 202.
fn accepted_until_cut(receiver: &RunningReceiver, disk: &Disk, numbers: &AtomicU64, enough: u64) -> Vec<String> {
    let (count, is_cut) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let post = || {
            let mut accepted = Vec::new();
            let mut connection = receiver.connect().unwrap();
            loop {
                let push = Post::push("master", numbers.fetch_add(1, Ordering::Relaxed));
                let answer = connection.send(&push.bytes()).and_then(|()| connection.answer()).unwrap();
                if answer.status != 202 {
                    assert!(is_cut.load(Ordering::Acquire) && answer.status == 503, "{}: {}", answer.status, answer.body);
                    return accepted;
                }
                accepted.push(answer.text("delivery"));
                if count.fetch_add(1, Ordering::Relaxed) + 1 == enough {
                    is_cut.store(true, Ordering::Release);
                    disk.cut_the_power();
                }
            }
        };
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(post)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// The ids of the deliveries after `seq`, and the last one's place.
fn stored_after(spool: &Path, seq: i64) -> (Vec<String>, i64) {
    let records = SqliteInboxReader::open(&spool.join(INBOX_FILE)).unwrap().read_after(seq, 100_000).unwrap();
    let last = records.last().map_or(seq, |record| record.seq);
    (records.iter().map(|record| record.id.to_string()).collect(), last)
}

fn nothing_is_lost_on(make: &[&str]) {
    let missing = [make[0], "xfs_io", "losetup"].into_iter().find(|program| {
        let path = "/usr/sbin:/sbin:/usr/bin:/bin".split(':').map(|folder| Path::new(folder).join(program));
        !path.into_iter().any(|program| program.exists())
    });
    if let Some(program) = missing {
        return println!("SKIPPED: {program} is not installed");
    }
    if !geteuid().is_root() {
        return println!("SKIPPED: only root can mount a file system");
    }
    let installation = Installation::new().unwrap();
    let disk = Disk::make(make, installation.path().join("image"), installation.spool());
    installation.give_to_user(&installation.spool()).unwrap();
    let (numbers, mut seq, mut all) = (AtomicU64::new(1), 0, 0);
    for cut in 0..CUTS {
        let receiver = installation.start().unwrap();
        // From the very first delivery after a start to a hundred and more.
        let enough = 1 + (cut as u64 * 37) % 127;
        let accepted = accepted_until_cut(&receiver, &disk, &numbers, enough);
        receiver.kill().unwrap();
        disk.unmount();
        disk.mount();
        let (stored, last) = stored_after(&installation.spool(), seq);
        seq = last;
        all += accepted.len();
        for id in accepted {
            assert!(stored.contains(&id), "cut {cut}: {id} was answered 202 and is gone");
        }
    }
    assert!(all >= CUTS, "only {all} deliveries were accepted");
    let whole: String = rusqlite::Connection::open(installation.spool().join(INBOX_FILE))
        .unwrap()
        .pragma_query_value(None, "integrity_check", |row| row.get(0))
        .unwrap();
    assert_eq!(whole, "ok");
    disk.unmount();
    fs::remove_file(&disk.image).unwrap();
}

#[test]
fn nothing_that_was_accepted_is_lost_with_the_power_on_xfs() {
    nothing_is_lost_on(&["mkfs.xfs", "-q"]);
}

#[test]
fn nothing_that_was_accepted_is_lost_with_the_power_on_ext4() {
    nothing_is_lost_on(&["mkfs.ext4", "-q", "-F"]);
}
