//! What lies in the worker's folders and is of no use any more: workspaces that were kept long enough, caches that nobody
//! came back to, mirrors of repositories that are configured no more, and logs of runs that nobody knows.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use hookspool_common::clock::Instant;
use hookspool_common::ledger::{Ledger, SqliteLedger};
use hookspool_common::names::RunId;
use hookspool_common::repository_name::RepositoryName;

use super::{Progress, Tidying, removed};
use crate::cache::{ABOUT, is_taken_aside, remove_aside};
use crate::checkout::mirror::try_lock_mirror;
use crate::folders::remove_tree;
use crate::kept::MAX_KEPT;

/// Removes what may go. What cannot be removed is said, and keeps nothing else.
pub(super) fn remove(tidying: &Tidying<'_>, ledger: &SqliteLedger) -> anyhow::Result<Progress> {
    let parts: [&dyn Fn() -> anyhow::Result<()>; 5] = [
        &|| kept_workspaces(tidying, ledger),
        &|| Ok(caches(tidying)?),
        &|| mirrors(tidying),
        &|| Ok(large_files(tidying)?),
        &|| orphaned_logs(tidying, ledger),
    ];
    let mut progress = Progress::Done;
    for part in parts {
        if (tidying.is_awaited)() {
            return Ok(Progress::More);
        }
        if let Err(error) = part() {
            super::not_done(&error);
            progress = Progress::More;
        }
    }
    Ok(progress)
}

/// Removes one of many, which are looked at one after the other.
fn go(path: &Path, remove: impl FnOnce(&Path) -> io::Result<()>) {
    removed(remove(path), || path.display().to_string());
}

/// Those that are too old, or of a run that is gone, and the oldest of too many.
fn kept_workspaces(tidying: &Tidying<'_>, ledger: &SqliteLedger) -> anyhow::Result<()> {
    let age = tidying.config.worker.retention.workspaces;
    let mut kept: Vec<RunId> = entries(&tidying.folders.kept())?.iter().filter_map(|path| number(path, "")).collect();
    kept.sort_unstable_by(|one, other| other.cmp(one));
    for (place, run) in kept.into_iter().enumerate() {
        // When it ended, by the ledger: what lies in the folder is as old as its user says.
        let ended_at = match ledger.run(run)? {
            Some(run) if !run.state.is_final() => continue,
            run => run.and_then(|run| run.ended_at),
        };
        if place >= MAX_KEPT || ended_at.is_none_or(|ended_at| ended_at < tidying.before(age)) {
            go(&tidying.folders.kept().join(run.to_string()), remove_tree);
        }
    }
    Ok(())
}

/// Those that no run has given back for a while.
fn caches(tidying: &Tidying<'_>) -> io::Result<()> {
    let age = tidying.config.worker.retention.workspaces;
    for cache in deep(&tidying.folders.caches(), &|path| path.join(ABOUT).exists() || is_taken_aside(path))? {
        if is_taken_aside(&cache) {
            go(&cache, remove_tree);
        } else if is_older(tidying, &cache.join(ABOUT), age)? {
            go(&cache, |cache| remove_aside(cache, "old"));
        }
    }
    Ok(())
}

/// Those of repositories that are not in the configuration and were not asked for some time; with their submodules.
fn mirrors(tidying: &Tidying<'_>) -> anyhow::Result<()> {
    let root = tidying.folders.repos();
    let age = tidying.config.worker.retention.age;
    for mirror in deep(&root, &|path| path.join("HEAD").exists())? {
        let name = mirror.strip_prefix(&root).ok().and_then(Path::to_str).and_then(|name| name.strip_suffix(".git"));
        let Some(name) = name.and_then(|name| name.parse::<RepositoryName>().ok()) else { continue };
        let is_configured = tidying.config.repositories.iter().any(|repository| repository.name == name);
        let lock = mirror.with_extension("lock");
        if is_configured || !is_older(tidying, &lock, age)? {
            continue;
        }
        let _mirror_is_ours = match try_lock_mirror(&mirror) {
            Ok(Some(lock)) => lock,
            // A run that has it uses it.
            Ok(None) => continue,
            Err(error) => {
                super::not_done(&error);
                continue;
            }
        };
        tracing::info!(mirror = %mirror.display(), "removing the mirror of a repository that is configured no more");
        go(&tidying.folders.modules(&name), remove_tree);
        go(&mirror, remove_tree);
    }
    Ok(())
}

/// Large files that no run has used for a while; the forge has them still.
fn large_files(tidying: &Tidying<'_>) -> io::Result<()> {
    let age = tidying.config.worker.retention.workspaces;
    for root in [tidying.folders.repos(), tidying.folders.state().join("modules")] {
        for mirror in deep(&root, &|path| path.join("HEAD").exists())? {
            for folder in deep(&mirror.join("lfs/objects"), &|path| fs::metadata(path).is_ok_and(|metadata| metadata.is_file()))?
            {
                if is_older(tidying, &folder, age)? {
                    go(&folder, |path| fs::remove_file(path));
                }
            }
        }
    }
    Ok(())
}

/// Logs of runs that the ledger does not know, as after it was lost; only when they are as old as a run can be.
fn orphaned_logs(tidying: &Tidying<'_>, ledger: &SqliteLedger) -> anyhow::Result<()> {
    let age = tidying.config.worker.retention.age;
    for path in entries(&tidying.folders.run_logs())? {
        let run = ["log", "zst", "new"].iter().find_map(|extension| number(&path, extension));
        let Some(run) = run else { continue };
        if is_older(tidying, &path, age)? && ledger.run(run)?.is_none() {
            go(&path, |path| fs::remove_file(path));
        }
    }
    Ok(())
}

/// The number that a name begins with, if its extension is this one.
fn number(path: &Path, extension: &str) -> Option<RunId> {
    let has_extension = path.extension().map_or(extension.is_empty(), |known| known == extension);
    path.file_name()?.to_str().filter(|_| has_extension)?.split('.').next()?.parse().ok()
}

/// Whether a file of the worker's own is older. One that went meanwhile is not.
fn is_older(tidying: &Tidying<'_>, path: &Path, age: Duration) -> io::Result<bool> {
    let modified = match fs::symlink_metadata(path).and_then(|metadata| metadata.modified()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        modified => modified?,
    };
    let since_epoch = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Instant::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)) < tidying.before(age))
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.path())).collect(),
    }
}

/// Everything below that `is_one`; what is within one of them is not looked at, and links are not followed.
fn deep(folder: &Path, is_one: &dyn Fn(&Path) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in entries(folder)? {
        if is_one(&path) {
            found.push(path);
        } else if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            found.extend(deep(&path, is_one)?);
        }
    }
    Ok(found)
}
