//! A run's log once nothing is written to it any more: packed (zstd, RFC 8878), and read like the plain one it was.
//!
//! The packed file is whole and on disk before the plain one goes, so whoever finds no plain one finds the packed one.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hookspool_common::names::RunId;

use crate::folders::Folders;

/// zstd's own default: most of the gain for little time.
const LEVEL: i32 = 3;

/// A log that is being read.
pub enum LogReader {
    /// It may still grow.
    Plain(File),
    /// It is whole.
    Packed(Box<zstd::Decoder<'static, BufReader<File>>>),
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Self::Plain(_)) { "Plain" } else { "Packed" })
    }
}

impl Read for LogReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Packed(decoder) => decoder.read(buffer),
        }
    }
}

/// Opens a run's log; `None` where it has none.
///
/// # Errors
/// What the system said.
pub fn open(folders: &Folders, run: RunId) -> io::Result<Option<LogReader>> {
    if let Some(file) = existing(File::open(folders.log(run)))? {
        return Ok(Some(LogReader::Plain(file)));
    }
    let packed = existing(File::open(folders.packed_log(run)))?;
    let decoder = packed.map(zstd::Decoder::new).transpose()?;
    Ok(decoder.map(|decoder| LogReader::Packed(Box::new(decoder))))
}

/// Where a run's log lies now; where it would, if it has none.
#[must_use]
pub fn path(folders: &Folders, run: RunId) -> PathBuf {
    let (plain, packed) = (folders.log(run), folders.packed_log(run));
    if !plain.exists() && packed.exists() { packed } else { plain }
}

/// Packs the log of a run that is over; what it uses then, in bytes. A run without log uses none.
///
/// # Errors
/// What the system said; the plain log is there still.
pub fn pack(folders: &Folders, run: RunId) -> io::Result<u64> {
    let (plain, packed) = (folders.log(run), folders.packed_log(run));
    let Some(mut log) = existing(File::open(&plain))? else {
        return Ok(existing(fs::metadata(&packed))?.map_or(0, |metadata| used(&metadata)));
    };
    let unfinished = packed.with_extension("zst.new");
    let written = write_packed(&mut log, &unfinished).and_then(|file| fs::rename(&unfinished, &packed).map(|()| file));
    let file = match written {
        Ok(file) => file,
        // On a full disk, half of it would be in the way of everything else.
        Err(error) => return existing(fs::remove_file(&unfinished)).and(Err(error)),
    };
    if let Some(folder) = packed.parent() {
        File::open(folder)?.sync_all()?;
    }
    fs::remove_file(&plain)?;
    Ok(used(&file.metadata()?))
}

fn write_packed(log: &mut File, to: &Path) -> io::Result<File> {
    let file = File::options().write(true).create(true).truncate(true).mode(0o640).open(to)?;
    let mut encoder = zstd::Encoder::new(file, LEVEL)?;
    encoder.include_checksum(true)?;
    io::copy(log, &mut encoder)?;
    let file = encoder.finish()?;
    file.sync_all()?;
    Ok(file)
}

/// Removes the log of a run, in whichever form.
///
/// # Errors
/// What the system said.
pub fn remove(folders: &Folders, run: RunId) -> io::Result<()> {
    for path in [folders.log(run), folders.packed_log(run)] {
        existing(fs::remove_file(path))?;
    }
    Ok(())
}

/// What a file uses on disk, in bytes.
fn used(metadata: &fs::Metadata) -> u64 {
    metadata.blocks().saturating_mul(512).max(metadata.len())
}

fn existing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hookspool_common::config::Paths;

    fn folders(folder: &tempfile::TempDir) -> Folders {
        let at = |name: &str| folder.path().join(name);
        let folders = Folders::new(&Paths { spool: at("spool"), state: at("state"), logs: at("logs") });
        folders.make().unwrap();
        folders
    }

    fn text(folders: &Folders) -> Option<String> {
        let mut text = String::new();
        open(folders, RunId::new(1)).unwrap()?.read_to_string(&mut text).unwrap();
        Some(text)
    }

    #[test]
    fn a_log_reads_the_same_before_while_and_after_it_is_packed() {
        let (folder, run) = (tempfile::tempdir().unwrap(), RunId::new(1));
        let folders = folders(&folder);
        assert_eq!((text(&folders), pack(&folders, run).unwrap()), (None, 0));
        let long = "répété\n".repeat(10_000);
        fs::write(folders.log(run), &long).unwrap();
        let mut opened_before = open(&folders, run).unwrap().unwrap();
        // As after a crash in the middle of packing.
        fs::write(folders.packed_log(run).with_extension("zst.new"), "half").unwrap();
        let used = pack(&folders, run).unwrap();
        assert!(used > 0 && used < long.len() as u64 / 2, "{used}");
        assert_eq!(fs::read_dir(folder.path().join("logs/runs")).unwrap().count(), 1);
        assert_eq!(text(&folders).as_deref(), Some(&*long));
        let mut read = String::new();
        opened_before.read_to_string(&mut read).unwrap();
        assert_eq!(read, long);
        // As after a crash between the packed log and the removal of the plain one.
        fs::write(folders.log(run), &long).unwrap();
        assert_eq!((pack(&folders, run).unwrap(), pack(&folders, run).unwrap()), (used, used));
        assert_eq!((text(&folders).as_deref(), path(&folders, run)), (Some(&*long), folders.packed_log(run)));
        remove(&folders, run).unwrap();
        remove(&folders, run).unwrap();
        assert_eq!(text(&folders), None);
    }
}
