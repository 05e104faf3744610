//! What is shipped beside the programs holds what it says: the example configuration, the units, and the documents.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use hookspool_tests::programs::{program, workspace};
use serde_json::Value;

/// The documents whose words are held to the code.
const DOCUMENTS: [&str; 5] = ["README.md", "docs/sources.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];

/// Where the units say that the programs are.
const INSTALLED: &str = "/usr/local/bin/";

fn text_of(name: impl AsRef<Path>) -> String {
    let path = workspace().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files_in(name: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(workspace().join(name)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

/// What `hookspool check` says of a configuration, as its `errors` and `warnings`.
fn check(config: &Path) -> Value {
    let mut command = Command::new(program("hookspool"));
    let output = command.arg("check").arg("--json").arg("--config").arg(config).env_remove("CREDENTIALS_DIRECTORY").output();
    serde_json::from_slice(&output.unwrap().stdout).unwrap()
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_shipped_example_is_good_but_for_secrets_and_users_that_are_not_here() {
    let checked = check(&workspace().join("docs/examples/hookspool.toml"));
    assert_eq!(checked["errors"], Value::Array(Vec::new()), "{checked:#}");
    for warning in checked["warnings"].as_array().unwrap() {
        let warning = warning.as_str().unwrap();
        assert!(warning.starts_with("secret `") || warning.starts_with("there is no user `"), "{warning}");
    }
}

#[test]
fn the_shipped_sources_are_good_beside_the_example() {
    let folder = tempfile::tempdir().unwrap();
    let main = text_of("docs/examples/hookspool.toml") + &text_of("docs/examples/sources.toml");
    fs::write(folder.path().join("hookspool.toml"), main).unwrap();
    let checked = check(&folder.path().join("hookspool.toml"));
    assert_eq!(checked["errors"], Value::Array(Vec::new()), "{checked:#}");
}

#[test]
fn the_described_source_of_the_example_is_good_in_each_of_its_ways() {
    let example = text_of("docs/examples/hookspool.toml");
    let (main, after) = example.split_once("# [[source]]\n").unwrap();
    let commented: Vec<&str> = after.lines().map_while(|line| line.strip_prefix("# ")).collect();
    assert!(commented.last().is_some_and(|line| line.starts_with("url = ")), "{commented:#?}");
    for absent in [
        &["token", "signature = \"", "tolerance"][..],
        &["token", "signature = {", "timestamp", "id"],
        &["signature", "timestamp", "tolerance"],
    ] {
        let is_kept = |line: &&&str| !absent.iter().any(|start| line.starts_with(start));
        let source = commented.iter().filter(is_kept).copied().collect::<Vec<_>>().join("\n");
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("hookspool.toml"), format!("{main}[[source]]\n{source}\n")).unwrap();
        let checked = check(&folder.path().join("hookspool.toml"));
        assert_eq!(checked["errors"], Value::Array(Vec::new()), "{source}\n{checked:#}");
    }
}

#[test]
fn the_shipped_example_shows_every_key() {
    // Asked for a key that is like no other, the reader of each table says which keys there are.
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("repositories")).unwrap();
    let odd = "zzzzzzzzzzzzzzzz = 1\n";
    let inline = odd.trim();
    let generic = "[[source]]\nprovider = \"generic\"\npath = \"/a\"\n";
    let sources = format!(
        "[[source]]\n{odd}[[source]]\nprovider = \"pact-broker\"\n{odd}\
         {generic}{odd}timestamp = {{ {inline} }}\nsignature = {{ {inline} }}\n\
         [source.facts]\n{odd}sha = {{ pointer = \"/a\", {inline} }}\n\
         {generic}{odd}token = {{ {inline} }}\n{generic}{odd}signature = \"standard-webhooks\"\n"
    );
    let main = format!("{odd}[paths]\n{odd}[receiver]\n{odd}[receiver.retention]\n{odd}[worker]\n{odd}[mail]\n{odd}{sources}");
    let repository =
        format!("{odd}[[job]]\n{odd}when = {{ {0} }}\nbuild = {{ {0} }}\nlane = {{ {0} }}\nnotify = {{ {0} }}\n", inline);
    fs::write(folder.path().join("hookspool.toml"), main).unwrap();
    fs::write(folder.path().join("repositories/a.toml"), repository).unwrap();
    let checked = check(&folder.path().join("hookspool.toml"));
    let helps = checked["errors"].as_array().unwrap().iter().filter_map(|error| error["help"].as_str());
    let lists: Vec<&str> = helps.filter_map(|help| Some(help.split_once(" may have: ")?.1)).collect();
    assert_eq!(lists.len(), 7 + 9 + 6, "one list for each table: {lists:#?}");
    let keys: BTreeSet<&str> = lists.iter().flat_map(|list| list.split(", ")).collect();

    let mut example = text_of("docs/examples/hookspool.toml") + &text_of("docs/examples/sources.toml");
    for file in files_in("docs/examples/repositories", "toml") {
        example += &text_of(file);
    }
    let shows = |key: &str| {
        let assigned = format!("{key} = ");
        let is_key = |at: usize| example[..at].chars().next_back().is_none_or(|before| before.is_whitespace() || before == '{');
        // Some tables lie in others: `[receiver.retention]`.
        let is_table = [format!("[{key}]"), format!(".{key}]")].iter().any(|end| example.contains(end));
        is_table || example.match_indices(&assigned).any(|(at, _)| is_key(at))
    };
    let absent: Vec<&str> = keys.into_iter().filter(|key| !shows(key)).collect();
    assert!(absent.is_empty(), "the example does not show: {absent:?}");
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    if !is_there("systemd-analyze") {
        println!("SKIPPED: systemd-analyze is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut units: Vec<PathBuf> = Vec::new();
    for unit in ["service", "socket", "path", "timer", "slice"].iter().flat_map(|kind| files_in("systemd", kind)) {
        // The programs are not installed here; these are the ones that would be.
        let mut text = text_of(&unit);
        for name in ["hookspool-receiver", "hookspool-worker"] {
            text = text.replace(&format!("{INSTALLED}{name}"), &program(name).display().to_string());
        }
        assert!(!text.contains(INSTALLED), "{} starts a program that there is not", unit.display());
        units.push(folder.path().join(unit.file_name().unwrap()));
        fs::write(units.last().unwrap(), text).unwrap();
    }
    assert_eq!(units.len(), 7);
    let output = Command::new("systemd-analyze").arg("verify").args(&units).output().unwrap();
    assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));

    // In tenths. What is left is the network, which a receiver needs, and sockets to talk to systemd.
    let receiver = folder.path().join("hookspool-receiver.service");
    let judge = ["security", "--offline=true", "--no-pager", "--threshold=15"];
    let output = Command::new("systemd-analyze").args(judge).arg(receiver).output().unwrap();
    assert!(output.status.success(), "the receiver is less confined than it was:\n{}", said(&output));
}

#[test]
fn the_shipped_users_and_folders_are_those_that_the_programs_need() {
    if !is_there("systemd-sysusers") || !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: needs root and systemd-sysusers");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    fs::write(root.path().join("etc/group"), "root:x:0:\nadm:x:4:\n").unwrap();
    fs::write(root.path().join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    for (tool, options, file) in [
        ("systemd-sysusers", vec![], "systemd/sysusers.d/hookspool.conf"),
        ("systemd-tmpfiles", vec!["--create"], "systemd/tmpfiles.d/hookspool.conf"),
    ] {
        let mut command = Command::new(tool);
        let output = command.args(options).arg(format!("--root={}", root.path().display())).arg(workspace().join(file)).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{tool}: {}", said(&output));
    }
    let id = |file: &str, name: &str| -> u32 {
        let text = fs::read_to_string(root.path().join(file)).unwrap();
        let line =
            text.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap_or_else(|| panic!("no {name} in {file}"));
        line.split(':').nth(2).unwrap().parse().unwrap()
    };
    id("etc/passwd", "hookspool-build");
    let (user, group, adm) = (id("etc/passwd", "hookspool"), id("etc/group", "hookspool"), id("etc/group", "adm"));
    for (folder, owner, mode) in [
        // The receiver reads its configuration and its own secrets, and none of the worker's.
        ("etc/hookspool", (0, group), 0o750),
        ("etc/hookspool/repositories", (0, group), 0o750),
        ("etc/hookspool/secrets", (0, group), 0o710),
        ("etc/hookspool/secrets/receiver", (0, group), 0o750),
        // It writes to its spool alone.
        ("var/spool/hookspool", (user, group), 0o750),
        ("var/lib/hookspool", (0, 0), 0o711),
        ("var/log/hookspool", (0, adm), 0o2750),
        ("var/log/hookspool/runs", (0, adm), 0o2750),
    ] {
        let metadata = fs::metadata(root.path().join(folder)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), owner, "{folder}");
        assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{folder}");
    }
}

#[test]
fn every_link_and_file_that_a_document_names_is_there() {
    let mut wrong = Vec::new();
    for document in DOCUMENTS {
        let text = text_of(document);
        for file in named_files(&text).filter(|file| !workspace().join(file).exists()) {
            wrong.push(format!("{document} names {file}, which is not there"));
        }
        for link in links(&text).filter(|link| !leads_somewhere(document, link)) {
            wrong.push(format!("{document} links to {link}, which is not there"));
        }
        for (file, test) in named_tests(&text) {
            let source = fs::read_to_string(workspace().join(&file)).unwrap_or_default();
            if !source.contains(&format!("fn {test}(")) {
                wrong.push(format!("{document} names the test {test}, which is not in {file}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Targets of links that lead to a file or heading of the project.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets.filter(|target| !target.contains("://"))
}

/// Whether a document's link leads to a file that is there and, after `#`, to one of its headings.
fn leads_somewhere(document: &str, link: &str) -> bool {
    let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
    let document = workspace().join(document);
    let file = if file.is_empty() { document } else { document.with_file_name(file) };
    let has = |heading| fs::read_to_string(&file).is_ok_and(|text| anchors(&text).iter().any(|anchor| anchor == heading));
    file.exists() && heading.is_none_or(has)
}

/// The headings as GitHub names them in addresses: lower case, `-` for each space, without punctuation.
fn anchors(text: &str) -> Vec<String> {
    let mut in_block = false;
    let prose = text.lines().filter(|line| {
        in_block ^= line.starts_with("```");
        !in_block
    });
    let kept = |c: &char| c.is_alphanumeric() || ['-', '_', ' '].contains(c);
    let anchor = |heading: &str| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-");
    prose.filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

/// The words between backticks within a line.
fn code_words(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with("```")).flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Paths of the project that stand between backticks.
fn named_files(text: &str) -> impl Iterator<Item = String> + '_ {
    let folders = ["common/", "receiver/", "worker/", "tests/", "systemd/", "docs/", "fuzz/", ".ci/", ".cargo/"];
    let names = code_words(text).filter(move |word| folders.iter().any(|folder| word.starts_with(folder)));
    names.map(|word| word.split("::").next().unwrap_or_default()).filter(|word| !word.contains(['*', ' '])).map(str::to_owned)
}

/// Tests that stand between backticks, as `FILE::NAME`.
fn named_tests(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    let named = code_words(text).filter(|word| word.contains(".rs::")).filter_map(|word| word.split_once("::"));
    named.map(|(file, test)| (file.to_owned(), test.to_owned()))
}

#[test]
fn every_command_and_flag_that_the_manual_names_is_one() {
    let mut helps = BTreeMap::new();
    let mut wrong = BTreeSet::new();
    let manual = text_of("README.md") + &text_of("docs/sources.md");
    for command in commands(&manual) {
        let (name, words) = command.split_first().unwrap();
        let subcommand = words.first().filter(|word| is_subcommand(word)).cloned();
        let help = helps.entry((name.clone(), subcommand.clone())).or_insert_with(|| help_of(name, subcommand.as_deref()));
        let Some(help) = help else {
            wrong.insert(format!("`{}`: {name} has no such command", command.join(" ")));
            continue;
        };
        let known = |flag: &str| help.split([' ', ',', '\n', '=']).any(|word| word == flag);
        for flag in words.iter().filter(|word| word.starts_with('-') && *word != "-").map(|word| word.split('=').next().unwrap())
        {
            if !known(flag) {
                wrong.insert(format!("`{}`: there is no {flag}", command.join(" ")));
            }
        }
    }
    assert!(!helps.is_empty() && wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
}

fn is_subcommand(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_lowercase())
}

/// The help of a command, unless there is none.
fn help_of(name: &str, subcommand: Option<&str>) -> Option<String> {
    let output = Command::new(program(name)).args(subcommand).arg("--help").output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// Every call of one of the programs in code, as words: from the program's name to the end of the command.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut in_block = false;
    let mut pieces: Vec<&str> = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            pieces.push(line);
        } else {
            pieces.extend(line.split('`').skip(1).step_by(2));
        }
    }
    let mut commands = Vec::new();
    for piece in pieces {
        let words: Vec<&str> = piece.split_whitespace().take_while(|word| !["#", "|", "&&", ";", "\\"].contains(word)).collect();
        let Some(at) = words.iter().position(|word| ["hookspool", "hookspool-worker", "hookspool-receiver"].contains(word))
        else {
            continue;
        };
        // Names of packages, users and folders are no calls.
        let is_call = at == 0 || ["--", "sudo", "root", "$"].contains(&words[at - 1]);
        if is_call && words.len() > at + 1 {
            commands.push(words[at..].iter().map(|word| (*word).to_owned()).collect());
        }
    }
    commands
}
