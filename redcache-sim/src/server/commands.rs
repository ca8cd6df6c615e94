//! The table of commands: what each is called, how many arguments it takes, which of them are keys.

mod client;
mod cluster;
mod connection;
mod expiry;
mod key;
mod scripting;
mod string;
mod system;

use bytes::Bytes;

use super::call::Call;
use super::reply::{Reply, ReplyError};
use super::request::integer;

pub(super) use self::connection::quit;

/// Changes keys; a replica refuses it.
pub(super) const WRITE: u16 = 1;
/// Only reads keys; a client that tracks is told when they change.
pub(super) const READ: u16 = 2;
/// Needs memory; refused when there is none.
pub(super) const DENY_OOM: u16 = 4;
/// Runs before the client has said its password.
pub(super) const NO_AUTH: u16 = 8;
/// Runs while the server loads its dataset.
pub(super) const ALLOW_LOADING: u16 = 16;
/// Runs while a script keeps the server busy.
pub(super) const ALLOW_BUSY: u16 = 32;
/// Refused in a script.
pub(super) const NO_SCRIPT: u16 = 64;

type Run = fn(&mut Call<'_>) -> Result<Reply, ReplyError>;

/// One command, or one subcommand of it.
#[derive(Debug)]
pub(super) struct Command {
    /// The full name in lower case, a subcommand's after a bar: `client|id`.
    pub(super) name: &'static str,
    /// How many words it takes, its name included; negative when this is only the least number.
    arity: i32,
    flags: u16,
    keys: Keys,
    run: Run,
    pub(super) subcommands: &'static [Self],
}

/// Which arguments are keys.
#[derive(Debug, Clone, Copy)]
enum Keys {
    None,
    First,
    All,
    /// As many as the second argument says, after it.
    Declared,
}

impl Command {
    const fn new(name: &'static str, arity: i32, flags: u16, keys: Keys, run: Run) -> Self {
        Self { name, arity, flags, keys, run, subcommands: &[] }
    }

    const fn family(name: &'static str, subcommands: &'static [Self]) -> Self {
        let run: Run = |_| Err(ReplyError::SYNTAX.into());
        Self { name, arity: -2, flags: 0, keys: Keys::None, run, subcommands }
    }

    pub(super) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn accepts(&self, words: usize) -> bool {
        let words = i32::try_from(words).unwrap_or(i32::MAX);
        if self.arity < 0 { words >= -self.arity } else { words == self.arity }
    }

    pub(super) fn keys<'a>(&self, args: &'a [Bytes]) -> &'a [Bytes] {
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

    pub(super) fn run(&self, call: &mut Call<'_>) -> Result<Reply, ReplyError> {
        (self.run)(call)
    }

    pub(super) fn subcommand(&self, name: &[u8]) -> Option<&'static Self> {
        let bar = self.name.len() + 1;
        self.subcommands.iter().find(|it| it.name.as_bytes()[bar..].eq_ignore_ascii_case(name))
    }
}

/// Finds a command by its name, in letters of any case.
pub(super) fn find(name: &[u8]) -> Option<&'static Command> {
    let all = [
        string::COMMANDS,
        key::COMMANDS,
        expiry::COMMANDS,
        scripting::COMMANDS,
        client::COMMANDS,
        cluster::COMMANDS,
        connection::COMMANDS,
        system::COMMANDS,
    ];
    all.into_iter().flatten().find(|command| command.name.as_bytes().eq_ignore_ascii_case(name))
}
