//! The spans of calls, for the crate `tracing`.
//!
//! A call has one span, with a child for each command that it awaits, for its waits for other
//! callers and for each run of its loader. Spans contain no keys and no values. Every span begins
//! and ends in the caller's task or thread, which holds no lock then.

use std::future::Future;

use redcache_core::engine::{CallStep, Outcome, SharedObserver};
use redcache_core::{Address, Error, ErrorKind};
use tracing::field::Empty;
use tracing::instrument::Instrumented;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::{Instrument, Span, debug_span, trace_span};

use crate::load::LoadResult;
use crate::request::Request;

/// The name of a cache in its spans.
#[derive(Debug)]
pub struct CacheTrace {
    name: Option<String>,
}

impl CacheTrace {
    /// Take the name from the cache's observer.
    pub(crate) fn new(observer: &SharedObserver) -> Self {
        let mut name = None;
        observer.notify(|observer| name = observer.cache_name().map(str::to_owned));
        Self { name }
    }

    /// Record a near hit. Only a subscriber that wants the level `trace` sees it.
    #[inline]
    pub(crate) fn on_near_hit(&self) {
        if LevelFilter::TRACE <= STATIC_MAX_LEVEL && LevelFilter::TRACE <= LevelFilter::current() {
            self.record_near_hit();
        }
    }

    #[cold]
    fn record_near_hit(&self) {
        let cache = self.name.as_deref();
        trace_span!(target: "redcache", "near_hit", cache, source = "near").in_scope(|| {});
    }
}

/// The spans of one call. Dropping it closes them.
#[derive(Debug)]
pub struct CallTrace {
    // Children are dropped before their parent.
    commands: Vec<CommandTrace>,
    wait: Option<Span>,
    call: Span,
    keys: usize,
}

/// The span of the commands of one name that a call awaits.
#[derive(Debug)]
struct CommandTrace {
    command: &'static str,
    unanswered: usize,
    span: Span,
}

/// The time in which a span is entered.
pub type Entered = tracing::span::EnteredSpan;

impl CallTrace {
    /// Begin the span of a call.
    pub fn begin<Q: Request>(cache: &CacheTrace, request: &Q) -> Self {
        let call = debug_span!(
            target: "redcache", "call",
            otel.name = Q::NAME, call = Q::NAME, cache = cache.name.as_deref(),
            keys = request.keys(), source = Empty, error.type = Empty
        );
        let keys = if call.is_disabled() { 0 } else { request.keys() };
        Self { commands: Vec::new(), wait: None, call, keys }
    }

    /// Return `true` if a subscriber wants the spans.
    pub fn is_on(&self) -> bool {
        !self.call.is_disabled()
    }

    /// Attach the span of the call to its future, which owns the trace.
    pub fn around<F: Future>(self, call: impl FnOnce(Self) -> F) -> Instrumented<F> {
        let span = self.call.clone();
        call(self).instrument(span)
    }

    /// Enter the span of the call on this thread until the returned value is dropped.
    pub fn enter(&self) -> Entered {
        self.call.clone().entered()
    }

    /// Begin and end the spans of steps.
    pub fn note(&mut self, steps: impl IntoIterator<Item = CallStep>) {
        for step in steps {
            match step {
                CallStep::Sent { command, server } => self.on_sent(command, server.as_ref()),
                CallStep::Replied { command, error } => self.on_replied(command, error),
                CallStep::Waiting => self.on_waiting(),
                _ => {}
            }
        }
    }

    fn on_sent(&mut self, command: &'static str, server: Option<&Address>) {
        // Other keys of a batch may still wait.
        if self.keys == 1 {
            self.wait = None;
        }
        if let Some(known) = self.commands.iter_mut().find(|known| known.command == command) {
            known.unanswered += 1;
            return;
        }
        let (address, port) = match server {
            Some(Address::Tcp { host, port }) => (Some(host.as_str()), Some(*port)),
            Some(Address::Unix(path)) => (Some(path.as_str()), None),
            None => (None, None),
        };
        let span = debug_span!(
            target: "redcache", parent: &self.call, "command",
            otel.name = command, otel.kind = "client",
            db.system.name = "redis", db.operation.name = command,
            server.address = address, server.port = port, error.type = Empty
        );
        self.commands.push(CommandTrace { command, unanswered: 1, span });
    }

    fn on_replied(&mut self, command: &'static str, error: Option<ErrorKind>) {
        // A caller that took over the flight of another has not sent the command.
        let Some(at) = self.commands.iter().position(|known| known.command == command) else {
            return;
        };
        let known = &mut self.commands[at];
        if let Some(error) = error {
            known.span.record("error.type", error.as_str());
        }
        known.unanswered -= 1;
        if known.unanswered == 0 {
            self.commands.swap_remove(at);
        }
    }

    fn on_waiting(&mut self) {
        let call = &self.call;
        self.wait.get_or_insert_with(|| debug_span!(target: "redcache", parent: call, "wait"));
    }

    /// Begin the span of a run of the loader. A call that has a single key passes no keys.
    pub fn load(&mut self, keys: usize) -> LoadTrace {
        self.wait = None;
        let keys = keys.max(1);
        LoadTrace(debug_span!(
            target: "redcache", parent: &self.call, "load", keys, error.type = Empty
        ))
    }

    /// Record the outcome of the call, and end its steps.
    pub fn end(&mut self, outcome: &Outcome) {
        self.commands.clear();
        self.wait = None;
        if let Some(source) = outcome.source() {
            self.call.record("source", source.as_str());
        }
        if let Some(kind) = outcome.error_kind() {
            self.call.record("error.type", kind.as_str());
        }
    }

    /// Record that the engine has rejected the call.
    pub fn reject(&self, error: &Error) {
        self.call.record("error.type", error.kind().as_str());
    }
}

/// The span of one run of a loader.
#[derive(Debug)]
pub struct LoadTrace(Span);

impl LoadTrace {
    /// Attach the span to the future of a loader.
    pub fn within<F: Future>(&self, load: F) -> Instrumented<F> {
        load.instrument(self.0.clone())
    }

    /// Run a loader, or create its future, within the span.
    pub fn in_scope<T>(&self, load: impl FnOnce() -> T) -> T {
        self.0.in_scope(load)
    }

    /// End the span with the result of the loader.
    pub fn end(self, loaded: &LoadResult) {
        if loaded.is_failed() {
            self.0.record("error.type", ErrorKind::LoadFailed.as_str());
        }
    }
}
