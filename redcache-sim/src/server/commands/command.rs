//! A command: its name, its number of words, its flags, and the words that are keys.

use bytes::Bytes;

use crate::server::call::Call;
use crate::server::reply::{Reply, ReplyError};
use crate::server::request::integer;

/// Writes keys; refused by a replica.
pub(in crate::server) const WRITE: u16 = 1;
/// Reads keys; a tracking client gets their invalidations.
pub(in crate::server) const READ: u16 = 2;
/// Needs memory; refused while there is none.
pub(in crate::server) const DENY_OOM: u16 = 4;
/// Allowed before authentication.
pub(in crate::server) const NO_AUTH: u16 = 8;
/// Allowed while the server loads its dataset.
pub(in crate::server) const ALLOW_LOADING: u16 = 16;
/// Allowed while a script keeps the server busy.
pub(in crate::server) const ALLOW_BUSY: u16 = 32;
/// Refused in a script.
pub(in crate::server) const NO_SCRIPT: u16 = 64;

pub(in crate::server) type Run = fn(&mut Call<'_>) -> Result<Reply, ReplyError>;

/// A command or a subcommand.
#[derive(Debug)]
pub(in crate::server) struct Command {
    /// The full name in lower case; a subcommand follows a bar: `client|id`.
    pub(in crate::server) name: &'static str,
    /// The number of words including the name; negative for a minimum.
    arity: i32,
    flags: u16,
    keys: Keys,
    run: Run,
    pub(in crate::server) subcommands: &'static [Self],
}

/// The arguments that are keys.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) enum Keys {
    None,
    First,
    All,
    /// The arguments after the second one, which contains their number.
    Declared,
}

impl Command {
    pub(super) const fn new(
        name: &'static str,
        arity: i32,
        flags: u16,
        keys: Keys,
        run: Run,
    ) -> Self {
        Self { name, arity, flags, keys, run, subcommands: &[] }
    }

    pub(super) const fn family(name: &'static str, subcommands: &'static [Self]) -> Self {
        let run: Run = |_| Err(ReplyError::SYNTAX.into());
        Self { name, arity: -2, flags: 0, keys: Keys::None, run, subcommands }
    }

    pub(in crate::server) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(in crate::server) fn accepts(&self, words: usize) -> bool {
        let words = i32::try_from(words).unwrap_or(i32::MAX);
        if self.arity < 0 { words >= -self.arity } else { words == self.arity }
    }

    pub(in crate::server) fn keys<'a>(&self, args: &'a [Bytes]) -> &'a [Bytes] {
        match self.keys {
            Keys::None => &[],
            Keys::First => args.get(1..2).unwrap_or(&[]),
            Keys::All => args.get(1..).unwrap_or(&[]),
            Keys::Declared => {
                let count = args.get(2).and_then(|count| integer(count)).unwrap_or(0);
                let count = usize::try_from(count).unwrap_or(0);
                args.get(3..).and_then(|rest| rest.get(..count)).unwrap_or(&[])
            }
        }
    }

    pub(in crate::server) fn run(&self, call: &mut Call<'_>) -> Result<Reply, ReplyError> {
        (self.run)(call)
    }

    pub(in crate::server) fn subcommand(&self, name: &[u8]) -> Option<&'static Self> {
        let bar = self.name.len() + 1;
        self.subcommands.iter().find(|it| it.name.as_bytes()[bar..].eq_ignore_ascii_case(name))
    }
}
