//! The engine: the one public state machine. It owns both towers, the flows that decide what to do and the router
//! that knows how to say it, and passes notes between them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::api::config::Config;
use crate::api::error::Error;
use crate::api::observer::Observed;
use crate::api::stats::Stats;
use crate::event::{Event, Notice};
use crate::flow::flights::{FlightId, Flights, OpId};
use crate::flow::held::Overruled;
use crate::flow::speculation::Speculation;
use crate::flow::timers::{Timer, Timers};
use crate::flow::write_queue::Writers;
use crate::near::Near;
use crate::protocol::command::{Command, Token};
use crate::protocol::lock::{LockSettings, Locks};
use crate::protocol::slot::{Slot, SlotSet};
use crate::rng::Rng;
use crate::wire::inbound::Input;
use crate::wire::router::{Action, ConnId, Context, Router};

mod calls;
mod coherence;
mod early;
mod fetch;
mod news;
mod ops;
mod refresh;
mod set;
mod stale;

pub use calls::check_ttl;
use fetch::Course;
use ops::Ops;
use refresh::Refreshes;

/// What the engine cannot make for itself: chance, and the date.
#[derive(Clone)]
pub struct Seed {
    /// From the operating system's generator; the locks of two processes differ because these do.
    pub random: [u8; 32],
    /// Milliseconds since 1970, for the time field of the process's UUIDv7.
    pub unix_ms: u64,
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed")
    }
}

/// Redis's cache-aside protocol as a state machine: bytes and time in, bytes and events out.
///
/// It has four kinds of methods, and the same seed and inputs always give the same outputs:
///
/// - calls of the application, plain verbs like [`get_with`](Self::get_with), which return the [`OpId`] that
///   [`Event::Done`] will name;
/// - news of the world, `handle_…`, with the time first;
/// - wishes, `poll_…`: after each of the above, drain [`poll_event`](Self::poll_event), write what
///   [`take_transmit`](Self::take_transmit) gives, and call [`handle_timeout`](Self::handle_timeout) at
///   [`poll_timeout`](Self::poll_timeout);
/// - questions, which take `&self`.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    lock_settings: LockSettings,
    near: Arc<Near>,
    router: Router,
    flights: Flights<Course>,
    writers: Writers,
    refreshes: Refreshes,
    ops: Ops,
    timers: Timers,
    locks: Locks,
    overruled: Overruled,
    rng: Rng,
    speculation: Speculation,
    /// The next change of what the answer in hand has read will be reported.
    is_reported: bool,
    /// Since when a connection is missing, if one is.
    lost_at: Option<Instant>,
    /// Flights that load without a lock of Redis.
    direct_loads: usize,
    events: VecDeque<Event>,
    /// Somebody wants to know of every event.
    is_observed: bool,
    stats: Stats,
    closing: Closing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    /// Releases are under way; at the latest then the connection ends.
    Until(Instant),
    Done,
}

/// With more calls than that each write serves several.
const QUIET_CALLS_MAX: usize = 2;

/// How long `close` waits at most for locks to be released.
const CLOSE_MAX: Duration = Duration::from_secs(1);

impl Engine {
    /// Makes an engine that wishes for its first connection at once.
    pub fn new(now: Instant, seed: &Seed, config: Config) -> Self {
        let [near_seed, flight_seed, rng_seed] = seeds(seed);
        let mut rng = Rng::new(rng_seed);
        let locks = Locks::new(config.lock_prefix.as_bytes(), seed.unix_ms, &lock_random(seed));
        let lock_settings = LockSettings {
            lock_prefix: config.lock_prefix.clone().into_bytes(),
            lock_base: locks.base().to_vec(),
            lock_ttl: config.lock_ttl,
        };
        let router = Router::new(now, &config, Rng::new(rng.next()));
        let slots = if config.servers.is_cluster() { usize::from(Slot::COUNT) } else { 1 };
        let mut engine = Self {
            near: Arc::new(Near::new(
                now,
                config.near_cache_bytes,
                keeps_stale(&config),
                near_seed,
                slots,
            )),
            router,
            flights: Flights::new(flight_seed),
            writers: Writers::default(),
            refreshes: Refreshes::default(),
            ops: Ops::default(),
            timers: Timers::default(),
            locks,
            overruled: Overruled::default(),
            rng,
            speculation: Speculation::new(),
            is_reported: false,
            lost_at: None,
            direct_loads: 0,
            events: VecDeque::new(),
            is_observed: false,
            stats: Stats::default(),
            closing: Closing::No,
            lock_settings,
            config,
        };
        engine.handle_timeout(now);
        engine
    }

    /// A connection that was wished for is made.
    pub fn handle_connected(&mut self, now: Instant, conn: ConnId) {
        self.router.handle_connected(now, conn, &self.config);
        self.drain(now);
    }

    /// A connection, or the attempt to make it, has failed.
    pub fn handle_disconnected(&mut self, now: Instant, conn: ConnId, reason: &str) {
        let ctx = Context { now, config: &self.config, lock_settings: &self.lock_settings };
        self.router.handle_disconnected(ctx, conn, reason);
        self.drain(now);
    }

    /// Bytes have come. They may be cut anywhere.
    pub fn handle_read(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) {
        let mut input = Input(bytes);
        loop {
            let ctx = Context { now, config: &self.config, lock_settings: &self.lock_settings };
            let Some(event) = self.router.receive(ctx, conn, &mut input) else { break };
            self.on_router_event(now, event);
        }
        self.drain(now);
    }

    /// Time has passed; to be called at [`poll_timeout`](Self::poll_timeout), harmless at any time.
    pub fn handle_timeout(&mut self, now: Instant) {
        let ctx = Context { now, config: &self.config, lock_settings: &self.lock_settings };
        self.router.handle_timeout(ctx);
        while let Some(timer) = self.timers.expired(now) {
            self.on_timer(now, timer);
        }
        self.drain(now);
    }

    /// Ends every call with [`ErrorKind::Closed`](crate::ErrorKind::Closed), releases the locks and then the connections.
    /// [`Event::Closed`] follows within a second.
    pub fn close(&mut self, now: Instant) {
        if self.closing == Closing::No {
            self.closing = Closing::Until(now + CLOSE_MAX.min(self.config.command_timeout));
            self.is_reported = false;
            self.near.begin_epoch(&SlotSet::All);
            self.abort_all(now);
            self.router.close();
        }
        self.drain(now);
    }

    /// Has [`Event::Observed`] tell of all that an [`Observer`](crate::Observer) may want to know.
    pub fn observe(&mut self) {
        self.is_observed = true;
    }

    /// Takes the next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Gives the instant at which [`handle_timeout`](Self::handle_timeout) has something to do, if nothing else
    /// happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let closing = match self.closing {
            Closing::Until(at) => Some(at),
            Closing::No | Closing::Done => None,
        };
        let timers = [self.timers.next(), self.router.poll_timeout(&self.config), closing];
        timers.into_iter().flatten().min()
    }

    /// Names a connection that has bytes to write; after [`take_transmit`](Self::take_transmit) the next one.
    #[must_use]
    pub fn poll_transmit(&self) -> Option<ConnId> {
        self.transmits().next()
    }

    /// Names all connections that have bytes to write, for adapters that leave the writing to others.
    pub fn transmits(&self) -> impl Iterator<Item = ConnId> {
        self.router.transmits()
    }

    /// Whether `conn` has bytes to write.
    #[must_use]
    pub fn has_transmit(&self, conn: ConnId) -> bool {
        self.router.has_transmit(conn)
    }

    /// Swaps the bytes to write on `conn` with the buffer, whose content is dropped; `false` when there are none.
    /// They must be written whole and in order.
    pub fn take_transmit(&mut self, conn: ConnId, into: &mut Vec<u8>) -> bool {
        self.router.take_transmit(conn, into)
    }

    /// How many bytes wait to be written on a connection.
    pub fn unwritten(&self, conn: ConnId) -> usize {
        self.router.unwritten(conn)
    }

    /// Gives the near cache, to be asked without the engine.
    pub fn near(&self) -> &Arc<Near> {
        &self.near
    }

    /// Gives the settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether there is a connection that takes commands. Of a cluster, one to any of its primaries.
    pub fn is_connected(&self) -> bool {
        self.router.is_ready()
    }

    /// Whether the server reports changes, so that the near cache is in use. Of a cluster, all primaries that are
    /// connected.
    pub fn is_tracked(&self) -> bool {
        self.closing == Closing::No && self.router.is_tracked()
    }

    /// How many commands wait for an answer.
    pub fn in_flight(&self) -> usize {
        self.router.in_flight()
    }

    /// Whether so few calls are under way that bytes to write gain nothing by waiting for company.
    pub fn is_quiet(&self) -> bool {
        self.ops.len() <= QUIET_CALLS_MAX
    }

    /// Whether more than `commands` commands wait for an answer. Cheaper than to count them all.
    pub fn is_busier_than(&self, commands: usize) -> bool {
        self.router.is_busier_than(commands)
    }

    /// Gives the counters.
    pub fn stats(&self) -> Stats {
        Stats {
            near_hits: self.near.hits(),
            near_entries: self.near.len() as u64,
            near_bytes: self.near.bytes(),
            calls: self.ops.len() as u64,
            flights: self.flights.len() as u64,
            commands: self.router.in_flight() as u64,
            timers: self.timers.len() as u64,
            ..self.stats
        }
    }

    /// Passes on what both towers have to say until neither has anything left.
    fn drain(&mut self, now: Instant) {
        while let Some(event) = self.router.poll_event() {
            self.on_router_event(now, event);
        }
        if let Closing::Until(limit) = self.closing
            && (now >= limit || !self.router.is_busier_than(0))
        {
            self.closing = Closing::Done;
            self.router.hang_up();
            while self.router.poll_event().is_some() {}
            self.events.push_back(Event::Closed);
        }
        while let Some(action) = self.router.poll_action() {
            self.events.push_back(match action {
                Action::Dial { conn, address } => Event::Dial { conn, address },
                Action::HangUp { conn } => Event::HangUp { conn },
            });
        }
    }

    fn on_timer(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Wait(id) | Timer::Load(id) => {
                if let Some(flight) = self.flights.get_mut(id) {
                    flight.course.timer = None;
                }
                if matches!(timer, Timer::Load(_)) {
                    self.on_load_due(now, id);
                } else {
                    self.advance(now, id, crate::flow::get::Input::WaitOver);
                }
            }
            Timer::Set(op) => self.on_set_due(now, op),
            Timer::Refresh(op) => self.on_refresh_due(now, op),
            Timer::Deadline(op) => self.on_deadline(now, op),
        }
    }

    fn send(&mut self, now: Instant, token: Token, command: Command) {
        if let Command::Restore { lock, .. } = &command {
            self.locks.undo(now, *lock, now + self.config.lock_ttl);
        }
        let ctx = Context { now, config: &self.config, lock_settings: &self.lock_settings };
        self.router.send(ctx, token, command);
    }

    fn observed(&mut self, observed: impl FnOnce() -> Observed) {
        if self.is_observed {
            self.events.push_back(Event::Observed(observed().into()));
        }
    }

    fn notice(&mut self, notice: Notice) {
        self.events.push_back(Event::Notice(notice));
    }

    fn check_open(&self) -> Result<(), Error> {
        match self.closing {
            Closing::No => Ok(()),
            Closing::Until(_) | Closing::Done => Err(Error::closed()),
        }
    }
}

/// Who waits for the answer to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    Flight(FlightId),
    Call(OpId, u32),
    Nobody,
}

const FLIGHT_TAG: u64 = 1 << 63;

impl Sender {
    fn token(self) -> Token {
        match self {
            Self::Flight(id) => Token { sender: FLIGHT_TAG | u64::from(id.0), slot: 0 },
            Self::Call(op, slot) => {
                Token { sender: u64::from(op.generation) << 32 | u64::from(op.index), slot }
            }
            Self::Nobody => Token { sender: u64::MAX, slot: 0 },
        }
    }

    fn of(token: Token) -> Self {
        // The lower half holds the index; the cast keeps just that.
        let index = token.sender as u32;
        match token.sender {
            u64::MAX => Self::Nobody,
            sender if sender & FLIGHT_TAG != 0 => Self::Flight(FlightId(index)),
            sender => {
                let generation = (sender >> 32) as u32;
                Self::Call(OpId { index, generation }, token.slot)
            }
        }
    }
}

fn keeps_stale(config: &Config) -> bool {
    !(config.stale_if_error.is_zero() && config.stale_while_revalidate.is_zero())
}

fn seeds(seed: &Seed) -> [u64; 3] {
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&seed.random[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    [word(0), word(8), word(16) ^ word(24)]
}

fn lock_random(seed: &Seed) -> [u8; 10] {
    let mut random = [0; 10];
    random.copy_from_slice(&seed.random[22..]);
    random
}
