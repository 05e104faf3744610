//! What cannot be packed or removed, beside what can.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use hookspool_common::config::{OnNew, Paths};
use hookspool_common::event::{Event, Kind};
use hookspool_common::ledger::{Finish, Ledger, Outcome, Request};
use hookspool_common::names::RunId;

use super::*;

const HOUR: i64 = 60 * 60 * 1000;

struct Fixed(Instant);

impl Clock for Fixed {
    fn now(&self) -> Instant {
        self.0
    }
}

struct Machine {
    _folder: tempfile::TempDir,
    ledger: SqliteLedger,
    folders: Folders,
    config: Config,
    now: Instant,
}

impl Machine {
    /// One that keeps nothing for longer than an hour.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("hookspool.toml"), "[[source]]\nname='github'\nprovider='github'\npath='/g'\nsecret='s'\n").unwrap();
        let mut config = Config::load(&at("hookspool.toml")).unwrap();
        config.paths = Paths { spool: at("spool"), state: at("state"), logs: at("logs") };
        config.worker.retention.age = Duration::from_secs(60 * 60);
        config.worker.retention.workspaces = Duration::from_secs(60 * 60);
        let folders = Folders::new(&config.paths);
        folders.make().unwrap();
        let ledger = SqliteLedger::open(&folders.ledger()).unwrap();
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now = Instant::from_millis(i64::try_from(since_epoch.as_millis()).unwrap());
        Self { _folder: folder, ledger, folders, config, now }
    }

    /// A run with a log that ended so many hours ago.
    fn ended(&mut self, hours: i64) -> RunId {
        let repository = "github.com/octo/shop".parse().unwrap();
        let event = Arc::new(Event::of(Kind::Tag, "push").with_ref("refs/tags/v1".parse().unwrap()));
        let (job, lane) = ("tests".parse().unwrap(), "one".to_owned());
        let request = Request { repository, job, event, lane, on_new: OnNew::Queue, priority: 50, refused: None };
        let then = self.now.plus_millis(-hours * HOUR);
        let run = self.ledger.start(&"github".parse().unwrap(), &request, "ada", false, then).unwrap().run;
        self.ledger.claim(run, then).unwrap().unwrap();
        self.ledger.finish(run, &Finish::plain(&Outcome::Succeeded), then).unwrap();
        fs::write(self.folders.log(run), "said").unwrap();
        run
    }

    /// The same, whose log can be neither packed nor removed.
    fn stuck(&mut self, hours: i64) -> RunId {
        let run = self.ended(hours);
        fs::create_dir_all(self.folders.packed_log(run).join("in the way")).unwrap();
        run
    }

    fn tidy(&mut self) {
        tidy(&self.config, &mut self.ledger, &self.folders, &Fixed(self.now), &|| false);
    }
}

fn old(path: &Path) {
    fs::File::open(path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
}

#[test]
fn what_cannot_be_packed_or_removed_keeps_nothing_else() {
    let mut machine = Machine::new();
    let mut stuck = vec![machine.stuck(2)];
    let over = machine.ended(2);
    stuck.extend((0..MAX_PACKED + 1).map(|_| machine.stuck(0)));
    let recent = machine.ended(0);
    fs::create_dir_all(machine.folders.kept().join("800/src")).unwrap();
    let caches = machine.folders.caches().join("github.com/octo/shop");
    let [cache, half_removed, used] = ["aa", "bb", "cc"].map(|two| caches.join(two.repeat(16)));
    let half_removed = half_removed.with_extension("gone-5");
    for cache in [&cache, &used] {
        fs::create_dir_all(cache.join("data")).unwrap();
        fs::write(cache.join("about.json"), "{}").unwrap();
    }
    fs::create_dir_all(half_removed.join("data")).unwrap();
    old(&cache.join("about.json"));

    machine.tidy();
    assert_eq!(machine.ledger.unpacked(None, 1000).unwrap(), stuck);
    assert!(machine.folders.packed_log(recent).exists() && !machine.folders.log(recent).exists());
    assert_eq!(machine.ledger.run(over).unwrap().map(|run| run.id), None);
    assert!(!machine.folders.log(over).exists() && !machine.folders.packed_log(over).exists());
    // As long as its log is there, somebody must know it.
    assert!(machine.ledger.run(stuck[0]).unwrap().is_some());
    let logs = fs::read_dir(machine.folders.run_logs()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(logs.filter(|name| name.to_string_lossy().ends_with(".new")).count(), 0);
    assert!(!machine.folders.kept().join("800").exists());
    assert_eq!([&cache, &half_removed, &used].map(|cache| cache.exists()), [false, false, true]);
    assert!(machine.folders.tidied().exists(), "all was looked at; what is left is looked at again in an hour");
}
