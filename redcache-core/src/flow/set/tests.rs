use super::*;
use crate::api::load_error::LoadFailure;
use crate::protocol::reply::Replaced;

/// A write of one key with nothing but its flow, and a ledger of what it asked for.
struct Write {
    key: Key,
    locks: Locks,
    loading: Option<LockId>,
    now: Instant,
    /// Locks that Redis has given us and that nobody has published, restored or released.
    held: Vec<LockId>,
    attempt: Option<LockId>,
    blocked: Option<Ttl>,
    sent: Vec<Command>,
}

impl Write {
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        Self {
            key: Key::from("k"),
            locks: Locks::new(b"lock:", 0, &[7; 10]),
            loading: None,
            now,
            held: Vec::new(),
            attempt: None,
            blocked: None,
            sent: Vec::new(),
        }
    }

    fn tell(&mut self, state: Set, input: Input) -> Step {
        match (&state, &input) {
            (Set::Lock { lock }, Input::Locked { reply, .. }) => {
                let own = match reply {
                    WriteLockReply::Granted(_) => true,
                    WriteLockReply::Taken { lock: raw, .. } => *raw == self.raw(*lock),
                };
                self.held.extend(own.then_some(*lock));
            }
            (Set::Publish { held }, Input::Published { .. }) => self.settle(held.lock),
            _ => {}
        }
        let mut out = Outbox::default();
        let Self { key, locks, loading, now, .. } = self;
        let mut scene = Scene {
            now: *now,
            key,
            locks,
            loading: *loading,
            overruled: &mut Overruled::default(),
        };
        let step = state.handle(input, &mut scene, &mut out);
        self.blocked = out.blocked;
        for command in [out.send_aside, out.send].into_iter().flatten() {
            match &command {
                Command::WriteLock { lock, .. } => self.attempt = Some(*lock),
                Command::Release { lock, .. } | Command::Restore { lock, .. } => self.settle(*lock),
                _ => {}
            }
            self.sent.push(command);
        }
        step
    }

    /// The same where the write goes on.
    fn next(&mut self, state: Set, input: Input) -> Set {
        match self.tell(state, input) {
            Step::Next(next) => next,
            Step::Done(end) => panic!("ended: {end:?}"),
        }
    }

    fn settle(&mut self, lock: LockId) {
        self.held.retain(|held| *held != lock);
    }

    fn raw(&self, lock: LockId) -> Bytes {
        let mut raw = Vec::new();
        lock.write(self.locks.base(), &mut raw);
        raw.into()
    }

    fn locked(&self, reply: WriteLockReply) -> Input {
        Input::Locked { reply, asked_at: self.now, interrupted: false }
    }

    fn granted(&self, raw: &'static [u8], ttl: Ttl) -> Input {
        let replaced = Some(Replaced { raw: Bytes::from_static(raw), ttl });
        self.locked(WriteLockReply::Granted(replaced))
    }

    fn taken(&self, lock: Bytes) -> Input {
        self.locked(WriteLockReply::Taken { lock, ttl: LEFT })
    }

    fn names(&self) -> Vec<&'static str> {
        self.sent.iter().map(Command::name).collect()
    }
}

const LEFT: Ttl = Ttl::Left(Duration::from_secs(3));
const THEIRS: Bytes = Bytes::from_static(b"lock:theirs:1");

fn a_load() -> Input {
    let payload = Bytes::from_static(b"v");
    Input::Loaded(Load { payload, compute_time: Duration::ZERO, ttl: Duration::from_secs(1) })
}

fn refused() -> Input {
    Input::Refused(Refusal::of(b"OOM command not allowed"))
}

/// Everything that a write in this state can be told.
fn inputs(write: &Write, state: &Set) -> Vec<Input> {
    let failed = || Input::Failed(Error::new(ErrorKind::Timeout, ""));
    match state {
        Set::Unlock => vec![Input::Attempt, Input::Over(End::Abandoned)],
        Set::Lock { lock } => vec![
            write.locked(WriteLockReply::Granted(None)),
            write.granted(b"old", LEFT),
            write.granted(b"old", Ttl::Endless),
            write.granted(b"old", Ttl::Left(Duration::ZERO)),
            write.taken(THEIRS),
            write.taken(write.raw(*lock)),
            write.taken(Bytes::from_static(b"lock:")),
            refused(),
            failed(),
            Input::Over(End::Abandoned),
        ],
        Set::Load { .. } => vec![
            a_load(),
            Input::GiveBack,
            Input::Renew,
            Input::Over(End::Kept),
            Input::Over(End::LoadFailed(Failure(LoadFailure::new("no")))),
        ],
        Set::Publish { .. } => vec![
            Input::Published { done: true, interrupted: false },
            Input::Published { done: false, interrupted: false },
            Input::Published { done: false, interrupted: true },
            refused(),
            failed(),
            Input::Over(End::Abandoned),
        ],
    }
}

/// Replays a path of choices from the start; gives how many inputs may come next, or `None` at its end.
fn replay(path: &[usize]) -> Option<usize> {
    let (mut write, mut state) = (Write::new(), Set::Unlock);
    for &choice in path {
        let input = inputs(&write, &state).swap_remove(choice);
        match write.tell(state, input) {
            Step::Next(next) => state = next,
            Step::Done(end) => {
                assert!(write.held.is_empty(), "a lock is left behind at {end:?} by {path:?}");
                return None;
            }
        }
        let in_hand = matches!(state, Set::Load { .. } | Set::Publish { .. });
        assert_eq!(write.held.len(), usize::from(in_hand), "{path:?} led to {state:?}");
    }
    Some(inputs(&write, &state).len())
}

#[test]
fn a_held_write_lock_is_always_published_restored_released_or_in_hand() {
    const LENGTH_MAX: usize = 6;
    let mut paths = 0;
    let mut open = vec![Vec::new()];
    while let Some(path) = open.pop() {
        paths += 1;
        let choices = replay(&path).filter(|_| path.len() < LENGTH_MAX);
        for choice in 0..choices.unwrap_or(0) {
            open.push(path.iter().copied().chain([choice]).collect());
        }
    }
    assert!(paths > 1_000, "only {paths} paths");
}

#[test]
fn a_write_locks_loads_and_publishes() {
    let mut write = Write::new();
    let state = write.next(Set::Unlock, Input::Attempt);
    let granted = write.granted(b"old", LEFT);
    let state = write.next(state, granted);
    let state = write.next(state, a_load());
    let step = write.tell(state, Input::Published { done: true, interrupted: false });
    assert!(matches!(step, Step::Done(End::Stored)), "{step:?}");
    assert_eq!(write.names(), ["write lock", "publish"]);
}

/// What is sent when a write that had replaced `raw` with `ttl` fails two seconds later.
#[track_caller]
fn undone(raw: &'static [u8], ttl: Ttl) -> Command {
    let mut write = Write::new();
    let state = write.next(Set::Unlock, Input::Attempt);
    let granted = write.granted(raw, ttl);
    let state = write.next(state, granted);
    write.now += Duration::from_secs(2);
    let step = write.tell(state, Input::Over(End::LoadFailed(Failure(LoadFailure::new("no")))));
    assert!(matches!(step, Step::Done(End::LoadFailed(_))), "{step:?}");
    write.sent.pop().unwrap()
}

#[test]
fn a_failed_write_puts_back_the_exact_bytes_with_what_is_left_of_their_time() {
    let Command::Restore { raw, ttl, .. } = undone(b"\0\xff", LEFT) else { panic!() };
    assert_eq!((&raw[..], ttl), (&b"\0\xff"[..], Some(Duration::from_secs(1))));
}

#[test]
fn a_failed_write_leaves_a_value_without_expiry_without_expiry() {
    let Command::Restore { ttl: None, .. } = undone(b"old", Ttl::Endless) else { panic!() };
}

#[test]
fn a_value_whose_time_is_over_is_not_put_back() {
    for ttl in [Duration::ZERO, Duration::from_secs(2), Duration::from_micros(2_000_999)] {
        assert_eq!(undone(b"old", Ttl::Left(ttl)).name(), "release");
    }
}

#[test]
fn the_lock_of_somebody_else_is_waited_for() {
    let mut write = Write::new();
    let state = write.next(Set::Unlock, Input::Attempt);
    let taken = write.taken(THEIRS);
    let state = write.next(state, taken);
    assert!(matches!(state, Set::Unlock), "{state:?}");
    assert_eq!((write.blocked, write.names()), (Some(LEFT), vec!["write lock"]));
}

#[test]
fn a_lock_of_this_process_is_waited_for_while_it_is_in_use_and_else_released() {
    let mut write = Write::new();
    let (of_a_load, of_a_write) = (write.locks.issue(), write.locks.issue());
    let left_behind = write.locks.issue();
    write.loading = Some(of_a_load);
    write.locks.keep(of_a_write);
    for (lock, waits) in [(of_a_load, true), (of_a_write, true), (left_behind, false)] {
        let state = write.next(Set::Unlock, Input::Attempt);
        let taken = write.taken(write.raw(lock));
        let state = write.next(state, taken);
        assert!(matches!(state, Set::Unlock), "{state:?}");
        assert_eq!(write.blocked.is_some(), waits);
    }
    assert_eq!(write.names(), ["write lock", "write lock", "write lock", "release"]);
}

#[test]
fn the_lock_of_an_attempt_that_was_sent_twice_goes_back_and_another_is_tried() {
    let mut write = Write::new();
    let state = write.next(Set::Unlock, Input::Attempt);
    let own = write.taken(write.raw(write.attempt.unwrap()));
    let state = write.next(state, own);
    let state = write.next(state, Input::Attempt);
    let replaced = Some(Replaced { raw: Bytes::from_static(b"old"), ttl: LEFT });
    let reply = WriteLockReply::Granted(replaced);
    let granted = Input::Locked { reply, asked_at: write.now, interrupted: true };
    let state = write.next(state, granted);
    assert!(matches!(state, Set::Unlock), "{state:?}");
    assert_eq!(write.names(), ["write lock", "release", "write lock", "restore"]);
    assert_eq!(write.blocked, None);
}

#[test]
fn a_lost_lock_is_no_success_and_after_a_lost_connection_no_certain_failure() {
    for (interrupted, is_lost) in [(false, true), (true, false)] {
        let mut write = Write::new();
        let state = write.next(Set::Unlock, Input::Attempt);
        let granted = write.locked(WriteLockReply::Granted(None));
        let state = write.next(state, granted);
        let state = write.next(state, a_load());
        let Step::Done(end) = write.tell(state, Input::Published { done: false, interrupted })
        else {
            panic!()
        };
        match end {
            End::Lost => assert!(is_lost),
            End::Failed(error) => {
                assert_eq!((error.kind(), is_lost), (ErrorKind::OutcomeUnknown, false));
            }
            other => panic!("{other:?}"),
        }
    }
}
