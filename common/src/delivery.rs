//! A delivery before and after its signature was checked.
//!
//! `Delivery` is whatever somebody sent. Only [`Delivery::verify`] makes a [`VerifiedDelivery`], and only that one
//! can be parsed and stored by the receiver.

use sha2::{Digest, Sha256};

use crate::forges::{self, Malformed, Provider, Reading};
use crate::headers::Headers;
use crate::names::SourceName;
use crate::secrets::Secret;
use crate::signature::SignatureError;

/// Longest provider id (`X-GitHub-Delivery`), in bytes; forges send a UUID.
pub const MAX_PROVIDER_ID_BYTES: usize = 200;

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
    fn keys_do_not_run_into_each_other() {
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
    }
}
