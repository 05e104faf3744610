//! `when`: any entry of the list, all keys within an entry, any value within a key.

use super::problem::{Report, suggestion};
use super::table::{Table, Value};
use crate::event::Kind;
use crate::globs::Globs;
use toml::de::DeValue;

/// The conditions under which a job runs; one of them must hold. A job that has none runs by its schedule alone.
#[derive(Debug, Clone)]
pub struct Conditions(pub Vec<Condition>);

/// One entry of `when`; all that it names must hold.
#[derive(Debug, Clone)]
pub struct Condition {
    /// The kinds of event.
    pub event: Vec<Kind>,
    /// The branch's short name.
    pub branch: Option<Globs>,
    /// The tag's short name, or an image's tag.
    pub tag: Option<Globs>,
    /// One of the paths that the push touched.
    pub paths: Option<Globs>,
    /// The branch that a pull request is to go to.
    pub base: Option<Globs>,
    /// What happened to the event's subject.
    pub action: Option<Globs>,
    /// One of the request's or issue's labels.
    pub labels: Option<Globs>,
    /// The name of a package, check, pipeline, service or release, or of a contract's provider.
    pub name: Option<Globs>,
    /// How far a check, pipeline, deployment, verification or issue is.
    pub status: Option<Globs>,
    /// Where a deployment goes.
    pub environment: Option<Globs>,
    /// The first line of a comment.
    pub comment: Option<Globs>,
    /// What a comment's author is to the repository.
    pub association: Option<Globs>,
    /// The login of whoever did it.
    pub pusher: Option<Globs>,
}

impl Condition {
    /// Whether it holds for comments, whoever writes them.
    #[must_use]
    pub fn is_anybodys_comment(&self) -> bool {
        self.event.contains(&Kind::Comment) && self.association.is_none() && self.pusher.is_none()
    }
}

const WHAT: &str = "this entry of `when`";

pub(super) fn read(job: &mut Table<'_, '_>, report: &mut Report) -> Option<Conditions> {
    let is_scheduled = job.get("schedule").is_some();
    let Some(value) = job.get("when") else {
        if is_scheduled {
            return Some(Conditions(Vec::new()));
        }
        job.absent("when", "when = [{ event = \"push\", branch = \"main\" }], or schedule = \"0 3 * * *\"", report);
        return None;
    };
    let entries: Vec<&Value<'_>> = match value.get_ref() {
        DeValue::Array(items) => items.iter().collect(),
        _ => vec![value],
    };
    if entries.is_empty() && !is_scheduled {
        job.wrong(value.span(), "`when` is empty, so the job would never run", None, report);
    }
    let read = |entry| Table::of_value(job.source, WHAT, entry, report).and_then(|table| read_condition(table, report));
    let conditions: Vec<Option<Condition>> = entries.into_iter().map(read).collect();
    let waits_for_its_time = |condition: &Condition| condition.event.contains(&Kind::Schedule);
    if !is_scheduled && conditions.iter().flatten().any(waits_for_its_time) {
        let help = "write schedule = \"0 3 * * *\" beside `when`, with the times that you want".to_owned();
        job.wrong(value.span(), "the job waits for an event `schedule`, and has no `schedule`", Some(help), report);
    }
    conditions.into_iter().collect::<Option<Vec<_>>>().map(Conditions)
}

fn read_condition(mut table: Table<'_, '_>, report: &mut Report) -> Option<Condition> {
    let event = read_kinds(&mut table, report);
    let condition = Condition {
        event: event.clone().unwrap_or_default(),
        branch: read_globs(&mut table, "branch", report),
        tag: read_globs(&mut table, "tag", report),
        paths: read_globs(&mut table, "paths", report),
        base: read_globs(&mut table, "base", report),
        action: read_globs(&mut table, "action", report),
        labels: read_globs(&mut table, "labels", report),
        name: read_globs(&mut table, "name", report),
        status: read_globs(&mut table, "status", report),
        environment: read_globs(&mut table, "environment", report),
        comment: read_globs(&mut table, "comment", report),
        association: read_globs(&mut table, "association", report),
        pusher: read_globs(&mut table, "pusher", report),
    };
    if event.is_some() {
        check_that_it_can_hold(&condition, &table, report);
    }
    table.finish(report);
    event.map(|_| condition)
}

fn read_kinds(table: &mut Table<'_, '_>, report: &mut Report) -> Option<Vec<Kind>> {
    if table.get("event").is_none() {
        table.absent("event", "event = \"push\"", report);
        return None;
    }
    let mut kinds = Vec::new();
    for text in table.texts("event", report)? {
        if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.as_str() == text.value) {
            kinds.push(kind);
            continue;
        }
        let known = Kind::ALL.map(Kind::as_str);
        let help = suggestion(&text.value, known).unwrap_or_else(|| format!("the events are: {}", known.join(", ")));
        table.wrong(text.span, format!("there is no event {:?}", text.value), Some(help), report);
    }
    (!kinds.is_empty()).then_some(kinds)
}

fn read_globs(table: &mut Table<'_, '_>, key: &'static str, report: &mut Report) -> Option<Globs> {
    let span = table.get(key)?.span();
    let texts = table.texts(key, report)?;
    if texts.is_empty() {
        table.wrong(span, format!("`{key}` is an empty list"), None, report);
        return None;
    }
    let globs = Globs::new(texts.into_iter().map(|text| text.value));
    globs.map_err(|error| table.wrong(span, error, None, report)).ok()
}

/// A key that no event of the entry can have makes an entry that never holds; that was not meant.
fn check_that_it_can_hold(condition: &Condition, table: &Table<'_, '_>, report: &mut Report) {
    use Kind::{
        BranchCreated, BranchDeleted, Check, Comment, Deployment, Issue, Manual, Package, Pact, Pipeline, PullRequest, Push,
        Release, Service, Tag, TagDeleted,
    };
    let some_kind_is_in = |kinds: &[Kind]| condition.event.iter().any(|kind| kinds.contains(kind));
    let with_branch =
        [Push, BranchCreated, BranchDeleted, Manual, Comment, Check, Deployment, Pipeline, Pact, Service, Package, Issue];
    let with_action = [PullRequest, Release, Package, Issue, Comment, Check, Deployment, Pipeline, Pact, Service];
    let keys: [(&str, bool, &[Kind]); 11] = [
        ("branch", condition.branch.is_some(), &with_branch),
        ("tag", condition.tag.is_some(), &[Tag, TagDeleted, Manual, Release, Deployment, Pipeline, Check, Service, Package]),
        ("paths", condition.paths.is_some(), &[Push, BranchCreated, Tag]),
        ("base", condition.base.is_some(), &[PullRequest]),
        ("action", condition.action.is_some(), &with_action),
        ("labels", condition.labels.is_some(), &[PullRequest, Issue, Comment]),
        ("name", condition.name.is_some(), &[Package, Check, Pipeline, Service, Release, Pact]),
        ("status", condition.status.is_some(), &[Check, Pipeline, Deployment, Pact, Issue]),
        ("environment", condition.environment.is_some(), &[Deployment]),
        ("comment", condition.comment.is_some(), &[Comment]),
        ("association", condition.association.is_some(), &[Comment]),
    ];
    for (key, _, kinds) in keys.into_iter().filter(|(_, written, kinds)| *written && !some_kind_is_in(kinds)) {
        let events: Vec<_> = condition.event.iter().map(|kind| kind.as_str()).collect();
        let help = format!("`{key}` goes with: {}", kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", "));
        let message = format!("an event `{}` has no `{key}`, so this would never hold", events.join("`, `"));
        table.wrong(table.span(), message, Some(help), report);
    }
}
