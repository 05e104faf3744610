//! Signed pushes, all different, made before the clock starts.

use std::sync::atomic::{AtomicU64, Ordering};

use hookspool_tests::receiver::Post;

const BODY_BYTES: usize = 10 * 1024;

/// json2file-go compares a token instead of checking a signature.
pub(crate) const TOKEN_HEADER: &str = "x-auth-token";
pub(crate) const TOKEN: &str = "token-of-the-benchmark";

/// Numbers that look like chance, always the same ones (splitmix64).
pub(crate) fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A push of three commits as GitHub tells it, filled up to [`BODY_BYTES`] with what Hookspool does not look at.
fn body(number: u64) -> String {
    let sha = |part: u64| format!("{:016x}{:016x}{:08x}", scattered(number * 7 + part), scattered(number * 7 + part + 1), part);
    let person = r#"{"name":"Ada Example","email":"ada@example.org","username":"ada"}"#;
    let commit = |part: u64| {
        format!(
            r#"{{"id":"{}","tree_id":"{}","distinct":true,"message":"Change number {part} of {number}\n\nBecause it had to be.","timestamp":"2026-03-01T12:00:00Z","url":"https://github.com/owner/project/commit/{}","author":{person},"committer":{person},"added":["src/new_{part}.rs"],"removed":[],"modified":["README.md","src/lib.rs"]}}"#,
            sha(part),
            sha(part + 1),
            sha(part)
        )
    };
    let commits = [commit(1), commit(2), commit(3)];
    let mut text = format!(
        r#"{{"ref":"refs/heads/master","before":"{}","after":"{}","created":false,"deleted":false,"forced":false,"repository":{{"id":{number},"full_name":"owner/project","html_url":"https://github.com/owner/project","clone_url":"https://github.com/owner/project.git","default_branch":"master"}},"pusher":{{"name":"ada","email":"ada@example.org"}},"sender":{{"login":"ada","id":1}},"commits":[{}],"head_commit":{},"more":{{"#,
        sha(0),
        sha(3),
        commits.join(","),
        commits[2]
    );
    for key in 0.. {
        let pair = format!(
            r#""key_{key}_url":"https://api.github.com/repos/owner/project/key_{key}{{/{:x}}}","#,
            scattered(number + key)
        );
        if text.len() + pair.len() + 10 > BODY_BYTES {
            break;
        }
        text.push_str(&pair);
    }
    text.push_str(r#""end":0}}"#);
    text
}

/// Signed requests whose ids and bodies no others of this run have, in a form that every program under test takes.
pub(crate) fn requests(count: usize) -> Vec<Vec<u8>> {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    let first = NUMBERS.fetch_add(count as u64, Ordering::Relaxed);
    let request = |number: u64| {
        let id = format!("{:016x}-{:016x}", scattered(number), scattered(number ^ 0xffff_ffff));
        Post::signed("push", &id, body(number)).and(TOKEN_HEADER, TOKEN).bytes()
    };
    (first..first + count as u64).map(request).collect()
}
