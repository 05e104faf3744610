//! From an event to a workspace at exactly its commit, if the forge has that commit on that ref now.
//!
//! A payload is a hint, the forge is the truth. Each repository has a bare mirror that is fetched whole before every
//! run; what the ref does not reach there is refused. The mirror is the worker's own; the workspace belongs to the job's
//! user before git writes the first file of the repository into it.

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use hookspool_common::config::{Job, Repository};
use hookspool_common::event::CommentOn;
use hookspool_common::git_name::{RefName, Sha};
use hookspool_common::ledger::{ProcessResult, Run};
use hookspool_common::masking::Masks;

use crate::admission::{FROM_A_FORK, refusal_of_forks};
use crate::cache;
use crate::folders::{Folders, make_folder};
use crate::git::{self, Remote};
use crate::output::RunLog;
use crate::process::{Account, Cancel, Supervisor};
use mirror::{ask, fetch, lock_mirror};
use tree::{Part, fill};

pub mod hand_over; // a tree changes its owner
mod lfs; // large files, fetched into the mirror and from there
pub(crate) mod mirror; // the worker's own copy of a repository
mod submodule_address; // where a submodule may come from, and with what
mod submodules; // the modules of a commit
mod tree; // the workspace's files

/// How long git may take to fetch, and to check out.
const GIT_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// What came of it.
#[derive(Debug)]
pub enum Checkout {
    /// The workspace holds this commit. A fork's has no business with secrets.
    Ready { sha: Sha, reference: RefName, from_fork: bool },
    /// The run must not go on, for this reason.
    Refused(String),
    /// git, or the machine, failed.
    Failed(ProcessResult),
}

/// What is needed to check out.
#[derive(Debug)]
pub struct Tools<'a> {
    /// Runs git.
    pub supervisor: &'a mut Supervisor,
    /// Takes git's output.
    pub log: &'a mut RunLog,
    /// What must not be shown.
    pub masks: &'a Masks,
}

impl Tools<'_> {
    /// Runs git; whether it succeeded, and how it ended if not.
    fn git(
        &mut self,
        folder: &Path,
        remote: Option<&Remote>,
        account: Option<&Account>,
        arguments: &[&str],
    ) -> Result<(), Checkout> {
        self.git_with(folder, remote, account, arguments, None)
    }

    /// The same, with one more variable.
    fn git_with(
        &mut self,
        folder: &Path,
        remote: Option<&Remote>,
        account: Option<&Account>,
        arguments: &[&str],
        variable: Option<(&str, &str)>,
    ) -> Result<(), Checkout> {
        let mut launch = git::launch(folder, remote, account, arguments);
        if let Some((name, value)) = variable {
            launch = launch.env(name, value);
        }
        let mut output = self.log.step(self.masks);
        let ended = self.supervisor.run(&launch, GIT_TIMEOUT, Cancel::Ends, &mut |chunk| output.push(chunk));
        output.finish();
        if ended.result.is_success() { Ok(()) } else { Err(Checkout::Failed(ended.result)) }
    }

    /// What git prints.
    fn git_says(&mut self, folder: &Path, remote: &Remote, arguments: &[&str]) -> Result<String, Checkout> {
        let launch = git::launch(folder, Some(remote), None, arguments);
        let mut said = Vec::new();
        let ended = self.supervisor.run(&launch, GIT_TIMEOUT, Cancel::Ends, &mut |chunk| said.extend_from_slice(chunk));
        let said = String::from_utf8_lossy(&said).into_owned();
        if ended.result.is_success() {
            return Ok(said);
        }
        let mut output = self.log.step(self.masks);
        output.push(said.as_bytes());
        output.finish();
        Err(Checkout::Failed(ended.result))
    }
}

/// Brings the run's workspace to its commit.
///
/// # Errors
/// When the worker's own folders cannot be used.
pub fn check_out(
    tools: &mut Tools<'_>,
    folders: &Folders,
    repository: &Repository,
    job: &Job,
    run: &Run,
    remote: &Remote,
    account: &Account,
) -> anyhow::Result<Checkout> {
    let mirror = folders.mirror(&repository.name);
    let Some(_mirror_is_ours) = lock_mirror(tools.supervisor, &mirror)? else {
        return Ok(Checkout::Failed(ProcessResult::Cancelled));
    };
    let found = (|| {
        fetch(tools, &mirror, remote)?;
        forget_caches(folders, repository, run, &mirror)?;
        let target = find_target(tools, &mirror, remote, run)?;
        let as_a_forks = why_as_a_forks(&mirror, run, &target)?;
        if let Some(why) = as_a_forks.as_ref().filter(|_| !job.forks) {
            return Err(Checkout::Refused(refusal_of_forks(job, why)));
        }
        Ok((target, as_a_forks.is_some()))
    })();
    let (target, from_fork) = match found {
        Ok(found) => found,
        Err(ended) => return Ok(ended),
    };
    let work = folders.work(run.id);
    make_work_folders(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let parts = parts(tools, folders, repository, job, &target, remote, from_fork);
    Ok(match parts.and_then(|parts| fill(tools, &parts, account, &work, job.workspace.lfs)) {
        Ok(()) => Checkout::Ready { sha: target.sha, reference: target.reference, from_fork },
        Err(ended) => ended,
    })
}

/// What was cached for a branch or tag that is gone goes too.
fn forget_caches(folders: &Folders, repository: &Repository, run: &Run, mirror: &Path) -> Result<(), Checkout> {
    if !cache::exist(folders, &repository.name) {
        return Ok(());
    }
    let (_, refs) = ask(mirror, &["for-each-ref", "--format=%(refname)"])?;
    let refs: Vec<&str> = refs.lines().collect();
    cache::forget_gone(folders, &repository.name, run.id, &refs).map_err(|error| tree::failed(&folders.caches(), &error))
}

/// What the workspace is made of: the commit, and its submodules where the job wants them; with their large files.
fn parts(
    tools: &mut Tools<'_>,
    folders: &Folders,
    repository: &Repository,
    job: &Job,
    target: &Target,
    remote: &Remote,
    from_fork: bool,
) -> Result<Vec<Part>, Checkout> {
    let mut parts = vec![Part::of_clone(folders.mirror(&repository.name), remote, target)];
    if job.workspace.submodules {
        submodules::add(tools, &folders.modules(&repository.name), &mut parts, remote, from_fork)?;
    }
    if job.workspace.lfs {
        lfs::fetch(tools, &parts)?;
    }
    Ok(parts)
}

/// The commit, and the ref of the mirror that reaches it.
struct Target {
    sha: Sha,
    reference: RefName,
}

fn find_target(tools: &mut Tools<'_>, mirror: &Path, remote: &Remote, run: &Run) -> Result<Target, Checkout> {
    let Some(reference) = &run.reference else { return target_without_ref(tools, mirror, remote, run) };
    if reference.branch().is_none() && reference.tag().is_none() {
        fetch_one(tools, mirror, remote, reference)?;
    }
    let (exists, _) = ask(mirror, &["rev-parse", "--quiet", "--verify", &format!("{reference}^{{commit}}")])?;
    if run.event.kind.is_deletion() {
        if exists {
            return Err(Checkout::Refused(format!("{reference} is on the forge again")));
        }
        return default_branch(tools, mirror, remote);
    }
    if !exists {
        return Err(Checkout::Refused(format!("{reference} is not on the forge any more")));
    }
    let tip = commit_of(mirror, reference)?;
    at_its_commit(mirror, run, Target { sha: tip, reference: reference.clone() })
}

/// The event's own commit, if the ref reaches it; where the event names none, the ref's tip.
fn at_its_commit(mirror: &Path, run: &Run, tip: Target) -> Result<Target, Checkout> {
    let Some(asked) = &run.sha else { return Ok(tip) };
    let reference = &tip.reference;
    let (is_there, _) = ask(mirror, &["cat-file", "-e", &format!("{asked}^{{commit}}")])?;
    if !is_there || !ask(mirror, &["merge-base", "--is-ancestor", asked.as_str(), reference.as_str()])?.0 {
        let why = format!("commit {} is not on {reference} as the forge has it now ({})", asked.short(), tip.sha.short());
        return Err(Checkout::Refused(why));
    }
    Ok(Target { sha: asked.clone(), ..tip })
}

/// What is not about a ref (an issue, a package, a service, …) runs at the default branch. What is about a request must
/// not: its job would run other code than it is about.
fn target_without_ref(tools: &mut Tools<'_>, mirror: &Path, remote: &Remote, run: &Run) -> Result<Target, Checkout> {
    if run.event.kind.is_about_a_ref() || run.event.pull_request.is_some() {
        return Err(Checkout::Refused("the event names no ref, so there is nothing to check out".to_owned()));
    }
    let tip = default_branch(tools, mirror, remote)?;
    at_its_commit(mirror, run, tip)
}

fn commit_of(mirror: &Path, reference: &RefName) -> Result<Sha, Checkout> {
    let (_, said) = ask(mirror, &["rev-parse", "--verify", &format!("{reference}^{{commit}}")])?;
    said.parse().map_err(|_| Checkout::Refused(format!("{reference} is no commit")))
}

/// A pull request's ref is fetched by name; a mirror does not hold those of years.
fn fetch_one(tools: &mut Tools<'_>, mirror: &Path, remote: &Remote, reference: &RefName) -> Result<(), Checkout> {
    // What an earlier run fetched under this name may be gone from the forge.
    ask(mirror, &["update-ref", "-d", reference.as_str()])?;
    let said = tools.git_says(mirror, remote, &["ls-remote", "--", &remote.address, reference.as_str()])?;
    if !said.lines().any(|line| line.ends_with(&format!("\t{reference}"))) {
        return Err(Checkout::Refused(format!("{reference} is not on the forge any more")));
    }
    let refspec = format!("+{reference}:{reference}");
    tools.git(
        mirror,
        Some(remote),
        None,
        &["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", &remote.address, &refspec],
    )
}

/// When a branch or tag is gone, its jobs run at the default branch: what cleans up is there.
fn default_branch(tools: &mut Tools<'_>, mirror: &Path, remote: &Remote) -> Result<Target, Checkout> {
    let said = tools.git_says(mirror, remote, &["ls-remote", "--symref", "--", &remote.address, "HEAD"])?;
    let name = said.lines().find_map(|line| line.strip_prefix("ref: ")?.strip_suffix("\tHEAD"));
    let reference: Option<RefName> = name.and_then(|name| name.parse().ok());
    let reference = reference.ok_or_else(|| Checkout::Refused("the repository has no default branch to run at".to_owned()))?;
    Ok(Target { sha: commit_of(mirror, &reference)?, reference })
}

/// Why the target counts as a fork's, if it does. A pull request does where its sender says so, and unless a branch of
/// the repository itself contains its head. What is neither a branch nor a tag is a request's, whatever kind of event
/// names it: a stranger can make such a ref.
///
/// Whoever can write comments may write one on a request that was merged long ago. So what is said on a request is about
/// code of ours only where that is the tip of a branch now; else a comment would deploy the past.
fn why_as_a_forks(mirror: &Path, run: &Run, target: &Target) -> Result<Option<String>, Checkout> {
    let request = run.event.pull_request.as_ref();
    let is_said_on_one = run.event.comment.as_ref().is_some_and(|comment| comment.on == CommentOn::PullRequest);
    let is_ours = target.reference.branch().or(target.reference.tag()).is_some();
    if request.is_some_and(|request| request.from_fork == Some(true)) {
        return Ok(Some(FROM_A_FORK.to_owned()));
    }
    if is_ours && request.is_none() && !is_said_on_one {
        return Ok(None);
    }
    let on_a_branch = |how| ask(mirror, &["for-each-ref", "--count=1", how, target.sha.as_str(), "refs/heads/"]);
    if on_a_branch("--contains")?.1.is_empty() {
        return Ok(Some(FROM_A_FORK.to_owned()));
    }
    let is_past = is_said_on_one && on_a_branch("--points-at")?.1.is_empty();
    Ok(is_past
        .then(|| format!("commit {} is the tip of no branch now, so what is said of it counts as a fork's", target.sha.short())))
}

fn make_work_folders(work: &Path) -> io::Result<()> {
    make_folder(work, 0o711)?;
    for folder in ["src", "home", "tmp"] {
        make_folder(&work.join(folder), 0o700)?;
    }
    Ok(())
}
