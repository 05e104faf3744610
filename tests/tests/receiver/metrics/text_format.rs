//! A strict reader of Prometheus' text format 0.0.4: it refuses what `promtool check metrics` does, and more.

use std::collections::BTreeMap;

/// A sample's name and labels, in the order of the labels' names.
type Key = (String, BTreeMap<String, String>);

/// Every sample of a text.
pub(crate) struct Samples(BTreeMap<Key, f64>);

impl Samples {
    /// Reads `text`.
    ///
    /// # Panics
    /// When anything in it is not as the format or the conventions for names want it.
    pub(crate) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let mut samples = BTreeMap::new();
        let mut families: BTreeMap<String, String> = BTreeMap::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let (family, help) = line.strip_prefix("# HELP ").expect(line).split_once(' ').expect(line);
            assert!(help.ends_with('.') || help.contains("; "), "no sentence: {line}");
            let kind = lines.next().expect(line).strip_prefix(&format!("# TYPE {family} ")).expect(line);
            check_name(family, kind);
            assert!(families.insert(family.to_owned(), kind.to_owned()).is_none(), "{family} comes twice");
            let mut of_family = Vec::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                let (key, value) = sample(line);
                let suffix = key.0.strip_prefix(family).expect(line);
                let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(suffixes.contains(&suffix), "{line} is not of {family}");
                assert!(kind == "gauge" || value >= 0.0, "{line}");
                of_family.push((key.clone(), value));
                assert!(samples.insert(key, value).is_none(), "twice: {line}");
            }
            assert!(!of_family.is_empty(), "{family} has no sample");
            if kind == "histogram" {
                check_histogram(family, &of_family);
            }
        }
        Self(samples)
    }

    /// The value of one sample.
    pub(crate) fn of(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let key = (name.to_owned(), labels);
        *self.0.get(&key).unwrap_or_else(|| panic!("no {key:?} in {:#?}", self.0.keys()))
    }

    /// Whether there is a sample of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.keys().any(|(known, _)| known == name)
    }
}

/// Names as prometheus.io/docs/practices/naming wants them.
fn check_name(name: &str, kind: &str) {
    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{name}");
    assert!(name.starts_with("hookspool_") || name == "process_start_time_seconds", "{name}");
    assert!(["counter", "gauge", "histogram"].contains(&kind), "{name} is a {kind}");
    assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
    for unit in ["milli", "micro", "minutes", "kilo", "mega"] {
        assert!(!name.contains(unit), "{name} is not in a base unit");
    }
}

/// `name{key="value",…} number`, where no value holds a quotation mark.
fn sample(line: &str) -> (Key, f64) {
    let (name, value) = line.rsplit_once(' ').expect(line);
    let number: f64 = value.parse().expect(line);
    let Some((name, labels)) = name.split_once('{') else { return ((name.to_owned(), BTreeMap::new()), number) };
    let mut rest = labels.strip_suffix('}').expect(line);
    let mut read = BTreeMap::new();
    while !rest.is_empty() {
        let (key, after) = rest.split_once("=\"").expect(line);
        let (value, after) = after.split_once('"').expect(line);
        assert!(key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
        assert!(read.insert(key.to_owned(), value.to_owned()).is_none(), "{line}");
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    ((name.to_owned(), read), number)
}

/// Buckets grow with their bounds, and the last one holds everything.
fn check_histogram(name: &str, samples: &[(Key, f64)]) {
    let buckets: Vec<(f64, f64)> = samples
        .iter()
        .filter(|((sample, _), _)| sample.ends_with("_bucket"))
        .map(|((_, labels), count)| (labels["le"].parse().expect(name), *count))
        .collect();
    assert!(buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1), "{name}: {buckets:?}");
    let count = samples.iter().find(|((sample, _), _)| sample.ends_with("_count")).expect(name).1;
    assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)), "{name}");
}
