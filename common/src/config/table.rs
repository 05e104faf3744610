//! Reading TOML tables key by key, so that every error keeps its place and none hides another.

use std::collections::BTreeSet;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Report, SourceText, suggestion};
use crate::trusted::{self, Owners};

/// A value and its place.
pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// A text and its place.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) value: String,
    pub(super) span: Range<usize>,
}

/// One table while it is being read. Keys that nobody asked for are reported by [`Table::finish`].
pub(super) struct Table<'a, 't> {
    pub(super) source: &'a SourceText<'a>,
    entries: &'a DeTable<'t>,
    span: Range<usize>,
    /// What the table is, for messages: `[mail]`, `this job`.
    what: &'static str,
    asked: BTreeSet<&'static str>,
}

/// Parses a whole file; its syntax errors go into the report.
pub(super) fn parse<'t>(source: &SourceText<'t>, report: &mut Report) -> Option<Spanned<DeTable<'t>>> {
    let (table, errors) = DeTable::parse_recoverable(source.text);
    for error in &errors {
        source.problem(report, error.span().unwrap_or(0..0), error.message().trim_end().replace('\n', "; "), None);
    }
    errors.is_empty().then_some(table)
}

/// Reads a file as text within the limits, if nobody else could have written it; failures go into the report.
pub(super) fn read_file(file: &Path, report: &mut Report) -> Option<String> {
    let (mut opened, _) = trusted::open(file, Owners::of_this_process()).map_err(|error| report.of_trust(file, error)).ok()?;
    let mut read = || -> std::io::Result<Result<String, u64>> {
        let size = opened.metadata()?.len();
        if size > super::MAX_FILE_BYTES {
            return Ok(Err(size));
        }
        let mut text = String::new();
        opened.read_to_string(&mut text)?;
        Ok(Ok(text))
    };
    match read() {
        Ok(Ok(text)) => Some(text),
        Ok(Err(size)) => {
            let most = super::MAX_FILE_BYTES;
            report.of_file(file, format!("it holds {size} bytes; a configuration file has at most {most}"), None);
            None
        }
        Err(error) => {
            report.of_file(file, format!("cannot read it: {error}"), None);
            None
        }
    }
}

impl<'a, 't> Table<'a, 't> {
    pub(super) fn new(source: &'a SourceText<'a>, what: &'static str, entries: &'a DeTable<'t>, span: Range<usize>) -> Self {
        Self { source, entries, span, what, asked: BTreeSet::new() }
    }

    /// Reads `value` as a table.
    pub(super) fn of_value(
        source: &'a SourceText<'a>,
        what: &'static str,
        value: &'a Value<'t>,
        report: &mut Report,
    ) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(entries) => Some(Self::new(source, what, entries, value.span())),
            other => {
                let message = format!("{what} must be a table, and is {}", kind_of(other));
                source.problem(report, value.span(), message, None);
                None
            }
        }
    }

    /// The value of `key`, if it was written.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Value<'t>> {
        self.asked.insert(key);
        self.entries.get(key)
    }

    /// Reports a required key as absent.
    pub(super) fn absent(&self, key: &'static str, example: &str, report: &mut Report) {
        let message = format!("{} has no `{key}`", self.what);
        self.source.problem(report, self.span.clone(), message, Some(format!("write {example}")));
    }

    /// Reports a problem with `value`.
    pub(super) fn wrong(&self, span: Range<usize>, message: impl ToString, help: Option<String>, report: &mut Report) {
        self.source.problem(report, span, message.to_string(), help);
    }

    fn mistyped(&self, key: &str, value: &Value<'_>, wanted: &str, report: &mut Report) {
        let message = format!("`{key}` must be {wanted}, and is {}", kind_of(value.get_ref()));
        self.wrong(value.span(), message, None, report);
    }

    /// A text.
    pub(super) fn text(&mut self, key: &'static str, report: &mut Report) -> Option<Text> {
        let value = self.get(key)?;
        let text = text_of(value);
        if text.is_none() {
            self.mistyped(key, value, "a text in quotes", report);
        }
        text
    }

    /// A text that must be written.
    pub(super) fn required_text(&mut self, key: &'static str, example: &str, report: &mut Report) -> Option<Text> {
        if self.entries.get(key).is_none() {
            self.asked.insert(key);
            self.absent(key, example, report);
        }
        self.text(key, report)
    }

    /// A text, parsed by its type.
    pub(super) fn parsed<T: FromStr<Err: ToString>>(&mut self, key: &'static str, report: &mut Report) -> Option<T> {
        let text = self.text(key, report)?;
        self.parse_text(&text, report)
    }

    /// Parses a text that was read already.
    pub(super) fn parse_text<T: FromStr<Err: ToString>>(&self, text: &Text, report: &mut Report) -> Option<T> {
        text.value.parse().map_err(|error: T::Err| self.wrong(text.span.clone(), error.to_string(), None, report)).ok()
    }

    /// An absolute path; anything else would depend on who starts a program where.
    pub(super) fn absolute_path(&self, text: &Text, report: &mut Report) -> Option<PathBuf> {
        let path = PathBuf::from(&text.value);
        if path.is_absolute() {
            return Some(path);
        }
        self.wrong(text.span.clone(), format!("{:?} is not an absolute path", text.value), None, report);
        None
    }

    /// Every key with its text, whatever it is called.
    pub(super) fn all_texts(&self, report: &mut Report) -> Vec<(String, Text)> {
        let mut texts = Vec::new();
        for (key, value) in self.entries {
            match text_of(value) {
                Some(text) => texts.push((key.get_ref().to_string(), text)),
                None => self.mistyped(key.get_ref(), value, "a text in quotes", report),
            }
        }
        texts
    }

    /// A text or a list of texts.
    pub(super) fn texts(&mut self, key: &'static str, report: &mut Report) -> Option<Vec<Text>> {
        let value = self.get(key)?;
        self.texts_of(key, value, report)
    }

    /// The text or list of texts that `value` is.
    pub(super) fn texts_of(&self, key: &str, value: &Value<'_>, report: &mut Report) -> Option<Vec<Text>> {
        if let Some(text) = text_of(value) {
            return Some(vec![text]);
        }
        let DeValue::Array(items) = value.get_ref() else {
            self.mistyped(key, value, "a text in quotes or a list of them", report);
            return None;
        };
        let mut texts = Vec::new();
        let mut all_are_texts = true;
        for item in items.iter() {
            match text_of(item) {
                Some(text) => texts.push(text),
                None => {
                    self.mistyped(key, item, "a list of texts in quotes", report);
                    all_are_texts = false;
                }
            }
        }
        all_are_texts.then_some(texts)
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &'static str, report: &mut Report) -> Option<bool> {
        let value = self.get(key)?;
        let boolean = value.get_ref().as_bool();
        if boolean.is_none() {
            self.mistyped(key, value, "true or false", report);
        }
        boolean
    }

    /// One of a fixed list of words.
    pub(super) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&'static str, T)], report: &mut Report) -> Option<T> {
        let text = self.text(key, report)?;
        self.word_of(key, &text, words, report)
    }

    /// The text that is the value of `key`, or an item of it, as one of a fixed list of words.
    pub(super) fn word_of<T: Copy>(
        &self,
        key: &'static str,
        text: &Text,
        words: &[(&'static str, T)],
        report: &mut Report,
    ) -> Option<T> {
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(*value);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let help =
            suggestion(&text.value, known.iter().copied()).unwrap_or_else(|| format!("write one of: {}", known.join(", ")));
        self.wrong(text.span.clone(), format!("`{key}` cannot be {:?}", text.value), Some(help), report);
        None
    }

    /// A whole number within `range`.
    pub(super) fn number(&mut self, key: &'static str, range: std::ops::RangeInclusive<u64>, report: &mut Report) -> Option<u64> {
        let value = self.get(key)?;
        let number = value.get_ref().as_integer().and_then(|integer| u64::from_str_radix(integer.as_str(), integer.radix()).ok());
        if let Some(number) = number.filter(|number| range.contains(number)) {
            return Some(number);
        }
        self.wrong(
            value.span(),
            format!("`{key}` must be a whole number from {} to {}", range.start(), range.end()),
            None,
            report,
        );
        None
    }

    /// A duration such as `30m`.
    pub(super) fn duration(&mut self, key: &'static str, report: &mut Report) -> Option<std::time::Duration> {
        let text = self.text(key, report)?;
        super::duration::parse_duration(&text.value).map_err(|message| self.wrong(text.span, message, None, report)).ok()
    }

    /// A size such as `512MiB`, in bytes.
    pub(super) fn size(&mut self, key: &'static str, report: &mut Report) -> Option<u64> {
        let text = self.text(key, report)?;
        super::size::parse(&text.value).map_err(|message| self.wrong(text.span, message, None, report)).ok()
    }

    /// The tables of an array of tables, such as `[[job]]`.
    pub(super) fn tables(&mut self, key: &'static str, what: &'static str, report: &mut Report) -> Vec<Table<'a, 't>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        match value.get_ref() {
            DeValue::Array(items) => items.iter().filter_map(|item| Self::of_value(self.source, what, item, report)).collect(),
            _ => {
                self.mistyped(key, value, &format!("a list of tables, each under [[{key}]]"), report);
                Vec::new()
            }
        }
    }

    /// The table `key`, if it was written.
    pub(super) fn table(&mut self, key: &'static str, what: &'static str, report: &mut Report) -> Option<Table<'a, 't>> {
        let value = self.get(key)?;
        Self::of_value(self.source, what, value, report)
    }

    /// Where the table stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self, report: &mut Report) {
        for (key, _) in self.entries.iter().filter(|(key, _)| !self.asked.contains(key.get_ref().as_ref())) {
            let known = self.asked.iter().copied();
            let help = suggestion(key.get_ref(), known.clone())
                .unwrap_or_else(|| format!("{} may have: {}", self.what, known.collect::<Vec<_>>().join(", ")));
            self.wrong(key.span(), format!("{} has no key `{}`", self.what, key.get_ref()), Some(help), report);
        }
    }
}

fn text_of(value: &Value<'_>) -> Option<Text> {
    value.get_ref().as_str().map(|text| Text { value: text.to_owned(), span: value.span() })
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
