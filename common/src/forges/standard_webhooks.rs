//! Standard Webhooks (standardwebhooks.com, the specification's "Signature scheme"): id, time and body are signed
//! together, and there may be several signatures while a secret is being replaced.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::clock::Instant;
use crate::headers::Headers;
use crate::secrets::Secret;
use crate::signature::{Algorithm, Proof, SignatureError};

pub(crate) const ID_HEADER: &str = "webhook-id";
pub(crate) const TIMESTAMP_HEADER: &str = "webhook-timestamp";
pub(crate) const SIGNATURE_HEADER: &str = "webhook-signature";

/// How far the sender's clock may be off, and how old a delivery may be, unless the configuration says otherwise.
pub(crate) const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Most signatures that are looked at: an old secret's, a new one's, and some to spare.
const MAX_SIGNATURES: usize = 8;

/// What a secret's text begins with when the rest is base64.
const SECRET_PREFIX: &str = "whsec_";

/// Checks id, time, body and one of the signatures.
///
/// # Errors
/// [`SignatureError`] when a header is absent or repeated, the time is out of tolerance, or nothing fits.
pub(super) fn verify(
    headers: &Headers,
    body: &[u8],
    secrets: &[Secret],
    now: Instant,
    tolerance: Duration,
) -> Result<Proof, SignatureError> {
    let one = |name| headers.one(name).ok().flatten().ok_or(SignatureError);
    let (id, timestamp, signatures) = (one(ID_HEADER)?, one(TIMESTAMP_HEADER)?, one(SIGNATURE_HEADER)?);
    if !is_recent(timestamp, now, tolerance) {
        return Err(SignatureError);
    }
    let keys: Vec<Secret> = secrets.iter().filter_map(key).collect();
    let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    let given = signatures.split(' ').take(MAX_SIGNATURES).filter_map(|signature| signature.strip_prefix("v1,"));
    let mut given = given.filter_map(|base64| STANDARD.decode(base64).ok());
    if given.any(|given| Algorithm::Sha256.verify(&given, &parts, &keys).is_ok()) {
        // A sender that tries again signs a new time; id and body say that it is the same delivery.
        return Ok(Proof::of_content(&[id.as_bytes(), body]));
    }
    Err(SignatureError)
}

/// Whether `timestamp` (seconds since the epoch) lies within the tolerance, before or after now.
pub(super) fn is_recent(timestamp: &str, now: Instant, tolerance: Duration) -> bool {
    let is_plain = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let Some(seconds) = timestamp.parse::<i64>().ok().filter(|_| is_plain) else { return false };
    let tolerance = i64::try_from(tolerance.as_secs()).unwrap_or(i64::MAX);
    (now.millis() / 1000).abs_diff(seconds) <= tolerance.unsigned_abs()
}

/// Whether this is a key for signing, which its sender never sends.
pub(super) fn is_signing_key(secret: &Secret) -> bool {
    secret.bytes().starts_with(SECRET_PREFIX.as_bytes())
}

/// The key that a secret's text stands for: base64 after `whsec_`, else the text itself.
fn key(secret: &Secret) -> Option<Secret> {
    match secret.bytes().strip_prefix(SECRET_PREFIX.as_bytes()) {
        Some(encoded) => STANDARD.decode(encoded).ok().map(Secret::new),
        None => Some(secret.clone()),
    }
}

/// Adds the headers that a sender would send with `body`.
pub(super) fn sign(headers: &mut Headers, id: &str, body: &[u8], secret: &Secret, now: Instant) {
    let timestamp = (now.millis() / 1000).to_string();
    let key = key(secret).unwrap_or_else(|| secret.clone());
    let mac = Algorithm::Sha256.hmac(&key, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body]);
    headers.add(ID_HEADER, id);
    headers.add(TIMESTAMP_HEADER, &timestamp);
    headers.add(SIGNATURE_HEADER, &format!("v1,{}", STANDARD.encode(mac)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries ("verify.md", "Example signature").
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const AT: i64 = 1_614_265_330;

    fn secret() -> [Secret; 1] {
        [Secret::new(SECRET.into())]
    }

    fn headers(id: &str, at: &str, signature: &str) -> Headers {
        let mut headers = Headers::new();
        headers.add(ID_HEADER, id);
        headers.add(TIMESTAMP_HEADER, at);
        headers.add(SIGNATURE_HEADER, signature);
        headers
    }

    fn holds(headers: &Headers, body: &[u8], now: i64) -> bool {
        verify(headers, body, &secret(), Instant::from_millis(now * 1000), TOLERANCE).is_ok()
    }

    #[test]
    fn the_specifications_example_holds_and_nothing_near_it() {
        let at = AT.to_string();
        assert!(holds(&headers(ID, &at, SIGNATURE), BODY, AT));
        assert!(holds(&headers(ID, &at, &format!("v1,AAAA v2,x {SIGNATURE}")), BODY, AT));
        assert!(!holds(&headers(ID, &at, SIGNATURE), b"{}", AT));
        assert!(!holds(&headers("msg_other", &at, SIGNATURE), BODY, AT));
        assert!(!holds(&headers(ID, &(AT + 1).to_string(), SIGNATURE), BODY, AT));
        for bad in ["", "v1", "v1,", &SIGNATURE[3..], "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="] {
            assert!(!holds(&headers(ID, &at, bad), BODY, AT), "{bad:?}");
        }
    }

    #[test]
    fn what_is_too_old_or_from_the_future_is_refused() {
        let signed = headers(ID, &AT.to_string(), SIGNATURE);
        assert!(holds(&signed, BODY, AT + 300) && holds(&signed, BODY, AT - 300));
        assert!(!holds(&signed, BODY, AT + 301) && !holds(&signed, BODY, AT - 301));
        for bad in ["", "+1614265330", "1614265330.0", " 1614265330", "99999999999999999999"] {
            assert!(!is_recent(bad, Instant::from_millis(AT * 1000), TOLERANCE), "{bad:?}");
        }
    }

    #[test]
    fn what_is_signed_here_is_verified_and_a_second_try_is_the_same_content() {
        let signed = |at| {
            let mut headers = Headers::new();
            sign(&mut headers, ID, BODY, &secret()[0], Instant::from_millis(at * 1000));
            verify(&headers, BODY, &secret(), Instant::from_millis(AT * 1000), TOLERANCE).unwrap().0
        };
        assert_eq!(signed(AT), signed(AT + 10));
    }
}
