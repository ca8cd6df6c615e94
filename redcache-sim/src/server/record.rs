//! The record of commands, for tests that count them.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::client::ClientId;

/// The number of times that a command ran, was refused, and failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommandCount {
    /// The number of runs, scripts included.
    pub calls: u64,
    /// The number of refusals before a run.
    pub rejected: u64,
    /// The number of runs that failed.
    pub failed: u64,
}

/// One command as a client sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedCommand {
    /// The client.
    pub client: ClientId,
    /// The name and the arguments.
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
