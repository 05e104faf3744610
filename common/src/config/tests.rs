//! Reading whole configurations: what holds, and every error at once with its place.

use std::fs;

use super::*;

mod jobs; // the keys of a job beyond its steps

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
    assert_eq!((config.receiver.listen, config.worker.slots), (vec!["127.0.0.1:8071".parse().unwrap()], 1));
    assert_eq!(config.receiver.metrics, None);
    assert!(config.mail.is_none());
}

#[test]
fn the_receiver_may_listen_at_several_addresses_and_each_is_checked() {
    let with = |listen: &str| MAIN.replace("\"127.0.0.1:8071\"", listen);
    let several = r#"["127.0.0.1:8071", "unix:/run/hookspool/receiver.sock"]"#;
    let receiver = load(&with(&format!("{several}\nmetrics = \"[::1]:9171\"")), &[]).1.unwrap().receiver;
    let shown: Vec<String> = receiver.listen.iter().chain(&receiver.metrics).map(ToString::to_string).collect();
    assert_eq!(shown, ["127.0.0.1:8071", "unix:/run/hookspool/receiver.sock", "[::1]:9171"]);
    assert!(problems(&with("[]"), &[]).contains("hookspool.toml:8:10: `listen` is an empty list"));
    let wrong = problems(&with(r#"["127.0.0.1:8071", "localhost"]"#), &[]);
    assert!(wrong.contains("hookspool.toml:8:29: \"localhost\" is not an address"), "{wrong}");
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
fn steps_are_root_only_where_the_job_or_the_step_says_so() {
    let wrong = problems(&MAIN.replace("slots = 2", "slots = 2\nuser = \"root\""), &[]);
    assert!(
        wrong.contains("steps never run as root by default") && wrong.contains("in each job or step that needs root"),
        "{wrong}"
    );
    let repository = REPOSITORY.replace("user = \"builder\"", "user = \"root\"");
    assert_ne!(repository, REPOSITORY);
    let config = load(MAIN, &[("cmfive.toml", &repository)]).1.unwrap();
    assert!(config.repositories[0].jobs.iter().any(|job| job.user.as_deref() == Some("root")));
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
fn a_source_may_name_the_networks_that_it_takes_deliveries_from() {
    let with = |allow: &str| MAIN.replace("secret = [\"github-webhook\"]", &format!("secret = \"x\"\nallow_from = {allow}"));
    assert_eq!(load(MAIN, &[]).1.unwrap().sources[0].allow_from, None);
    let config = load(&with(r#"["192.30.252.0/22", "2a0a:a440::/29"]"#), &[]).1.unwrap();
    let networks = ["192.30.252.0/22", "2a0a:a440::/29"].map(|network| network.parse().unwrap());
    assert_eq!(config.sources[0].allow_from.as_deref(), Some(&networks[..]));
    insta::assert_snapshot!(problems(&with(r#"["192.30.252.0/33", "github.com"]"#), &[]));
    assert!(problems(&with("[]"), &[]).contains("/hookspool.toml:16:14: `allow_from` lists no network"));
    assert!(problems(&with("4"), &[]).contains("`allow_from` must be"));
}

#[test]
fn a_source_without_secret_or_beside_another_on_its_path_is_refused() {
    let none = problems(&MAIN.replace("[\"github-webhook\"]", "[]"), &[]);
    assert!(none.contains("/hookspool.toml:15:10: `secret` is an empty list") && none.contains("1 error"), "{none}");
    let other = |path: &str| {
        let second = format!("[[source]]\nname = \"other\"\nprovider = \"github\"\nsecret = \"s\"\npath = \"{path}\"\n[worker]");
        problems(&MAIN.replace("[worker]", &second), &[])
    };
    assert!(other("/hooks/github").contains("two sources with the path /hooks/github"), "{}", other("/hooks/github"));
    let facts = "[source.facts]\nevent = \"service\"\nrepository = \"github.com/octo/env\"\n";
    let crossing = format!(
        "{}[[source]]\nname = \"other\"\nprovider = \"generic\"\nsecret = \"s\"\npath = \"/{{group}}/web\"\n{facts}",
        with_generic(facts)
    );
    let crossing = problems(&crossing, &[]);
    assert!(crossing.contains("could be for this source and for the one with the path /deploy/{service}"), "{crossing}");
}

#[test]
fn proxies_are_believed_in_one_header() {
    let with = |header: &str| MAIN.replace("trusted_proxies", &format!("proxy_header = \"{header}\"\ntrusted_proxies"));
    assert_eq!(load(MAIN, &[]).1.unwrap().receiver.proxy_header, ProxyHeader::XForwardedFor);
    assert_eq!(load(&with("Forwarded"), &[]).1.unwrap().receiver.proxy_header, ProxyHeader::Forwarded);
    assert!(problems(&with("X-Real-IP"), &[]).contains("\"X-Real-IP\" is not a header that names clients"));
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

/// A generic source with these lines.
fn with_generic(lines: &str) -> String {
    let source = "name = \"deploy\"\nprovider = \"generic\"\npath = \"/deploy/{service}\"\nsecret = \"deploy\"\n";
    format!("[[source]]\n{source}{lines}")
}

#[test]
fn a_generic_source_says_how_it_proves_itself_and_where_the_facts_are() {
    use crate::event::Kind;
    use crate::forges::{Dialect, Encoding, Fact, Origin, Proving};
    let lines = "signature = { header = \"X-Sign\", encoding = \"base64\", algorithm = \"sha512\" }\n\
                 timestamp = { header = \"X-Time\", tolerance = \"1m\" }\nid = \"X-Id\"\nrepeats = true\n\
                 [source.facts]\nevent = \"service\"\nrepository = \"github.com/octo/env\"\n\
                 service = { parameter = \"service\" }\naction = { pointer = \"/action\" }\n";
    let config = load(&with_generic(lines), &[]).1.unwrap();
    let Dialect::Generic(generic) = &config.sources[0].dialect else { panic!("not generic") };
    let Proving::Hmac { header, encoding, timestamp, .. } = &generic.proving else { panic!("no HMAC") };
    assert_eq!((header.as_str(), *encoding), ("x-sign", Encoding::Base64));
    assert_eq!(timestamp.as_ref().map(|time| (time.header.as_str(), time.tolerance.as_secs())), Some(("x-time", 60)));
    assert!(generic.repeats && generic.id_header.as_deref() == Some("x-id") && generic.facts.event == Kind::Service);
    let service = Fact { origin: Origin::Path { before: "/deploy/".len(), after: 0 }, prefix: String::new() };
    assert!(generic.facts.picked.contains(&("service", service)));
    let short = with_generic("[source.facts]\nevent = \"push\"\nrepository = { pointer = \"/url\" }\n");
    let config = load(&short, &[]).1.unwrap();
    let Dialect::Generic(generic) = &config.sources[0].dialect else { panic!("not generic") };
    assert!(matches!(&generic.proving, Proving::Hmac { header, .. } if header == "x-hub-signature-256"));
}

#[test]
fn a_repository_may_have_several_sources() {
    let other =
        MAIN.replace("[worker]", "[[source]]\nname = \"other\"\nprovider = \"github\"\npath = \"/o\"\nsecret = \"s\"\n[worker]");
    let both = REPOSITORY.replace("source = \"github\"", "source = [\"github\", \"other\"]");
    let config = load(&other, &[("a.toml", &both)]).1.unwrap();
    let name = config.repositories[0].name.clone();
    for source in ["github", "other"] {
        assert!(config.repository(&source.parse().unwrap(), &name).is_some(), "{source}");
    }
    let twice = problems(&other, &[("a.toml", &both), ("b.toml", REPOSITORY)]);
    assert!(twice.contains("is configured in") && twice.contains("1 error"), "{twice}");
    let none = problems(MAIN, &[("a.toml", &REPOSITORY.replace("source = \"github\"", "source = []"))]);
    assert!(none.contains("a.toml:3:10: `source` is an empty list"), "{none}");
}

/// The source of a Pact Broker with these lines.
fn with_pact_broker(lines: &str) -> String {
    format!("[[source]]\nname = \"pact\"\nprovider = \"pact-broker\"\npath = \"/hooks/pact\"\nsecret = \"pact\"\n{lines}")
}

#[test]
fn a_pact_brokers_source_says_which_repository_each_pacticipant_has() {
    use crate::forges::Reading;
    let lines =
        "[source.repositories]\n\"Order API\" = \"github.com/octo/orders\"\nShop = \"https://github.com/octo/shop.git\"\n";
    let config = load(&with_pact_broker(lines), &[]).1.unwrap();
    let repository = |event: &str, provider: &str| {
        let body = format!(r#"{{"eventName": "{event}", "consumerName": "Shop", "providerName": "{provider}"}}"#);
        match config.sources[0].read(&Default::default(), body.as_bytes()).unwrap() {
            Reading::Events(events) => events[0].repository.as_ref().map(ToString::to_string),
            Reading::Nothing(reason) => panic!("{reason}"),
        }
    };
    assert_eq!(repository("contract_published", "Order API").as_deref(), Some("github.com/octo/orders"));
    assert_eq!(repository("provider_verification_failed", "Order API").as_deref(), Some("github.com/octo/shop"));
    assert_eq!(repository("contract_published", "order api"), None);
}

#[test]
fn a_pact_broker_whose_repositories_are_not_known_is_refused() {
    insta::assert_snapshot!(problems(&with_pact_broker(""), &[]));
    let wrong = "[source.repositories]\n\"Order API\" = \"orders\"\nShop = 1\n";
    insta::assert_snapshot!(problems(&with_pact_broker(wrong), &[]));
    let elsewhere = with_pact_broker("[source.repositories]\nShop = \"github.com/octo/shop\"\n").replace("pact-broker", "github");
    insta::assert_snapshot!(problems(&elsewhere, &[]));
}

#[test]
fn what_a_generic_source_cannot_mean_is_refused() {
    let two = "token = { header = \"X Y\" }\nsignature = \"standard-webhooks\"\n\
               [source.facts]\nevent = \"issue\"\nsha = { pointer = \"a\", header = \"b\" }\nref = { pointer = \"a~2\" }\n\
               service = { parameter = \"name\" }\naction = {}\ncolour = \"red\"\n";
    insta::assert_snapshot!(problems(&with_generic(two), &[]));
    let sha1 =
        "signature = { header = \"X-S\", algorithm = \"sha1\" }\n[source.facts]\nevent = \"push\"\nrepository = \"h/o/n\"\n";
    insta::assert_snapshot!(problems(&with_generic(sha1), &[]));
    let insecure = sha1.replace("\"sha1\"", "\"sha1\", insecure = true");
    assert!(load(&with_generic(&insecure), &[]).1.is_ok());
    let path = with_generic("").replace("generic", "github").replace("{service}", "{a}/{b}");
    insta::assert_snapshot!(problems(&path, &[]));
    let constants = "[source.facts]\nevent = \"push\"\nrepository = \"shop\"\nref = \"main\"\n";
    insta::assert_snapshot!(problems(&with_generic(constants), &[]));
    let unused = with_generic("").replace("generic", "github");
    insta::assert_snapshot!(problems(&unused, &[]));
}

/// What is wrong with a job of these lines.
fn problems_of_job(lines: &str) -> String {
    problems(
        MAIN,
        &[("a.toml", &format!("repository = 'h/o/n'\nsource = 'github'\n[[job]]\nname = 'a'\nbuild = 'x'\n{lines}\n"))],
    )
}

#[test]
fn a_job_may_run_by_the_clock_alone_or_for_events_too() {
    let of = |lines: &str| {
        let repository =
            format!("repository = 'h/o/n'\nsource = 'github'\nreconcile = '10m'\n[[job]]\nname = 'a'\nbuild = 'x'\n{lines}\n");
        let config = load(MAIN, &[("a.toml", &repository)]).1.unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(config.repositories[0].reconcile, Some(std::time::Duration::from_secs(600)));
        let job = config.repositories[0].jobs[0].clone();
        (job.when.0.len(), job.scheduled.unwrap())
    };
    let (conditions, scheduled) = of("schedule = '0 3 * * *'");
    assert_eq!((conditions, scheduled.zone, scheduled.catch_up), (0, None, false));
    let both =
        "schedule = '@daily'\ntimezone = 'Europe/Berlin'\ncatch_up = true\nwhen = [{event = 'push'}, {event = 'schedule'}]";
    let (conditions, scheduled) = of(both);
    assert_eq!((conditions, scheduled.zone.unwrap().as_str(), scheduled.catch_up), (2, "Europe/Berlin", true));
}

#[test]
fn a_schedule_that_is_none_is_shown_in_its_place_with_what_to_write() {
    let one =
        "repository = 'h/o/n'\nsource = 'github'\nreconcile = '1h'\n[[job]]\nname = 'a'\nbuild = 'x'\nschedule = '@daily'\n";
    let main = MAIN.to_owned() + "[[source]]\nname = 'other'\nprovider = 'github'\npath = '/other'\nsecret = ['s']\n";
    let twins = problems(&main, &[("a.toml", one), ("b.toml", &one.replace("'github'", "'other'"))]);
    let shown = [
        problems_of_job("schedule = '0 0 30 2 *'\ntimezone = 'Berlin'"),
        problems_of_job("when = {event = 'push'}\ntimezone = 'Europe/Berlin'\ncatch_up = true"),
        problems_of_job("when = [{event = 'schedule'}]"),
        problems_of_job("schedule = '@daily'\nwhen = [{event = 'schedule', branch = 'dev'}]"),
        problems_of_job(""),
        problems(MAIN, &[("a.toml", &one.replace("1h", "30s"))]),
        twins,
    ];
    insta::assert_snapshot!(shown.join("\n\n"));
}
