//! The receiver behind a real nginx with TLS, whose locations are those of `docs/examples/nginx.conf`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use hookspool_tests::nginx::Nginx;
use hookspool_tests::programs::{program, workspace};
use hookspool_tests::receiver::{Installation, Post, RunningReceiver, SOURCE_PATH};

const FORGE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);

/// How nginx reaches the receiver.
#[derive(Debug, Clone, Copy)]
enum Way {
    Tcp,
    Unix,
}

/// A receiver whose source takes deliveries from the forge alone, and nginx before it.
fn started(way: Way) -> Option<(Installation, RunningReceiver, Nginx)> {
    let installation = Installation::new().unwrap();
    match way {
        Way::Tcp => installation.write_config("127.0.0.1:0", "trusted_proxies = [\"127.0.0.1\"]").unwrap(),
        Way::Unix => {
            let folder = installation.path().join("run");
            fs::create_dir(&folder).unwrap();
            installation.give_to_user(&folder).unwrap();
            installation.write_config(&format!("unix:{}/receiver.sock", folder.display()), "").unwrap();
        }
    }
    installation.add_to_source(&format!("allow_from = [\"{FORGE}\"]")).unwrap();
    let receiver = installation.start().unwrap();
    let nginx = Nginx::start(receiver.address())?;
    Some((installation, receiver, nginx))
}

#[test]
fn the_example_for_nginx_proxy_is_a_compose_file_whose_command_the_receiver_knows() {
    let file = workspace().join("docs/examples/nginx-proxy.compose.yml");
    let Ok(output) = Command::new("docker-compose").arg("-f").arg(&file).arg("config").output() else {
        println!("SKIPPED: docker-compose is not installed");
        return;
    };
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for line in ["VIRTUAL_HOST: ci.example.org", "VIRTUAL_PORT: '8071'", "VIRTUAL_PATH: /hooks/", "- hookspool-receiver"] {
        assert!(shown.contains(line), "{shown}");
    }
    // A command line that is wrong is 2; a configuration that is not there is 4.
    let mut receiver = Command::new(program("hookspool-receiver"));
    let status = receiver.args(["--log-format", "json", "--config", "/nonexistent/hookspool.toml"]).output().unwrap().status;
    assert!(shown.contains("- --log-format\n    - json") && status.code() == Some(4), "{status}");
}

/// A signed push that is filled up with spaces.
fn push_of(bytes: usize) -> Post {
    let mut body = Post::push("master", 1).body().to_vec();
    body.resize(bytes, b' ');
    Post::signed("push", "large", body)
}

#[test]
fn a_delivery_over_tls_is_accepted_and_the_log_names_its_client() {
    for way in [Way::Tcp, Way::Unix] {
        let Some((installation, receiver, nginx)) = started(way) else { return };
        let (status, body) = nginx.post_from(FORGE, &Post::push("master", 1), None);
        assert_eq!(status, 202, "{way:?}: {body}");
        assert_eq!(installation.records().unwrap().len(), 1);
        receiver.stop().unwrap();
        assert!(installation.log().unwrap().contains(&format!("from {FORGE}: ")), "{way:?}");
    }
}

#[test]
fn what_a_client_says_of_itself_opens_no_source() {
    for way in [Way::Tcp, Way::Unix] {
        let Some((installation, receiver, nginx)) = started(way) else { return };
        let post = Post::push("master", 1);
        assert_eq!(nginx.post_from(STRANGER, &post, None).0, 403);
        for (name, value) in [("x-forwarded-for", FORGE.to_string()), ("forwarded", format!("for={FORGE}"))] {
            let (status, body) = nginx.post_from(STRANGER, &post.clone().and(name, value), None);
            assert_eq!((status, body.as_str()), (403, r#"{"status":"forbidden"}"#), "{way:?} {name}");
        }
        assert_eq!(installation.records().unwrap().len(), 0);
        receiver.stop().unwrap();
        let log = installation.log().unwrap();
        assert_eq!(log.matches(&format!("from {STRANGER}: ")).count(), 3, "{log}");
    }
}

#[test]
fn the_paths_that_gitops_callers_know_reach_the_receiver_and_others_do_not() {
    let installation = Installation::new().unwrap();
    installation.edit_config(SOURCE_PATH, "/api/v1/github_event").unwrap();
    let receiver = installation.start().unwrap();
    let Some(nginx) = Nginx::start(receiver.address()) else { return };
    let post = |path: &str| nginx.post_to(path, FORGE, &Post::push("master", 1), None);
    let (status, body) = post("/api/v1/github_event");
    assert_eq!(status, 202, "{body}");
    // There is no source for these, which the receiver itself has to say.
    for path in ["/deploy-all-changed", "/redeploy-and-update/shop", SOURCE_PATH] {
        assert_eq!(post(path), (404, r#"{"status":"not_found"}"#.to_owned()), "{path}");
    }
    for path in ["/", "/deploy-all-changed/more", "/elsewhere/hooks/github"] {
        let (status, body) = post(path);
        assert!(status >= 400 && body.contains("nginx"), "{path}: {status} {body}");
    }
}

#[test]
fn the_largest_body_goes_through_and_one_byte_more_does_not() {
    const MAX: usize = 25 * 1024 * 1024;
    let Some((installation, _receiver, nginx)) = started(Way::Tcp) else { return };
    assert_eq!(nginx.post_from(FORGE, &push_of(MAX + 1), None).0, 413);
    let (status, body) = nginx.post_from(FORGE, &push_of(MAX), None);
    assert_eq!(status, 202, "{body}");
    assert_eq!(installation.records().unwrap().len(), 1);
}

#[test]
fn a_slow_client_is_nginxs_matter() {
    let Some((installation, _receiver, nginx)) = started(Way::Tcp) else { return };
    let began = Instant::now();
    // By itself, the receiver takes ten seconds and no more.
    let (status, body) = nginx.post_from(FORGE, &push_of(120_000), Some(10_000));
    assert_eq!(status, 202, "{body}");
    assert!(began.elapsed() > Duration::from_secs(10), "it was not slow: {:?}", began.elapsed());
    assert_eq!(installation.records().unwrap().len(), 1);
}
