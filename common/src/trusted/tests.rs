//! Who may own and write what is on the way to a file, with real files; giving them away needs root.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};

use nix::unistd::mkfifo;

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn write(path: &Path, mode: u32) {
    fs::write(path, "content").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn read(path: &Path) -> Result<String, TrustError> {
    let (mut file, _) = open(path, Owners::of_this_process())?;
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    Ok(text)
}

/// What is complained of, and where.
fn complaint(path: &Path) -> (PathBuf, String) {
    match read(path) {
        Err(TrustError::Untrusted(untrusted)) => (untrusted.path.clone(), untrusted.to_string()),
        other => panic!("{}: {other:?}", path.display()),
    }
}

/// As root, another user's number; without root nothing can be given away.
fn stranger() -> Option<u32> {
    if !Uid::effective().is_root() {
        println!("SKIPPED: needs root");
        return None;
    }
    Some(User::from_name("nobody").unwrap().unwrap().uid.as_raw())
}

#[test]
fn ones_own_file_is_read_whoever_else_may_read_it() {
    let folder = folder();
    let file = folder.path().join("file");
    for mode in [0o400, 0o600, 0o640, 0o644, 0o755] {
        let _ = fs::remove_file(&file);
        write(&file, mode);
        assert_eq!(read(&file).unwrap(), "content", "{mode:o}");
    }
}

#[test]
fn what_group_or_others_may_write_is_refused_and_named_with_the_remedy() {
    let folder = folder();
    let file = folder.path().join("a file");
    for mode in [0o620, 0o602, 0o666] {
        write(&file, mode);
        let (path, message) = complaint(&file);
        assert_eq!(path, file);
        assert!(message.contains(&format!("with mode {mode:04o}")), "{message}");
        assert!(message.ends_with(&format!("run: chmod go-w '{}'", file.display())), "{message}");
    }
}

#[test]
fn a_folder_on_the_way_that_others_may_write_to_is_as_bad_unless_it_is_sticky() {
    let folder = folder();
    let (outer, inner) = (folder.path().join("outer"), folder.path().join("outer/inner"));
    fs::create_dir_all(&inner).unwrap();
    write(&inner.join("file"), 0o600);
    for (mode, is_good) in [(0o755, true), (0o775, false), (0o757, false), (0o1777, true), (0o700, true)] {
        fs::set_permissions(&outer, fs::Permissions::from_mode(mode)).unwrap();
        match is_good {
            true => assert!(read(&inner.join("file")).is_ok() && names_in(&inner, Owners::of_this_process()).is_ok(), "{mode:o}"),
            false => assert_eq!(complaint(&inner.join("file")).0, outer, "{mode:o}"),
        }
    }
}

#[test]
fn what_belongs_to_somebody_else_is_refused_also_in_a_sticky_folder() {
    let Some(stranger) = stranger() else { return };
    let folder = folder();
    let sticky = folder.path().join("sticky");
    fs::create_dir(&sticky).unwrap();
    fs::set_permissions(&sticky, fs::Permissions::from_mode(0o1777)).unwrap();
    let file = sticky.join("file");
    write(&file, 0o600);
    lchown(&file, Some(stranger), None).unwrap();
    let (path, message) = complaint(&file);
    assert_eq!(path, file);
    assert!(
        message.contains("it belongs to nobody:") && message.ends_with(&format!("chown -h root {}", file.display())),
        "{message}"
    );
    // A folder of theirs that nobody may write to but they.
    lchown(&file, Some(0), None).unwrap();
    lchown(&sticky, Some(stranger), None).unwrap();
    assert_eq!(complaint(&file).0, sticky);
    let theirs = Owners::of_this_process().and(Uid::from_raw(stranger));
    assert!(open(&file, theirs).is_ok());
}

#[test]
fn links_are_followed_where_nobody_else_could_have_laid_them() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("real/deep")).unwrap();
    write(&at("real/deep/file"), 0o600);
    symlink(at("real"), at("absolute")).unwrap();
    symlink("../real/./deep", at("real/relative")).unwrap();
    symlink("deep/../relative/file", at("real/winding")).unwrap();
    for path in ["absolute/deep/file", "real/relative/file", "absolute/winding"] {
        let (_, real) = open(&at(path), Owners::of_this_process()).unwrap();
        assert_eq!((read(&at(path)).unwrap().as_str(), real), ("content", at("real/deep/file")), "{path}");
    }
    symlink(at("circle"), at("circle")).unwrap();
    assert!(
        matches!(read(&at("circle")), Err(TrustError::Unreadable { error, .. }) if error.raw_os_error() == Some(nix::libc::ELOOP))
    );
    // What a link leads through is part of the way.
    fs::set_permissions(at("real"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(complaint(&at("absolute/deep/file")).0, at("real"));
    fs::set_permissions(at("real"), fs::Permissions::from_mode(0o755)).unwrap();
    let Some(stranger) = stranger() else { return };
    lchown(at("absolute"), Some(stranger), None).unwrap();
    assert_eq!(complaint(&at("absolute/deep/file")).0, at("absolute"));
    // Not even whoever else is trusted may lay one.
    assert!(open(&at("absolute/deep/file"), Owners::of_this_process().and(Uid::from_raw(stranger))).is_err());
}

#[test]
fn what_is_no_file_is_refused_without_waiting_for_it() {
    let folder = folder();
    let pipe = folder.path().join("pipe");
    mkfifo(&pipe, Mode::from_bits_truncate(0o600)).unwrap();
    for path in [pipe.as_path(), folder.path(), Path::new("/proc/version/x"), Path::new("/")] {
        assert!(matches!(read(path), Err(TrustError::Unreadable { .. })), "{}", path.display());
    }
    assert!(read(&folder.path().join("absent")).unwrap_err().is_absent());
    assert!(matches!(names_in(&pipe, Owners::of_this_process()), Err(TrustError::Unreadable { .. })));
    let names = names_in(folder.path(), Owners::of_this_process()).unwrap();
    assert_eq!(names, ["pipe"]);
}
