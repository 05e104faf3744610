//! `schedule`: five fields of crontab(5), and the instants at which they come true in a time zone.
//!
//! The `cron` crate walks the calendar. It is given the wall clock as if that were UTC, because what it makes of a clock
//! that is moved is not what is wanted here: each time of the wall clock comes true once. One that the clock skips does so
//! when the clock has been moved; of one that it shows twice, the first counts.

mod expression; // text to fields
mod field; // one field: the values it holds
mod zone; // where the wall clock hangs

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::clock::Instant;
use expression::Expression;

pub use expression::ScheduleError;
pub use zone::{Zone, ZoneError};

/// When a job is due.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    /// What has to hold on a day. Where both day fields are restricted these are two, of which either will do.
    alternatives: Vec<cron::Schedule>,
}

impl Schedule {
    /// Reads five fields of crontab(5), or one of its names such as `@daily`.
    ///
    /// # Errors
    /// [`ScheduleError`] for what is none, and for what can never come true, such as the 30th of February.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let expression = Expression::parse(text)?;
        let read = |line: String| cron::Schedule::from_str(&line).map_err(|error| expression.not_taken(&error.to_string()));
        let alternatives = expression.in_the_terms_of_cron().into_iter().map(read).collect::<Result<_, _>>()?;
        let schedule = Self { text: expression.text().to_owned(), alternatives };
        match schedule.wall_clock_after(NaiveDate::default().into()) {
            Some(_) => Ok(schedule),
            None => Err(expression.never()),
        }
    }

    /// The expression as it was written, with single spaces.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first instant after this one at which the schedule comes true; `None` when the calendar of the `cron` crate,
    /// which ends with the year 2100, has no more.
    #[must_use]
    pub fn next_after(&self, instant: Instant, zone: &Zone) -> Option<Instant> {
        let zone = zone.time_zone();
        let mut wall_clock = to_chrono(zone.to_datetime(Timestamp::from_millisecond(instant.millis()).ok()?))?;
        loop {
            wall_clock = self.wall_clock_after(wall_clock)?;
            // While the clock shows a time for the second time, what came true the first time is over.
            let due = instant_of(wall_clock, zone)?;
            if due > instant {
                return Some(due);
            }
        }
    }

    fn wall_clock_after(&self, wall_clock: NaiveDateTime) -> Option<NaiveDateTime> {
        let next = |schedule: &cron::Schedule| schedule.after(&wall_clock.and_utc()).next().map(|next| next.naive_utc());
        self.alternatives.iter().filter_map(next).min()
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Schedule {}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;
    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        Self::parse(text)
    }
}

/// Below the minute everything is cut off: all that follows is after it all the same.
fn to_chrono(wall_clock: DateTime) -> Option<NaiveDateTime> {
    let (month, day) = (u32::try_from(wall_clock.month()).ok()?, u32::try_from(wall_clock.day()).ok()?);
    let (hour, minute) = (u32::try_from(wall_clock.hour()).ok()?, u32::try_from(wall_clock.minute()).ok()?);
    NaiveDate::from_ymd_opt(i32::from(wall_clock.year()), month, day)?.and_hms_opt(hour, minute, 0)
}

fn to_jiff(wall_clock: NaiveDateTime) -> Option<DateTime> {
    let (year, month) = (i16::try_from(wall_clock.year()).ok()?, i8::try_from(wall_clock.month()).ok()?);
    let (day, hour) = (i8::try_from(wall_clock.day()).ok()?, i8::try_from(wall_clock.hour()).ok()?);
    DateTime::new(year, month, day, hour, i8::try_from(wall_clock.minute()).ok()?, 0, 0).ok()
}

/// When the wall clock shows this for the first time, or would have, had it not been moved past it.
fn instant_of(wall_clock: NaiveDateTime, zone: &TimeZone) -> Option<Instant> {
    let wall_clock = to_jiff(wall_clock)?;
    let timestamp = match zone.to_ambiguous_timestamp(wall_clock).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall_clock).ok()?,
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall_clock).ok()?,
        // Reckoned from the clock as it is afterwards, the time lies before the move.
        AmbiguousOffset::Gap { after, .. } => {
            let earlier = after.to_timestamp(wall_clock).ok()?;
            zone.following(earlier).find(|moved| moved.offset() == after)?.timestamp()
        }
    };
    Some(Instant::from_millis(timestamp.as_millisecond()))
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
