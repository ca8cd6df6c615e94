use bytes::Bytes;

use super::*;
use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::api::load_error::LoadFailure;
use crate::flow::pace::{LoadTimes, Patience};
use crate::flow::publication::Publication;
use crate::flow::superseded::SupersededLocks;
use crate::protocol::envelope::Value;
use crate::protocol::lock::Locks;
use crate::protocol::reply::Replaced;
use crate::rng::Rng;

/// A fetch without an engine, and a record of its commands.
struct Flight {
    key: Key,
    patience: Patience,
    locks: Locks,
    rng: Rng,
    now: Instant,
    /// The lock attempt without a reply.
    attempt: Option<LockId>,
    /// Granted locks that were neither published nor released.
    held: Vec<LockId>,
    loading: bool,
    loads_direct: bool,
    reload: bool,
    superseded: SupersededLocks,
    is_superseded: bool,
    wait_until: Option<Instant>,
    sent: Vec<&'static str>,
}

impl Flight {
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        Self {
            key: Key::from("k"),
            patience: Patience::default(),
            locks: Locks::new(b"lock:", 0, &[7; 10]),
            rng: Rng::new(1),
            now,
            attempt: None,
            held: Vec::new(),
            loading: false,
            loads_direct: false,
            reload: false,
            superseded: SupersededLocks::default(),
            is_superseded: false,
            wait_until: None,
            sent: Vec::new(),
        }
    }

    fn context(&mut self) -> Context<'_> {
        Context {
            now: self.now,
            key: &self.key,
            patience: &mut self.patience,
            locks: &mut self.locks,
            rng: &mut self.rng,
            load_times: LoadTimes {
                lock_ttl: Duration::from_secs(10),
                load_timeout: Duration::from_secs(60),
            },
            reload: self.reload,
            superseded: &mut self.superseded,
            is_superseded: self.is_superseded,
            tracked: true,
            loads_direct: self.loads_direct,
            allows_locks: true,
        }
    }

    fn start(&mut self, speculate: bool) -> Get {
        let mut effects = Effects::default();
        let first = FirstRead { takes_lock: speculate, asks_ttl: true };
        let state = Get::start(&mut self.context(), first, &mut effects);
        self.note(effects);
        state
    }

    fn handle(&mut self, state: Get, input: Input) -> Step {
        match (&state, &input) {
            (Get::AwaitRead { .. }, Input::Read(reply)) if reply.lock == LockReply::Granted => {
                self.held.extend(self.attempt);
            }
            (Get::AwaitLock { lock }, Input::Effect(true)) => self.held.push(*lock),
            (
                Get::AwaitWriteLock { lock },
                Input::WriteLocked { reply: WriteLockReply::Granted(_), .. },
            ) => self.held.push(*lock),
            (Get::Publishing { held, .. }, Input::Effect(_)) => self.forget(held.lock),
            _ => {}
        }
        let mut effects = Effects::default();
        let step = state.handle(input, &mut self.context(), &mut effects);
        self.loading = false;
        self.note(effects);
        step
    }

    /// Pass an input that does not end the fetch, and return the next state.
    fn next(&mut self, state: Get, input: Input) -> Get {
        match self.handle(state, input) {
            Step::Next(next) => next,
            Step::Done(end) => panic!("ended: {end:?}"),
        }
    }

    fn forget(&mut self, lock: LockId) {
        self.held.retain(|held| *held != lock);
    }

    fn note(&mut self, effects: Effects) {
        for command in [effects.send_detached, effects.send].into_iter().flatten() {
            self.sent.push(command.name());
            match command {
                Command::ReadOrLock { lock, .. } => self.attempt = Some(lock),
                Command::Release { lock, .. } | Command::Restore { lock, .. } => self.forget(lock),
                _ => {}
            }
        }
        self.loading |= effects.start_load;
        self.wait_until = effects.wait_until;
    }
}

fn read(stored: Stored, ttl: Ttl, lock: LockReply, invalidated: bool) -> Input {
    Input::Read(ReadReply { stored, ttl, lock, invalidated })
}

fn missing(lock: LockReply) -> Input {
    read(Stored::Missing, Ttl::Absent, lock, false)
}

fn theirs_raw() -> Bytes {
    Bytes::from_static(b"lock:theirs:1")
}

fn theirs() -> Stored {
    Stored::Lock(theirs_raw())
}

fn write_locked(flight: &Flight, reply: WriteLockReply, interrupted: bool) -> Input {
    Input::WriteLocked { reply, asked_at: flight.now, interrupted }
}

fn over_a_value(ttl: Ttl) -> WriteLockReply {
    let raw = Bytes::from_static(b"__redcache:v1:7:old");
    WriteLockReply::Granted(Some(Replaced { raw, ttl }))
}

fn a_value() -> Stored {
    Stored::Value(Value { payload: Bytes::from_static(b"v"), compute_time: Duration::ZERO })
}

fn a_load(store: bool) -> Input {
    let payload = Bytes::from_static(b"v");
    let publication = store.then(|| Publication {
        payload: payload.clone(),
        compute_time: Duration::ZERO,
        ttl: Duration::from_secs(1),
    });
    Input::Loaded(LoadedValue { value: Some(payload), publication })
}

fn refusal() -> Refusal {
    Refusal::of(b"OOM command not allowed")
}

const LEFT: Ttl = Ttl::Left(Duration::from_secs(3));

/// Return every input that a fetch in this state can have.
fn inputs(flight: &Flight, state: &Get) -> Vec<Input> {
    let failed = || Input::Failed(Error::new(ErrorKind::Timeout, ""));
    match state {
        Get::AwaitRead { lock } => {
            let mut inputs = vec![
                Input::Abandoned,
                Input::Woken,
                Input::Refused(refusal()),
                failed(),
                read(a_value(), Ttl::Endless, LockReply::NotTried, false),
                read(Stored::Missing, Ttl::Absent, LockReply::NotTried, true),
            ];
            for invalidated in [false, true] {
                inputs.push(read(theirs(), LEFT, LockReply::NotTried, invalidated));
                inputs.push(read(theirs(), Ttl::Endless, LockReply::NotTried, invalidated));
            }
            if lock.is_some() {
                inputs.push(read(a_value(), LEFT, LockReply::Granted, false));
                inputs.push(read(Stored::Missing, Ttl::Absent, LockReply::Granted, true));
                inputs.push(read(Stored::Missing, Ttl::Absent, LockReply::Taken, true));
                inputs.push(missing(LockReply::Refused(refusal())));
            }
            inputs
        }
        Get::AwaitLock { .. } | Get::Publishing { .. } => vec![
            Input::Effect(true),
            Input::Effect(false),
            Input::Refused(refusal()),
            failed(),
            Input::Abandoned,
            Input::Woken,
        ],
        Get::Loading { .. } => vec![
            a_load(true),
            a_load(false),
            Input::LoadFailed(LoadFailure::new("no")),
            Input::Abandoned,
            Input::LoadDue,
            Input::Woken,
        ],
        Get::AwaitWriteLock { .. } => vec![
            write_locked(flight, WriteLockReply::Granted(None), false),
            write_locked(flight, over_a_value(LEFT), false),
            write_locked(flight, over_a_value(LEFT), true),
            write_locked(flight, WriteLockReply::Taken { lock: theirs_raw(), ttl: LEFT }, false),
            Input::Refused(refusal()),
            failed(),
            Input::Abandoned,
            Input::Woken,
        ],
        Get::AwaitUnlock => vec![Input::Woken, Input::WaitOver, Input::Abandoned],
    }
}

/// Replay a path of choices. Return the number of possible next inputs, or `None` at its end.
fn replay((speculate, reload): (bool, bool), path: &[usize]) -> Option<usize> {
    let mut flight = Flight { reload, ..Flight::new() };
    let mut state = flight.start(speculate);
    for &choice in path {
        let input = inputs(&flight, &state).swap_remove(choice);
        match flight.handle(state, input) {
            Step::Next(next) => state = next,
            Step::Done(end) => {
                assert!(flight.held.is_empty(), "a lock is left behind at {end:?} by {path:?}");
                return None;
            }
        }
        let is_held = matches!(state, Get::Loading { held: Some(_), .. } | Get::Publishing { .. });
        assert_eq!(flight.held.len(), usize::from(is_held), "{path:?} led to {state:?}");
    }
    Some(inputs(&flight, &state).len())
}

#[test]
fn a_granted_lock_is_always_published_released_or_held() {
    const LENGTH_MAX: usize = 6;
    let mut paths = 0;
    for mode in [(false, false), (true, false), (false, true)] {
        let mut open = vec![Vec::new()];
        while let Some(path) = open.pop() {
            paths += 1;
            let choices = replay(mode, &path).filter(|_| path.len() < LENGTH_MAX);
            for choice in 0..choices.unwrap_or(0) {
                open.push(path.iter().copied().chain([choice]).collect());
            }
        }
    }
    assert!(paths > 10_000, "only {paths} paths");
}

#[test]
fn a_cold_miss_reads_loads_and_publishes() {
    let mut flight = Flight::new();
    let state = flight.start(true);
    let state = flight.next(state, missing(LockReply::Granted));
    assert!(flight.loading);
    let state = flight.next(state, a_load(true));
    let step = flight.handle(state, Input::Effect(true));
    assert!(matches!(step, Step::Done(End::Loaded { standing: Standing::Stored, .. })), "{step:?}");
    assert_eq!(flight.sent, ["read or lock", "publish"]);
}

#[test]
fn a_failed_load_releases_the_lock() {
    let mut flight = Flight::new();
    let state = flight.start(false);
    let state = flight.next(state, missing(LockReply::NotTried));
    let state = flight.next(state, Input::Effect(true));
    let step = flight.handle(state, Input::LoadFailed(LoadFailure::new("no")));
    assert!(matches!(step, Step::Done(End::LoadFailed(_))), "{step:?}");
    assert_eq!(flight.sent, ["read", "lock", "release"]);
}

#[test]
fn a_lock_of_unknown_ttl_is_read_again_before_the_wait() {
    let mut flight = Flight::new();
    let state = flight.start(false);
    let state = flight.next(state, read(theirs(), Ttl::Unknown, LockReply::NotTried, false));
    assert!(flight.wait_until.is_none() && matches!(state, Get::AwaitRead { lock: None }));
    let state = flight.next(state, read(theirs(), LEFT, LockReply::NotTried, false));
    assert!(flight.wait_until.is_some() && matches!(state, Get::AwaitUnlock), "{state:?}");
    assert_eq!(flight.sent, ["read", "read"]);
}

#[test]
fn a_lock_without_expiry_is_waited_for_once() {
    let mut flight = Flight::new();
    let endless = || read(theirs(), Ttl::Endless, LockReply::NotTried, false);
    let state = flight.start(false);
    let state = flight.next(state, endless());
    let state = flight.next(state, Input::WaitOver);
    let state = flight.next(state, endless());
    assert!(matches!(state, Get::Loading { held: None, .. }), "{state:?}");
}

#[test]
fn a_fetch_loads_without_the_lock_when_its_patience_ends() {
    let mut flight = Flight::new();
    let locked = || read(theirs(), LEFT, LockReply::NotTried, false);
    let state = flight.start(false);
    let state = flight.next(state, locked());
    flight.now += Duration::from_secs(70);
    let state = flight.next(state, Input::WaitOver);
    let state = flight.next(state, locked());
    assert!(matches!(state, Get::Loading { held: None, .. }), "{state:?}");
}

#[test]
fn a_wait_for_a_lock_with_a_long_ttl_is_limited_by_patience() {
    let mut flight = Flight::new();
    let state = flight.start(true);
    let ages = Ttl::Left(Duration::from_millis(i64::MAX as u64));
    let state = flight.next(state, read(theirs(), ages, LockReply::Taken, false));
    assert!(matches!(state, Get::AwaitUnlock), "{state:?}");
    let patience = Duration::from_secs(60 + 10);
    assert_eq!(flight.wait_until, Some(flight.now + patience));
    flight.now += patience;
    let state = flight.next(state, Input::WaitOver);
    let state = flight.next(state, read(theirs(), ages, LockReply::NotTried, false));
    assert!(matches!(state, Get::Loading { held: None, .. }), "{state:?}");
}

#[test]
fn a_storm_of_wake_ups_causes_reads_at_a_bounded_pace() {
    let mut flight = Flight::new();
    let mut state = flight.start(false);
    let mut pauses = 0;
    for _ in 0..100 {
        let input = match state {
            Get::AwaitRead { .. } => read(theirs(), LEFT, LockReply::NotTried, true),
            _ => {
                pauses += 1;
                Input::WaitOver
            }
        };
        state = flight.next(state, input);
    }
    assert!(pauses > 30, "{pauses} pauses");
}

#[test]
fn the_lock_of_an_attempt_that_was_sent_twice_is_released() {
    let mut flight = Flight::new();
    let state = flight.start(true);
    let mut raw = Vec::new();
    flight.attempt.unwrap().write(flight.locks.base(), &mut raw);
    let own = read(Stored::Lock(raw.into()), LEFT, LockReply::Taken, false);
    let state = flight.next(state, own);
    assert!(matches!(state, Get::AwaitRead { lock: None }), "{state:?}");
    assert_eq!(flight.sent, ["read or lock", "release", "read"]);
}

#[test]
fn an_unused_lock_of_this_process_is_released() {
    let mut flight = Flight::new();
    let orphan = flight.locks.issue();
    let mut raw = Vec::new();
    orphan.write(flight.locks.base(), &mut raw);
    let state = flight.start(false);
    let own = read(Stored::Lock(raw.into()), LEFT, LockReply::NotTried, false);
    let state = flight.next(state, own);
    assert!(matches!(state, Get::AwaitRead { lock: None }), "{state:?}");
    assert_eq!(flight.sent, ["read", "release", "read"]);
}

#[test]
fn a_load_keeps_its_lock_until_the_load_timeout() {
    let mut flight = Flight::new();
    let state = flight.start(true);
    let mut state = flight.next(state, missing(LockReply::Granted));
    for _ in 0..11 {
        flight.now += Duration::from_secs(5);
        state = flight.next(state, Input::LoadDue);
    }
    flight.now += Duration::from_secs(5);
    let Step::Done(End::Failed(error)) = flight.handle(state, Input::LoadDue) else { panic!() };
    assert_eq!(error.kind(), ErrorKind::LoadTimeout);
    assert_eq!(flight.sent.iter().filter(|name| **name == "renew").count(), 11);
    assert_eq!(flight.sent.last(), Some(&"release"));
}

#[test]
fn without_redis_the_loader_runs_only_if_direct_loads_are_allowed() {
    let failed = || Input::Failed(Error::new(ErrorKind::Unavailable, ""));
    let mut flight = Flight::new();
    let state = flight.start(true);
    assert!(matches!(flight.handle(state, failed()), Step::Done(End::Failed(_))));
    flight.loads_direct = true;
    let state = flight.start(true);
    let state = flight.next(state, failed());
    assert!(flight.loading);
    let step = flight.handle(state, a_load(true));
    assert!(matches!(step, Step::Done(End::Loaded { standing: Standing::CutOff, .. })), "{step:?}");
}

#[test]
fn a_reload_replaces_the_value_by_its_lock_and_a_failure_restores_it() {
    let ttl = Ttl::Left(Duration::from_secs(9));
    for (granted, given_back) in
        [(over_a_value(ttl), "restore"), (WriteLockReply::Granted(None), "release")]
    {
        let mut flight = Flight { reload: true, ..Flight::new() };
        let state = flight.start(true);
        let input = write_locked(&flight, granted, false);
        let state = flight.next(state, input);
        assert!(flight.loading && matches!(state, Get::Loading { held: Some(_), .. }), "{state:?}");
        flight.handle(state, Input::Abandoned);
        assert_eq!(flight.sent, ["write lock", given_back]);
    }
}

#[test]
fn a_reload_waits_for_anothers_lock_and_then_locks_again() {
    let mut flight = Flight { reload: true, ..Flight::new() };
    let state = flight.start(false);
    let taken = WriteLockReply::Taken { lock: theirs_raw(), ttl: LEFT };
    let input = write_locked(&flight, taken, false);
    let state = flight.next(state, input);
    assert!(matches!(state, Get::AwaitUnlock) && flight.wait_until > Some(flight.now), "{state:?}");
    let state = flight.next(state, Input::Woken);
    assert!(matches!(state, Get::AwaitWriteLock { .. }), "{state:?}");
    assert_eq!(flight.sent, ["write lock", "write lock"]);
}

#[test]
fn a_reload_without_a_lock_still_answers_its_callers() {
    let mut flight = Flight { reload: true, ..Flight::new() };
    let state = flight.start(true);
    let state = flight.next(state, Input::Refused(refusal()));
    assert!(flight.loading && matches!(state, Get::Loading { held: None, .. }), "{state:?}");
}

#[test]
fn a_server_that_never_gives_the_lock_and_never_has_it_delays_a_fetch_only_by_its_patience() {
    let mut flight = Flight::new();
    let mut state = flight.start(false);
    let mut attempts = 0;
    while !matches!(state, Get::Loading { .. }) {
        let input = match state {
            Get::AwaitRead { .. } => missing(LockReply::NotTried),
            Get::AwaitLock { .. } => {
                attempts += 1;
                Input::Effect(false)
            }
            _ => Input::WaitOver,
        };
        flight.now = flight.wait_until.unwrap_or(flight.now) + Duration::from_micros(100);
        state = flight.next(state, input);
    }
    assert!(matches!(state, Get::Loading { held: None, .. }), "{state:?}");
    // The pauses between attempts are 20 ms, and the fetch waits for 70 s in total.
    assert!(attempts < 4_000, "{attempts} attempts");
}

#[test]
fn an_unused_lock_that_cannot_be_released_delays_a_fetch_only_by_its_patience() {
    let mut flight = Flight::new();
    let unused = flight.locks.issue();
    let mut raw = Vec::new();
    unused.write(flight.locks.base(), &mut raw);
    let raw = Bytes::from(raw);
    let mut state = flight.start(false);
    while !matches!(state, Get::Loading { .. }) {
        let input = match state {
            Get::AwaitRead { .. } => {
                read(Stored::Lock(raw.clone()), LEFT, LockReply::NotTried, false)
            }
            _ => Input::WaitOver,
        };
        flight.now = flight.wait_until.unwrap_or(flight.now) + Duration::from_micros(100);
        state = flight.next(state, input);
    }
    assert!(matches!(state, Get::Loading { held: None, .. }), "{state:?}");
}
