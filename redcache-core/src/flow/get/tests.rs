use super::*;

/// A flight with nothing but its flow, and a ledger of what it asked for.
struct Flight {
    key: Key,
    patience: Patience,
    locks: Locks,
    rng: Rng,
    now: Instant,
    /// The lock attempt whose answer is awaited.
    attempt: Option<LockId>,
    /// Locks that Redis has given us and that nobody has published or released.
    held: Vec<LockId>,
    loading: bool,
    loads_direct: bool,
    reload: bool,
    replaced: Option<(Replaced, Instant)>,
    overruled: Overruled,
    is_overruled: bool,
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
            replaced: None,
            overruled: Overruled::default(),
            is_overruled: false,
            wait_until: None,
            sent: Vec::new(),
        }
    }

    fn scene(&mut self) -> Scene<'_> {
        Scene {
            now: self.now,
            key: &self.key,
            patience: &mut self.patience,
            locks: &mut self.locks,
            rng: &mut self.rng,
            lock_ttl: Duration::from_secs(10),
            load_timeout: Duration::from_secs(60),
            reload: self.reload,
            replaced: &mut self.replaced,
            overruled: &mut self.overruled,
            is_overruled: self.is_overruled,
            tracked: true,
            loads_direct: self.loads_direct,
        }
    }

    fn start(&mut self, speculate: bool) -> Get {
        let mut out = Outbox::default();
        let state = Get::start(&mut self.scene(), speculate, &mut out);
        self.note(out);
        state
    }

    fn tell(&mut self, state: Get, input: Input) -> Step {
        match (&state, &input) {
            (Get::Read { .. }, Input::Read(reply)) if reply.lock == LockReply::Granted => {
                self.held.extend(self.attempt);
            }
            (Get::Lock { lock }, Input::Effect(true)) => self.held.push(*lock),
            (Get::Publish { lock, .. }, Input::Effect(_)) => self.settle(*lock),
            _ => {}
        }
        let mut out = Outbox::default();
        let step = state.handle(input, &mut self.scene(), &mut out);
        self.loading = false;
        self.note(out);
        step
    }

    /// The same where the flight goes on.
    fn next(&mut self, state: Get, input: Input) -> Get {
        match self.tell(state, input) {
            Step::Next(next) => next,
            Step::Done(end) => panic!("ended: {end:?}"),
        }
    }

    fn settle(&mut self, lock: LockId) {
        self.held.retain(|held| *held != lock);
    }

    fn note(&mut self, out: Outbox) {
        for command in [out.send_aside, out.send].into_iter().flatten() {
            self.sent.push(command.name());
            match command {
                Command::ReadOrLock { lock, .. } => self.attempt = Some(lock),
                Command::Release { lock, .. } => self.settle(lock),
                _ => {}
            }
        }
        self.loading |= out.load;
        self.wait_until = out.wait_until;
    }
}

fn read(stored: Stored, ttl: Ttl, lock: LockReply, invalidated: bool) -> Input {
    Input::Read(ReadReply { stored, ttl, lock, invalidated })
}

fn missing(lock: LockReply) -> Input {
    read(Stored::Missing, Ttl::Absent, lock, false)
}

fn theirs() -> Stored {
    Stored::Lock(Bytes::from_static(b"lock:theirs:1"))
}

fn a_value() -> Stored {
    Stored::Value(Value { payload: Bytes::from_static(b"v"), compute_time: Duration::ZERO })
}

fn a_load(store: bool) -> Input {
    Input::Loaded(Load {
        value: Some(Bytes::from_static(b"v")),
        payload: Bytes::from_static(b"v"),
        compute_time: Duration::ZERO,
        ttl: Duration::from_secs(1),
        store,
    })
}

fn refusal() -> Refusal {
    Refusal::of(b"OOM command not allowed")
}

const LEFT: Ttl = Ttl::Left(Duration::from_secs(3));

/// Everything that a flight in this state can be told.
fn inputs(state: &Get) -> Vec<Input> {
    let failed = || Input::Failed(Error::new(ErrorKind::Timeout, ""));
    match state {
        Get::Read { lock } => {
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
        Get::Lock { .. } | Get::Publish { .. } => vec![
            Input::Effect(true),
            Input::Effect(false),
            Input::Refused(refusal()),
            failed(),
            Input::Abandoned,
            Input::Woken,
        ],
        Get::Load { .. } => vec![
            a_load(true),
            a_load(false),
            Input::LoadFailed(Failure(LoadFailure::new("no"))),
            Input::Abandoned,
            Input::LoadDue,
            Input::Woken,
        ],
        Get::Unlock => vec![Input::Woken, Input::WaitOver, Input::Abandoned],
    }
}

/// Replays a path of choices from the start; gives how many inputs may come next, or `None` at its end.
fn replay(speculate: bool, path: &[usize]) -> Option<usize> {
    let mut flight = Flight::new();
    let mut state = flight.start(speculate);
    for &choice in path {
        let input = inputs(&state).swap_remove(choice);
        match flight.tell(state, input) {
            Step::Next(next) => state = next,
            Step::Done(end) => {
                assert!(flight.held.is_empty(), "a lock is left behind at {end:?} by {path:?}");
                return None;
            }
        }
        let in_hand = matches!(state, Get::Load { lock: Some(_), .. } | Get::Publish { .. });
        assert_eq!(flight.held.len(), usize::from(in_hand), "{path:?} led to {state:?}");
    }
    Some(inputs(&state).len())
}

#[test]
fn a_held_lock_is_always_published_released_or_in_hand() {
    const LENGTH_MAX: usize = 6;
    let mut paths = 0;
    for speculate in [false, true] {
        let mut open = vec![Vec::new()];
        while let Some(path) = open.pop() {
            paths += 1;
            let choices = replay(speculate, &path).filter(|_| path.len() < LENGTH_MAX);
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
    let step = flight.tell(state, Input::Effect(true));
    assert!(matches!(step, Step::Done(End::Loaded { stored: true, .. })), "{step:?}");
    assert_eq!(flight.sent, ["read or lock", "publish"]);
}

#[test]
fn a_failed_load_gives_the_lock_back() {
    let mut flight = Flight::new();
    let state = flight.start(false);
    let state = flight.next(state, missing(LockReply::NotTried));
    let state = flight.next(state, Input::Effect(true));
    let step = flight.tell(state, Input::LoadFailed(Failure(LoadFailure::new("no"))));
    assert!(matches!(step, Step::Done(End::LoadFailed(_))), "{step:?}");
    assert_eq!(flight.sent, ["read", "lock", "release"]);
}

#[test]
fn a_lock_without_expiry_is_waited_for_once() {
    let mut flight = Flight::new();
    let endless = || read(theirs(), Ttl::Endless, LockReply::NotTried, false);
    let state = flight.start(false);
    let state = flight.next(state, endless());
    let state = flight.next(state, Input::WaitOver);
    let state = flight.next(state, endless());
    assert!(matches!(state, Get::Load { lock: None, .. }), "{state:?}");
}

#[test]
fn patience_with_others_ends_in_a_load_without_the_lock() {
    let mut flight = Flight::new();
    let locked = || read(theirs(), LEFT, LockReply::NotTried, false);
    let state = flight.start(false);
    let state = flight.next(state, locked());
    flight.now += Duration::from_secs(70);
    let state = flight.next(state, Input::WaitOver);
    let state = flight.next(state, locked());
    assert!(matches!(state, Get::Load { lock: None, .. }), "{state:?}");
}

#[test]
fn a_lock_that_lives_for_ages_is_waited_for_no_longer_than_patience_lasts() {
    let mut flight = Flight::new();
    let state = flight.start(true);
    let ages = Ttl::Left(Duration::from_millis(i64::MAX as u64));
    let state = flight.next(state, read(theirs(), ages, LockReply::Taken, false));
    assert!(matches!(state, Get::Unlock), "{state:?}");
    let patience = Duration::from_secs(60 + 10);
    assert_eq!(flight.wait_until, Some(flight.now + patience));
    flight.now += patience;
    let state = flight.next(state, Input::WaitOver);
    let state = flight.next(state, read(theirs(), ages, LockReply::NotTried, false));
    assert!(matches!(state, Get::Load { lock: None, .. }), "{state:?}");
}

#[test]
fn a_storm_of_wake_ups_is_answered_at_a_bounded_pace() {
    let mut flight = Flight::new();
    let mut state = flight.start(false);
    let mut pauses = 0;
    for _ in 0..100 {
        let input = match state {
            Get::Read { .. } => read(theirs(), LEFT, LockReply::NotTried, true),
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
fn the_lock_of_an_attempt_that_was_sent_twice_goes_back() {
    let mut flight = Flight::new();
    let state = flight.start(true);
    let mut raw = Vec::new();
    flight.attempt.unwrap().write(flight.locks.base(), &mut raw);
    let own = read(Stored::Lock(raw.into()), LEFT, LockReply::Taken, false);
    let state = flight.next(state, own);
    assert!(matches!(state, Get::Read { lock: None }), "{state:?}");
    assert_eq!(flight.sent, ["read or lock", "release", "read"]);
}

#[test]
fn a_lock_that_we_left_behind_is_released() {
    let mut flight = Flight::new();
    let orphan = flight.locks.issue();
    let mut raw = Vec::new();
    orphan.write(flight.locks.base(), &mut raw);
    let state = flight.start(false);
    let own = read(Stored::Lock(raw.into()), LEFT, LockReply::NotTried, false);
    let state = flight.next(state, own);
    assert!(matches!(state, Get::Read { lock: None }), "{state:?}");
    assert_eq!(flight.sent, ["read", "release", "read"]);
}

#[test]
fn a_load_keeps_its_lock_until_its_own_time_is_over() {
    let mut flight = Flight::new();
    let state = flight.start(true);
    let mut state = flight.next(state, missing(LockReply::Granted));
    for _ in 0..11 {
        flight.now += Duration::from_secs(5);
        state = flight.next(state, Input::LoadDue);
    }
    flight.now += Duration::from_secs(5);
    let Step::Done(End::Failed(error)) = flight.tell(state, Input::LoadDue) else { panic!() };
    assert_eq!(error.kind(), ErrorKind::LoadTimeout);
    assert_eq!(flight.sent.iter().filter(|name| **name == "renew").count(), 11);
    assert_eq!(flight.sent.last(), Some(&"release"));
}

#[test]
fn without_redis_the_loader_runs_only_where_that_is_wanted() {
    let failed = || Input::Failed(Error::new(ErrorKind::Unavailable, ""));
    let mut flight = Flight::new();
    let state = flight.start(true);
    assert!(matches!(flight.tell(state, failed()), Step::Done(End::Failed(_))));
    flight.loads_direct = true;
    let state = flight.start(true);
    let state = flight.next(state, failed());
    assert!(flight.loading);
    let step = flight.tell(state, a_load(true));
    assert!(matches!(step, Step::Done(End::Loaded { stored: false, .. })), "{step:?}");
}

#[test]
fn a_reload_puts_its_lock_over_the_value_and_a_failure_puts_the_value_back() {
    let raw = Bytes::from_static(b"__redcache:v1:7:old");
    let replaced = Replaced { raw, ttl: Ttl::Left(Duration::from_secs(9)) };
    let granted = |flight: &Flight, replaced| Input::Locked {
        reply: WriteLockReply::Granted(replaced),
        asked_at: flight.now,
        interrupted: false,
    };
    for (replaced, given_back) in [(Some(replaced), "restore"), (None, "release")] {
        let mut flight = Flight { reload: true, ..Flight::new() };
        let state = flight.start(true);
        let input = granted(&flight, replaced.clone());
        let state = flight.next(state, input);
        assert!(flight.loading && matches!(state, Get::Load { lock: Some(_), .. }), "{state:?}");
        flight.tell(state, Input::Abandoned);
        assert_eq!(flight.sent, ["write lock", given_back]);
    }
}

#[test]
fn a_reload_waits_for_the_lock_of_another_and_then_locks_again() {
    let mut flight = Flight { reload: true, ..Flight::new() };
    let state = flight.start(false);
    let lock = Bytes::from_static(b"lock:theirs:1");
    let reply = WriteLockReply::Taken { lock, ttl: Ttl::Left(Duration::from_secs(3)) };
    let input = Input::Locked { reply, asked_at: flight.now, interrupted: false };
    let state = flight.next(state, input);
    assert!(matches!(state, Get::Unlock) && flight.wait_until > Some(flight.now), "{state:?}");
    let state = flight.next(state, Input::Woken);
    assert!(matches!(state, Get::Read { lock: Some(_) }), "{state:?}");
    assert_eq!(flight.sent, ["write lock", "write lock"]);
}

#[test]
fn a_reload_that_cannot_lock_still_gives_what_it_loads() {
    let mut flight = Flight { reload: true, ..Flight::new() };
    let state = flight.start(true);
    let state = flight.next(state, Input::Refused(refusal()));
    assert!(flight.loading && matches!(state, Get::Load { lock: None, .. }), "{state:?}");
}
