//! Hookspool on a booted machine with systemd: installed by README's commands, woken by its units and by cron, with each run
//! a unit of its own that outlives whatever started it.
//!
//! All tests of this file share one machine, one after the other. Each leaves it as it found it.

mod crashes; // runners that die, and machines that do
mod running; // from a delivery to the end of its run
mod survival; // what happens to the worker, and not to its runs
mod waking; // what starts a pass

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use hookspool_tests::booted::{Installed, Machine};

/// A step that says that it began, waits for leave to go on, and ends with status 3.
const WAITS: &str = "out=/srv/out/$HOOKSPOOL_JOB; echo began >>$out.began; while ! test -e $out.go; do sleep 0.05; done; exit 3";

/// Jobs, each for the branch of its name.
fn jobs() -> String {
    let job = |name: &str, lines: &str| {
        format!("[[job]]\nname = \"{name}\"\nwhen = [{{ event = \"push\", branch = \"{name}\" }}]\n{lines}\n")
    };
    let waits = |name: &str| job(name, &format!("build = '''{WAITS}'''"));
    let waiting = ["stopped", "replaced", "cron", "first"].map(waits).concat();
    let waits_once = |name: &str| job(name, &format!("on_crash = \"fail\"\nbuild = '''{WAITS}'''"));
    let dying = ["asked", "lost", "cut", "half-started"].map(waits_once).concat();
    let others = [
        job("properties", &format!("limits = {{ cpu_weight = 50 }}\nbuild = '''{WAITS}'''")),
        job("exits", "build = \"exit 7\""),
        job("quick", "build = \"true\""),
        job("quick-after-power", "build = \"true\""),
        job("replayed", "build = \"true\""),
        job("timed", "build = \"true\""),
        job("socket", "build = \"true\""),
        job("second", "build = \"true\""),
        job("root", &format!("user = \"root\"\nbuild = '''{WAITS}'''")),
        job("secret", &format!("secrets = [\"TOKEN\"]\nbuild = '''printf %s \"$TOKEN\" | rev >/srv/out/secret; {WAITS}'''")),
        job(
            "hides",
            &format!(
                "on_crash = \"fail\"\nbuild = '''setsid sh -c 'env -i sh -c \"sleep 1000\" & exit'; sleep 1000 & {WAITS}'''"
            ),
        ),
        job("itself", "user = \"root\"\ndeploy = '''/srv/out/install-hookspool; echo deployed >/srv/out/itself; exit 5'''"),
        job("site", &format!("build = \"true\"\ndeploy = '''{WAITS}'''")),
        job("shop", &format!("build = \"true\"\ndeploy = '''{WAITS}'''")),
    ];
    waiting + &dying + &others.concat()
}

/// The machine, for one test at a time; `None` where there can be none.
fn machine() -> Option<MutexGuard<'static, Installed>> {
    static MACHINE: OnceLock<Option<Mutex<Installed>>> = OnceLock::new();
    let machine = MACHINE.get_or_init(|| {
        let machine = Machine::boot()?;
        machine.run("useradd --groups adm,video builder");
        Some(Mutex::new(Installed::on(machine, &jobs(), "")))
    });
    // A test that failed may have left it in any state, but says so itself.
    machine.as_ref().map(|machine| machine.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What each test begins with: a run of this job that waits.
fn a_run_that_waits(server: &Installed, job: &str) -> i64 {
    let run = server.push(job);
    server.machine.wait_until(&format!("test -s /srv/out/{job}.began"));
    run
}

/// Lets it go on.
fn release(server: &Installed, job: &str) {
    server.machine.run(&format!("touch /srv/out/{job}.go"));
}

/// The unit of a run.
fn unit(run: i64) -> String {
    format!("hookspool-run-{run}.service")
}

fn text(state: &str, reason: &str) -> (String, String) {
    (state.to_owned(), reason.to_owned())
}
