//! The output of the observers for each event, as a recorder and a subscriber of this test see it.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, KeyName, Metadata, Recorder, SharedString,
    Unit,
};
use redcache_core::observer::{
    AnswerEvent, ConnectFailedEvent, ConnectedEvent, DisconnectedEvent, FailureEvent, FlushEvent,
    InvalidationEvent, LoadEvent, LockLostEvent, LockWaitEvent, NotStoredEvent, Observer,
    RefreshEvent, RefreshStage, RoundTripEvent, UntrackedEvent,
};
use redcache_core::{Address, Error, ErrorKind, Key, Source};
use redcache_observe::{Metrics, Tracing};
use tracing::field::{Field, Visit};
use tracing::span;

const TOOK: Duration = Duration::from_millis(1500);

fn everything(observer: &dyn Observer) {
    let address = || Address::Tcp { host: "h".to_owned(), port: 1 };
    let key = || Key::from("k");
    observer.on_answer(&AnswerEvent::new(Source::Near));
    observer.on_answer(&AnswerEvent::new(Source::Stale));
    observer.on_failure(&FailureEvent::new(ErrorKind::Timeout, Some(key())));
    observer.on_failure(&FailureEvent::new(ErrorKind::LoadFailed, None));
    observer.on_load(&LoadEvent::new(3, TOOK, true));
    observer.on_load(&LoadEvent::new(1, TOOK, false));
    observer.on_lock_wait(&LockWaitEvent::new(TOOK));
    observer.on_round_trip(&RoundTripEvent::new("read", TOOK));
    observer.on_lock_lost(&LockLostEvent::new(key()));
    observer.on_not_stored(&NotStoredEvent::new(key(), "too large".to_owned()));
    observer.on_refresh(&RefreshEvent::new(key(), RefreshStage::Triggered));
    observer.on_refresh(&RefreshEvent::new(key(), RefreshStage::Panicked));
    observer.on_invalidation(&InvalidationEvent::new(2));
    observer.on_flush(&FlushEvent::default());
    observer.on_connected(&ConnectedEvent::new(address()));
    observer.on_untracked(&UntrackedEvent::new(address(), "no RESP3".to_owned()));
    observer.on_disconnected(&DisconnectedEvent::new(address(), Error::closed()));
    observer.on_connect_failed(&ConnectFailedEvent::new(Some(address()), Error::closed()));
    observer.on_connect_failed(&ConnectFailedEvent::new(None, Error::closed()));
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
            "redcache_failures_total kind=timeout +1",
            "redcache_failures_total kind=load_failed +1",
            "redcache_loaded_keys_total outcome=ok +3",
            "redcache_load_seconds outcome=ok 1.5",
            "redcache_loaded_keys_total outcome=error +1",
            "redcache_load_seconds outcome=error 1.5",
            "redcache_lock_wait_seconds 1.5",
            "redcache_round_trip_seconds command=read 1.5",
            "redcache_locks_lost_total +1",
            "redcache_not_stored_total +1",
            "redcache_refreshes_total event=triggered +1",
            "redcache_refreshes_total event=panicked +1",
            "redcache_invalidations_total +2",
            "redcache_flushes_total +1",
            "redcache_connections_total event=connected +1",
            "redcache_connections_total event=untracked +1",
            "redcache_connections_total event=disconnected +1",
            "redcache_connections_total event=failed +1",
            "redcache_connections_total event=failed +1",
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
            "DEBUG message=failure kind=\"timeout\" key=k",
            "DEBUG message=failure kind=\"load_failed\"",
            "DEBUG message=load keys=3 took=1.5s",
            "WARN message=load failed keys=1 took=1.5s",
            "DEBUG message=waited for a lock took=1.5s",
            "TRACE message=round trip command=\"read\" took=1.5s",
            "WARN message=lock lost, value not stored key=k",
            "WARN message=value not stored key=k reason=\"too large\"",
            "DEBUG message=refresh key=k event=\"triggered\"",
            "WARN message=refresh key=k event=\"panicked\"",
            "TRACE message=invalidation keys=2",
            "DEBUG message=flush",
            "INFO message=connected address=h:1",
            "WARN message=near cache off, waits poll address=h:1 reason=\"no RESP3\"",
            "WARN message=connection lost address=h:1 reason=the cache is closed",
            "WARN message=connecting failed address=h:1 reason=the cache is closed",
            "WARN message=connecting failed reason=the cache is closed",
        ]
    );
}
