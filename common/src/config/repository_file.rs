//! `repositories/*.toml`: one repository and its jobs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::job::{self, Job};
use super::problem::{Report, SourceText, suggestion};
use super::table::{Table, Text, parse, read_file};
use crate::names::{JobName, SecretName, SourceName};
use crate::repository_name::RepositoryName;
use crate::trusted::{self, Owners};

/// How often a forge is asked at most.
const LEAST_RECONCILE: Duration = Duration::from_secs(60);

/// One repository and its jobs.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Its name.
    pub name: RepositoryName,
    /// The sources that may speak of it; at least one.
    pub sources: Vec<SourceName>,
    /// Where its commits are fetched from: a URL, an scp-like address or an absolute path.
    pub clone: String,
    /// The secret that is the ssh key to fetch with.
    pub deploy_key: Option<SecretName>,
    /// The secret that is the token to fetch with over https.
    pub https_token: Option<SecretName>,
    /// The authorities that vouch for an https server, in place of the machine's.
    pub ca_file: Option<PathBuf>,
    /// How often the forge is asked for what no delivery told of.
    pub reconcile: Option<Duration>,
    /// Its jobs, in the order of the file.
    pub jobs: Vec<Job>,
    /// The file.
    pub file: PathBuf,
}

impl Repository {
    /// The job with this name.
    #[must_use]
    pub fn job(&self, name: &JobName) -> Option<&Job> {
        self.jobs.iter().find(|job| job.name == *name)
    }
}

/// Reads every `*.toml` in `folder`. `sources` is absent when the main file could not be read.
pub(super) fn read_all(folder: &Path, sources: Option<&[SourceName]>, report: &mut Report) -> Vec<Repository> {
    let mut files: Vec<PathBuf> = match trusted::names_in(folder, Owners::of_this_process()) {
        Ok(names) => names.into_iter().map(|name| folder.join(name)).filter(|path| is_repository_file(path)).collect(),
        Err(error) if error.is_absent() => Vec::new(),
        Err(error) => {
            report.of_trust(folder, error);
            Vec::new()
        }
    };
    files.sort();
    let mut repositories: Vec<Repository> = Vec::new();
    for file in files {
        if let Some(repository) = read(&file, sources, report) {
            let shares_a_source = |other: &&Repository| other.sources.iter().any(|source| repository.sources.contains(source));
            let twin = repositories.iter().filter(|other| other.name == repository.name).find(shares_a_source);
            if let Some(twin) = twin {
                let message = format!("{} is configured in {} already", repository.name, twin.file.display());
                report.of_file(&file, message, Some("put all its jobs into one file".to_owned()));
                continue;
            }
            report_second_schedules(&repositories, &repository, report);
            repositories.push(repository);
        }
    }
    repositories
}

/// What is known of a schedule is known by repository and job, whichever file they stand in.
fn report_second_schedules(others: &[Repository], repository: &Repository, report: &mut Report) {
    let twins = others.iter().filter(|other| other.name == repository.name);
    let scheduled = |other: &Repository, job: &Job| other.job(&job.name).is_some_and(|twin| twin.scheduled.is_some());
    for (other, job) in twins.flat_map(|other| repository.jobs.iter().map(move |job| (other, job))) {
        if job.scheduled.is_some() && scheduled(other, job) {
            let message =
                format!("job `{}` of {} has a `schedule` in {} already", job.name, repository.name, other.file.display());
            report.of_file(&repository.file, message, Some("give one of the two jobs another name".to_owned()));
        }
    }
}

/// Editors leave hidden and backup files behind; they are not configuration.
fn is_repository_file(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    path.extension().is_some_and(|extension| extension == "toml") && !hidden
}

fn read(file: &Path, sources: Option<&[SourceName]>, report: &mut Report) -> Option<Repository> {
    let text = read_file(file, report)?;
    let source_text = SourceText { file, text: &text };
    let document = parse(&source_text, report)?;
    let mut top = Table::new(&source_text, "a repository's file", document.get_ref(), 0..0);
    let name = top.required_text("repository", "repository = \"github.com/owner/name\"", report);
    let name: Option<RepositoryName> = name.and_then(|text| top.parse_text(&text, report));
    let named = read_sources(&mut top, sources, report);
    let clone = match top.text("clone", report) {
        Some(text) => read_clone(&top, text, report),
        None => name.as_ref().map(|name| format!("https://{name}.git")),
    };
    let deploy_key = top.parsed("deploy_key", report);
    let https_token = read_https_token(&mut top, clone.as_deref(), report);
    let ca_file = read_ca_file(&mut top, clone.as_deref(), report);
    let reconcile = read_reconcile(&mut top, report);
    let jobs = read_jobs(&mut top, report);
    top.finish(report);
    let (name, sources, clone, file) = (name?, named?, clone?, file.to_owned());
    Some(Repository { name, sources, clone, deploy_key, https_token, ca_file, reconcile, jobs, file })
}

/// A pass comes every minute, so nothing shorter could be kept.
fn read_reconcile(top: &mut Table<'_, '_>, report: &mut Report) -> Option<Duration> {
    let span = top.get("reconcile")?.span();
    let interval = top.duration("reconcile", report)?;
    if interval < LEAST_RECONCILE {
        top.wrong(span, "`reconcile` is shorter than a minute", Some("write 1m or more; 10m is plenty".to_owned()), report);
        return None;
    }
    Some(interval)
}

/// One source or several; `None` when one of them is wrong.
fn read_sources(top: &mut Table<'_, '_>, sources: Option<&[SourceName]>, report: &mut Report) -> Option<Vec<SourceName>> {
    let Some(value) = top.get("source") else {
        top.absent("source", "source = \"NAME\", the name of a [[source]]", report);
        return None;
    };
    let texts = top.texts("source", report)?;
    if texts.is_empty() {
        top.wrong(value.span(), "`source` is an empty list, so nothing would ever run", None, report);
        return None;
    }
    let named: Vec<Option<SourceName>> = texts.iter().map(|text| read_source(top, text, sources, report)).collect();
    named.into_iter().collect()
}

fn read_source(top: &Table<'_, '_>, text: &Text, sources: Option<&[SourceName]>, report: &mut Report) -> Option<SourceName> {
    let name: SourceName = top.parse_text(text, report)?;
    let Some(sources) = sources.filter(|sources| !sources.contains(&name)) else { return Some(name) };
    let known: Vec<&str> = sources.iter().map(SourceName::as_str).collect();
    let listed = || (!known.is_empty()).then(|| format!("the sources of hookspool.toml are: {}", known.join(", ")));
    let help = suggestion(name.as_str(), known.iter().copied()).or_else(listed);
    top.wrong(text.span.clone(), format!("hookspool.toml has no [[source]] with the name `{name}`"), help, report);
    None
}

/// git would take a text that begins with `-` for an option, and run a program for `ext::`.
fn read_clone(top: &Table<'_, '_>, text: Text, report: &mut Report) -> Option<String> {
    let value = text.value;
    let scheme = value.split_once("://").map(|(scheme, _)| scheme);
    let known_scheme = scheme.is_none_or(|scheme| ["https", "http", "ssh", "git", "file"].contains(&scheme));
    let has_password = url::Url::parse(&value).is_ok_and(|url| url.password().is_some());
    let is_address =
        value.starts_with('/') || scheme.is_some() || value.split_once(':').is_some_and(|(host, _)| !host.contains('/'));
    let is_plain = !value.starts_with('-') && !value.contains("::") && !value.chars().any(char::is_control);
    if has_password {
        let help = "use `https_token`, or `deploy_key` with an ssh address".to_owned();
        top.wrong(text.span, "`clone` holds a password, and the configuration holds no secrets", Some(help), report);
        return None;
    }
    if is_plain && is_address && known_scheme {
        return Some(value);
    }
    let help = "write an https or ssh URL, git@HOST:OWNER/NAME.git, or an absolute path".to_owned();
    top.wrong(text.span, format!("{value:?} is nothing that git could fetch from"), Some(help), report);
    None
}

/// A token is sent to an https server and to nobody else.
fn read_https_token(top: &mut Table<'_, '_>, clone: Option<&str>, report: &mut Report) -> Option<SecretName> {
    let span = top.get("https_token")?.span();
    let token = top.parsed("https_token", report)?;
    if clone.is_some_and(|clone| !clone.starts_with("https://")) {
        let help = "write an https address as `clone`, or use `deploy_key`".to_owned();
        top.wrong(span, "`https_token` is for a `clone` address that begins with https://", Some(help), report);
        return None;
    }
    Some(token)
}

fn read_ca_file(top: &mut Table<'_, '_>, clone: Option<&str>, report: &mut Report) -> Option<PathBuf> {
    let text = top.text("ca_file", report)?;
    if clone.is_some_and(|clone| !clone.starts_with("https://")) {
        let help = "write an https address as `clone`, or leave `ca_file` out".to_owned();
        top.wrong(text.span, "`ca_file` is for a `clone` address that begins with https://", Some(help), report);
        return None;
    }
    top.absolute_path(&text, report)
}

fn read_jobs(top: &mut Table<'_, '_>, report: &mut Report) -> Vec<Job> {
    let tables = top.tables("job", "this job", report);
    if tables.is_empty() && top.get("job").is_none() {
        top.wrong(0..0, "there is no [[job]], so nothing would ever run", None, report);
    }
    let mut jobs: Vec<Job> = Vec::new();
    let mut names: Vec<JobName> = Vec::new();
    for table in tables {
        let source = table.source;
        let (named, job) = job::read(table, report);
        if let Some((name, span)) = named {
            if names.contains(&name) {
                source.problem(report, span, format!("there are two jobs with the name `{name}`"), None);
            }
            names.push(name);
        }
        jobs.extend(job);
    }
    jobs
}
