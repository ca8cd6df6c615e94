//! The engine's inputs from the outside: connections, bytes, time, results of loaders, and the
//! close.

use std::time::{Duration, Instant};

use super::env::{Closing, Cx};
use super::ops::Machine;
use super::state::Engine;
use crate::api::answer::Loaded;
use crate::api::config::Address;
use crate::api::credentials::Credentials;
use crate::api::error::Error;
use crate::api::key::Key;
use crate::api::load_error::LoadFailure;
use crate::event::Event;
use crate::flow::call::OpId;
use crate::flow::timers::Timer;
use crate::protocol::slot::SlotSet;
use crate::wire::input::Input;
use crate::wire::router::{Action, ConnId, LoginId};
use crate::wire::value_memory::Received;

/// The longest wait of `close` for the release of locks.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// The largest value of [`lent_min`].
const LENT_MIN_MAX: usize = 16 << 10;

impl Engine {
    /// Order the addresses that the host name of an [`Event::Dial`](crate::engine::Event::Dial)
    /// resolves to, as they are to be tried. An address that has accepted a connection and did not
    /// serve it comes last.
    pub fn order_peers(&self, conn: ConnId, peers: &mut Vec<Address>) {
        self.env.router.order_peers(conn, peers);
    }

    /// Record the address of a new connection, before
    /// [`handle_connected`](Self::handle_connected). `rest` are the addresses that follow it in the
    /// order of [`order_peers`](Self::order_peers).
    pub fn note_peer(&mut self, conn: ConnId, peer: Address, rest: &[Address]) {
        self.env.router.note_peer(conn, peer, rest);
    }

    /// Handle the connection that an [`Event::Dial`](crate::engine::Event::Dial) requested.
    pub fn handle_connected(&mut self, now: Instant, conn: ConnId) {
        let (router, context) = self.env.router(now);
        router.handle_connected(context, conn);
        self.drain_network(now);
    }

    /// Handle the loss of a connection, or the failure of an attempt to connect.
    pub fn handle_disconnected(&mut self, now: Instant, conn: ConnId, reason: &str) {
        let (router, context) = self.env.router(now);
        router.handle_disconnected(context, conn, reason);
        self.drain_network(now);
    }

    /// Handle the answer of the credentials provider, or its failure for the reason in the text.
    pub fn handle_credentials(
        &mut self,
        now: Instant,
        login: LoginId,
        answer: Result<Credentials, String>,
    ) {
        let (router, context) = self.env.router(now);
        router.handle_credentials(context, login, answer);
        self.drain_network(now);
    }

    /// Handle the progress of a write: the socket has taken a part of the bytes. Adapters report it
    /// when the rest must wait, so that a large value on a slow line is a sign of life.
    pub fn handle_written(&mut self, now: Instant, conn: ConnId) {
        let (router, context) = self.env.router(now);
        router.handle_written(context.now, conn);
        self.env.note_signs_of_life();
    }

    /// Limit the size of the unanswered commands of a connection to this number of bytes, 256 MiB
    /// at first. Beyond it, commands wait for replies. The adapter may hold so many bytes in its
    /// buffers, and one command more.
    pub fn limit_unanswered(&mut self, bytes: usize) {
        self.env.router.limit_unanswered(bytes);
    }

    /// Handle received bytes, in pieces of any size. An adapter whose engine is behind a lock calls
    /// [`handle_received`](Self::handle_received) instead.
    pub fn handle_read(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) {
        self.read(now, conn, Input::new(bytes));
    }

    /// Handle received bytes, but leave the copying of a long value to the adapter, which can do it
    /// without the lock of this engine. [`LongValue`](super::LongValue) makes the argument from the
    /// bytes, and takes the result.
    pub fn handle_received<'b>(
        &mut self,
        now: Instant,
        conn: ConnId,
        received: Received<'b>,
    ) -> Received<'b> {
        let filled = received.memory;
        let lent_min = Some(lent_min(self.config().large_value_bytes()));
        let input = Input { filled, lent_min, ..Input::new(received.bytes) };
        let Input { lent, bytes, .. } = self.read(now, conn, input);
        Received { memory: lent, bytes }
    }

    fn read<'b>(&mut self, now: Instant, conn: ConnId, mut input: Input<'b>) -> Input<'b> {
        loop {
            let (router, context) = self.env.router(now);
            let Some(event) = router.receive(context, conn, &mut input) else { break };
            self.on_router_event(now, event);
        }
        self.env.adapt_lock_ttl(now);
        self.drain_network(now);
        input
    }

    /// Handle the timeouts that are due. Call it at [`poll_timeout`](Self::poll_timeout); an
    /// earlier call is harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        let hits = self.env.near_hits();
        self.close_idle(now);
        let (router, context) = self.env.router(now);
        router.note_hits(context, hits);
        router.handle_timeout(context);
        while let Some(timer) = self.env.timers.expired(now) {
            self.on_timer(Cx::at(now), timer);
        }
        if self.is_starting() {
            self.fetches.start_more(&mut self.env, Cx::at(now));
        }
        self.drain_network(now);
    }

    /// Start the next keys of a batch, if a batch [has some](Self::is_starting).
    pub fn start_more(&mut self, now: Instant) {
        self.fetches.start_more(&mut self.env, Cx::at(now));
        self.drain(now);
    }

    fn on_timer(&mut self, cx: Cx, timer: Timer) {
        let env = &mut self.env;
        match timer {
            Timer::FlightWait(id) => self.fetches.on_wait_over(env, cx, id),
            Timer::FlightLoad(id) => self.fetches.on_load_due(env, cx, id),
            Timer::Write(op) => self.writes.on_timer(env, cx, op),
            Timer::Refresh(op) => self.refreshes.on_timer(env, cx, op),
            Timer::Removals => {
                let (plain, writes) = (&self.plain, &self.writes);
                let busy = plain.written_keys();
                let is_writing = |key: &Key| busy.contains(key) || writes.is_writing(key);
                self.removals.on_timer(env, cx, is_writing);
            }
            Timer::Timeout(op) => self.on_call_timeout(cx, op),
        }
    }

    /// Record that the loader of a call is about to run. Return `false` if another caller has taken
    /// over the load, because this call did not begin it in time: the call has no load then.
    #[must_use]
    pub fn begin_load(&mut self, op: OpId) -> bool {
        match self.env.ops.machine(op) {
            Some(Machine::Fetches) => self.fetches.begin_load(op),
            Some(
                Machine::Writes
                | Machine::Plain
                | Machine::Refreshes
                | Machine::Removals
                | Machine::Audits,
            )
            | None => true,
        }
    }

    /// Handle the result of the loader of a `get_with` or `insert_with`.
    pub fn handle_loaded(&mut self, now: Instant, op: OpId, loaded: Result<Loaded, LoadFailure>) {
        let (cx, env) = (Cx::at(now), &mut self.env);
        match env.ops.machine(op) {
            Some(Machine::Fetches) => self.fetches.on_loaded(env, cx, op, loaded),
            Some(Machine::Writes) => self.writes.on_loaded(env, cx, op, loaded),
            Some(Machine::Plain | Machine::Refreshes | Machine::Removals | Machine::Audits)
            | None => {}
        }
        self.drain(now);
    }

    /// Handle the result of the loader of a batch or a refresh. A key that the loader left out is
    /// "not found"; in `insert_many_with`, such a key keeps its value. A key that was not requested
    /// is counted and ignored.
    pub fn handle_loaded_many(
        &mut self,
        now: Instant,
        op: OpId,
        loaded: Result<Vec<(Key, Loaded)>, LoadFailure>,
    ) {
        let (cx, env) = (Cx::at(now), &mut self.env);
        match env.ops.machine(op) {
            Some(Machine::Fetches) => self.fetches.on_loaded_many(env, cx, op, loaded),
            Some(Machine::Writes) => self.writes.on_loaded_many(env, cx, op, loaded),
            Some(Machine::Refreshes) => self.refreshes.on_loaded(env, cx, op, loaded),
            Some(Machine::Plain | Machine::Removals | Machine::Audits) | None => {}
        }
        self.drain(now);
    }

    /// End every call with [`ErrorKind::Closed`](crate::ErrorKind::Closed), release the locks, and
    /// then end the connections. [`Event::Closed`] follows within a second.
    pub fn close(&mut self, now: Instant) {
        self.close_with(now, Error::closed());
    }

    /// Close like [`close`](Self::close), but end every call with `error`.
    pub fn close_with(&mut self, now: Instant, error: Error) {
        if self.env.is_open() {
            let limit = CLOSE_MAX.min(self.env.config.command_timeout);
            self.env.closing = Closing::Until(now + limit);
            self.env.near.begin_epoch(&SlotSet::All);
            self.end_all(Cx::at(now), &error);
            self.removals.close(&mut self.env);
            self.env.closed = error;
            self.env.router.close();
        }
        self.drain(now);
    }

    /// Handle the events and actions of the router after an input that may change the freshness of
    /// a connection.
    fn drain_network(&mut self, now: Instant) {
        self.pass_events(now);
        self.env.note_freshness();
        self.env.note_signs_of_life();
        self.drain(now);
    }

    /// Pass the router's events to the machines until there are none.
    fn pass_events(&mut self, now: Instant) {
        while let Some(event) = self.env.router.poll_event() {
            self.on_router_event(now, event);
        }
    }

    /// Pass the router's events to the machines and its actions to the adapter until there are
    /// none.
    pub(super) fn drain(&mut self, now: Instant) {
        self.pass_events(now);
        while self.drain_disabled(now) {}
        let env = &mut self.env;
        if env.start_audits(Cx::at(now)) {
            // The key of an audit may have changed its connection.
            self.pass_events(now);
        }
        let env = &mut self.env;
        if let Closing::Until(limit) = env.closing
            && (now >= limit || !env.router.is_busier_than(0))
        {
            env.closing = Closing::Done;
            env.router.hang_up();
            while env.router.poll_event().is_some() {}
            env.push(Event::Closed);
        }
        while let Some(action) = env.router.poll_action() {
            env.push(match action {
                Action::Dial { conn, address } => Event::Dial { conn, address },
                Action::HangUp { conn } => Event::HangUp { conn },
                Action::Login { login, request } => Event::Login { login, request },
            });
        }
    }
}

/// Return the least number of missing bytes that the adapter copies: an eighth of a large value, or
/// as much as takes a few microseconds to copy.
fn lent_min(large_value_bytes: usize) -> usize {
    match large_value_bytes {
        0 => LENT_MIN_MAX,
        large => (large / 8).min(LENT_MIN_MAX),
    }
}
