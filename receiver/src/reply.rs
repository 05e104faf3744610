//! What clients read: every answer's status, headers and JSON. Nothing here comes from inside the receiver.

use bytes::Bytes;
use hookspool_common::names::{DeliveryId, JobName};
use http_body_util::Full;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// When a client may try again after the spool took nothing, in seconds.
const RETRY_UNAVAILABLE: &str = "30";
/// When a client may try again after there was no memory for its body, in seconds: bodies come and go quickly.
const RETRY_BUSY: &str = "5";

/// The word for a request that broke off before there was anything to answer.
pub(crate) const CUT_OFF: &str = "cut_off";

/// When a client that was refused too often is forgiven everything, in seconds.
const RETRY_TOO_MANY: &str = "60";

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The process lives.
    Alive,
    /// The spool takes writes.
    Ready,
    /// Stored, and these jobs are to run.
    Accepted { delivery: DeliveryId, jobs: Vec<JobName> },
    /// Stored, and nothing is to run.
    Ignored { delivery: DeliveryId, reason: String },
    /// Stored; the forge only tried whether anybody listens.
    Pong { delivery: DeliveryId },
    /// Seen before, as this delivery.
    Duplicate { delivery: DeliveryId },
    /// The signature is absent or wrong. The same for every such case.
    Unauthorized,
    /// The source takes nothing from where the client is.
    Forbidden,
    /// The client was refused too often, and this request shows no right signature either.
    TooMany,
    /// No such path.
    NotFound,
    /// The path has these methods.
    WrongMethod(&'static str),
    /// The body took too long.
    TooSlow,
    /// The body is too large.
    TooLarge,
    /// The body is not said to be JSON.
    WrongType,
    /// The body cannot be read.
    Malformed { reason: String },
    /// There is no memory for the body at the moment.
    Busy,
    /// The spool is full, locked or failing. Nothing was accepted.
    Unavailable,
}

/// The JSON of every answer; what is absent is not in it.
#[derive(Serialize)]
struct Json<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<DeliveryId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jobs: Option<&'a [JobName]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl Reply {
    /// The HTTP status.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Alive | Self::Ready | Self::Ignored { .. } | Self::Pong { .. } | Self::Duplicate { .. } => StatusCode::OK,
            Self::Accepted { .. } => StatusCode::ACCEPTED,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::WrongType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Malformed { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Busy | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The word for it, in the JSON and in the log.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Alive => "ok",
            Self::Ready => "ready",
            Self::Accepted { .. } => "accepted",
            Self::Ignored { .. } => "ignored",
            Self::Pong { .. } => "pong",
            Self::Duplicate { .. } => "duplicate",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::TooMany => "too_many",
            Self::NotFound => "not_found",
            Self::WrongMethod(_) => "method_not_allowed",
            Self::TooSlow => "too_slow",
            Self::TooLarge => "too_large",
            Self::WrongType => "wrong_type",
            Self::Malformed { .. } => "malformed",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
        }
    }

    /// The delivery that it is about.
    pub(crate) const fn delivery(&self) -> Option<DeliveryId> {
        match self {
            Self::Accepted { delivery, .. }
            | Self::Ignored { delivery, .. }
            | Self::Pong { delivery }
            | Self::Duplicate { delivery } => Some(*delivery),
            _ => None,
        }
    }

    /// Whether it is held against the client: it asked for what it cannot have. The receiver's own failures are not.
    pub(crate) fn is_refusal(&self) -> bool {
        self.status().is_client_error() && *self != Self::TooMany
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Ignored { reason, .. } | Self::Malformed { reason } => Some(reason),
            Self::TooLarge => Some("a body has at most 25 MiB"),
            Self::WrongType => {
                Some("the content type is none that this source sends; choose application/json where the webhook is set up")
            }
            _ => None,
        }
    }

    fn jobs(&self) -> Option<&[JobName]> {
        if let Self::Accepted { jobs, .. } = self { Some(jobs) } else { None }
    }

    /// The header that this answer has beside the content type and the connection's end.
    const fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::WrongMethod(methods) => Some((ALLOW, HeaderValue::from_static(methods))),
            Self::Unavailable => Some((RETRY_AFTER, HeaderValue::from_static(RETRY_UNAVAILABLE))),
            Self::Busy => Some((RETRY_AFTER, HeaderValue::from_static(RETRY_BUSY))),
            Self::TooMany => Some((RETRY_AFTER, HeaderValue::from_static(RETRY_TOO_MANY))),
            _ => None,
        }
    }

    /// Whether what is left of the body is not read, so that no other request can follow it.
    const fn ends_connection(&self) -> bool {
        matches!(self, Self::TooLarge | Self::TooSlow | Self::Forbidden | Self::TooMany)
    }

    /// The whole response.
    pub(crate) fn response(&self) -> Response<Full<Bytes>> {
        let json = Json { status: self.word(), delivery: self.delivery(), jobs: self.jobs(), reason: self.reason() };
        // Names and sentences always are JSON; were they not, the status still says all that matters.
        let body = serde_json::to_vec(&json).unwrap_or_default();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = self.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some((name, value)) = self.header() {
            response.headers_mut().insert(name, value);
        }
        if self.ends_connection() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    /// Status, the header beside the content type, and the text.
    async fn shown(reply: Reply) -> (u16, String, String) {
        let response = reply.response();
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let others = response.headers().iter().filter(|(name, _)| *name != CONTENT_TYPE);
        let others = others.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect::<Vec<_>>().join(", ");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, others, String::from_utf8(body.to_vec()).unwrap())
    }

    fn id() -> DeliveryId {
        DeliveryId::from_bytes([7; 16])
    }

    #[tokio::test]
    async fn answers_to_deliveries_name_them() {
        let delivery = id();
        let jobs = vec!["image".parse().unwrap(), "tests".parse().unwrap()];
        let expected = format!(r#"{{"status":"accepted","delivery":"{delivery}","jobs":["image","tests"]}}"#);
        assert_eq!(shown(Reply::Accepted { delivery, jobs }).await, (202, String::new(), expected));
        let expected = format!(r#"{{"status":"ignored","delivery":"{delivery}","reason":"a \"tag\""}}"#);
        assert_eq!(shown(Reply::Ignored { delivery, reason: "a \"tag\"".into() }).await, (200, String::new(), expected));
        let expected = format!(r#"{{"status":"pong","delivery":"{delivery}"}}"#);
        assert_eq!(shown(Reply::Pong { delivery }).await, (200, String::new(), expected));
        let expected = format!(r#"{{"status":"duplicate","delivery":"{delivery}"}}"#);
        assert_eq!(shown(Reply::Duplicate { delivery }).await, (200, String::new(), expected));
    }

    #[tokio::test]
    async fn refusals_say_what_a_client_can_do() {
        let plain = |status: u16, word: &str| (status, String::new(), format!(r#"{{"status":"{word}"}}"#));
        let with = |status: u16, header: &str, word: &str| (status, header.to_owned(), format!(r#"{{"status":"{word}"}}"#));
        assert_eq!(shown(Reply::Unauthorized).await, plain(401, "unauthorized"));
        assert_eq!(shown(Reply::Forbidden).await, with(403, "connection: close", "forbidden"));
        assert_eq!(shown(Reply::TooMany).await, with(429, "retry-after: 60, connection: close", "too_many"));
        assert_eq!(shown(Reply::NotFound).await, plain(404, "not_found"));
        assert_eq!(shown(Reply::WrongMethod("POST")).await, with(405, "allow: POST", "method_not_allowed"));
        assert_eq!(shown(Reply::TooSlow).await, with(408, "connection: close", "too_slow"));
        assert_eq!(shown(Reply::Busy).await, with(503, "retry-after: 5", "busy"));
        assert_eq!(shown(Reply::Unavailable).await, with(503, "retry-after: 30", "unavailable"));
        assert_eq!(shown(Reply::Malformed { reason: "why".into() }).await.2, r#"{"status":"malformed","reason":"why"}"#);
        assert_eq!(shown(Reply::TooLarge).await.0, 413);
        assert_eq!(shown(Reply::WrongType).await.0, 415);
    }

    #[tokio::test]
    async fn health_is_one_word() {
        assert_eq!(shown(Reply::Alive).await, (200, String::new(), r#"{"status":"ok"}"#.to_owned()));
        assert_eq!(shown(Reply::Ready).await, (200, String::new(), r#"{"status":"ready"}"#.to_owned()));
    }
}
