//! Root's own verdict on what the receiver proposes: only a job that root's configuration has, and that this event asks
//! for, becomes a run.

use std::collections::BTreeSet;
use std::sync::Arc;

use hookspool_common::config::{Config, DEFAULT_PRIORITY, Job, OnNew, Repository};
use hookspool_common::event::{Event, Kind};
use hookspool_common::ledger::{Admission, Cause, Request, Run};
use hookspool_common::matching::{Match, why_not};
use hookspool_common::names::{JobName, SourceName};
use hookspool_common::record::{Proposal, Record};
use hookspool_common::repository_name::RepositoryName;

/// Most runs that one delivery may ask for; a forge's push asks for the jobs of one repository.
pub const MAX_REQUESTS: usize = 1000;

/// What a record asks for, with a reason beside what is refused. Refusals become visible runs.
#[must_use]
pub fn admission(config: &Config, record: Record) -> Admission {
    let mut record = record.bounded();
    let asked: Vec<_> = std::mem::take(&mut record.proposals).into_iter().flat_map(each_once).collect();
    let admitted = asked.iter().take(MAX_REQUESTS);
    let mut requests: Vec<_> = admitted.map(|(event, asked)| request(config, &record.source, event, asked)).collect();
    requests.extend(asked.get(MAX_REQUESTS).map(|(event, first)| {
        let left_out = asked.len() - MAX_REQUESTS;
        let why = format!("the delivery asks for {} runs; this and the {} after it were left out", asked.len(), left_out - 1);
        refused(event, first, why)
    }));
    Admission { record, requests }
}

/// A proposal's jobs, each with the event. To ask for one twice is to ask for it once.
fn each_once(proposal: Proposal) -> Vec<(Arc<Event>, Match)> {
    let event = Arc::new(proposal.event);
    let mut seen = BTreeSet::new();
    let jobs = proposal.jobs.into_iter().filter(|asked| seen.insert((asked.repository.clone(), asked.job.clone())));
    jobs.map(|asked| (Arc::clone(&event), asked)).collect()
}

fn request(config: &Config, source: &SourceName, event: &Arc<Event>, asked: &Match) -> Request {
    match verdict(config, source, event, asked) {
        Ok((repository, job)) => own_request(repository, job, event),
        Err(why) => refused(event, asked, why),
    }
}

/// A run of a job, in its lane: what the worker itself asks for, or a delivery as root sees it.
pub(crate) fn own_request(repository: &Repository, job: &Job, event: &Arc<Event>) -> Request {
    Request {
        lane: lane(&repository.name, &job.name, job.lane.group.as_deref(), event),
        repository: repository.name.clone(),
        job: job.name.clone(),
        event: Arc::clone(event),
        on_new: job.lane.on_new,
        priority: job.lane.priority,
        refused: None,
    }
}

/// The same as a run that is over once more, as the present configuration has it, or why not. A forged event that was refused
/// when it came is refused again.
pub(crate) fn again(config: &Config, run: &Run) -> Result<Request, String> {
    let asked = Match { repository: run.repository.clone(), job: run.job.clone() };
    let event = Arc::new(run.event.clone());
    let (repository, job) = match is_our_own(run) {
        true => configured(config, &run.source, &asked)?,
        false => verdict(config, &run.source, &event, &asked)?,
    };
    match why_not_any_more(repository, job, run) {
        None => Ok(own_request(repository, job, &event)),
        Some(why) => Err(format!("the event does not match: {why}")),
    }
}

/// Whether a person or the clock asked for the run, or it was made anew from one of which that holds. No delivery comes to such
/// a cause, whatever it says it tells of.
fn is_our_own(run: &Run) -> bool {
    match run.cause {
        Cause::Manual { .. } => run.event.kind == Kind::Manual,
        Cause::Schedule => run.event.kind == Kind::Schedule,
        Cause::Rerun { .. } | Cause::Retry { .. } => matches!(run.event.kind, Kind::Manual | Kind::Schedule),
        Cause::Delivery | Cause::Replay { .. } | Cause::Reconcile => false,
    }
}

/// Why a run that was admitted must not go on under the present configuration, if so. What a person has run needs no `when`.
pub(crate) fn why_not_any_more(repository: &Repository, job: &Job, run: &Run) -> Option<String> {
    let is_by_hand = is_our_own(run) && run.event.kind == Kind::Manual;
    if is_by_hand && run.event.repository.as_ref() == Some(&repository.name) {
        return None;
    }
    why_not(repository, job, &run.event)
}

/// A run that says why it must not be. The receiver can name as many jobs as it likes that nobody configured, so their
/// rows hold no list of commits.
fn refused(event: &Arc<Event>, asked: &Match, why: String) -> Request {
    let event = match event.commits {
        Some(_) => Arc::new(Event { commits: None, ..Event::clone(event) }),
        None => Arc::clone(event),
    };
    Request {
        lane: lane(&asked.repository, &asked.job, None, &event),
        repository: asked.repository.clone(),
        job: asked.job.clone(),
        event,
        on_new: OnNew::Queue,
        priority: DEFAULT_PRIORITY,
        refused: Some(why),
    }
}

/// The job that is asked for, or why it must not run.
pub(crate) fn verdict<'c>(
    config: &'c Config,
    source: &SourceName,
    event: &Event,
    asked: &Match,
) -> Result<(&'c Repository, &'c Job), String> {
    possible(event)?;
    let (repository, job) = configured(config, source, asked)?;
    if let Some(why) = why_not(repository, job, event) {
        return Err(format!("the event does not match: {why}"));
    }
    // Whether it is a fork's, the checkout asks the forge. Where the sender says so, no run of anybody else need wait.
    if !job.forks && event.pull_request.as_ref().is_some_and(|request| request.from_fork == Some(true)) {
        return Err(refusal_of_forks(job, FROM_A_FORK));
    }
    Ok((repository, job))
}

fn configured<'c>(config: &'c Config, source: &SourceName, asked: &Match) -> Result<(&'c Repository, &'c Job), String> {
    let repository = config.repository(source, &asked.repository);
    let repository =
        repository.ok_or_else(|| format!("{} is not in the configuration of source `{source}`", asked.repository))?;
    let job = repository.job(&asked.job);
    Ok((repository, job.ok_or_else(|| format!("job `{}` is not in {}", asked.job, repository.file.display()))?))
}

/// What a request is whose changes are another repository's.
pub(crate) const FROM_A_FORK: &str = "the changes come from a fork";

/// Why a job does not run for what counts as a fork's.
pub(crate) fn refusal_of_forks(job: &Job, why_it_counts: &str) -> String {
    format!("{why_it_counts}, and job `{}` does not say `forks = true`", job.name)
}

/// Whether a sender could have told of this, and a run would have a commit to be at.
fn possible(event: &Event) -> Result<(), String> {
    let kind = event.kind.as_str();
    if !event.kind.is_told_by_senders() {
        return Err(format!("no sender tells of a `{kind}`"));
    }
    if let Some(contradiction) = event.contradiction() {
        return Err(contradiction);
    }
    if event.kind.is_about_a_commit() && event.reference.is_none() && event.sha.is_none() {
        return Err(format!("the `{kind}` names no commit and no ref, so there is nothing to check out"));
    }
    Ok(())
}

/// A lane belongs to one repository: a named group there, or else each job, ref and topic by itself. No part but the
/// last can hold a space, and none is left out, so no two lanes have one key.
fn lane(repository: &RepositoryName, job: &JobName, group: Option<&str>, event: &Event) -> String {
    if let Some(group) = group {
        return format!("{repository} group {group}");
    }
    // Without a ref, the commit tells apart. An environment is in one state, whichever commit that is of.
    let commit = event.sha.as_ref().filter(|_| event.kind != Kind::Deployment).map(ToString::to_string);
    let place = event.reference.as_ref().map(ToString::to_string).or(commit).unwrap_or_else(|| "-".to_owned());
    let topic = event.topic().map(|topic| format!(" {topic}")).unwrap_or_default();
    format!("{repository} job {job} {place}{topic}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hookspool_common::clock::Instant;
    use hookspool_common::event::{Check, Commit, Deployment, Issue, MAX_MESSAGE_BYTES, Person, PullRequest, Service, Side};
    use hookspool_common::names::DeliveryId;
    use hookspool_common::record::Answer;

    fn config() -> Config {
        let folder = tempfile::tempdir().unwrap();
        let main = "[[source]]\nname='github'\nprovider='github'\npath='/g'\nsecret='s'\n";
        let repository = "repository='github.com/octo/shop'\nsource='github'\n\
            [[job]]\nname='tests'\nbuild='true'\nwhen={event='push', branch='master'}\nlane={group='t', on_new='cancel-running'}\n\
            [[job]]\nname='own'\nbuild='true'\nwhen={event='pull_request'}\n\
            [[job]]\nname='everyones'\nbuild='true'\nwhen={event='pull_request'}\nforks=true\n";
        std::fs::write(folder.path().join("hookspool.toml"), main).unwrap();
        std::fs::create_dir(folder.path().join("repositories")).unwrap();
        std::fs::write(folder.path().join("repositories/shop.toml"), repository).unwrap();
        Config::load(&folder.path().join("hookspool.toml")).unwrap()
    }

    fn event() -> Event {
        let mut event = Event::of(Kind::Push, "push").with_ref("refs/heads/master".parse().unwrap());
        event.repository = Some("github.com/octo/shop".parse().unwrap());
        event
    }

    fn asked(job: &str) -> Match {
        Match { repository: "github.com/octo/shop".parse().unwrap(), job: job.parse().unwrap() }
    }

    fn record(source: SourceName, proposals: Vec<Proposal>) -> Record {
        Record {
            seq: 1,
            id: DeliveryId::generate(),
            source,
            provider_id: None,
            received_at: Instant::from_millis(0),
            answer: Answer::Accepted,
            reason: None,
            proposals,
        }
    }

    fn admit(change: impl FnOnce(&mut Event, &mut Match, &mut SourceName)) -> Request {
        let (mut event, mut asked, mut source) = (event(), asked("tests"), "github".parse().unwrap());
        change(&mut event, &mut asked, &mut source);
        admission(&config(), record(source, vec![Proposal { event, jobs: vec![asked] }])).requests.remove(0)
    }

    fn requests(proposals: Vec<Proposal>) -> Vec<Request> {
        let admission = admission(&config(), record("github".parse().unwrap(), proposals));
        assert!(admission.record.proposals.is_empty());
        admission.requests
    }

    #[test]
    fn what_no_sender_tells_of_is_refused() {
        for kind in [Kind::Manual, Kind::Schedule, Kind::Ping] {
            let refused = admit(|event, _, _| event.kind = kind).refused.unwrap();
            assert_eq!(refused, format!("no sender tells of a `{}`", kind.as_str()));
        }
    }

    #[test]
    fn what_is_about_a_commit_that_nobody_names_does_not_run_at_another() {
        let unnamed = |kind| possible(&Event { repository: event().repository, ..Event::of(kind, "x") });
        for kind in [Kind::Check, Kind::Pipeline, Kind::Deployment, Kind::Release, Kind::Push] {
            let wanted = format!("the `{}` names no commit and no ref, so there is nothing to check out", kind.as_str());
            assert_eq!(unnamed(kind), Err(wanted));
        }
        for kind in [Kind::Issue, Kind::Package, Kind::Pact, Kind::Service] {
            assert_eq!(unnamed(kind), Ok(()));
        }
        let sha = Some("366701fde727cb7a9e7f21eb88264f59f6f9b89c".parse().unwrap());
        assert_eq!(possible(&Event { sha, ..Event::of(Kind::Check, "status") }), Ok(()));
    }

    #[test]
    fn a_forged_event_of_mebibytes_is_cut_asked_for_once_and_shared() {
        let sha: hookspool_common::git_name::Sha = "366701fde727cb7a9e7f21eb88264f59f6f9b89c".parse().unwrap();
        let message = "x".repeat(1024 * 1024);
        let commit = Commit { sha, message, author: Person::default(), paths: None };
        let event = Event { commits: Some(vec![commit]), ..event() };
        let jobs = ["tests", "evil", "tests", "evil", "more"].map(asked).to_vec();
        let requests = requests(vec![Proposal { event, jobs }]);
        let jobs: Vec<_> = requests.iter().map(|request| (request.job.as_str(), request.refused.is_some())).collect();
        assert_eq!(jobs, [("tests", false), ("evil", true), ("more", true)]);
        assert_eq!(requests[0].event.commits.as_ref().unwrap()[0].message.len(), MAX_MESSAGE_BYTES);
        // Whoever forges names of jobs fills no ledger with what was said of the commits.
        assert_eq!((&requests[1].event.commits, &requests[2].event.commits), (&None, &None));
        let event = || Proposal { event: super::tests::event(), jobs: vec![asked("tests"), asked("again")] };
        let again = self::requests(vec![event(), event()]);
        assert_eq!(again.len(), 4, "two events are asked for twice");
        assert!(Arc::ptr_eq(&again[0].event, &again[1].event));
    }

    #[test]
    fn what_a_delivery_asks_for_beyond_the_limit_is_a_run_that_says_so() {
        let jobs = |count: usize| (0..count).map(|number| asked(&format!("job-{number}"))).collect();
        assert_eq!(requests(vec![Proposal { event: event(), jobs: jobs(MAX_REQUESTS) }]).len(), MAX_REQUESTS);
        let requests = requests(vec![Proposal { event: event(), jobs: jobs(MAX_REQUESTS + 235) }]);
        assert_eq!(requests.len(), MAX_REQUESTS + 1);
        let last = requests.last().unwrap();
        assert_eq!(last.job.as_str(), "job-1000");
        let wanted = "the delivery asks for 1235 runs; this and the 234 after it were left out";
        assert_eq!(last.refused.as_deref(), Some(wanted));
    }

    #[test]
    fn what_roots_configuration_asks_for_is_admitted_into_its_lane() {
        let request = admit(|_, _, _| {});
        assert_eq!((request.refused, request.lane.as_str()), (None, "github.com/octo/shop group t"));
        assert_eq!(request.on_new, OnNew::CancelRunning);
    }

    fn lane_of(event: &Event) -> String {
        lane(&"github.com/octo/env".parse().unwrap(), &"deploy".parse().unwrap(), None, event)
    }

    #[test]
    fn only_news_of_the_same_thing_shares_a_lane() {
        let service = |name: &str| Event {
            service: Some(Service { name: Some(name.to_owned()), action: None }),
            ..Event::of(Kind::Service, "generic")
        };
        assert_eq!(lane_of(&service("web")), "github.com/octo/env job deploy - service web");
        assert_ne!(lane_of(&service("web")), lane_of(&service("api")));
        let issue = |number| Event { issue: Some(Issue { number, ..Issue::default() }), ..Event::of(Kind::Issue, "issues") };
        assert_ne!(lane_of(&issue(7)), lane_of(&issue(8)));
        let sha = |digit: &str| Some(digit.repeat(40).parse().unwrap());
        let check = |name: &str, digit: &str| Event {
            check: Some(Check { name: Some(name.to_owned()), ..Check::default() }),
            sha: sha(digit),
            ..Event::of(Kind::Check, "status")
        };
        assert_eq!(lane_of(&check("build", "a")), lane_of(&check("build", "a")));
        assert_ne!(lane_of(&check("build", "a")), lane_of(&check("build", "b")), "of two commits");
        let on_main = check("build", "a").with_ref("refs/heads/main".parse().unwrap());
        let posing = Event { sha: None, ..check("refs/heads/main check build", "a") };
        assert_eq!(lane_of(&on_main), "github.com/octo/env job deploy refs/heads/main check build");
        assert_ne!(lane_of(&on_main), lane_of(&posing), "a name that poses as a ref");
        let deployment = |digit: &str| Event {
            deployment: Some(Deployment { environment: Some("production".to_owned()), ..Deployment::default() }),
            sha: sha(digit),
            ..Event::of(Kind::Deployment, "deployment")
        };
        assert_eq!(lane_of(&deployment("a")), lane_of(&deployment("b")), "one environment");
    }

    #[test]
    fn what_the_sender_says_is_a_forks_enters_no_lane_of_a_job_that_forks_may_not_run() {
        let side = || Side { reference: "refs/heads/master".parse().unwrap(), sha: None };
        let refused = |job: &str, from_fork| {
            let request =
                PullRequest { number: 7, action: "opened".to_owned(), head: side(), base: side(), labels: vec![], from_fork };
            let event = Event { kind: Kind::PullRequest, pull_request: Some(request), branch: None, ..event() };
            let event = event.with_ref("refs/pull/7/head".parse().unwrap());
            requests(vec![Proposal { event, jobs: vec![asked(job)] }]).remove(0).refused
        };
        let why = "the changes come from a fork, and job `own` does not say `forks = true`";
        assert_eq!(refused("own", Some(true)).as_deref(), Some(why));
        // Whether it is, the checkout asks the forge.
        assert_eq!((refused("own", Some(false)), refused("own", None), refused("everyones", Some(true))), (None, None, None));
    }

    #[test]
    fn a_forged_proposal_is_refused_with_its_reason() {
        let reason = |change: fn(&mut Event, &mut Match, &mut SourceName)| admit(change).refused.unwrap();
        assert!(reason(|_, asked, _| asked.job = "deploy".parse().unwrap()).contains("job `deploy` is not in"));
        assert!(
            reason(|_, asked, _| asked.repository = "github.com/evil/x".parse().unwrap()).contains("github.com/evil/x is not in")
        );
        assert!(reason(|_, _, source| *source = "other".parse().unwrap()).contains("source `other`"));
        assert!(
            reason(|event, _, _| event.repository = Some("github.com/evil/x".parse().unwrap())).contains("the repository is")
        );
        assert!(reason(|event, _, _| event.kind = Kind::Check).contains("the event is `check`"));
        assert_eq!(reason(|event, _, _| event.kind = Kind::Tag), "a `tag` cannot be at refs/heads/master");
        // The condition sees `branch`, the checkout sees `ref`: they must not differ.
        assert!(reason(|event, _, _| event.reference = Some("refs/heads/evil".parse().unwrap())).contains("not that of its ref"));
    }
}
