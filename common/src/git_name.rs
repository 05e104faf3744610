//! Refs and commits, held to git's own rules, so that no later code meets `..`, a line break or an option.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest ref name, in bytes. Git itself is bounded by the file system's 255 bytes a component; forges by about this.
pub const MAX_REF_BYTES: usize = 1024;

/// Why a text is not a ref.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shown:?} is not a git ref name: {why}")]
pub struct RefNameError {
    shown: String,
    why: &'static str,
}

/// A full ref name such as `refs/heads/feature/x`, well formed by the rules of git-check-ref-format(1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RefName(String);

impl RefName {
    /// The ref of the branch with this short name.
    ///
    /// # Errors
    /// When the result is not a well-formed ref.
    pub fn of_branch(short: &str) -> Result<Self, RefNameError> {
        format!("refs/heads/{short}").parse()
    }

    /// The ref of the tag with this short name.
    ///
    /// # Errors
    /// When the result is not a well-formed ref.
    pub fn of_tag(short: &str) -> Result<Self, RefNameError> {
        format!("refs/tags/{short}").parse()
    }

    /// The full name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The branch's short name, whole (`feature/x`), if this is a branch.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.0.strip_prefix("refs/heads/")
    }

    /// The tag's short name, if this is a tag.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.0.strip_prefix("refs/tags/")
    }

    /// The name that people use: without `refs/heads/` or `refs/tags/`.
    #[must_use]
    pub fn short(&self) -> &str {
        self.branch().or_else(|| self.tag()).unwrap_or_else(|| self.0.trim_start_matches("refs/"))
    }
}

fn flaw(name: &str) -> Option<&'static str> {
    let forbidden = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    if !name.starts_with("refs/") || name.matches('/').count() < 2 {
        return Some("it must be a full name such as refs/heads/main");
    }
    if name.len() > MAX_REF_BYTES {
        return Some("it is longer than 1024 bytes");
    }
    if name.chars().any(forbidden) {
        return Some("it holds a control character, a space or one of ~ ^ : ? * [ \\");
    }
    if name.contains("..") || name.contains("@{") || name.ends_with('.') {
        return Some("it holds `..` or `@{`, or ends in a dot");
    }
    let bad_component = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    if name.split('/').any(bad_component) {
        return Some("a part of it is empty, begins with a dot or ends in .lock");
    }
    None
}

impl FromStr for RefName {
    type Err = RefNameError;
    fn from_str(value: &str) -> Result<Self, RefNameError> {
        match flaw(value) {
            None => Ok(Self(value.to_owned())),
            Some(why) => Err(RefNameError { shown: value.chars().take(200).collect(), why }),
        }
    }
}

impl TryFrom<String> for RefName {
    type Error = RefNameError;
    fn try_from(value: String) -> Result<Self, RefNameError> {
        value.parse()
    }
}

impl From<RefName> for String {
    fn from(name: RefName) -> Self {
        name.0
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a commit's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a commit id: 40 or 64 lower-case hex digits, not all zero")]
pub struct ShaError(String);

/// A commit's full id: 40 hex digits (SHA-1) or 64 (SHA-256), lower case, never all zero.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha(String);

impl Sha {
    /// The full id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first ten digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..10]
    }
}

impl FromStr for Sha {
    type Err = ShaError;
    fn from_str(value: &str) -> Result<Self, ShaError> {
        let is_hex = value.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let is_long_enough = matches!(value.len(), 40 | 64);
        if is_hex && is_long_enough && value.bytes().any(|byte| byte != b'0') {
            return Ok(Self(value.to_owned()));
        }
        Err(ShaError(value.chars().take(80).collect()))
    }
}

impl TryFrom<String> for Sha {
    type Error = ShaError;
    fn try_from(value: String) -> Result<Self, ShaError> {
        value.parse()
    }
}

impl From<Sha> for String {
    fn from(sha: Sha) -> Self {
        sha.0
    }
}

impl fmt::Display for Sha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_with_slashes_stays_whole_and_a_tag_is_no_branch() {
        let branch: RefName = "refs/heads/feature/x".parse().unwrap();
        assert_eq!((branch.branch(), branch.tag(), branch.short()), (Some("feature/x"), None, "feature/x"));
        let tag: RefName = "refs/tags/v1.0".parse().unwrap();
        assert_eq!((tag.branch(), tag.tag()), (None, Some("v1.0")));
    }

    #[test]
    fn what_git_refuses_is_refused() {
        for bad in [
            "main",
            "refs/heads",
            "refs/heads/",
            "refs/heads//x",
            "refs/heads/../../etc",
            "refs/heads/a\nb",
            "refs/heads/a b",
            "refs/heads/.x",
            "refs/heads/x.lock",
            "refs/heads/x/",
            "refs/heads/a..b",
            "refs/heads/a@{1}",
            "refs/heads/x.",
            "",
        ] {
            assert!(bad.parse::<RefName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn odd_names_that_git_allows_are_allowed() {
        for good in ["refs/heads/$(reboot)", "refs/heads/-rf", "refs/heads/ümläut", "refs/pull/7/head", "refs/heads/a;b"] {
            assert_eq!(good.parse::<RefName>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn the_zero_id_and_short_ids_are_no_commits() {
        for bad in ["0000000000000000000000000000000000000000", "abc", "ABCDEF0123456789ABCDEF0123456789ABCDEF01", ""] {
            assert!(bad.parse::<Sha>().is_err(), "{bad:?}");
        }
    }
}
