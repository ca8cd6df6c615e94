//! What the observers make of each event, seen by a recorder and a subscriber of this test.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, KeyName, Metadata, Recorder, SharedString,
    Unit,
};
use redcache_core::{Key, Observer, RefreshEvent, Source};
use redcache_observe::{Metrics, Tracing};
use tracing::field::{Field, Visit};
use tracing::span;

const TOOK: Duration = Duration::from_millis(1500);

fn everything(observer: &dyn Observer) {
    observer.on_answer(Source::Near);
    observer.on_answer(Source::Stale);
    observer.on_load(3, TOOK, true);
    observer.on_load(1, TOOK, false);
    observer.on_lock_wait(TOOK);
    observer.on_round_trip("read", TOOK);
    observer.on_lock_lost(&Key::from("k"));
    observer.on_refresh(&Key::from("k"), RefreshEvent::Triggered);
    observer.on_refresh(&Key::from("k"), RefreshEvent::Panicked);
    observer.on_invalidated(2);
    observer.on_flushed();
    observer.on_connected();
    observer.on_disconnected();
}

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

    fn register_gauge(&self, _: &metrics::Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &metrics::Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.named(key))
    }
}

#[test]
fn metrics_counts_and_measures_every_event() {
    let lines = Lines::default();
    metrics::with_local_recorder(&lines, || everything(&Metrics));
    assert_eq!(
        lines.take(),
        [
            "redcache_answers_total source=near +1",
            "redcache_answers_total source=stale +1",
            "redcache_loaded_keys_total outcome=ok +3",
            "redcache_load_seconds outcome=ok 1.5",
            "redcache_loaded_keys_total outcome=error +1",
            "redcache_load_seconds outcome=error 1.5",
            "redcache_lock_wait_seconds 1.5",
            "redcache_round_trip_seconds command=read 1.5",
            "redcache_locks_lost_total +1",
            "redcache_refreshes_total event=triggered +1",
            "redcache_refreshes_total event=panicked +1",
            "redcache_invalidations_total +2",
            "redcache_flushes_total +1",
            "redcache_connections_total event=connected +1",
            "redcache_connections_total event=disconnected +1",
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
    tracing::subscriber::with_default(lines.clone(), || everything(&Tracing));
    assert_eq!(
        lines.take(),
        [
            "TRACE message=answer source=\"near\"",
            "TRACE message=answer source=\"stale\"",
            "DEBUG message=load keys=3 took=1.5s",
            "WARN message=load failed keys=1 took=1.5s",
            "DEBUG message=waited for a lock took=1.5s",
            "TRACE message=round trip command=\"read\" took=1.5s",
            "WARN message=lock lost, value not stored key=k",
            "DEBUG message=refresh key=k event=\"triggered\"",
            "WARN message=refresh key=k event=\"panicked\"",
            "TRACE message=invalidation keys=2",
            "DEBUG message=flush",
            "INFO message=connected",
            "WARN message=connection lost",
        ]
    );
}
