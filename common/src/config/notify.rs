//! `notify`: who learns of a job's runs, and of which.

use super::mail::MailAddress;
use super::problem::{Report, suggestion};
use super::table::Table;

/// When a run is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NotifyOn {
    /// After every run.
    #[default]
    Always,
    /// After runs that did not succeed.
    Failure,
    /// When the job breaks, when it stays broken for a day, and when it is fixed.
    Change,
}

impl NotifyOn {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Always, Self::Failure, Self::Change];

    /// The choice, as in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Failure => "failure",
            Self::Change => "change",
        }
    }
}

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// Whoever pushed.
    Pusher,
    /// This address.
    Address(MailAddress),
}

/// Who is told of a job's runs, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// Who.
    pub to: Vec<Recipient>,
    /// When.
    pub on: NotifyOn,
}

impl Default for Notify {
    fn default() -> Self {
        Self { to: vec![Recipient::Pusher], on: NotifyOn::default() }
    }
}

pub(super) fn read(mut table: Table<'_, '_>, report: &mut Report) -> Notify {
    let mut notify = Notify::default();
    if let Some(texts) = table.texts("to", report) {
        let read = |text: &super::table::Text| match text.value.as_str() {
            "pusher" => Some(Recipient::Pusher),
            address if address.contains('@') => table.parse_text(text, report).map(Recipient::Address),
            other => {
                let help = suggestion(other, ["pusher"]).unwrap_or_else(|| "write \"pusher\" or a mail address".to_owned());
                table.wrong(text.span.clone(), format!("{other:?} is nobody who could be mailed"), Some(help), report);
                None
            }
        };
        notify.to = texts.iter().filter_map(read).collect();
    }
    notify.on = table.word("on", &NotifyOn::ALL.map(|word| (word.as_str(), word)), report).unwrap_or_default();
    table.finish(report);
    notify
}
