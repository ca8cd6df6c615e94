//! An outage as the metrics show it: only scrapes before, during and after the outage.

use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use redcache::Metrics;
use redcache_blocking::Cache;
use redcache_core::Config;
use redcache_tests::RedisServer;

use crate::conformance::scene::wait_until;

const TTL: Duration = Duration::from_secs(60);
const CACHE: &str = "cache of the outage";

/// One scrape.
struct Scrape(String);

impl Scrape {
    fn of(handle: &PrometheusHandle) -> Self {
        Self(handle.render())
    }

    /// Return the sum of the series with this name and these labels.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let labels = labels.iter().chain([&("cache", CACHE)]);
        let labels: Vec<_> = labels.map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let series = self.0.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
        let series = series.filter(|series| labels.iter().all(|label| series.contains(label)));
        series.map(|series| series.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }
}

/// The difference of two scrapes, as a query of Prometheus would compute it.
struct Between<'a>(&'a Scrape, &'a Scrape);

impl Between<'_> {
    fn rise(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.1.sum(name, labels) - self.0.sum(name, labels)
    }

    fn lost(&self, address: &str) -> u64 {
        let labels = [("event", "disconnected"), ("address", address)];
        self.rise("redcache_connection_failures_total", &labels)
    }

    fn refused(&self, address: &str) -> u64 {
        let labels = [("event", "failed"), ("address", address), ("kind", "unavailable")];
        self.rise("redcache_connection_failures_total", &labels)
    }

    fn connected(&self, address: &str) -> u64 {
        let labels = [("event", "connected"), ("address", address)];
        self.rise("redcache_connections_total", &labels)
    }

    fn failed(&self, kind: &str) -> u64 {
        self.rise("redcache_failures_total", &[("kind", kind)])
    }

    fn all_failed(&self) -> u64 {
        self.rise("redcache_failures_total", &[])
    }

    fn answered(&self, source: &str) -> u64 {
        self.rise("redcache_answers_total", &[("source", source)])
    }

    fn removals(&self, event: &str) -> u64 {
        self.rise("redcache_failed_removals_total", &[("event", event)])
    }
}

fn load(cache: &Cache, key: &str) {
    cache.get_with(key, TTL, || Ok::<_, String>("v")).unwrap();
}

#[test]
fn the_metrics_alone_tell_an_outage_its_address_and_what_callers_saw() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).unwrap();
    let mut server = RedisServer::start();
    let address = server.address().to_string();
    let config = Config::from_url(&format!("{}?reconnect_delay_max=20ms", server.url())).unwrap();
    let config = config.into_builder().observer(Metrics::new(CACHE));
    let cache = redcache_blocking::connect(config).unwrap();
    ["a", "b", "c"].iter().for_each(|key| load(&cache, key));
    cache.get("a").unwrap();
    let scrape = || Scrape::of(&handle);
    // A call may end before the observer has seen it on another thread.
    let none = Scrape(String::new());
    wait_until("the first calls are seen", || {
        let calm = Between(&none, &scrape());
        (calm.answered("loaded"), calm.answered("near")) == (3, 1)
    });
    let before = scrape();

    server.stop();
    wait_until("the loss is known", || cache.health().last_error.is_some());
    wait_until("an attempt has failed", || Between(&before, &scrape()).refused(&address) > 0);
    for key in 0..7 {
        cache.get(format!("unread:{key}")).unwrap_err();
    }
    for key in ["a", "b"] {
        cache.remove(key).unwrap_err();
    }
    wait_until("the failures are seen", || Between(&before, &scrape()).all_failed() == 9);
    let within = scrape();

    server.restart();
    wait_until("the cache is connected", || cache.health().is_tracked);
    wait_until("both removals are repeated", || cache.stats().removals_repeated == 2);
    ["a", "b", "d", "e"].iter().for_each(|key| load(&cache, key));
    wait_until("the recovery is seen", || {
        let recovery = Between(&within, &scrape());
        (recovery.removals("repeated"), recovery.answered("loaded")) == (2, 4)
    });
    let after = scrape();

    let calm = Between(&none, &before);
    assert_eq!((calm.connected(&address), calm.lost(&address), calm.all_failed()), (1, 0, 0));
    assert_eq!((calm.answered("loaded"), calm.answered("near")), (3, 1));
    // The outage began between these scrapes, and had not ended.
    let outage = Between(&before, &within);
    assert_eq!((outage.lost(&address), outage.connected(&address)), (1, 0));
    assert!(outage.refused(&address) >= 1);
    // Nine callers got "unavailable", and no caller got another error.
    assert_eq!((outage.failed("unavailable"), outage.all_failed()), (9, 9));
    assert_eq!((outage.answered("loaded"), outage.removals("kept")), (0, 2));
    // The outage ended between these scrapes.
    let recovery = Between(&within, &after);
    assert_eq!((recovery.connected(&address), recovery.lost(&address)), (1, 0));
    assert_eq!((recovery.all_failed(), recovery.answered("loaded")), (0, 4));
}
