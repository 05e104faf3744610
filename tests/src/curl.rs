//! The real curl, which is what other programs and people call the receiver with.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::receiver::Answer;

/// Whether curl is there; if not, says so.
#[must_use]
pub fn is_there() -> bool {
    let there = Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !there {
        println!("SKIPPED: curl is not installed");
    }
    there
}

/// Runs curl with these words and this standard input; what it was answered.
///
/// # Panics
/// When there was no answer.
#[must_use]
pub fn curl(words: &[&str], input: &[u8]) -> Answer {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "30", "--include"]).args(words);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("curl can be started");
    child.stdin.take().expect("it has a standard input").write_all(input).expect("it reads its input");
    let output = child.wait_with_output().expect("curl ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "curl {words:?} ended with {}: {said}", output.status);
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or((&said, ""));
    let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default();
    Answer { status, head: head.lines().map(with_lower_case_name).collect(), body: body.to_owned() }
}

/// A header's name has no case, its value may have.
fn with_lower_case_name(line: &str) -> String {
    line.split_once(": ").map_or_else(|| format!("{line}\n"), |(name, value)| format!("{}: {value}\n", name.to_lowercase()))
}

/// Posts a body with these headers.
#[must_use]
pub fn post(url: &str, headers: &[&str], body: &str) -> Answer {
    let headers = headers.iter().flat_map(|header| ["--header", *header]);
    let words: Vec<&str> = ["--data-binary", "@-"].into_iter().chain(headers).chain([url]).collect();
    curl(&words, body.as_bytes())
}
