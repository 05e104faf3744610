//! What all rounds of one thing gave, and how it is printed.

use crate::load::Load;

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[derive(Default)]
pub(crate) struct Rounds {
    rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    cpu_micros: Vec<f64>,
    pub(crate) idle: Vec<f64>,
    pub(crate) peak: Vec<f64>,
}

impl Rounds {
    pub(crate) fn add(&mut self, load: &Load, cpu: f64, requests: usize) {
        self.rate.push(load.rate);
        self.p50.push(load.p50);
        self.p99.push(load.p99);
        self.cpu_micros.push(cpu * 1e6 / requests as f64);
    }

    pub(crate) fn rate(&self) -> f64 {
        median(self.rate.clone())
    }

    pub(crate) fn p99(&self) -> f64 {
        median(self.p99.clone())
    }

    pub(crate) fn cpu(&self) -> f64 {
        median(self.cpu_micros.clone())
    }

    pub(crate) fn peak(&self) -> f64 {
        median(self.peak.clone())
    }

    pub(crate) fn print(&self, name: &str) {
        if self.rate.is_empty() {
            return;
        }
        let [p50, p99, cpu] = [&self.p50, &self.p99, &self.cpu_micros].map(|values| median(values.clone()));
        let [idle, peak] = [&self.idle, &self.peak].map(|values| median(values.clone()));
        let rate = self.rate();
        println!("{name:46} {rate:>8.0}/s  p50 {p50:6.2} ms  p99 {p99:6.2} ms  cpu {cpu:4.0} µs  rss {idle:.1} → {peak:.1} MiB");
    }
}

/// One ratio and its aim; nothing where a part of it was not measured.
pub(crate) fn ratio(name: &str, value: f64, aim: &str) {
    if value.is_finite() {
        println!("{name:62} {value:8.2}   aim {aim}");
    }
}
