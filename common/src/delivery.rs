//! A delivery before and after its signature was checked.
//!
//! `Delivery` is whatever somebody sent. Only [`Delivery::verify`] makes a [`VerifiedDelivery`], and only that one
//! can be parsed and stored by the receiver.

use sha2::{Digest, Sha256};

use crate::forges::{self, Malformed, Provider, Reading};
use crate::names::SourceName;
use crate::secrets::Secret;
use crate::signature::SignatureError;

/// Longest provider id (`X-GitHub-Delivery`), in bytes; forges send a UUID.
pub const MAX_PROVIDER_ID_BYTES: usize = 200;

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

    /// Every header, as name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Headers and raw bytes that came to a source's path; nothing about them is known to be true.
#[derive(Debug, Clone)]
pub struct Delivery<B> {
    /// The source whose path was called.
    pub source: SourceName,
    /// The source's provider, which says how to verify and read the rest.
    pub provider: Provider,
    /// The headers.
    pub headers: Headers,
    /// The body, byte for byte.
    pub body: B,
}

impl<B: AsRef<[u8]>> Delivery<B> {
    /// Checks the signature over the raw body with each of `secrets` (several while one is being rotated).
    ///
    /// # Errors
    /// [`SignatureError`] when no secret made this signature. It deliberately does not say more.
    pub fn verify(self, secrets: &[Secret]) -> Result<VerifiedDelivery<B>, SignatureError> {
        let proof = forges::verify(self.provider, &self.headers, self.body.as_ref(), secrets)?;
        let content_key = key(&[b"content", self.source.as_str().as_bytes(), &proof.0]);
        Ok(VerifiedDelivery { delivery: self, content_key })
    }
}

/// Sixteen bytes that stand for one thing already seen: SHA-256 over length-prefixed parts, cut off.
pub type SeenKey = [u8; 16];

fn key(parts: &[&[u8]]) -> SeenKey {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let mut key = [0; 16];
    key.copy_from_slice(&digest.finalize()[..16]);
    key
}

/// A delivery whose signature was made with one of the source's secrets.
#[derive(Debug, Clone)]
pub struct VerifiedDelivery<B> {
    delivery: Delivery<B>,
    content_key: SeenKey,
}

impl<B: AsRef<[u8]>> VerifiedDelivery<B> {
    /// The delivery.
    #[must_use]
    pub const fn delivery(&self) -> &Delivery<B> {
        &self.delivery
    }

    /// The events it tells of.
    ///
    /// # Errors
    /// [`Malformed`] when it cannot be read at all.
    pub fn read(&self) -> Result<Reading, Malformed> {
        forges::read(self.delivery.provider, &self.delivery.headers, self.delivery.body.as_ref())
    }

    /// The forge's own id for it, if it gave a usable one.
    #[must_use]
    pub fn provider_id(&self) -> Option<&str> {
        let value = self.delivery.provider.id_of(&self.delivery.headers)?;
        (!value.is_empty() && value.len() <= MAX_PROVIDER_ID_BYTES).then_some(value)
    }

    /// The keys under which this delivery counts as seen: its signed content, and its provider's id.
    #[must_use]
    pub fn seen_keys(&self) -> Vec<SeenKey> {
        let of_id = |id: &str| key(&[b"id", self.delivery.source.as_str().as_bytes(), id.as_bytes()]);
        std::iter::once(self.content_key).chain(self.provider_id().map(of_id)).collect()
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

    #[test]
    fn keys_do_not_run_into_each_other() {
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
    }
}
