//! One field of an expression: what may stand in it, and the values that it holds.

use super::expression::ScheduleError;

/// A field's place in the expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Minute,
    Hour,
    DayOfMonth,
    Month,
    DayOfWeek,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Sunday's other number.
const SUNDAY_AGAIN: u32 = 7;

impl Field {
    /// Every field, in order.
    pub(super) const ALL: [Self; 5] = [Self::Minute, Self::Hour, Self::DayOfMonth, Self::Month, Self::DayOfWeek];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
        }
    }

    /// The smallest and the largest number that may be written.
    const fn bounds(self) -> (u32, u32) {
        match self {
            Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, SUNDAY_AGAIN),
        }
    }

    /// What may be written, for people.
    const fn range(self) -> &'static str {
        match self {
            Self::Minute => "0 to 59",
            Self::Hour => "0 to 23",
            Self::DayOfMonth => "1 to 31",
            Self::Month => "1 to 12, or jan to dec",
            Self::DayOfWeek => "0 to 7, where 0 and 7 are Sunday, or sun to sat",
        }
    }

    /// The names of its values, and the number of the first.
    const fn names(self) -> (&'static [&'static str], u32) {
        match self {
            Self::Month => (&MONTHS, 1),
            Self::DayOfWeek => (&DAYS, 0),
            _ => (&[], 0),
        }
    }

    pub(super) fn wrong(self, text: &str, problem: &str, remedy: &str) -> ScheduleError {
        ScheduleError::Field {
            field: self.as_str(),
            value: text.to_owned(),
            problem: problem.to_owned(),
            remedy: remedy.to_owned(),
        }
    }

    fn number(self, text: &str, whole: &str) -> Result<u32, ScheduleError> {
        let (names, first) = self.names();
        if let Some(place) = names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(first + u32::try_from(place).unwrap_or(0));
        }
        let (low, high) = self.bounds();
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if is_number && (low..=high).contains(&number) => Ok(number),
            _ if is_number => Err(self.wrong(whole, &format!("{text} is out of range"), &format!("use {}", self.range()))),
            _ => {
                let remedy = format!("use {}, and between them only `,`, `-` and `/`", self.range());
                Err(self.wrong(whole, &format!("{text:?} is no number"), &remedy))
            }
        }
    }
}

/// The values that a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Values {
    bits: u64,
    /// Whether the field rules anything out, by the rule of cron's own program: all that begins with `*` does not.
    pub(super) is_restricted: bool,
}

impl Values {
    /// Reads a list of `*`, numbers, names and ranges, of which `*` and ranges may have a step.
    pub(super) fn parse(field: Field, text: &str) -> Result<Self, ScheduleError> {
        let mut bits = 0;
        for part in text.split(',') {
            bits |= part_of(field, part, text)?;
        }
        let is_restricted = !text.starts_with('*');
        // crontab(5) says "contain", cron's program looks at the first character.
        if is_restricted && text.contains('*') && matches!(field, Field::DayOfMonth | Field::DayOfWeek) {
            return Err(field.wrong(text, "crontab(5) and cron disagree on a `*` that does not come first", "write it first"));
        }
        Ok(Self { bits, is_restricted })
    }

    /// The values, for the `cron` crate: its Sunday is 1, and it knows a field that holds everything by its `*`.
    pub(super) fn in_the_terms_of_cron(self, field: Field) -> String {
        let (low, high) = match field {
            Field::DayOfWeek => (0, 6),
            field => field.bounds(),
        };
        let held: Vec<u32> = (low..=high).filter(|value| self.bits & (1 << value) != 0).collect();
        if held.len() == (low..=high).count() {
            return "*".to_owned();
        }
        let shift = u32::from(field == Field::DayOfWeek);
        held.iter().map(|value| (value + shift).to_string()).collect::<Vec<_>>().join(",")
    }
}

/// The values of one part between commas.
fn part_of(field: Field, part: &str, whole: &str) -> Result<u64, ScheduleError> {
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (part, None),
    };
    let (low, high) = field.bounds();
    let (first, last) = match range.split_once('-') {
        _ if range == "*" => (low, high),
        Some((first, last)) => (field.number(first, whole)?, field.number(last, whole)?),
        None if step.is_some() => {
            let remedy = format!("write {range}-{high}/{}", step.unwrap_or_default());
            return field.number(range, whole).and(Err(field.wrong(whole, "a step needs a range or `*` before it", &remedy)));
        }
        None => (field.number(range, whole)?, field.number(range, whole)?),
    };
    if first > last {
        let remedy = if field == Field::DayOfWeek && last == 0 {
            "Sunday at the end of a range is 7".to_owned()
        } else {
            format!("write {first}-{high},{low}-{last}")
        };
        return Err(field.wrong(whole, &format!("the range {range} ends before it begins"), &remedy));
    }
    let step = step.map_or(Ok(1), |step| step_of(field, step, whole))?;
    let values = (first..=last).step_by(step).map(|value| if is_sunday_again(field, value) { 0 } else { value });
    Ok(values.fold(0, |bits, value| bits | 1 << value))
}

fn is_sunday_again(field: Field, value: u32) -> bool {
    field == Field::DayOfWeek && value == SUNDAY_AGAIN
}

fn step_of(field: Field, text: &str, whole: &str) -> Result<usize, ScheduleError> {
    let (low, high) = field.bounds();
    let most = usize::try_from(high - low + 1).unwrap_or(usize::MAX);
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(step) if is_number && (1..=most).contains(&step) => Ok(step),
        // cron takes `*/90` for `0`, which nobody means who writes it.
        _ => Err(field.wrong(whole, &format!("{text:?} is no step"), &format!("use a number from 1 to {most}"))),
    }
}
