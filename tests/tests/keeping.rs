//! What stays after a run, and for how long: workspaces, caches, runs, logs, deliveries and mirrors.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use hookspool_tests::server::{Delivery, Server, Setup, entries, text};

fn job(lines: &str) -> String {
    format!("[[job]]\nname = \"tests\"\nwhen = [{{ event = \"push\" }}]\n{lines}\n")
}

fn push(server: &Server, branch: &str) {
    let sha = server.laptop.push_commit(branch, &format!("For {branch}"));
    server.deliver_and_settle(&Delivery::push(branch, &sha));
}

/// Writes the retention into the configuration.
fn retain(server: &Server, lines: &str) {
    let config = fs::read_to_string(server.config()).unwrap();
    let config = config.split("[worker.retention]").next().unwrap().to_owned();
    fs::write(server.config(), format!("{config}[worker.retention]\n{lines}\n")).unwrap();
}

/// Makes all that is in the ledger older by so many days, and has the next pass look through everything.
fn age(server: &Server, days: i64) {
    let ledger = rusqlite::Connection::open(server.state("ledger.db")).unwrap();
    let by = days * 86_400_000;
    let sql = format!(
        "UPDATE run SET queued_at = queued_at - {by}, started_at = started_at - {by}, ended_at = ended_at - {by};
         UPDATE delivery SET received_at = received_at - {by}, imported_at = imported_at - {by};"
    );
    ledger.execute_batch(&sql).unwrap();
    drop(ledger);
    look_again(server);
}

fn look_again(server: &Server) {
    fs::remove_file(server.state("tidied")).unwrap();
    server.run_pass();
}

fn made_older(path: &std::path::Path, days: u64) {
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(days * 86_400);
    fs::File::open(path).unwrap().set_modified(then).unwrap();
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> =
        entries(folder).iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_workspace_stays_when_its_job_says_so_and_goes_when_its_time_is_over() {
    let jobs = job("keep = \"on-failure\"\nbuild = \"echo secret >$HOME/x; echo made >made; [ -e good ]\"");
    let server = Server::with(Setup { jobs: &jobs, ..Setup::default() });
    push(&server, "master");
    let kept = server.state("kept/1");
    assert_eq!(fs::read_to_string(kept.join("made")).unwrap(), "made\n");
    assert!(!server.state("work/1").exists() && !kept.join("home").exists());
    assert_eq!(fs::metadata(server.state("kept")).unwrap().permissions().mode() & 0o777, 0o700);
    let path = kept.display().to_string();
    assert_eq!(text(&server.show(1)["workspace"]), path);
    assert!(server.mails()[0].body.contains(&path), "{}", server.mails()[0].body);
    assert!(server.log(1).ends_with(&format!("[hookspool] the workspace is kept in {path}\n")), "{}", server.log(1));
    // A run that succeeded leaves none.
    fs::write(server.laptop.file("good"), "").unwrap();
    push(&server, "master");
    assert_eq!((server.outcome(2).0.as_str(), names(&server.state("kept"))), ("succeeded", vec!["1".to_owned()]));
    assert!(server.show(2)["workspace"].is_null());
    // Its user may have made it look new.
    age(&server, 6);
    assert!(kept.exists());
    age(&server, 2);
    assert!(!kept.exists() && server.show(1)["workspace"].is_null());
}

#[test]
fn the_workspace_of_a_run_whose_runner_died_stays_too() {
    let server =
        Server::new(&job("keep = \"always\"\non_crash = \"fail\"\nbuild = \"echo made >made; echo x >$OUT/began; sleep 1000\""));
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
    server.wait_until_written("began");
    let runner = fs::read_to_string(server.state("runs/1/alive")).unwrap().trim().parse().unwrap();
    hookspool_tests::server::kill_now(runner);
    server.settle();
    assert_eq!(server.outcome(1).0, "interrupted");
    assert!(server.state("kept/1/made").exists() && !server.state("work/1").exists());
}

/// Adds to what an earlier run left in the folders, and says what that was.
const CACHED: &str = "cache = [\"target\", \"deep/er\"]\n\
    build = \"cat target/count deep/er/x 2>/dev/null >$OUT/found || true; mkdir -p target deep/er; echo x >>target/count; echo y >deep/er/x; \
    ! [ -e fail-build ]\"\ntest = \"! [ -e fail-test ]\"";

#[test]
fn the_next_run_of_a_job_and_branch_finds_what_the_last_one_left() {
    let server = Server::new(&job(CACHED));
    push(&server, "master");
    assert_eq!(server.written("found").as_deref(), Some(""));
    push(&server, "master");
    assert_eq!(server.written("found").as_deref(), Some("x\ny"), "{}", server.log(2));
    assert!(server.log(2).contains("cache: target is back, deep/er is back"), "{}", server.log(2));
    // Another branch has its own.
    push(&server, "other");
    assert_eq!(server.written("found").as_deref(), Some(""));
    // A test that fails keeps it; a build that fails loses it.
    fs::write(server.laptop.file("fail-test"), "").unwrap();
    push(&server, "master");
    assert_eq!((server.outcome(4).0.as_str(), server.written("found").as_deref()), ("failed", Some("x\nx\ny")));
    fs::remove_file(server.laptop.file("fail-test")).unwrap();
    fs::write(server.laptop.file("fail-build"), "").unwrap();
    push(&server, "master");
    assert_eq!(server.written("found").as_deref(), Some("x\nx\nx\ny"));
    fs::remove_file(server.laptop.file("fail-build")).unwrap();
    push(&server, "master");
    assert_eq!(server.written("found").as_deref(), Some(""), "{}", server.log(6));
    // It goes with its branch, and when nobody comes back to it.
    let homes = || entries(&server.state("cache/github.com/octo/shop"));
    assert_eq!(homes().len(), 2);
    server.laptop.push(":refs/heads/other");
    push(&server, "master");
    assert_eq!(homes().len(), 1);
    let about = homes()[0].join("about.json");
    assert_eq!(fs::metadata(server.state("cache")).unwrap().mode() & 0o077, 0, "nobody else reads it");
    made_older(&about, 8);
    look_again(&server);
    assert_eq!(homes(), [""; 0].map(std::path::PathBuf::from));
}

#[test]
fn a_cache_that_is_too_large_is_dropped_and_said() {
    let server = Server::new(&job(
        "cache = { paths = [\"target\"], size = \"64KiB\" }\nbuild = \"ls target >$OUT/found 2>&1 || true; mkdir -p target; head -c 100000 /dev/urandom >target/x\"",
    ));
    push(&server, "master");
    assert!(server.log(1).contains("cache: dropped, as it holds") && server.outcome(1).0 == "succeeded", "{}", server.log(1));
    push(&server, "master");
    assert!(!server.written("found").unwrap().contains('x'));
}

#[test]
fn a_link_in_place_of_a_cached_folder_leads_nowhere() {
    let server = Server::new(&job(
        "cache = [\"target\", \"a/b\"]\nbuild = \"mkdir -p target; echo x >>target/x; if [ -L a ]; then rm -rf target; ln -s $OUT target; fi\"",
    ));
    push(&server, "master");
    fs::write(server.out("precious"), "kept").unwrap();
    symlink(server.out(""), server.laptop.file("a")).unwrap();
    push(&server, "master");
    assert_eq!(server.outcome(2).0, "succeeded", "{}", server.log(2));
    assert!(server.log(2).contains("cache: the run made none of its folders"), "{}", server.log(2));
    // And one that the commit has in the place of a folder that is there.
    fs::remove_file(server.laptop.file("a")).unwrap();
    push(&server, "master");
    symlink(server.out(""), server.laptop.file("target")).unwrap();
    push(&server, "master");
    assert!(server.log(4).contains("target is not used, as its place is taken"), "{}", server.log(4));
    assert_eq!((server.written("precious").as_deref(), server.out("x").exists()), (Some("kept"), true));
}

#[test]
fn a_forks_run_neither_finds_a_cache_nor_leaves_one() {
    let jobs = "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }, { event = \"pull_request\" }]\nforks = true\ncache = [\"target\"]\n\
        build = \"ls target >$OUT/found 2>/dev/null || true; mkdir -p target; echo x >target/$HOOKSPOOL_RUN\"\n";
    let server = Server::new(jobs);
    push(&server, "master");
    let sha = server.laptop.commit("From a fork");
    server.laptop.push("HEAD:refs/pull/8/head");
    for _ in 0..2 {
        server.deliver_and_settle(&Delivery::pull_request(8, &sha, "mallory/shop"));
        assert_eq!(server.written("found").as_deref(), Some(""));
    }
    assert_eq!(entries(&server.state("cache/github.com/octo/shop")).len(), 1);
    push(&server, "master");
    assert_eq!(server.written("found").as_deref(), Some("1"), "{}", server.log(4));
}

#[test]
fn two_runs_of_one_job_and_branch_at_once_never_share_a_cache() {
    let server = Server::new(&job(
        "cache = [\"target\"]\nbuild = \"mkdir -p target; echo $HOOKSPOOL_RUN >>target/runs; cat target/runs >$OUT/$HOOKSPOOL_RUN; \
         while [ $HOOKSPOOL_RUN = 2 ] && ! [ -e $OUT/go ]; do sleep 0.02; done\"",
    ));
    push(&server, "master");
    // Another telling of the same branch, in another lane: made so in the ledger.
    let sha = server.laptop.push_commit("master", "Two at once");
    server.deliver(&Delivery::push("master", &sha));
    server.run_pass();
    server.wait_until_written("2");
    let ledger = rusqlite::Connection::open(server.state("ledger.db")).unwrap();
    ledger.execute("UPDATE run SET lane = 'another' WHERE id = 2", []).unwrap();
    drop(ledger);
    let sha = server.laptop.push_commit("master", "The other");
    server.deliver(&Delivery::push("master", &sha));
    server.run_pass();
    server.wait_for_state(3, "succeeded");
    // The second has it still, so the third began without; the last to end is whose cache stays.
    assert_eq!(server.written("3").as_deref(), Some("3"));
    server.release("go");
    server.settle();
    push(&server, "master");
    assert_eq!(server.written("4").as_deref(), Some("1\n2\n4"), "{}", server.log(4));
}

#[test]
fn runs_go_when_they_are_too_old_with_logs_and_deliveries_and_whoever_asks_is_told() {
    let server = Server::new(&job("build = \"echo $HOOKSPOOL_RUN\""));
    push(&server, "master");
    push(&server, "master");
    // A delivery that nothing comes of.
    assert_eq!(server.post(&Delivery::push("nobody", "1")).text("status"), "ignored");
    server.run_pass();
    age(&server, 89);
    assert_eq!(server.states().len(), 2);
    age(&server, 2);
    // The last word on the branch stays, without its log.
    let shown: Vec<i64> = server.runs().iter().map(|run| run["run"].as_i64().unwrap()).collect();
    assert_eq!((shown, names(&server.path().join("logs/runs"))), (vec![2], vec![]));
    for command in ["show", "log"] {
        let output = server.hookspool(&[command, "1"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(3) && said.contains("run 1 was removed when its time was over"), "{said}");
        let never = server.hookspool(&[command, "99"]);
        assert!(String::from_utf8_lossy(&never.stderr).contains("there is no run 99"));
    }
    let ledger = rusqlite::Connection::open(server.state("ledger.db")).unwrap();
    let count = |table: &str| ledger.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(["run", "delivery", "run_delivery", "notice"].map(count), [1, 1, 1, 1]);
    drop(ledger);
    // What goes on is as before.
    push(&server, "master");
    assert_eq!(server.outcome(3).0, "succeeded");
}

#[test]
fn of_too_many_runs_and_too_large_logs_the_oldest_go() {
    let server = Server::new(&job("build = \"head -c 200000 /dev/urandom | base64\""));
    for _ in 0..4 {
        push(&server, "master");
    }
    let left = || server.runs().iter().map(|run| run["run"].as_i64().unwrap()).collect::<Vec<_>>();
    retain(&server, "count = 3");
    look_again(&server);
    assert_eq!(left(), [2, 3, 4]);
    retain(&server, "size = \"500KiB\"");
    look_again(&server);
    assert_eq!(
        (left(), names(&server.path().join("logs/runs"))),
        (vec![3, 4], vec!["3.log.zst".to_owned(), "4.log.zst".to_owned()])
    );
    // Not looked at again before its time.
    retain(&server, "count = 1");
    server.run_pass();
    assert_eq!(left(), [3, 4]);
}

#[test]
fn what_belongs_to_nothing_any_more_goes_when_it_is_old() {
    let server = Server::new(&job("build = \"true\""));
    push(&server, "master");
    let (orphan, recent) = (server.path().join("logs/runs/77.log.zst"), server.path().join("logs/runs/78.log"));
    for log in [&orphan, &recent] {
        fs::write(log, "").unwrap();
    }
    made_older(&orphan, 91);
    let mirror = server.state("repos/github.com/octo/shop.git");
    let lock = server.state("repos/github.com/octo/shop.lock");
    made_older(&lock, 91);
    look_again(&server);
    assert!(mirror.exists() && !orphan.exists() && recent.exists());
    // Another repository in its place: nobody asks for this mirror any more.
    let file = server.path().join("repositories/shop.toml");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("octo/shop\"", "octo/other\"")).unwrap();
    look_again(&server);
    assert!(!mirror.exists() && server.path().join("forge").exists());
}
