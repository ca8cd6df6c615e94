//! The engine behind its lock, and who is to be woken.
//!
//! Every input goes through [`Shared::step`]: lock, one input, drain every output, unlock, then wake and write. No
//! thread is woken, no byte is written and no code of the application runs under the lock.

use std::collections::VecDeque;
use std::iter;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use redcache_core::{
    Address, Config, ConnId, Engine, Error, Event, LoaderId, Near, Notice, Observation,
    ObserverSlot, OpId, Outcome, Seed,
};

use crate::call::{Seat, Turn};
use crate::conn::{Line, Link};
use crate::listener::Listener;
use crate::refresh::Refresher;

pub(crate) struct State {
    pub(crate) engine: Engine,
    /// The seat of each call that the engine knows, by the call's index.
    seats: Vec<Option<Arc<Seat>>>,
    lines: Vec<Line>,
    pub(crate) dials: VecDeque<(ConnId, Address)>,
    /// The registered loaders.
    refreshers: Vec<(LoaderId, Refresher)>,
    /// Those that the engine wants to be run.
    pub(crate) refreshes: VecDeque<(LoaderId, Refresher)>,
    /// Threads that try to connect. They cannot be interrupted, so nobody waits for them.
    pub(crate) dialing: Vec<Dialing>,
    /// All other threads that `close` waits for.
    threads: Vec<JoinHandle<()>>,
    /// Up to when the timer's thread sleeps; `None` when it sleeps without end.
    pub(crate) sleeps_until: Option<Instant>,
    pub(crate) closed: bool,
    /// How the last attempt to connect went.
    connected: Option<Result<(), Error>>,
    pub(crate) notices: VecDeque<Notice>,
    pub(crate) listener: Option<Listener>,
}

/// A thread that tries to connect.
pub(crate) struct Dialing {
    pub(crate) conn: ConnId,
    pub(crate) address: Address,
    pub(crate) thread: JoinHandle<()>,
}

/// What all handles and threads of one cache share.
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) near: Arc<Near>,
    pub(crate) observer: ObserverSlot,
    /// Wakes the timer's thread.
    timer: Condvar,
    /// Wakes those who wait for a notice or for the end.
    news: Condvar,
    /// Held by whoever waits for the threads to end.
    joins: Mutex<()>,
}

/// What is to be done after the lock is released.
#[derive(Default)]
struct Afterwards {
    observations: Vec<Observation>,
    told: Vec<Arc<Seat>>,
    hung_up: Vec<Line>,
    timer: bool,
    news: bool,
}

/// How long the timer's thread sleeps when nothing is due.
const SLEEP_MAX: Duration = Duration::from_secs(3600);
/// Notices that were not delivered yet; the latest are kept.
const NOTICES_MAX: usize = 16;

impl Shared {
    pub(crate) fn new(config: Config, seed: &Seed) -> Self {
        let engine = Engine::new(Instant::now(), seed, config);
        let near = Arc::clone(engine.near());
        let state = State {
            engine,
            seats: Vec::new(),
            lines: Vec::new(),
            dials: VecDeque::new(),
            refreshers: Vec::new(),
            refreshes: VecDeque::new(),
            dialing: Vec::new(),
            threads: Vec::new(),
            sleeps_until: None,
            closed: false,
            connected: None,
            notices: VecDeque::new(),
            listener: None,
        };
        Self {
            state: Mutex::new(state),
            near,
            observer: ObserverSlot::default(),
            timer: Condvar::new(),
            news: Condvar::new(),
            joins: Mutex::new(()),
        }
    }

    /// A panic elsewhere leaves no half-done step behind that the next one could not cope with.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the engine one input and passes on everything it answers.
    pub(crate) fn step<T>(&self, input: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut state = self.lock();
        // Read under the lock, so that the engine's time never goes back.
        let now = Instant::now();
        let was_idle = !state.engine.is_busier_than(0);
        let result = input(&mut state, now);
        let after = state.drain();
        let first = state.engine.poll_transmit();
        let writer = first.and_then(|conn| state.writer_of(conn));
        // Of a server on its own there are none, and nothing is allocated.
        let others: Vec<_> = state.writers_but(first).collect();
        let engine = &mut state.engine;
        let side = writer.as_ref().filter(|_| was_idle).and_then(|(link, _)| link.try_take(engine));
        let sides: Vec<_> = others
            .iter()
            .map(|(link, _)| if was_idle { link.try_take(engine) } else { None })
            .collect();
        drop(state);
        self.finish(after);
        for ((link, writer), side) in
            writer.iter().chain(&others).zip(iter::once(side).chain(sides))
        {
            match side {
                Some(mut side) => link.write(&mut side),
                None => writer.unpark(),
            }
        }
        result
    }

    fn finish(&self, after: Afterwards) {
        for seat in after.told {
            seat.wake();
        }
        for line in after.hung_up {
            line.hang_up();
        }
        if after.timer {
            self.timer.notify_one();
        }
        if after.news {
            self.tell_news();
        }
        for observation in after.observations {
            self.observer.tell(|observer| observation.tell(observer));
        }
    }

    /// The connection, if it is the only one and hardly any call but the asking one waits for it.
    pub(crate) fn lone_link(&self) -> Option<Arc<Link>> {
        let state = self.lock();
        match &state.lines[..] {
            [line] if state.engine.in_flight() > 0 && state.engine.is_quiet() => {
                Some(Arc::clone(&line.link))
            }
            _ => None,
        }
    }

    /// Starts a thread. It cannot get further than to the lock while the lock is held here.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        name: &str,
        run: impl FnOnce(&Arc<Self>) + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let shared = Arc::clone(self);
        thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared))
    }

    /// Sleeps until the engine's next deadline, or until there is something else to do for the timer's thread.
    pub(crate) fn sleep(&self) {
        let mut state = self.lock();
        if state.closed || !state.dials.is_empty() || !state.refreshes.is_empty() {
            return;
        }
        state.sleeps_until = state.engine.poll_timeout();
        let left = state
            .sleeps_until
            .map_or(SLEEP_MAX, |due| due.saturating_duration_since(Instant::now()));
        // Whatever woke it, there is one more look at what is due.
        drop(self.timer.wait_timeout(state, left));
    }

    /// Waits until an attempt to connect has succeeded or failed.
    pub(crate) fn wait_connected(&self) -> Result<(), Error> {
        let state = self.wait_while(|state| !state.closed && state.connected.is_none());
        match &state.connected {
            Some(connected) if !state.closed => connected.clone(),
            _ => Err(Error::closed()),
        }
    }

    /// Waits until everything is told and released and the threads have ended.
    pub(crate) fn wait_closed(&self) {
        let _joins = self.joins.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.wait_while(|state| !state.closed);
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        for thread in threads {
            // One that panicked has said so by itself.
            let _ = thread.join();
        }
    }

    /// Ends everything at once, for when nobody keeps the deadlines any more.
    pub(crate) fn abort(&self) {
        self.step(|state, now| state.engine.close(now));
        let mut state = self.lock();
        state.closed = true;
        let lines = std::mem::take(&mut state.lines);
        drop(state);
        self.finish(Afterwards { hung_up: lines, news: true, ..Afterwards::default() });
    }

    pub(crate) fn tell_news(&self) {
        self.news.notify_all();
    }

    pub(crate) fn wait_while(&self, waits: impl Fn(&mut State) -> bool) -> MutexGuard<'_, State> {
        self.news.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Seats a call that the engine has accepted.
    pub(crate) fn seat(&mut self, op: OpId, seat: &Arc<Seat>) {
        if self.seats.len() <= op.index() {
            self.seats.resize(op.index() + 1, None);
        }
        self.seats[op.index()] = Some(Arc::clone(seat));
    }

    /// Takes a call's seat away. If the call is over, its place may be another's.
    pub(crate) fn unseat(&mut self, op: OpId, seat: &Arc<Seat>) {
        if let Some(place) = self.seats.get_mut(op.index()) {
            place.take_if(|seated| Arc::ptr_eq(seated, seat));
        }
    }

    pub(crate) fn has_line(&self, conn: ConnId) -> bool {
        self.lines.iter().any(|line| line.link.conn == conn)
    }

    /// A connection is made; the thread that made it goes on to read it.
    pub(crate) fn add_line(&mut self, line: Line) {
        let conn = line.link.conn;
        self.lines.push(line);
        if let Some(at) = self.dialing.iter().position(|dialing| dialing.conn == conn) {
            let thread = self.dialing.swap_remove(at).thread;
            self.keep(thread);
        }
    }

    pub(crate) fn take_line(&mut self, conn: ConnId) -> Option<Line> {
        let at = self.lines.iter().position(|line| line.link.conn == conn)?;
        Some(self.lines.swap_remove(at))
    }

    /// Remembers a thread for `close` to wait for.
    pub(crate) fn keep(&mut self, handle: JoinHandle<()>) {
        self.threads.retain(|thread| !thread.is_finished());
        self.threads.push(handle);
    }

    /// Carries every output of the engine to where it belongs.
    fn drain(&mut self) -> Afterwards {
        let mut after = Afterwards::default();
        while let Some(event) = self.engine.poll_event() {
            match event {
                Event::Done { op, outcome } => self.done(op, outcome, &mut after),
                Event::Load { op } => self.tell(op, Turn::Load, &mut after),
                Event::LoadMany { op, keys } => self.tell(op, Turn::LoadMany(keys), &mut after),
                Event::Dial { conn, address } => {
                    self.dials.push_back((conn, address));
                    after.timer = true;
                }
                Event::Refresh { loader } => {
                    self.refreshes.extend(self.refresher(loader));
                    after.timer = true;
                }
                Event::HangUp { conn } => self.hang_up(conn, &mut after),
                Event::Observed(observation) => after.observations.push(observation),
                Event::Notice(notice) => self.on_notice(notice, &mut after),
                Event::Closed => {
                    self.closed = true;
                    after.timer = true;
                    after.news = true;
                }
                _ => {}
            }
        }
        let due = self.engine.poll_timeout();
        if due.is_some_and(|due| self.sleeps_until.is_none_or(|until| due < until)) {
            // The thread sleeps no longer than that, once it has looked.
            self.sleeps_until = due;
            after.timer = true;
        }
        after
    }

    pub(crate) fn keep_refresher(&mut self, family: LoaderId, refresher: Refresher) {
        self.refreshers.push((family, refresher));
    }

    pub(crate) fn forget_refresher(&mut self, family: LoaderId) -> Option<(LoaderId, Refresher)> {
        let at = self.refreshers.iter().position(|(kept, _)| *kept == family)?;
        Some(self.refreshers.swap_remove(at))
    }

    /// Every family that the engine knows has its loader here.
    fn refresher(&self, family: LoaderId) -> Option<(LoaderId, Refresher)> {
        self.refreshers.iter().find(|(kept, _)| *kept == family).cloned()
    }

    fn done(&mut self, op: OpId, outcome: Outcome, after: &mut Afterwards) {
        if let Some(seat) = self.seats.get_mut(op.index()).and_then(Option::take) {
            seat.tell(Turn::Done(outcome));
            after.told.push(seat);
        }
    }

    fn tell(&self, op: OpId, turn: Turn, after: &mut Afterwards) {
        if let Some(Some(seat)) = self.seats.get(op.index()) {
            seat.tell(turn);
            after.told.push(Arc::clone(seat));
        }
    }

    /// An attempt to connect cannot be interrupted. The engine turns down what comes of it.
    fn hang_up(&mut self, conn: ConnId, after: &mut Afterwards) {
        after.hung_up.extend(self.take_line(conn));
    }

    fn on_notice(&mut self, notice: Notice, after: &mut Afterwards) {
        match &notice {
            Notice::Connected => self.connected = Some(Ok(())),
            // Of a cluster, others may be connected.
            Notice::ConnectFailed { reason } if !self.engine.is_connected() => {
                self.connected = Some(Err(reason.clone()));
            }
            _ => {}
        }
        if self.notices.len() == NOTICES_MAX {
            self.notices.pop_front();
        }
        self.notices.push_back(notice);
        after.news = true;
    }

    /// The connection, and the thread that writes what the current one does not.
    fn writer_of(&self, conn: ConnId) -> Option<(Arc<Link>, thread::Thread)> {
        let line = self.lines.iter().find(|line| line.link.conn == conn)?;
        Some((Arc::clone(&line.link), line.writer.clone()))
    }

    /// The same for all connections that have bytes to write, except one.
    fn writers_but(
        &self,
        but: Option<ConnId>,
    ) -> impl Iterator<Item = (Arc<Link>, thread::Thread)> {
        let others = self.engine.transmits().filter(move |conn| Some(*conn) != but);
        others.filter_map(|conn| self.writer_of(conn))
    }
}

#[cfg(test)]
mod tests {
    use redcache_sim::listen::EmbeddedServer;

    use redcache_core::CallOptions;

    use super::*;

    fn shared(url: &str) -> Arc<Shared> {
        let seed = Seed { random: [7; 32], unix_ms: 0 };
        Arc::new(Shared::new(Config::from_url(url).unwrap(), &seed))
    }

    #[test]
    fn of_the_notices_that_nobody_listens_to_the_latest_are_kept() {
        let shared = shared("redis://localhost");
        let mut state = shared.lock();
        for number in 0..40 {
            let notice = Notice::Untracked { reason: number.to_string() };
            state.on_notice(notice, &mut Afterwards::default());
        }
        assert_eq!(state.notices.len(), NOTICES_MAX);
        assert!(state.notices.back().unwrap().to_string().ends_with("39"));
    }

    #[test]
    fn without_anybody_to_keep_the_deadlines_every_call_ends_at_once() {
        let server = EmbeddedServer::start().unwrap();
        let shared = shared(&server.url());
        crate::timer::start(&shared).unwrap();
        shared.wait_connected().unwrap();
        let begin = |engine: &mut Engine, now| engine.get(now, "k".into());
        let mut call = server.with(|_| {
            let call = crate::call::Call::begin(&shared, CallOptions::new(), begin).unwrap();
            shared.abort();
            call
        });
        assert!(matches!(call.turn(), Turn::Done(Outcome::Answer(Err(_)))));
        shared.wait_closed();
        assert!(crate::call::Call::begin(&shared, CallOptions::new(), begin).is_err());
    }
}
