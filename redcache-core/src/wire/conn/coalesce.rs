//! Commands that share one: neighbouring reads become an `MGET`, neighbouring publications one run of their script.
//!
//! What surrounds a small command costs a server more than the command itself. Only what is written at one time is
//! shared, so nobody waits for company; a lone command is spelled as if there were no sharing.

use crate::protocol::command::{Batchable, Command};
use crate::protocol::encode;
use crate::protocol::lock::LockSettings;
use crate::protocol::script::Script;

/// How many share one command at most. Measured on Redis 7.0: more gain next to nothing, and other clients wait for
/// the whole of it.
const COUNT_MAX: usize = 32;

/// How many bytes of values share one command at most: the answer is read as a whole.
const BYTES_MAX: usize = 64 << 10;

/// The commands at the end of the pipeline that are not spelled out yet.
#[derive(Debug, Default)]
pub(super) struct Coalescer {
    /// What they share, and whether a script goes by its hash.
    open: Option<(Batchable, bool)>,
    count: usize,
    keys: Vec<u8>,
    /// What follows the keys: the arguments of the script, or the rest of each read.
    rest: Vec<u8>,
    expected: Expected,
}

/// How long values are, by those that have come: the longest of late.
#[derive(Debug)]
struct Expected(usize);

impl Default for Expected {
    fn default() -> Self {
        Self(BYTES_MAX / COUNT_MAX)
    }
}

impl Coalescer {
    /// Says whether a command may be the next of the run.
    fn admits(&self, shared: Batchable, by_hash: bool) -> bool {
        let count_max = match shared {
            Batchable::Reads => (BYTES_MAX / self.expected.0.max(1)).clamp(1, COUNT_MAX),
            Batchable::Publications => COUNT_MAX,
        };
        self.open == Some((shared, by_hash)) && self.count < count_max && self.len() < BYTES_MAX
    }

    /// Takes a command, and says how many it has now. What was there is spelled out first unless the two can share.
    pub(super) fn add(
        &mut self,
        shared: Batchable,
        by_hash: bool,
        command: &Command,
        locks: &LockSettings,
        out: &mut Vec<u8>,
    ) -> usize {
        if !self.admits(shared, by_hash) {
            self.close(out);
            self.open = Some((shared, by_hash));
        }
        command.encode_shared(locks, &mut self.keys, &mut self.rest);
        self.count += 1;
        self.count
    }

    /// Spells the run out at the end of `out`.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) {
        let Some((shared, by_hash)) = self.open.take() else { return };
        match shared {
            Batchable::Reads => encode::begin_reads(out, self.count),
            Batchable::Publications => {
                encode::begin_script(out, Script::Publish, by_hash, self.count, 3 * self.count);
            }
        }
        out.extend_from_slice(&self.keys);
        out.extend_from_slice(&self.rest);
        self.keys.clear();
        self.rest.clear();
        self.count = 0;
    }

    /// How many places it takes among what is awaited.
    pub(super) fn places(&self) -> usize {
        self.count + usize::from(self.count > 1)
    }

    /// How many bytes it will take, but for the few that it begins with.
    pub(super) fn len(&self) -> usize {
        self.keys.len() + self.rest.len()
    }

    /// A read has found a value of so many bytes.
    pub(super) fn on_value(&mut self, length: usize) {
        let Expected(expected) = &mut self.expected;
        *expected = length.max(*expected - *expected / 8);
    }
}
