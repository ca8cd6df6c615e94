//! Refresh-ahead of one key: hold its refresh lock, look at what is there, load, and put the new value in its place.
//!
//! | waiting for | told                              | asks for | then      |
//! |-------------|-----------------------------------|----------|-----------|
//! | `Lock`      | granted                           | read     | `Read`    |
//! | `Lock`      | another has it                    |          | done      |
//! | `Lock`      | refused, or no answer             |          | done      |
//! | `Read`      | the value that was due            |          | `Load`    |
//! | `Read`      | a newer one, a lock, nothing      | unlock   | done      |
//! | `Read`      | refused, or no answer             | unlock   | done      |
//! | `Load`      | half of the lock's life over      | renew    | `Load`    |
//! | `Load`      | a value                           | replace  | `Publish` |
//! | `Load`      | nothing to store, or that it is over | unlock | done     |
//! | `Publish`   | an answer, or none                | unlock   | done      |
//!
//! The refresh lock is a key of its own, so the old value stays readable all the time. What it keeps apart is work, in
//! all processes together and with those of redcache for Go; what keeps the value right is that it is only replaced
//! where it is, byte for byte, the one that the refresh has read.

use std::time::Instant;

use bytes::Bytes;

use crate::api::key::Key;
use crate::flow::set::Load;
use crate::protocol::command::Command;
use crate::protocol::lock::LockId;
use crate::protocol::reply::{Replaced, Ttl};

/// Where one key's refresh stands, named for what it waits for.
#[derive(Debug)]
pub(crate) enum Refresh {
    /// The answer to an attempt at the refresh lock.
    Lock { lock: LockId },
    /// What the key holds.
    Read { lock: LockId },
    /// The loader.
    Load { lock: LockId, raw: Bytes },
    /// Whether the new value is in the place of the old one.
    Publish { lock: LockId },
}

/// What a refresh is told.
#[derive(Debug)]
pub(crate) enum Input {
    Locked(bool),
    Read {
        found: Option<Replaced>,
        asked_at: Instant,
    },
    Published(bool),
    /// The server refused, or gave no answer.
    Failed,
    Loaded(Load),
    Renew,
    /// Nothing will be published.
    Over(End),
}

/// How the refresh of a key ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Refreshed,
    /// Somebody else does it or has done it, or there is nothing left to refresh.
    Skipped,
    Failed,
    Panicked,
    /// The loader had nothing to store, or nobody is there to run it.
    Kept,
}

/// What comes after an input.
#[derive(Debug)]
pub(crate) enum Step {
    Next(Refresh),
    Done(End),
}

/// What a refresh wants done.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) send: Option<Command>,
    /// A command whose answer says nothing.
    pub(crate) send_aside: Option<Command>,
}

/// What a step may look at besides its state and input.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) key: &'a Key,
    /// The name of the refresh lock.
    pub(crate) lock_key: &'a Key,
    /// What every lock in the place of a value begins with.
    pub(crate) lock_prefix: &'a [u8],
    /// A value that lives on after this is not the one that was due.
    pub(crate) newer_after: Instant,
}

impl Refresh {
    pub(crate) fn start(lock: LockId, scene: &Scene<'_>, out: &mut Outbox) -> Self {
        if mutant!(RefreshWithoutLock) {
            out.send = Some(Command::ReadRaw { key: scene.key.clone() });
            return Self::Read { lock };
        }
        out.send = Some(Command::Lock { key: scene.lock_key.clone(), lock });
        Self::Lock { lock }
    }

    pub(crate) fn is_asking(&self) -> bool {
        !matches!(self, Self::Load { .. })
    }

    pub(crate) fn handle(self, input: Input, scene: &Scene<'_>, out: &mut Outbox) -> Step {
        match (self, input) {
            (Self::Lock { lock }, Input::Locked(true)) => {
                out.send = Some(Command::ReadRaw { key: scene.key.clone() });
                Step::Next(Self::Read { lock })
            }
            (Self::Lock { .. }, Input::Locked(false)) => Step::Done(End::Skipped),
            (Self::Lock { .. }, Input::Failed) => Step::Done(End::Failed),
            (Self::Read { lock }, Input::Read { found, asked_at }) => {
                match found.filter(|found| is_due(found, asked_at, scene)) {
                    Some(Replaced { raw, .. }) => Step::Next(Self::Load { lock, raw }),
                    None => over(lock, End::Skipped, scene, out),
                }
            }
            (Self::Read { lock } | Self::Publish { lock }, Input::Failed) => {
                over(lock, End::Failed, scene, out)
            }
            (Self::Load { lock, raw }, Input::Renew) => {
                let key = scene.lock_key.clone();
                out.send_aside = Some(Command::Renew { key, lock });
                Step::Next(Self::Load { lock, raw })
            }
            (Self::Load { lock, raw }, Input::Loaded(load)) => {
                let Load { payload, compute_time, ttl } = load;
                let (key, expected) = (scene.key.clone(), raw);
                if mutant!(RefreshWithoutCompare) {
                    out.send = Some(Command::Insert { key, payload, ttl });
                    return Step::Next(Self::Publish { lock });
                }
                out.send = Some(Command::Replace { key, expected, payload, compute_time, ttl });
                Step::Next(Self::Publish { lock })
            }
            (Self::Load { lock, .. }, Input::Over(end)) => over(lock, end, scene, out),
            (Self::Publish { lock }, Input::Published(done)) => {
                let end = if done { End::Refreshed } else { End::Skipped };
                over(lock, end, scene, out)
            }
            // What is under way is answered first.
            (
                state @ (Self::Lock { .. } | Self::Read { .. } | Self::Publish { .. }),
                Input::Over(_),
            ) => Step::Next(state),
            (state, input) => unreachable!("{state:?} cannot be told {input:?}"),
        }
    }
}

/// Says whether the key still holds what was due.
fn is_due(found: &Replaced, asked_at: Instant, scene: &Scene<'_>) -> bool {
    let Ttl::Left(left) = found.ttl else { return false };
    let is_older = asked_at.checked_add(left).is_some_and(|at| at <= scene.newer_after);
    (is_older || mutant!(RefreshRecheckSkipped)) && !found.raw.starts_with(scene.lock_prefix)
}

fn over(lock: LockId, end: End, scene: &Scene<'_>, out: &mut Outbox) -> Step {
    out.send_aside = Some(Command::Release { key: scene.lock_key.clone(), lock });
    Step::Done(end)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::lock::Locks;

    const SECOND: Duration = Duration::from_secs(1);

    /// Tells a refresh all inputs; gives the names of what it asked for and how it ended.
    fn play(inputs: impl FnOnce(Instant) -> Vec<Input>) -> (Vec<&'static str>, Option<End>) {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        let (key, lock_key) = (Key::from("k"), Key::from("refresh:{k}"));
        let scene = Scene {
            key: &key,
            lock_key: &lock_key,
            lock_prefix: b"lock:",
            newer_after: now + SECOND,
        };
        let mut out = Outbox::default();
        let lock = Locks::new(b"lock:", 0, &[7; 10]).issue();
        let mut state = Refresh::start(lock, &scene, &mut out);
        let mut sent = Vec::new();
        let mut note = |out: &mut Outbox| {
            for command in [out.send_aside.take(), out.send.take()].into_iter().flatten() {
                let on_lock = command.key() == &lock_key;
                let is_lock = matches!(
                    command,
                    Command::Lock { .. } | Command::Release { .. } | Command::Renew { .. }
                );
                assert_eq!(on_lock, is_lock, "{command:?}");
                sent.push(command.name());
            }
        };
        note(&mut out);
        for input in inputs(now) {
            let step = state.handle(input, &scene, &mut out);
            note(&mut out);
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

    fn load() -> Input {
        let payload = Bytes::from_static(b"new");
        Input::Loaded(Load { payload, compute_time: Duration::ZERO, ttl: SECOND })
    }

    #[test]
    fn what_was_due_is_loaded_and_replaced_under_the_refresh_lock() {
        let (sent, end) = play(|now| {
            let value = read(b"old", Ttl::Left(SECOND), now);
            vec![Input::Locked(true), value, Input::Renew, load(), Input::Published(true)]
        });
        assert_eq!(sent, ["lock", "read raw", "renew", "replace", "release"]);
        assert_eq!(end, Some(End::Refreshed));
    }

    #[test]
    fn what_is_newer_or_locked_or_gone_is_left_alone() {
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
    fn another_process_that_refreshes_is_not_disturbed() {
        let (sent, end) = play(|_| vec![Input::Locked(false)]);
        assert_eq!((sent, end), (vec!["lock"], Some(End::Skipped)));
    }

    #[test]
    fn whatever_goes_wrong_the_refresh_lock_goes_back() {
        let begin = |now| vec![Input::Locked(true), read(b"old", Ttl::Left(SECOND), now)];
        for (inputs, expected) in [
            (vec![Input::Over(End::Failed)], End::Failed),
            (vec![load(), Input::Failed], End::Failed),
            (vec![load(), Input::Published(false)], End::Skipped),
        ] {
            let (sent, end) = play(|now| begin(now).into_iter().chain(inputs).collect());
            assert_eq!((sent.last(), end), (Some(&"release"), Some(expected)));
        }
        let (sent, end) = play(|_| vec![Input::Locked(true), Input::Failed]);
        assert_eq!((sent.last(), end), (Some(&"release"), Some(End::Failed)));
    }
}
