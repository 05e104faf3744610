//! Request headers as a forge's parser sees them. They are whatever somebody sent.

/// Request headers that a forge's parser may look at: names in lower case, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

/// A header that must come once came several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated;

impl Headers {
    /// No headers yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a header; its name's case does not count.
    pub fn add(&mut self, name: &str, value: &str) {
        self.0.push((name.to_ascii_lowercase(), value.to_owned()));
    }

    /// The value of the header `name` (in lower case), if it came.
    ///
    /// # Errors
    /// [`Repeated`] if it came more than once: which one the sender meant is anybody's guess.
    pub fn one(&self, name: &str) -> Result<Option<&str>, Repeated> {
        let mut values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let first = values.next();
        if values.next().is_some() { Err(Repeated) } else { Ok(first) }
    }

    /// Whether the header `name` (in lower case) is there, once or several times.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// Every header, as name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_came_twice_is_not_guessed_at() {
        let mut headers = Headers::new();
        headers.add("X-Event", "push");
        assert_eq!(headers.one("x-event"), Ok(Some("push")));
        headers.add("x-event", "tag");
        assert_eq!(headers.one("x-event"), Err(Repeated));
        assert_eq!(headers.one("x-other"), Ok(None));
    }
}
