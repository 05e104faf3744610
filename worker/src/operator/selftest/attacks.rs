//! What is tried, as the receiver's user, and what may come of it: at most a configured job, on a commit of its ref.

use hookspool_common::inbox::{INBOX_FILE, MARK_FILE, WAKE_FILE};
use serde_json::{Value, json};

use super::plant::Plant;
use super::scratch::{Commits, JOB, REPOSITORY};

/// Length of the text that is too long, in bytes.
const LONG: usize = 8 * 1024 * 1024;

/// Length of the file that is mostly a hole, in bytes.
const HUGE: u64 = 256 * 1024 * 1024 * 1024;

/// What root alone may read and write, as a link in the spool folder names it.
const CANARY: &str = "../canary";

/// One attack.
pub(super) struct Attack {
    /// What is done.
    pub(super) what: String,
    pub(super) plants: Vec<Plant>,
    /// The commits at which the configured job may run for it, in order; no more, and no less.
    pub(super) runs: Vec<String>,
}

impl Attack {
    fn new(what: &str, plants: Vec<Plant>) -> Self {
        Self { what: what.to_owned(), plants, runs: Vec::new() }
    }

    fn running(self, commit: &str) -> Self {
        Self { runs: self.runs.into_iter().chain([commit.to_owned()]).collect(), ..self }
    }
}

/// Every attack, in the order in which they are told.
pub(super) fn attacks(commits: &Commits) -> Vec<Attack> {
    let mut all = vec![
        Attack::new("an honest delivery, for comparison", honest(&commits.tip)).running(&commits.tip),
        Attack::new(
            "a forged delivery of an older commit, the most that there is to gain",
            forged(&asked(push(&commits.before))),
        )
        .running(&commits.before),
    ];
    all.extend(code_in_the_inbox(&commits.tip));
    all.extend(forged_records(commits));
    all.extend(malformed_records(&commits.tip));
    all.extend(things_in_the_place_of_the_inbox(commits));
    all.extend(things_in_the_place_of_the_small_files(commits));
    all
}

/// What the receiver would write for a push to `master`.
pub(super) fn honest(commit: &str) -> Vec<Plant> {
    let mut plants = vec![Plant::Nothing];
    plants.extend(forged(&asked(push(commit))));
    plants.push(Plant::File(WAKE_FILE.to_owned(), String::new()));
    plants
}

fn push(commit: &str) -> Value {
    json!({
        "kind": "push", "provider_event": "push", "repository": REPOSITORY, "ref": "refs/heads/master", "branch": "master",
        "sha": commit,
    })
}

/// A proposal to run the configured job for this event.
fn asked(event: Value) -> Value {
    json!([{ "event": event, "jobs": [{ "repository": REPOSITORY, "job": JOB }] }])
}

/// An inbox with one delivery that makes these proposals.
fn forged(proposals: &Value) -> Vec<Plant> {
    vec![Plant::Inbox, row(&proposals.to_string())]
}

fn row(proposals: &str) -> Plant {
    sql_row("github", &format!("'{}'", proposals.replace('\'', "''")))
}

/// A delivery whose proposals are what this expression of SQL gives.
fn sql_row(source: &str, proposals: &str) -> Plant {
    Plant::Sql(format!(
        "PRAGMA ignore_check_constraints = ON; INSERT INTO delivery (id, source, provider_id, received_at, answer, reason, proposals) \
         VALUES (randomblob(16), '{source}', hex(randomblob(8)), 1, 'accepted', NULL, {proposals});"
    ))
}

/// SQLite runs these inside whoever opens the file, or trips over them.
fn code_in_the_inbox(tip: &str) -> Vec<Attack> {
    let then = |what: &str, statements: String| {
        let plants = honest(tip).into_iter().chain([Plant::Sql(statements)]).collect();
        Attack::new(what, plants)
    };
    let triggers = |does: &str| {
        let mut all = "CREATE TABLE trap (what TEXT);".to_owned();
        for table in ["inbox", "delivery", "body", "seen_lately", "seen_run", "seen_earlier"] {
            for event in ["INSERT", "UPDATE", "DELETE"] {
                all.push_str(&format!("CREATE TRIGGER {table}_{event} AFTER {event} ON {table} BEGIN {does}; END;"));
            }
        }
        all
    };
    let view =
        |of: &str, columns: &str| format!("ALTER TABLE {of} RENAME TO kept; CREATE VIEW {of} AS SELECT {columns} FROM kept;");
    let columns = "seq, id, source, load_extension('evil.so') AS provider_id, received_at, answer, reason, proposals";
    let lie = |sql: &str| format!("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = {sql} WHERE name = 'delivery';");
    vec![
        then("triggers on every table of the inbox", triggers("INSERT INTO trap VALUES ('sprung')")).running(tip),
        then("triggers that load a program", triggers("SELECT load_extension('evil.so')")).running(tip),
        then("a view that calls a function, in the place of the deliveries", view("delivery", columns)),
        then("a view in the place of the inbox's identity", view("inbox", "one, load_extension('evil.so') AS identity")),
        then("a schema that is no SQL", lie("'CREATE TABLE delivery (x); DROP TABLE ledger'")),
        then("a schema with other columns", lie("'CREATE TABLE delivery (seq, id, source)'")),
        then("a schema of a version that nobody knows", "PRAGMA user_version = 2147483647".to_owned()).running(tip),
    ]
}

/// Records of the right form that say what nobody configured.
fn forged_records(commits: &Commits) -> Vec<Attack> {
    let other_job = json!([{ "event": push(&commits.tip), "jobs": [{ "repository": REPOSITORY, "job": "deploy" }] }]);
    let other_repository = json!([{
        "event": changed(&commits.tip, &[("repository", "github.com/evil/x".into())]),
        "jobs": [{ "repository": "github.com/evil/x", "job": JOB }],
    }]);
    let odd = |changes: &[(&str, Value)]| forged(&asked(changed(&commits.tip, changes)));
    let other_source = vec![Plant::Inbox, sql_row("other", &format!("'{}'", asked(push(&commits.tip))))];
    let mut attacks = vec![
        Attack::new("a job that is not configured", forged(&other_job)),
        Attack::new("a repository that is not configured", forged(&other_repository)),
        Attack::new("a source that is not configured", other_source),
        Attack::new("a commit of another branch", forged(&asked(push(&commits.elsewhere)))),
        Attack::new("a commit of somebody's request, under the name of a push", forged(&asked(push(&commits.request)))),
        Attack::new("a commit that the forge does not have", forged(&asked(push("1234567890123456789012345678901234567890")))),
        Attack::new(
            "another branch under the name of the one that the job wants",
            odd(&[("ref", "refs/heads/elsewhere".into()), ("sha", commits.elsewhere.clone().into())]),
        ),
        Attack::new(
            "a request's ref under the name of a push",
            odd(&[("ref", "refs/pull/8/head".into()), ("sha", commits.request.clone().into())]),
        ),
    ];
    for kind in ["manual", "schedule", "ping"] {
        attacks.push(Attack::new(
            &format!("an event of the kind `{kind}`, which no sender tells of"),
            odd(&[("kind", kind.into())]),
        ));
    }
    for (what, key, value) in [
        ("a command", "build", json!("touch /tmp/PWNED")),
        ("an environment", "environment", json!({ "LD_PRELOAD": "/tmp/evil.so" })),
        ("a clone address", "clone", json!("ext::sh -c id")),
        ("a mail address", "to", json!("mallory@evil.test")),
        ("a path for a repository", "repository", json!("../../etc/passwd")),
        ("a path for a ref", "ref", json!("refs/heads/../../x")),
        ("an option for a commit", "sha", json!("--upload-pack=touch /tmp/PWNED")),
    ] {
        attacks.push(Attack::new(&format!("{what} in a record"), odd(&[(key, value)])));
    }
    attacks
}

fn changed(commit: &str, changes: &[(&str, Value)]) -> Value {
    let mut event = push(commit);
    for (key, value) in changes {
        event[*key] = value.clone();
    }
    event
}

/// Records that are too large, or no records at all. Behind each is an honest one.
fn malformed_records(tip: &str) -> Vec<Attack> {
    let before_an_honest_one = |what: &str, plants: Vec<Plant>| {
        let honest = asked(push(tip)).to_string();
        let plants = [Plant::Inbox].into_iter().chain(plants).chain([row(&honest)]).collect();
        Attack::new(what, plants).running(tip)
    };
    let mut jobs = vec![json!({ "repository": REPOSITORY, "job": JOB }); 500];
    jobs.extend((0..499).map(|number| json!({ "repository": REPOSITORY, "job": format!("evil-{number}") })));
    let long = format!(
        "'[{{\"event\":{{\"kind\":\"push\",\"provider_event\":\"push\",\"repository\":\"{REPOSITORY}\",\"ref\":\"refs/heads/master\",\
         \"branch\":\"master\",\"sha\":\"{tip}\",\"commits\":[{{\"sha\":\"{tip}\",\"message\":\"' || replace(hex(zeroblob({half})), '0', 'x') || \
         '\"}}]}},\"jobs\":[{{\"repository\":\"{REPOSITORY}\",\"job\":\"{JOB}\"}}]}}]'",
        half = LONG / 2
    );
    let nested = format!("replace(hex(zeroblob({})), '0', '[')", LONG / 2);
    vec![
        Attack::new(
            "the same job five hundred times, and as many that are not configured",
            forged(&json!([{ "event": push(tip), "jobs": jobs }])),
        )
        .running(tip),
        Attack::new("a record of eight mebibytes", vec![Plant::Inbox, sql_row("github", &long)]).running(tip),
        before_an_honest_one("lists in lists without end", vec![sql_row("github", &nested)]),
        before_an_honest_one("no JSON", vec![row("rm -rf /")]),
        before_an_honest_one(
            "a name of NULs and escapes",
            vec![row("[{\"event\":{\"kind\":\"push\\u0000\\u001b[2J\"},\"jobs\":[]}]")],
        ),
        before_an_honest_one(
            "numbers at their ends",
            vec![Plant::Sql(
                "INSERT INTO delivery VALUES (-9223372036854775808, randomblob(16), 'github', 'x', -9223372036854775808, 'ignored', 'x', '[]');\
                 INSERT INTO delivery VALUES (0, randomblob(16), 'github', 'y', 9223372036854775807, 'ignored', 'y', '[]');".to_owned())],
        ),
    ]
}

/// The worker's importer reads no more than the receiver's user could.
fn things_in_the_place_of_the_inbox(commits: &Commits) -> Vec<Attack> {
    let tip = &commits.tip;
    let inbox = || INBOX_FILE.to_owned();
    let beside = |suffix: &str| format!("{INBOX_FILE}{suffix}");
    let with_honest = |what: &str, plants: Vec<Plant>| Attack::new(what, honest(tip).into_iter().chain(plants).collect());
    let huge = with_honest("an inbox of 256 GiB that is mostly a hole", vec![Plant::Length(inbox(), HUGE)]);
    vec![
        Attack::new("a link to what root alone may read, in the place of the inbox", vec![Plant::Link(inbox(), CANARY.into())]),
        Attack::new("a link to /etc/shadow, in the place of the inbox", vec![Plant::Link(inbox(), "/etc/shadow".into())]),
        Attack::new(
            "a link to a device that never ends, in the place of the inbox",
            vec![Plant::Link(inbox(), "/dev/zero".into())],
        ),
        Attack::new("a pipe in the place of the inbox", vec![Plant::Pipe(inbox())]),
        Attack::new("a folder in the place of the inbox", vec![Plant::Folder(inbox())]),
        Attack::new("an empty file in the place of the inbox", vec![Plant::File(inbox(), String::new())]),
        Attack::new("a text in the place of the inbox", vec![Plant::File(inbox(), "SQLite format 3 it is not\n".to_owned())]),
        with_honest("zeros in the midst of the inbox", vec![Plant::Zeros { name: inbox(), from: 100, bytes: 20_000 }]),
        huge.running(tip),
        with_honest(
            "links to what root alone may write, in the place of the inbox's logs",
            vec![
                Plant::Link(beside("-wal"), CANARY.into()),
                Plant::Link(beside("-shm"), CANARY.into()),
                Plant::Link(beside("-journal"), CANARY.into()),
            ],
        ),
    ]
}

/// The wake file, and the mark of what was taken over.
fn things_in_the_place_of_the_small_files(commits: &Commits) -> Vec<Attack> {
    let tip = &commits.tip;
    let (wake, mark) = (|| WAKE_FILE.to_owned(), || MARK_FILE.to_owned());
    let with_honest = |what: &str, plants: Vec<Plant>| {
        let honest = forged(&asked(push(tip)));
        Attack::new(what, honest.into_iter().chain(plants).collect())
    };
    vec![
        Attack::new("a wake file without an inbox", vec![Plant::File(wake(), String::new())]),
        with_honest("a link to what is root's, for a wake file", vec![Plant::Link(wake(), CANARY.into())]).running(tip),
        with_honest("a pipe for a wake file", vec![Plant::Pipe(wake())]).running(tip),
        with_honest("a folder for a wake file", vec![Plant::Folder(wake())]),
        with_honest("a link to what is root's, for a mark", vec![Plant::Link(mark(), CANARY.into())]),
        with_honest("a link to what is root's, for the next mark", vec![Plant::Link(format!("{MARK_FILE}.new"), CANARY.into())]),
        with_honest("a pipe for a mark", vec![Plant::Pipe(mark())]),
        with_honest("a mark that lies in the future", vec![Plant::Mark(i64::MAX)]),
        with_honest("a mark that lies in the past", vec![Plant::Mark(i64::MIN)]).running(tip),
        with_honest("a mark that is none", vec![Plant::File(mark(), "x".repeat(4096))]).running(tip),
    ]
}
