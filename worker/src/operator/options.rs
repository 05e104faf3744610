//! The command line of `hookspool`.

mod runs; // runs and their lanes

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand};
use hookspool_common::clock::{Clock, Instant, SystemClock};
use hookspool_common::config::{DEFAULT_PATH, parse_duration};
use hookspool_common::names::{RunId, SourceName};
use hookspool_common::record::Answer;

use super::inbox::READER;
use super::selftest::CHILD;
pub(super) use runs::{Cancel, Hold, Holds, LaneOf, Release, Rerun, Run, Runs};

const EXIT_STATUS: &str = "Exit status:
  0  it is so, or it is done
  1  it is not so, or it failed; of `replay --dry-run`, something would change
  2  the command line is wrong
  3  there is no such run or delivery
  4  the configuration has errors";

/// Turns a push into a build, a test run and a deploy on this machine.
#[derive(Debug, Parser)]
#[command(name = "hookspool", version, after_help = EXIT_STATUS)]
pub(super) struct Options {
    #[command(subcommand)]
    pub(super) command: Command,
    /// The configuration; `repositories/` and `secrets/` lie beside it.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH, global = true)]
    pub(super) config: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Shows the whole way of a push on this machine, in a temporary folder, without any set-up
    Demo(Demo),
    /// Checks the configuration and says everything that is wrong with it
    Check(Check),
    /// Says what a payload would run, or the first condition that failed
    Explain(Explain),
    /// Sends a signed test delivery to the receiver
    Send(Send),
    /// Lists what came in, the newest first, or shows one delivery
    Deliveries(Deliveries),
    /// Runs again what a delivery asks for, or says what another configuration would run
    Replay(Replay),
    /// Runs a job by hand, whatever its `when` says
    Run(Run),
    /// Runs the same once more, at the same commit
    Rerun(Rerun),
    /// Ends runs, whether they wait or run
    Cancel(Cancel),
    /// Holds a lane: nothing starts there until it is released
    Hold(Hold),
    /// Lets a lane go on that is held
    Release(Release),
    /// Lists the lanes that are held
    Holds(Holds),
    /// Lists runs, the newest first
    Runs(Runs),
    /// Lists the jobs that run by a schedule, with their next times
    Schedule(Schedule),
    /// Shows one run: its steps, deliveries and mails
    Show(Show),
    /// Prints the log of a run
    Log(Log),
    /// Follows one delivery from its arrival to the mail's Message-ID
    Trace(Trace),
    /// Shows on this machine that what keeps its parts apart holds
    Selftest {
        #[command(subcommand)]
        test: Selftest,
    },
    /// Acts as another user for the self-test.
    #[command(name = CHILD, hide = true)]
    SelftestChild,
    /// Reads the inbox for this program, without privileges.
    #[command(name = READER, hide = true)]
    ReadInbox {
        /// The spool folder.
        spool: PathBuf,
        /// Which deliveries, as JSON.
        query: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Where to make the demo's folder, instead of the system's place for temporary files
    #[arg(long, value_name = "FOLDER")]
    pub(super) within: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Selftest {
    /// Attacks a scratch installation as the receiver's user, and looks at the rights in the real one
    Privsep(Privsep),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Needs root. Everything happens in a temporary folder, with the machine's real users, and is removed; the real
installation is only looked at.

Exit status:
  0  everything holds
  1  something does not, or the test could not be made
  4  the configuration has errors"
)]
pub(super) struct Privsep {
    /// Where to make the scratch installation, instead of the system's place for temporary files
    #[arg(long, value_name = "FOLDER")]
    pub(super) within: Option<PathBuf>,
    /// Tries only the attacks in whose description this text is
    #[arg(long, value_name = "TEXT")]
    pub(super) only: Option<String>,
    /// Prints JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Counts warnings (a secret or user that is not there) as errors
    #[arg(long)]
    pub(super) strict: bool,
    /// Prints JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  hookspool explain --source github --header 'X-GitHub-Event: push' --body push.json

No signature is needed: nothing is stored and nothing runs.")]
pub(super) struct Explain {
    /// The [[source]] that the payload would come to
    #[arg(long, value_name = "NAME", required_unless_present = "provider", conflicts_with = "provider")]
    pub(super) source: Option<SourceName>,
    /// The kind of forge, instead of a source: prints the events alone, and needs no configuration
    #[arg(long, value_name = "PROVIDER")]
    pub(super) provider: Option<String>,
    /// A header of the delivery; may be given several times
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(super) headers: Vec<String>,
    /// The path that was called, for a source whose path has a parameter
    #[arg(long, value_name = "PATH", requires = "source")]
    pub(super) path: Option<String>,
    /// The file with the body, or - for standard input
    #[arg(long, value_name = "FILE")]
    pub(super) body: PathBuf,
    /// Prints JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hookspool send --source github                                   a ping
  hookspool send --repository github.com/owner/name --ref main     a push that makes this branch
  hookspool send --source github --event push --body push.json     this body, signed

With --repository the ref is told of as just made and pushed: jobs for `branch_created` run, too.
The delivery is signed with the source's first secret and sent to where the receiver listens.")]
pub(super) struct Send {
    /// The [[source]] to send to; that of the repository, if one is given
    #[arg(long, value_name = "NAME", required_unless_present = "repository")]
    pub(super) source: Option<SourceName>,
    /// A configured repository whose present commit is told of, on a branch that was just made and pushed: jobs for
    /// `branch_created` run, too
    #[arg(long, value_name = "NAME", conflicts_with_all = ["event", "body"])]
    pub(super) repository: Option<String>,
    /// The branch, or a full ref such as refs/tags/v1; the default branch otherwise
    #[arg(long = "ref", value_name = "REF", requires = "repository")]
    pub(super) reference: Option<String>,
    /// The pusher's mail address in that push
    #[arg(long, value_name = "ADDRESS", requires = "repository")]
    pub(super) pusher: Option<String>,
    /// The event that the --body tells of, as the forge's header names it; without both a ping is sent, which forges that
    /// have none ignore
    #[arg(long, value_name = "EVENT")]
    pub(super) event: Option<String>,
    /// The path that is called, for a source whose path has a parameter
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    pub(super) path: Option<String>,
    /// The file with the body, or - for standard input; a generic source is sent an empty one otherwise
    #[arg(long, value_name = "FILE")]
    pub(super) body: Option<PathBuf>,
    /// The delivery's id; a fresh one otherwise
    #[arg(long, value_name = "ID")]
    pub(super) id: Option<String>,
    /// Where to send it, instead of where the receiver listens: the public address, through the proxy
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hookspool deliveries --since 7d --answer ignored
  hookspool deliveries DELIVERY --body | hookspool explain --source github --header 'X-GitHub-Event: push' --body -")]
pub(super) struct Deliveries {
    /// Shows this one, with its headers and body: the id that the receiver answered, or the forge's own
    #[arg(conflicts_with_all = ["limit", "source", "since", "answer"])]
    pub(super) delivery: Option<String>,
    /// How many; 20 unless said
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub(super) limit: Option<usize>,
    /// Only what came to this [[source]]
    #[arg(long, value_name = "NAME")]
    pub(super) source: Option<SourceName>,
    /// Only what came within this time, such as 7d or 1h30m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) since: Option<Duration>,
    /// Only what was answered like this: accepted, ignored or pong
    #[arg(long, value_name = "ANSWER", value_parser = parse_answer)]
    pub(super) answer: Option<Answer>,
    /// Prints the body alone, byte for byte
    #[arg(long, requires = "delivery", conflicts_with = "json")]
    pub(super) body: bool,
    /// Prints JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").args(["deliveries", "since"]).required(true),
    group = ArgGroup::new("consent").args(["dry_run", "yes"]),
    after_help = "Examples:
  hookspool replay DELIVERY                                     runs again what it asks for
  hookspool replay --since 7d --config NEW --dry-run            what NEW would run, and what it would not run any more
  hookspool replay --since 7d --config NEW --against OLD --dry-run    the same, as a difference of two configurations
  hookspool replay --since 2h --yes                             runs again all that came in two hours

A delivery is read and matched anew, under the present configuration. Its jobs become new runs.
With --dry-run, + is a job that would run and did not, - one that did and would not, ? a delivery of which that cannot be told.
At most 1000 runs at once.

Exit status:
  0  it runs again; with --dry-run, nothing would change
  1  nothing ran, or a delivery is gone; with --dry-run, something would change, or it cannot be told
  3  there is no such delivery"
)]
pub(super) struct Replay {
    /// Deliveries: the id that the receiver answered, or the forge's own
    pub(super) deliveries: Vec<String>,
    /// Everything that came within this time, such as 7d or 1h30m
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "consent")]
    pub(super) since: Option<Duration>,
    /// Only what came to this [[source]]
    #[arg(long, value_name = "NAME", requires = "since")]
    pub(super) source: Option<SourceName>,
    /// Runs nothing: says how what would run differs from what each delivery asked for when it came
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Compares with what this configuration would run, instead of what was asked for at the time
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    pub(super) against: Option<PathBuf>,
    /// Yes, all of them are to run again
    #[arg(long, requires = "since")]
    pub(super) yes: bool,
    /// Prints JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Schedule {
    /// How many times of each job
    #[arg(short = 'n', long, value_name = "COUNT", default_value = "3")]
    pub(super) count: NonZeroUsize,
    /// Prints JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The run's number
    pub(super) run: RunId,
    /// Prints JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Log {
    /// The run's number
    pub(super) run: RunId,
    /// Goes on until the run ends
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Shows only the last lines of what is there
    #[arg(long, value_name = "LINES")]
    pub(super) tail: Option<usize>,
}

#[derive(Debug, Args)]
pub(super) struct Trace {
    /// The delivery: the id that the receiver answered, or the forge's own
    pub(super) delivery: String,
    /// Prints JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// The instant that lies this long back.
pub(super) fn before_now(time: Duration) -> Instant {
    SystemClock.now().plus_millis(i64::try_from(time.as_millis()).map_or(i64::MIN, i64::wrapping_neg))
}

/// A delivery that was answered `pong` is stored as the ping that it is.
fn parse_answer(text: &str) -> Result<Answer, String> {
    let answer = Answer::ALL.into_iter().find(|answer| [answer.word(), answer.as_str()].contains(&text));
    answer.ok_or_else(|| format!("the answers are: {}", Answer::ALL.map(Answer::word).join(", ")))
}
