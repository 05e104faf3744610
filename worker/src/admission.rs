//! Root's own verdict on what the receiver proposes: only a job that root's configuration has, and that this event asks
//! for, becomes a run.

use hookspool_common::config::{Config, Job, OnNew};
use hookspool_common::event::Event;
use hookspool_common::ledger::{Admission, Request};
use hookspool_common::matching::{Match, why_not};
use hookspool_common::names::{JobName, SourceName};
use hookspool_common::record::Record;
use hookspool_common::repository_name::RepositoryName;

/// Most runs that one delivery may ask for; a forge's push asks for the jobs of one repository.
pub const MAX_REQUESTS: usize = 1000;

/// What a record asks for, with a reason beside what is refused. Refusals become visible runs.
#[must_use]
pub fn admission(config: &Config, record: Record) -> Admission {
    let asked = record.proposals.iter().flat_map(|proposal| proposal.jobs.iter().map(move |job| (&proposal.event, job)));
    let requests = asked.take(MAX_REQUESTS).map(|(event, asked)| request(config, &record.source, event, asked)).collect();
    Admission { record, requests }
}

fn request(config: &Config, source: &SourceName, event: &Event, asked: &Match) -> Request {
    let verdict = verdict(config, source, event, asked);
    let on_new = verdict.as_ref().map_or(OnNew::Queue, |job| job.lane.on_new);
    let group = verdict.as_ref().ok().and_then(|job| job.lane.group.as_deref());
    Request {
        lane: lane(&asked.repository, &asked.job, group, event),
        repository: asked.repository.clone(),
        job: asked.job.clone(),
        event: event.clone(),
        on_new,
        refused: verdict.err(),
    }
}

/// The job that is asked for, or why it must not run.
pub(crate) fn verdict<'c>(config: &'c Config, source: &SourceName, event: &Event, asked: &Match) -> Result<&'c Job, String> {
    if !event.is_consistent() {
        return Err("the event's branch or tag is not that of its ref".to_owned());
    }
    let repository = config.repository(source, &asked.repository);
    let repository =
        repository.ok_or_else(|| format!("{} is not in the configuration of source `{source}`", asked.repository))?;
    let job = repository.job(&asked.job);
    let job = job.ok_or_else(|| format!("job `{}` is not in {}", asked.job, repository.file.display()))?;
    match why_not(repository, job, event) {
        None => Ok(job),
        Some(why) => Err(format!("the event does not match: {why}")),
    }
}

/// A lane belongs to one repository: a named group there, or else each job, ref and topic by itself.
fn lane(repository: &RepositoryName, job: &JobName, group: Option<&str>, event: &Event) -> String {
    if let Some(group) = group {
        return format!("{repository} group {group}");
    }
    let reference = event.reference.as_ref().map(ToString::to_string);
    let parts = [Some(format!("{repository} job {job}")), reference, event.topic()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hookspool_common::clock::Instant;
    use hookspool_common::event::{Kind, Service};
    use hookspool_common::names::DeliveryId;
    use hookspool_common::record::{Answer, Proposal};

    fn config() -> Config {
        let folder = tempfile::tempdir().unwrap();
        let main = "[[source]]\nname='github'\nprovider='github'\npath='/g'\nsecret='s'\n";
        let repository = "repository='github.com/octo/shop'\nsource='github'\n\
            [[job]]\nname='tests'\nbuild='true'\nwhen={event='push', branch='master'}\nlane={group='t', on_new='cancel-running'}\n";
        std::fs::write(folder.path().join("hookspool.toml"), main).unwrap();
        std::fs::create_dir(folder.path().join("repositories")).unwrap();
        std::fs::write(folder.path().join("repositories/shop.toml"), repository).unwrap();
        Config::load(&folder.path().join("hookspool.toml")).unwrap()
    }

    fn admit(change: impl FnOnce(&mut Event, &mut Match, &mut SourceName)) -> Request {
        let mut event = Event::of(Kind::Push, "push").with_ref("refs/heads/master".parse().unwrap());
        event.repository = Some("github.com/octo/shop".parse().unwrap());
        let mut asked = Match { repository: "github.com/octo/shop".parse().unwrap(), job: "tests".parse().unwrap() };
        let mut source = "github".parse().unwrap();
        change(&mut event, &mut asked, &mut source);
        let record = Record {
            seq: 1,
            id: DeliveryId::generate(),
            source,
            provider_id: None,
            received_at: Instant::from_millis(0),
            answer: Answer::Accepted,
            reason: None,
            proposals: vec![Proposal { event, jobs: vec![asked] }],
        };
        admission(&config(), record).requests.remove(0)
    }

    #[test]
    fn what_roots_configuration_asks_for_is_admitted_into_its_lane() {
        let request = admit(|_, _, _| {});
        assert_eq!((request.refused, request.lane.as_str()), (None, "github.com/octo/shop group t"));
        assert_eq!(request.on_new, OnNew::CancelRunning);
    }

    #[test]
    fn only_news_of_the_same_service_or_contract_shares_a_lane() {
        let lane_of = |service: &str| {
            let mut event = Event::of(Kind::Service, "generic");
            event.service = Some(Service { name: Some(service.to_owned()), action: None });
            lane(&"github.com/octo/env".parse().unwrap(), &"deploy".parse().unwrap(), None, &event)
        };
        assert_eq!(lane_of("web"), "github.com/octo/env job deploy web");
        assert_ne!(lane_of("web"), lane_of("api"));
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
        assert!(reason(|event, _, _| event.kind = Kind::Tag).contains("the event is `tag`"));
        // The condition sees `branch`, the checkout sees `ref`: they must not differ.
        assert!(reason(|event, _, _| event.reference = Some("refs/heads/evil".parse().unwrap())).contains("not that of its ref"));
    }
}
