//! What Hookspool's programs must agree on, in the order in which a delivery meets it.
//!
//! Nothing here opens a socket, starts a process or knows the wall clock by itself.

#![warn(missing_docs)]

pub mod clock;
pub mod names; // ids and names that were checked once
pub mod git_name; // refs and commits, as git allows them
pub mod repository_name; // one name for every spelling of a repository's URL
pub mod headers; // what came with the bytes
pub mod delivery; // headers and bytes, before and after their signature was checked
pub mod signature; // HMAC-SHA256 over the raw bytes
pub mod event; // the one closed model of what happened
pub mod forges; // headers and bytes to events, one file per forge
pub mod globs; // the patterns of `when`
pub mod schedule; // the times of `schedule`, as crontab(5) means them
pub mod trusted; // files that nobody else could have written
pub mod config; // what the operator wrote, checked
pub mod secrets; // one secret a file, or systemd credentials
pub mod skip; // commits for which nothing is to run
pub mod matching; // which jobs an event asks for, or the first condition that failed
mod sqlite; // how both databases are opened
pub mod record; // what the importer hands to the pass
pub mod inbox; // the receiver's database
pub mod ledger; // root's database
pub mod masking; // secrets never reach a log
