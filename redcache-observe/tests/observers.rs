//! The output of the observers for each event, as a recorder and a subscriber of this test see it.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use redcache_core::Stats;
use redcache_observe::{Metrics, Tracing};
use tracing::field::{Field, Visit};
use tracing::span;

mod events;

#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn push(&self, line: String) {
        self.0.lock().expect("nobody panics with it").push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("nobody panics with it"))
    }
}

struct Named(String, Lines);

impl CounterFn for Named {
    fn increment(&self, value: u64) {
        self.1.push(format!("{} +{value}", self.0));
    }

    fn absolute(&self, _: u64) {}
}

impl HistogramFn for Named {
    fn record(&self, value: f64) {
        self.1.push(format!("{} {value}", self.0));
    }
}

impl GaugeFn for Named {
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}

    fn set(&self, value: f64) {
        self.1.push(format!("{} ={value}", self.0));
    }
}

impl Lines {
    fn named(&self, key: &metrics::Key) -> Arc<Named> {
        let mut name = key.name().to_owned();
        for label in key.labels() {
            write!(name, " {}={}", label.key(), label.value()).expect("a text takes everything");
        }
        Arc::new(Named(name, self.clone()))
    }
}

impl Recorder for Lines {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &metrics::Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.named(key))
    }

    fn register_gauge(&self, key: &metrics::Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.named(key))
    }

    fn register_histogram(&self, key: &metrics::Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.named(key))
    }
}

#[test]
fn metrics_counts_and_measures_every_event() {
    let lines = Lines::default();
    metrics::with_local_recorder(&lines, || events::each(&Metrics::new("users")));
    assert_eq!(
        lines.take(),
        [
            "redcache_answers_total cache=users source=near +1",
            "redcache_answers_total cache=users source=stale +1",
            "redcache_failures_total cache=users kind=timeout +1",
            "redcache_failures_total cache=users kind=load_failed +1",
            "redcache_loaded_keys_total cache=users outcome=ok +3",
            "redcache_load_seconds cache=users outcome=ok 1.5",
            "redcache_loaded_keys_total cache=users outcome=error +1",
            "redcache_load_seconds cache=users outcome=error 1.5",
            "redcache_lock_wait_seconds cache=users 1.5",
            "redcache_round_trip_seconds cache=users command=read 1.5",
            "redcache_locks_lost_total cache=users +1",
            "redcache_not_stored_total cache=users +1",
            "redcache_refreshes_total cache=users event=triggered +1",
            "redcache_refreshes_total cache=users event=panicked +1",
            "redcache_failed_removals_total cache=users event=kept +1",
            "redcache_failed_removals_total cache=users event=repeated +1",
            "redcache_invalidations_total cache=users +2",
            "redcache_flushes_total cache=users +1",
            "redcache_connections_total cache=users event=connected address=h:1 +1",
            "redcache_connections_total cache=users event=untracked address=h:1 +1",
            "redcache_connection_failures_total cache=users event=disconnected address=h:1 kind=closed +1",
            "redcache_connection_failures_total cache=users event=failed address=h:1 kind=closed +1",
            "redcache_connection_failures_total cache=users event=failed address= kind=closed +1",
        ]
    );
}

#[test]
fn the_gauges_are_those_of_the_statistics() {
    let lines = Lines::default();
    let mut stats = Stats::default();
    stats.near_entries = 1;
    stats.near_bytes = 200;
    stats.calls = 3;
    stats.flights = 4;
    stats.commands = 5;
    metrics::with_local_recorder(&lines, || Metrics::new("users").record(&stats));
    assert_eq!(
        lines.take(),
        [
            "redcache_near_entries cache=users =1",
            "redcache_near_bytes cache=users =200",
            "redcache_calls cache=users =3",
            "redcache_flights cache=users =4",
            "redcache_commands cache=users =5",
        ]
    );
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "redcache"
    }

    fn event(&self, event: &tracing::Event<'_>) {
        struct Line(String);
        impl Visit for Line {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                write!(self.0, " {}={value:?}", field.name()).expect("a text takes everything");
            }
        }
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.push(line.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn tracing_writes_every_event_with_its_level_and_no_value() {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || events::each(&Tracing::new("users")));
    assert_eq!(
        lines.take(),
        [
            "TRACE message=answer cache=\"users\" source=\"near\"",
            "TRACE message=answer cache=\"users\" source=\"stale\"",
            "DEBUG message=failure cache=\"users\" error.type=\"timeout\" key=k",
            "DEBUG message=failure cache=\"users\" error.type=\"load_failed\"",
            "DEBUG message=load cache=\"users\" keys=3 took=1.5s",
            "WARN message=load failed cache=\"users\" keys=1 took=1.5s",
            "DEBUG message=waited for a lock cache=\"users\" took=1.5s",
            "TRACE message=round trip cache=\"users\" db.system.name=\"redis\" db.operation.name=\"read\" took=1.5s",
            "WARN message=lock lost, value not stored cache=\"users\" key=k",
            "WARN message=locks live longer than configured cache=\"users\" lock_ttl=1.5s round_trip=1.5s",
            "WARN message=value not stored cache=\"users\" key=k reason=\"too large\"",
            "DEBUG message=refresh cache=\"users\" key=k event=\"triggered\"",
            "WARN message=refresh cache=\"users\" key=k event=\"panicked\"",
            "WARN message=failed removal cache=\"users\" key=k event=\"kept\"",
            "DEBUG message=failed removal cache=\"users\" key=k event=\"repeated\"",
            "TRACE message=invalidation cache=\"users\" keys=2",
            "DEBUG message=flush cache=\"users\"",
            "INFO message=connected cache=\"users\" server.address=\"h\" server.port=1",
            "WARN message=near cache off, waits poll cache=\"users\" server.address=\"h\" server.port=1 reason=\"no RESP3\"",
            "WARN message=connection lost cache=\"users\" server.address=\"h\" server.port=1 error.type=\"closed\" reason=the cache is closed",
            "WARN message=connecting failed cache=\"users\" server.address=\"h\" server.port=1 error.type=\"closed\" reason=the cache is closed",
            "WARN message=connecting failed cache=\"users\" error.type=\"closed\" reason=the cache is closed",
        ]
    );
}
