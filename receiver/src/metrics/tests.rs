//! What is counted, and that every word of an answer is.

use super::*;
use crate::fixture::config;

fn metrics() -> (tempfile::TempDir, Arc<Metrics>) {
    let folder = tempfile::tempdir().unwrap();
    let metrics = Metrics::new(&config(folder.path()), Instant::from_millis(1500));
    (folder, Arc::new(metrics))
}

fn has(metrics: &Metrics, line: &str) -> bool {
    metrics.exposition(None).lines().any(|known| known == line)
}

#[test]
fn every_word_of_an_answer_has_its_place() {
    let source = include_str!("../reply.rs");
    let (_, word) = source.split_once("fn word(&self)").unwrap();
    let (word, _) = word.split_once("\n    }\n").unwrap();
    let words: Vec<&str> = word.split('"').skip(1).step_by(2).collect();
    assert!(words.contains(&"accepted"), "{words:?}");
    for word in words.into_iter().filter(|word| !["ok", "ready"].contains(word)) {
        assert!(TAKEN.contains(&word) || REFUSED.contains(&word), "{word:?} is in no list of metrics.rs");
    }
}

#[test]
fn answers_count_for_their_source_and_refusals_without_one_for_none() {
    let (_folder, metrics) = metrics();
    let source: SourceName = "github".parse().unwrap();
    metrics.answered(Some(&source), Some(&Reply::Unauthorized));
    metrics.answered(Some(&source), None);
    metrics.answered(Some(&"stranger".parse().unwrap()), Some(&Reply::Unauthorized));
    metrics.answered(None, Some(&Reply::NotFound));
    metrics.answered(None, Some(&Reply::Alive));
    for line in [
        "hookspool_deliveries_total{source=\"github\",answer=\"accepted\"} 0",
        "hookspool_refused_total{source=\"github\",reason=\"unauthorized\"} 1",
        "hookspool_refused_total{source=\"github\",reason=\"cut_off\"} 1",
        "hookspool_refused_total{source=\"\",reason=\"not_found\"} 1",
    ] {
        assert!(has(&metrics, line), "{line} in {}", metrics.exposition(None));
    }
    assert!(!metrics.exposition(None).contains("stranger"));
}

#[test]
fn a_histogram_counts_a_value_at_its_bound_and_sums_in_seconds() {
    let (_folder, metrics) = metrics();
    metrics.committed(2, Duration::from_micros(250));
    metrics.committed(300, Duration::from_secs(6));
    for line in [
        "hookspool_commit_duration_seconds_bucket{le=\"0.0001\"} 0",
        "hookspool_commit_duration_seconds_bucket{le=\"0.00025\"} 1",
        "hookspool_commit_duration_seconds_bucket{le=\"5\"} 1",
        "hookspool_commit_duration_seconds_bucket{le=\"+Inf\"} 2",
        "hookspool_commit_duration_seconds_sum 6.00025",
        "hookspool_commit_duration_seconds_count 2",
        "hookspool_commit_deliveries_bucket{le=\"2\"} 1",
        "hookspool_commit_deliveries_bucket{le=\"256\"} 1",
        "hookspool_commit_deliveries_sum 302",
    ] {
        assert!(has(&metrics, line), "{line} in {}", metrics.exposition(None));
    }
}

#[test]
fn a_source_that_stays_goes_on_counting_and_one_that_goes_is_forgotten() {
    let (folder, metrics) = metrics();
    let mut config = config(folder.path());
    let (stays, goes) = (config.sources[0].name.clone(), "goes".parse().unwrap());
    let mut other = config.sources[0].clone();
    other.name = goes;
    config.sources.push(other);
    metrics.reloaded(&config, Instant::from_millis(2000));
    metrics.answered(Some(&stays), Some(&Reply::Unauthorized));
    assert!(has(&metrics, "hookspool_refused_total{source=\"goes\",reason=\"unauthorized\"} 0"));
    config.sources.pop();
    metrics.reload_failed();
    assert!(has(&metrics, "hookspool_config_last_reload_successful 0"));
    metrics.reloaded(&config, Instant::from_millis(3000));
    assert!(has(&metrics, "hookspool_refused_total{source=\"github\",reason=\"unauthorized\"} 1"));
    assert!(has(&metrics, "hookspool_config_last_reload_successful 1"));
    assert!(has(&metrics, "hookspool_config_last_reload_success_timestamp_seconds 3"));
    assert!(has(&metrics, "process_start_time_seconds 1.5"));
    assert!(!metrics.exposition(None).contains("goes"));
}

#[test]
fn a_connection_counts_while_it_lasts() {
    let (_folder, metrics) = metrics();
    let open = [metrics.connection(), metrics.connection()];
    assert!(has(&metrics, "hookspool_connections 2"));
    drop(open);
    assert!(has(&metrics, "hookspool_connections 0"));
}
