//! A delivery before and after its signature was checked.
//!
//! `Delivery` is whatever somebody sent. Only [`Delivery::verify`] makes a [`VerifiedDelivery`], and only that one
//! can be parsed and stored by the receiver.

use sha2::{Digest, Sha256};

use crate::clock::Instant;
use crate::config::Source;
use crate::forges::{Malformed, Reading};
use crate::headers::Headers;
use crate::secrets::Secret;
use crate::signature::SignatureError;

/// Longest provider id (`X-GitHub-Delivery`), in bytes; forges send a UUID.
pub const MAX_PROVIDER_ID_BYTES: usize = 200;

/// Headers and raw bytes that came to a source's path; nothing about them is known to be true.
#[derive(Debug, Clone)]
pub struct Delivery<'s, B> {
    /// The source whose path was called; it says how to verify and read the rest.
    pub source: &'s Source,
    /// The headers.
    pub headers: Headers,
    /// The body, byte for byte.
    pub body: B,
}

impl<'s, B: AsRef<[u8]>> Delivery<'s, B> {
    /// Checks the signature over the raw body with each of `secrets` (several while one is being rotated).
    ///
    /// # Errors
    /// [`SignatureError`] when no secret made this signature, or it is too old. It deliberately does not say more.
    pub fn verify(self, secrets: &[Secret], now: Instant) -> Result<VerifiedDelivery<'s, B>, SignatureError> {
        let proof = self.source.dialect.verify(&self.headers, self.body.as_ref(), secrets, now)?;
        let content_key = proof.0.map(|content| key(&[b"content", self.source.name.as_str().as_bytes(), &content]));
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
pub struct VerifiedDelivery<'s, B> {
    delivery: Delivery<'s, B>,
    /// Absent where content says nothing about whether it was seen.
    content_key: Option<SeenKey>,
}

impl<'s, B: AsRef<[u8]>> VerifiedDelivery<'s, B> {
    /// The delivery.
    #[must_use]
    pub const fn delivery(&self) -> &Delivery<'s, B> {
        &self.delivery
    }

    /// The events it tells of.
    ///
    /// # Errors
    /// [`Malformed`] when it cannot be read at all.
    pub fn read(&self) -> Result<Reading, Malformed> {
        self.delivery.source.read(&self.delivery.headers, self.delivery.body.as_ref())
    }

    /// The forge's own id for it, if it gave a usable one.
    #[must_use]
    pub fn provider_id(&self) -> Option<&str> {
        let value = self.delivery.source.dialect.id_of(&self.delivery.headers)?;
        (!value.is_empty() && value.len() <= MAX_PROVIDER_ID_BYTES).then_some(value)
    }

    /// The keys under which this delivery counts as seen: its signed content, and its provider's id.
    #[must_use]
    pub fn seen_keys(&self) -> Vec<SeenKey> {
        let of_id = |id: &str| key(&[b"id", self.delivery.source.name.as_str().as_bytes(), id.as_bytes()]);
        self.content_key.into_iter().chain(self.provider_id().map(of_id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_not_run_into_each_other() {
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
    }
}
