//! What the fuzz targets do with their bytes.

use std::sync::LazyLock;

use hookspool_common::clock::Instant;
use hookspool_common::config::Config;
use hookspool_common::event::Event;
use hookspool_common::forges::{Dialect, PATH_HEADER, Provider, Reading, Sent};
use hookspool_common::secrets::Secret;
use hookspool_receiver::fuzzing::InProcess;

const NOW: Instant = Instant::from_millis(1_800_000_000_000);

/// Sources of each sort, in a folder that is gone once it is read.
static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::create_dir(folder.path().join("repositories")).expect("a folder can be made");
    let file = folder.path().join("hookspool.toml");
    std::fs::write(&file, include_str!("hookspool.toml")).expect("a file can be written");
    std::fs::write(folder.path().join("repositories/shop.toml"), include_str!("shop.toml")).expect("a file can be written");
    Config::load(&file).unwrap_or_else(|problems| panic!("{problems}"))
});

/// Reads a delivery: the first line names the event, the rest is the body. Whatever comes out is an event that root
/// would read back from the inbox as it is.
///
/// # Panics
/// When it is not; that is what is looked for.
pub fn read(dialect: &Dialect, data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(event) = std::str::from_utf8(&data[..end]) else { return };
    let body = &data[end + 1..];
    let sent = Sent { event, id: "an-id", body, at: NOW };
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

/// The same for each generic source; the event's name is not looked at.
///
/// # Panics
/// As [`read`] does.
pub fn read_generic(data: &[u8]) {
    for source in CONFIG.sources.iter().filter(|source| matches!(source.dialect, Dialect::Generic(_))) {
        read(&source.dialect, data);
    }
}

/// Whatever is asked, only what the secret signed is answered 2xx, but for the two paths that say how the receiver is. The
/// first byte says whether the rest is a whole request or the body of one, which is then signed.
///
/// # Panics
/// When something else is answered 2xx; that is what is looked for.
pub fn request(data: &[u8]) {
    static RECEIVER: LazyLock<InProcess> = LazyLock::new(|| InProcess::new(&CONFIG, &Secret::new(b"secret".to_vec())));
    let Some((first, rest)) = data.split_first() else { return };
    if *first & 1 == 0 {
        let answer = RECEIVER.answer(rest);
        let is_read = [&b"GET /health"[..], b"GET /ready", b"HEAD /health", b"HEAD /ready"].iter().any(|start| rest.starts_with(start));
        assert!(is_read || !answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    } else {
        let event = ["push", "pull_request", "issue_comment", "ping"][usize::from(*first >> 1) % 4];
        let sent = Sent { event, id: "an-id", body: rest, at: NOW };
        let headers = Dialect::Forge(Provider::Github).headers_of_a_delivery(&sent, &Secret::new(b"secret".to_vec()));
        let mut request = format!("POST /hooks/github HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n", rest.len()).into_bytes();
        for (name, value) in headers.iter() {
            request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(rest);
        let answer = RECEIVER.answer(&request);
        let known = [&b"HTTP/1.1 200"[..], b"HTTP/1.1 202", b"HTTP/1.1 422"].iter().any(|start| answer.starts_with(start));
        assert!(known, "{}", String::from_utf8_lossy(&answer));
    }
}
