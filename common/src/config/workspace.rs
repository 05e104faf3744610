//! What is put into a job's workspace beside the commit, and what stays of it: `submodules`, `lfs`, `keep`, `cache`.

use std::path::{Component, Path};

use toml::de::DeValue;

use super::problem::Report;
use super::table::{Table, Text};

/// How much a job's cache of one branch may hold where nothing is said, in bytes.
const DEFAULT_CACHE_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// Which workspaces stay after their run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// None.
    #[default]
    Never,
    /// Those of runs that did not succeed.
    OnFailure,
    /// All.
    Always,
}

impl Keep {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Never, Self::OnFailure, Self::Always];

    /// The choice, as in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::OnFailure => "on-failure",
            Self::Always => "always",
        }
    }
}

/// Folders of the workspace that the next run of the same job and branch finds as this one left them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// The folders, relative to the workspace: plain parts only.
    pub paths: Vec<String>,
    /// What they may hold together, in bytes.
    pub size: u64,
}

/// How a job's workspace is filled, and what stays of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Workspace {
    /// Whether submodules are checked out too.
    pub submodules: bool,
    /// Whether the contents of Git LFS are fetched.
    pub lfs: bool,
    /// Whether it stays.
    pub keep: Keep,
    /// What of it the next run finds again.
    pub cache: Option<Cache>,
}

pub(super) fn read(table: &mut Table<'_, '_>, report: &mut Report) -> Workspace {
    Workspace {
        submodules: table.boolean("submodules", report).unwrap_or(false),
        lfs: table.boolean("lfs", report).unwrap_or(false),
        keep: table.word("keep", &Keep::ALL.map(|word| (word.as_str(), word)), report).unwrap_or_default(),
        cache: read_cache(table, report),
    }
}

/// A list of folders, or a table with `paths` and `size`.
fn read_cache(job: &mut Table<'_, '_>, report: &mut Report) -> Option<Cache> {
    let value = job.get("cache")?;
    if !matches!(value.get_ref(), DeValue::Table(_)) {
        let texts = job.texts("cache", report)?;
        return Some(Cache { paths: read_folders(job, &texts, report)?, size: DEFAULT_CACHE_BYTES });
    }
    let mut table = Table::of_value(job.source, "`cache`", value, report)?;
    let paths = match table.texts("paths", report) {
        Some(texts) => read_folders(&table, &texts, report),
        None if table.get("paths").is_some() => None,
        None => {
            table.absent("paths", "paths = [\"target\"]", report);
            None
        }
    };
    let size = if table.get("size").is_some() { table.size("size", report) } else { Some(DEFAULT_CACHE_BYTES) };
    table.finish(report);
    Some(Cache { paths: paths?, size: size? })
}

fn read_folders(table: &Table<'_, '_>, texts: &[Text], report: &mut Report) -> Option<Vec<String>> {
    let folders: Vec<Option<String>> = texts.iter().map(|text| read_folder(table, text, report)).collect();
    folders.into_iter().collect()
}

/// Root moves these folders about, so nothing but plain parts is one, and git's own folder is none.
fn read_folder(table: &Table<'_, '_>, text: &Text, report: &mut Report) -> Option<String> {
    let path = Path::new(&text.value);
    let mut parts = path.components();
    let is_plain = !text.value.is_empty()
        && !text.value.contains('\0')
        && path.components().all(|part| matches!(part, Component::Normal(_)))
        && parts.next() != Some(Component::Normal(".git".as_ref()));
    if is_plain {
        return Some(path.components().collect::<std::path::PathBuf>().to_string_lossy().into_owned());
    }
    let help = "write a folder within the workspace, such as \"target\"".to_owned();
    table.wrong(text.span.clone(), format!("{:?} cannot be kept as a cache", text.value), Some(help), report);
    None
}
