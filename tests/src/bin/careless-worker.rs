//! A worker that does what the real one must never do, before it becomes the real one: by it the self-test is tested. It lies
//! as `hookspool-worker` beside `hookspool`, the real worker beside it as `worker`, and the file `faults` names what is wrong
//! with it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use hookspool_common::config::Config;
use hookspool_common::inbox::{INBOX_FILE, MARK_FILE};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let folder = std::env::current_exe().ok().and_then(|own| own.parent().map(Path::to_owned)).unwrap_or_default();
    let config = arguments.iter().skip_while(|word| *word != "--config").nth(1).map(PathBuf::from);
    let Some(config) = config.and_then(|file| Config::load(&file).ok()) else { return ExitCode::FAILURE };
    let faults = fs::read_to_string(folder.join("faults")).unwrap_or_default();
    for fault in faults.lines() {
        match fault {
            "marks what it has read" => mark_rows(&config),
            "believes what the receiver says" => believe(&config),
            "writes into the spool" => write_mark(&config),
            "does nothing" => return ExitCode::SUCCESS,
            other => eprintln!("careless-worker: {other:?} is no fault of mine"),
        }
    }
    let error = Command::new(folder.join("worker")).args(arguments).exec();
    eprintln!("careless-worker: {error}");
    ExitCode::FAILURE
}

/// As root, in the receiver's database, where triggers wait.
fn mark_rows(config: &Config) {
    if let Ok(inbox) = rusqlite::Connection::open(config.paths.spool.join(INBOX_FILE)) {
        let _ = inbox.execute_batch("UPDATE delivery SET reason = NULL WHERE answer = 'accepted'");
    }
}

/// A job that nobody configured is configured as soon as somebody asks for it.
fn believe(config: &Config) {
    for repository in config.repositories.iter().filter(|repository| repository.jobs.len() == 1) {
        let job = format!(
            "[[job]]\nname = \"deploy\"\nwhen = {{ event = \"push\" }}\nbuild = \"echo deployed >>{}\"\n",
            config.directory().join("../out/ran").display()
        );
        let text = fs::read_to_string(&repository.file).unwrap_or_default();
        let _ = fs::write(&repository.file, text + &job);
    }
}

/// As root, through whatever link lies there.
fn write_mark(config: &Config) {
    let path = config.paths.spool.join(format!("{MARK_FILE}.new"));
    if path.is_symlink() {
        let _ = fs::write(path, "0");
    }
}
