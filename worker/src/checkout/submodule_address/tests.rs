//! What a `.gitmodules` may ask for, and what it gets.

use super::*;

const HTTPS: &str = "https://git.example.org/o/n.git";
const SSH: &str = "git@git.example.org:o/n.git";

/// A clone with everything that could leak.
fn clone(address: &str) -> Remote {
    let token = crate::git::Helper::of("https://git.example.org/o/n.git", &"token".parse().unwrap(), Path::new("/etc"), None);
    let (known_hosts, ca_file) = (Some("/known_hosts".into()), Some("/ca".into()));
    Remote { address: address.to_owned(), deploy_key: Some("/key".into()), known_hosts, token, ca_file }
}

/// The address, and what goes there: `k`ey, `t`oken, `c`a file.
fn resolved(address: &str, text: &str, from_fork: bool) -> Result<String, String> {
    let remote = resolve(&clone(address), address, text, from_fork)?;
    let goes = [("k", remote.deploy_key.is_some()), ("t", remote.token.is_some()), ("c", remote.ca_file.is_some())];
    let goes: String = goes.iter().filter(|(_, goes)| *goes).map(|(letter, _)| *letter).collect();
    Ok(format!("{} {goes}", remote.address).trim_end().to_owned())
}

#[test]
fn an_own_submodule_of_the_same_host_has_what_the_clone_has_and_another_hosts_nothing() {
    for (clone, text, expected) in [
        (HTTPS, "../lib.git", "https://git.example.org/o/lib.git tc"),
        (HTTPS, "./lib", "https://git.example.org/o/n.git/lib tc"),
        (HTTPS, "../../p/./lib.git/", "https://git.example.org/p/lib.git tc"),
        (HTTPS, "https://git.example.org/p/lib.git", "https://git.example.org/p/lib.git tc"),
        (HTTPS, "https://GIT.example.org:443/p/lib.git", "https://git.example.org:443/p/lib.git tc"),
        (HTTPS, "git@git.example.org:p/lib.git", "https://git.example.org/p/lib.git tc"),
        (HTTPS, "https://mallory@git.example.org/p/lib.git", "https://git.example.org/p/lib.git tc"),
        (HTTPS, "https://git.example.org:8443/p/lib.git", "https://git.example.org:8443/p/lib.git"),
        (HTTPS, "https://evil.test/p/lib.git", "https://evil.test/p/lib.git"),
        (HTTPS, "https://git.example.org@evil.test/p/lib.git", "https://evil.test/p/lib.git"),
        (SSH, "../lib.git", "git@git.example.org:o/lib.git k"),
        (SSH, "ssh://git@git.example.org/p/lib.git", "ssh://git@git.example.org/p/lib.git k"),
        (SSH, "https://git.example.org/p/lib.git", "https://git.example.org/p/lib.git"),
        ("git://git.example.org/o/n", "../lib", "git://git.example.org/o/lib"),
    ] {
        assert_eq!(resolved(clone, text, false).as_deref(), Ok(expected), "{clone} {text}");
    }
}

#[test]
fn a_forks_submodule_is_what_anybody_may_read_on_the_same_host() {
    for (clone, text, expected) in [
        (HTTPS, "../lib.git", "https://git.example.org/o/lib.git c"),
        (SSH, "../lib.git", "https://git.example.org/o/lib.git"),
        (SSH, "https://git.example.org/p/lib.git", "https://git.example.org/p/lib.git"),
    ] {
        assert_eq!(
            resolved(clone, text, true).map(|said| said.replace(" c", "")).as_deref(),
            Ok(expected.trim_end_matches(" c")),
            "{clone} {text}"
        );
    }
    for text in [
        "https://evil.test/p/lib.git",
        "https://127.0.0.1/p/lib.git",
        "git@evil.test:p/lib",
        "ssh://git@git.example.org:2222/p/lib",
    ] {
        assert!(resolved(HTTPS, text, true).is_err() && resolved(SSH, text, true).is_err(), "{text}");
    }
}

#[test]
fn nothing_else_is_fetched() {
    for text in [
        "ext::sh -c touch% /tmp/x",
        "--upload-pack=touch /tmp/x",
        "-u",
        "../../../x",
        "../../..",
        "https://",
        "https://h",
        "file:///etc/x",
        "/etc/x",
        "fd::17/x",
        "http://git.example.org/o/lib",
        "git://git.example.org/o/lib",
        "ssh://-oProxyCommand=x/lib",
        "-oProxyCommand=x:lib",
        "ssh://-x@git.example.org/lib",
        "git@git.example.org:-lib",
        "ssh://root@git.example.org/lib",
        "git@other.example:lib",
        "../%2e%2e/%2E%2E/x",
        "../lib\nx",
        "../lib\\..\\x",
        "https://git.example.org/o/../../x",
        "C:\\x",
        "lib",
        "",
        "ftp://h/x",
        "../lib?x",
        "https://h:x/lib",
    ] {
        for clone in [SSH, "/srv/git/o/n.git"] {
            assert!(resolved(clone, text, false).is_err(), "{clone} {text:?}: {:?}", resolved(clone, text, false));
        }
    }
    for text in [
        "ssh://root@git.example.org:22022/lib",
        "http://git.example.org/o/lib",
        "/etc/x",
        "file:///etc/x",
        "https://git.example.org/o/../../x",
    ] {
        assert!(resolved(HTTPS, text, false).is_err(), "{text:?}");
    }
}

#[test]
fn on_this_machine_only_what_lies_beside_the_clone_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["git/o/n.git", "git/o/lib.git", "git/private/x.git"] {
        std::fs::create_dir_all(at(name)).unwrap();
    }
    std::os::unix::fs::symlink(at("git/private"), at("git/o/link")).unwrap();
    let clone = at("git/o/n.git").display().to_string();
    let lib = at("git/o/lib.git").canonicalize().unwrap().display().to_string();
    for text in
        ["../lib.git".to_owned(), at("git/o/lib.git").display().to_string(), format!("file://{}", at("git/o/lib.git").display())]
    {
        assert_eq!(resolved(&clone, &text, false), Ok(lib.clone()), "{text}");
        assert!(resolved(&clone, &text, true).is_err(), "{text}");
    }
    for text in ["../../private/x.git", "../link/x.git", "../absent.git", "../../../../../../etc"] {
        assert!(resolved(&clone, text, false).is_err(), "{text}");
    }
}
