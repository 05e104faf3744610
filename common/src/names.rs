//! Ids and names. Each is checked where it is made; whoever holds one need not check again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name of a job, source or secret, in bytes: it must fit a file name beside a prefix.
pub const MAX_NAME_BYTES: usize = 64;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} {value:?} is not a name: use 1 to {MAX_NAME_BYTES} letters, digits, `-`, `_` or `.`, beginning with a letter or digit"
)]
pub struct NameError {
    what: &'static str,
    value: String,
}

fn check(what: &'static str, value: &str) -> Result<(), NameError> {
    let first_is_plain = value.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let all_are_allowed = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if first_is_plain && all_are_allowed && value.len() <= MAX_NAME_BYTES {
        return Ok(());
    }
    Err(NameError { what, value: value.chars().take(2 * MAX_NAME_BYTES).collect() })
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(value: &str) -> Result<Self, NameError> {
                check($what, value)?;
                Ok(Self(value.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(value: String) -> Result<Self, NameError> {
                value.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A job's name, unique within its repository's file.
    JobName,
    "job"
);
name!(
    /// The name of a `[[source]]`.
    SourceName,
    "source"
);
name!(
    /// The name of a secret, which is also the name of its file.
    SecretName,
    "secret"
);

/// A delivery's id: a UUID of version 7 (RFC 9562 section 5.7), so that ids grow with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeliveryId(uuid::Uuid);

impl DeliveryId {
    /// A new id, made from the present time and random bits.
    #[must_use]
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7())
    }

    /// The id's 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id that these 16 bytes spell.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DeliveryId {
    type Err = uuid::Error;
    fn from_str(value: &str) -> Result<Self, uuid::Error> {
        value.parse().map(Self)
    }
}

/// A run's number: 1, 2, 3 and so on for one ledger, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(i64);

impl RunId {
    /// The run with this number.
    #[must_use]
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = std::num::ParseIntError;
    fn from_str(value: &str) -> Result<Self, Self::Err> {
        value.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_paths_or_options_are_refused() {
        for bad in ["", ".", "..", "-rf", "a/b", "a b", "a\nb", "ü", &"x".repeat(65)] {
            assert!(bad.parse::<JobName>().is_err(), "{bad:?}");
        }
        for good in ["image", "2pi", "unit-tests", "v1.2", "A_b"] {
            assert_eq!(good.parse::<JobName>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_name_read_from_json_is_checked_too() {
        assert!(serde_json::from_str::<JobName>("\"../../etc\"").is_err());
    }

    #[test]
    fn delivery_ids_grow() {
        let first = DeliveryId::generate();
        let second = DeliveryId::generate();
        assert!(first < second);
        assert_eq!(first.to_string().parse::<DeliveryId>().unwrap(), first);
    }
}
