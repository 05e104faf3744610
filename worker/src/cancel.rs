//! Ending a run that runs: a mark that says why, then a signal for its runner. The mark lies beside the runner's lock, so that
//! the run is `cancelled` also where its runner dies before it can say so.

use std::fmt;
use std::fs;
use std::io;

use hookspool_common::names::RunId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::alive::try_lock;
use crate::folders::Folders;

/// Why a run is ended before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cancellation {
    /// A newer run of its lane wants its place.
    ForNewer,
    /// This person does not want it.
    By(String),
}

impl Cancellation {
    /// As the end of "build was ended …".
    #[must_use]
    pub fn of_a_step(&self) -> String {
        match self {
            Self::ForNewer => " for a newer run of its lane".to_owned(),
            Self::By(_) => format!(": {self}"),
        }
    }
}

impl fmt::Display for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForNewer => f.write_str("ended for a newer run of its lane"),
            Self::By(who) => write!(f, "cancelled by {who}"),
        }
    }
}

/// Asks a runner to end its run. Whether there is one: its pid stands in its lock file, and is its own while the lock is held.
///
/// # Errors
/// When the mark cannot be left; then nobody was asked.
pub fn ask(folders: &Folders, run: RunId, why: &Cancellation) -> io::Result<bool> {
    leave_mark(folders, run, why)?;
    let lock = folders.run(run).join("alive");
    let pid = fs::read_to_string(&lock).ok().and_then(|pid| pid.trim().parse::<i32>().ok()).filter(|pid| *pid > 1);
    let is_held = lock.exists() && try_lock(&lock).is_ok_and(|lock| lock.is_none());
    let asked = pid.filter(|_| is_held).map(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM).is_ok());
    Ok(asked.unwrap_or(false))
}

/// Whoever asked first is the reason. The mark appears whole: a runner may look at any time.
fn leave_mark(folders: &Folders, run: RunId, why: &Cancellation) -> io::Result<()> {
    let mark = folders.cancel_mark(run);
    if mark.exists() {
        return Ok(());
    }
    let draft = mark.with_extension(std::process::id().to_string());
    fs::write(&draft, serde_json::to_vec(why)?)?;
    let linked = fs::hard_link(&draft, &mark);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

/// Why a run is being ended, if it is.
#[must_use]
pub fn asked(folders: &Folders, run: RunId) -> Option<Cancellation> {
    let mark = fs::read(folders.cancel_mark(run)).ok()?;
    // A pass of an older version left an empty mark, for newer runs alone.
    Some(serde_json::from_slice(&mark).unwrap_or(Cancellation::ForNewer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alive::Alive;
    use hookspool_common::config::Paths;

    #[test]
    fn whoever_asks_first_is_the_reason_and_only_a_runner_that_lives_is_signalled() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let folders = Folders::new(&Paths { spool: at("spool"), state: at("state"), logs: at("logs") });
        let (run, other) = (RunId::new(7), RunId::new(8));
        // This very process would end, were its free lock believed.
        drop(Alive::take(&folders, run).unwrap().unwrap());
        assert!(!ask(&folders, run, &Cancellation::By("ada".to_owned())).unwrap());
        assert!(!ask(&folders, run, &Cancellation::ForNewer).unwrap());
        assert_eq!(asked(&folders, run), Some(Cancellation::By("ada".to_owned())));
        assert_eq!(asked(&folders, other), None);
        assert!(ask(&folders, other, &Cancellation::ForNewer).is_err(), "what is over has no folder, and gets none");
        assert_eq!(fs::read_dir(folders.run(run)).unwrap().count(), 2, "the lock and the mark");
    }
}
