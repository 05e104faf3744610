//! What a pass does where runners cannot start, and where it fails itself.

use std::cell::RefCell;
use std::sync::Arc;

use hookspool_common::clock::SystemClock;
use hookspool_common::config::{OnNew, Paths};
use hookspool_common::event::{Event, Kind};
use hookspool_common::ledger::{Finish, Outcome, Pruning, Request};

use super::*;
use crate::alive::Alive;
use crate::launcher::End;

/// Its runners claim their runs at once, but for some, which never do.
#[derive(Debug)]
struct Claiming {
    ledger: RefCell<SqliteLedger>,
    but: Vec<RunId>,
    asked: RefCell<Vec<RunId>>,
}

impl Launcher for Claiming {
    fn start(&self, order: &Order) -> anyhow::Result<()> {
        self.asked.borrow_mut().push(order.run);
        if !self.but.contains(&order.run) {
            self.ledger.borrow_mut().claim(order.run, Instant::from_millis(1))?;
        }
        Ok(())
    }

    fn start_aside(&self, command: &'static str) -> anyhow::Result<()> {
        anyhow::bail!("nobody starts {command} here")
    }

    fn bury(&self, _lock: &Alive) -> anyhow::Result<Option<End>> {
        Ok(None)
    }

    fn remembered(&self) -> io::Result<Vec<RunId>> {
        Ok(Vec::new())
    }

    fn forget(&self, _run: RunId) -> anyhow::Result<()> {
        Ok(())
    }
}

struct Machine {
    _folder: tempfile::TempDir,
    ledger: SqliteLedger,
    folders: Folders,
    config: Config,
}

impl Machine {
    fn with_slots(slots: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let main = format!("[worker]\nslots={slots}\n[[source]]\nname='github'\nprovider='github'\npath='/g'\nsecret='s'\n");
        fs::write(at("hookspool.toml"), main).unwrap();
        let mut config = Config::load(&at("hookspool.toml")).unwrap();
        config.paths = Paths { spool: at("spool"), state: at("state"), logs: at("logs") };
        let folders = Folders::new(&config.paths);
        folders.make().unwrap();
        let ledger = SqliteLedger::open(&folders.ledger()).unwrap();
        Self { _folder: folder, ledger, folders, config }
    }

    /// A run that waits in a lane of its own.
    fn queued(&mut self, job: &str) -> RunId {
        let repository = "github.com/octo/shop".parse().unwrap();
        let event = Arc::new(Event::of(Kind::Manual, "manual"));
        let (lane, on_new) = (job.to_owned(), OnNew::Queue);
        let request = Request { repository, job: job.parse().unwrap(), event, lane, on_new, priority: 50, refused: None };
        self.ledger.start(&"github".parse().unwrap(), &request, "ada", false, Instant::from_millis(1)).unwrap().run
    }

    fn launcher(&self, but: &[RunId]) -> Claiming {
        let ledger = RefCell::new(SqliteLedger::open(&self.folders.ledger()).unwrap());
        Claiming { ledger, but: but.to_vec(), asked: RefCell::default() }
    }
}

#[test]
fn a_run_that_cannot_start_takes_no_slot_from_others_and_is_tried_once_a_pass() {
    let mut machine = Machine::with_slots(2);
    let runs: Vec<RunId> = ["a", "b", "c", "d", "e", "f", "g"].into_iter().map(|job| machine.queued(job)).collect();
    let launcher = machine.launcher(&[runs[0], runs[1], runs[3]]);
    let mut not_startable = HashSet::new();
    let mut look = |ledger: &SqliteLedger| {
        let started = start_runs(&machine.config, ledger, &launcher, Instant::from_millis(1), &mut not_startable).unwrap();
        (started, launcher.asked.take())
    };
    assert_eq!(look(&machine.ledger), (true, runs[..5].to_vec()), "until both slots are taken");
    let running: Vec<RunId> = machine.ledger.running().unwrap().iter().map(|run| run.id).collect();
    assert_eq!(running, [runs[2], runs[4]]);
    assert_eq!(look(&machine.ledger), (false, vec![]), "no slot is free");
    machine.ledger.finish(runs[2], &Finish::plain(&Outcome::Succeeded), Instant::from_millis(2)).unwrap();
    assert_eq!(look(&machine.ledger), (true, vec![runs[5]]), "what did not start is not tried again");
}

#[test]
fn a_pass_that_fails_still_makes_room() {
    let mut machine = Machine::with_slots(1);
    let (over, running) = (machine.queued("a"), machine.queued("b"));
    for run in [over, running] {
        machine.ledger.claim(run, Instant::from_millis(1)).unwrap().unwrap();
    }
    machine.ledger.finish(over, &Finish::plain(&Outcome::Succeeded), SystemClock.now()).unwrap();
    fs::write(machine.folders.log(over), "said").unwrap();
    let connection = rusqlite::Connection::open(machine.folders.ledger()).unwrap();
    connection.execute("UPDATE run SET event = '?' WHERE id = ?1", [running.number()]).unwrap();
    assert_eq!(machine.ledger.unpacked(None, 9).unwrap(), [over]);
    pass(&machine.config, None, &machine.launcher(&[]), &SystemClock).unwrap_err();
    assert!(machine.folders.packed_log(over).exists());
    assert_eq!(machine.ledger.unpacked(None, 9).unwrap(), []);
}
