//! A command as the server executes it.

use bytes::Bytes;
use redcache_core::LOCK_PREFIX;
use redcache_core::protocol::Script;

use crate::clock::Micros;
use crate::request::words;
use crate::state::world::World;

/// The kind of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Read,
    Lock,
    Insert,
    Remove,
    /// A script, or the native command that replaces it.
    Script(Script),
    /// A command that `EXEC` will execute.
    Queued,
    /// A query for the epoch of the slot map.
    Epoch,
    /// A query for the slot map.
    Owners,
    Other,
}

/// A command of a process that the server executes.
#[derive(Debug)]
pub(crate) struct Executed {
    pub(crate) link: usize,
    pub(crate) process: usize,
    pub(crate) life: u32,
    pub(crate) verb: Verb,
    /// Whether the command reads a TTL.
    pub(crate) reads_ttl: bool,
    /// The time at which the process sent the command.
    pub(crate) sent_at: Micros,
    pub(crate) parts: Vec<Part>,
    /// The key whose refresh lock it concerns.
    pub(crate) refresh: Option<usize>,
    /// Whether commands of its kind write keys.
    pub(crate) wrote: bool,
}

/// The part of a command that concerns one key.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) key: usize,
    /// The arguments after the key.
    pub(crate) words: Vec<Bytes>,
    /// The time at which the key expired before the command.
    pub(crate) expires_at: Option<Micros>,
}

impl Executed {
    pub(crate) fn of(world: &World, link: usize, frame: &[u8], sent_at: Micros) -> Self {
        let words = words(frame);
        let queued = world.queued_on(link);
        let sent = match queued {
            Some(commands) if words == [b"EXEC"] => Sent::transaction(commands),
            Some(_) => Sent { verb: Verb::Queued, ..Sent::command(&words) },
            None => Sent::command(&words),
        };
        let Sent { verb, parts } = sent;
        let refresh = parts.first().and_then(|(name, _)| world.key_refreshed_under(name));
        let parts = parts.into_iter().filter_map(|(name, words)| {
            let key = world.key_named(&name)?;
            let ttl = world.ttl_of(key);
            let expires_at = ttl.map(|ttl| world.now + world.server_clock.stretch(ttl));
            Some(Part { key, words, expires_at })
        });
        Self {
            link,
            process: world.links[link].process,
            life: world.links[link].life,
            verb,
            reads_ttl: words.first() == Some(&&b"PTTL"[..]),
            sent_at,
            refresh,
            parts: parts.collect(),
            wrote: match verb {
                Verb::Read | Verb::Queued | Verb::Epoch | Verb::Owners | Verb::Other => false,
                Verb::Lock | Verb::Insert | Verb::Remove | Verb::Script(_) => true,
            },
        }
    }

    /// Return whether this reply grants the lock that the command asks for.
    pub(crate) fn grants_lock(&self, frame: &[u8]) -> bool {
        let reads_too =
            self.parts.first().is_some_and(|part| part.words.iter().any(|word| word == "GET"));
        match (self.verb, reads_too) {
            (Verb::Lock, true) => frame == b"_\r\n" || frame == b"$-1\r\n",
            (Verb::Lock, false) => frame == b"+OK\r\n",
            _ => false,
        }
    }

    /// Return the part that concerns a key.
    pub(crate) fn part(&self, key: usize) -> Option<&Part> {
        self.parts.iter().find(|part| part.key == key)
    }

    /// Return the part that concerns a key and expects it to hold `raw`. A shared publication may
    /// name a key several times, each with another lock.
    pub(crate) fn part_expecting(&self, key: usize, raw: Option<&Bytes>) -> Option<&Part> {
        let expects = |part: &&Part| part.key == key && part.words.first() == raw;
        self.parts.iter().find(expects).filter(|_| raw.is_some())
    }
}

/// The kind of a command, its keys, and the arguments of each.
struct Sent {
    verb: Verb,
    parts: Vec<(Bytes, Vec<Bytes>)>,
}

impl Sent {
    /// Read a command that is executed alone.
    fn command(words: &[&[u8]]) -> Self {
        if let Some(native) = Self::native(words) {
            return native;
        }
        let (verb, at) = match words.first().copied().unwrap_or_default() {
            b"GET" | b"GETRANGE" | b"PTTL" | b"MGET" | b"EXISTS" => (Verb::Read, 1),
            b"SET" if words.get(2).is_some_and(|value| is_lock(value)) => (Verb::Lock, 1),
            b"SET" => (Verb::Insert, 1),
            b"DEL" => (Verb::Remove, 1),
            b"EVAL" => (script(words.get(1), |script| script.source()), 3),
            b"EVALSHA" => (script(words.get(1), |script| script.sha1()), 3),
            b"CLUSTER" if words.get(1) == Some(&&b"INFO"[..]) => (Verb::Epoch, words.len()),
            b"CLUSTER" => (Verb::Owners, words.len()),
            _ => (Verb::Other, words.len()),
        };
        // Only publications have several written keys; `MGET` and `EXISTS` read several.
        let keys = match (verb, words.get(2)) {
            (Verb::Script(_), Some(count)) => number(count),
            (Verb::Read, _) if matches!(words[0], b"MGET" | b"EXISTS") => words.len() - 1,
            _ => 1,
        };
        let (names, rest) = words[at..].split_at(keys.min(words.len() - at));
        let width = rest.len() / keys;
        let part = |(place, name): (usize, &&[u8])| {
            (copied(name), rest[place * width..][..width].iter().map(|word| copied(word)).collect())
        };
        Self { verb, parts: names.iter().enumerate().map(part).collect() }
    }

    /// Read a native command with the arguments of the script that it replaces.
    fn native(words: &[&[u8]]) -> Option<Self> {
        let (script, key, arguments): (_, _, &[&[u8]]) = match *words {
            [b"DELIFEQ", key, lock] | [b"DELEX", key, b"IFEQ", lock] => {
                (Script::Release, key, &[lock])
            }
            [b"SET", key, lock, b"IFEQ", _, b"PX", ttl] if is_lock(lock) => {
                (Script::Renew, key, &[lock, ttl])
            }
            [b"SET", key, value, b"IFEQ", lock, b"PX", ttl] => {
                (Script::Publish, key, &[lock, value, ttl])
            }
            [b"SET", key, raw, b"PX", ttl, b"IFEQ", lock] => {
                (Script::Restore, key, &[lock, raw, ttl])
            }
            [b"SET", key, raw, b"IFEQ", lock] => (Script::Restore, key, &[lock, raw]),
            _ => return None,
        };
        let arguments = arguments.iter().map(|word| copied(word)).collect();
        Some(Self { verb: Verb::Script(script), parts: vec![(copied(key), arguments)] })
    }

    /// Read the publications of a transaction.
    fn transaction(commands: &[Vec<Bytes>]) -> Self {
        let parts = commands.iter().flat_map(|command| {
            let words: Vec<&[u8]> = command.iter().map(|word| &word[..]).collect();
            Self::native(&words).map(|sent| sent.parts).unwrap_or_default()
        });
        Self { verb: Verb::Script(Script::Publish), parts: parts.collect() }
    }
}

fn number(word: &[u8]) -> usize {
    std::str::from_utf8(word).ok().and_then(|word| word.parse().ok()).unwrap_or(1)
}

fn copied(word: &[u8]) -> Bytes {
    Bytes::copy_from_slice(word)
}

/// Return whether a value is a lock. Values of processes have an envelope, so only a lock begins
/// like one.
fn is_lock(value: &[u8]) -> bool {
    value.starts_with(LOCK_PREFIX.as_bytes())
}

fn script(named: Option<&&[u8]>, name: impl Fn(Script) -> &'static str) -> Verb {
    let named = named.copied().unwrap_or_default();
    let known = Script::ALL.into_iter().find(|script| name(*script).as_bytes() == named);
    known.map_or(Verb::Other, Verb::Script)
}

/// The cause of a change.
#[derive(Debug)]
pub(crate) enum Cause<'a> {
    Time,
    /// The simulator itself.
    Fault,
    Command(&'a Executed),
    Foreign(&'a [&'a [u8]]),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_a_transaction_names_its_keys() {
        let set: &[&[u8]] = &[b"SET", b"a", b"value", b"IFEQ", b"lock", b"PX", b"9"];
        for (words, keys) in [(set, &[&b"a"[..]][..]), (&[b"EXISTS", b"a", b"b"], &[b"a", b"b"])] {
            let parts = Sent::command(words).parts;
            assert_eq!(parts.iter().map(|(name, _)| &name[..]).collect::<Vec<_>>(), keys);
        }
    }
}
