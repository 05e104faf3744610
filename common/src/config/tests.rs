//! Reading whole configurations: what holds, and every error at once with its place.

use std::fs;

use super::*;

const MAIN: &str = r#"
[paths]
spool = "/tmp/x/spool"
state = "/tmp/x/state"
logs = "/tmp/x/logs"

[receiver]
listen = "127.0.0.1:8071"
trusted_proxies = ["127.0.0.0/8"]

[[source]]
name = "github"
provider = "github"
path = "/hooks/github"
secret = ["github-webhook"]

[worker]
slots = 2

[mail]
from = "CI <ci@example.org>"
smtp = "smtp://localhost:25"
allow = ["@example.org"]
fallback = "ops@example.org"
"#;

const REPOSITORY: &str = r#"
repository = "github.com/2pisoftware/cmfive"
source = "github"
clone = "git@github.com:2pisoftware/cmfive.git"
deploy_key = "cmfive-deploy-key"

[[job]]
name = "image"
when = [{ event = "push", branch = "master" }, { event = "tag", tag = "v*" }]
build = "docker build --tag 2pisoftware/cmfive ."
deploy = "docker push 2pisoftware/cmfive"

[[job]]
name = "tests"
when = [{ event = "push", branch = "develop", paths = ["**", "!docs/**"] }]
build = "docker build --tag 2pisoftware/cmfive-dev ."
test = { run = "./run-tests", timeout = "30m" }
always = "./collect-artifacts"
user = "builder"
secrets = ["REGISTRY_PASSWORD"]
lane = { group = "cmfive-tests", on_new = "cancel-running" }
notify = { to = ["pusher"], on = "always" }
"#;

fn load(main: &str, repositories: &[(&str, &str)]) -> (tempfile::TempDir, Result<Config, Problems>) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("hookspool.toml"), main).unwrap();
    fs::create_dir(folder.path().join("repositories")).unwrap();
    for (name, text) in repositories {
        fs::write(folder.path().join("repositories").join(name), text).unwrap();
    }
    let config = Config::load(&folder.path().join("hookspool.toml"));
    (folder, config)
}

/// Every problem as it is shown, with the temporary folder's name taken out.
fn problems(main: &str, repositories: &[(&str, &str)]) -> String {
    let (folder, config) = load(main, repositories);
    config.unwrap_err().to_string().replace(&*folder.path().to_string_lossy(), "")
}

#[test]
fn the_designs_example_holds() {
    let config = load(MAIN, &[("cmfive.toml", REPOSITORY)]).1.unwrap();
    let repository = &config.repositories[0];
    assert_eq!(repository.name.as_str(), "github.com/2pisoftware/cmfive");
    let tests = repository.job(&"tests".parse().unwrap()).unwrap();
    let phases: Vec<_> = tests.steps.iter().map(|step| (step.phase, step.timeout.as_secs())).collect();
    assert_eq!(phases, [(Phase::Build, 3600), (Phase::Test, 1800), (Phase::Always, 3600)]);
    assert_eq!((tests.lane.on_new, tests.user.as_deref()), (OnNew::CancelRunning, Some("builder")));
    assert!(config.mail.unwrap().allows("Somebody@Example.org"));
}

#[test]
fn a_short_file_has_the_documented_defaults() {
    let main = "[[source]]\nname='g'\nprovider='github'\npath='/g'\nsecret='s'\n";
    let config = load(main, &[]).1.unwrap();
    assert_eq!(config.paths.spool, Path::new("/var/spool/hookspool"));
    assert_eq!((config.receiver.listen.to_string(), config.worker.slots), ("127.0.0.1:8071".to_owned(), 1));
    assert!(config.mail.is_none());
}

#[test]
fn the_spools_bounds_are_read_and_must_leave_room_to_prune() {
    let with = |lines: &str| MAIN.replace("[[source]]", &format!("{lines}\n[[source]]"));
    let lines = "spool_limit = \"64MiB\"\nspool_reserve = \"0B\"\n[receiver.retention]\nage = \"2d\"\nsize = \"63MiB\"";
    let spool = load(&with(lines), &[]).1.unwrap().receiver.spool;
    let kept_for = std::time::Duration::from_secs(2 * 24 * 60 * 60);
    assert_eq!(spool, Spool { limit: 64 << 20, reserve: 0, kept_for, kept_bytes: 63 << 20 });
    insta::assert_snapshot!(problems(&with("spool_limit = \"1GiB\"\nspool_reserve = \"5%\"\nretention = { days = 3 }"), &[]));
}

#[test]
fn three_errors_are_all_shown_with_their_lines() {
    let main = MAIN.replace("slots = 2", "slots = \"two\"").replace("provider = \"github\"", "provider = \"gihub\"");
    let repository = REPOSITORY.replace("30m", "30 minutes");
    insta::assert_snapshot!(problems(&main, &[("cmfive.toml", &repository)]));
}

#[test]
fn unknown_keys_are_refused_with_a_suggestion() {
    let main = MAIN.replace("fallback", "falback").replace("[worker]", "[woker]");
    let repository = REPOSITORY.replace("build =", "biuld =").replace("branch = \"master\"", "brach = \"master\"");
    insta::assert_snapshot!(problems(&main, &[("cmfive.toml", &repository)]));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let repository = r#"
repository = "cmfive"
source = "gitlab"
clone = "--upload-pack=reboot"

[[job]]
name = "../x"
when = [{ event = "pusch" }, { event = "tag", branch = "x" }, { branch = "x" }]

[[job]]
name = "a"
when = []
build = ""

[[job]]
name = "a"
when = { event = "push", branch = "[" }
test = { run = "x", argv = ["y"] }
secrets = "A-B"
notify = { to = ["pushr", "x@"], on = "never" }
lane = { on_new = "replace" }
user = "-x"
"#;
    insta::assert_snapshot!(problems(MAIN, &[("a.toml", repository)]));
}

#[test]
fn syntax_errors_have_their_place() {
    insta::assert_snapshot!(problems("[receiver\nlisten = \n", &[("a.toml", "repository = \"x\n")]));
}

#[test]
fn mail_needs_a_safe_way_to_log_in() {
    let with = |smtp: &str| problems(&MAIN.replace("smtp://localhost:25", smtp), &[]);
    assert!(with("smtp+starttls://ci@mail.example.org").contains("has no password"));
    assert!(with("smtp://ci:hunter2@mail.example.org").contains("holds no secrets"));
    assert!(with("http://mail.example.org").contains("not a way to send mail"));
    let clear = MAIN.replace("\"smtp://localhost:25\"", "\"smtp://ci@mail.example.org\"\npassword = \"smtp\"");
    assert!(problems(&clear, &[]).contains("in the clear"));
    let good =
        MAIN.replace("\"smtp://localhost:25\"", "\"smtp+starttls://ci%40example.org@mail.example.org\"\npassword = \"smtp\"");
    let mail = load(&good, &[]).1.unwrap().mail.unwrap();
    let expected = Transport::Smtp {
        security: SmtpSecurity::StartTls,
        host: "mail.example.org".into(),
        port: 587,
        user: Some("ci@example.org".into()),
    };
    assert_eq!(mail.transport, expected);
}

#[test]
fn one_repository_in_two_files_is_refused() {
    let shown = problems(MAIN, &[("a.toml", REPOSITORY), ("b.toml", REPOSITORY)]);
    assert!(
        shown.contains("/repositories/b.toml: github.com/2pisoftware/cmfive is configured in /repositories/a.toml already"),
        "{shown}"
    );
}

#[test]
fn a_file_that_is_absent_says_so() {
    let problems = Config::load(Path::new("/nonexistent/hookspool.toml")).unwrap_err().to_string();
    assert!(problems.contains("/nonexistent/hookspool.toml: cannot read it") && problems.contains("--config"), "{problems}");
}
