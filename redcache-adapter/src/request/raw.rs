//! Requests for the exact contents of keys.

use std::mem;
use std::time::Instant;

use redcache_core::engine::{Engine, OpId, Outcome, RawValue, Replacement};
use redcache_core::{Error, Key};

use super::Request;

/// Read the exact contents of several keys.
#[derive(Debug)]
pub struct ReadRawMany {
    keys: Vec<Key>,
}

impl ReadRawMany {
    /// Create the request.
    pub fn new(keys: Vec<Key>) -> Self {
        Self { keys }
    }
}

impl Request for ReadRawMany {
    type Output = Vec<Result<Option<RawValue>, Error>>;
    type Error = Error;
    const NAME: &'static str = "read_raw_many";

    fn keys(&self) -> usize {
        self.keys.len()
    }

    fn start(&mut self, engine: &mut Engine, now: Instant) -> Result<OpId, Error> {
        engine.read_raw_many(now, mem::take(&mut self.keys))
    }

    fn convert(outcome: Outcome) -> Option<Result<Self::Output, Error>> {
        match outcome {
            Outcome::Raws(found) => Some(Ok(found)),
            _ => None,
        }
    }
}

/// Replace several values. Each replaces exactly one write of an old value.
#[derive(Debug)]
pub struct ReplaceMany {
    replacements: Vec<Replacement>,
}

impl ReplaceMany {
    /// Create the request.
    pub fn new(replacements: Vec<Replacement>) -> Self {
        Self { replacements }
    }
}

impl Request for ReplaceMany {
    type Output = Vec<Result<bool, Error>>;
    type Error = Error;
    const NAME: &'static str = "replace_many";

    fn keys(&self) -> usize {
        self.replacements.len()
    }

    fn start(&mut self, engine: &mut Engine, now: Instant) -> Result<OpId, Error> {
        engine.replace_many(now, mem::take(&mut self.replacements))
    }

    fn convert(outcome: Outcome) -> Option<Result<Self::Output, Error>> {
        match outcome {
            Outcome::WrittenMany(results) => Some(Ok(results)),
            _ => None,
        }
    }
}
