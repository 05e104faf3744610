//! A run while it runs: checkout, then the job's steps in order, each journalled before it begins. Whatever goes wrong
//! becomes an outcome.

mod wanted; // whether the job still wants the run

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use hookspool_common::clock::Clock;
use hookspool_common::config::{Commands, Config, Job, Phase, Repository, Step};
use hookspool_common::git_name::RefName;
use hookspool_common::ledger::{Ledger, LedgerError, Outcome, ProcessResult, Run, StepRecord};
use hookspool_common::masking::Masks;
use hookspool_common::secrets::SecretStore;

use crate::cache::Cache;
use crate::cancel;
use crate::checkout::hand_over::hand_over;
use crate::checkout::{Checkout, Tools, check_out};
use crate::environment::{self, StepContext};
use crate::folders::Folders;
use crate::forward::{Forward, forward};
use crate::git::Remote;
use crate::journal::Journal;
use crate::limits::InForce;
use crate::output::{self, RunLog};
use crate::process::{Account, Cancel, Containment, Launch, Supervisor};
use crate::report::{Ending, OUTPUT_END_BYTES};
use crate::scripts;
use crate::secrets::{self, StepSecret};

/// A run while it runs.
pub(crate) struct Work<'a> {
    config: &'a Config,
    folders: &'a Folders,
    run: Run,
    secrets: &'a SecretStore,
    clock: &'a dyn Clock,
    supervisor: Supervisor,
    journal: Journal,
    log: RunLog,
    /// What must not be shown.
    masks: Masks,
    steps: Vec<StepRecord>,
    /// Where in the log the present step's output begins.
    step_log_at: u64,
    /// The end of the first failing step's output.
    output_end: Option<String>,
}

/// What the steps of a run have in common.
struct Setting<'a> {
    repository: &'a Repository,
    job: &'a Job,
    secrets: Vec<StepSecret>,
}

impl<'a> Work<'a> {
    /// Makes the run's journal and log, and takes over the signals of this process.
    ///
    /// # Errors
    /// When one of these cannot be had.
    pub(crate) fn begin(
        config: &'a Config,
        folders: &'a Folders,
        run: &Run,
        secrets: &'a SecretStore,
        clock: &'a dyn Clock,
    ) -> anyhow::Result<Self> {
        let log_path = folders.log(run.id);
        Ok(Self {
            config,
            folders,
            run: run.clone(),
            secrets,
            clock,
            supervisor: Supervisor::new(Containment::make(folders.state(), run.id)).context("cannot watch over children")?,
            journal: Journal::begin(&folders.run(run.id)).context("cannot begin the journal")?,
            log: RunLog::create(&log_path).with_context(|| format!("cannot make the log {}", log_path.display()))?,
            masks: Masks::new([]),
            steps: Vec::new(),
            step_log_at: 0,
            output_end: None,
        })
    }

    /// The whole run. Whatever goes wrong becomes an outcome.
    pub(crate) fn execute(mut self, ledger: &mut dyn Ledger) -> Ending {
        let outcome = match self.all_steps(ledger) {
            Ok(outcome) => secrets::masked(outcome, &self.masks),
            Err(error) => {
                let why = self.masks.mask(&format!("{error:#}"));
                self.log.note(&why);
                Outcome::Failed(why)
            }
        };
        let said = outcome.reason().map_or_else(|| "succeeded".to_owned(), |why| format!("{}: {why}", outcome.state()));
        self.log.note(&format!("run {} {said}", self.run.id));
        if let Err(error) = self.journal.outcome(&outcome) {
            tracing::error!(run = %self.run.id, %error, "cannot write the journal");
        }
        if let Some(error) = self.log.failure() {
            tracing::error!(run = %self.run.id, %error, "cannot write the run's log");
        }
        self.supervisor.end();
        Ending { outcome, steps: self.steps, output_end: self.output_end.unwrap_or_default() }
    }

    fn all_steps(&mut self, ledger: &mut dyn Ledger) -> anyhow::Result<Outcome> {
        let (repository, job) = match wanted::find_job(self.config, &self.run) {
            Ok(found) => found,
            Err(refusal) => return Ok(Outcome::Refused(refusal)),
        };
        self.log.note(&format!("run {}: job `{}` of {} for {}", self.run.id, job.name, repository.name, described(&self.run)));
        let user = job.user.as_deref().unwrap_or(&self.config.worker.user);
        let account = account(user, job.user.is_some())?;
        self.masks = secrets::masks_at_first(self.secrets, repository, job, &self.run);
        self.log.hide(&self.masks);
        let (reference, from_fork) = match self.check_out(ledger, repository, job, &account)? {
            Ok(ready) => ready,
            Err(outcome) => return Ok(outcome),
        };
        if let Some(refusal) = wanted::why_not_after_all(self.folders, repository, job, &mut self.run)? {
            return Ok(Outcome::Refused(refusal));
        }
        let mut setting = Setting { repository, job, secrets: Vec::new() };
        self.masks = secrets::masks_for_a_fork(self.secrets, repository);
        if !from_fork {
            self.masks = secrets::masks(self.secrets, repository, job);
            setting.secrets = secrets::read(self.secrets, job)?;
        }
        self.log.hide(&self.masks);
        self.write_event(&account)?;
        let cache = Cache::of(self.folders, job, &self.run, &reference, from_fork);
        if let Some(cache) = &cache {
            self.note_of_cache(cache.put_in(&account));
        }
        let outcome = self.job_steps(&setting, account)?;
        if let Some(cache) = &cache {
            self.note_of_cache(cache.give_back(&outcome, &self.steps));
        }
        Ok(outcome)
    }

    /// Build, test and deploy until one fails, then `always`.
    fn job_steps(&mut self, setting: &Setting<'_>, account: Account) -> anyhow::Result<Outcome> {
        let limits = setting.job.limits.or(self.config.worker.limits);
        self.log.keep_at_most(limits.output_bytes());
        let mut in_force = InForce::new(limits, self.supervisor.limit(&limits), self.config.worker.slots);
        let mut outcome = Outcome::Succeeded;
        let mut owner = account.clone();
        for step in &setting.job.steps {
            let is_last = step.phase == Phase::Always;
            if outcome != Outcome::Succeeded && !is_last {
                continue;
            }
            let runs_as = step.user.as_ref().map_or_else(|| Ok(account.clone()), |name| self::account(name, true));
            let result = match runs_as {
                Ok(runs_as) => {
                    hand_over(&self.folders.work(self.run.id), owner.uid, &runs_as)
                        .context("cannot give the workspace to the step's user")?;
                    if !runs_as.is_root() {
                        owner = runs_as.clone();
                    }
                    self.step(setting, step, &mut in_force, &runs_as, &outcome)?
                }
                // `always` is still to come.
                Err(error) => self.step_that_cannot_start(step, &error)?,
            };
            if outcome == Outcome::Succeeded {
                outcome = self.outcome_of(step.phase.as_str(), &result);
            }
        }
        Ok(outcome)
    }

    /// A cache saves time; without it the run is as good.
    fn note_of_cache(&mut self, said: std::io::Result<String>) {
        self.log.note(&said.unwrap_or_else(|error| format!("cache: it cannot be used: {error}")));
    }

    /// What was checked out and whether it is a fork's, or the outcome that ends the run here.
    fn check_out(
        &mut self,
        ledger: &mut dyn Ledger,
        repository: &Repository,
        job: &Job,
        account: &Account,
    ) -> anyhow::Result<Result<(RefName, bool), Outcome>> {
        let remote = Remote::of(repository, self.config.directory(), self.secrets)?;
        self.log.note(&format!("checkout: {} from {}", described(&self.run), repository.clone));
        self.begin_step("checkout")?;
        let mut tools = Tools { supervisor: &mut self.supervisor, log: &mut self.log, masks: &self.masks };
        let checkout = check_out(&mut tools, self.folders, repository, job, &self.run, &remote, account)?;
        let (result, ended) = match checkout {
            Checkout::Ready { sha, reference, from_fork } => {
                self.log.note(&format!("checkout: the workspace is at {sha}"));
                if self.run.sha.is_none() && !self.run.event.kind.is_deletion() {
                    match ledger.resolve(self.run.id, &sha) {
                        // The run goes on; the newer program will end it by its journal.
                        Err(error @ LedgerError::Newer) => {
                            tracing::warn!(run = %self.run.id, %error, "cannot write the commit down")
                        }
                        other => other?,
                    }
                }
                self.run.sha = Some(sha);
                (ProcessResult::Exited(0), Ok((reference, from_fork)))
            }
            Checkout::Refused(why) => (ProcessResult::NotStarted(why.clone()), Err(Outcome::Refused(why))),
            Checkout::Failed(result) => {
                let outcome = self.outcome_of("checkout", &result);
                (result, Err(outcome))
            }
        };
        self.end_step(result)?;
        if ended.is_ok()
            && let Some(why) = self.why_not_forward(ledger, job)?
        {
            return Ok(Err(Outcome::Refused(why)));
        }
        Ok(ended)
    }

    /// Why the commit that was checked out is not to be deployed, if so.
    fn why_not_forward(&mut self, ledger: &dyn Ledger, job: &Job) -> anyhow::Result<Option<String>> {
        match forward(ledger, &self.folders.mirror(&self.run.repository), job, &self.run)? {
            Forward::Yes => Ok(None),
            Forward::Unknown(why) => {
                self.log.note(&format!("whether this commit is older than the last that was deployed cannot be told: {why}"));
                Ok(None)
            }
            Forward::No(why) => Ok(Some(why)),
        }
    }

    /// The event as a file of its own. The folder that it lies in is the worker's, so nobody else can be in the way.
    fn write_event(&self, account: &Account) -> anyhow::Result<()> {
        let path = self.folders.event_file(self.run.id);
        let write = || -> std::io::Result<()> {
            std::fs::write(&path, serde_json::to_vec_pretty(&self.run.event)?)?;
            std::os::unix::fs::lchown(&path, Some(account.uid.as_raw()), Some(account.gid.as_raw()))
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    fn step(
        &mut self,
        setting: &Setting<'_>,
        step: &Step,
        in_force: &mut InForce,
        account: &Account,
        so_far: &Outcome,
    ) -> anyhow::Result<ProcessResult> {
        let name = step.phase.as_str();
        let work = self.folders.work(self.run.id);
        if account.is_root()
            && let Err(error) = scripts::trust(&step.commands, &work)
        {
            return self.step_that_cannot_start(step, &error.into());
        }
        if let Some(line) = in_force.say(account) {
            self.log.note(&line);
        }
        let network = if step.network { "" } else { ", without network" };
        self.log.note(&format!("{name}: as user {}, at most {}{network}", account.name, shown(step.timeout)));
        self.begin_step(name)?;
        let handed_out = secrets::hand_out(&setting.secrets, &self.folders.secrets(self.run.id), account)?;
        let environment = environment::of(&StepContext {
            run: &self.run,
            repository: setting.repository,
            phase: step.phase,
            outcome: so_far,
            work: &work,
            event_file: &self.folders.event_file(self.run.id),
            account,
            domain: self.config.worker.domain.as_deref(),
            secrets: &handed_out.variables,
        });
        let cancel = if step.phase == Phase::Always { Cancel::Waits } else { Cancel::Ends };
        let deadline = Instant::now() + step.timeout;
        let allowance = in_force.allowance(&work, step.phase);
        let mut result = ProcessResult::Exited(0);
        for mut launch in launches(&step.commands, &work.join("src")) {
            for (variable, value) in &environment {
                launch = launch.env(variable, OsString::from_vec(value.clone()));
            }
            let launch = launch.account(account.clone()).network(step.network);
            let launch = launch.rlimits(in_force.rlimits(account)).allowance(allowance.clone());
            let mut output = self.log.step(&self.masks);
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = self.supervisor.run(&launch, left, cancel, &mut |chunk| output.push(chunk));
            output.finish();
            if ended.left_behind > 0 {
                self.log.note(&format!("{name}: killed {} processes that it left running", ended.left_behind));
            }
            ended.remarks.iter().for_each(|remark| self.log.note(&format!("{name}: {remark}")));
            result = ended.result;
            if !result.is_success() {
                break;
            }
        }
        self.end_step(result.clone())?;
        self.log.note(&format!("{name} {result}"));
        Ok(result)
    }

    fn step_that_cannot_start(&mut self, step: &Step, error: &anyhow::Error) -> anyhow::Result<ProcessResult> {
        let (name, result) = (step.phase.as_str(), ProcessResult::NotStarted(format!("{error:#}")));
        self.begin_step(name)?;
        self.end_step(result.clone())?;
        self.log.note(&format!("{name} {result}"));
        Ok(result)
    }

    fn outcome_of(&self, step: &str, result: &ProcessResult) -> Outcome {
        match result {
            result if result.is_success() => Outcome::Succeeded,
            ProcessResult::TimedOut => Outcome::TimedOut(format!("{step} {result}")),
            ProcessResult::Cancelled => match cancel::asked(self.folders, self.run.id) {
                Some(why) => Outcome::Cancelled(format!("{step} was ended{}", why.of_a_step())),
                // A shutdown.
                None => Outcome::Interrupted(format!("{step} was ended, because the runner was asked to end")),
            },
            result => Outcome::Failed(format!("{step} {result}")),
        }
    }

    fn begin_step(&mut self, name: &str) -> anyhow::Result<()> {
        let started_at = self.clock.now();
        self.step_log_at = self.log.position();
        self.journal.started(name, started_at, self.step_log_at).context("cannot write the journal")?;
        self.steps.push(StepRecord { name: name.to_owned(), started_at, ended_at: None, result: None });
        Ok(())
    }

    fn end_step(&mut self, result: ProcessResult) -> anyhow::Result<()> {
        let ended_at = self.clock.now();
        self.journal.ended(ended_at, &result).context("cannot write the journal")?;
        if !result.is_success() && self.output_end.is_none() {
            self.output_end = Some(output::end_of(&self.folders.log(self.run.id), self.step_log_at, OUTPUT_END_BYTES));
        }
        if let Some(step) = self.steps.last_mut() {
            step.ended_at = Some(ended_at);
            step.result = Some(result);
        }
        Ok(())
    }
}

/// Who a job's steps run as. Without root, a user that nobody named is whoever the worker runs as.
fn account(name: &str, was_named: bool) -> anyhow::Result<Account> {
    if !was_named && !nix::unistd::geteuid().is_root() {
        return Ok(Account::own()?);
    }
    let account = Account::named(name)?;
    anyhow::ensure!(
        was_named || !account.is_root(),
        "user `{name}` of [worker] is root; name another there, and root in the job or step that needs it"
    );
    Ok(account)
}

fn launches(commands: &Commands, folder: &Path) -> Vec<Launch> {
    match commands {
        Commands::Shell(scripts) => {
            scripts.iter().map(|script| Launch::new("/bin/sh", folder).args(["-eu", "-c", script])).collect()
        }
        Commands::Argv(words) => {
            words.first().map(|program| Launch::new(program, folder).args(&words[1..])).into_iter().collect()
        }
    }
}

/// `refs/heads/main at 366701fde7`.
fn described(run: &Run) -> String {
    let reference = run.reference.as_ref().map_or_else(|| "no ref".to_owned(), ToString::to_string);
    run.sha.as_ref().map_or_else(|| reference.clone(), |sha| format!("{reference} at {}", sha.short()))
}

fn shown(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (hours, 0, 0) => format!("{hours} h"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02} h"),
    }
}
