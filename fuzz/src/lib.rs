//! What every provider's fuzz target does with its bytes.

use hookspool_common::clock::Instant;
use hookspool_common::event::Event;
use hookspool_common::forges::{Dialect, PATH_HEADER, Reading, Sent};
use hookspool_common::secrets::Secret;

/// Reads a delivery: the first line names the event, the rest is the body. Whatever comes out is an event that root
/// would read back from the inbox as it is.
///
/// # Panics
/// When it is not; that is what is looked for.
pub fn read(dialect: &Dialect, data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(event) = std::str::from_utf8(&data[..end]) else { return };
    let body = &data[end + 1..];
    let sent = Sent { event, id: "an-id", body, at: Instant::from_millis(1_800_000_000_000) };
    let mut headers = dialect.headers_of_a_delivery(&sent, &Secret::new(b"secret".to_vec()));
    headers.add(PATH_HEADER, "/deploy/web");
    let Ok(Reading::Events(events)) = dialect.read(&headers, body) else { return };
    assert!(!events.is_empty());
    for event in events {
        assert!(event.is_consistent(), "{event:?}");
        let json = serde_json::to_string(&event).expect("an event is JSON");
        let again: Event = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
        assert_eq!(again, event);
        assert_eq!(again.clone().bounded(), again);
    }
}
