//! The engine behind its lock, and who is to be woken.
//!
//! Every input goes through [`Shared::step`]: lock, one input, drain every output, unlock, then wake and write. No
//! waker runs and no byte is written under the lock.

use std::collections::VecDeque;
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::time::Instant;

use redcache_core::{
    Address, ConnId, Engine, Error, Event, Key, LoaderId, Near, Notice, Observation, ObserverSlot,
    OpId, Outcome, Seed,
};
use slab::Slab;

use crate::conn::{Line, Link};
use crate::refresh::Refresher;
use crate::runtime::Runtime;
use crate::sync::{Mutex, MutexGuard};

/// What a call is told next.
#[derive(Debug)]
pub(crate) enum Turn {
    Load,
    LoadMany(Vec<Key>),
    Done(Outcome),
}

/// One call in flight, as its future sees it.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    pub(crate) waker: Option<Waker>,
    pub(crate) turn: Option<Turn>,
}

pub(crate) struct State<R: Runtime> {
    pub(crate) engine: Engine,
    pub(crate) seats: Slab<Seat>,
    /// The seat of each call that the engine knows, by the call's index.
    seat_of: Vec<usize>,
    pub(crate) lines: Vec<Line<R>>,
    pub(crate) dials: VecDeque<(ConnId, Address)>,
    /// Attempts to connect that are no longer wanted.
    pub(crate) given_up: Vec<ConnId>,
    /// The registered loaders.
    refreshers: Vec<(LoaderId, Refresher)>,
    /// Those that the engine wants to be run.
    pub(crate) refreshes: VecDeque<(LoaderId, Refresher)>,
    pub(crate) driver: Option<Waker>,
    /// Up to when the driver sleeps.
    pub(crate) sleeps_until: Option<Instant>,
    pub(crate) closed: bool,
    /// Tasks that have not ended yet.
    pub(crate) tasks: usize,
    /// How the last attempt to connect went.
    pub(crate) connected: Option<Result<(), Error>>,
    /// Wait for `connected`, or for the end of everything.
    pub(crate) watchers: Vec<Waker>,
    notices: VecDeque<Notice>,
    listening: bool,
}

type Listener = Box<dyn Fn(&Notice) + Send + Sync>;

/// What all handles and tasks of one cache share.
pub(crate) struct Shared<R: Runtime> {
    state: Mutex<State<R>>,
    pub(crate) near: Arc<Near>,
    pub(crate) observer: ObserverSlot,
    pub(crate) runtime: R,
    listener: Mutex<Option<Listener>>,
}

/// What is to be done after the lock is released.
#[derive(Default)]
pub(crate) struct Afterwards {
    observations: Vec<Observation>,
    wakes: Vec<Waker>,
    notices: bool,
}

/// So many bytes fill a segment of TCP.
const SEGMENT: usize = 1400;

/// Notices that nobody listens to yet; the latest are kept.
const NOTICES_MAX: usize = 16;

impl<R: Runtime> Shared<R> {
    pub(crate) fn new(config: redcache_core::Config, seed: &Seed, runtime: R) -> Self {
        let engine = Engine::new(runtime.now(), seed, config);
        let state = State {
            seats: Slab::new(),
            seat_of: Vec::new(),
            lines: Vec::new(),
            dials: VecDeque::new(),
            given_up: Vec::new(),
            refreshers: Vec::new(),
            refreshes: VecDeque::new(),
            driver: None,
            sleeps_until: None,
            closed: false,
            tasks: 0,
            connected: None,
            watchers: Vec::new(),
            notices: VecDeque::new(),
            listening: false,
            engine,
        };
        let near = Arc::clone(state.engine.near());
        let observer = ObserverSlot::default();
        Self { state: Mutex::new(state), near, observer, runtime, listener: Mutex::new(None) }
    }

    /// A panic elsewhere leaves no half-done step behind that the next one could not cope with.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the engine one input and passes on everything it answers.
    ///
    /// The caller writes by itself what it caused if nothing else is under way, and what has gathered once that fills
    /// a segment: then the server may begin. Otherwise the task of the connection is woken, once, and finds all that
    /// has gathered by then.
    pub(crate) fn step<T>(&self, input: impl FnOnce(&mut State<R>, Instant) -> T) -> T {
        let now = self.runtime.now();
        let mut state = self.lock();
        let was_idle = !state.engine.is_busier_than(0);
        let result = input(&mut state, now);
        let mut after = state.drain();
        let Some(first) = state.engine.poll_transmit() else {
            drop(state);
            self.finish(after);
            return result;
        };
        // Of a server on its own there are no others, and nothing is allocated for them.
        let others: Vec<_> = state.engine.transmits().skip(1).collect();
        let first = state.writer(first, was_idle, &mut after);
        let others: Vec<_> = others
            .into_iter()
            .filter_map(|conn| state.writer(conn, was_idle, &mut after))
            .collect();
        let side = first.as_ref().and_then(|(link, _)| link.claim(&mut state.engine));
        let sides: Vec<_> = others.iter().map(|(link, _)| link.claim(&mut state.engine)).collect();
        let claims = || first.iter().chain(&others).zip(iter::once(&side).chain(&sides));
        for ((link, _), side) in claims() {
            let Some(line) = state.line(link.conn) else { continue };
            after.wakes.extend(match side {
                None => line.rouse(),
                Some(_) if was_idle => line.rouse_to_poll(now),
                Some(_) => None,
            });
        }
        drop(state);
        for ((link, waker), side) in first.iter().chain(&others).zip(iter::once(side).chain(sides))
        {
            if let Some(mut side) = side {
                link.write_claimed(&mut side, waker);
            }
        }
        self.finish(after);
        result
    }

    /// The same for the task of a connection, which writes to that by itself once it has read everything.
    pub(crate) fn step_in_conn<T>(
        &self,
        conn: ConnId,
        input: impl FnOnce(&mut State<R>, Instant) -> T,
    ) -> T {
        let now = self.runtime.now();
        let mut state = self.lock();
        let result = input(&mut state, now);
        let mut after = state.drain();
        for other in state.engine.transmits().filter(|other| *other != conn).collect::<Vec<_>>() {
            after.wakes.extend(state.line(other).and_then(Line::rouse));
        }
        drop(state);
        self.finish(after);
        result
    }

    fn finish(&self, after: Afterwards) {
        for waker in after.wakes {
            waker.wake();
        }
        if after.notices {
            self.tell_listener();
        }
        for observation in after.observations {
            self.observer.tell(|observer| observation.tell(observer));
        }
    }

    pub(crate) fn listen(&self, listener: Listener) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
        self.lock().listening = true;
        self.tell_listener();
    }

    /// The listener's lock keeps notices in their order.
    fn tell_listener(&self) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(listener) = listener.as_ref() else {
            return;
        };
        loop {
            let Some(notice) = self.lock().notices.pop_front() else {
                return;
            };
            // A listener that panics must not take the task down that happened to tell it.
            let _ = catch_unwind(AssertUnwindSafe(|| listener(&notice)));
        }
    }
}

impl<R: Runtime> State<R> {
    /// Seats a call that the engine has accepted.
    pub(crate) fn seat(&mut self, op: OpId, waker: &Waker) -> usize {
        let seat = self.seats.insert(Seat { waker: Some(waker.clone()), turn: None });
        if self.seat_of.len() <= op.index() {
            self.seat_of.resize(op.index() + 1, usize::MAX);
        }
        self.seat_of[op.index()] = seat;
        seat
    }

    /// Carries every output of the engine to where it belongs.
    fn drain(&mut self) -> Afterwards {
        let mut after = Afterwards::default();
        while let Some(event) = self.engine.poll_event() {
            match event {
                Event::Done { op, outcome } => self.tell(op, Turn::Done(outcome), &mut after),
                Event::Load { op } => self.tell(op, Turn::Load, &mut after),
                Event::LoadMany { op, keys } => self.tell(op, Turn::LoadMany(keys), &mut after),
                Event::Dial { conn, address } => {
                    self.dials.push_back((conn, address));
                    after.wakes.extend(self.driver.take());
                }
                Event::Refresh { loader } => {
                    self.refreshes.extend(self.refresher(loader));
                    after.wakes.extend(self.driver.take());
                }
                Event::HangUp { conn } => self.hang_up(conn, &mut after),
                Event::Observed(observation) => after.observations.push(observation),
                Event::Notice(notice) => self.on_notice(notice, &mut after),
                Event::Closed => {
                    self.closed = true;
                    after.wakes.extend(self.driver.take());
                    after.wakes.append(&mut self.watchers);
                }
                _ => {}
            }
        }
        let due = self.engine.poll_timeout();
        if due.is_some_and(|due| self.sleeps_until.is_none_or(|until| due < until)) {
            after.wakes.extend(self.driver.take());
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

    fn tell(&mut self, op: OpId, turn: Turn, after: &mut Afterwards) {
        let seat = self.seat_of.get(op.index()).and_then(|&seat| self.seats.get_mut(seat));
        if let Some(seat) = seat {
            seat.turn = Some(turn);
            after.wakes.extend(seat.waker.take());
        }
    }

    /// A connection without its line has been hung up; its task ends when it finds out.
    fn hang_up(&mut self, conn: ConnId, after: &mut Afterwards) {
        if let Some(at) = self.lines.iter().position(|line| line.link.conn == conn) {
            after.wakes.extend(self.lines.swap_remove(at).waker().cloned());
        } else if let Some(at) = self.dials.iter().position(|(dialed, _)| *dialed == conn) {
            self.dials.remove(at);
        } else {
            self.given_up.push(conn);
            after.wakes.append(&mut self.watchers);
        }
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
        after.wakes.append(&mut self.watchers);
        if !self.listening && self.notices.len() == NOTICES_MAX {
            self.notices.pop_front();
        }
        self.notices.push_back(notice);
        after.notices = self.listening;
    }

    pub(crate) fn line(&mut self, conn: ConnId) -> Option<&mut Line<R>> {
        self.lines.iter_mut().find(|line| line.link.conn == conn)
    }

    /// Who can write to a connection in the caller's turn, if that is worth it: the task of the connection, if its socket
    /// does not take everything. Otherwise that task is to write.
    fn writer(
        &mut self,
        conn: ConnId,
        was_idle: bool,
        after: &mut Afterwards,
    ) -> Option<(Arc<Link<R>>, Waker)> {
        let is_worth_it = was_idle || self.engine.unwritten(conn) >= SEGMENT;
        let line = self.line(conn)?;
        let waker = line.waker().cloned().filter(|_| is_worth_it);
        if waker.is_none() {
            after.wakes.extend(line.rouse());
        }
        Some((Arc::clone(&line.link), waker?))
    }
}
