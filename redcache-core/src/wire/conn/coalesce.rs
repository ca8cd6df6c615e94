//! Batches neighbouring commands: reads become one `MGET`, publications one call of their script or
//! one transaction.
//!
//! The overhead of a small command costs a server more than the command itself. Only commands that
//! are written at the same time are batched, so no command waits for others. A lone command is
//! encoded as if there were no batches.

use super::awaited::Form;
use crate::protocol::command::{Batchable, Command};
use crate::protocol::encode;
use crate::protocol::lock::LockSettings;
use crate::protocol::script::Script;

/// The largest number of commands in a batch. Measured on Redis 7.0: larger batches gain almost
/// nothing, and other clients wait for the whole batch.
const COUNT_MAX: usize = 32;

/// The largest total size of the values in a batch, whose reply is read as a whole.
const BYTES_MAX: usize = 64 << 10;

/// The number of reads from which it pays to tell the server not to track them. Measured on Redis
/// 7.0: a batch of 100 took 83 µs tracked and 56 µs untracked.
const UNTRACKED_MIN: usize = 4;

/// The commands at the end of the pipeline that are not encoded yet.
#[derive(Debug, Default)]
pub(super) struct Coalescer {
    /// The kind of the batch, and the form of its commands.
    open: Option<(Batchable, Form)>,
    count: usize,
    keys: Vec<u8>,
    /// The bytes behind the keys: the arguments of the script, or the rest of each read.
    rest: Vec<u8>,
    expected: Expected,
    /// The server tracks a read unless `CLIENT CACHING NO` precedes it.
    pub(super) opts_out: bool,
}

/// The expected length of a value: the longest of the recent ones.
#[derive(Debug)]
struct Expected(usize);

impl Default for Expected {
    fn default() -> Self {
        Self(BYTES_MAX / COUNT_MAX)
    }
}

impl Coalescer {
    /// Append a command and return the size of its batch.
    pub(super) fn add(
        &mut self,
        kind: (Batchable, Form),
        command: &Command,
        locks: &LockSettings,
    ) -> usize {
        self.open = Some(kind);
        if kind.1 == Form::Transaction {
            command.encode_in_transaction(locks, &mut self.keys, &mut self.rest);
        } else {
            command.encode_batched(locks, &mut self.keys, &mut self.rest);
        }
        self.count += 1;
        self.count
    }

    /// Return whether a command can join the batch.
    pub(super) fn admits(&self, kind: (Batchable, Form)) -> bool {
        let count_max = match kind.0 {
            Batchable::Reads => (BYTES_MAX / self.expected.0.max(1)).clamp(1, COUNT_MAX),
            Batchable::Publications => COUNT_MAX,
        };
        self.open == Some(kind) && self.count < count_max && self.len() < BYTES_MAX
    }

    /// Encode the batch at the end of `out`. Return its size if the server does not track it.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        let (batchable, form) = self.open.take()?;
        // A value without its TTL is not kept.
        let keeps_none = self.rest.is_empty() || mutant!(KeptReadUntracked);
        let is_untracked = batchable == Batchable::Reads
            && self.opts_out
            && keeps_none
            && self.count >= UNTRACKED_MIN;
        if is_untracked {
            encode::untrack_next(out);
        }
        let (count, keys, rest) = (self.count, &self.keys, &self.rest);
        if form == Form::Transaction {
            encode::native::begin_transaction(out);
            out.extend_from_slice(rest);
            encode::native::end_transaction(out, count, |out| out.extend_from_slice(keys));
        } else {
            match batchable {
                Batchable::Reads => encode::begin_reads(out, count),
                Batchable::Publications => {
                    let by_hash = form == Form::Hash;
                    encode::begin_script(out, Script::Publish, by_hash, count, 3 * count);
                }
            }
            out.extend_from_slice(keys);
            out.extend_from_slice(rest);
        }
        self.keys.clear();
        self.rest.clear();
        let count = std::mem::take(&mut self.count);
        is_untracked.then_some(count)
    }

    /// Return the encoded size of the batch, without its first few bytes.
    pub(super) fn len(&self) -> usize {
        self.keys.len() + self.rest.len()
    }

    /// Record the length of a value that a read has found.
    pub(super) fn on_value(&mut self, length: usize) {
        let Expected(expected) = &mut self.expected;
        *expected = length.max(*expected - *expected / 8);
    }
}
