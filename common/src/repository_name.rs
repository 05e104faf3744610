//! One name for a repository, however its URL is spelt: `github.com/owner/name`.
//!
//! Scheme, user, port and a `.git` at the end do not count, and the host has no case. The path keeps its case.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest repository name, in bytes.
pub const MAX_REPOSITORY_BYTES: usize = 512;

/// Why a text does not name a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shown:?} does not name a repository ({why}); write host/owner/name, or its https, ssh, scp-like or git:// URL")]
pub struct RepositoryNameError {
    shown: String,
    why: &'static str,
}

/// A repository's name: lower-case host, then at least one path component, such as `gitlab.com/group/sub/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryName(String);

impl RepositoryName {
    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component: `cmfive` of `github.com/2pisoftware/cmfive`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The name without its host: `2pisoftware/cmfive`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(_, path)| path)
    }
}

/// Splits any spelling into host (with a port perhaps) and path.
fn split(value: &str) -> Option<(&str, &str)> {
    if let Some((_scheme, rest)) = value.split_once("://") {
        return rest.split_once('/');
    }
    // scp-like, as git-clone(1) defines it: a colon before the first slash.
    // The colons of an IPv6 address in brackets do not count.
    let address_end = value.find(']').filter(|_| value.split('@').next_back().is_some_and(|host| host.starts_with('[')));
    let after = |character| value[address_end.unwrap_or(0)..].find(character).map(|at| at + address_end.unwrap_or(0));
    match (after(':'), after('/')) {
        (Some(colon), slash) if slash.is_none_or(|slash| colon < slash) => Some((&value[..colon], &value[colon + 1..])),
        (_, Some(slash)) => Some((&value[..slash], &value[slash + 1..])),
        _ => None,
    }
}

fn without_user_and_port(authority: &str) -> &str {
    let host = authority.rsplit('@').next().unwrap_or(authority);
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| &host[..=end]);
    }
    host.split(':').next().unwrap_or(host)
}

fn normalise(value: &str) -> Result<String, &'static str> {
    if value.len() > MAX_REPOSITORY_BYTES {
        return Err("it is longer than 512 bytes");
    }
    if value.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("it holds a space or a control character");
    }
    let (authority, path) = split(value).ok_or("it has no host and path")?;
    let host = without_user_and_port(authority).to_ascii_lowercase();
    // An IPv6 address stands in brackets (RFC 3986 section 3.2.2), and only there a colon is the host's own.
    let is_plain = |text: &str, more: &[u8]| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    let is_a_host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|address| is_plain(address, b":.")),
        None => is_plain(&host, b"-._") && !host.starts_with('-'),
    };
    if !is_a_host {
        return Err("its host is not a host name");
    }
    let path = path.trim_matches('/');
    let path = path.trim_end_matches(".git");
    let bad_component = |part: &str| matches!(part, "" | "." | "..") || part.starts_with('-') || part.ends_with(".git");
    if path.split('/').any(bad_component) {
        return Err("a part of its path is empty, a dot, begins with `-` or ends in .git");
    }
    if path.contains(['?', '#', '\\']) {
        return Err("its path holds one of ? # \\");
    }
    Ok(format!("{host}/{path}"))
}

impl FromStr for RepositoryName {
    type Err = RepositoryNameError;
    fn from_str(value: &str) -> Result<Self, RepositoryNameError> {
        normalise(value).map(Self).map_err(|why| RepositoryNameError { shown: value.chars().take(200).collect(), why })
    }
}

impl TryFrom<String> for RepositoryName {
    type Error = RepositoryNameError;
    fn try_from(value: String) -> Result<Self, RepositoryNameError> {
        value.parse()
    }
}

impl From<RepositoryName> for String {
    fn from(name: RepositoryName) -> Self {
        name.0
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_spelling_is_one_name() {
        for spelling in [
            "github.com/2pisoftware/cmfive",
            "https://github.com/2pisoftware/cmfive",
            "https://github.com/2pisoftware/cmfive.git",
            "https://token@GitHub.com:443/2pisoftware/cmfive.git/",
            "ssh://git@github.com/2pisoftware/cmfive.git",
            "ssh://git@github.com:22/2pisoftware/cmfive",
            "git@github.com:2pisoftware/cmfive.git",
            "git@GITHUB.com:/2pisoftware/cmfive",
            "github.com:2pisoftware/cmfive",
            "git://github.com/2pisoftware/cmfive.git",
            "git+ssh://git@github.com/2pisoftware/cmfive.git",
        ] {
            assert_eq!(spelling.parse::<RepositoryName>().unwrap().as_str(), "github.com/2pisoftware/cmfive", "{spelling}");
        }
    }

    #[test]
    fn the_path_keeps_its_case_and_its_groups() {
        let name: RepositoryName = "https://GitLab.com/Group/Sub/Name.git".parse().unwrap();
        assert_eq!(name.as_str(), "gitlab.com/Group/Sub/Name");
        assert_eq!((name.name(), name.path()), ("Name", "Group/Sub/Name"));
    }

    #[test]
    fn what_names_no_repository_is_refused() {
        for bad in [
            "",
            "cmfive",
            "github.com",
            "github.com/",
            "https://",
            "host/../x",
            "host/a b",
            "-h/x",
            "host/-x",
            "host/a.git/b",
            "a\n/b",
            "ssh://git@[git.example.com:7999/proj/shop.git",
            "a[b]/c",
            "[]/c",
        ] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_or_an_error_and_a_name_is_its_own_spelling(text in "\\PC{0,80}") {
            if let Ok(name) = text.parse::<RepositoryName>() {
                let again: RepositoryName = name.as_str().parse().unwrap();
                prop_assert_eq!(again, name);
            }
        }
    }
}
