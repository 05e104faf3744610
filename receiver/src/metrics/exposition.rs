//! Prometheus' text format, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats/).
//!
//! Its Rust client writes OpenMetrics alone, which older servers and `promtool` do not read; this is what is needed of
//! the older format, in which a metric is a name, labels and a number.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering::Relaxed;

use super::Histogram;

/// What such a text is called in HTTP.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text that grows.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

impl Exposition {
    pub(super) fn into_text(self) -> String {
        self.0
    }

    /// A gauge with one sample.
    pub(super) fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, labels, value);
    }

    /// Announces a counter, whose samples follow.
    pub(super) fn counter(&mut self, name: &str, help: &str) {
        self.family(name, "counter", help);
    }

    /// A histogram, in units of which each has `parts` of what was observed.
    #[expect(clippy::cast_precision_loss, reason = "a sum over 2^53 may be off by a trifle")]
    pub(super) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram, parts: f64) {
        self.family(name, "histogram", help);
        let (bucket, mut count) = (format!("{name}_bucket"), 0);
        let bounds = histogram.bounds.iter().map(|bound| (*bound as f64 / parts).to_string());
        for (bound, within) in bounds.chain(["+Inf".to_owned()]).zip(&histogram.counts) {
            count += within.load(Relaxed);
            self.sample(&bucket, &[("le", &bound)], count);
        }
        self.sample(&format!("{name}_sum"), &[], histogram.sum.load(Relaxed) as f64 / parts);
        self.sample(&format!("{name}_count"), &[], count);
    }

    /// One sample of the family that was announced last.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.line(format_args!("{name}{labels} {value}"));
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: impl Display) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{line}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}
