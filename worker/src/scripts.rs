//! Scripts outside the checkout that a step is to run as root: like the configuration, they count only if nobody else could
//! have written them. They are looked at right before the step.
//!
//! What is looked at is what a step names itself, by an absolute path: the program of an `argv`; in a script for the shell,
//! the program at the beginning of each line; and where that is a shell, an interpreter or the like, every file that it is
//! given. What those files call is their own matter, and so is what a shell finds by a variable or along `PATH`.

use std::path::Path;

use hookspool_common::config::Commands;
use hookspool_common::trusted::{self, Owners, TrustError};

/// Programs and words of the shell that run one of their arguments, or read it as commands. An interpreter's version is not
/// part of its name here.
const RUNNERS: [&str; 31] = [
    ".", "source", "exec", "command", "env", "nice", "ionice", "chrt", "taskset", "nohup", "time", "timeout", "setsid", "stdbuf",
    "sudo", "doas", "runuser", "su", "setpriv", "flock", "xargs", "sh", "bash", "dash", "zsh", "ksh", "python", "perl", "ruby",
    "node", "php",
];

/// Looks at the scripts outside `own`, the run's folder, that these commands name.
///
/// # Errors
/// The first that others could have written. One that is not there is for the step itself to find out.
pub(crate) fn trust(commands: &Commands, own: &Path) -> Result<(), TrustError> {
    let lines: Vec<Vec<&str>> = match commands {
        Commands::Argv(words) => vec![words.iter().map(String::as_str).collect()],
        Commands::Shell(scripts) => scripts.iter().flat_map(|script| script.lines()).map(words_of).collect(),
    };
    for named in lines.iter().flat_map(|words| programs_of(words)).map(Path::new) {
        if !named.is_absolute() || named.starts_with(own) {
            continue;
        }
        match trusted::open(named, Owners::of_this_process()) {
            // A folder is given to a script and not run. Its owner can put nothing in its place, as what leads to it is good.
            Err(TrustError::Untrusted(found)) if found.path == named && named.is_dir() => {}
            Err(error @ TrustError::Untrusted(_)) => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// The words of a line, without the signs of the shell around them.
fn words_of(line: &str) -> Vec<&str> {
    let words = line.split_whitespace().map(|word| word.trim_matches(['"', '\'', ';', '(', ')', '{', '}']));
    words.filter(|word| !word.is_empty()).collect()
}

/// What a command runs: its first word; and where that runs another, every file that it names, as which of its words are its
/// options' own is its own matter.
fn programs_of<'w>(words: &[&'w str]) -> Vec<&'w str> {
    let is_setting = |word: &str| word.split_once('=').is_some_and(|(name, _)| !name.contains('/'));
    let mut words = words.iter().copied().skip_while(|word| is_setting(word));
    let Some(first) = words.next() else { return Vec::new() };
    let others = words.filter(|word| is_runner(first) && word.contains('/') && !word.starts_with('-') && !is_setting(word));
    [first].into_iter().chain(others).collect()
}

fn is_runner(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or_default();
    let family = name.trim_end_matches(|letter: char| letter.is_ascii_digit() || matches!(letter, '.' | '-'));
    // `.` itself is one.
    RUNNERS.contains(&name) || RUNNERS.contains(&family)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_a_line_runs_is_its_first_word_and_what_that_runs() {
        for (line, programs) in [
            ("/opt/deploy --to /srv/site", &["/opt/deploy"][..]),
            ("  LANG=C exec '/opt/deploy' x", &["exec", "/opt/deploy"]),
            ("nice -n 10 /opt/deploy", &["nice", "/opt/deploy"]),
            ("bash -o pipefail /opt/deploy", &["bash", "/opt/deploy"]),
            ("env -u A B=/x /opt/deploy", &["env", "/opt/deploy"]),
            ("/usr/bin/python3.11 /opt/deploy", &["/usr/bin/python3.11", "/opt/deploy"]),
            ("php8.2 /opt/deploy", &["php8.2", "/opt/deploy"]),
            ("zsh /opt/deploy", &["zsh", "/opt/deploy"]),
            ("timeout -k 5 60 /opt/deploy", &["timeout", "/opt/deploy"]),
            ("sudo -u root /opt/deploy", &["sudo", "/opt/deploy"]),
            ("setsid ionice -c 3 nice /opt/deploy /srv/site", &["setsid", "/opt/deploy", "/srv/site"]),
            ("bash -eu /opt/deploy", &["bash", "/opt/deploy"]),
            (". /opt/settings", &[".", "/opt/settings"]),
            ("(/opt/deploy)", &["/opt/deploy"]),
            ("cp /opt/a /opt/b", &["cp"]),
            ("", &[]),
        ] {
            assert_eq!(programs_of(&words_of(line)), programs, "{line}");
        }
    }

    #[test]
    fn a_script_that_others_may_write_is_refused_wherever_it_is_named_but_not_in_the_runs_own_folder() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("deploy");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        let named = script.to_string_lossy().into_owned();
        let elsewhere = Path::new("/nonexistent");
        let ways = || {
            [
                Commands::Argv(vec![named.clone(), "x".to_owned()]),
                Commands::Argv(vec!["/bin/sh".to_owned(), named.clone()]),
                Commands::Shell(vec!["true".to_owned(), format!("echo x\nexec \"{named}\" --now")]),
            ]
        };
        for (mode, is_good) in [(0o755, true), (0o775, false), (0o757, false)] {
            fs::set_permissions(&script, fs::Permissions::from_mode(mode)).unwrap();
            for way in ways() {
                assert_eq!(trust(&way, elsewhere).is_ok(), is_good, "{way:?} {mode:o}");
                assert!(trust(&way, folder.path()).is_ok());
            }
        }
        // A folder that a script works on may be anybody's.
        let site = folder.path().join("site");
        fs::create_dir(&site).unwrap();
        fs::set_permissions(&site, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(trust(&Commands::Shell(vec![format!("sh -c true {}", site.display())]), elsewhere).is_ok());
        fs::remove_file(&script).unwrap();
        assert!(ways().iter().all(|way| trust(way, elsewhere).is_ok()));
    }
}
