//! The patterns of `when`: `*` stays within a path component, `**` does not, `!` takes away.

use globset::{GlobBuilder, GlobMatcher};

/// Longest pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 512;

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is not a pattern: {why}")]
pub struct PatternError {
    pattern: String,
    why: String,
}

/// A list of patterns. A text fits when one of them fits it and no pattern with `!` does; a list of nothing but
/// `!` patterns takes away from everything.
#[derive(Debug, Clone)]
pub struct Globs {
    written: Vec<String>,
    wanted: Vec<GlobMatcher>,
    unwanted: Vec<GlobMatcher>,
}

fn compile(pattern: &str) -> Result<GlobMatcher, PatternError> {
    let error = |why: String| PatternError { pattern: pattern.chars().take(MAX_PATTERN_BYTES).collect(), why };
    if pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES {
        return Err(error(format!("it is empty, or longer than {MAX_PATTERN_BYTES} bytes")));
    }
    let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|cause| error(cause.kind().to_string()))
}

impl Globs {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// [`PatternError`] for the first pattern that is none.
    pub fn new(patterns: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, PatternError> {
        let mut globs = Self { written: Vec::new(), wanted: Vec::new(), unwanted: Vec::new() };
        for pattern in patterns {
            let pattern = pattern.into();
            match pattern.strip_prefix('!') {
                Some(taken_away) => globs.unwanted.push(compile(taken_away)?),
                None => globs.wanted.push(compile(&pattern)?),
            }
            globs.written.push(pattern);
        }
        Ok(globs)
    }

    /// Whether `text` fits.
    #[must_use]
    pub fn fit(&self, text: &str) -> bool {
        let wanted = self.wanted.is_empty() || self.wanted.iter().any(|glob| glob.is_match(text));
        wanted && !self.unwanted.iter().any(|glob| glob.is_match(text))
    }

    /// Whether a set of texts (labels) fits as a whole: one of them is wanted, and none is taken away.
    #[must_use]
    pub fn fit_together(&self, texts: &[&str]) -> bool {
        let any = |globs: &[GlobMatcher]| globs.iter().any(|glob| texts.iter().any(|text| glob.is_match(text)));
        (self.wanted.is_empty() || any(&self.wanted)) && !any(&self.unwanted)
    }

    /// The patterns as they were written, for messages: `"master", "!docs/**"`.
    #[must_use]
    pub fn shown(&self) -> String {
        let quoted: Vec<_> = self.written.iter().map(|pattern| format!("{pattern:?}")).collect();
        quoted.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(patterns: &[&str], text: &str) -> bool {
        Globs::new(patterns.iter().copied()).unwrap().fit(text)
    }

    #[test]
    fn a_star_stays_within_a_component_and_two_stars_do_not() {
        assert!(fits(&["v*"], "v1.2") && fits(&["*"], "master") && !fits(&["*"], "feature/x"));
        assert!(fits(&["feature/*"], "feature/x") && !fits(&["feature/*"], "feature/x/y"));
        assert!(fits(&["feature/**"], "feature/x/y") && fits(&["**"], "a/b/c") && fits(&["**/*.rs"], "lib.rs"));
    }

    #[test]
    fn an_exclamation_mark_takes_away() {
        assert!(fits(&["**", "!docs/**"], "src/main.rs") && !fits(&["**", "!docs/**"], "docs/a/b"));
        assert!(fits(&["!wip/**"], "master") && !fits(&["!wip/**"], "wip/x"));
    }

    #[test]
    fn a_set_fits_when_none_of_it_is_taken_away() {
        let together = |patterns: &[&str], texts: &[&str]| Globs::new(patterns.iter().copied()).unwrap().fit_together(texts);
        assert!(together(&["ready", "!wip"], &["x", "ready"]) && !together(&["ready", "!wip"], &["ready", "wip"]));
        assert!(together(&["!wip"], &[]) && !together(&["ready"], &[]));
    }

    #[test]
    fn case_counts_and_a_part_is_not_the_whole() {
        assert!(!fits(&["master"], "Master") && !fits(&["master"], "master2"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in ["", "!", "[", "{a,b", "x\\"] {
            assert!(Globs::new([bad]).is_err(), "{bad:?}");
        }
    }
}
