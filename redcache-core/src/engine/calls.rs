//! The calls of the application.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ops::{FetchMany, Gather, Op};
use super::{Engine, Sender};
use crate::api::answer::Loaded;
use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::api::load_error::LoadFailure;
use crate::api::options::LoadOptions;
use crate::event::{Event, Outcome};
use crate::flow::flights::{Caller, OpId};
use crate::protocol::command::Command;

/// Checks the ttl of a value.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`] when it is under a millisecond: Redis counts in whole ones, and would delete the key.
pub fn check_ttl(ttl: Duration) -> Result<(), Error> {
    if ttl < Duration::from_millis(1) {
        let text = format!("the ttl is {ttl:?}; it must be at least 1ms");
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    Ok(())
}

impl Engine {
    /// Reads a key; nothing is loaded, and a key that somebody loads counts as missing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`], or [`ErrorKind::InvalidInput`] for an impossible key. Nothing was sent then.
    pub fn get(&mut self, now: Instant, key: Key) -> Result<OpId, Error> {
        self.check_open()?;
        self.check_key(&key)?;
        let op = self.ops.insert(Op::Read);
        self.send(now, Sender::Call(op, 0).token(), Command::Read { key });
        self.drain(now);
        Ok(op)
    }

    /// Reads several keys in one pipeline; the answers come in their order.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get), or too many keys.
    pub fn get_many(&mut self, now: Instant, keys: Vec<Key>) -> Result<OpId, Error> {
        self.check_batch(&keys)?;
        let op = self.ops.insert(Op::ReadMany(Gather::new(keys.len())));
        for (slot, key) in (0..).zip(keys) {
            self.send(now, Sender::Call(op, slot).token(), Command::Read { key });
        }
        self.finish_empty(op);
        self.drain(now);
        Ok(op)
    }

    /// Reads a key; on a miss [`Event::Load`] asks for the caller's loader, unless somebody else loads it already.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get), or a ttl under 1 ms.
    pub fn get_with(
        &mut self,
        now: Instant,
        key: Key,
        options: impl Into<LoadOptions>,
    ) -> Result<OpId, Error> {
        let options = options.into();
        self.check_open()?;
        self.check_key(&key)?;
        check_ttl(options.ttl).map_err(|error| error.about(&key))?;
        // The flight is known only after it has a caller to name.
        let op = self.ops.insert(Op::Read);
        let flight = self.board(now, key, Caller { op, slot: 0 }, options);
        if let Some(entry) = self.ops.get_mut(op) {
            *entry = Op::Fetch { flight };
        }
        self.drain(now);
        Ok(op)
    }

    /// Reads several keys; [`Event::LoadMany`] asks for what is missing, in one load as far as it is free at once.
    ///
    /// # Errors
    ///
    /// As for [`get_many`](Self::get_many), or a ttl under 1 ms.
    pub fn get_many_with(
        &mut self,
        now: Instant,
        keys: Vec<Key>,
        options: impl Into<LoadOptions>,
    ) -> Result<OpId, Error> {
        let options = options.into();
        self.check_batch(&keys)?;
        check_ttl(options.ttl)?;
        let op = self.ops.insert(Op::FetchMany(Box::new(FetchMany {
            answers: Gather::new(keys.len()),
            flights: Vec::with_capacity(keys.len()),
            reading: 0,
            to_load: Vec::new(),
            loading: Vec::new(),
            load_started: None,
        })));
        for (slot, key) in (0..).zip(keys) {
            let flight = self.board(now, key, Caller { op, slot }, options);
            if let Some(Op::FetchMany(batch)) = self.ops.get_mut(op) {
                batch.flights.push(flight);
            }
        }
        self.finish_empty(op);
        self.drain(now);
        Ok(op)
    }

    /// Locks a key in the place of its value, has [`Event::Load`] ask for the caller's loader, and stores what it gives.
    /// Until then the key is locked for everybody; should nothing come of it, the old value is put back.
    ///
    /// # Errors
    ///
    /// As for [`get_with`](Self::get_with).
    pub fn insert_with(&mut self, now: Instant, key: Key, ttl: Duration) -> Result<OpId, Error> {
        check_ttl(ttl).map_err(|error| error.about(&key))?;
        self.begin_set(now, vec![key], ttl, false)
    }

    /// The same for several keys: [`Event::LoadMany`] follows once all that can be locked are.
    ///
    /// # Errors
    ///
    /// As for [`get_many_with`](Self::get_many_with).
    pub fn insert_many_with(
        &mut self,
        now: Instant,
        keys: Vec<Key>,
        ttl: Duration,
    ) -> Result<OpId, Error> {
        check_ttl(ttl)?;
        self.begin_set(now, keys, ttl, true)
    }

    /// Writes a value, whatever the key holds. A load of the key that is under way anywhere will not be stored.
    ///
    /// # Errors
    ///
    /// As for [`get_with`](Self::get_with), or a value that is too large or equal to the "not found" marker.
    pub fn insert(
        &mut self,
        now: Instant,
        key: Key,
        value: Bytes,
        ttl: Duration,
    ) -> Result<OpId, Error> {
        check_ttl(ttl).map_err(|error| error.about(&key))?;
        self.check_value(&key, &value)?;
        self.write(now, Command::Insert { key, payload: value, ttl })
    }

    /// Writes several values in one pipeline.
    ///
    /// # Errors
    ///
    /// As for [`insert`](Self::insert) and [`get_many`](Self::get_many); nothing was sent then, for any key.
    pub fn insert_many(
        &mut self,
        now: Instant,
        entries: Vec<(Key, Bytes)>,
        ttl: Duration,
    ) -> Result<OpId, Error> {
        check_ttl(ttl)?;
        for (key, value) in &entries {
            self.check_value(key, value)?;
        }
        let insert = |(key, payload)| Command::Insert { key, payload, ttl };
        self.write_many(now, entries.into_iter().map(insert).collect())
    }

    /// Deletes a key, and voids the lock of whoever loads it.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub fn remove(&mut self, now: Instant, key: Key) -> Result<OpId, Error> {
        self.write(now, Command::Remove { key })
    }

    /// Deletes several keys in one pipeline.
    ///
    /// # Errors
    ///
    /// As for [`get_many`](Self::get_many).
    pub fn remove_many(&mut self, now: Instant, keys: Vec<Key>) -> Result<OpId, Error> {
        self.write_many(now, keys.into_iter().map(|key| Command::Remove { key }).collect())
    }

    /// Gives a value a new time to live; a key that is absent or locked is left alone.
    ///
    /// # Errors
    ///
    /// As for [`get_with`](Self::get_with).
    pub fn touch(&mut self, now: Instant, key: Key, ttl: Duration) -> Result<OpId, Error> {
        check_ttl(ttl).map_err(|error| error.about(&key))?;
        self.write(now, Command::Touch { key, ttl })
    }

    /// Gives several values a new time to live.
    ///
    /// # Errors
    ///
    /// As for [`get_many_with`](Self::get_many_with).
    pub fn touch_many(
        &mut self,
        now: Instant,
        keys: Vec<Key>,
        ttl: Duration,
    ) -> Result<OpId, Error> {
        check_ttl(ttl)?;
        self.write_many(now, keys.into_iter().map(|key| Command::Touch { key, ttl }).collect())
    }

    /// The loader of a `get_with` or `insert_with` has ended.
    pub fn handle_loaded(&mut self, now: Instant, op: OpId, loaded: Result<Loaded, LoadFailure>) {
        match self.ops.get_mut(op) {
            Some(Op::Set(_)) => self.on_set_loaded(now, op, loaded),
            _ => self.on_loaded(now, op, loaded),
        }
        self.drain(now);
    }

    /// The loader of a `get_many_with` or `insert_many_with` has ended. A key that is left out is "not found" for the
    /// first, and stays as it was for the second; one that was not asked for is ignored and counted.
    pub fn handle_loaded_many(
        &mut self,
        now: Instant,
        op: OpId,
        loaded: Result<Vec<(Key, Loaded)>, LoadFailure>,
    ) {
        match self.ops.get_mut(op) {
            Some(Op::Set(_)) => self.on_set_loaded_many(now, op, loaded),
            Some(Op::Refresh(_)) => self.on_refresh_loaded(now, op, loaded),
            _ => self.on_loaded_many(now, op, loaded),
        }
        self.drain(now);
    }

    fn write(&mut self, now: Instant, command: Command) -> Result<OpId, Error> {
        self.check_open()?;
        self.check_key(command.key())?;
        let op = self.ops.insert(Op::Write);
        self.send(now, Sender::Call(op, 0).token(), command);
        self.drain(now);
        Ok(op)
    }

    fn write_many(&mut self, now: Instant, commands: Vec<Command>) -> Result<OpId, Error> {
        self.check_open()?;
        self.check_count(commands.len())?;
        for command in &commands {
            self.check_key(command.key())?;
        }
        let op = self.ops.insert(Op::WriteMany(Gather::new(commands.len())));
        for (slot, command) in (0..).zip(commands) {
            self.send(now, Sender::Call(op, slot).token(), command);
        }
        self.finish_empty(op);
        self.drain(now);
        Ok(op)
    }

    /// A batch without keys is over as soon as it begins.
    fn finish_empty(&mut self, op: OpId) {
        let outcome = match self.ops.get_mut(op) {
            Some(Op::ReadMany(gather)) if gather.is_empty() => Outcome::Answers(Vec::new()),
            Some(Op::FetchMany(batch)) if batch.answers.is_empty() => Outcome::Answers(Vec::new()),
            Some(Op::WriteMany(gather)) if gather.is_empty() => Outcome::WrittenMany(Vec::new()),
            _ => return,
        };
        self.end_op(op);
        self.events.push_back(Event::Done { op, outcome });
    }

    pub(super) fn check_key(&self, key: &Key) -> Result<(), Error> {
        let (length, limit) = (key.as_bytes().len(), self.config.value_max);
        if length > limit {
            let text = format!("the key has {length} bytes; `value_max` allows {limit}");
            return Err(Error::new(ErrorKind::InvalidInput, text).about(key));
        }
        Ok(())
    }

    pub(super) fn check_batch(&self, keys: &[Key]) -> Result<(), Error> {
        self.check_open()?;
        self.check_count(keys.len())?;
        keys.iter().try_for_each(|key| self.check_key(key))
    }

    fn check_count(&self, keys: usize) -> Result<(), Error> {
        let limit = self.config.keys_max;
        if keys > limit {
            let text = format!("the batch has {keys} keys; `keys_max` allows {limit}");
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        Ok(())
    }

    fn check_value(&self, key: &Key, value: &[u8]) -> Result<(), Error> {
        match self.unstorable(value) {
            Some(why) => Err(Error::new(ErrorKind::InvalidInput, why).about(key)),
            None => Ok(()),
        }
    }

    /// Why what a loader gave cannot be stored, if it cannot.
    pub(super) fn unstorable_load(&self, loaded: &Loaded, ttl: Duration) -> Option<String> {
        let reason = loaded.value.as_ref().and_then(|value| self.unstorable(value));
        let ttl = loaded.ttl.unwrap_or(ttl);
        reason.or_else(|| check_ttl(ttl).err().map(|error| error.to_string()))
    }

    /// Why a value cannot be stored, if it cannot.
    pub(super) fn unstorable(&self, value: &[u8]) -> Option<String> {
        let (length, limit) = (value.len(), self.config.value_max);
        if length > limit {
            return Some(format!("the value has {length} bytes; `value_max` allows {limit}"));
        }
        (value == self.config.not_found_marker)
            .then(|| "the value equals `not_found_marker` and would read as not found".to_owned())
    }
}
