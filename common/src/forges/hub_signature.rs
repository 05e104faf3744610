//! `sha256=` and the hex digits of HMAC-SHA256 over the body: the form that GitHub brought into use, and that others
//! took over under header names of their own.

use crate::headers::Headers;
use crate::secrets::Secret;
use crate::signature::{Proof, SignatureError, hex, hmac_sha256, verify_hex};

const PREFIX: &str = "sha256=";

/// Checks the one header `name` against the body.
pub(super) fn verify(headers: &Headers, name: &str, body: &[u8], secrets: &[Secret]) -> Result<Proof, SignatureError> {
    let value = headers.one(name).ok().flatten().ok_or(SignatureError)?;
    verify_hex(value.strip_prefix(PREFIX).ok_or(SignatureError)?, body, secrets)
}

/// The header's value for this body.
pub(super) fn of(body: &[u8], secret: &Secret) -> String {
    format!("{PREFIX}{}", hex(&hmac_sha256(secret, body)))
}
