//! HMAC (RFC 2104, FIPS 180-4) over a delivery's raw bytes.
//!
//! Every secret is tried, each comparison takes constant time, and a failure says nothing about what was expected.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

use crate::secrets::Secret;

/// The delivery is not signed with any of the source's secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is absent or wrong")]
pub struct SignatureError;

/// What the signature vouches for, in 32 bytes: the same for the same signed content, and for no other. A sender whose
/// content is constant by nature is vouched for without any.
#[derive(Debug, Clone, Copy)]
pub struct Proof(pub(crate) Option<[u8; 32]>);

impl Proof {
    /// Stands for exactly this content.
    pub(crate) fn of_content(parts: &[&[u8]]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        Self(Some(digest.finalize().into()))
    }
}

/// The hash under an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// SHA-1, which nobody should choose today; some old senders know nothing else.
    Sha1,
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104 section 2)")]
fn mac<M: KeyInit + Mac>(secret: &Secret, parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(secret.bytes()).expect("any key length fits");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

impl Algorithm {
    /// The HMAC of the parts, one after the other, under `secret`.
    #[must_use]
    pub fn hmac(self, secret: &Secret, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Sha256 => mac::<Hmac<Sha256>>(secret, parts),
            Self::Sha512 => mac::<Hmac<Sha512>>(secret, parts),
            Self::Sha1 => mac::<Hmac<Sha1>>(secret, parts),
        }
    }

    /// Checks `given` against the HMAC of `parts` under every one of `secrets`, in constant time.
    ///
    /// # Errors
    /// [`SignatureError`] when none fits, or when there is no secret at all.
    pub fn verify(self, given: &[u8], parts: &[&[u8]], secrets: &[Secret]) -> Result<(), SignatureError> {
        let mut fits = subtle::Choice::from(0);
        for secret in secrets {
            fits |= self.hmac(secret, parts).ct_eq(given);
        }
        if fits.into() { Ok(()) } else { Err(SignatureError) }
    }
}

/// HMAC-SHA256 of `body` under `secret`.
#[must_use]
pub fn hmac_sha256(secret: &Secret, body: &[u8]) -> Vec<u8> {
    Algorithm::Sha256.hmac(secret, &[body])
}

/// The bytes as lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

/// Lower-case hex digits as bytes; no other form is taken.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    rest.is_empty().then_some(())?;
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// Checks `given` (64 lower-case hex digits) against HMAC-SHA256 of `body` under every one of `secrets`.
///
/// # Errors
/// [`SignatureError`] when none fits, or when there is no secret at all.
pub fn verify_hex(given: &str, body: &[u8], secrets: &[Secret]) -> Result<Proof, SignatureError> {
    let given: [u8; 32] = from_hex(given).and_then(|given| given.try_into().ok()).ok_or(SignatureError)?;
    Algorithm::Sha256.verify(&given, &[body], secrets)?;
    Ok(Proof(Some(given)))
}

/// Checks a token that the sender gives as it is, against every one of `secrets`, in a time that says nothing of them.
/// It vouches for its sender; what is the same content is then for the body itself to say.
///
/// # Errors
/// [`SignatureError`] when none fits, or when there is no secret at all.
pub fn verify_token(given: &[u8], body: &[u8], secrets: &[Secret]) -> Result<Proof, SignatureError> {
    // Digests are of one length, so that not even the secret's is told.
    let given = Sha256::digest(given);
    let mut fits = subtle::Choice::from(0);
    for secret in secrets {
        fits |= Sha256::digest(secret.bytes()).ct_eq(&given);
    }
    if fits.into() { Ok(Proof::of_content(&[body])) } else { Err(SignatureError) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs.github.com, "Validating webhook deliveries", "Testing the webhook payload validation".
    const GITHUBS_SECRET: &str = "It's a Secret to Everybody";
    const GITHUBS_BODY: &[u8] = b"Hello, World!";
    const GITHUBS_SIGNATURE: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    #[test]
    fn githubs_published_vector_holds() {
        assert_eq!(hex(&hmac_sha256(&secret(GITHUBS_SECRET), GITHUBS_BODY)), GITHUBS_SIGNATURE);
        assert!(verify_hex(GITHUBS_SIGNATURE, GITHUBS_BODY, &[secret(GITHUBS_SECRET)]).is_ok());
    }

    #[test]
    fn while_rotating_either_secret_will_do() {
        let both = [secret("new"), secret(GITHUBS_SECRET)];
        assert!(verify_hex(GITHUBS_SIGNATURE, GITHUBS_BODY, &both).is_ok());
        assert!(verify_hex(GITHUBS_SIGNATURE, GITHUBS_BODY, &both[..1]).is_err());
        assert!(verify_hex(GITHUBS_SIGNATURE, GITHUBS_BODY, &[]).is_err());
    }

    #[test]
    fn only_the_exact_form_is_taken() {
        let secrets = [secret(GITHUBS_SECRET)];
        let upper = GITHUBS_SIGNATURE.to_uppercase();
        let doubled = format!("{GITHUBS_SIGNATURE}{GITHUBS_SIGNATURE}");
        let wrong = GITHUBS_SIGNATURE.replace('7', "8");
        for bad in ["", &GITHUBS_SIGNATURE[..63], &upper, &doubled, &wrong, &format!(" {}", &GITHUBS_SIGNATURE[1..])] {
            assert_eq!(verify_hex(bad, GITHUBS_BODY, &secrets).err(), Some(SignatureError), "{bad:?}");
        }
        assert!(verify_hex(GITHUBS_SIGNATURE, b"Hello, World?", &secrets).is_err());
    }
}
