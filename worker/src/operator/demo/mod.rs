//! `hookspool demo`: the main job on real input, with the real programs, in a folder of its own.
//!
//! It tells what it observes, and fails as soon as something is not as it should be.

mod installation; // the configuration, the folders, and who may write where
pub(super) mod laptop; // somebody's clone, from which they push
mod programs; // the receiver and the worker, started as they would be

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hookspool_common::clock::{Clock, SystemClock};
use hookspool_common::config::{Config, DEFAULT_PATH};
use hookspool_common::forges::{self, Dialect, Provider};
use hookspool_common::ledger::{NoticeState, RunQuery, RunState};
use hookspool_common::names::RunId;
use hookspool_common::secrets::Secret;
use serde_json::Value;

use super::post::{Answer, Destination, post};
use super::show::Shown;
use super::view::{notice_text, print_columns, shown, took};
use super::{Exit, options, stored};
use crate::folders::Folders;
use installation::Installation;
use laptop::Laptop;
use programs::{Receiver, run_pass};

/// How long anything here may take before the demo counts it as not observed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A delivery as GitHub would send it.
struct Sent {
    id: String,
    body: Vec<u8>,
}

struct Demo {
    installation: Installation,
    config: Config,
    folders: Folders,
    receiver: Receiver,
}

pub(super) fn demo(options: &options::Demo) -> anyhow::Result<Exit> {
    let installation = Installation::make(options.within.as_deref())?;
    let folder = installation.folder.clone();
    println!("Hookspool's main job, with the real programs, in {}\n", folder.display());
    let config = Config::load(&installation.config_file)?;
    let folders = Folders::new(&config.paths);
    let receiver = Receiver::start(&installation)?;
    let mut demo = Demo { installation, config, folders, receiver };
    let observed = demo.observe();
    demo.receiver.stop();
    match observed {
        Ok(first) => {
            farewell(&demo, &first);
            Ok(Exit::Success)
        }
        Err(error) => Err(error.context(format!("not as it should be; everything is in {}", folder.display()))),
    }
}

impl Demo {
    /// The whole story; gives the first delivery.
    fn observe(&mut self) -> anyhow::Result<Sent> {
        let laptop = Laptop::set_up(&self.installation)?;
        let first = self.a_push_that_is_deployed(&laptop)?;
        self.a_push_whose_test_fails(&laptop)?;
        self.the_first_delivery_again(&first)?;
        self.a_forged_signature(&first)?;
        Ok(first)
    }

    fn a_push_that_is_deployed(&self, laptop: &Laptop) -> anyhow::Result<Sent> {
        heading("1. A push to main");
        let before = self.site()?;
        let body = laptop.push("Sell apples", "apples")?;
        let sent = Sent { id: uuid::Uuid::now_v7().to_string(), body };
        say(&format!("git push to {}", self.installation.forge.display()));
        let answer = self.deliver(&sent, &self.installation.secret)?;
        expect_status(&answer, 202, "accepted")?;
        let run = self.work_until_told(RunId::new(1))?;
        ensure!(run.run.state == RunState::Succeeded, "run 1 is {}, not succeeded", run.run.state);
        let after = self.site()?;
        ensure!(before.is_none() && after.as_deref().is_some_and(|page| page.contains("apples")), "the site was not deployed");
        say("the deploy changed site/index.html:");
        print_quoted(after.as_deref().unwrap_or_default());
        let mail = self.mail(1)?;
        ensure!(mail.contains("Subject: [octo/shop] site succeeded on main"), "the pusher's mail does not say that it succeeded");
        Ok(sent)
    }

    fn a_push_whose_test_fails(&self, laptop: &Laptop) -> anyhow::Result<()> {
        heading("2. A push whose test fails");
        let before = self.site()?;
        let body = laptop.push("Sell nothing", "")?;
        let answer = self.deliver(&Sent { id: uuid::Uuid::now_v7().to_string(), body }, &self.installation.secret)?;
        expect_status(&answer, 202, "accepted")?;
        let run = self.work_until_told(RunId::new(2))?;
        ensure!(run.run.state == RunState::Failed, "run 2 is {}, not failed", run.run.state);
        ensure!(!run.steps.iter().any(|step| step.name == "deploy"), "the deploy was run after a failed test");
        ensure!(self.site()? == before, "the site changed although the test failed");
        say("the deploy was not run: site/index.html is as it was");
        let mail = self.mail(2)?;
        ensure!(mail.contains("test exited with status 1"), "the mail does not say what failed");
        ensure!(mail.contains("FAIL: the page sells nothing"), "the mail does not hold the end of the failing output");
        Ok(())
    }

    fn the_first_delivery_again(&self, first: &Sent) -> anyhow::Result<()> {
        heading("3. The first delivery again");
        let answer = self.deliver(first, &self.installation.secret)?;
        expect_status(&answer, 200, "duplicate")?;
        self.expect_nothing_new("nothing ran")
    }

    fn a_forged_signature(&self, first: &Sent) -> anyhow::Result<()> {
        heading("4. A forged signature");
        let forged = Sent { id: uuid::Uuid::now_v7().to_string(), body: first.body.replace_first(b"apples", b"poison") };
        let answer = self.deliver(&forged, &Secret::new(b"a guess".to_vec()))?;
        expect_status(&answer, 401, "unauthorized")?;
        let ledger = stored::ledger(&self.config)?.context("the ledger is gone")?;
        self.expect_nothing_new("nothing was stored, nothing ran")?;
        ensure!(ledger.deliveries(&forged.id)?.is_empty(), "the forged delivery was stored");
        Ok(())
    }

    fn deliver(&self, sent: &Sent, secret: &Secret) -> anyhow::Result<Answer> {
        let delivery = forges::Sent { event: "push", id: &sent.id, body: &sent.body, at: SystemClock.now() };
        let headers = Dialect::Forge(Provider::Github).headers_of_a_delivery(&delivery, secret);
        let answer = post(&Destination::Url(self.receiver.url.clone()), &headers, &sent.body)?;
        say(&format!("POST {} ({} bytes, X-GitHub-Delivery {})", self.receiver.url, sent.body.len(), sent.id));
        say(&format!("the receiver answers {} {}", answer.status, answer.body.trim_end()));
        Ok(answer)
    }

    /// Runs passes, as cron would, until the run has ended and its mail has left.
    fn work_until_told(&self, run: RunId) -> anyhow::Result<Shown> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            run_pass(&self.installation)?;
            if let Some(shown) = self.told(run)? {
                print_run(&shown)?;
                return Ok(shown);
            }
            ensure!(
                Instant::now() < deadline,
                "run {run} has not ended, or its mail has not left, within {} s",
                PATIENCE.as_secs()
            );
            // A runner works by itself; cron would look again after a minute, a person sooner.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The run, once it has ended and everybody was told.
    fn told(&self, run: RunId) -> anyhow::Result<Option<Shown>> {
        let Some(ledger) = stored::ledger(&self.config)? else { return Ok(None) };
        let Some(known) = ledger.run(run)?.filter(|run| run.state.is_final()) else { return Ok(None) };
        let shown = Shown::of(&self.config, &*ledger, &self.folders, known)?;
        let sent = shown.notices.iter().all(|notice| matches!(notice.state, NoticeState::Sent(_)));
        Ok((sent && !shown.notices.is_empty()).then_some(shown))
    }

    fn expect_nothing_new(&self, words: &str) -> anyhow::Result<()> {
        run_pass(&self.installation)?;
        let ledger = stored::ledger(&self.config)?.context("the ledger is gone")?;
        let (runs, mails) = (ledger.runs(&RunQuery::newest(10))?.len(), mails_in(&self.installation.maildir)?.len());
        ensure!((runs, mails) == (2, 2), "there are {runs} runs and {mails} mails; two each were expected");
        say(&format!("a pass looks: {words} (still 2 runs, 2 mails)"));
        Ok(())
    }

    fn site(&self) -> anyhow::Result<Option<String>> {
        let page = self.installation.site.join("index.html");
        if !page.exists() {
            return Ok(None);
        }
        fs::read_to_string(&page).map(Some).with_context(|| format!("cannot read {}", page.display()))
    }

    /// Shows the newest of `count` mails.
    fn mail(&self, count: usize) -> anyhow::Result<String> {
        let mails = mails_in(&self.installation.maildir)?;
        ensure!(mails.len() == count, "there are {} mails; {count} were expected", mails.len());
        let newest = mails.last().context("there is no mail")?;
        let text = fs::read_to_string(newest).with_context(|| format!("cannot read {}", newest.display()))?;
        say(&format!("the mail, as delivered to {}:", self.installation.maildir.display()));
        print_quoted(&text);
        // A long header is folded (RFC 5322 section 2.2.3).
        Ok(text.replace("\n ", " "))
    }
}

/// Replacing in bytes, for a body that is no text until it was verified.
trait ReplaceFirst {
    fn replace_first(&self, from: &[u8], to: &[u8]) -> Vec<u8>;
}

impl ReplaceFirst for Vec<u8> {
    fn replace_first(&self, from: &[u8], to: &[u8]) -> Vec<u8> {
        match self.windows(from.len()).position(|window| window == from) {
            Some(at) => [&self[..at], to, &self[at + from.len()..]].concat(),
            None => self.clone(),
        }
    }
}

/// The mails of a maildir, oldest first.
fn mails_in(maildir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = maildir.join("new");
    let mut mails = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        mails.push((entry.metadata()?.modified()?, entry.path()));
    }
    mails.sort();
    Ok(mails.into_iter().map(|(_, path)| path).collect())
}

fn expect_status(answer: &Answer, status: u16, word: &str) -> anyhow::Result<()> {
    let body: Value = serde_json::from_str(&answer.body).context("the receiver's answer is not JSON")?;
    ensure!(answer.status == status && body["status"] == word, "expected {status} {word}, not {} {}", answer.status, answer.body);
    Ok(())
}

fn print_run(run: &Shown) -> anyhow::Result<()> {
    let reason = run.run.reason.as_deref().map(|reason| format!(": {}", shown(reason))).unwrap_or_default();
    say(&format!("the worker ran job `{}` as run {}: {}{reason}", run.run.job, run.run.id, run.run.state));
    let row = |step: &hookspool_common::ledger::StepRecord| {
        let result = step.result.as_ref().map(|result| shown(&result.to_string())).unwrap_or_default();
        vec![format!("     {}", step.name), took(Some(step.started_at), step.ended_at), result]
    };
    print_columns(&mut std::io::stdout().lock(), &run.steps.iter().map(row).collect::<Vec<_>>())?;
    for notice in &run.notices {
        say(&format!("mail {}", notice_text(notice)));
    }
    Ok(())
}

fn heading(text: &str) {
    println!("{text}");
}

fn say(text: &str) {
    println!("   {text}");
}

fn print_quoted(text: &str) {
    for line in text.lines() {
        println!("     | {line}");
    }
}

fn farewell(demo: &Demo, first: &Sent) {
    let file = &demo.installation.config_file;
    let program = std::env::current_exe().unwrap_or_else(|_| "hookspool".into());
    let command = |words: &str| println!("  {} --config {} {words}", program.display(), file.display());
    println!("\nAll of it was observed. It is still there to be looked into:");
    command("runs");
    command("show 2");
    command("log 2");
    command(&format!("trace {}", first.id));
    println!("The folder is {}; remove it when you have seen enough.", demo.installation.folder.display());
    println!("A real installation keeps its configuration in {DEFAULT_PATH}.");
}
