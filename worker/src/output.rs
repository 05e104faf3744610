//! A run's log: output as it comes, secrets masked, UTF-8 whatever the bytes, bounded, and its end always kept.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use hookspool_common::config::DEFAULT_OUTPUT_BYTES;
use hookspool_common::masking::{MaskedStream, Masks};

/// How much of each step's end is kept beyond that.
pub const KEPT_END_BYTES: usize = 256 * 1024;

/// The open log of one run.
#[derive(Debug)]
pub struct RunLog {
    file: File,
    position: u64,
    written: usize,
    limit: usize,
    failed: Option<io::Error>,
    /// What our own lines must not show.
    masks: Masks,
}

impl RunLog {
    /// Makes the log, readable for root and the folder's group.
    ///
    /// # Errors
    /// What the system said.
    pub fn create(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = File::options().write(true).create(true).truncate(true).mode(0o640).open(path)?;
        Ok(Self { file, position: 0, written: 0, limit: DEFAULT_OUTPUT_BYTES as usize, failed: None, masks: Masks::new([]) })
    }

    /// From now on, of what the steps say in all, no more than this is written as it comes.
    pub fn keep_at_most(&mut self, bytes: u64) {
        self.limit = usize::try_from(bytes).unwrap_or(usize::MAX);
    }

    /// From now on, no line of Hookspool's own shows these either.
    pub fn hide(&mut self, masks: &Masks) {
        self.masks = masks.clone();
    }

    /// Opens a log whose run is over, to say something more at its end. What stopped in the middle of a line is ended first.
    ///
    /// # Errors
    /// What the system said.
    pub fn reopen(path: &Path) -> io::Result<Self> {
        let mut file = File::options().read(true).append(true).open(path)?;
        let position = file.metadata()?.len();
        let mut last = *b"\n";
        if position > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        let mut log = Self { file, position, written: 0, limit: 0, failed: None, masks: Masks::new([]) };
        if last != *b"\n" {
            log.write(b"\n");
        }
        Ok(log)
    }

    /// A line of Hookspool's own.
    pub fn note(&mut self, line: &str) {
        let line = self.masks.mask(line);
        self.write(format!("[hookspool] {line}\n").as_bytes());
    }

    /// How many bytes the log has: where what comes next will begin.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Begins a step's output.
    pub fn step<'l>(&'l mut self, masks: &'l Masks) -> StepOutput<'l> {
        StepOutput { log: self, masked: masks.stream(), undecoded: Vec::new(), end: Vec::new(), left_out: 0, ends_line: true }
    }

    /// The first error, if the log could not be written. A full disk fails no run, but is said.
    #[must_use]
    pub const fn failure(&self) -> Option<&io::Error> {
        self.failed.as_ref()
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.file.write_all(bytes).err();
            self.position += bytes.len() as u64;
        }
    }
}

/// The output of one step on its way into the log.
#[derive(Debug)]
pub struct StepOutput<'l> {
    log: &'l mut RunLog,
    masked: MaskedStream<'l>,
    undecoded: Vec<u8>,
    end: Vec<u8>,
    left_out: usize,
    ends_line: bool,
}

impl StepOutput<'_> {
    /// Takes a chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        let masked = self.masked.push(chunk);
        self.decode(&masked, false);
    }

    /// Ends the step's output: what was held back, and the end of what was left out.
    pub fn finish(mut self) {
        let rest = std::mem::replace(&mut self.masked, EMPTY.stream()).finish();
        self.decode(&rest, true);
        if self.left_out > 0 {
            self.shorten_end();
            if !self.ends_line {
                self.log.write(b"\n");
            }
            self.log.note(&format!("{} bytes of output are left out here; the end follows", self.left_out));
        }
        let end = std::mem::take(&mut self.end);
        self.log.write(&end);
        self.ends_line = end.last().map_or(self.ends_line, |byte| *byte == b'\n');
        if !self.ends_line {
            self.log.write(b"\n");
        }
    }

    /// Turns bytes into UTF-8; a character that is cut in two waits for its other half.
    fn decode(&mut self, bytes: &[u8], last: bool) {
        self.undecoded.extend_from_slice(bytes);
        let complete = match std::str::from_utf8(&self.undecoded) {
            Err(error) if error.error_len().is_none() && !last => error.valid_up_to(),
            // Broken bytes in the middle: everything but a cut-off character at the very end.
            Err(_) if !last => self.undecoded.len() - incomplete_end(&self.undecoded),
            _ => self.undecoded.len(),
        };
        let rest = self.undecoded.split_off(complete);
        let text = std::mem::replace(&mut self.undecoded, rest);
        self.keep(String::from_utf8_lossy(&text).as_bytes());
    }

    fn keep(&mut self, text: &[u8]) {
        let room = self.log.limit.saturating_sub(self.log.written);
        let fits = if text.len() <= room && self.end.is_empty() { text.len() } else { 0 };
        if fits > 0 {
            self.log.written += fits;
            self.log.write(text);
            self.ends_line = text.last() == Some(&b'\n');
            return;
        }
        self.end.extend_from_slice(text);
        if self.end.len() > 2 * KEPT_END_BYTES {
            self.shorten_end();
        }
    }

    /// Leaves out what is before the last [`KEPT_END_BYTES`], and the rest of a character that would be cut in two.
    fn shorten_end(&mut self) {
        let mut cut = self.end.len().saturating_sub(KEPT_END_BYTES);
        while self.end.get(cut).is_some_and(|byte| byte & 0xc0 == 0x80) {
            cut += 1;
        }
        self.end.drain(..cut);
        self.left_out += cut;
    }
}

static EMPTY: std::sync::LazyLock<Masks> = std::sync::LazyLock::new(|| Masks::new([]));

/// How many bytes at the end begin a character that is not complete.
fn incomplete_end(bytes: &[u8]) -> usize {
    for length in 1..=bytes.len().min(3) {
        let tail = &bytes[bytes.len() - length..];
        if matches!(std::str::from_utf8(tail), Err(error) if error.valid_up_to() == 0 && error.error_len().is_none()) {
            return length;
        }
    }
    0
}

/// What a log says from byte `from` on, of it the last `limit` bytes from the beginning of a line.
#[must_use]
pub fn end_of(path: &Path, from: u64, limit: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let start = from.max(length.saturating_sub(limit));
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        let first_line = if start > from { bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1) } else { 0 };
        Ok(bytes.split_off(first_line))
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hookspool_common::secrets::Secret;

    fn log_of(limit: usize, masks: &Masks, chunks: &[&[u8]]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = RunLog::create(&path).unwrap();
        log.limit = limit;
        let mut step = log.step(masks);
        chunks.iter().for_each(|chunk| step.push(chunk));
        step.finish();
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn characters_and_secrets_may_be_cut_anywhere() {
        let masks = Masks::new(&[Secret::new(b"hunter22".to_vec())]);
        assert_eq!(log_of(1000, &masks, &[b"a \xc3", b"\xbc hunt", b"er22\n"]), "a ü ***\n");
    }

    #[test]
    fn bytes_that_are_no_utf_8_become_replacement_characters() {
        assert_eq!(log_of(1000, &EMPTY, &[b"\xff\xc3", b"x\xe2\x82"]), "\u{fffd}\u{fffd}x\u{fffd}\n");
    }

    #[test]
    fn a_flood_is_cut_and_its_end_is_kept() {
        let line = b"0123456789abcde\n".repeat(64);
        let mut chunks: Vec<&[u8]> = vec![&line; 2000];
        chunks.push(b"the very end");
        let text = log_of(4096, &EMPTY, &chunks);
        assert!(text.ends_with("the very end\n") && text.contains("bytes of output are left out here"));
        assert!(text.len() < 4096 + KEPT_END_BYTES + 200, "{}", text.len());
        let left_out: usize = text.split("[hookspool] ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let own_words = text.lines().find(|line| line.starts_with("[hookspool]")).unwrap().len() + 1;
        assert_eq!(left_out + text.len() - own_words - 1, 2000 * line.len() + "the very end".len());
    }

    #[test]
    fn the_end_of_a_log_begins_with_a_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(end_of(&path, 0, 8), "three\n");
        assert_eq!(end_of(&path, 0, 100), "one\ntwo\nthree\n");
        assert_eq!(end_of(&path, 5, 100), "wo\nthree\n");
        assert_eq!(end_of(&folder.path().join("absent"), 0, 100), "");
    }
}
