//! Commits whose message says that nothing is to run for them.
//!
//! The words are those of GitHub (docs.github.com, "Skipping workflow runs"), GitLab ("Skip a pipeline") and Azure
//! Pipelines. They hold for pushes and pull requests; a tag, a release or a person asks for itself.

use crate::event::{Event, Kind};

/// Anywhere in the message, in any capitals.
const WORDS: [&str; 6] = ["[skip ci]", "[ci skip]", "[no ci]", "[skip actions]", "[actions skip]", "***no_ci***"];

/// The trailer, a line of the message's last paragraph.
const TRAILER: &str = "skip-checks:true";

/// The word by which the event's head commit asks for nothing to run; absent also where its message is not known.
#[must_use]
pub fn skip_word(event: &Event) -> Option<&'static str> {
    if !matches!(event.kind, Kind::Push | Kind::PullRequest) {
        return None;
    }
    let head = event.sha.as_ref()?;
    let commit = event.commits.as_ref()?.iter().find(|commit| commit.sha == *head)?;
    word_in(&commit.message)
}

fn word_in(message: &str) -> Option<&'static str> {
    let message = message.to_ascii_lowercase();
    let word = WORDS.into_iter().filter_map(|word| message.find(word).map(|at| (at, word))).min();
    word.map(|(_, word)| word).or_else(|| has_trailer(&message).then_some("skip-checks: true"))
}

/// Whether the last of several paragraphs says so; the first is the subject.
fn has_trailer(message: &str) -> bool {
    let lines: Vec<&str> = message.trim_end().lines().map(str::trim).collect();
    let is_said = |line: &&str| line.split_whitespace().collect::<String>() == TRAILER;
    let last = lines.iter().rposition(|line| line.is_empty()).map(|blank| &lines[blank + 1..]);
    last.is_some_and(|last| last.iter().any(is_said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Commit, Person};

    #[test]
    fn each_word_is_known_wherever_it_stands_and_nothing_like_it() {
        for (message, word) in [
            ("Fix a typo [skip ci]", Some("[skip ci]")),
            ("[CI Skip] Fix a typo", Some("[ci skip]")),
            ("Fix\n\nNobody needs this built. [no ci]\nReally.", Some("[no ci]")),
            ("x [skip actions]", Some("[skip actions]")),
            ("x [actions skip]", Some("[actions skip]")),
            ("x ***NO_CI***", Some("***no_ci***")),
            ("x [no ci] [skip ci]", Some("[no ci]")),
            ("Fix\n\n\nskip-checks: true", Some("skip-checks: true")),
            ("Fix\n\nWhy.\n\nSkip-Checks:true\nSigned-off-by: mona\n", Some("skip-checks: true")),
            ("Fix\n\nskip-checks: true\n\nWhy.", None),
            ("skip-checks: true", None),
            ("Fix\n\nskip-checks: trueish", None),
            ("Explain how to skip ci", None),
            ("[skip  ci] [skipci] [skip-ci]", None),
            ("", None),
        ] {
            assert_eq!(word_in(message), word, "{message:?}");
        }
    }

    fn pushed(kind: Kind, messages: &[&str]) -> Event {
        let sha = |number: usize| format!("{:040x}", number + 1).parse().unwrap();
        let commit = |(number, message): (usize, &&str)| Commit {
            sha: sha(number),
            message: (*message).to_owned(),
            author: Person::default(),
            paths: None,
        };
        Event {
            sha: Some(sha(messages.len().saturating_sub(1))),
            commits: Some(messages.iter().enumerate().map(commit).collect()),
            ..Event::of(kind, "x")
        }
    }

    #[test]
    fn the_head_commit_alone_decides_and_only_of_pushes_and_requests() {
        let skipped = ["Work", "Fix [skip ci]"];
        assert_eq!(skip_word(&pushed(Kind::Push, &skipped)), Some("[skip ci]"));
        assert_eq!(skip_word(&pushed(Kind::PullRequest, &skipped)), Some("[skip ci]"));
        assert_eq!(skip_word(&pushed(Kind::Push, &["Fix [skip ci]", "Work"])), None);
        for kind in [Kind::Tag, Kind::BranchCreated, Kind::Release, Kind::Manual] {
            assert_eq!(skip_word(&pushed(kind, &skipped)), None);
        }
        assert_eq!(skip_word(&pushed(Kind::Push, &[])), None);
        assert_eq!(skip_word(&Event { commits: None, ..pushed(Kind::Push, &skipped) }), None);
    }
}
