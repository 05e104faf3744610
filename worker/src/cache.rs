//! Folders of a workspace that the next run of the same job and branch finds again.
//!
//! A cache belongs to one job and one ref, so nobody but whoever can push to a branch decides what its runs find. A fork's run
//! has none. It is taken out by renaming it, so that two runs at once never share one, and given back by a run that
//! succeeded, or failed after its build; a build that fails loses it, as it may be why.

mod moving; // into the workspace and out of it, past whatever its user does meanwhile

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hookspool_common::config::{Cache as Wanted, Job};
use hookspool_common::git_name::RefName;
use hookspool_common::ledger::{Outcome, Run, StepRecord};
use hookspool_common::names::RunId;
use hookspool_common::repository_name::RepositoryName;
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checkout::hand_over::hand_over;
use crate::folders::{Folders, make_folder, remove_tree};
use crate::process::Account;

/// What a cache says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    job: String,
    reference: String,
    /// Its folders, in the order of their numbers; with whose they are.
    folders: Vec<(String, u32)>,
}

/// The file in which a cache says what it is.
pub const ABOUT: &str = "about.json";

/// What the extension of a cache begins with that is about to be removed.
const ASIDE: &str = "gone-";

/// The cache of a run, as long as it goes on.
#[derive(Debug)]
pub struct Cache<'a> {
    wanted: &'a Wanted,
    /// Where it lies between runs.
    home: PathBuf,
    /// The run's own folder, in which only the worker can make anything.
    work: PathBuf,
    job: &'a Job,
    reference: &'a RefName,
}

impl<'a> Cache<'a> {
    /// The cache of this run, if it has any. `reference` is what was checked out.
    #[must_use]
    pub fn of(folders: &Folders, job: &'a Job, run: &Run, reference: &'a RefName, from_fork: bool) -> Option<Self> {
        let wanted = job.workspace.cache.as_ref().filter(|_| !from_fork && !run.event.kind.is_deletion())?;
        let home = of_repository(folders, &run.repository).join(key(job.name.as_str(), reference));
        Some(Self { wanted, home, work: folders.work(run.id), job, reference })
    }

    /// Puts it into the workspace; what is to be said of that.
    ///
    /// # Errors
    /// What the system said.
    pub fn put_in(&self, account: &Account) -> io::Result<String> {
        let taken = self.work.join("cache");
        match fs::rename(&self.home, &taken) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok("cache: there is none yet".to_owned()),
            result => result?,
        }
        let about: About = serde_json::from_slice(&fs::read(taken.join(ABOUT))?)?;
        let mut said = Vec::new();
        for (number, (name, owner)) in about.folders.iter().enumerate().filter(|(_, (name, _))| self.wanted.paths.contains(name))
        {
            let place = taken.join("data").join(number.to_string());
            let owner = Uid::from_raw(*owner);
            if owner.is_root() && !account.is_root() {
                said.push(format!("{name} was left by root and is not used"));
                continue;
            }
            hand_over_whole(&place, owner, account)?;
            match moving::put_in(&place, &self.work.join("src"), Path::new(name), account) {
                Ok(()) => said.push(format!("{name} is back")),
                Err(error) => said.push(format!("{name} is not used, as its place is taken ({error})")),
            }
        }
        remove_tree(&taken)?;
        Ok(format!("cache: {}", if said.is_empty() { "nothing of it is wanted any more".to_owned() } else { said.join(", ") }))
    }

    /// Takes it out of the workspace again, after the last step; what is to be said of that.
    ///
    /// # Errors
    /// What the system said; the cache is gone then.
    pub fn give_back(&self, outcome: &Outcome, steps: &[StepRecord]) -> io::Result<String> {
        if !is_good(outcome, steps) {
            return Ok("cache: dropped, as the run did not come past its build".to_owned());
        }
        let fresh = self.work.join("cache-of-this-run");
        make_folder(&fresh.join("data"), 0o700)?;
        let mut about = About { job: self.job.name.to_string(), reference: self.reference.to_string(), folders: Vec::new() };
        for name in &self.wanted.paths {
            let place = fresh.join("data").join(about.folders.len().to_string());
            if let Some(owner) = moving::take_out(&self.work.join("src"), Path::new(name), &place)? {
                about.folders.push((name.clone(), owner.as_raw()));
            }
        }
        if about.folders.is_empty() {
            return Ok("cache: the run made none of its folders".to_owned());
        }
        let bytes = moving::size(&fresh.join("data"))?;
        if bytes > self.wanted.size {
            return Ok(format!("cache: dropped, as it holds {bytes} bytes and `size` is {}", self.wanted.size));
        }
        fs::write(fresh.join(ABOUT), serde_json::to_vec(&about)?)?;
        self.put_home(&fresh)?;
        Ok(format!("cache: kept {} ({bytes} bytes)", names(&about)))
    }

    /// The last run wins: what another gave back meanwhile goes.
    fn put_home(&self, fresh: &Path) -> io::Result<()> {
        if let Some(folder) = self.home.parent() {
            make_folder(folder, 0o700)?;
        }
        let replaced = self.work.join("cache-of-another");
        match fs::rename(&self.home, &replaced) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
        fs::rename(fresh, &self.home)
    }
}

/// Removes what belongs to branches and tags that the forge does not have any more. `refs` are those it has.
///
/// # Errors
/// What the system said.
pub fn forget_gone(folders: &Folders, repository: &RepositoryName, run: RunId, refs: &[&str]) -> io::Result<()> {
    for home in entries(&of_repository(folders, repository))?.into_iter().filter(|home| !is_taken_aside(home)) {
        let reference = about(&home).map(|about| about.reference);
        let is_fetched = |reference: &str| reference.starts_with("refs/heads/") || reference.starts_with("refs/tags/");
        if reference.is_some_and(|reference| is_fetched(&reference) && !refs.contains(&reference.as_str())) {
            tracing::info!(%run, cache = %home.display(), "the cache's branch or tag is gone");
            // What is left of it is in nobody's way, and goes in the end.
            if let Err(error) = remove_aside(&home, &run.to_string()) {
                tracing::warn!(%run, cache = %home.display(), %error, "cannot remove a cache; it is tried again");
            }
        }
    }
    Ok(())
}

/// Removes a cache that a run may be about to take: either has all of it. `by` is nobody else's word.
///
/// # Errors
/// What the system said.
pub fn remove_aside(home: &Path, by: &str) -> io::Result<()> {
    let aside = home.with_extension(format!("{ASIDE}{by}"));
    remove_tree(&aside)?;
    match fs::rename(home, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result?,
    }
    remove_tree(&aside)
}

/// Whether this is a cache that somebody was about to remove.
#[must_use]
pub fn is_taken_aside(path: &Path) -> bool {
    let is_key = |stem: &str| stem.len() == 32 && stem.bytes().all(|byte| byte.is_ascii_hexdigit());
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| extension.starts_with(ASIDE))
        && path.file_stem().and_then(|stem| stem.to_str()).is_some_and(is_key)
}

/// Whether there is any cache of the repository.
#[must_use]
pub fn exist(folders: &Folders, repository: &RepositoryName) -> bool {
    entries(&of_repository(folders, repository)).is_ok_and(|entries| !entries.is_empty())
}

fn about(home: &Path) -> Option<About> {
    serde_json::from_slice(&fs::read(home.join(ABOUT)).ok()?).ok()
}

fn of_repository(folders: &Folders, repository: &RepositoryName) -> PathBuf {
    folders.caches().join(repository.as_str())
}

fn key(job: &str, reference: &RefName) -> String {
    let digest = Sha256::digest(format!("{job}\0{reference}"));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn names(about: &About) -> String {
    about.folders.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
}

/// A run that got past its build. Where it has none, only success counts.
fn is_good(outcome: &Outcome, steps: &[StepRecord]) -> bool {
    let built = |step: &StepRecord| step.name == "build" && step.result.as_ref().is_some_and(|result| result.is_success());
    match outcome {
        Outcome::Succeeded => true,
        Outcome::Failed(_) => steps.iter().any(built),
        _ => false,
    }
}

/// The folder itself and all below it that belongs to `owner`.
fn hand_over_whole(folder: &Path, owner: Uid, account: &Account) -> io::Result<()> {
    if owner == account.uid || !nix::unistd::geteuid().is_root() || account.is_root() {
        return Ok(());
    }
    hand_over(folder, owner, account)?;
    std::os::unix::fs::lchown(folder, Some(account.uid.as_raw()), Some(account.gid.as_raw()))
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.path())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use hookspool_common::config::Paths;

    use super::*;

    #[test]
    fn a_cache_is_taken_aside_whole_before_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (home, aside) = (folder.path().join("a1".repeat(16)), folder.path().join(format!("{}.gone-7", "a1".repeat(16))));
        assert!(is_taken_aside(&aside) && !is_taken_aside(&home) && !is_taken_aside(Path::new("octo/shop.gone-7")));
        // As after a crash in the middle of it.
        fs::create_dir_all(aside.join("data/0")).unwrap();
        fs::create_dir_all(home.join("data/0")).unwrap();
        remove_aside(&home, "7").unwrap();
        assert!(entries(folder.path()).unwrap().is_empty());
        remove_aside(&home, "7").unwrap();
    }

    #[test]
    fn only_caches_of_branches_and_tags_that_are_gone_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let folders = Folders::new(&Paths { spool: at("spool"), state: at("state"), logs: at("logs") });
        let repository: RepositoryName = "github.com/octo/shop".parse().unwrap();
        let homes = ["refs/heads/main", "refs/heads/gone", "refs/pull/1/head"].map(|reference| {
            let home = of_repository(&folders, &repository).join(key("tests", &reference.parse().unwrap()));
            let about = About { job: "tests".to_owned(), reference: reference.to_owned(), folders: Vec::new() };
            fs::create_dir_all(home.join("data")).unwrap();
            fs::write(home.join(ABOUT), serde_json::to_vec(&about).unwrap()).unwrap();
            home
        });
        forget_gone(&folders, &repository, RunId::new(7), &["refs/heads/main"]).unwrap();
        assert_eq!(homes.map(|home| home.exists()), [true, false, true]);
        assert_eq!(entries(&of_repository(&folders, &repository)).unwrap().len(), 2);
    }
}
