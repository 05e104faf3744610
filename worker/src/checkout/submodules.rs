//! The submodules of a commit, and theirs in turn: found in the mirrors, fetched into mirrors of their own.
//!
//! `.gitmodules` is read as data, from the commit and never from a work tree; `git submodule` itself is not run. Its names
//! and addresses come from whoever wrote the commit: one that may not be is the end of the run, not passed over.

use std::path::{Component, Path, PathBuf};

use hookspool_common::git_name::Sha;
use hookspool_common::ledger::ProcessResult;
use sha2::{Digest, Sha256};

use super::mirror::{ask, fetch, remove_stale_locks};
use super::submodule_address::resolve;
use super::tree::{Part, failed};
use super::{Checkout, Tools};
use crate::folders::make_folder;
use crate::git::Remote;

/// So many submodules, of all levels. A repository that names itself would never end.
const MAX_MODULES: usize = 100;

/// Largest `.gitmodules`, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Longest name or path of a submodule, in bytes.
const MAX_NAME_BYTES: usize = 1024;

/// The ref of a module's mirror that keeps the commit of the present run.
const PINNED: &str = "refs/hookspool/pinned";

/// A submodule as the commit has it.
#[derive(Debug, PartialEq, Eq)]
struct Module {
    name: String,
    path: PathBuf,
    address: String,
}

/// Fetches every submodule of what is in `parts`, and adds it there. The lock of the clone's mirror is held: it is that of
/// the modules too.
pub(super) fn add(
    tools: &mut Tools<'_>,
    folder: &Path,
    parts: &mut Vec<Part>,
    clone: &Remote,
    from_fork: bool,
) -> Result<(), Checkout> {
    let mut at = 0;
    while at < parts.len() {
        let (mirror, sha, parent) = (parts[at].mirror.clone(), parts[at].sha.clone(), parts[at].remote.address.clone());
        for module in modules(&mirror, &sha)? {
            let Some(pinned) = commit_at(&mirror, &sha, &module.path)? else { continue };
            let path = parts[at].path.join(&module.path);
            let refused = |why: String| Checkout::Refused(format!("submodule {}: {why}", path.display()));
            if parts.len() > MAX_MODULES {
                return Err(refused(format!("there are more than {MAX_MODULES} submodules")));
            }
            if parts.iter().any(|part| part.path == path) {
                return Err(refused("two submodules are at this path".to_owned()));
            }
            let remote = resolve(clone, &parent, &module.address, from_fork).map_err(refused)?;
            tools.log.note(&format!("checkout: submodule {} at {} from {}", path.display(), pinned.short(), remote.address));
            let mirror = folder.join(format!("{}.git", mirror_name(&remote.address, from_fork)));
            fetch_pinned(tools, &mirror, &remote, &pinned)?;
            parts[at].modules.push((module.name, remote.address.clone()));
            let (reference, local) = (PINNED.to_owned(), "refs/remotes/origin/pinned".to_owned());
            parts.push(Part { mirror, remote, sha: pinned, reference, local, path, modules: Vec::new() });
        }
        at += 1;
    }
    Ok(())
}

/// A fork's run has mirrors of its own, so that it never finds what only our key or token can fetch.
fn mirror_name(address: &str, from_fork: bool) -> String {
    let digest = Sha256::digest(format!("{from_fork} {address}"));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The mirror has the commit, and a ref that reaches it.
fn fetch_pinned(tools: &mut Tools<'_>, mirror: &Path, remote: &Remote, sha: &Sha) -> Result<(), Checkout> {
    make_folder(mirror, 0o700).and_then(|()| remove_stale_locks(mirror)).map_err(|error| failed(mirror, &error))?;
    fetch(tools, mirror, remote)?;
    if !ask(mirror, &["cat-file", "-e", &format!("{sha}^{{commit}}")])?.0 {
        // On no branch or tag any more, or on none yet.
        let options = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--"];
        let arguments: Vec<&str> = options.into_iter().chain([remote.address.as_str(), sha.as_str()]).collect();
        tools.git(mirror, Some(remote), None, &arguments)?;
    }
    tools.git(mirror, None, None, &["update-ref", PINNED, sha.as_str()])
}

/// The submodules that a commit's `.gitmodules` names.
fn modules(mirror: &Path, sha: &Sha) -> Result<Vec<Module>, Checkout> {
    let (_, entry) = ask(mirror, &["--literal-pathspecs", "ls-tree", "--long", sha.as_str(), "--", ".gitmodules"])?;
    let mut facts = entry.split_ascii_whitespace();
    let (mode, size) = (facts.next(), facts.nth(2).and_then(|size| size.parse::<u64>().ok()));
    match (mode, size) {
        (None, _) => return Ok(Vec::new()),
        (Some("100644" | "100755"), Some(0..=MAX_BYTES)) => {}
        _ => return Err(Checkout::Refused(format!(".gitmodules is no file of at most {MAX_BYTES} bytes"))),
    }
    // An include would name any file of this machine, and root would read it.
    let blob = format!("{sha}:.gitmodules");
    let (is_read, listed) = ask(mirror, &["config", "--blob", &blob, "--no-includes", "--null", "--list"])?;
    if !is_read {
        return Err(Checkout::Refused(".gitmodules cannot be read as git's configuration".to_owned()));
    }
    parse(&listed).map_err(Checkout::Refused)
}

/// From what `git config --null --list` prints. Of what a module is given twice, the first counts.
fn parse(listed: &str) -> Result<Vec<Module>, String> {
    let mut found: Vec<(String, Option<String>, Option<String>)> = Vec::new();
    for entry in listed.split('\0').filter(|entry| !entry.is_empty()) {
        let (key, value) = entry.split_once('\n').unwrap_or((entry, ""));
        let Some((name, variable)) = key.strip_prefix("submodule.").and_then(|rest| rest.rsplit_once('.')) else { continue };
        let at = found.iter().position(|(known, ..)| known == name).unwrap_or_else(|| {
            found.push((name.to_owned(), None, None));
            found.len() - 1
        });
        match variable {
            "path" => drop(found[at].1.get_or_insert_with(|| value.to_owned())),
            "url" => drop(found[at].2.get_or_insert_with(|| value.to_owned())),
            // `update` may hold a command, `branch` is not asked, and nothing else is known here.
            _ => {}
        }
    }
    let modules = found.into_iter().filter_map(|(name, path, url)| Some((name, path?, url?)));
    modules.map(|(name, path, address)| Ok(Module { path: checked(&name, &path)?, name, address })).collect()
}

/// The name goes into a configuration file, and the path is a folder that the worker makes.
fn checked(name: &str, path: &str) -> Result<PathBuf, String> {
    let is_short = name.len().max(path.len()) <= MAX_NAME_BYTES;
    let has_control = |text: &str| text.chars().any(char::is_control);
    let climbs = name.split(['/', '\\']).any(|part| part == "..");
    if !is_short || name.is_empty() || has_control(name) || climbs || name.starts_with('-') {
        return Err(format!("{name:?} is no name for a submodule"));
    }
    let is_gits_own =
        |part: Component<'_>| part.as_os_str().to_string_lossy().trim_end_matches(['.', ' ']).eq_ignore_ascii_case(".git");
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_)) && !is_gits_own(part);
    let parts = Path::new(path);
    if path.is_empty() || has_control(path) || path.starts_with('-') || !parts.components().all(plain) {
        return Err(format!("{path:?} is no folder for a submodule"));
    }
    Ok(parts.components().collect())
}

/// The commit that the tree has at `path`, if it has one there.
fn commit_at(mirror: &Path, sha: &Sha, path: &Path) -> Result<Option<Sha>, Checkout> {
    let path = path.to_string_lossy();
    let (_, entry) = ask(mirror, &["--literal-pathspecs", "ls-tree", sha.as_str(), "--", &path])?;
    let Some(rest) = entry.strip_prefix("160000 commit ") else { return Ok(None) };
    let named = rest.split_ascii_whitespace().next().unwrap_or_default().parse();
    named.map(Some).map_err(|_| Checkout::Failed(ProcessResult::NotStarted(format!("git says {entry:?}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_path_and_url_count_and_the_first_of_each() {
        let listed = "core.hookspath\nx\0submodule.a.b.path\ndeps/a\0submodule.a.b.url\n../a.git\0submodule.a.b.update\n!touch x\0\
                      submodule.a.b.url\n../evil.git\0submodule.half.path\nhalf\0submodule.ignore\n\0";
        let module = Module { name: "a.b".to_owned(), path: "deps/a".into(), address: "../a.git".to_owned() };
        assert_eq!(parse(listed), Ok(vec![module]));
    }

    #[test]
    fn a_name_or_path_that_leads_elsewhere_is_refused() {
        for (name, path) in [
            ("../../x", "x"),
            ("a/../b", "x"),
            ("a\\..\\b", "x"),
            ("-c", "x"),
            ("a\nb", "x"),
            ("a", "../x"),
            ("a", "/x"),
            ("a", "x/../y"),
            ("a", ".git"),
            ("a", "x/.GIT/hooks"),
            ("a", ".git."),
            ("a", "x\ny"),
            ("a", "-x"),
            ("a", "."),
        ] {
            assert!(checked(name, path).is_err(), "{name:?} {path:?}");
        }
        assert_eq!(checked("deps/a..b", "deps//a/"), Ok("deps/a".into()));
    }
}
