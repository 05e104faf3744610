//! The path of a source's URL, which may have one parameter: `/redeploy-and-update/{service}`.

use std::fmt;
use std::str::FromStr;

/// Longest value of a parameter, in bytes: the name of a service or the like.
const MAX_PARAMETER_BYTES: usize = 128;

/// A path, of which one whole part may be a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePath {
    before: String,
    parameter: Option<String>,
    after: String,
}

impl SourcePath {
    /// The parameter's name.
    #[must_use]
    pub fn parameter(&self) -> Option<&str> {
        self.parameter.as_deref()
    }

    /// How many bytes stand before the parameter, and after it.
    #[must_use]
    pub const fn around(&self) -> (usize, usize) {
        (self.before.len(), self.after.len())
    }

    /// Whether a request for `path` is for this source. A parameter's value is a plain name: letters, digits, `-`, `_`
    /// and `.`, beginning with a letter or digit, so that nothing later need be afraid of it.
    #[must_use]
    pub fn fits(&self, path: &str) -> bool {
        if self.parameter.is_none() {
            return path == self.before;
        }
        let value = path.strip_prefix(self.before.as_str()).and_then(|rest| rest.strip_suffix(self.after.as_str()));
        value.is_some_and(is_value)
    }

    /// The path with this value for its parameter.
    #[must_use]
    pub fn with(&self, value: &str) -> String {
        if self.parameter.is_some() { format!("{}{value}{}", self.before, self.after) } else { self.before.clone() }
    }

    /// Whether some request could be for both. A path without parameter goes before one with it, so those never clash.
    #[must_use]
    pub fn clashes_with(&self, other: &Self) -> bool {
        if self.parameter.is_none() || other.parameter.is_none() {
            return self.parameter == other.parameter && self.before == other.before;
        }
        let (own, others) = (self.to_string(), other.to_string());
        let (own, others): (Vec<&str>, Vec<&str>) = (own.split('/').collect(), others.split('/').collect());
        let both_fit = |(one, two): (&&str, &&str)| match (one.starts_with('{'), two.starts_with('{')) {
            (true, true) => true,
            (true, false) => is_value(two),
            (false, true) => is_value(one),
            (false, false) => one == two,
        };
        own.len() == others.len() && own.iter().zip(&others).all(both_fit)
    }
}

/// Whether a parameter may have this value.
fn is_value(value: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let begins_well = value.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    begins_well && value.bytes().all(is_plain) && value.len() <= MAX_PARAMETER_BYTES
}

impl FromStr for SourcePath {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%{}".contains(&byte));
        let name_is_plain =
            |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let path = match text.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
            Some((before, (name, after))) => {
                let is_a_part = before.ends_with('/') && (after.is_empty() || after.starts_with('/'));
                let whole = is_a_part && name_is_plain(name);
                whole.then(|| Self { before: before.to_owned(), parameter: Some(name.to_owned()), after: after.to_owned() })
            }
            None => Some(Self { before: text.to_owned(), parameter: None, after: String::new() }),
        };
        let path = path.filter(|path| path.before.starts_with('/') && plain(&path.before) && plain(&path.after));
        path.ok_or_else(|| {
            format!(
                "{text:?} is not a path: it begins with `/`, holds neither spaces nor one of ? # %, \
                 and may have one whole part as a parameter, such as /deploy/{{service}}"
            )
        })
    }
}

impl fmt::Display for SourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.parameter {
            Some(name) => write!(f, "{}{{{name}}}{}", self.before, self.after),
            None => f.write_str(&self.before),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> SourcePath {
        text.parse().unwrap()
    }

    #[test]
    fn a_path_fits_itself_and_nothing_else() {
        for other in ["/hooks", "/hooks/github/", "/hooks/github%20", "/HOOKS/GITHUB", "//hooks/github", ""] {
            assert!(!path("/hooks/github").fits(other), "{other:?}");
        }
        assert!(path("/hooks/github").fits("/hooks/github"));
    }

    #[test]
    fn a_parameter_is_one_plain_part() {
        let service = path("/redeploy-and-update/{service}");
        assert_eq!((service.parameter(), service.to_string().as_str()), (Some("service"), "/redeploy-and-update/{service}"));
        assert!(service.fits("/redeploy-and-update/web-1.prod_x"));
        assert_eq!(service.with("web"), "/redeploy-and-update/web");
        for bad in ["", "../x", "..", ".hidden", "-rf", "a/b", "a%2Fb", "a b", "a;b", "ä"] {
            assert!(!service.fits(&format!("/redeploy-and-update/{bad}")), "{bad:?}");
        }
        assert!(!service.fits(&format!("/redeploy-and-update/{}", "x".repeat(MAX_PARAMETER_BYTES + 1))));
        assert!(path("/a/{x}/b").fits("/a/1/b") && !path("/a/{x}/b").fits("/a/b") && !path("/a/{x}/b").fits("/a//b"));
    }

    #[test]
    fn paths_clash_when_one_request_could_be_for_both() {
        for (one, other) in
            [("/a", "/a"), ("/a/{x}", "/a/{y}"), ("/a/{x}", "/{y}/b"), ("/a/{x}/c/d", "/a/b/{y}/d"), ("/a/b/{x}", "/a/{y}/c")]
        {
            assert!(path(one).clashes_with(&path(other)) && path(other).clashes_with(&path(one)), "{one} {other}");
        }
        // The last one's `-b` is no value of a parameter.
        for (one, other) in [
            ("/a", "/b"),
            ("/a/b", "/a/{x}"),
            ("/a/{x}", "/b/{x}"),
            ("/a/{x}", "/a/{x}/b"),
            ("/a/{x}/c", "/{y}/b/d"),
            ("/a/{x}", "/{y}/-b"),
        ] {
            assert!(!path(one).clashes_with(&path(other)) && !path(other).clashes_with(&path(one)), "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for bad in ["", "x", "/a b", "/a?b", "/a#b", "/a%20", "/a{x}", "/{x", "/x}", "/{}", "/{a}/{b}", "/{a-b}", "{x}"] {
            assert!(bad.parse::<SourcePath>().is_err(), "{bad:?}");
        }
    }
}
