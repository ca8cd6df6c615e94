//! The state that all handles and tasks of one cache share.
//!
//! Every input goes through [`Shared::step`], which locks, gives the engine the input, drains every
//! output, unlocks, and then wakes tasks and writes bytes. No waker runs and no byte is written
//! under the lock. Application code runs once the thread holds no lock.

use std::sync::{Arc, PoisonError};
use std::task::{Poll, Waker};
use std::time::Instant;

use redcache_adapter::{
    Deferring, Encryption, Host, LoadResult, NearReader, Outputs, OwnProcess, Progress, Scope,
    SharedHost, check_providers, in_parts,
};
use redcache_core::engine::{ConnId, NearTime, Seed, Transmit};
use redcache_core::{Answer, CallOptions, Config, Error, Key};
use smallvec::SmallVec;

use crate::any_runtime::{AnyRuntime, BoxFuture};
use crate::call_slots::CallSlots;
use crate::connection::Connection;
use crate::sync::{Mutex, MutexGuard};
use crate::watchers::Watchers;
use crate::write_half::WriteHalf;

/// A registered loader. It hides the type of its error.
pub(crate) type Loader = Arc<dyn Fn(Vec<Key>) -> BoxFuture<'static, LoadResult> + Send + Sync>;

/// The shared state under the lock.
pub(crate) struct State {
    pub(crate) host: Host<CallSlots, Loader>,
    pub(crate) connections: Vec<Connection>,
    /// Wakes the driver's task while it sleeps.
    pub(crate) driver: Option<Waker>,
    /// The number of background tasks that have not ended.
    pub(crate) tasks: usize,
    pub(crate) watchers: Watchers,
}

/// The shared state of one cache.
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) process: OwnProcess,
    pub(crate) near: NearReader,
    pub(crate) runtime: Box<dyn AnyRuntime>,
    pub(crate) encryption: Encryption,
}

/// The lock of the state.
pub(crate) type Locked<'a> = Deferring<MutexGuard<'a, State>>;

/// The number of bytes that fill a TCP segment.
const SEGMENT: usize = 1400;

impl Shared {
    /// Create the state of a new cache.
    ///
    /// # Errors
    ///
    /// Fails if the TLS settings or the credentials provider cannot be used.
    pub(crate) fn new(
        config: Config,
        seed: &Seed,
        runtime: Box<dyn AnyRuntime>,
    ) -> Result<Self, Error> {
        check_providers(&config, false)?;
        let encryption = Encryption::new(&config)?;
        let host = Host::new(runtime.now(), seed, config, CallSlots::default());
        let near = NearReader::new(&host.engine);
        let state = State {
            host,
            connections: Vec::new(),
            driver: None,
            tasks: 0,
            watchers: Watchers::default(),
        };
        let process = OwnProcess::current();
        Ok(Self { state: Mutex::new(state), process, near, runtime, encryption })
    }

    /// Return the time of a lookup in the near cache.
    #[inline]
    pub(crate) fn near_now(&self, is_call_limited: bool) -> NearTime {
        if self.runtime.follows_system_clock() {
            self.near.now(is_call_limited)
        } else {
            self.near.time_of(self.runtime.coarse_now())
        }
    }

    /// Return the instant of a lookup of several keys in the near cache.
    pub(crate) fn near_instant(&self, options: &CallOptions) -> Instant {
        if self.runtime.follows_system_clock() {
            self.near.instant(options)
        } else {
            self.runtime.coarse_now()
        }
    }

    /// Answer a key from the near cache.
    #[inline]
    pub(crate) fn answer_near(&self, key: &[u8], options: &CallOptions) -> Option<Answer> {
        self.near.get(key, options, |is_call_limited| self.near_now(is_call_limited), Answer::from)
    }

    /// Lock the state. A panic under the lock leaves no step half done.
    pub(crate) fn lock(&self) -> Locked<'_> {
        Deferring::lock(|| self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Give the engine one input, and act on all its outputs.
    ///
    /// The caller writes the bytes of its input itself if no other command is in flight, or if the
    /// bytes fill a segment, so that the server can begin. Otherwise it wakes the task of the
    /// connection, once, and that task writes everything that has accumulated by then.
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
        let clock = self.runtime.now();
        let mut state = self.lock();
        let now = state.host.advance(clock);
        let was_idle =
            before.map_or_else(|| !state.host.engine.is_busier_than(0), |it| it.was_idle);
        let result = input(&mut state, now);
        let mut outputs = state.drain();
        let progress = Progress { was_idle, is_starting: state.host.engine.is_starting() };
        // There is seldom more than one connection, and no allocation for a single one.
        let transmits: SmallVec<[_; 1]> = state.host.engine.transmits().collect();
        let writers: SmallVec<[_; 1]> = transmits
            .into_iter()
            .filter_map(|transmit| state.writer(transmit, was_idle, &mut outputs))
            .collect();
        let claims: SmallVec<[_; 1]> = writers
            .iter()
            .filter_map(|(half, waker)| {
                let claim = half.claim(&mut state.host.engine);
                let connection = state.connection(half.conn)?;
                outputs.wakers.extend(match claim {
                    None => connection.wake_if_parked(),
                    Some(_) if was_idle && !progress.is_starting => connection.wake_to_poll(now),
                    Some(_) => None,
                });
                Some((half, claim?, waker))
            })
            .collect();
        drop(state);
        for (half, mut claim, waker) in claims {
            half.write_claimed(&mut claim, waker);
        }
        self.finish(outputs);
        (result, progress)
    }

    /// Give the engine one input in the task of the connection `conn`, which writes to it once it
    /// has read everything.
    pub(crate) fn step_in_connection<T>(
        &self,
        conn: ConnId,
        input: impl FnOnce(&mut State, Instant) -> T,
    ) -> T {
        let clock = self.runtime.now();
        let mut state = self.lock();
        let now = state.host.advance(clock);
        let result = input(&mut state, now);
        let mut outputs = state.drain();
        let engine = &state.host.engine;
        for other in engine.transmits().filter(|other| other.conn != conn).collect::<Vec<_>>() {
            outputs
                .wakers
                .extend(state.connection(other.conn).and_then(Connection::wake_if_parked));
        }
        drop(state);
        self.finish(outputs);
        result
    }

    fn finish(&self, outputs: Outputs<Waker>) {
        for waker in outputs.wakers {
            waker.wake();
        }
        self.near.observe(outputs.observations);
    }

    /// Wait until `check` returns a value. `check` is called after each change of the state that
    /// sets `has_news`.
    pub(crate) async fn wait_for<T>(&self, mut check: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut watch = Watch { shared: self, key: None };
        std::future::poll_fn(|cx| {
            // A waker may own a future of the application, so it is cloned and dropped unlocked.
            let waker = cx.waker().clone();
            let mut state = self.lock();
            if let Some(value) = check(&mut state) {
                return Poll::Ready(value);
            }
            watch.renew(state, waker);
            Poll::Pending
        })
        .await
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
        self.runtime.now()
    }

    fn process(&self) -> &OwnProcess {
        &self.process
    }
}

impl State {
    /// Sort the outputs of the engine, and wake the tasks that they concern.
    fn drain(&mut self) -> Outputs<Waker> {
        let mut outputs = self.host.drain();
        if outputs.has_work {
            outputs.wakers.extend(self.driver.take());
        }
        let hang_ups = std::mem::take(&mut outputs.hang_ups);
        if outputs.has_news || !hang_ups.is_empty() {
            outputs.wakers.extend(self.watchers.take_all());
        }
        for conn in hang_ups {
            // The task of a connection that is not in the list ends.
            if let Some(connection) = self.take_connection(conn) {
                outputs.wakers.extend(connection.waker);
            }
            self.host.dials.end(conn);
        }
        outputs
    }

    pub(crate) fn connection(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.id() == conn)
    }

    pub(crate) fn take_connection(&mut self, conn: ConnId) -> Option<Connection> {
        let at = self.connections.iter().position(|connection| connection.id() == conn)?;
        Some(self.connections.swap_remove(at))
    }

    /// Return the sending half of a connection and the waker of its task, if the caller should
    /// write to it. Otherwise wake the task, which writes.
    fn writer(
        &mut self,
        Transmit { conn, bytes, .. }: Transmit,
        was_idle: bool,
        outputs: &mut Outputs<Waker>,
    ) -> Option<(Arc<WriteHalf>, Waker)> {
        let is_worthwhile = was_idle || bytes >= SEGMENT;
        let connection = self.connection(conn)?;
        let waker = connection.waker.clone().filter(|_| is_worthwhile);
        if waker.is_none() {
            outputs.wakers.extend(connection.wake_if_parked());
        }
        Some((Arc::clone(&connection.write_half), waker?))
    }
}

/// The entry of a task among the watchers.
pub(crate) struct Watch<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) key: Option<usize>,
}

impl Watch<'_> {
    /// Store the waker of the task, and release the lock.
    pub(crate) fn renew(&mut self, mut state: Locked<'_>, waker: Waker) {
        let replaced = state.watchers.watch(&mut self.key, waker);
        // A waker may own a future of the application, so it is not dropped under the lock.
        drop(state);
        drop(replaced);
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let forgotten = self.shared.lock().watchers.forget(self.key);
        drop(forgotten);
    }
}
