//! A spool without room: its disk is full, nearly full or read-only, or the inbox holds as much as it may. Nothing is
//! accepted then, nothing is lost, and when there is room again it goes on by itself.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use hookspool_tests::receiver::{Answer, Installation, Post, RunningReceiver, until};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount, umount};
use nix::unistd::Uid;
use rusqlite::Connection;

use crate::{noise, skipped};

/// A small disk of its own, gone at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// For the spool of `installation`; without the right to make one, the test is skipped.
    fn mount(installation: &Installation) -> Option<Self> {
        if !Uid::effective().is_root() {
            skipped("only root can mount a small disk");
            return None;
        }
        let path = installation.spool();
        match mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), Some("size=1m,mode=0700")) {
            Err(Errno::EPERM) => {
                skipped("no file system may be mounted here");
                return None;
            }
            mounted => mounted.unwrap(),
        }
        installation.give_to_user(&path).unwrap();
        Some(Self(path))
    }

    fn remount(&self, flags: MsFlags, options: &str) {
        mount(Some("tmpfs"), &self.0, Some("tmpfs"), flags | MsFlags::MS_REMOUNT, Some(options)).unwrap();
    }

    fn enlarge(&self) {
        self.remount(MsFlags::empty(), "size=16m");
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

/// The ids in the inbox, in their order.
fn stored(installation: &Installation) -> Vec<String> {
    installation.records().unwrap().iter().map(|record| record.id.to_string()).collect()
}

fn refused(answer: &Answer) -> bool {
    let what = (answer.status, answer.header("retry-after"), answer.body.as_str());
    what == (503, Some("30"), r#"{"status":"unavailable"}"#)
}

#[test]
fn a_full_disk_is_503_and_loses_nothing() {
    let installation = Installation::new().unwrap();
    let Some(disk) = SmallDisk::mount(&installation) else { return };
    // Of one MiB nothing is to be kept free.
    installation.write_config("127.0.0.1:0", "spool_reserve = \"0B\"").unwrap();
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
    let ids = stored(&installation);
    assert_eq!(ids, accepted);
    assert_eq!(receiver.post(&large_push(refused)).unwrap().status, 202);
}

#[test]
fn a_disk_that_is_full_for_a_while_is_503_for_a_while() {
    let installation = Installation::new().unwrap();
    let Some(disk) = SmallDisk::mount(&installation) else { return };
    // Of one MiB nothing is to be kept free.
    installation.write_config("127.0.0.1:0", "spool_reserve = \"0B\"").unwrap();
    let receiver = installation.start().unwrap();
    fill(&installation.spool().join("ballast")).unwrap();
    assert_eq!(receiver.post(&large_push(1)).unwrap().status, 503);
    assert_eq!(receiver.ready().unwrap().status, 503);
    disk.enlarge();
    assert_eq!(receiver.post(&large_push(1)).unwrap().status, 202);
    assert_eq!((receiver.ready().unwrap().status, stored(&installation).len()), (200, 1));
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

#[test]
fn a_disk_with_less_than_the_reserve_is_closed_before_it_is_full_and_opens_again() {
    let installation = Installation::new().unwrap();
    let Some(disk) = SmallDisk::mount(&installation) else { return };
    installation.write_config("127.0.0.1:0", "spool_reserve = \"8MiB\"").unwrap();
    let receiver = installation.start().unwrap();
    assert!(refused(&receiver.post(&large_push(1)).unwrap()) && refused(&receiver.post(&large_push(2)).unwrap()));
    assert_eq!(receiver.ready().unwrap().status, 503);
    let log = installation.log().unwrap();
    assert_eq!(log.matches("spool_reserve (8388608 bytes)").count(), 1, "said once: {log}");
    disk.enlarge();
    until("it opens", || Ok((receiver.post(&large_push(1))?.status == 202).then_some(()))).unwrap();
    assert_eq!((receiver.ready().unwrap().status, stored(&installation).len()), (200, 1));
    assert!(installation.log().unwrap().contains("takes deliveries again"));
}

/// An ext4 in a file, which turns read-only when it meets an error, as most are configured to.
struct FragileDisk {
    image: PathBuf,
    mount: PathBuf,
}

impl FragileDisk {
    fn make(installation: &Installation) -> Option<Self> {
        let disk = Self { image: installation.path().join("image"), mount: installation.spool() };
        let file = fs::File::create(&disk.image).unwrap();
        file.set_len(64 * 1024 * 1024).unwrap();
        let made =
            Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk.image).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").status();
        if !made.is_ok_and(|status| status.success()) {
            skipped("mkfs.ext4 is not installed");
            return None;
        }
        if !Uid::effective().is_root() {
            skipped("only root can mount a file system");
            return None;
        }
        disk.mount();
        installation.give_to_user(&disk.mount).unwrap();
        Some(disk)
    }

    fn mount(&self) {
        let mount =
            Command::new("mount").args(["-o", "loop,errors=remount-ro"]).args([&self.image, &self.mount]).status().unwrap();
        assert!(mount.success());
    }

    /// Has the kernel meet an error.
    fn meet_an_error(&self) {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let place = self.mount.to_str().unwrap();
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(place)).unwrap();
        let device = line.split(' ').next().unwrap().trim_start_matches("/dev/");
        fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "an error of the test").unwrap();
    }

    fn unmount(&self) {
        assert!(Command::new("umount").arg(&self.mount).status().unwrap().success());
    }
}

impl Drop for FragileDisk {
    fn drop(&mut self) {
        // A test that failed may have left it mounted.
        let _ = Command::new("umount").args(["--lazy", "--quiet"]).arg(&self.mount).status();
    }
}

#[test]
fn a_spool_that_turns_read_only_is_503_and_loses_nothing() {
    let installation = Installation::new().unwrap();
    let Some(disk) = FragileDisk::make(&installation) else { return };
    installation.write_config("127.0.0.1:0", "spool_reserve = \"0B\"").unwrap();
    let receiver = installation.start().unwrap();
    let first = receiver.post(&large_push(1)).unwrap();
    assert_eq!(first.status, 202);
    disk.meet_an_error();
    assert!(refused(&receiver.post(&large_push(2)).unwrap()) && refused(&receiver.post(&large_push(3)).unwrap()));
    assert_eq!(receiver.ready().unwrap().status, 503);
    let log = installation.log().unwrap();
    assert_eq!(log.matches("the inbox takes nothing").count(), 1, "said once: {log}");
    receiver.kill().unwrap();
    disk.unmount();
    disk.mount();
    let receiver = installation.start().unwrap();
    let second = receiver.post(&large_push(2)).unwrap();
    assert_eq!((second.status, receiver.ready().unwrap().status), (202, 200));
    assert_eq!(stored(&installation), [first.text("delivery"), second.text("delivery")]);
    receiver.kill().unwrap();
    disk.unmount();
}

#[test]
fn with_a_read_only_spool_it_does_not_start_and_says_why() {
    let installation = Installation::new().unwrap();
    let Some(disk) = SmallDisk::mount(&installation) else { return };
    disk.enlarge();
    installation.write_config("127.0.0.1:0", "spool_reserve = \"0B\"").unwrap();
    let receiver = installation.start().unwrap();
    assert_eq!(receiver.post(&large_push(1)).unwrap().status, 202);
    receiver.kill().unwrap();
    disk.remount(MsFlags::MS_RDONLY, "size=16m");
    let (code, log) = installation.run_to_end(&mut installation.command().unwrap()).unwrap();
    assert_eq!(code, Some(1));
    assert!(log.contains("Read-only file system") && log.contains(&*installation.spool().to_string_lossy()), "{log}");
    disk.remount(MsFlags::empty(), "size=16m");
    let receiver = installation.start().unwrap();
    assert_eq!(receiver.post(&large_push(1)).unwrap().text("status"), "duplicate");
    assert_eq!(stored(&installation).len(), 1);
}

/// Says of the inbox, as the importer does, that everything up to the last delivery was taken over.
fn take_everything_over(installation: &Installation) {
    let inbox = Connection::open(installation.spool().join("inbox.db")).unwrap();
    let seq: i64 = inbox.query_row("SELECT max(seq) FROM delivery", [], |row| row.get(0)).unwrap();
    let identity: String = inbox.query_row("SELECT identity FROM inbox", [], |row| row.get(0)).unwrap();
    fs::write(installation.spool().join("taken-over"), format!("{identity} {seq}\n")).unwrap();
}

/// Posts until the answer is 503; gives the ids that were answered 202.
fn fill_up(receiver: &RunningReceiver, numbers: &mut u64) -> Vec<String> {
    let mut accepted = Vec::new();
    loop {
        *numbers += 1;
        let answer = receiver.post(&large_push(*numbers)).unwrap();
        if answer.status != 202 {
            assert!(refused(&answer), "{} {}", answer.status, answer.body);
            return accepted;
        }
        accepted.push(answer.text("delivery"));
        assert!(accepted.len() < 1000, "ten times as much as the limit");
    }
}

#[test]
fn a_spool_at_its_limit_is_closed_until_the_worker_has_taken_something_over() {
    let installation = Installation::new().unwrap();
    let limits = "spool_limit = \"2MiB\"\nspool_reserve = \"0B\"\n[receiver.retention]\nsize = \"1MiB\"";
    installation.write_config("127.0.0.1:0", limits).unwrap();
    let receiver = installation.start().unwrap();
    let mut numbers = 0;
    let accepted = fill_up(&receiver, &mut numbers);
    assert!(accepted.len() > 50, "{}", accepted.len());
    // Whatever nobody has taken over stays, and what was seen needs no room to be known again.
    assert_eq!(stored(&installation), accepted);
    let again = receiver.post(&large_push(1)).unwrap();
    assert_eq!((again.text("status").as_str(), &again.text("delivery")), ("duplicate", &accepted[0]));
    assert_eq!(receiver.ready().unwrap().status, 503);
    let log = installation.log().unwrap();
    assert_eq!(log.matches("spool_limit (2097152 bytes)").count(), 1, "said once: {log}");
    take_everything_over(&installation);
    let number = numbers;
    let opened = until("it opens", || {
        let answer = receiver.post(&large_push(number))?;
        Ok((answer.status == 202).then(|| answer.text("delivery")))
    });
    let opened = opened.unwrap();
    assert_eq!(receiver.ready().unwrap().status, 200);
    let left: BTreeSet<String> = stored(&installation).into_iter().collect();
    assert!(left.contains(&opened) && !left.contains(&accepted[0]) && left.len() < accepted.len(), "{} left", left.len());
    // Pruned is not forgotten.
    let again = receiver.post(&large_push(1)).unwrap();
    assert_eq!((again.text("status").as_str(), &again.text("delivery")), ("duplicate", &accepted[0]));
}
