//! The ledger: what root admitted, what became of it, and who is still to be told.
//!
//! Only root's programs open it: passes and runners write, the operator's program reads.

mod admission; // a delivery's proposals become runs
mod asking; // a person's wishes do
mod deployed; // what each job deployed last
mod holds; // lanes in which nothing starts
mod schedules; // up to when each schedule was looked at
mod reconciliation; // what the forge had on each ref, and the runs for which no delivery came
mod replay; // deliveries that were taken over before become runs once more
mod finish; // the end of a run, and what follows from it
mod notice; // mails that are to be sent
mod rows; // columns to types
mod query; // which runs are looked for
mod process_result; // how a step ended
mod run; // a run, its states and steps
mod sqlite; // opening, and the trait in SQLite
mod transitions; // every change of a run's state
mod turns; // which run of a lane is next
mod pruning; // what goes when its time is over
mod waiting; // what a queued run waits for

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Instant;
use crate::config::OnNew;
use crate::event::Event;
use crate::git_name::{RefName, Sha};
use crate::names::{DeliveryId, JobName, RunId, SourceName};
use crate::record::{Answer, InboxIdentity, Record};
use crate::repository_name::RepositoryName;

pub use deployed::Deployed;
pub use finish::{Finish, Sequel};
pub use holds::Hold;
pub use notice::{NewNotice, Notice, NoticeId, NoticeState};
pub use process_result::{ExceededLimit, ProcessEnd, ProcessResult};
pub use pruning::{DeliveryPlace, Keeping, Overdue, Place, Pruning};
pub use query::RunQuery;
pub use reconciliation::{Answer as RefAnswer, KnownRefs, Reconciled, RefChange};
pub use run::{Cause, Outcome, Run, RunState, StepRecord};
pub use schedules::{ScheduleLook, ScheduleState};
pub use sqlite::SqliteLedger;
pub use waiting::Waiting;

/// The ledger's file within the state folder.
pub const LEDGER_FILE: &str = "ledger.db";

/// Why the ledger did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be opened, read or written.
    #[error("the ledger fails: {0}")]
    Failing(String),
    /// The file is to be brought up to this version's form before it can be looked into.
    #[error("{0} is of an older Hookspool; run `hookspool-worker pass`, which brings it up to date")]
    Older(PathBuf),
    /// A newer program has brought the file to a form of its own while this one had it open.
    #[error("the ledger has been brought up to date by a newer Hookspool; this program is too old to write to it")]
    Newer,
    /// A run is not in the state that a transition starts from: somebody else moved it.
    #[error("run {run} is not {expected}")]
    Unexpected {
        /// The run.
        run: RunId,
        /// The state it was expected in.
        expected: &'static str,
    },
    /// A mail was sent or given up meanwhile, by somebody else.
    #[error("mail {0} is not due any more")]
    NotDue(i64),
    /// A delivery that is still to be taken over: the next pass does that, and makes its runs.
    #[error("delivery {0} has not been taken over yet; the next pass does that, and runs what it asks for")]
    NotTakenOver(DeliveryId),
}

/// A run that a delivery asks for, as root's own configuration sees it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The repository.
    pub repository: RepositoryName,
    /// Its job.
    pub job: JobName,
    /// The event, which the delivery's other requests share.
    pub event: Arc<Event>,
    /// The lane's key; runs with the same key never overlap.
    pub lane: String,
    /// What the run does to those already in its lane.
    pub on_new: OnNew,
    /// Of the runs that wait in different lanes, those with the larger number start first.
    pub priority: u8,
    /// Why it must not run after all.
    pub refused: Option<String>,
}

/// A delivery as it is taken over, with the runs that it asks for.
#[derive(Debug, Clone)]
pub struct Admission {
    /// The delivery. What it proposes is in the requests.
    pub record: Record,
    /// The runs.
    pub requests: Vec<Request>,
}

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The run that it became, or that it joined.
    pub run: RunId,
    /// Whether another delivery had asked for the same run.
    pub joined: bool,
}

/// A delivery as the ledger knows it.
#[derive(Debug, Clone)]
pub struct KnownDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// The source it came to.
    pub source: SourceName,
    /// The forge's own id.
    pub provider_id: Option<String>,
    /// When the receiver took it.
    pub received_at: Instant,
    /// When the ledger took it over.
    pub imported_at: Instant,
    /// What was answered.
    pub answer: Answer,
    /// Why nothing was to run.
    pub reason: Option<String>,
}

/// Root's database, in coarse operations. Each is one transaction.
pub trait Ledger {
    /// The inbox that was last imported from, and the place up to which.
    ///
    /// # Errors
    /// [`LedgerError`], as everywhere here.
    fn watermark(&self) -> Result<Option<(InboxIdentity, i64)>, LedgerError>;

    /// Takes deliveries over: their rows, their runs and the new watermark at once. A delivery whose id is known
    /// already (a restored inbox) is passed over.
    ///
    /// # Errors
    /// [`LedgerError`]; then nothing was taken over.
    fn admit(&mut self, inbox: &InboxIdentity, batch: &[Admission], now: Instant) -> Result<Vec<Admitted>, LedgerError>;

    /// Moves the watermark past deliveries that another ledger took over, which was lost or is newer than this one.
    ///
    /// # Errors
    /// [`LedgerError`]; then it stays where it was.
    fn skip_to(&mut self, inbox: &InboxIdentity, seq: i64) -> Result<(), LedgerError>;

    /// Makes new runs of deliveries that were taken over before, for the person `by`: all of them or none. What the
    /// deliveries' earlier runs were or are makes no difference, but in a lane that they share.
    ///
    /// # Errors
    /// [`LedgerError::NotTakenOver`] when the ledger has not come as far as one of them.
    fn replay(
        &mut self,
        inbox: &InboxIdentity,
        batch: &[Admission],
        by: &str,
        now: Instant,
    ) -> Result<Vec<Vec<Admitted>>, LedgerError>;

    /// Makes a run that the person `by` wants, without a delivery.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn start(
        &mut self,
        source: &SourceName,
        request: &Request,
        by: &str,
        allow_older: bool,
        now: Instant,
    ) -> Result<Admitted, LedgerError>;

    /// Makes the run `of` anew, at its commit, for the person `by`. It takes the place in its lane that `of` had, and
    /// displaces nobody. A lane that is held because the runner of `of` died goes on.
    ///
    /// # Errors
    /// [`LedgerError::Unexpected`] when `of` is not over.
    fn rerun(&mut self, of: RunId, request: &Request, by: &str, allow_older: bool, now: Instant)
    -> Result<Admitted, LedgerError>;

    /// Ends a run that has not started, for this reason. Whether it had not.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn cancel(&mut self, run: RunId, reason: &str, now: Instant) -> Result<bool, LedgerError>;

    /// Holds a lane, for the person `by`. Whether nobody had held it yet; one that is held stays as it is.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn hold(&mut self, lane: &str, run: Option<RunId>, by: &str, reason: &str, now: Instant) -> Result<bool, LedgerError>;

    /// Lets a lane go on. Whether it was held.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn release(&mut self, lane: &str) -> Result<bool, LedgerError>;

    /// The lanes that are held, the longest first.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn holds(&self) -> Result<Vec<Hold>, LedgerError>;

    /// How a lane is held, if it is.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn hold_of(&self, lane: &str) -> Result<Option<Hold>, LedgerError>;

    /// Whether any run that is still known is or was in this lane. It looks at every run: only for a person's question.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn has_seen_lane(&self, lane: &str) -> Result<bool, LedgerError>;

    /// What a run waits for; absent where it does not.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn waiting(&self, run: &Run, now: Instant) -> Result<Option<Waiting>, LedgerError>;

    /// What is known of every job's schedule.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn schedules(&self) -> Result<Vec<ScheduleState>, LedgerError>;

    /// Writes looks at the clock down, with the runs that are due, and forgets the schedules that are no more: all at once.
    /// The runs that were made; of a look none when another came first.
    ///
    /// # Errors
    /// [`LedgerError`]; then nothing was written down.
    fn look_at_schedules(
        &mut self,
        looks: &[ScheduleLook],
        gone: &[ScheduleState],
        now: Instant,
    ) -> Result<Vec<RunId>, LedgerError>;

    /// The last run that a job's schedule led to.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn last_scheduled(&self, repository: &RepositoryName, job: &JobName) -> Result<Option<Run>, LedgerError>;

    /// When each repository's forge was asked for its refs.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn reconciled(&self) -> Result<Vec<Reconciled>, LedgerError>;

    /// What the forge had on each branch and tag of a repository when it last answered.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn known_refs(&self, repository: &RepositoryName) -> Result<KnownRefs, LedgerError>;

    /// The newest run; 0 where there is none.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn newest_run(&self) -> Result<RunId, LedgerError>;

    /// Takes an answer of the forge over: what is known of its refs, and the runs of which no delivery told, at once. Those runs.
    ///
    /// # Errors
    /// [`LedgerError`]; then nothing was taken over.
    fn reconcile(&mut self, answer: &RefAnswer, now: Instant) -> Result<Vec<RunId>, LedgerError>;

    /// Writes down that the forge was asked at `asked_at` and did not answer. Nothing that is known of it is forgotten.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn not_reconciled(&mut self, repository: &RepositoryName, asked_at: Instant) -> Result<(), LedgerError>;

    /// Forgets what is known of a repository's refs, because nobody wants to know any more.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn forget_refs(&mut self, repository: &RepositoryName) -> Result<(), LedgerError>;

    /// Queued runs that may start now, one a lane, at most `limit`: those of larger priority first, then the oldest.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn startable(&self, now: Instant, limit: usize) -> Result<Vec<RunId>, LedgerError>;

    /// Every run that counts as running.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn running(&self) -> Result<Vec<Run>, LedgerError>;

    /// The queued runs of a lane, in the order in which they start.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn queued_in(&self, lane: &str) -> Result<Vec<Run>, LedgerError>;

    /// The queued runs of a job that came into the lane of `run` after it. What was made anew did not come after anything.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn newcomers(&self, run: &Run, job: &JobName) -> Result<Vec<Run>, LedgerError>;

    /// The queued run of a lane that starts first, and how many are queued there.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn queue_of(&self, lane: &str) -> Result<Option<(RunId, u32)>, LedgerError>;

    /// The newest queued run of a lane.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn newest_in(&self, lane: &str) -> Result<Option<RunId>, LedgerError>;

    /// Moves a run from queued to running. `None` when it is not queued any more, or not its turn.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn claim(&mut self, run: RunId, now: Instant) -> Result<Option<Run>, LedgerError>;

    /// Writes down the commit that a run's ref turned out to be.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn resolve(&mut self, run: RunId, sha: &Sha) -> Result<(), LedgerError>;

    /// Ends a running run: outcome, steps, notices and what follows at once. The run that follows, if one does.
    ///
    /// # Errors
    /// [`LedgerError::Unexpected`] when it does not run, or when its lane is not as it was when the sequel was decided.
    fn finish(&mut self, run: RunId, finish: &Finish<'_>, now: Instant) -> Result<Option<RunId>, LedgerError>;

    /// One run.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn run(&self, run: RunId) -> Result<Option<Run>, LedgerError>;

    /// Whether there was a run with this number, and its time was over.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn was_pruned(&self, run: RunId) -> Result<bool, LedgerError>;

    /// The newest of the runs that are looked for, newest first.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn runs(&self, query: &RunQuery) -> Result<Vec<Run>, LedgerError>;

    /// The runs that were made from a run: its next attempt, and what people wanted anew.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn made_from(&self, run: RunId) -> Result<Vec<Run>, LedgerError>;

    /// The steps of a run that ended.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn steps(&self, run: RunId) -> Result<Vec<StepRecord>, LedgerError>;

    /// The runs that a delivery asked for, with those that it joined.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn runs_of(&self, delivery: DeliveryId) -> Result<Vec<Run>, LedgerError>;

    /// The deliveries that asked for a run, first the one that made it.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn deliveries_of(&self, run: RunId) -> Result<Vec<KnownDelivery>, LedgerError>;

    /// The deliveries with this id, or with this provider id.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn deliveries(&self, id: &str) -> Result<Vec<KnownDelivery>, LedgerError>;

    /// What a job deployed last: of tags on any of them, else on this ref.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn last_deployed(
        &self,
        repository: &RepositoryName,
        job: &JobName,
        reference: Option<&RefName>,
    ) -> Result<Option<Deployed>, LedgerError>;

    /// The last run of the same job and ref before `run` that succeeded or did not, and was not tried again.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn previous(
        &self,
        repository: &RepositoryName,
        job: &JobName,
        reference: Option<&RefName>,
        run: RunId,
    ) -> Result<Option<Run>, LedgerError>;

    /// When anybody was last told of a run of this job and ref.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn last_told(
        &self,
        repository: &RepositoryName,
        job: &JobName,
        reference: Option<&RefName>,
    ) -> Result<Option<Instant>, LedgerError>;

    /// Notices that are due, oldest first.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn due_notices(&self, now: Instant, limit: usize) -> Result<Vec<Notice>, LedgerError>;

    /// The notices of a run.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn notices_of(&self, run: RunId) -> Result<Vec<Notice>, LedgerError>;

    /// Writes down that notices are about to be sent.
    ///
    /// # Errors
    /// [`LedgerError`]; then none may be sent.
    fn attempting(&mut self, notices: &[NoticeId], now: Instant) -> Result<(), LedgerError>;

    /// Writes down what became of an attempt to send a notice that is due.
    ///
    /// # Errors
    /// [`LedgerError::NotDue`] when it is not.
    fn attempted(&mut self, notice: NoticeId, state: &NoticeState, now: Instant) -> Result<(), LedgerError>;
}
