//! What an event may hold at most. Texts are cut off; lists that are too long become unknown rather than half known.

use super::{Event, Pacticipant, Person};

/// Longest commit message or comment that an event keeps, in bytes: enough for a mail, and it bounds a row of the inbox.
pub const MAX_MESSAGE_BYTES: usize = 4096;
/// Most commits that an event lists. GitHub's own lists end at 2,048.
pub const MAX_COMMITS: usize = 2048;
/// Most bytes of messages and authors over all commits of an event; of many commits, each keeps as much as any other.
pub const MAX_COMMITS_BYTES: usize = 2 * 1024 * 1024;
/// Most paths that an event lists over all its commits. Beyond it the paths count as not known.
pub const MAX_PATHS: usize = 10_000;
/// Most bytes of all these paths together, a hundred for each. Beyond it they count as not known, too: half of a path is
/// another one.
pub const MAX_PATHS_BYTES: usize = 100 * MAX_PATHS;
/// Most labels or tags of one thing; GitHub allows an issue a hundred.
pub const MAX_LABELS: usize = 1000;
/// Longest name, login, address, label or action, in bytes.
pub const MAX_TEXT_BYTES: usize = 1024;

/// Cuts `text` to at most `limit` bytes, at a character's end.
pub(crate) fn truncate(text: &mut String, limit: usize) {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
    }
}

fn cut_to<'t>(limit: usize, texts: impl IntoIterator<Item = &'t mut String>) {
    texts.into_iter().for_each(|text| truncate(text, limit));
}

fn cut<'t>(texts: impl IntoIterator<Item = &'t mut String>) {
    cut_to(MAX_TEXT_BYTES, texts);
}

fn cut_list(texts: &mut Vec<String>) {
    texts.truncate(MAX_LABELS);
    cut(texts);
}

fn cut_person(person: &mut Person) {
    cut([&mut person.name, &mut person.login, &mut person.email].into_iter().flatten());
}

fn cut_pacticipant(side: &mut Pacticipant) {
    cut([&mut side.name, &mut side.version, &mut side.branch].into_iter().flatten());
    cut_list(&mut side.tags);
}

impl Event {
    /// The event within the limits above.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        cut_person(&mut self.pusher);
        cut([&mut self.provider_event].into_iter().chain([&mut self.branch, &mut self.tag].into_iter().flatten()));
        self.bound_commits();
        self.bound_what_people_say();
        self.bound_what_machines_say();
        self
    }

    fn bound_commits(&mut self) {
        self.commits = self.commits.take().filter(|commits| commits.len() <= MAX_COMMITS);
        let commits = self.commits.as_deref_mut().unwrap_or_default();
        let paths = || commits.iter().filter_map(|commit| commit.paths.as_ref()).flatten();
        let are_few_paths = paths().count() <= MAX_PATHS && paths().map(String::len).sum::<usize>() <= MAX_PATHS_BYTES;
        // A message and three texts of its author.
        let share = MAX_COMMITS_BYTES / (4 * commits.len().max(1));
        for commit in commits {
            truncate(&mut commit.message, share.min(MAX_MESSAGE_BYTES));
            let Person { name, login, email } = &mut commit.author;
            cut_to(share.min(MAX_TEXT_BYTES), [name, login, email].into_iter().flatten());
            commit.paths = commit.paths.take().filter(|_| are_few_paths);
        }
    }

    fn bound_what_people_say(&mut self) {
        if let Some(request) = &mut self.pull_request {
            cut([&mut request.action]);
            cut_list(&mut request.labels);
        }
        if let Some(release) = &mut self.release {
            cut([&mut release.action].into_iter().chain([&mut release.name, &mut release.url].into_iter().flatten()));
        }
        if let Some(issue) = &mut self.issue {
            let texts = [&mut issue.action, &mut issue.title, &mut issue.state, &mut issue.state_reason, &mut issue.url];
            cut(texts.into_iter().flatten());
            cut_list(&mut issue.labels);
            cut_person(&mut issue.author);
        }
        if let Some(comment) = &mut self.comment {
            truncate(&mut comment.body, MAX_MESSAGE_BYTES);
            cut([&mut comment.action].into_iter().chain([&mut comment.association, &mut comment.url].into_iter().flatten()));
            cut_person(&mut comment.author);
        }
    }

    fn bound_what_machines_say(&mut self) {
        if let Some(package) = &mut self.package {
            cut([&mut package.action]);
            let known = [&mut package.name, &mut package.ecosystem, &mut package.version, &mut package.tag];
            cut(known.into_iter().chain([&mut package.digest, &mut package.url]).flatten());
        }
        if let Some(check) = &mut self.check {
            cut([&mut check.action, &mut check.name, &mut check.status, &mut check.url].into_iter().flatten());
        }
        if let Some(deployment) = &mut self.deployment {
            let texts = [&mut deployment.action, &mut deployment.environment, &mut deployment.task];
            cut(texts.into_iter().chain([&mut deployment.status, &mut deployment.url]).flatten());
        }
        if let Some(pipeline) = &mut self.pipeline {
            cut([&mut pipeline.action, &mut pipeline.name, &mut pipeline.status, &mut pipeline.url].into_iter().flatten());
        }
        if let Some(pact) = &mut self.pact {
            cut([&mut pact.event]);
            cut([&mut pact.url, &mut pact.verification_url, &mut pact.status].into_iter().flatten());
            cut_pacticipant(&mut pact.consumer);
            cut_pacticipant(&mut pact.provider);
        }
        if let Some(service) = &mut self.service {
            cut([&mut service.name, &mut service.action].into_iter().flatten());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::event::{Commit, Kind};
    use crate::git_name::Sha;

    #[test]
    fn a_list_of_paths_that_is_too_long_counts_as_not_known() {
        let sha: Sha = "366701fde727cb7a9e7f21eb88264f59f6f9b89c".parse().unwrap();
        let paths = |count: usize| Some((0..count).map(|number| number.to_string()).collect());
        let commit =
            |count| Commit { sha: sha.clone(), message: "ü".repeat(5000), author: Person::default(), paths: paths(count) };
        let mut event = Event::of(Kind::Push, "push");
        event.commits = Some(vec![commit(MAX_PATHS), commit(0)]);
        let kept = event.clone().bounded();
        assert_eq!(kept.paths().unwrap().len(), MAX_PATHS);
        assert_eq!(kept.commits.unwrap()[0].message.len(), MAX_MESSAGE_BYTES);
        event.commits = Some(vec![commit(MAX_PATHS), commit(1)]);
        assert_eq!(event.bounded().paths(), None);
    }

    #[test]
    fn no_event_is_larger_than_a_few_mebibytes_however_much_it_was_told() {
        let sha: Sha = "366701fde727cb7a9e7f21eb88264f59f6f9b89c".parse().unwrap();
        let long = "x".repeat(MAX_MESSAGE_BYTES);
        let author = Person { name: Some(long.clone()), login: Some(long.clone()), email: Some(long.clone()) };
        let commit = |paths| Commit { sha: sha.clone(), message: long.clone(), author: author.clone(), paths };
        let mut event = Event::of(Kind::Push, "push");
        event.commits = Some(vec![commit(Some(vec![long.clone()])); MAX_COMMITS]);
        event.branch = Some("x".repeat(MAX_COMMITS_BYTES));
        let kept = event.bounded();
        assert!(serde_json::to_string(&kept).unwrap().len() < 3 * 1024 * 1024);
        assert_eq!((kept.commits.as_ref().unwrap().len(), kept.paths()), (MAX_COMMITS, None));
        assert_eq!(kept.clone().bounded(), kept);
    }

    /// Whether a text in `value` is longer than any may be.
    fn holds_a_long_text(value: &Value) -> bool {
        match value {
            Value::String(text) => text.len() > MAX_MESSAGE_BYTES,
            Value::Array(items) => items.iter().any(holds_a_long_text),
            Value::Object(entries) => entries.values().any(holds_a_long_text),
            _ => false,
        }
    }

    #[test]
    fn no_text_of_any_subject_is_left_long() {
        let long = "ü".repeat(MAX_MESSAGE_BYTES);
        let person = json!({ "name": long, "login": long, "email": long });
        let side = json!({ "name": long, "version": long, "branch": long, "tags": [long] });
        let event = json!({
            "kind": "comment", "provider_event": long, "pusher": person,
            "pull_request": { "number": 1, "action": long, "head": { "ref": "refs/heads/x" }, "base": { "ref": "refs/heads/y" }, "labels": [long] },
            "release": { "action": long, "name": long, "url": long },
            "package": { "action": long, "name": long, "ecosystem": long, "version": long, "tag": long, "digest": long, "url": long },
            "issue": { "number": 1, "action": long, "title": long, "state": long, "state_reason": long, "labels": [long], "author": person, "url": long },
            "comment": { "action": long, "on": "issue", "body": long, "author": person, "association": long, "url": long },
            "check": { "action": long, "name": long, "status": long, "url": long },
            "deployment": { "action": long, "environment": long, "task": long, "status": long, "url": long },
            "pipeline": { "action": long, "name": long, "status": long, "url": long },
            "pact": { "event": long, "url": long, "consumer": side, "provider": side, "verification_url": long, "status": long },
            "service": { "name": long, "action": long },
        });
        let event: Event = serde_json::from_value(event).unwrap();
        assert!(holds_a_long_text(&serde_json::to_value(&event).unwrap()));
        assert!(!holds_a_long_text(&serde_json::to_value(event.bounded()).unwrap()));
    }
}
