//! Delivery into a maildir (<https://cr.yp.to/proto/maildir.html>), which is made where it is absent.
//!
//! A mail's file name comes from its `Message-ID`, so that a mail that is delivered again after a crash is still one.
//! It trusts whoever may write to the folder, and never replaces a file.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use hookspool_common::ledger::NewNotice;

use super::transport::{SendError, with_unix_line_ends};

#[derive(Debug)]
pub(super) struct Maildir {
    folder: PathBuf,
}

impl Maildir {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Delivers the mail, unless it was delivered before. A full disk or a folder without permission may be mended.
    pub(super) fn deliver(&self, notice: &NewNotice) -> Result<(), SendError> {
        self.try_deliver(notice).map_err(|error| SendError::Unavailable(format!("maildir {}: {error}", self.folder.display())))
    }

    fn try_deliver(&self, notice: &NewNotice) -> io::Result<()> {
        for part in ["tmp", "new", "cur"] {
            DirBuilder::new().recursive(true).mode(0o700).create(self.folder.join(part))?;
        }
        let name = file_name(&notice.message_id);
        let new = self.folder.join("new");
        if !new.join(&name).try_exists()? && !self.was_read(&name)? {
            self.write(&name, &notice.message)?;
        }
        // Also where the file was there already: the crash may have come before the folder was on disk.
        File::open(&new)?.sync_all()?;
        File::open(&self.folder)?.sync_all()
    }

    fn write(&self, name: &str, message: &[u8]) -> io::Result<()> {
        let temporary = self.folder.join("tmp").join(temporary_name(name));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let written = file
            .write_all(&with_unix_line_ends(message))
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&temporary, self.folder.join("new").join(name)));
        if written.is_err() {
            // The error that counts is the one above; a reader sweeps tmp/ after 36 hours anyway.
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }

    /// Whether a reader has moved the mail to `cur/`, where flags follow its name after a colon.
    fn was_read(&self, name: &str) -> io::Result<bool> {
        for entry in std::fs::read_dir(self.folder.join("cur"))? {
            let entry = entry?.file_name();
            let entry = entry.to_string_lossy();
            if entry.split(':').next() == Some(name) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A file name that the `Message-ID` alone determines, without the characters that mean something in a maildir.
fn file_name(message_id: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_@.=+".contains(c) { c } else { '_' };
    let name: String = message_id.trim_matches(['<', '>']).chars().map(plain).take(200).collect();
    // Readers pass over names that begin with a dot.
    if name.starts_with('.') || name.is_empty() { format!("_{name}") } else { name }
}

/// No two deliveries write to the same file in `tmp/`.
fn temporary_name(name: &str) -> String {
    static DELIVERIES: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let delivery = DELIVERIES.fetch_add(1, Ordering::Relaxed);
    format!("{}.P{}Q{delivery}.{name}", now.as_micros(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn notice(message_id: &str) -> NewNotice {
        NewNotice {
            recipient: "mona@example.org".to_owned(),
            sender: "ci@example.org".to_owned(),
            message_id: message_id.to_owned(),
            message: b"Subject: x\r\n\r\nbody\r\n".to_vec(),
        }
    }

    fn files(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_mail_comes_into_a_maildir_that_was_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = folder.path().join("var/mail");
        Maildir::new(&mailbox).deliver(&notice("<hookspool-run-7-ab@example.org>")).unwrap();
        assert_eq!(files(&mailbox), ["cur", "new", "tmp"]);
        assert_eq!(files(&mailbox.join("new")), ["hookspool-run-7-ab@example.org"]);
        assert_eq!(files(&mailbox.join("tmp")), [""; 0]);
        let file = mailbox.join("new/hookspool-run-7-ab@example.org");
        assert_eq!(std::fs::read(&file).unwrap(), b"Subject: x\n\nbody\n");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_mail_that_is_delivered_again_is_still_one() {
        let folder = tempfile::tempdir().unwrap();
        let maildir = Maildir::new(folder.path());
        maildir.deliver(&notice("<1@example.org>")).unwrap();
        maildir.deliver(&notice("<1@example.org>")).unwrap();
        maildir.deliver(&notice("<2@example.org>")).unwrap();
        assert_eq!(files(&folder.path().join("new")), ["1@example.org", "2@example.org"]);
        std::fs::rename(folder.path().join("new/1@example.org"), folder.path().join("cur/1@example.org:2,RS")).unwrap();
        maildir.deliver(&notice("<1@example.org>")).unwrap();
        assert_eq!(files(&folder.path().join("new")), ["2@example.org"]);
    }

    #[test]
    fn no_message_id_leads_out_of_the_maildir() {
        let folder = tempfile::tempdir().unwrap();
        let maildir = Maildir::new(&folder.path().join("mail"));
        for hostile in ["<../../evil@x>", "</etc/passwd@x>", "<.@x>", "<>", "<a:2,S@x>", "<a\n@x>"] {
            maildir.deliver(&notice(hostile)).unwrap();
        }
        assert_eq!(files(folder.path()), ["mail"]);
        assert_eq!(files(&folder.path().join("mail/new")).len(), 6);
    }

    #[test]
    fn a_folder_that_cannot_be_used_may_be_mended() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(!Maildir::new(&file).deliver(&notice("<1@x>")).unwrap_err().is_permanent());
    }
}
