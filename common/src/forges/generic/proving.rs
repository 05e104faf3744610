//! How a sender that is no forge proves itself.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::clock::Instant;
use crate::forges::{Sent, standard_webhooks};
use crate::headers::Headers;
use crate::secrets::Secret;
use crate::signature::{self, Algorithm, Proof, SignatureError, from_hex, hex};

/// How bytes are written in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Lower-case hex digits.
    Hex,
    /// Base64 with padding (RFC 4648 section 4).
    Base64,
}

/// A time, in seconds since the epoch, that is signed together with the body, as `TIME.BODY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    /// The header with the time, in lower case.
    pub header: String,
    /// How far it may be from now.
    pub tolerance: Duration,
}

/// How a sender proves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proving {
    /// By an HMAC over the body.
    Hmac {
        /// The header with the signature, in lower case.
        header: String,
        /// What stands before the signature.
        prefix: String,
        /// How it is written.
        encoding: Encoding,
        /// The hash under it.
        algorithm: Algorithm,
        /// The time that is signed with it.
        timestamp: Option<Timestamp>,
    },
    /// As Standard Webhooks has it.
    StandardWebhooks {
        /// How far the signed time may be from now.
        tolerance: Duration,
    },
    /// By the secret itself.
    Token {
        /// The header with the secret, in lower case.
        header: String,
        /// What stands before the secret.
        prefix: String,
    },
}

fn once<'h>(headers: &'h Headers, name: &str) -> Result<&'h str, SignatureError> {
    headers.one(name).ok().flatten().ok_or(SignatureError)
}

impl Encoding {
    fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Hex => from_hex(text),
            Self::Base64 => STANDARD.decode(text).ok(),
        }
    }

    fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex(bytes),
            Self::Base64 => STANDARD.encode(bytes),
        }
    }
}

/// What was proved: the content, and whether its time was signed with it.
pub(super) struct Proved {
    pub(super) proof: Proof,
    pub(super) with_time: bool,
}

impl Proving {
    pub(super) fn signature_header(&self) -> &str {
        match self {
            Self::Hmac { header, .. } | Self::Token { header, .. } => header,
            Self::StandardWebhooks { .. } => standard_webhooks::SIGNATURE_HEADER,
        }
    }

    pub(super) fn signed_headers(&self) -> Vec<&str> {
        match self {
            Self::Hmac { timestamp, .. } => timestamp.iter().map(|timestamp| timestamp.header.as_str()).collect(),
            Self::StandardWebhooks { .. } => vec![standard_webhooks::TIMESTAMP_HEADER],
            Self::Token { .. } => Vec::new(),
        }
    }

    pub(super) fn verify(
        &self,
        headers: &Headers,
        body: &[u8],
        secrets: &[Secret],
        now: Instant,
    ) -> Result<Proved, SignatureError> {
        match self {
            Self::StandardWebhooks { tolerance } => {
                let proof = standard_webhooks::verify(headers, body, secrets, now, *tolerance)?;
                Ok(Proved { proof, with_time: true })
            }
            Self::Token { header, prefix } => {
                let token = once(headers, header)?.strip_prefix(prefix.as_str()).ok_or(SignatureError)?;
                Ok(Proved { proof: signature::verify_token(token.as_bytes(), body, secrets)?, with_time: false })
            }
            Self::Hmac { header, prefix, encoding, algorithm, timestamp } => {
                let given = once(headers, header)?.strip_prefix(prefix.as_str()).ok_or(SignatureError)?;
                let given = encoding.decode(given).ok_or(SignatureError)?;
                let proof = Proof::of_content(&[&given]);
                let Some(timestamp) = timestamp else {
                    algorithm.verify(&given, &[body], secrets)?;
                    return Ok(Proved { proof, with_time: false });
                };
                let time = once(headers, &timestamp.header)?;
                if !standard_webhooks::is_recent(time, now, timestamp.tolerance) {
                    return Err(SignatureError);
                }
                algorithm.verify(&given, &[time.as_bytes(), b".", body], secrets)?;
                Ok(Proved { proof, with_time: true })
            }
        }
    }

    /// Adds the headers by which `sent` proves itself.
    pub(super) fn prove(&self, headers: &mut Headers, sent: &Sent<'_>, secret: &Secret) {
        match self {
            Self::StandardWebhooks { .. } => standard_webhooks::sign(headers, sent.id, sent.body, secret, sent.at),
            Self::Token { header, prefix } => {
                headers.add(header, &format!("{prefix}{}", String::from_utf8_lossy(secret.bytes())));
            }
            Self::Hmac { header, prefix, encoding, algorithm, timestamp } => {
                let time = (sent.at.millis() / 1000).to_string();
                let mac = match timestamp {
                    None => algorithm.hmac(secret, &[sent.body]),
                    Some(timestamp) => {
                        headers.add(&timestamp.header, &time);
                        algorithm.hmac(secret, &[time.as_bytes(), b".", sent.body])
                    }
                };
                headers.add(header, &format!("{prefix}{}", encoding.encode(&mac)));
            }
        }
    }
}
