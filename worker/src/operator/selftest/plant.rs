//! What the receiver's user puts into its spool, in the child that is that user. This is the one place outside the storage
//! modules that speaks SQL: it does to the inbox what they never would.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::Context;
use hookspool_common::inbox::{INBOX_FILE, Inbox, MARK_FILE, SqliteInbox};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

/// One thing that is put into the spool folder. A name is one within that folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Plant {
    /// An inbox without deliveries, as the receiver makes it.
    Inbox,
    /// These statements, in the inbox.
    Sql(String),
    /// A file with this content.
    File(String, String),
    /// Zeros in the place of these bytes of a file.
    Zeros { name: String, from: u64, bytes: usize },
    /// A file of this length; what it does not have is a hole.
    Length(String, u64),
    /// A link.
    Link(String, PathBuf),
    /// A named pipe.
    Pipe(String),
    /// A folder with something in it.
    Folder(String),
    /// The mark of what was taken over, for this inbox, at this place.
    Mark(i64),
    /// Nothing: whatever is in the folder goes.
    Nothing,
}

/// Puts these into the folder, one after the other.
pub(super) fn plant(spool: &Path, plants: &[Plant]) -> anyhow::Result<()> {
    plants.iter().try_for_each(|one| plant_one(spool, one).with_context(|| format!("{one:.200?}")))
}

fn plant_one(spool: &Path, plant: &Plant) -> anyhow::Result<()> {
    let inbox = spool.join(INBOX_FILE);
    match plant {
        Plant::Inbox => drop(SqliteInbox::open(&inbox)?),
        Plant::Sql(statements) => Connection::open(&inbox)?.execute_batch(statements)?,
        Plant::File(name, content) => fs::write(spool.join(name), content)?,
        Plant::Zeros { name, from, bytes } => {
            let mut file = File::options().write(true).open(spool.join(name))?;
            file.seek(SeekFrom::Start(*from))?;
            file.write_all(&vec![0; *bytes])?;
        }
        Plant::Length(name, bytes) => File::options().write(true).open(spool.join(name))?.set_len(*bytes)?,
        Plant::Link(name, target) => symlink(target, spool.join(name))?,
        Plant::Pipe(name) => mkfifo(&spool.join(name), Mode::S_IRWXU | Mode::S_IRWXG | Mode::S_IRWXO)?,
        Plant::Folder(name) => fs::create_dir_all(spool.join(name).join("in the way"))?,
        Plant::Mark(seq) => {
            let identity = SqliteInbox::open(&inbox)?.identity().clone();
            fs::write(spool.join(MARK_FILE), format!("{identity} {seq}\n"))?;
        }
        Plant::Nothing => clear(spool)?,
    }
    Ok(())
}

fn clear(spool: &Path) -> anyhow::Result<()> {
    let names: Vec<OsString> =
        fs::read_dir(spool)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
    for name in names {
        let path = spool.join(name);
        if fs::symlink_metadata(&path)?.is_dir() {
            fs::set_permissions(&path, Permissions::from_mode(0o700))?;
            fs::remove_dir_all(&path)?;
        } else {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
