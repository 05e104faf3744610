//! What six forges really sent, each recording with what was reviewed of it: the snapshots of
//! `common/src/forges/conformance.rs`, which name the event too.
//!
//! The recordings lie beside the project, not in it; where they are not, there are none.

use std::fs;

use hookspool_common::event::Event;
use hookspool_common::forges::Provider;

use crate::programs::workspace;

/// One delivery as it was recorded.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The file's name.
    pub name: String,
    /// What the forge calls the event.
    pub event: String,
    /// The body.
    pub body: Vec<u8>,
    /// What it tells of.
    pub events: Vec<Event>,
}

/// Every recording of a forge; without them, says so.
///
/// # Panics
/// When one was never reviewed.
#[must_use]
pub fn of(provider: Provider) -> Vec<Recording> {
    let forge = provider.as_str();
    let Ok(entries) = fs::read_dir(workspace().join("../shared/payloads").join(forge)) else {
        println!("SKIPPED: ../shared/payloads/{forge} is not there");
        return Vec::new();
    };
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a folder can be read").path()).collect();
    files.sort();
    let read = |file: std::path::PathBuf| {
        let name = file.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let events = reviewed(forge, &name);
        let event = events.first().expect("a recording tells of something").provider_event.clone();
        Recording { name, event, body: fs::read(file).expect("a recording can be read"), events }
    };
    files.into_iter().map(read).collect()
}

fn reviewed(forge: &str, name: &str) -> Vec<Event> {
    let snapshot = format!("common/src/forges/snapshots/hookspool_common__forges__conformance__{forge}-{name}.snap");
    let snapshot = workspace().join(snapshot);
    let text = fs::read_to_string(&snapshot).unwrap_or_else(|error| panic!("{}: {error}", snapshot.display()));
    let (_, shown) = text.split_once("\n---\n").unwrap_or_else(|| panic!("{} is no snapshot", snapshot.display()));
    serde_json::from_str(shown).unwrap_or_else(|error| panic!("{}: {error}", snapshot.display()))
}
