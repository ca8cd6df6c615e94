//! The files of `monitoring` are well-formed and name only series that exist.

use std::collections::BTreeSet;

use metrics_exporter_prometheus::PrometheusBuilder;
use redcache_core::{Health, Stats};
use redcache_observe::Metrics;
use yaml_rust2::YamlLoader;

mod events;

const DASHBOARD: &str = include_str!("../monitoring/grafana-dashboard.json");
const ALERTS: &str = include_str!("../monitoring/prometheus-alerts.yml");

/// Return the output of a scrape after each event.
fn scrape() -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        let metrics = Metrics::new("users");
        events::each(&metrics);
        metrics.record(&Stats::default());
        metrics.record_health(&Health::default());
    });
    recorder.handle().render()
}

/// Return the names in a text that begin with `redcache_`.
fn series(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("redcache_")).collect()
}

/// Return the label matchers of a text, such as `event="failed"`.
fn matchers(text: &str) -> BTreeSet<String> {
    let text = text.replace("\\\"", "\"");
    let labels = ["source", "event", "outcome"];
    let found = labels.iter().flat_map(|label| {
        let start = format!("{label}=\"");
        let parts: Vec<_> = text.split(&start).skip(1).map(str::to_owned).collect();
        parts.into_iter().filter_map(move |rest| {
            let (value, _) = rest.split_once('"')?;
            Some(format!("{start}{value}\""))
        })
    });
    found.collect()
}

#[test]
fn every_series_of_the_files_exists() {
    let scrape = scrape();
    let exists = series(&scrape);
    for (file, text) in [("dashboard", DASHBOARD), ("alerts", ALERTS)] {
        let named = series(text);
        assert!(!named.is_empty());
        let unknown: Vec<_> = named.difference(&exists).collect();
        assert!(unknown.is_empty(), "the {file} names {unknown:?}");
        for matcher in matchers(text) {
            assert!(scrape.contains(&matcher), "the {file} asks for {matcher}");
        }
    }
}

#[test]
fn every_series_has_a_help_text_and_the_name_of_the_cache() {
    for line in scrape().lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        assert!(line.contains("cache=\"users\""), "{line}");
    }
    let scrape = scrape();
    for line in scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(scrape.contains(&format!("# HELP {name} ")), "{name}");
    }
}

#[test]
fn the_dashboard_shows_every_series() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let queries: Vec<_> = queries.map(|target| target["expr"].as_str().unwrap()).collect();
    for line in scrape().lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(queries.iter().any(|query| query.contains(name)), "{name}");
    }
}

#[test]
fn every_alert_has_a_query_a_severity_and_a_summary() {
    let documents = YamlLoader::load_from_str(ALERTS).unwrap();
    let rules = documents[0]["groups"][0]["rules"].as_vec().unwrap();
    assert!(!rules.is_empty());
    for rule in rules {
        assert!(
            rule["alert"].as_str().is_some_and(|name| name.starts_with("Redcache")),
            "{rule:?}"
        );
        assert!(rule["expr"].as_str().is_some_and(|query| !series(query).is_empty()), "{rule:?}");
        assert!(rule["labels"]["severity"].as_str().is_some(), "{rule:?}");
        assert!(rule["annotations"]["summary"].as_str().is_some(), "{rule:?}");
    }
}
