//! What became of a run, asked of the real `hookspool` as a person or a script would.

use std::io::Read;
use std::process::{Command, Output, Stdio};

use hookspool_common::names::RunId;
use hookspool_worker::packed_log;
use serde_json::Value;

use super::{Server, text};
use crate::programs::program;

impl Server {
    /// The operator's program with this configuration.
    #[must_use]
    pub fn hookspool(&self, words: &[&str]) -> Output {
        let mut command = Command::new(program("hookspool"));
        command.args(words).arg("--config").arg(self.config()).stdin(Stdio::null());
        command.output().expect("hookspool can be started")
    }

    /// What the operator's program prints, as JSON.
    #[must_use]
    pub fn json(&self, words: &[&str]) -> Value {
        let output = self.hookspool(words);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "hookspool {words:?}: {}\n{err}", output.status);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("hookspool {words:?} prints no JSON ({error}):\n{out}"))
    }

    /// Every run, oldest first, as `hookspool runs` shows it.
    #[must_use]
    pub fn runs(&self) -> Vec<Value> {
        let Value::Array(mut runs) = self.json(&["runs", "--limit", "100000", "--json"]) else { panic!("runs is no list") };
        runs.reverse();
        runs
    }

    /// The states of all runs, oldest first.
    #[must_use]
    pub fn states(&self) -> Vec<String> {
        self.runs().iter().map(|run| text(&run["state"])).collect()
    }

    /// One run, as `hookspool show` shows it.
    #[must_use]
    pub fn show(&self, run: i64) -> Value {
        self.json(&["show", &run.to_string(), "--json"])
    }

    /// The state and reason of a run.
    #[must_use]
    pub fn outcome(&self, run: i64) -> (String, String) {
        let shown = self.show(run);
        (text(&shown["state"]), text(&shown["reason"]))
    }

    /// The steps of a run with their results, in order.
    #[must_use]
    pub fn steps(&self, run: i64) -> Vec<(String, String)> {
        let shown = self.show(run);
        let steps = shown["steps"].as_array().expect("a run has steps");
        steps.iter().map(|step| (text(&step["step"]), text(&step["result"]))).collect()
    }

    /// The log of a run as it was written, packed or not.
    #[must_use]
    pub fn stored_log(&self, run: i64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let log = packed_log::open(&self.folders(), RunId::new(run)).expect("the log can be read");
        log.expect("the run has a log").read_to_end(&mut bytes).expect("the log can be read");
        bytes
    }

    /// The log of a run.
    #[must_use]
    pub fn log(&self, run: i64) -> String {
        let output = self.hookspool(&["log", &run.to_string()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
