//! The words of a mail: its subject and its plain-text body. Pure.
//!
//! What comes from outside (names, refs, messages, output) is made harmless and bounded here; a program's output is
//! marked in every line, so that nobody takes it for our own words.

use hookspool_common::event::{Event, Kind, Person};
use hookspool_common::git_name::RefName;
use hookspool_common::ledger::{Cause, Outcome, StepRecord};
use hookspool_common::names::RunId;
use hookspool_common::repository_name::MAX_REPOSITORY_BYTES;

use super::layout::{duration, shell_word, table, time, wrapped};
use super::story::{Before, Held, Story};
use crate::harmless::{harmless, last_lines, one_line, shortened};

/// Longest subject, in characters: what mail programs show in full at most.
const MAX_SUBJECT: usize = 150;
/// Longest name within a subject, in characters: the result must find its place beside repository and ref.
const MAX_SUBJECT_NAME: usize = 40;
/// Longest name within a sentence, in characters.
const MAX_SHORT_NAME: usize = 60;
/// Longest name in the table of facts, in characters.
const MAX_NAME: usize = 300;
/// Longest reason, in characters.
const MAX_REASON: usize = 400;
/// Widest line of our own, in characters. With lines no wider, an ASCII mail crosses the network as it is read.
const WIDTH: usize = 75;
/// Most commits that are listed.
const MAX_COMMITS: usize = 10;
/// Most lines of output, and most bytes of it: what one looks at in a mail; the rest is in the log.
const MAX_OUTPUT_LINES: usize = 40;
const MAX_OUTPUT_BYTES: usize = 8 * 1024;

/// The subject: `[octo/shop] tests broke on master (366701fde7): test exited with status 1`.
#[must_use]
pub(super) fn subject(story: &Story<'_>) -> String {
    let run = story.run;
    let (headline, _) = verbs(story);
    let mut subject = format!("[{}] {} {headline}", end_of_path(run.repository.path(), MAX_SUBJECT_NAME), run.job);
    if let Some(reference) = &run.reference {
        subject.push_str(&format!(" on {}", one_line(reference.short(), MAX_SUBJECT_NAME)));
    }
    if let Some(sha) = &run.sha {
        subject.push_str(&format!(" ({})", sha.short()));
    }
    if let Some(reason) = story.outcome.reason() {
        subject.push_str(&format!(": {reason}"));
    }
    // A reader would decode what looks like an encoded word (RFC 2047), whoever wrote it.
    one_line(&subject, MAX_SUBJECT).replace("=?", "=\u{fffd}")
}

/// The body, with LF as line end.
#[must_use]
pub(super) fn body(story: &Story<'_>) -> String {
    let mut sections = vec![opening(story), table(&facts(story))];
    sections.extend(Some(table(&phases(story))).filter(|_| !story.steps.is_empty()));
    sections.extend(commits(&story.run.event));
    sections.extend(output(story));
    sections.push(how_to_see_more(story));
    sections.join("\n")
}

/// The result as in a headline, and as in a sentence.
const fn verbs(story: &Story<'_>) -> (&'static str, &'static str) {
    match (story.outcome, story.before) {
        (Outcome::Succeeded, Before::Broken) => ("fixed", "is fixed"),
        (Outcome::Succeeded, _) => ("succeeded", "succeeded"),
        (Outcome::Failed(_) | Outcome::TimedOut(_), Before::Broken) => ("still failing", "is still failing"),
        (Outcome::Failed(_) | Outcome::TimedOut(_), Before::Succeeded) => ("broke", "broke"),
        (Outcome::Failed(_), Before::None) => ("failed", "failed"),
        (Outcome::TimedOut(_), Before::None) => ("timed out", "timed out"),
        (Outcome::Cancelled(_), _) => ("cancelled", "was cancelled"),
        (Outcome::Interrupted(_), _) => ("interrupted", "was interrupted"),
        (Outcome::Refused(_), _) => ("refused", "was refused"),
    }
}

/// What happened, to what, by whom and why, in a sentence; and what it means, where that is not plain.
fn opening(story: &Story<'_>) -> String {
    let run = story.run;
    let (_, verb) = verbs(story);
    let mut text = format!("Job \"{}\" {verb} on ", run.job);
    if let Some((what, name)) = run.reference.as_ref().map(named) {
        text.push_str(&format!("{what} {} of ", one_line(name, MAX_SHORT_NAME)));
    }
    text.push_str(&end_of_path(run.repository.path(), MAX_SHORT_NAME));
    text.push_str(&cause(&run.event));
    if let Some(reason) = story.outcome.reason() {
        text.push_str(&format!(": {}", one_line(reason, MAX_REASON).trim_end_matches('.')));
    }
    text.push('.');
    let meaning = match (story.outcome, story.before) {
        (Outcome::Succeeded, Before::Broken) => " The run before it had failed.",
        (Outcome::Failed(_) | Outcome::TimedOut(_), Before::Succeeded) => " The run before it had succeeded.",
        (Outcome::Interrupted(_), _) if story.held.is_some() => {
            " How far it came is not known, so nothing more starts in its lane until you say so: look first."
        }
        (Outcome::Interrupted(_), _) => " How far it came is not known: look before you run it again.",
        (Outcome::Refused(_), _) => " None of its commands was run.",
        _ => "",
    };
    text.push_str(meaning);
    wrapped(&text, WIDTH)
}

/// A path of at most `limit` characters, of which the end says more than the beginning.
fn end_of_path(path: &str, limit: usize) -> String {
    let path = one_line(path, MAX_REPOSITORY_BYTES);
    match path.chars().count().checked_sub(limit) {
        None | Some(0) => path,
        Some(excess) => std::iter::once('…').chain(path.chars().skip(excess + 1)).collect(),
    }
}

/// What a ref is called, and its short name.
fn named(reference: &RefName) -> (&'static str, &str) {
    let what = match (reference.branch(), reference.tag()) {
        (Some(_), _) => "branch",
        (_, Some(_)) => "tag",
        _ => "ref",
    };
    (what, reference.short())
}

/// What the run came from, as the end of a clause: `, pushed by Mona Lisa (mona)`.
fn cause(event: &Event) -> String {
    let who = person(&event.pusher);
    let by = |verb: &str| who.as_ref().map_or_else(String::new, |who| format!(", {verb} by {who}"));
    match (event.kind, &event.pull_request) {
        (_, Some(request)) => {
            let by = who.map_or_else(String::new, |who| format!(" by {who}"));
            format!(", for pull request #{}{by}", request.number)
        }
        (Kind::Push | Kind::Tag, _) => by("pushed"),
        (Kind::BranchDeleted | Kind::TagDeleted, _) => by("deleted"),
        (Kind::Manual, _) => by("started by hand"),
        (Kind::Schedule, _) => ", at its scheduled time".to_owned(),
        _ => by("caused"),
    }
}

/// A person's name and login, else the address; nothing of somebody of whom nothing is known.
fn person(person: &Person) -> Option<String> {
    let shown = |text: &Option<String>| text.as_ref().map(|text| one_line(text, MAX_SHORT_NAME)).filter(|text| !text.is_empty());
    match (shown(&person.name), shown(&person.login)) {
        (Some(name), Some(login)) if name != login => Some(format!("{name} ({login})")),
        (Some(name), _) | (None, Some(name)) => Some(name),
        (None, None) => shown(&person.email),
    }
}

fn facts(story: &Story<'_>) -> Vec<Vec<String>> {
    let run = story.run;
    let fact = |name: &str, value: String| vec![name.to_owned(), value];
    let mut facts = vec![fact("Repository", one_line(run.repository.as_str(), MAX_NAME))];
    if let Some(reference) = &run.reference {
        let (what, name) = named(reference);
        let what = format!("{}{}", what[..1].to_uppercase(), &what[1..]);
        facts.push(fact(&what, one_line(name, MAX_NAME)));
    }
    if let Some(request) = &run.event.pull_request {
        let short = |reference: &RefName| one_line(reference.short(), MAX_SHORT_NAME);
        let (head, base) = (short(&request.head.reference), short(&request.base.reference));
        facts.push(fact("Request", format!("#{}, {head} into {base}", request.number)));
    }
    facts.extend(run.sha.as_ref().map(|sha| fact("Commit", sha.to_string())));
    facts.push(fact("Job", run.job.to_string()));
    // Whoever is told did not push anything just now. Of a run by hand the first sentence says it, of another attempt the
    // line below.
    let is_said = matches!(run.cause, Cause::Manual { .. } | Cause::Retry { .. });
    facts.extend(run.cause.in_words().filter(|_| !is_said).map(|cause| fact("Cause", one_line(&cause, MAX_NAME))));
    let took = run.started_at.map(|started| format!(", took {}", duration(story.ended_at.since(started)))).unwrap_or_default();
    if run.attempt > 1 {
        let after = run.cause.origin().map_or_else(String::new, |origin| format!(", after run {origin}"));
        facts.push(fact("Attempt", format!("{}{after}", run.attempt)));
    }
    facts.push(fact("Run", format!("{}{took}, ended {}", run.id, time(story.ended_at))));
    facts
}

fn phases(story: &Story<'_>) -> Vec<Vec<String>> {
    let row = |step: &StepRecord| {
        let result = step.result.as_ref().map_or_else(|| "did not end".to_owned(), ToString::to_string);
        let time = step.ended_at.map(|ended| duration(ended.since(step.started_at)));
        vec![one_line(&step.name, 16), one_line(&result, 42), time.unwrap_or_default()]
    };
    let left_out = |phase: &&str| vec![(*phase).to_owned(), "not run".to_owned(), String::new()];
    story.steps.iter().map(row).chain(story.not_run.iter().map(left_out)).collect()
}

fn commits(event: &Event) -> Option<String> {
    let commits = event.commits.as_ref().filter(|commits| !commits.is_empty())?;
    let mut text = match commits.len() {
        1 => "The commit:\n".to_owned(),
        count => format!("The {count} commits, newest first:\n"),
    };
    for commit in commits.iter().rev().take(MAX_COMMITS) {
        let first_line = commit.message.trim_start().lines().next().unwrap_or_default();
        let line = format!("  {} {}", commit.sha.short(), one_line(first_line, MAX_NAME));
        text.push_str(&shortened(line.trim_end(), WIDTH));
        text.push('\n');
    }
    if let Some(more) = commits.len().checked_sub(MAX_COMMITS).filter(|more| *more > 0) {
        text.push_str(&format!("  and {more} more\n"));
    }
    Some(text)
}

/// The end of what the failing step printed; every line is marked.
fn output(story: &Story<'_>) -> Option<String> {
    if *story.outcome == Outcome::Succeeded {
        return None;
    }
    let failed = |step: &&StepRecord| step.result.as_ref().is_none_or(|result| !result.is_success());
    let step = story.steps.iter().find(failed).map(|step| format!(" of {}", one_line(&step.name, 16))).unwrap_or_default();
    let (lines, more) = last_lines(story.output_end, MAX_OUTPUT_LINES, MAX_OUTPUT_BYTES);
    if lines.is_empty() {
        return None;
    }
    let mut text = match lines.len() {
        _ if !more => format!("The output{step}:\n"),
        1 => format!("The output{step}, its last line:\n"),
        count => format!("The output{step}, its last {count} lines:\n"),
    };
    for line in lines {
        text.push_str(format!("  | {line}").trim_end());
        text.push('\n');
    }
    Some(text)
}

/// Why a lane is held, and what lets it go on. What would not is not offered.
fn how_to_go_on(held: &Held<'_>, run: RunId, config: &str) -> String {
    let sentence = |text: &str| one_line(text, MAX_REASON).trim_end_matches('.').to_owned();
    let mut text = wrapped(&format!("The lane is held: {}.", sentence(held.reason)), WIDTH);
    let (again, go_on) = (format!("  hookspool rerun {run}{config}\n"), format!("  hookspool release {run}{config}\n"));
    if let Some((who, why)) = held.person {
        let who = one_line(who, MAX_SHORT_NAME);
        text.push_str(&wrapped(&format!("User {who} had held it before: {}.", sentence(why)), WIDTH));
        text.push_str(&format!("To go on, on the server, when that is over too:\n{go_on}It goes on without this run.\n\n"));
    } else if held.can_rerun {
        text.push_str(&format!("To go on, on the server, either of these:\n{again}{go_on}"));
        text.push_str("The first runs it again, the second goes on without it.\n\n");
    } else {
        text.push_str(&format!("To go on, on the server:\n{go_on}"));
        text.push_str("It goes on without this run, which the configuration would not run again.\n\n");
    }
    text
}

fn how_to_see_more(story: &Story<'_>) -> String {
    let config = story.config_path.map(|path| format!(" --config {}", shell_word(path))).unwrap_or_default();
    let run = story.run;
    let mut text = String::new();
    if let Some(held) = &story.held {
        text.push_str(&how_to_go_on(held, run.id, &config));
    }
    if story.is_older {
        text.push_str(&format!(
            "To deploy it all the same, on the server:\n  hookspool rerun {} --allow-older{config}\n\n",
            run.id
        ));
    }
    text.push_str("To see more, on the server:\n");
    // What never started has no log.
    if run.started_at.is_some() {
        text.push_str(&format!("  hookspool log {}{config}\n", run.id));
    }
    text.push_str(&format!("  hookspool show {}{config}\n", run.id));
    if let Some(delivery) = run.delivery {
        text.push_str(&format!("  hookspool trace {delivery}{config}\n"));
    }
    if let Some(kept) = story.kept {
        let kept: String = kept.display().to_string().chars().map(harmless).collect();
        text.push_str(&format!("\nThe workspace is kept for a while, for root to look at:\n  {kept}\n"));
    }
    text
}

#[cfg(test)]
mod tests;
