//! What the server remembers of its work, for tests that count commands.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::client::ClientId;

/// How often a command was called, refused before it ran, and answered with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommandCount {
    /// Times it ran, also from within a script.
    pub calls: u64,
    /// Times it was refused without running.
    pub rejected: u64,
    /// Times it ran and answered with an error.
    pub failed: u64,
}

/// One command as a client sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedCommand {
    /// Who sent it.
    pub client: ClientId,
    /// Its name and arguments.
    pub args: Vec<Bytes>,
}

#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) counts: BTreeMap<&'static str, CommandCount>,
    pub(super) log: VecDeque<LoggedCommand>,
    pub(super) expired_keys: u64,
    pub(super) evicted_keys: u64,
}

impl Record {
    pub(super) fn count(&mut self, command: &'static str) -> &mut CommandCount {
        self.counts.entry(command).or_default()
    }

    pub(super) fn log(&mut self, client: ClientId, args: &[Bytes], max: usize) {
        if self.log.len() >= max {
            self.log.pop_front();
        }
        if max > 0 {
            self.log.push_back(LoggedCommand { client, args: args.to_vec() });
        }
    }
}
