//! The state that all handles and threads of one cache share.
//!
//! Every input goes through [`Shared::step`], which locks, gives the engine the input, drains every
//! output, unlocks, and then wakes threads and writes bytes. No thread is woken and no byte is
//! written under the lock. Application code runs once the thread holds no lock.

use std::cell::Cell;
use std::io;
use std::iter;
use std::mem;
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use redcache_adapter::{
    Deferring, Encryption, Host, LoadResult, NearReader, Outputs, OwnProcess, PollBackoff,
    Progress, Scope, SharedHost, check_providers, in_parts,
};
use redcache_core::engine::{ConnId, Engine, Seed, Transmit};
use redcache_core::{Config, Error, Key};

use crate::call_slots::{CallSlot, CallSlots};
use crate::connection::{Connection, ConnectionIo, DIRECT_MAX};

/// A registered loader. It hides the type of its error.
pub(crate) type Loader = Arc<dyn Fn(Vec<Key>) -> LoadResult + Send + Sync>;

/// The shared state under the lock.
pub(crate) struct State {
    pub(crate) host: Host<CallSlots, Loader>,
    connections: Vec<Connection>,
    /// Threads that connect. They cannot be interrupted, so `close` does not wait for them.
    pub(crate) dialing: Vec<(ConnId, JoinHandle<()>)>,
    /// The other threads that `close` waits for.
    threads: Vec<JoinHandle<()>>,
}

/// The shared state of one cache.
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) process: OwnProcess,
    pub(crate) near: NearReader,
    pub(crate) encryption: Encryption,
    /// The history of threads that yielded before they slept.
    pub(crate) yields: PollBackoff,
    /// Wakes the timer thread.
    timer: Condvar,
    /// Wakes the threads that wait for a connection or for the end.
    news: Condvar,
    /// Held by the thread that waits for the others to end.
    joins: Mutex<()>,
}

/// The lock of the state.
type Locked<'a> = Deferring<MutexGuard<'a, State>>;

thread_local! {
    /// The address of the shared state of the cache that this thread serves, or null.
    static SERVES: Cell<*const Shared> = const { Cell::new(ptr::null()) };
}

/// The longest sleep of the timer thread.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

impl Shared {
    /// Create the state of a new cache.
    ///
    /// # Errors
    ///
    /// Fails if the TLS settings or the credentials provider cannot be used.
    pub(crate) fn new(config: Config, seed: &Seed) -> Result<Self, Error> {
        check_providers(&config, true)?;
        let encryption = Encryption::new(&config)?;
        let host = Host::new(Instant::now(), seed, config, CallSlots::default());
        let near = NearReader::new(&host.engine);
        let state =
            State { host, connections: Vec::new(), dialing: Vec::new(), threads: Vec::new() };
        Ok(Self {
            state: Mutex::new(state),
            process: OwnProcess::current(),
            near,
            encryption,
            yields: PollBackoff::default(),
            timer: Condvar::new(),
            news: Condvar::new(),
            joins: Mutex::new(()),
        })
    }

    /// Lock the state. A panic under the lock leaves no step half done.
    pub(crate) fn lock(&self) -> Locked<'_> {
        Deferring::lock(|| self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Give the engine one input, and act on all its outputs.
    ///
    /// The caller writes the bytes of its input itself if they are few and few calls are in flight.
    /// Otherwise it wakes the writer thread of the connection.
    ///
    /// A large batch takes several steps, each of which writes its part.
    pub(crate) fn step<T>(&self, input: impl FnOnce(&mut State, Instant) -> T) -> T {
        // Application code runs after the bytes are written.
        let _scope = Scope::enter();
        let start_more = |state: &mut State, now| state.host.engine.start_more(now);
        let next = |progress| self.step_once(Some(progress), start_more).1;
        in_parts(|| self.step_once(None, input), next)
    }

    fn step_once<T>(
        &self,
        before: Option<Progress>,
        input: impl FnOnce(&mut State, Instant) -> T,
    ) -> (T, Progress) {
        let clock = Instant::now();
        let mut state = self.lock();
        let now = state.host.advance(clock);
        let was_idle =
            before.map_or_else(|| !state.host.engine.is_busier_than(0), |it| it.was_idle);
        let result = input(&mut state, now);
        let mut outputs = state.host.drain();
        let progress = Progress { was_idle, is_starting: state.host.engine.is_starting() };
        let hang_ups = mem::take(&mut outputs.hang_ups);
        let hung_up: Vec<_> =
            hang_ups.into_iter().filter_map(|conn| state.take_connection(conn)).collect();
        let mut transmits = state.host.engine.transmits();
        let first = transmits.next().and_then(|transmit| state.writer(transmit, was_idle));
        // A standalone server has few further connections, so this seldom allocates.
        let others: Vec<_> =
            transmits.filter_map(|transmit| state.writer(transmit, was_idle)).collect();
        let engine = &mut state.host.engine;
        let claim = first.as_ref().and_then(|writer| writer.claim(engine));
        let claims: Vec<_> = others.iter().map(|writer| writer.claim(engine)).collect();
        drop(state);
        self.finish(outputs);
        hung_up.iter().for_each(Connection::hang_up);
        let claims = iter::once(claim).chain(claims);
        for (writer, claim) in first.iter().chain(&others).zip(claims) {
            match claim {
                Some(mut unwritten) => writer.io.write(&mut unwritten),
                None => writer.thread.unpark(),
            }
        }
        (result, progress)
    }

    fn finish(&self, outputs: Outputs<Arc<CallSlot>>) {
        for slot in outputs.wakers {
            slot.wake();
        }
        if outputs.has_work {
            self.timer.notify_one();
        }
        if outputs.has_news {
            self.notify_news();
        }
        self.near.observe(outputs.observations);
    }

    /// Start a thread that calls wait for. The caller holds the lock, so the thread cannot pass its
    /// first step yet.
    pub(crate) fn spawn_service(
        self: &Arc<Self>,
        name: &str,
        run: impl FnOnce(&Arc<Self>) + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        self.spawn(name, |shared| {
            SERVES.set(Arc::as_ptr(shared));
            run(shared);
        })
    }

    /// Start a thread.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        name: &str,
        run: impl FnOnce(&Arc<Self>) + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let shared = Arc::clone(self);
        thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared))
    }

    /// Check that a call may wait on this thread.
    ///
    /// # Errors
    ///
    /// Fails if the call would wait for this thread, or in a fork of the process.
    pub(crate) fn check_thread(&self) -> Result<(), Error> {
        self.process.check()?;
        if ptr::eq(SERVES.get(), self) { Err(Error::on_own_thread()) } else { Ok(()) }
    }

    /// Sleep until the engine's next timeout, or until the timer thread has other work.
    pub(crate) fn sleep(&self) {
        let mut state = self.lock();
        if state.host.is_closed() || state.host.has_work() {
            return;
        }
        let until = state.host.begin_sleep();
        let left = until.map_or(SLEEP_MAX, |due| due.saturating_duration_since(Instant::now()));
        // After any wake-up, the thread looks for work again.
        drop(state.wait(|state| {
            let woken = self.timer.wait_timeout(state, left);
            woken.unwrap_or_else(PoisonError::into_inner).0
        }));
    }

    /// Wait until an attempt to connect has succeeded or failed.
    pub(crate) fn wait_ready(&self) -> Result<(), Error> {
        self.check_thread()?;
        let state = self.wait_while(|state| state.host.readiness().is_none());
        state.host.readiness().unwrap_or_else(|| Err(Error::closed()))
    }

    /// Wait until every call has ended, every lock is released and the threads have ended. A thread
    /// that serves a cache does not wait: `close` may join it.
    pub(crate) fn wait_closed(&self) {
        if !SERVES.get().is_null() {
            return;
        }
        let _joins = self.joins.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.wait_while(|state| !state.host.is_closed());
        let threads = mem::take(&mut state.threads);
        drop(state);
        for thread in threads {
            // The panic hook has reported a panic.
            let _ = thread.join();
        }
    }

    /// Close the cache at once, because the timer thread can no longer keep the timeouts.
    pub(crate) fn abort(&self) {
        self.step(|state, now| state.host.abort(now, "its timer thread has panicked"));
        let connections = mem::take(&mut self.lock().connections);
        connections.iter().for_each(Connection::hang_up);
        self.notify_news();
    }

    pub(crate) fn notify_news(&self) {
        self.news.notify_all();
    }

    pub(crate) fn wait_while(&self, waits: impl Fn(&State) -> bool) -> Locked<'_> {
        let waits = |state: &mut State| waits(state);
        self.lock().wait(|state| {
            self.news.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner)
        })
    }
}

impl SharedHost for Shared {
    type Calls = CallSlots;
    type Loader = Loader;

    fn with_host<T>(&self, input: impl FnOnce(&mut Host<CallSlots, Loader>, Instant) -> T) -> T {
        self.step(|state, now| input(&mut state.host, now))
    }

    fn near(&self) -> &NearReader {
        &self.near
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn process(&self) -> &OwnProcess {
        &self.process
    }
}

impl State {
    pub(crate) fn has_connection(&self, conn: ConnId) -> bool {
        self.connections.iter().any(|connection| connection.id() == conn)
    }

    /// Return the connection on which the next reply is expected: the only one, or the only one
    /// with bytes to write.
    pub(crate) fn awaited_connection(&self) -> Option<&Connection> {
        if let [connection] = &self.connections[..] {
            return Some(connection);
        }
        let mut transmits = self.host.engine.transmits();
        let (sole, None) = (transmits.next()?, transmits.next()) else { return None };
        self.connections.iter().find(|connection| connection.id() == sole.conn)
    }

    /// Add a connection. The thread that established the connection then reads from it.
    pub(crate) fn add_connection(&mut self, connection: Connection) {
        let conn = connection.id();
        self.connections.push(connection);
        if let Some(at) = self.dialing.iter().position(|(dialing, _)| *dialing == conn) {
            let (_, thread) = self.dialing.swap_remove(at);
            self.keep(thread);
        }
    }

    pub(crate) fn take_connection(&mut self, conn: ConnId) -> Option<Connection> {
        let at = self.connections.iter().position(|connection| connection.id() == conn)?;
        Some(self.connections.swap_remove(at))
    }

    /// Add a thread that `close` waits for.
    pub(crate) fn keep(&mut self, thread: JoinHandle<()>) {
        self.threads.retain(|thread| !thread.is_finished());
        self.threads.push(thread);
    }

    /// Return the way in which the bytes of a connection are written.
    fn writer(&self, transmit: Transmit, was_idle: bool) -> Option<Writer> {
        let conn = transmit.conn;
        let connection = self.connections.iter().find(|connection| connection.id() == conn)?;
        let is_quiet = self.host.engine.is_quiet() && transmit.unanswered <= DIRECT_MAX;
        Some(Writer {
            io: Arc::clone(&connection.io),
            thread: connection.writer.clone(),
            is_direct: was_idle || is_quiet,
        })
    }
}

/// A connection with bytes to write.
struct Writer {
    io: Arc<ConnectionIo>,
    /// The writer thread.
    thread: Thread,
    /// The thread that has given the engine an input writes itself, if the bytes are few.
    is_direct: bool,
}

impl Writer {
    fn claim(&self, engine: &mut Engine) -> Option<MutexGuard<'_, Vec<u8>>> {
        if self.is_direct { self.io.claim(engine) } else { None }
    }
}
