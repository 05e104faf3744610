//! One error in a configuration file: where it is, the line itself, and what to write instead.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::trusted::TrustError;

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Line and column, from 1, the column in characters; absent when the whole file is meant.
    pub place: Option<(usize, usize)>,
    /// The line as it stands in the file, and how many characters are meant.
    pub excerpt: Option<(String, usize)>,
    /// What is wrong.
    pub message: String,
    /// What to do about it, where that is known.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file.display(), self.message)?,
            None => write!(f, "{}: {}", self.file.display(), self.message)?,
        }
        if let (Some((text, width)), Some((line, column))) = (&self.excerpt, self.place) {
            let gutter = " ".repeat(line.to_string().len());
            let indent: String = text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            write!(f, "\n  {line} | {text}\n  {gutter} | {indent}{}", "^".repeat((*width).max(1)))?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// Every error of one reading, in the order of files and lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The errors.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        match self.0.len() {
            1 => f.write_str("1 error in the configuration"),
            count => write!(f, "{count} errors in the configuration"),
        }
    }
}

impl std::error::Error for Problems {}

/// Collects problems while files are read.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Problem>);

impl Report {
    pub(super) fn of_file(&mut self, file: &Path, message: String, help: Option<String>) {
        self.0.push(Problem { file: file.to_owned(), place: None, excerpt: None, message, help });
    }

    /// A file that cannot be opened, or that others could have changed.
    pub(super) fn of_trust(&mut self, file: &Path, error: TrustError) {
        match error {
            TrustError::Untrusted(untrusted) => {
                let help = Some(format!("run: {}", untrusted.remedy()));
                self.of_file(&untrusted.path, untrusted.problem(), help);
            }
            TrustError::Unreadable { path, error } => {
                let help = match error.kind() {
                    io::ErrorKind::NotFound => Some("name another file with --config FILE".to_owned()),
                    io::ErrorKind::PermissionDenied => {
                        Some("root owns it and the group `hookspool` must be able to read it".to_owned())
                    }
                    _ => None,
                };
                let place = if path == file { String::new() } else { format!("{}: ", path.display()) };
                self.of_file(file, format!("cannot read it: {place}{error}"), help);
            }
        }
    }

    pub(super) fn into_problems(mut self) -> Problems {
        self.0.sort_by(|a, b| (&a.file, a.place).cmp(&(&b.file, b.place)));
        // One folder leads to many files.
        self.0.dedup();
        Problems(self.0)
    }
}

/// A file's text, which turns byte ranges into lines and columns.
#[derive(Debug)]
pub(super) struct SourceText<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
}

impl SourceText<'_> {
    pub(super) fn problem(&self, report: &mut Report, span: Range<usize>, message: String, help: Option<String>) {
        let start = self.text.floor_char_boundary(span.start.min(self.text.len()));
        let line_start = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |newline| start + newline);
        let end = self.text.floor_char_boundary(span.end.clamp(start, line_end));
        let place = (self.text[..start].matches('\n').count() + 1, self.text[line_start..start].chars().count() + 1);
        let line = self.text[line_start..line_end].trim_end_matches('\r').to_owned();
        let excerpt = Some((line, self.text[start..end].chars().count()));
        report.0.push(Problem { file: self.file.to_owned(), place: Some(place), excerpt, message, help });
    }
}

/// `did you mean …` when one of `known` is near `written`.
pub(super) fn suggestion<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let distance = |candidate: &&str| strsim::damerau_levenshtein(written, candidate);
    let nearest = known.into_iter().min_by_key(distance)?;
    let near_enough = strsim::damerau_levenshtein(written, nearest) <= 1 + nearest.len() / 4;
    near_enough.then(|| format!("did you mean `{nearest}`?"))
}
