//! The spans of calls, as a subscriber of the crate `tracing` receives them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use redcache::Tracing;
use redcache_core::{CallOptions, ErrorKind};
use redcache_tests::RedisServer;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::with_default;
use tracing::{Dispatch, Subscriber, span};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::cache::{AsyncCache, Cache};
use super::scene::{Boom, LONG_LOCK, TTL, all_found, cache_error, found, load_error, observed};
use super::server::Server;

on_every_adapter![
    a_near_hit_has_a_span_at_the_level_trace_alone,
    a_read_from_redis_has_a_span_with_its_command,
    a_load_has_a_span_in_which_its_loader_runs,
    a_failed_load_is_an_error_of_its_span_and_its_call,
    a_call_that_times_out_in_a_wait_has_a_span_of_the_wait,
    a_change_has_spans_of_its_locks_its_commit_and_its_removals,
    a_batch_has_one_span_per_command,
    a_rejected_call_has_a_span_with_its_error,
];

with_a_server_of_its_own![a_refused_command_is_an_error_of_its_span,];

/// A span, from its beginning to its end.
#[derive(Debug, Default)]
struct Recorded {
    name: &'static str,
    parent: Option<usize>,
    fields: BTreeMap<&'static str, String>,
    is_closed: bool,
}

impl Visit for Recorded {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

/// A layer that records all spans of a level.
#[derive(Debug, Clone, Default)]
struct Recorder(Arc<Mutex<Spans>>);

#[derive(Debug, Default)]
struct Spans {
    all: Vec<Recorded>,
    open: HashMap<span::Id, usize>,
}

/// Two subscribers that live as long as the process. While there is a single one, `tracing` has
/// the thread that first reaches a span decide for all threads whether anyone wants the span, and
/// most threads of these tests have no subscriber.
static OTHERS: LazyLock<[Dispatch; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Dispatch::new(Registry::default())));

impl Recorder {
    /// Run `act` with this layer on this thread, and return the spans that `act` has begun.
    fn record<T>(level: LevelFilter, act: impl FnOnce() -> T) -> (T, Vec<String>) {
        LazyLock::force(&OTHERS);
        let recorder = Self::default();
        let subscriber = Registry::default().with(level).with(recorder.clone());
        let result = with_default(subscriber, act);
        let spans = recorder.0.lock().unwrap();
        (result, spans.all.iter().map(|span| line(&spans.all, span)).collect())
    }
}

/// Return a span as a line that is indented by its depth. The number of dots is its depth.
fn line(all: &[Recorded], span: &Recorded) -> String {
    let mut line = String::new();
    let mut above = span.parent;
    while let Some(parent) = above {
        line.push('.');
        above = all[parent].parent;
    }
    line += span.name;
    for (name, value) in &span.fields {
        // `server.address` and the fields for OpenTelemetry alone have a test of their own.
        if !name.starts_with("otel") && !name.starts_with("server") && *name != "db.system.name" {
            write!(line, " {name}={value}").unwrap();
        }
    }
    if span.is_closed { line } else { line + " OPEN" }
}

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_new_span(&self, new: &span::Attributes<'_>, id: &span::Id, ctx: Context<'_, S>) {
        let mut spans = self.0.lock().unwrap();
        let current = ctx.current_span();
        let parent = new.parent().or_else(|| current.id().filter(|_| new.is_contextual()));
        let parent = parent.map(|parent| spans.open[parent]);
        let mut span = Recorded { name: new.metadata().name(), parent, ..Recorded::default() };
        new.record(&mut span);
        let index = spans.all.len();
        spans.all.push(span);
        spans.open.insert(id.clone(), index);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, _: Context<'_, S>) {
        let mut spans = self.0.lock().unwrap();
        let index = spans.open[id];
        values.record(&mut spans.all[index]);
    }

    fn on_close(&self, id: span::Id, _: Context<'_, S>) {
        let mut spans = self.0.lock().unwrap();
        let index = spans.open.remove(&id).unwrap();
        spans.all[index].is_closed = true;
    }
}

/// Record the spans of `act` at the level `debug`.
fn spans<T>(act: impl FnOnce() -> T) -> (T, Vec<String>) {
    Recorder::record(LevelFilter::DEBUG, act)
}

/// Connect a cache with the name `users`.
fn named<C: Cache>(url: impl AsRef<str>) -> C {
    observed(url, Tracing::new("users"))
}

fn a_near_hit_has_a_span_at_the_level_trace_alone<C: Cache>() {
    let server = Server::start();
    let cache = named::<C>(server.url());
    server.connect().ok(&["SET", "k", "v", "PX", "60000"]);
    cache.get("k").unwrap();
    assert_eq!(spans(|| cache.get("k").unwrap()).1, [""; 0]);
    let (_, seen) = Recorder::record(LevelFilter::TRACE, || cache.get("k").unwrap());
    assert_eq!(seen, ["near_hit cache=users source=near"]);
}

fn a_read_from_redis_has_a_span_with_its_command<C: Cache>() {
    let server = Server::start();
    let cache = named::<C>(server.url());
    server.connect().ok(&["SET", "secret key", "secret value"]);
    LazyLock::force(&OTHERS);
    let recorder = Recorder::default();
    let subscriber = Registry::default().with(recorder.clone());
    with_default(subscriber, || cache.get("secret key").unwrap());
    let spans = recorder.0.lock().unwrap();
    let fields = |span: &Recorded| {
        let fields = span.fields.iter();
        fields.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    let name = server.name();
    let (host, port) = name.rsplit_once(':').unwrap();
    assert_eq!(
        spans.all.iter().map(fields).collect::<Vec<_>>(),
        [
            "cache=users call=get keys=1 otel.name=get source=redis".to_owned(),
            format!(
                "db.operation.name=read db.system.name=redis otel.kind=client otel.name=read \
                 server.address={host} server.port={port}"
            ),
        ]
    );
    assert!(!format!("{spans:?}").contains("secret"), "{spans:?}");
}

fn a_load_has_a_span_in_which_its_loader_runs<C: Cache>() {
    let server = Server::start();
    let cache = named::<C>(server.url());
    let (_, seen) = spans(|| {
        let _request = tracing::info_span!("request").entered();
        let query = || tracing::info_span!("query").in_scope(|| found("v"));
        cache.get_with("k", TTL, query).unwrap();
    });
    assert_eq!(
        seen,
        [
            "request",
            ".call cache=users call=get_with keys=1 source=loaded",
            "..command db.operation.name=read or lock",
            "..load keys=1",
            "...query",
            "..command db.operation.name=publish",
        ]
    );
}

fn a_failed_load_is_an_error_of_its_span_and_its_call<C: Cache>() {
    let server = Server::start();
    let cache = named::<C>(server.url());
    let failing = || Err::<_, _>(Boom("no such table"));
    let (_, seen) = spans(|| load_error(cache.get_with("k", TTL, failing)));
    assert_eq!(
        seen,
        [
            "call cache=users call=get_with error.type=load_failed keys=1",
            ".command db.operation.name=read or lock",
            ".load error.type=load_failed keys=1",
        ]
    );
}

fn a_call_that_times_out_in_a_wait_has_a_span_of_the_wait<C: Cache>() {
    let server = Server::start();
    let cache = named::<C>(server.url());
    server.connect().ok(&["SET", "k", "__redcache:lock:another", "PX", "60000"]);
    let timed_out = |seconds| {
        let hasty = cache.with_options(CallOptions::new().timeout(Duration::from_secs(seconds)));
        let (error, seen) = spans(|| cache_error(hasty.get_with("k", TTL, || found("v"))));
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        seen
    };
    // On a starved machine, a call may time out before its first reply.
    let mut seen = [1, 4, 16].into_iter().map(timed_out);
    let seen = seen.find(|seen| seen.len() == 3).unwrap();
    assert_eq!(
        seen,
        [
            "call cache=users call=get_with error.type=deadline_exceeded keys=1",
            ".command db.operation.name=read or lock",
            ".wait",
        ]
    );
}

fn a_refused_command_is_an_error_of_its_span<C: Cache>() {
    let server = RedisServer::start();
    let cache = named::<C>(server.url());
    server.connect().call(&["RPUSH", "list", "v"]);
    let (_, seen) = spans(|| cache_error(cache.get("list")));
    assert_eq!(
        seen,
        [
            "call cache=users call=get error.type=server keys=1",
            ".command db.operation.name=read error.type=server",
        ]
    );
}

fn a_change_has_spans_of_its_locks_its_commit_and_its_removals<C: Cache>() {
    let server = Server::start();
    let cache = named::<C>(server.url());
    let (_, seen) = spans(|| cache.change(&["one", "two"], || Ok::<_, Boom>(())).unwrap());
    assert_eq!(
        seen,
        [
            "call cache=users call=change keys=2",
            ".command db.operation.name=write lock",
            ".load keys=2",
            ".command db.operation.name=remove",
        ]
    );
}

fn a_batch_has_one_span_per_command<C: Cache>() {
    let server = Server::start();
    let cache = named::<C>(server.url());
    let load = |keys| all_found(keys, "v");
    let (_, seen) = spans(|| cache.get_many_with(&["one", "two", "three"], TTL, load).unwrap());
    assert_eq!(
        seen,
        [
            "call cache=users call=get_many_with keys=3",
            ".command db.operation.name=read or lock",
            ".load keys=3",
            ".command db.operation.name=publish",
        ]
    );
}

fn a_rejected_call_has_a_span_with_its_error<C: Cache>() {
    let server = Server::start();
    let cache = named::<C>(server.url() + LONG_LOCK);
    cache.close();
    let (_, seen) = spans(|| cache_error(cache.remove("k")));
    assert_eq!(seen, ["call cache=users call=remove error.type=closed keys=1"]);
}

mod cancelled {
    use std::cell::Cell;
    use std::future::{Future, pending, poll_fn};
    use std::task::Poll;

    use redcache_core::Loaded;

    use super::super::cache::Host;
    use super::*;

    on_every_async_adapter![a_cancelled_call_closes_its_spans,];

    fn a_cancelled_call_closes_its_spans<C: AsyncCache>() {
        let server = Server::start();
        let cache = named::<C>(server.url());
        let (_, seen) = spans(|| {
            let is_loading = Cell::new(false);
            let load = || {
                is_loading.set(true);
                pending::<Result<Loaded, Boom>>()
            };
            let mut call = Box::pin(cache.handle().get_with("k", TTL, load));
            C::Host::block_on(poll_fn(|cx| match call.as_mut().poll(cx) {
                Poll::Pending if !is_loading.get() => Poll::Pending,
                Poll::Pending => Poll::Ready(()),
                Poll::Ready(_) => panic!("the loader is endless"),
            }));
            drop(call);
            // A call that is dropped in its first step has sent its read already.
            let mut read = Box::pin(cache.handle().get("j"));
            C::Host::block_on(poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_pending())));
        });
        assert_eq!(
            seen,
            [
                "call cache=users call=get_with keys=1",
                ".command db.operation.name=read or lock",
                ".load keys=1",
                "call cache=users call=get keys=1",
                ".command db.operation.name=read",
            ]
        );
    }
}
