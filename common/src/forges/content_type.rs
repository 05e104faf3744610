//! What a body is, by the content type that came with it: JSON, or a form around JSON.
//!
//! No forge signs the content type. So a form is taken only where it is the one parameter `payload` and nothing else:
//! then no bytes are both JSON and a form, and nobody can have what was signed read in another way.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use super::Malformed;
use crate::headers::Headers;

/// A content type that a forge sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ContentType {
    name: &'static str,
    holds: Holds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Json,
    Form,
    FormAroundSigned,
}

/// JSON, signed as it came.
pub(super) const JSON: ContentType = ContentType { name: "application/json", holds: Holds::Json };
/// A form whose `payload` is the JSON, signed as it came.
pub(super) const FORM: ContentType = ContentType { name: FORM_NAME, holds: Holds::Form };
/// A form whose `payload` is the JSON, of which only that is signed.
pub(super) const FORM_AROUND_SIGNED: ContentType = ContentType { name: FORM_NAME, holds: Holds::FormAroundSigned };

const FORM_NAME: &str = "application/x-www-form-urlencoded";

/// Whether one of `taken` is the type that a header names; parameters do not count.
pub(super) fn is_taken(taken: &[ContentType], named: &str) -> bool {
    find(taken, named).is_some()
}

/// Whether it is JSON of any sort (RFC 6839 section 3.1).
pub(super) fn is_json(named: &str) -> bool {
    find(&[JSON], named).is_some() || essence(named).to_ascii_lowercase().ends_with("+json")
}

fn find(taken: &[ContentType], named: &str) -> Option<Holds> {
    taken.iter().find(|known| essence(named).eq_ignore_ascii_case(known.name)).map(|known| known.holds)
}

/// The type without its parameters (RFC 9110 section 8.3.1).
fn essence(named: &str) -> &str {
    named.split(';').next().unwrap_or_default().trim()
}

/// The bytes that the signature is over.
pub(super) fn signed<'b>(taken: &[ContentType], headers: &Headers, body: &'b [u8]) -> Option<Cow<'b, [u8]>> {
    let named = headers.one("content-type").ok().flatten();
    match named.and_then(|named| find(taken, named)) {
        Some(Holds::FormAroundSigned) => payload(body).map(Cow::Owned),
        _ => Some(Cow::Borrowed(body)),
    }
}

/// The JSON in the body. Without a content type the body is the JSON.
pub(super) fn json<'b>(taken: &[ContentType], headers: &Headers, body: &'b [u8]) -> Result<Cow<'b, [u8]>, Malformed> {
    let Some(named) = headers.one("content-type").map_err(|_| Malformed::ContentType("two at once".to_owned()))? else {
        return Ok(Cow::Borrowed(body));
    };
    match find(taken, named) {
        None => Err(Malformed::ContentType(named.chars().take(100).collect())),
        Some(Holds::Json) => Ok(Cow::Borrowed(body)),
        Some(Holds::Form | Holds::FormAroundSigned) => payload(body).map(Cow::Owned).ok_or(Malformed::Form),
    }
}

/// The value of the one parameter, byte for byte (URL Standard, "application/x-www-form-urlencoded parsing"). It is
/// never longer than the form.
fn payload(form: &[u8]) -> Option<Vec<u8>> {
    let value = form.strip_prefix(b"payload=").filter(|value| !value.contains(&b'&'))?;
    let spaced: Vec<u8> = value.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    Some(percent_decode(&spaced).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEN: &[ContentType] = &[JSON, FORM];

    fn read(content_type: &str, body: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut headers = Headers::new();
        headers.add("content-type", content_type);
        json(TAKEN, &headers, body).map(Cow::into_owned)
    }

    #[test]
    fn a_form_gives_its_payload_byte_for_byte() {
        let body = b"payload=%7B%22a%22%3A+%22%2B+%26%3D%c3%bc%FF%25%22%7D";
        assert_eq!(read("application/x-www-form-urlencoded", body).unwrap(), b"{\"a\": \"+ &=\xc3\xbc\xff%\"}");
        assert_eq!(read("Application/X-WWW-Form-Urlencoded; charset=utf-8", b"payload=").unwrap(), b"");
        // A percent sign that begins no escape stands for itself.
        assert_eq!(read("application/x-www-form-urlencoded", b"payload=%zz%4").unwrap(), b"%zz%4");
    }

    #[test]
    fn a_form_is_one_payload_and_nothing_else() {
        let forms: [&[u8]; 8] =
            [b"", b"payload", b"Payload=1", b"load=1", b"{}", b"payload=1&payload=2", b"payload=1&x=2", b"x=2&payload=1"];
        for form in forms {
            assert_eq!(read("application/x-www-form-urlencoded", form), Err(Malformed::Form), "{form:?}");
        }
    }

    #[test]
    fn json_is_left_as_it_is_and_other_types_are_refused() {
        assert_eq!(read("application/json", b"payload=1").unwrap(), b"payload=1");
        assert_eq!(json(TAKEN, &Headers::new(), b"{}").unwrap(), Cow::Borrowed(b"{}"));
        for other in ["", "text/plain", "application/jsonx", "x; application/json", "multipart/form-data"] {
            assert_eq!(read(other, b"{}"), Err(Malformed::ContentType(other.to_owned())));
            assert!(!is_taken(TAKEN, other));
        }
        let mut twice = Headers::new();
        twice.add("content-type", "application/json");
        twice.add("content-type", "application/x-www-form-urlencoded");
        assert!(matches!(json(TAKEN, &twice, b"{}"), Err(Malformed::ContentType(_))));
    }
}
