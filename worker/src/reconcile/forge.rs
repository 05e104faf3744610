//! What the forge has on its branches and tags, as git says it (git-ls-remote(1)). Within a time, and within a size.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use hookspool_common::git_name::{RefName, Sha};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::git::{self, Remote};
use crate::harmless::one_line;
use crate::process::end_with_this_process;
use crate::receiver_side::Patient;

/// How long a forge may take. It names its refs in a second or two, also where there are a hundred thousand.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much it may say: a million refs.
const MAX_BYTES: u64 = 96 * 1024 * 1024;

/// How much is told of why it did not answer.
const MAX_REASON_BYTES: usize = 500;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// It took too long.
    #[error("it said nothing for {} seconds", PATIENCE.as_secs())]
    Silent,
    /// git failed, or what it printed is none of its.
    #[error("{0}")]
    Failed(String),
}

impl From<io::Error> for NoAnswer {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::Silent,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// What a ref points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tip {
    /// The object that it names; for an annotated tag, the tag's own.
    pub(super) object: Sha,
    /// The commit.
    pub(super) commit: Sha,
}

/// Every branch and tag.
pub(super) type Refs = BTreeMap<RefName, Tip>;

/// Asks for the branches and tags of a repository.
pub(super) fn ask(folder: &Path, remote: &Remote) -> Result<Refs, NoAnswer> {
    let mut command = git::command(folder, Some(remote), &["ls-remote", "--heads", "--tags", "--", &remote.address]);
    // Warnings, such as ssh's, must not get between the refs.
    let mut complaints = tempfile::tempfile()?;
    // A group of its own, with whatever git starts.
    command.process_group(0).stdout(Stdio::piped()).stderr(complaints.try_clone()?);
    end_with_this_process(&mut command);
    let mut git = command.spawn()?;
    let said = listen(&mut git);
    if said.is_err() {
        let _ = killpg(Pid::from_raw(git.id().cast_signed()), Signal::SIGKILL);
    }
    let status = git.wait()?;
    let said = said?;
    if !status.success() {
        return Err(NoAnswer::Failed(reason(&mut complaints, &format!("git ls-remote ended with {status}"))));
    }
    read(&said)
}

fn listen(git: &mut Child) -> Result<String, NoAnswer> {
    let stdout = git.stdout.take().ok_or_else(|| NoAnswer::Failed("git has no output".to_owned()))?;
    let mut said = Vec::new();
    Patient::until(stdout, PATIENCE).take(MAX_BYTES + 1).read_to_end(&mut said)?;
    if said.len() as u64 > MAX_BYTES {
        return Err(NoAnswer::Failed(format!("its list of refs is longer than {MAX_BYTES} bytes")));
    }
    String::from_utf8(said).map_err(|_| NoAnswer::Failed("its list of refs is not UTF-8".to_owned()))
}

/// git's last words.
fn reason(complaints: &mut File, otherwise: &str) -> String {
    let mut said = String::new();
    let all = complaints.seek(SeekFrom::Start(0)).and_then(|_| complaints.take(64 * 1024).read_to_string(&mut said));
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).filter(|_| all.is_ok());
    last.map_or_else(|| otherwise.to_owned(), |line| one_line(line, MAX_REASON_BYTES))
}

/// `SHA TAB REF` a line; behind an annotated tag a line for the commit that it names, as `REF^{}`.
///
/// A line that is none makes the whole answer none: a ref that was misread would pass for one that was deleted.
fn read(said: &str) -> Result<Refs, NoAnswer> {
    let mut refs = Refs::new();
    for line in said.lines() {
        let misread = || NoAnswer::Failed(format!("git printed {:?}, which is no ref", one_line(line, MAX_REASON_BYTES)));
        let (sha, name) = line.split_once('\t').ok_or_else(misread)?;
        let sha: Sha = sha.parse().map_err(|_| misread())?;
        let reference = |name: &str| name.parse::<RefName>().ok();
        match name.strip_suffix("^{}") {
            Some(tag) => {
                if let Some(tip) = reference(tag).and_then(|tag| refs.get_mut(&tag)) {
                    tip.commit = sha;
                }
            }
            // A name that git allows and Hookspool does not is no ref of any job.
            None => refs.extend(reference(name).map(|name| (name, Tip { object: sha.clone(), commit: sha }))),
        }
    }
    Ok(refs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "366701fde727cb7a9e7f21eb88264f59f6f9b89c";
    const B: &str = "1111111111111111111111111111111111111111";

    #[test]
    fn an_annotated_tag_is_known_by_its_object_and_its_commit() {
        let said = format!("{A}\trefs/heads/master\n{B}\trefs/tags/v1\n{A}\trefs/tags/v1^{{}}\n{A}\trefs/tags/v2\n");
        let refs = read(&said).unwrap();
        let tip = |name: &str| refs[&name.parse().unwrap()].clone();
        let (a, b): (Sha, Sha) = (A.parse().unwrap(), B.parse().unwrap());
        assert_eq!(tip("refs/tags/v1"), Tip { object: b, commit: a.clone() });
        assert_eq!(tip("refs/tags/v2"), Tip { object: a.clone(), commit: a.clone() });
        assert_eq!(tip("refs/heads/master"), Tip { object: a.clone(), commit: a });
        assert_eq!(refs.len(), 3);
    }

    #[test]
    fn a_line_that_is_no_ref_makes_the_answer_none() {
        for bad in ["warning: something".to_owned(), format!("{A} refs/heads/master"), "xyz\trefs/heads/master".to_owned()] {
            let said = format!("{A}\trefs/heads/master\n{bad}\n");
            assert!(read(&said).unwrap_err().to_string().contains("which is no ref"), "{bad}");
        }
        assert!(read("").unwrap().is_empty(), "a repository without any commit");
    }

    #[test]
    fn what_git_complains_of_is_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let address = folder.path().join("nothing.git").to_string_lossy().into_owned();
        let why = ask(folder.path(), &Remote { address, ..Remote::default() }).unwrap_err();
        assert!(matches!(&why, NoAnswer::Failed(said) if said.contains("exists") || said.contains("repository")), "{why}");
    }
}
