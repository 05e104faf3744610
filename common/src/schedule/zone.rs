//! A time zone by its name in the time zone database, and the machine's own.
//!
//! The machine's database counts, as its packages keep it up to date. Where there is none at all (a container with nothing but
//! the receiver), the copy that came with this program does.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::clock::Instant;

/// What tells the machine's zone (localtime(5)).
const LOCALTIME: &str = "/etc/localtime";

/// Why there is no such zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    /// The database has none of this name.
    #[error(
        "no time zone is called {0:?}; write a name of the time zone database, such as Europe/Berlin, America/New_York or UTC"
    )]
    Unknown(String),
    /// What tells the machine's own cannot be used.
    #[error(
        "{LOCALTIME} does not tell this machine's time zone: {0}; mend it, or give each job with a `schedule` its `timezone`"
    )]
    Machine(String),
}

/// A time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    name: String,
    time_zone: TimeZone,
}

impl Zone {
    /// The zone with this name in the time zone database.
    ///
    /// # Errors
    /// [`ZoneError::Unknown`]
    pub fn parse(name: &str) -> Result<Self, ZoneError> {
        let time_zone = TimeZone::get(name).map_err(|_| ZoneError::Unknown(name.to_owned()))?;
        let known_as = time_zone.iana_name().filter(|_| !time_zone.is_unknown());
        let name = known_as.ok_or_else(|| ZoneError::Unknown(name.to_owned()))?.to_owned();
        Ok(Self { name, time_zone })
    }

    /// The machine's own zone; UTC where none is set, as for every program (tzset(3)). `TZ` is not looked at: it may differ
    /// between whoever starts a pass, and a schedule must not.
    ///
    /// # Errors
    /// [`ZoneError::Machine`] when what is set cannot be read.
    pub fn of_machine() -> Result<Self, ZoneError> {
        Self::of_localtime(Path::new(LOCALTIME))
    }

    fn of_localtime(path: &Path) -> Result<Self, ZoneError> {
        // The link's target holds the name, which the file that it leads to does not.
        if let Ok(target) = std::fs::read_link(path)
            && let Some((_, name)) = target.to_str().and_then(|target| target.split_once("zoneinfo/"))
            && let Ok(zone) = Self::parse(name)
        {
            return Ok(zone);
        }
        match std::fs::read(path) {
            Ok(bytes) => {
                let time_zone = TimeZone::tzif("localtime", &bytes).map_err(|error| ZoneError::Machine(error.to_string()))?;
                Ok(Self { name: LOCALTIME.to_owned(), time_zone })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::utc()),
            Err(error) => Err(ZoneError::Machine(error.to_string())),
        }
    }

    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), time_zone: TimeZone::UTC }
    }

    /// Its name; `/etc/localtime` for that of a machine that does not name it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// What the wall clock shows, with its distance from UTC, such as `2026-03-29T03:00:00+02:00`.
    #[must_use]
    pub fn show(&self, instant: Instant) -> String {
        match Timestamp::from_millisecond(instant.millis()) {
            Ok(timestamp) => timestamp.display_with_offset(self.time_zone.to_offset(timestamp)).to_string(),
            Err(_) => instant.to_string(),
        }
    }

    pub(super) const fn time_zone(&self) -> &TimeZone {
        &self.time_zone
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl FromStr for Zone {
    type Err = ZoneError;
    fn from_str(name: &str) -> Result<Self, ZoneError> {
        Self::parse(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_found_by_its_name_in_any_case_and_nothing_else_is() {
        for (name, known_as) in [("Europe/Berlin", "Europe/Berlin"), ("america/new_york", "America/New_York"), ("UTC", "UTC")] {
            assert_eq!(Zone::parse(name).unwrap().as_str(), known_as);
        }
        for bad in ["", "Berlin", "Europe/Berln", "../etc/passwd", "/etc/localtime", "CET-1CEST", "Etc/Unknown", "+02:00"] {
            assert_eq!(Zone::parse(bad), Err(ZoneError::Unknown(bad.to_owned())), "{bad:?}");
        }
    }

    #[test]
    fn the_machines_zone_is_that_of_its_localtime_and_utc_where_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("localtime");
        assert_eq!(Zone::of_localtime(&path), Ok(Zone::utc()));
        std::os::unix::fs::symlink("/usr/share/zoneinfo/Australia/Lord_Howe", &path).unwrap();
        assert_eq!(Zone::of_localtime(&path).unwrap().as_str(), "Australia/Lord_Howe");
        std::fs::remove_file(&path).unwrap();
        std::fs::copy("/usr/share/zoneinfo/Europe/Berlin", &path).unwrap();
        let unnamed = Zone::of_localtime(&path).unwrap();
        assert_eq!(unnamed.as_str(), "/etc/localtime");
        assert_eq!(unnamed.show(Instant::from_millis(1_774_745_999_000)), "2026-03-29T01:59:59+01:00");
        assert_eq!(unnamed.show(Instant::from_millis(1_774_746_000_000)), "2026-03-29T03:00:00+02:00");
        std::fs::write(&path, "nonsense").unwrap();
        assert!(matches!(Zone::of_localtime(&path), Err(ZoneError::Machine(_))));
    }
}
