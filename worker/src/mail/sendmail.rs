//! A program called as sendmail(8) is. Its exit status, by the numbers of sysexits.h, says whether to try again.
//!
//! It gets the message on standard input, a clean environment, a process group of its own and a deadline; its output
//! is only ever shown.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hookspool_common::ledger::NewNotice;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::transport::{SendError, with_unix_line_ends};
use crate::harmless::one_line;

/// How long the program may take: it only has to queue the mail.
const TIMEOUT: Duration = Duration::from_mins(2);
/// How long it may take to end once it was asked to.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked at. Nothing waits for it but the next mail.
const POLL: Duration = Duration::from_millis(10);
/// Most of its complaint that is kept, in bytes.
const MAX_COMPLAINT_BYTES: u64 = 4096;

/// The exit statuses of sysexits.h that are about this mail: EX_DATAERR, EX_NOUSER, EX_NOHOST.
const REFUSALS: [i32; 3] = [65, 67, 68];

#[derive(Debug)]
pub(super) struct Sendmail {
    program: PathBuf,
    timeout: Duration,
}

impl Sendmail {
    pub(super) fn new(program: &Path) -> Self {
        Self { program: program.to_owned(), timeout: TIMEOUT }
    }

    pub(super) fn send(&self, notice: &NewNotice) -> Result<(), SendError> {
        let (status, complaint) = self.run(notice).map_err(|error| {
            let program = self.program.display();
            SendError::Unavailable(format!("{program}: {error}"))
        })?;
        if status.success() {
            return Ok(());
        }
        let complaint = one_line(&String::from_utf8_lossy(&complaint), 300);
        let message = format!("{}: {status}: {complaint}", self.program.display());
        match status.code() {
            Some(code) if REFUSALS.contains(&code) => Err(SendError::Permanent(message)),
            _ => Err(SendError::Passing(message)),
        }
    }

    /// Its status, and what it said on standard error.
    fn run(&self, notice: &NewNotice) -> io::Result<(ExitStatus, Vec<u8>)> {
        // Files instead of pipes: neither side can block the other, and a delivery that goes on in the background,
        // as exim's does, keeps nothing open that is waited for.
        let mut input = tempfile::tempfile()?;
        input.write_all(&with_unix_line_ends(&notice.message))?;
        input.seek(SeekFrom::Start(0))?;
        let mut complaint = tempfile::tempfile()?;
        let mut child = Command::new(&self.program)
            // A dot alone in a line does not end the message; the recipient is no option, whatever it begins with.
            .args(["-i", "-f", &notice.sender, "--", &notice.recipient])
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir("/")
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(complaint.try_clone()?)
            .process_group(0)
            .spawn()?;
        let status = self.wait(&mut child)?;
        Ok((status, read_complaint(&mut complaint)?))
    }

    fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        if let Some(status) = wait_until(child, Instant::now() + self.timeout)? {
            return Ok(status);
        }
        // The child is not reaped yet, so its number, which is its group's, is still its own.
        let group = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
        // It may have ended by itself since: then there is nobody left to be signalled.
        let _ = killpg(group, Signal::SIGTERM);
        let ended = wait_until(child, Instant::now() + GRACE)?;
        if ended.is_none() {
            let _ = killpg(group, Signal::SIGKILL);
            child.wait()?;
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("it took longer than {} s", self.timeout.as_secs())))
    }
}

fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() >= deadline {
            return Ok(status);
        }
        sleep(POLL);
    }
}

fn read_complaint(file: &mut File) -> io::Result<Vec<u8>> {
    let mut complaint = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(MAX_COMPLAINT_BYTES).read_to_end(&mut complaint)?;
    Ok(complaint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice() -> NewNotice {
        NewNotice {
            recipient: "mona@example.org".to_owned(),
            sender: "ci@example.org".to_owned(),
            message_id: "<hookspool-run-1-ab@example.org>".to_owned(),
            message: b"Subject: x\r\n\r\n.\r\nbody\r\n".to_vec(),
        }
    }

    fn send(script: &str, timeout: Duration) -> (Result<(), SendError>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (source, program) = (folder.path().join("source"), folder.path().join("sendmail"));
        std::fs::write(&source, format!("#!/bin/sh\ncd {}\n{script}\n", folder.path().display())).unwrap();
        // What this process itself had open for writing, a child of another test may hold open: "text file busy".
        assert!(Command::new("install").args(["-m", "755"]).args([&source, &program]).status().unwrap().success());
        let sent = Sendmail { program, timeout }.send(&notice());
        (sent, folder)
    }

    #[test]
    fn the_program_gets_the_envelope_as_arguments_and_the_message_with_unix_line_ends() {
        let (sent, folder) = send("printf '%s\\n' \"$@\" > arguments; cat > message; env > environment", TIMEOUT);
        assert_eq!(sent, Ok(()));
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("arguments"), "-i\n-f\nci@example.org\n--\nmona@example.org\n");
        assert_eq!(read("message"), "Subject: x\n\n.\nbody\n");
        assert!(!read("environment").contains("CARGO"), "{}", read("environment"));
    }

    #[test]
    fn the_exit_status_says_whether_to_try_again() {
        for (status, permanent) in [(65, true), (67, true), (68, true), (1, false), (69, false), (75, false), (78, false)] {
            let (sent, _folder) = send(&format!("echo 'no such user' >&2; exit {status}"), TIMEOUT);
            let error = sent.unwrap_err();
            assert_eq!((error.is_permanent(), error.concerns_all()), (permanent, false), "{error}");
            assert!(error.to_string().contains("no such user"), "{error}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_may_be_there_later() {
        let error = Sendmail::new(Path::new("/nowhere/sendmail")).send(&notice()).unwrap_err();
        assert!(!error.is_permanent() && error.concerns_all(), "{error}");
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_its_children() {
        let (sent, folder) = send("sleep 600 & echo $! > child; wait", Duration::from_millis(300));
        assert!(sent.unwrap_err().concerns_all());
        let child: i32 = std::fs::read_to_string(folder.path().join("child")).unwrap().trim().parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        // Gone, or a zombie that nobody has reaped yet.
        let lives = || std::fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        while lives() {
            assert!(Instant::now() < deadline, "process {child} still runs");
            std::thread::yield_now();
        }
    }
}
