//! A child of the self-test: it gives up root for good, and then does as another user of this machine what that user could.
//!
//! It gets all groups of that user: more than the worker leaves the importer, and all that a login would have.

use std::io::{self, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow, ensure};
use nix::unistd::{AccessFlags, access, geteuid, setgid, setgroups, setuid};
use serde::{Deserialize, Serialize};

use super::plant::{Plant, plant};
use crate::process::{Account, leave_the_terminal};
use crate::receiver_side::{PATIENCE, Patient};

/// The hidden command by which this program becomes the child.
pub(in crate::operator) const CHILD: &str = "selftest-child";

/// Most bytes that a child may answer.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// What a child is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Deed {
    /// Put these into the spool folder.
    Plant { spool: PathBuf, plants: Vec<Plant> },
    /// Say which of these the user may do.
    Try(Vec<Wish>),
}

/// What somebody may like to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wish {
    pub(super) path: PathBuf,
    pub(super) to: Access,
}

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Access {
    Read,
    Write,
}

#[derive(Debug, Serialize, Deserialize)]
struct Task {
    user: String,
    deed: Deed,
}

/// What the child did: for each wish, whether it can be had.
type Answer = Result<Vec<bool>, String>;

/// Has a child do this as `user`.
pub(super) fn act(user: &Account, deed: Deed) -> anyhow::Result<Vec<bool>> {
    let task = serde_json::to_vec(&Task { user: user.name.clone(), deed })?;
    let mut command = Command::new("/proc/self/exe");
    command.arg(CHILD).env_clear().current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
    leave_the_terminal(&mut command);
    let mut child = command.spawn().context("cannot start a child")?;
    let exchange = || -> anyhow::Result<Vec<u8>> {
        child.stdin.take().context("the child has no standard input")?.write_all(&task)?;
        let said = child.stdout.take().context("the child has no standard output")?;
        let mut answer = Vec::new();
        BufReader::new(Patient::until(said, PATIENCE)).take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = { exchange }();
    let _ = child.kill();
    let _ = child.wait();
    let answer = answer.with_context(|| format!("a child that acts as {}", user.name))?;
    let answer: Answer = serde_json::from_slice(&answer).with_context(|| format!("the child that acts as {} died", user.name))?;
    answer.map_err(|why| anyhow!("{} could not do it: {why}", user.name))
}

/// The child's side: `hookspool selftest-child`.
pub(in crate::operator) fn child() -> anyhow::Result<()> {
    let mut task = Vec::new();
    io::stdin().lock().read_to_end(&mut task)?;
    let task: Task = serde_json::from_slice(&task).context("that is no task")?;
    let account = Account::named(&task.user)?;
    ensure!(!account.is_root(), "{} is root", task.user);
    setgroups(&account.groups)?;
    setgid(account.gid)?;
    setuid(account.uid)?;
    ensure!(geteuid() == account.uid && setuid(0.into()).is_err(), "root was not given up");
    let answer: Answer = match task.deed {
        Deed::Plant { spool, plants } => plant(&spool, &plants).map(|()| Vec::new()).map_err(|error| format!("{error:#}")),
        Deed::Try(wishes) => Ok(wishes.iter().map(may).collect()),
    };
    serde_json::to_writer(io::stdout().lock(), &answer)?;
    Ok(())
}

/// The kernel knows better than any reading of modes, groups and lists of access.
fn may(wish: &Wish) -> bool {
    let flags = match wish.to {
        Access::Read => AccessFlags::R_OK,
        Access::Write if wish.path.is_dir() => AccessFlags::W_OK | AccessFlags::X_OK,
        Access::Write => AccessFlags::W_OK,
    };
    access(&wish.path, flags).is_ok()
}
