//! The secrets of a run: which values its log must not show, and how its steps get those that are theirs.
//!
//! A secret as a file lies in the run's own folder, in a folder of the step's user that nobody else can enter, is written
//! anew for each step, and goes when the step is over. So a step of root never finds there what another user's step put in
//! its place. It lies on the same disk as `secrets/` itself: a file system in memory would have to be mounted and unmounted
//! with each run, and a runner that is killed would leave it behind.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, fchown, lchown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use hookspool_common::config::{Config, Job, Repository, SecretForm};
use hookspool_common::ledger::{Outcome, Run};
use hookspool_common::masking::Masks;
use hookspool_common::names::SecretName;
use hookspool_common::secrets::{Secret, SecretStore};

use crate::folders::remove_tree;
use crate::process::Account;

/// A secret that a step gets.
pub(crate) struct StepSecret {
    name: SecretName,
    form: SecretForm,
    value: Secret,
}

/// Reads the job's secrets, for its steps.
///
/// # Errors
/// The first that cannot be had, or could not be masked.
pub(crate) fn read(store: &SecretStore, job: &Job) -> anyhow::Result<Vec<StepSecret>> {
    let read = |secret: &hookspool_common::config::JobSecret| {
        Ok(StepSecret { name: secret.name.clone(), form: secret.form, value: store.read_maskable(&secret.name)? })
    };
    job.secrets.iter().map(read).collect()
}

/// What a run at a commit of the repository's own could show: what the forge is asked with, and all that is the job's.
pub(crate) fn masks(store: &SecretStore, repository: &Repository, job: &Job) -> Masks {
    masks_of(store, of_the_forge(repository).chain(job.secrets.iter().map(|secret| &secret.name)))
}

/// What a run could show at a fork's commit, or before it is known whose commit it is at. The job's own secrets are not among it: such a run never sees them, and a
/// stranger who prints a guess must not be told by `***` that it is right.
pub(crate) fn masks_for_a_fork(store: &SecretStore, repository: &Repository) -> Masks {
    masks_of(store, of_the_forge(repository))
}

fn of_the_forge(repository: &Repository) -> impl Iterator<Item = &SecretName> {
    repository.deploy_key.iter().chain(&repository.https_token)
}

/// What must not be shown before the forge has said whether the run is a fork's. What a stranger can cause shows no `***` for a
/// guess of theirs; of a branch or tag, only who may write to the repository moves it.
pub(crate) fn masks_at_first(store: &SecretStore, repository: &Repository, job: &Job, run: &Run) -> Masks {
    if may_be_a_strangers(run) { masks_for_a_fork(store, repository) } else { masks(store, repository, job) }
}

fn may_be_a_strangers(run: &Run) -> bool {
    let is_ours = run.reference.as_ref().is_none_or(|reference| reference.branch().or(reference.tag()).is_some());
    run.event.pull_request.is_some() || run.event.comment.is_some() || !is_ours
}

/// What cannot be read cannot be shown either; whoever needs it says why.
fn masks_of<'n>(store: &SecretStore, names: impl Iterator<Item = &'n SecretName>) -> Masks {
    let secrets: Vec<Secret> = names.filter_map(|name| store.read(name).ok()).collect();
    Masks::new(&secrets)
}

/// The run as its mail may show it: a commit's message may hold a secret as well as a log.
pub(crate) fn shown_in_mail(config: &Config, run: &Run) -> Run {
    let mut shown = run.clone();
    let repository = config.repository(&run.source, &run.repository);
    if let Some((repository, job)) = repository.and_then(|repository| repository.job(&run.job).map(|job| (repository, job))) {
        // As the runner's own store: whoever ends a run, a pass too, was started with the same credentials.
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let store = SecretStore::of_worker(config.directory(), credentials);
        let masks = masks_at_first(&store, repository, job, run);
        for commit in shown.event.commits.iter_mut().flatten() {
            commit.message = masks.mask(&commit.message);
        }
    }
    shown
}

/// The outcome, without secrets in its reason.
pub(crate) fn masked(outcome: Outcome, masks: &Masks) -> Outcome {
    let mask = |why: String| masks.mask(&why);
    match outcome {
        Outcome::Succeeded => Outcome::Succeeded,
        Outcome::Failed(why) => Outcome::Failed(mask(why)),
        Outcome::TimedOut(why) => Outcome::TimedOut(mask(why)),
        Outcome::Cancelled(why) => Outcome::Cancelled(mask(why)),
        Outcome::Interrupted(why) => Outcome::Interrupted(mask(why)),
        Outcome::Refused(why) => Outcome::Refused(mask(why)),
    }
}

/// The variables by which one step gets its secrets, and the files that some of them name. The files go with this value.
#[derive(Debug)]
pub(crate) struct HandedOut {
    /// Each variable with its value: the secret, or where it lies.
    pub(crate) variables: Vec<(String, Vec<u8>)>,
    folder: PathBuf,
}

/// Hands the secrets out to a step that runs as `account`, files into `folder`.
///
/// # Errors
/// What the system said.
pub(crate) fn hand_out(secrets: &[StepSecret], folder: &Path, account: &Account) -> anyhow::Result<HandedOut> {
    let mut handed = HandedOut { variables: Vec::new(), folder: folder.to_owned() };
    remove_tree(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    if secrets.iter().any(|secret| secret.form == SecretForm::File) {
        let made = DirBuilder::new().mode(0o700).create(folder);
        made.with_context(|| format!("cannot make {}", folder.display()))?;
    }
    for secret in secrets {
        let value = match secret.form {
            SecretForm::Environment => secret.value.bytes().to_vec(),
            SecretForm::File => {
                let path = folder.join(secret.name.as_str());
                write(&path, &secret.value, account).with_context(|| format!("cannot write {}", path.display()))?;
                path.into_os_string().into_encoded_bytes()
            }
        };
        handed.variables.push((secret.name.to_string(), value));
    }
    if fs::symlink_metadata(folder).is_ok() {
        // The last thing: until now nobody but root could come in.
        let given = lchown(folder, Some(account.uid.as_raw()), Some(account.gid.as_raw()));
        given.with_context(|| format!("cannot give {} to {}", folder.display(), account.name))?;
    }
    Ok(handed)
}

fn write(path: &Path, secret: &Secret, account: &Account) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o400).open(path)?;
    file.write_all(secret.as_written())?;
    fchown(&file, Some(account.uid.as_raw()), Some(account.gid.as_raw()))
}

impl Drop for HandedOut {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "cannot remove a step's secrets");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn secret(name: &str, form: SecretForm, value: &str) -> StepSecret {
        StepSecret { name: name.parse().unwrap(), form, value: Secret::new(value.as_bytes().to_vec()) }
    }

    #[test]
    fn a_secret_is_a_variable_or_a_file_that_only_its_user_can_reach_and_goes_with_the_step() {
        let work = tempfile::tempdir().unwrap();
        let folder = work.path().join("secrets");
        let secrets = [secret("TOKEN", SecretForm::Environment, "hunter22"), secret("KEY", SecretForm::File, "one\ntwo")];
        let account = Account::own().unwrap();
        let handed = hand_out(&secrets, &folder, &account).unwrap();
        let path = folder.join("KEY");
        let expected =
            [("TOKEN".to_owned(), b"hunter22".to_vec()), ("KEY".to_owned(), path.to_string_lossy().as_bytes().to_vec())];
        assert_eq!(handed.variables, expected);
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo");
        let found = |path: &Path| (fs::metadata(path).unwrap().mode() & 0o7777, fs::metadata(path).unwrap().uid());
        assert_eq!((found(&folder), found(&path)), ((0o700, account.uid.as_raw()), (0o400, account.uid.as_raw())));
        drop(handed);
        assert!(!folder.exists());
    }

    #[test]
    fn what_the_step_before_left_in_their_place_is_gone() {
        let work = tempfile::tempdir().unwrap();
        let (folder, canary) = (work.path().join("secrets"), work.path().join("canary"));
        fs::write(&canary, "untouched").unwrap();
        fs::create_dir(&folder).unwrap();
        symlink(&canary, folder.join("KEY")).unwrap();
        let secrets = [secret("KEY", SecretForm::File, "hunter22")];
        let handed = hand_out(&secrets, &folder, &Account::own().unwrap()).unwrap();
        assert_eq!(fs::read_to_string(folder.join("KEY")).unwrap(), "hunter22");
        drop(handed);
        symlink(work.path(), &folder).unwrap();
        drop(hand_out(&secrets, &folder, &Account::own().unwrap()).unwrap());
        assert_eq!(fs::read_to_string(&canary).unwrap(), "untouched");
    }
}
