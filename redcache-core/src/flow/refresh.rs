//! Refresh-ahead of one key: take its refresh lock, read the value, load, and replace the value.
//!
//! | state        | input                            | effect  | next         |
//! |--------------|----------------------------------|---------|--------------|
//! | `AwaitLock`  | granted                          | read    | `AwaitRead`  |
//! | `AwaitLock`  | taken                            |         | done         |
//! | `AwaitLock`  | refused, or no reply             |         | done         |
//! | `AwaitRead`  | the value that was due           |         | `Loading`    |
//! | `AwaitRead`  | a newer value, a lock, nothing   | release | done         |
//! | `AwaitRead`  | refused, or no reply             | release | done         |
//! | `Loading`    | half of the lock's TTL is over   | renew   | `Loading`    |
//! | `Loading`    | a value                          | replace | `Publishing` |
//! | `Loading`    | nothing to store, or over        | release | done         |
//! | `Publishing` | a reply, or none                 | release | done         |
//!
//! The refresh lock is a key of its own, so the old value stays readable. It saves work in all
//! processes, those of redcache for Go included. Correctness comes from the replacement: it
//! compares the key with the exact bytes that the refresh has read.

use std::time::Instant;

use bytes::Bytes;

use crate::api::key::Key;
use crate::flow::publication::Publication;
use crate::protocol::command::Command;
use crate::protocol::lock::LockId;
use crate::protocol::reply::{Replaced, Ttl};

/// The state of one key's refresh, named for what it awaits.
#[derive(Debug)]
pub(crate) enum Refresh {
    /// The reply to an attempt at the refresh lock.
    AwaitLock { lock: LockId },
    /// The key's value.
    AwaitRead { lock: LockId },
    /// The loader's result.
    Loading { lock: LockId, raw: Bytes },
    /// The reply to the replacement.
    Publishing { lock: LockId },
}

/// An input of a refresh.
#[derive(Debug)]
pub(crate) enum Input {
    Locked(bool),
    Read {
        found: Option<Replaced>,
        asked_at: Instant,
    },
    Published(bool),
    /// The server refused the command or gave no reply.
    Failed,
    Loaded(Publication),
    Renew,
    /// Nothing will be published.
    Over(End),
}

/// The end of a key's refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Refreshed,
    /// Another process refreshes or has refreshed the key, or the key has no value.
    Skipped,
    Failed,
    Panicked,
    /// The loader returned nothing to store, or its worker has ended.
    Kept,
}

/// The outcome of a step.
#[derive(Debug)]
pub(crate) enum Step {
    Next(Refresh),
    Done(End),
}

/// The effects of one step, which the engine carries out.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) send: Option<Command>,
    /// A command whose reply is discarded.
    pub(crate) send_detached: Option<Command>,
}

/// Everything that a step may use besides its state and input.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) key: &'a Key,
    /// The refresh lock's key.
    pub(crate) lock_key: &'a Key,
    /// The prefix of every lock that a key can hold instead of a value.
    pub(crate) lock_prefix: &'a [u8],
    /// A value that expires after this instant is newer than the one that was due.
    pub(crate) newer_after: Instant,
}

impl Refresh {
    pub(crate) fn start(lock: LockId, context: &Context<'_>, effects: &mut Effects) -> Self {
        if mutant!(RefreshWithoutLock) {
            effects.send = Some(Command::ReadRaw { key: context.key.clone() });
            return Self::AwaitRead { lock };
        }
        effects.send = Some(Command::Lock { key: context.lock_key.clone(), lock });
        Self::AwaitLock { lock }
    }

    /// Return whether the refresh awaits a reply of Redis.
    pub(crate) fn is_asking(&self) -> bool {
        match self {
            Self::AwaitLock { .. } | Self::AwaitRead { .. } | Self::Publishing { .. } => true,
            Self::Loading { .. } => false,
        }
    }

    pub(crate) fn handle(self, input: Input, context: &Context<'_>, effects: &mut Effects) -> Step {
        match (self, input) {
            (Self::AwaitLock { lock }, Input::Locked(true)) => {
                effects.send = Some(Command::ReadRaw { key: context.key.clone() });
                Step::Next(Self::AwaitRead { lock })
            }
            (Self::AwaitLock { .. }, Input::Locked(false)) => Step::Done(End::Skipped),
            (Self::AwaitLock { .. }, Input::Failed) => Step::Done(End::Failed),
            (Self::AwaitRead { lock }, Input::Read { found, asked_at }) => {
                match found.filter(|found| is_due(found, asked_at, context)) {
                    Some(Replaced { raw, .. }) => Step::Next(Self::Loading { lock, raw }),
                    None => over(lock, End::Skipped, context, effects),
                }
            }
            (Self::AwaitRead { lock } | Self::Publishing { lock }, Input::Failed) => {
                over(lock, End::Failed, context, effects)
            }
            (Self::Loading { lock, raw }, Input::Renew) => {
                let key = context.lock_key.clone();
                effects.send_detached = Some(Command::Renew { key, lock });
                Step::Next(Self::Loading { lock, raw })
            }
            (Self::Loading { lock, raw }, Input::Loaded(publication)) => {
                let Publication { payload, compute_time, ttl } = publication;
                let (key, expected) = (context.key.clone(), raw);
                effects.send = Some(if mutant!(RefreshWithoutCompare) {
                    Command::Insert { key, payload, stamp: compute_time, ttl }
                } else {
                    Command::Replace { key, expected, payload, compute_time, ttl }
                });
                Step::Next(Self::Publishing { lock })
            }
            (Self::Loading { lock, .. }, Input::Over(end)) => over(lock, end, context, effects),
            (Self::Publishing { lock }, Input::Published(done)) => {
                let end = if done { End::Refreshed } else { End::Skipped };
                over(lock, end, context, effects)
            }
            // A command in flight is answered first.
            (
                state @ (Self::AwaitLock { .. } | Self::AwaitRead { .. } | Self::Publishing { .. }),
                Input::Over(_),
            ) => Step::Next(state),
            (state, input) => unreachable!("{state:?} has no transition for {input:?}"),
        }
    }
}

/// Return whether the key still holds the value that was due.
fn is_due(found: &Replaced, asked_at: Instant, context: &Context<'_>) -> bool {
    let Ttl::Left(left) = found.ttl else { return false };
    let is_older = asked_at.checked_add(left).is_some_and(|at| at <= context.newer_after);
    (is_older || mutant!(RefreshRecheckSkipped)) && !found.raw.starts_with(context.lock_prefix)
}

fn over(lock: LockId, end: End, context: &Context<'_>, effects: &mut Effects) -> Step {
    effects.send_detached = Some(Command::Release { key: context.lock_key.clone(), lock });
    Step::Done(end)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::lock::Locks;

    const SECOND: Duration = Duration::from_secs(1);

    /// Pass all inputs to a refresh. Return the names of its commands, and its end.
    fn play(inputs: impl FnOnce(Instant) -> Vec<Input>) -> (Vec<&'static str>, Option<End>) {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        let (key, lock_key) = (Key::from("k"), Key::from("refresh:{k}"));
        let context = Context {
            key: &key,
            lock_key: &lock_key,
            lock_prefix: b"lock:",
            newer_after: now + SECOND,
        };
        let mut effects = Effects::default();
        let lock = Locks::new(b"lock:", 0, &[7; 10]).issue();
        let mut state = Refresh::start(lock, &context, &mut effects);
        let mut sent = Vec::new();
        let mut note = |effects: &mut Effects| {
            for command in [effects.send_detached.take(), effects.send.take()].into_iter().flatten()
            {
                let on_lock = command.key() == &lock_key;
                let is_lock = matches!(
                    command,
                    Command::Lock { .. } | Command::Release { .. } | Command::Renew { .. }
                );
                assert_eq!(on_lock, is_lock, "{command:?}");
                sent.push(command.name());
            }
        };
        note(&mut effects);
        for input in inputs(now) {
            let step = state.handle(input, &context, &mut effects);
            note(&mut effects);
            match step {
                Step::Next(next) => state = next,
                Step::Done(end) => return (sent, Some(end)),
            }
        }
        (sent, None)
    }

    fn read(raw: &'static [u8], ttl: Ttl, asked_at: Instant) -> Input {
        Input::Read { found: Some(Replaced { raw: Bytes::from_static(raw), ttl }), asked_at }
    }

    fn loaded() -> Input {
        let payload = Bytes::from_static(b"new");
        Input::Loaded(Publication { payload, compute_time: Duration::ZERO, ttl: SECOND })
    }

    #[test]
    fn a_due_value_is_loaded_and_replaced_under_the_refresh_lock() {
        let (sent, end) = play(|now| {
            let value = read(b"old", Ttl::Left(SECOND), now);
            vec![Input::Locked(true), value, Input::Renew, loaded(), Input::Published(true)]
        });
        assert_eq!(sent, ["lock", "read raw", "renew", "replace", "release"]);
        assert_eq!(end, Some(End::Refreshed));
    }

    #[test]
    fn a_newer_value_a_lock_or_an_absent_key_is_left_alone() {
        let later = SECOND + Duration::from_millis(1);
        let found = [(&b"new"[..], Ttl::Left(later)), (b"lock:theirs:1", Ttl::Left(SECOND))];
        let found = found.into_iter().chain([(&b"for ever"[..], Ttl::Endless)]);
        for (raw, ttl) in found {
            let (sent, end) = play(|now| vec![Input::Locked(true), read(raw, ttl, now)]);
            assert_eq!((sent, end), (vec!["lock", "read raw", "release"], Some(End::Skipped)));
        }
        let (_, end) =
            play(|now| vec![Input::Locked(true), Input::Read { found: None, asked_at: now }]);
        assert_eq!(end, Some(End::Skipped));
    }

    #[test]
    fn the_refresh_of_another_process_is_not_disturbed() {
        let (sent, end) = play(|_| vec![Input::Locked(false)]);
        assert_eq!((sent, end), (vec!["lock"], Some(End::Skipped)));
    }

    #[test]
    fn the_refresh_lock_is_released_after_any_failure() {
        let begin = |now| vec![Input::Locked(true), read(b"old", Ttl::Left(SECOND), now)];
        for (inputs, expected) in [
            (vec![Input::Over(End::Failed)], End::Failed),
            (vec![loaded(), Input::Failed], End::Failed),
            (vec![loaded(), Input::Published(false)], End::Skipped),
        ] {
            let (sent, end) = play(|now| begin(now).into_iter().chain(inputs).collect());
            assert_eq!((sent.last(), end), (Some(&"release"), Some(expected)));
        }
        let (sent, end) = play(|_| vec![Input::Locked(true), Input::Failed]);
        assert_eq!((sent.last(), end), (Some(&"release"), Some(End::Failed)));
    }
}
