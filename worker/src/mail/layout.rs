//! Plain text in columns: wrapping, tables, durations. Pure.

use std::fmt::Write;
use std::path::Path;

use hookspool_common::clock::Instant;

use crate::harmless::harmless;

/// The text in lines of at most `width` characters, each ended. A word that is longer has a line of its own.
pub(super) fn wrapped(text: &str, width: usize) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            wrapped.push('\n');
            column = 0;
        }
        if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
    }
    wrapped.push('\n');
    wrapped
}

/// Rows in columns, two spaces before each. The third column, which holds times, is aligned to the right.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let mut table = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count());
            let (before, after) = if column == 2 { (padding.as_str(), "") } else { ("", padding.as_str()) };
            // Writing to a string cannot fail.
            let _ = write!(line, "  {before}{cell}{after}");
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

/// A duration as people say it: `40 ms`, `1.4 s`, `1 min 05 s`, `2 h 03 min`.
pub(super) fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..60 => format!("{seconds}.{} s", milliseconds % 1000 / 100),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// An instant to the second: `2026-03-01 12:00:07 UTC`.
pub(super) fn time(instant: Instant) -> String {
    let precise = instant.to_string();
    match (precise.get(..10), precise.get(11..19)) {
        (Some(day), Some(time)) if precise.len() == 24 => format!("{day} {time} UTC"),
        _ => precise,
    }
}

/// A path as a shell takes it for one word.
pub(crate) fn shell_word(path: &Path) -> String {
    let word: String = path.display().to_string().chars().map(harmless).collect();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%,:=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_wrapped_and_never_broken() {
        assert_eq!(wrapped("aa bb cc", 5), "aa bb\ncc\n");
        assert_eq!(wrapped("a toolongaword b", 5), "a\ntoolongaword\nb\n");
        assert_eq!(wrapped("", 5), "\n");
    }

    #[test]
    fn durations_are_said_as_people_say_them() {
        for (milliseconds, said) in [
            (0, "0 ms"),
            (449, "449 ms"),
            (1449, "1.4 s"),
            (59_999, "59.9 s"),
            (65_000, "1 min 05 s"),
            (3_599_999, "59 min 59 s"),
            (7_380_000, "2 h 03 min"),
        ] {
            assert_eq!(duration(milliseconds), said);
        }
    }

    #[test]
    fn an_instant_is_said_to_the_second() {
        assert_eq!(time(Instant::from_millis(1_772_366_407_999)), "2026-03-01 12:00:07 UTC");
        assert_eq!(time(Instant::from_millis(i64::MAX)), format!("{} ms", i64::MAX));
    }

    #[test]
    fn a_path_with_spaces_and_quotes_is_one_word() {
        assert_eq!(shell_word(Path::new("/etc/hookspool.toml")), "/etc/hookspool.toml");
        assert_eq!(shell_word(Path::new("/tmp/it's here")), r"'/tmp/it'\''s here'");
        assert_eq!(shell_word(Path::new("/tmp/a\nb")), "'/tmp/a\u{fffd}b'");
    }
}
