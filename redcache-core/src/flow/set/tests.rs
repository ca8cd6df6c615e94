use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::api::key::Key;
use crate::api::load_error::LoadFailure;
use crate::flow::publication::Publication;
use crate::flow::superseded::SupersededLocks;
use crate::protocol::lock::Locks;
use crate::protocol::reply::{Replaced, Ttl};

/// A write of one key without an engine, and a record of its commands.
struct Write {
    key: Key,
    locks: Locks,
    fetching: Option<LockId>,
    now: Instant,
    /// Granted locks that were neither published, restored nor released.
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
            fetching: None,
            now,
            held: Vec::new(),
            attempt: None,
            blocked: None,
            sent: Vec::new(),
        }
    }

    fn handle(&mut self, state: Set, input: Input) -> Step {
        match (&state, &input) {
            (Set::AwaitLock { lock }, Input::Locked { reply, .. }) => {
                let own = match reply {
                    WriteLockReply::Granted(_) => true,
                    WriteLockReply::Taken { lock: raw, .. } => *raw == self.raw(*lock),
                };
                self.held.extend(own.then_some(*lock));
            }
            (Set::Publishing { held }, Input::Published { .. }) => self.forget(held.lock),
            (Set::Removing { lock, .. }, Input::Published { .. }) => self.forget(*lock),
            _ => {}
        }
        let mut effects = Effects::default();
        let Self { key, locks, now, .. } = self;
        let mut context =
            Context { now: *now, key, locks, superseded: &mut SupersededLocks::default() };
        let step = state.handle(input, &mut context, &mut effects);
        self.blocked = effects.blocked;
        for command in [effects.send_detached, effects.send].into_iter().flatten() {
            match &command {
                Command::WriteLock { lock, .. } => self.attempt = Some(*lock),
                Command::Release { lock, .. } | Command::Restore { lock, .. } => self.forget(*lock),
                _ => {}
            }
            self.sent.push(command);
        }
        step
    }

    /// Pass an input that does not end the write, and return the next state.
    fn next(&mut self, state: Set, input: Input) -> Set {
        match self.handle(state, input) {
            Step::Next(next) => next,
            Step::Done(end) => panic!("ended: {end:?}"),
        }
    }

    fn forget(&mut self, lock: LockId) {
        self.held.retain(|held| *held != lock);
    }

    fn raw(&self, lock: LockId) -> Bytes {
        let mut raw = Vec::new();
        lock.write(self.locks.base(), &mut raw);
        raw.into()
    }

    fn locked(&self, reply: WriteLockReply) -> Input {
        Input::Locked { reply, asked_at: self.now, interrupted: false, fetching: self.fetching }
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
    Input::Loaded(Publication {
        payload,
        compute_time: Duration::ZERO,
        ttl: Duration::from_secs(1),
    })
}

fn refused() -> Input {
    Input::Refused(Refusal::of(b"OOM command not allowed"))
}

/// Return every input that a write in this state can have.
fn inputs(write: &Write, state: &Set) -> Vec<Input> {
    let failed = || Input::Failed(Error::new(ErrorKind::Timeout, ""));
    match state {
        Set::AwaitUnlock => vec![Input::Attempt, Input::Over(End::Abandoned)],
        Set::AwaitLock { lock } => vec![
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
        Set::Loading { .. } => vec![
            a_load(),
            Input::GiveBack,
            Input::Renew,
            Input::Committed(End::Changed),
            Input::Over(End::Kept),
            Input::Over(End::LoadFailed(LoadFailure::new("no"))),
        ],
        Set::Publishing { .. } => vec![
            Input::Published { done: true, interrupted: false },
            Input::Published { done: false, interrupted: false },
            Input::Published { done: false, interrupted: true },
            refused(),
            failed(),
            Input::Over(End::Abandoned),
        ],
        Set::Removing { .. } => vec![
            Input::Published { done: true, interrupted: false },
            Input::Published { done: false, interrupted: true },
            refused(),
            failed(),
            Input::Over(End::Abandoned),
        ],
    }
}

/// Replay a path of choices. Return the number of possible next inputs, or `None` at its end.
fn replay(path: &[usize]) -> Option<usize> {
    let (mut write, mut state) = (Write::new(), Set::AwaitUnlock);
    for &choice in path {
        let input = inputs(&write, &state).swap_remove(choice);
        match write.handle(state, input) {
            Step::Next(next) => state = next,
            Step::Done(end) => {
                assert!(write.held.is_empty(), "a lock is left behind at {end:?} by {path:?}");
                return None;
            }
        }
        let is_held =
            matches!(state, Set::Loading { .. } | Set::Publishing { .. } | Set::Removing { .. });
        assert_eq!(write.held.len(), usize::from(is_held), "{path:?} led to {state:?}");
    }
    Some(inputs(&write, &state).len())
}

#[test]
fn a_granted_write_lock_is_always_published_restored_released_or_held() {
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
    let state = write.next(Set::AwaitUnlock, Input::Attempt);
    let granted = write.granted(b"old", LEFT);
    let state = write.next(state, granted);
    let state = write.next(state, a_load());
    let step = write.handle(state, Input::Published { done: true, interrupted: false });
    assert!(matches!(step, Step::Done(End::Stored)), "{step:?}");
    assert_eq!(write.names(), ["write lock", "publish"]);
}

/// Return a write whose change is committing, after its lock has replaced `old`.
fn committing() -> (Write, Set) {
    let mut write = Write::new();
    let state = write.next(Set::AwaitUnlock, Input::Attempt);
    let granted = write.granted(b"old", LEFT);
    let state = write.next(state, granted);
    (write, state)
}

#[test]
fn a_change_removes_its_key_even_if_its_commit_fails() {
    for end in [End::Changed, End::LoadFailed(LoadFailure::new("no"))] {
        let (mut write, state) = committing();
        let state = write.next(state, Input::Committed(end));
        let step = write.handle(state, Input::Published { done: true, interrupted: false });
        assert!(matches!(step, Step::Done(End::Changed | End::LoadFailed(_))), "{step:?}");
        assert_eq!(write.names(), ["write lock", "remove"]);
    }
}

#[test]
fn a_removal_that_fails_releases_the_lock_and_the_change_holds() {
    for failure in [refused(), Input::Failed(Error::new(ErrorKind::Timeout, ""))] {
        let (mut write, state) = committing();
        let state = write.next(state, Input::Committed(End::Changed));
        let step = write.handle(state, failure);
        assert!(matches!(step, Step::Done(End::Changed)), "{step:?}");
        assert_eq!(write.names(), ["write lock", "remove", "release"]);
    }
}

#[test]
fn a_commit_that_is_cut_off_keeps_its_lock() {
    let (mut write, state) = committing();
    let step = write.handle(state, Input::CutOff(End::Abandoned));
    assert!(matches!(step, Step::Done(End::Abandoned)), "{step:?}");
    assert_eq!(write.names(), ["write lock"]);
}

/// Return the command of a write that replaced `raw` with `ttl` and fails two seconds later.
#[track_caller]
fn undone(raw: &'static [u8], ttl: Ttl) -> Command {
    let mut write = Write::new();
    let state = write.next(Set::AwaitUnlock, Input::Attempt);
    let granted = write.granted(raw, ttl);
    let state = write.next(state, granted);
    write.now += Duration::from_secs(2);
    let step = write.handle(state, Input::Over(End::LoadFailed(LoadFailure::new("no"))));
    assert!(matches!(step, Step::Done(End::LoadFailed(_))), "{step:?}");
    write.sent.pop().unwrap()
}

#[test]
fn a_failed_write_restores_the_exact_bytes_with_the_rest_of_their_ttl() {
    let Command::Restore { raw, ttl, .. } = undone(b"\0\xff", LEFT) else { panic!() };
    assert_eq!((&raw[..], ttl), (&b"\0\xff"[..], Some(Duration::from_secs(1))));
}

#[test]
fn a_failed_write_restores_a_value_without_expiry_without_expiry() {
    let Command::Restore { ttl: None, .. } = undone(b"old", Ttl::Endless) else { panic!() };
}

#[test]
fn an_expired_value_is_not_restored() {
    for ttl in [Duration::ZERO, Duration::from_secs(2), Duration::from_micros(2_000_999)] {
        assert_eq!(undone(b"old", Ttl::Left(ttl)).name(), "release");
    }
}

#[test]
fn a_write_waits_for_anothers_lock() {
    let mut write = Write::new();
    let state = write.next(Set::AwaitUnlock, Input::Attempt);
    let taken = write.taken(THEIRS);
    let state = write.next(state, taken);
    assert!(matches!(state, Set::AwaitUnlock), "{state:?}");
    assert_eq!((write.blocked, write.names()), (Some(LEFT), vec!["write lock"]));
}

#[test]
fn a_write_waits_for_a_used_lock_of_its_process_and_releases_an_unused_one() {
    let mut write = Write::new();
    let (of_a_load, of_a_write) = (write.locks.issue(), write.locks.issue());
    let left_behind = write.locks.issue();
    write.fetching = Some(of_a_load);
    write.locks.keep(of_a_write);
    for (lock, waits) in [(of_a_load, true), (of_a_write, true), (left_behind, false)] {
        let state = write.next(Set::AwaitUnlock, Input::Attempt);
        let taken = write.taken(write.raw(lock));
        let state = write.next(state, taken);
        assert!(matches!(state, Set::AwaitUnlock), "{state:?}");
        assert_eq!(write.blocked.is_some(), waits);
    }
    assert_eq!(write.names(), ["write lock", "write lock", "write lock", "release"]);
}

#[test]
fn the_lock_of_an_attempt_that_was_sent_twice_is_restored_and_tried_again() {
    let mut write = Write::new();
    let state = write.next(Set::AwaitUnlock, Input::Attempt);
    let own = write.taken(write.raw(write.attempt.unwrap()));
    let state = write.next(state, own);
    let state = write.next(state, Input::Attempt);
    let replaced = Some(Replaced { raw: Bytes::from_static(b"old"), ttl: LEFT });
    let reply = WriteLockReply::Granted(replaced);
    let granted = Input::Locked { reply, asked_at: write.now, interrupted: true, fetching: None };
    let state = write.next(state, granted);
    assert!(matches!(state, Set::AwaitUnlock), "{state:?}");
    assert_eq!(write.names(), ["write lock", "release", "write lock", "restore"]);
    assert_eq!(write.blocked, None);
}

#[test]
fn a_lost_lock_is_a_failure_and_after_a_lost_connection_an_unknown_outcome() {
    for (interrupted, is_lost) in [(false, true), (true, false)] {
        let mut write = Write::new();
        let state = write.next(Set::AwaitUnlock, Input::Attempt);
        let granted = write.locked(WriteLockReply::Granted(None));
        let state = write.next(state, granted);
        let state = write.next(state, a_load());
        let Step::Done(end) = write.handle(state, Input::Published { done: false, interrupted })
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
