//! HMAC-SHA256 (RFC 2104, FIPS 180-4) over a delivery's raw bytes.
//!
//! Every secret is tried, each comparison takes constant time, and a failure says nothing about what was expected.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::secrets::Secret;

/// The delivery is not signed with any of the source's secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is absent or wrong")]
pub struct SignatureError;

/// What the signature vouches for, in 32 bytes: the same for the same signed content, and for no other.
#[derive(Debug, Clone, Copy)]
pub struct Proof(pub(crate) [u8; 32]);

/// HMAC-SHA256 of `body` under `secret`.
#[must_use]
pub fn hmac_sha256(secret: &Secret, body: &[u8]) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104 section 2)")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("any key length fits");
    mac.update(body);
    mac.finalize().into_bytes().into()
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

/// 64 lower-case hex digits as bytes; no other form is taken.
fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Checks `given` (64 lower-case hex digits) against HMAC-SHA256 of `body` under every one of `secrets`.
///
/// # Errors
/// [`SignatureError`] when none fits, or when there is no secret at all.
pub fn verify_hex(given: &str, body: &[u8], secrets: &[Secret]) -> Result<Proof, SignatureError> {
    let given = from_hex(given).ok_or(SignatureError)?;
    let mut fits = subtle::Choice::from(0);
    for secret in secrets {
        fits |= hmac_sha256(secret, body).ct_eq(&given);
    }
    if fits.into() { Ok(Proof(given)) } else { Err(SignatureError) }
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
    if fits.into() { Ok(Proof(Sha256::digest(body).into())) } else { Err(SignatureError) }
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
