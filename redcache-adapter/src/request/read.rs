//! Requests that read keys without a near entry.

use std::mem;
use std::time::Instant;

use redcache_core::engine::{Batch, CallError, Engine, LoadOptions, OpId, Outcome};
use redcache_core::{Answer, CallOptions, Error, Key};

use super::Request;

/// `get`: read one key.
#[derive(Debug)]
pub struct Get {
    key: Key,
    options: CallOptions,
}

impl Get {
    /// Create the request.
    pub fn new(key: &[u8], options: CallOptions) -> Self {
        Self { key: Key::copy_from(key), options }
    }
}

impl Request for Get {
    type Output = Answer;
    type Error = Error;
    const NAME: &'static str = "get";

    fn keys(&self) -> usize {
        1
    }

    fn start(&mut self, engine: &mut Engine, now: Instant) -> Result<OpId, Error> {
        engine.get(now, mem::take(&mut self.key), self.options)
    }

    fn convert(outcome: Outcome) -> Option<Result<Answer, Error>> {
        match outcome {
            Outcome::Answer(result) => Some(result.map_err(Error::from)),
            _ => None,
        }
    }
}

/// `get_with`: read one key, and load it on a miss.
#[derive(Debug)]
pub struct GetWith {
    key: Key,
    options: LoadOptions,
}

impl GetWith {
    /// Create the request.
    pub fn new(key: &[u8], options: LoadOptions) -> Self {
        Self { key: Key::copy_from(key), options }
    }
}

impl Request for GetWith {
    type Output = Answer;
    type Error = CallError;
    const NAME: &'static str = "get_with";

    fn keys(&self) -> usize {
        1
    }

    fn start(&mut self, engine: &mut Engine, now: Instant) -> Result<OpId, Error> {
        engine.get_with(now, mem::take(&mut self.key), self.options)
    }

    fn convert(outcome: Outcome) -> Option<Result<Answer, CallError>> {
        match outcome {
            Outcome::Answer(result) => Some(result),
            _ => None,
        }
    }
}

/// `get_many`: read several keys.
#[derive(Debug)]
pub struct GetMany {
    keys: Vec<Key>,
    options: CallOptions,
}

impl GetMany {
    /// Create the request.
    pub fn new(keys: Vec<Key>, options: CallOptions) -> Self {
        Self { keys, options }
    }

    /// Create the request for the keys of `batch` that the near cache did not have. Return `None`
    /// if it had all.
    pub fn rest<E: From<CallError>>(batch: &mut Batch<E>, options: CallOptions) -> Option<Self> {
        (!batch.is_complete()).then(|| Self { keys: batch.take_far(), options })
    }
}

impl Request for GetMany {
    type Output = Vec<Result<Answer, CallError>>;
    type Error = Error;
    const NAME: &'static str = "get_many";

    fn keys(&self) -> usize {
        self.keys.len()
    }

    fn start(&mut self, engine: &mut Engine, now: Instant) -> Result<OpId, Error> {
        engine.get_many(now, mem::take(&mut self.keys), self.options)
    }

    fn convert(outcome: Outcome) -> Option<Result<Self::Output, Error>> {
        match outcome {
            Outcome::Answers(answers) => Some(Ok(answers)),
            _ => None,
        }
    }
}

/// `get_many_with`: read several keys, and load the missing ones.
#[derive(Debug)]
pub struct GetManyWith {
    keys: Vec<Key>,
    options: LoadOptions,
}

impl GetManyWith {
    /// Create the request.
    pub fn new(keys: Vec<Key>, options: LoadOptions) -> Self {
        Self { keys, options }
    }

    /// Create the request for the keys of `batch` that the near cache did not have. Return `None`
    /// if it had all.
    pub fn rest<E: From<CallError>>(batch: &mut Batch<E>, options: LoadOptions) -> Option<Self> {
        (!batch.is_complete()).then(|| Self { keys: batch.take_far(), options })
    }
}

impl Request for GetManyWith {
    type Output = Vec<Result<Answer, CallError>>;
    type Error = Error;
    const NAME: &'static str = "get_many_with";

    fn keys(&self) -> usize {
        self.keys.len()
    }

    fn start(&mut self, engine: &mut Engine, now: Instant) -> Result<OpId, Error> {
        engine.get_many_with(now, mem::take(&mut self.keys), self.options)
    }

    fn convert(outcome: Outcome) -> Option<Result<Self::Output, Error>> {
        match outcome {
            Outcome::Answers(answers) => Some(Ok(answers)),
            _ => None,
        }
    }
}
