//! The answers to commands, assembled from reply frames.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::protocol::envelope::{Stored, Value, View};
use crate::protocol::oversized::omitted_length;
use crate::protocol::redirect::Redirect;
use crate::protocol::refusal::{Refusal, is_about_state};
use crate::resp::Frame;

/// The answer to a whole [`Command`](crate::protocol::command::Command).
#[derive(Debug)]
pub(crate) enum Reply {
    Read(ReadReply),
    /// Whether a lock, write or script took effect.
    Effect(bool),
    WriteLock(WriteLockReply),
    /// The exact bytes of the key, envelope included.
    Raw(Option<Replaced>),
    Refused(Refusal),
}

/// The answer to a write lock.
#[derive(Debug)]
pub(crate) enum WriteLockReply {
    /// Our lock has replaced this content.
    Granted(Option<Replaced>),
    /// The key holds another lock.
    Taken { lock: Bytes, ttl: Ttl },
}

/// The exact bytes of a key, envelope included, and their TTL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replaced {
    pub(crate) raw: Bytes,
    pub(crate) ttl: Ttl,
}

impl Reply {
    /// Return the length of the value that the reply contains.
    pub(crate) fn value_len(&self) -> Option<usize> {
        match self {
            Self::Read(ReadReply { stored: Stored::Value(value), .. }) => Some(value.payload.len()),
            Self::Raw(Some(found)) | Self::WriteLock(WriteLockReply::Granted(Some(found))) => {
                Some(found.raw.len())
            }
            Self::Read(ReadReply { stored: Stored::Missing | Stored::Lock(_), .. })
            | Self::Raw(None)
            | Self::WriteLock(WriteLockReply::Granted(None) | WriteLockReply::Taken { .. })
            | Self::Effect(_)
            | Self::Refused(_) => None,
        }
    }

    /// Return whether the command has changed its key.
    pub(crate) fn has_written(&self) -> bool {
        match self {
            Self::Read(read) => read.lock == LockReply::Granted,
            Self::Effect(done) => *done,
            Self::WriteLock(reply) => matches!(reply, WriteLockReply::Granted(_)),
            Self::Raw(_) | Self::Refused(_) => false,
        }
    }
}

/// The answer to a read, assembled from the replies of its pipeline.
#[derive(Debug)]
pub(crate) struct ReadReply {
    pub(crate) stored: Stored,
    pub(crate) ttl: Ttl,
    pub(crate) lock: LockReply,
    /// The key was invalidated between the first and the last reply of the pipeline: the value is
    /// outdated, and no further push will come.
    pub(crate) invalidated: bool,
}

impl ReadReply {
    /// Set the value to the exact bytes of the key, whose memory it shares.
    pub(crate) fn set_value(&mut self, raw: &Bytes, lock_prefix: &[u8]) {
        self.stored = take_out(raw, Some(raw), lock_prefix);
    }
}

impl Default for ReadReply {
    fn default() -> Self {
        Self {
            stored: Stored::Missing,
            ttl: Ttl::Absent,
            lock: LockReply::NotTried,
            invalidated: false,
        }
    }
}

/// The outcome of the lock attempt in a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LockReply {
    NotTried,
    Granted,
    /// The key existed.
    Taken,
    Refused(Refusal),
}

/// The answer of `PTTL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ttl {
    /// The key does not exist.
    Absent,
    /// The command has not asked for the TTL.
    Unknown,
    /// The key never expires.
    Endless,
    Left(Duration),
}

impl Ttl {
    fn of(ms: i64) -> Self {
        match u64::try_from(ms) {
            Ok(ms) => Self::Left(Duration::from_millis(ms)),
            Err(_) if ms == -1 => Self::Endless,
            Err(_) => Self::Absent,
        }
    }

    /// Return the instant until which a value that was requested at `asked_at` may be kept.
    pub(crate) fn deadline(self, asked_at: Instant, cap: Duration) -> Option<Instant> {
        match self {
            Self::Unknown if mutant!(UnknownTtlKept) => asked_at.checked_add(cap),
            Self::Absent | Self::Unknown => None,
            Self::Endless => asked_at.checked_add(cap),
            Self::Left(_) if mutant!(PttlIgnored) => asked_at.checked_add(cap),
            Self::Left(left) => asked_at.checked_add(left.min(cap)),
        }
    }
}

/// Assembles the replies to one command into its answer.
#[derive(Debug)]
pub(crate) enum Assembly {
    /// `GET`, then `PTTL` if the read asks for the TTL, then `SET` if it takes the lock.
    Read {
        parts: u8,
        /// The number of replies.
        parts_max: u8,
        is_batched: bool,
        reply: ReadReply,
        refusal: Option<Refusal>,
        /// The length of the value, if it was too large to be read.
        large: Option<usize>,
    },
    /// `SET … NX GET`.
    SetGet,
    /// `GET`, then `PTTL`.
    Raw {
        first: Option<Result<Option<Bytes>, Refusal>>,
    },
    Effect {
        is_batched: bool,
    },
    WriteLock,
    /// The whole answer to a command that is behind others without theirs.
    Held(Option<Answered>),
}

/// The outcome of all replies to one command.
#[derive(Debug)]
pub(crate) enum Answered {
    Whole(Reply),
    /// The batch was refused for a reason that may concern another of its commands, so this one
    /// must be sent alone.
    Unclear,
    /// The value, of this length, is too large for a shared reply, so the read must be sent alone.
    Large(usize),
}

/// The reply has a type that the command cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WrongType;

impl Assembly {
    pub(crate) fn read(asks_ttl: bool, lock: bool, is_batched: bool) -> Self {
        let ttl = if asks_ttl { Ttl::Absent } else { Ttl::Unknown };
        let reply = ReadReply { ttl, ..ReadReply::default() };
        let parts_max = 1 + u8::from(asks_ttl) + u8::from(lock);
        Self::Read { parts: 0, parts_max, is_batched, reply, refusal: None, large: None }
    }

    /// Record that the key was invalidated before the command was answered completely.
    pub(crate) fn on_invalidated(&mut self) {
        if let Self::Read { parts: 1.., reply, .. }
        | Self::Held(Some(Answered::Whole(Reply::Read(reply)))) = self
        {
            reply.invalidated = true;
        }
    }

    /// Take the next reply. Return the whole answer after the last one. A value shares the memory
    /// of the reply's owner, if there is one.
    pub(crate) fn take(
        &mut self,
        (frame, owner): (&Frame<'_>, Option<&Bytes>),
        lock_prefix: &[u8],
    ) -> Result<Option<Answered>, WrongType> {
        let (parts, parts_max, is_batched, reply, refusal, large) = match self {
            Self::Read { parts, parts_max, is_batched, reply, refusal, large } => {
                (parts, *parts_max, *is_batched, reply, refusal, large)
            }
            Self::Effect { is_batched: true } if is_unclear(frame) => {
                return Ok(Some(Answered::Unclear));
            }
            Self::Effect { .. } => return effect(frame).map(Answered::Whole).map(Some),
            Self::WriteLock => return write_lock(frame).map(Answered::Whole).map(Some),
            Self::SetGet => {
                return Ok(Some(Answered::Whole(set_get((frame, owner), lock_prefix)?)));
            }
            Self::Raw { first } => return Ok(raw(first, frame)?.map(Answered::Whole)),
            Self::Held(_) => return Err(WrongType),
        };
        match *parts {
            0 => match frame {
                Frame::Error(text) => {
                    *large = omitted_length(text);
                    *refusal = Some(Refusal::of(text));
                }
                Frame::Null => reply.stored = Stored::Missing,
                Frame::Bulk(raw) => reply.stored = take_out(raw, owner, lock_prefix),
                _ => return Err(WrongType),
            },
            1 if reply.ttl != Ttl::Unknown => match frame {
                Frame::Integer(ms) => reply.ttl = Ttl::of(*ms),
                Frame::Error(text) => {
                    reply.ttl = Ttl::Absent;
                    send_whole_again(text, refusal);
                }
                _ => return Err(WrongType),
            },
            _ => {
                reply.lock = match frame {
                    Frame::Simple(_) => LockReply::Granted,
                    Frame::Null => LockReply::Taken,
                    Frame::Error(text) => {
                        send_whole_again(text, refusal);
                        LockReply::Refused(Refusal::of(text))
                    }
                    _ => return Err(WrongType),
                }
            }
        }
        *parts += 1;
        if *parts < parts_max {
            return Ok(None);
        }
        // A lock that was granted beside a failed read must still be released.
        if reply.lock != LockReply::Granted {
            // `MGET` returns nil for a key that holds no string, and may fail because of another
            // key.
            let has_key = match reply.ttl {
                Ttl::Left(_) | Ttl::Endless => true,
                Ttl::Unknown => reply.lock == LockReply::Taken,
                Ttl::Absent => false,
            };
            let is_silent = reply.stored == Stored::Missing && has_key;
            if let Some(length) = large.filter(|_| is_batched) {
                return Ok(Some(Answered::Large(length)));
            }
            let refusal = refusal.take();
            let is_unclear =
                refusal.as_ref().map_or(is_silent, |it| is_about_batching(it.0.as_bytes()));
            if is_batched && is_unclear {
                return Ok(Some(Answered::Unclear));
            }
            if let Some(refusal) = refusal {
                return Ok(Some(Answered::Whole(Reply::Refused(refusal))));
            }
        }
        Ok(Some(Answered::Whole(Reply::Read(std::mem::take(reply)))))
    }
}

/// Return whether a batch may have been refused because of one of its commands, or because it is a
/// batch.
pub(crate) fn is_about_batching(refusal: &[u8]) -> bool {
    !is_about_state(refusal)
}

fn is_unclear(frame: &Frame<'_>) -> bool {
    matches!(frame, Frame::Error(text) if is_about_batching(text))
}

fn raw(
    first: &mut Option<Result<Option<Bytes>, Refusal>>,
    frame: &Frame<'_>,
) -> Result<Option<Reply>, WrongType> {
    let Some(found) = first.take() else {
        *first = Some(match frame {
            Frame::Error(text) => Err(Refusal::of(text)),
            Frame::Null => Ok(None),
            Frame::Bulk(raw) => Ok(Some(Bytes::copy_from_slice(raw))),
            _ => return Err(WrongType),
        });
        return Ok(None);
    };
    let ttl = match frame {
        Frame::Integer(ms) => Ttl::of(*ms),
        Frame::Error(text) if Redirect::concerns_whole(text) => {
            return Ok(Some(Reply::Refused(Refusal::of(text))));
        }
        Frame::Error(_) => Ttl::Absent,
        _ => return Err(WrongType),
    };
    Ok(Some(match found {
        Ok(raw) => Reply::Raw(raw.map(|raw| Replaced { raw, ttl })),
        Err(refusal) => Reply::Refused(refusal),
    }))
}

/// Refuse the whole read when one of its parts shows that the server is not ready or not the right
/// one: a replica refuses only the lock, and the slot may have moved between two parts.
fn send_whole_again(text: &[u8], refusal: &mut Option<Refusal>) {
    if refusal.is_none() && Redirect::concerns_whole(text) {
        *refusal = Some(Refusal::of(text));
    }
}

fn set_get(
    (frame, owner): (&Frame<'_>, Option<&Bytes>),
    lock_prefix: &[u8],
) -> Result<Reply, WrongType> {
    let (stored, lock) = match frame {
        Frame::Null => (Stored::Missing, LockReply::Granted),
        Frame::Bulk(raw) => (take_out(raw, owner, lock_prefix), LockReply::Taken),
        Frame::Error(text) => return Ok(Reply::Refused(Refusal::of(text))),
        _ => return Err(WrongType),
    };
    Ok(Reply::Read(ReadReply { stored, ttl: Ttl::Unknown, lock, invalidated: false }))
}

fn effect(frame: &Frame<'_>) -> Result<Reply, WrongType> {
    match frame {
        Frame::Simple(_) => Ok(Reply::Effect(true)),
        Frame::Null => Ok(Reply::Effect(false)),
        Frame::Integer(count) => Ok(Reply::Effect(*count > 0)),
        Frame::Error(text) => Ok(Reply::Refused(Refusal::of(text))),
        _ => Err(WrongType),
    }
}

fn write_lock(frame: &Frame<'_>) -> Result<Reply, WrongType> {
    let elements = match frame {
        Frame::Array(elements) => &elements[..],
        Frame::Error(text) => return Ok(Reply::Refused(Refusal::of(text))),
        _ => return Err(WrongType),
    };
    let copied = |raw: &[u8]| Bytes::copy_from_slice(raw);
    Ok(Reply::WriteLock(match elements {
        [Frame::Integer(1), Frame::Null, _] => WriteLockReply::Granted(None),
        [Frame::Integer(1), Frame::Bulk(raw), Frame::Integer(ms)] => {
            WriteLockReply::Granted(Some(Replaced { raw: copied(raw), ttl: Ttl::of(*ms) }))
        }
        // A value that is too large to be read cannot be restored. It is lost if the write fails.
        [Frame::Integer(1), Frame::Error(text), _] if omitted_length(text).is_some() => {
            WriteLockReply::Granted(None)
        }
        // A lock of another client that is too large to be read cannot be recognized.
        [Frame::Integer(0), Frame::Error(text), _]
            if omitted_length(text).is_some() && !mutant!(OversizedLockMalformed) =>
        {
            return Ok(Reply::Refused(Refusal::of(text)));
        }
        [Frame::Integer(0), Frame::Bulk(raw), Frame::Integer(ms)] => {
            WriteLockReply::Taken { lock: copied(raw), ttl: Ttl::of(*ms) }
        }
        _ => return Err(WrongType),
    }))
}

/// Extract a value from its reply. A slice of a read buffer would pin the whole buffer, so the
/// value is copied unless its reply has memory of its own.
fn take_out(raw: &[u8], owner: Option<&Bytes>, lock_prefix: &[u8]) -> Stored {
    match View::of(raw, lock_prefix) {
        View::Lock(raw) => Stored::Lock(Bytes::copy_from_slice(raw)),
        View::Value { payload, compute_time } => {
            let payload = match owner {
                Some(owner) => owner.slice_ref(payload),
                None => Bytes::copy_from_slice(payload),
            };
            Stored::Value(Value { payload, compute_time })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::oversized::stand_in;
    use crate::resp::decode;

    #[test]
    fn a_lock_or_an_old_value_over_the_limit_is_a_whole_reply() {
        let large = stand_in(1000);
        let Ok(large @ Frame::Error(_)) = decode(&large) else { panic!() };
        let reply = |first, ttl| {
            write_lock(&Frame::Array(vec![
                Frame::Integer(first),
                large.clone(),
                Frame::Integer(ttl),
            ]))
        };
        assert!(matches!(reply(1, -1), Ok(Reply::WriteLock(WriteLockReply::Granted(None)))));
        let Ok(Reply::Refused(refusal)) = reply(0, 100) else { panic!() };
        assert!(refusal.0.contains("1000 bytes"), "{refusal:?}");
    }
}
