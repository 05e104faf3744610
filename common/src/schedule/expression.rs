//! The text of a schedule: five fields, or one of crontab(5)'s names for them.

use super::field::{Field, Values};

/// Longest expression, in bytes: a list of all minutes, hours and days has half as many.
const MAX_BYTES: usize = 1024;

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// It has not five fields.
    #[error(
        "the schedule {text:?} has {count} fields; write five: minute, hour, day of month, month, day of week, such as \"0 3 * * *\""
    )]
    Fields {
        /// The schedule.
        text: String,
        /// How many it has.
        count: usize,
    },
    /// It is longer than any schedule that somebody would write.
    #[error("the schedule is {0} bytes long; write at most {MAX_BYTES}")]
    TooLong(usize),
    /// A field holds what it cannot.
    #[error("{field} {value:?}: {problem}; {remedy}")]
    Field {
        /// Which one.
        field: &'static str,
        /// What stands in it.
        value: String,
        /// What is wrong with it.
        problem: String,
        /// What to write.
        remedy: String,
    },
    /// `@reboot`
    #[error(
        "\"@reboot\" is no time: nothing of Hookspool stays between jobs that could tell the start of the machine; let a systemd unit or cron start what belongs there"
    )]
    Reboot,
    /// A word that crontab(5) does not have.
    #[error("crontab(5) has no {0:?}; write @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually, or five fields")]
    Word(String),
    /// No day is as it says.
    #[error("the schedule {0:?} never comes true: no month that it names has such a day; change day of month or month")]
    Never(String),
    /// What the `cron` crate says to an expression that should be right.
    #[error("the schedule {text:?} cannot be read: {error}; write its fields differently")]
    NotTaken {
        /// The schedule.
        text: String,
        /// What is wrong with it.
        error: String,
    },
}

/// Five fields, each with the values that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expression {
    text: String,
    minute: Values,
    hour: Values,
    day_of_month: Values,
    month: Values,
    day_of_week: Values,
}

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Self, ScheduleError> {
        if text.len() > MAX_BYTES {
            return Err(ScheduleError::TooLong(text.len()));
        }
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let spelled = match words.as_slice() {
            [word] if word.starts_with('@') => spelled_out(word)?.split(' ').collect(),
            _ => words.clone(),
        };
        let [minute, hour, day_of_month, month, day_of_week] = spelled.as_slice() else {
            return Err(ScheduleError::Fields { text: words.join(" "), count: words.len() });
        };
        Ok(Self {
            text: words.join(" "),
            minute: Values::parse(Field::Minute, minute)?,
            hour: Values::parse(Field::Hour, hour)?,
            day_of_month: Values::parse(Field::DayOfMonth, day_of_month)?,
            month: Values::parse(Field::Month, month)?,
            day_of_week: Values::parse(Field::DayOfWeek, day_of_week)?,
        })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn never(&self) -> ScheduleError {
        ScheduleError::Never(self.text.clone())
    }

    pub(super) fn not_taken(&self, error: &str) -> ScheduleError {
        ScheduleError::NotTaken { text: self.text.clone(), error: error.to_owned() }
    }

    /// Lines of the `cron` crate, which begin with the second and of which each wants both its day fields to hold. A day on
    /// which one of them comes true is right.
    pub(super) fn in_the_terms_of_cron(&self) -> Vec<String> {
        let field = |field| match field {
            Field::Minute => self.minute.in_the_terms_of_cron(field),
            Field::Hour => self.hour.in_the_terms_of_cron(field),
            Field::DayOfMonth => self.day_of_month.in_the_terms_of_cron(field),
            Field::Month => self.month.in_the_terms_of_cron(field),
            Field::DayOfWeek => self.day_of_week.in_the_terms_of_cron(field),
        };
        let [minute, hour, day_of_month, month, day_of_week] = Field::ALL.map(field);
        if self.day_of_month.is_restricted && self.day_of_week.is_restricted {
            let of_month = format!("0 {minute} {hour} {day_of_month} {month} *");
            return vec![of_month, format!("0 {minute} {hour} * {month} {day_of_week}")];
        }
        vec![format!("0 {minute} {hour} {day_of_month} {month} {day_of_week}")]
    }
}

/// What crontab(5) says that the name is short for.
fn spelled_out(word: &str) -> Result<&'static str, ScheduleError> {
    Ok(match word.to_ascii_lowercase().as_str() {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@reboot" => return Err(ScheduleError::Reboot),
        _ => return Err(ScheduleError::Word(word.to_owned())),
    })
}
