//! The calls of the application.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::env::Cx;
use super::ops::Machine;
use super::state::Engine;
use super::validate::check_ttl;
use super::writes::Purpose;
use crate::api::error::Error;
use crate::api::key::Key;
use crate::api::options::{CallOptions, LoadOptions, LoaderId, RefreshOptions};
use crate::event::Outcome;
use crate::flow::call::OpId;
use crate::flow::refresh_policy::RefreshPolicy;
use crate::protocol::command::Command;

/// A value that replaces exactly one write of an old value.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// The key.
    pub key: Key,
    /// The exact bytes to replace, as [`RawValue::raw`](crate::engine::RawValue::raw).
    pub expected: Bytes,
    /// The new value; `None` stores "not found".
    pub value: Option<Bytes>,
    /// The new value's TTL.
    pub ttl: Duration,
}

impl Engine {
    /// Read a key without loading it. A key that is being loaded counts as missing. Of the options,
    /// only `max_staleness` has an effect.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed), or
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the key is too long. Nothing
    /// was sent.
    pub fn get(&mut self, now: Instant, key: Key, options: CallOptions) -> Result<OpId, Error> {
        self.env.check_open()?;
        self.env.check_key(&key)?;
        let fresh_since = options.fresh_since(now);
        if let Some(op) = self.answer_in_outage(Cx::at(now), &key, fresh_since) {
            return Ok(op);
        }
        let op = self.plain.read(&mut self.env, Cx::at(now), key, fresh_since);
        self.drain(now);
        Ok(op)
    }

    /// Read several keys in one pipeline. The answers have the order of the keys.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get), and [`InvalidInput`](crate::ErrorKind::InvalidInput) for too many
    /// keys.
    pub fn get_many(
        &mut self,
        now: Instant,
        keys: Vec<Key>,
        options: CallOptions,
    ) -> Result<OpId, Error> {
        self.env.check_batch(keys.iter())?;
        let fresh_since = options.fresh_since(now);
        if let Some(op) = self.answer_all_in_outage(Cx::at(now), &keys, fresh_since) {
            return Ok(op);
        }
        let op = self.plain.read_many(&mut self.env, Cx::at(now), keys, fresh_since);
        self.drain(now);
        Ok(op)
    }

    /// Read the exact contents of several keys in one pipeline.
    ///
    /// # Errors
    ///
    /// As for [`get_many`](Self::get_many).
    pub fn read_raw_many(&mut self, now: Instant, keys: Vec<Key>) -> Result<OpId, Error> {
        self.env.check_batch(keys.iter())?;
        let op = self.plain.read_raw_many(&mut self.env, Cx::at(now), keys);
        self.drain(now);
        Ok(op)
    }

    /// Store several values, each if its key still has the exact bytes that it replaces.
    ///
    /// # Errors
    ///
    /// As for [`insert_many`](Self::insert_many).
    pub fn replace_many(
        &mut self,
        now: Instant,
        replacements: Vec<Replacement>,
    ) -> Result<OpId, Error> {
        for Replacement { key, value, ttl, .. } in &replacements {
            check_ttl(*ttl).map_err(|error| error.about(key))?;
            value.as_ref().map_or(Ok(()), |value| self.env.check_value(key, value))?;
        }
        let replace = |Replacement { key, expected, value, ttl }| {
            let compute_time = self.env.stamped(Duration::ZERO);
            let payload = value.unwrap_or_else(|| self.env.config.not_found_marker.clone());
            Command::Replace { key, expected, payload, compute_time, ttl }
        };
        let commands = replacements.into_iter().map(replace).collect();
        self.write_many(now, commands)
    }

    /// Read a key. On a miss, [`Event::Load`](crate::engine::Event::Load) requests a run of the
    /// caller's loader, unless another call or process is already loading the key.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get), and [`InvalidInput`](crate::ErrorKind::InvalidInput) for a TTL
    /// under 1 ms.
    pub fn get_with(
        &mut self,
        now: Instant,
        key: Key,
        options: impl Into<LoadOptions>,
    ) -> Result<OpId, Error> {
        let options = options.into();
        self.env.check_open()?;
        self.env.check_key(&key)?;
        check_ttl(options.ttl).map_err(|error| error.about(&key))?;
        if !options.reload
            && let Some(op) = self.answer_in_outage(Cx::at(now), &key, options.fresh_since(now))
        {
            return Ok(op);
        }
        let op = self.fetches.get(&mut self.env, Cx::at(now), key, options);
        self.drain(now);
        Ok(op)
    }

    /// Read several keys. [`Event::LoadMany`](crate::engine::Event::LoadMany) requests the missing
    /// ones, in one load if their locks are free at the same time.
    ///
    /// # Errors
    ///
    /// As for [`get_many`](Self::get_many), and [`InvalidInput`](crate::ErrorKind::InvalidInput)
    /// for a TTL under 1 ms.
    pub fn get_many_with(
        &mut self,
        now: Instant,
        keys: Vec<Key>,
        options: impl Into<LoadOptions>,
    ) -> Result<OpId, Error> {
        let options = options.into();
        self.env.check_batch(keys.iter())?;
        check_ttl(options.ttl)?;
        if !options.reload
            && let Some(op) =
                self.answer_all_in_outage(Cx::at(now), &keys, options.fresh_since(now))
        {
            return Ok(op);
        }
        let op = self.fetches.get_many(&mut self.env, Cx::at(now), keys, options);
        self.drain(now);
        Ok(op)
    }

    /// Replace a key's value with a lock, request a run of the caller's loader with
    /// [`Event::Load`](crate::engine::Event::Load), and store its result. If nothing is stored, the
    /// old value is restored.
    ///
    /// # Errors
    ///
    /// As for [`get_with`](Self::get_with).
    pub fn insert_with(&mut self, now: Instant, key: Key, ttl: Duration) -> Result<OpId, Error> {
        check_ttl(ttl).map_err(|error| error.about(&key))?;
        self.start_write(now, vec![key], Purpose::Insert { ttl })
    }

    /// Lock several keys, request one load of all, and store its results, as
    /// [`insert_with`](Self::insert_with) does. [`Event::LoadMany`](crate::engine::Event::LoadMany)
    /// follows once every key is locked or has failed.
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
        self.start_write(now, keys, Purpose::InsertMany { ttl })
    }

    /// Lock several keys, request the commit of a change elsewhere, and remove the keys.
    /// [`Event::LoadMany`](crate::engine::Event::LoadMany) requests the commit, and
    /// [`handle_loaded_many`](Self::handle_loaded_many) reports its end, with any entries. The keys
    /// are removed even if the commit fails. If a key cannot be locked, the commit is not requested
    /// and the old values are restored.
    ///
    /// # Errors
    ///
    /// As for [`get_many`](Self::get_many), and [`InvalidInput`](crate::ErrorKind::InvalidInput)
    /// without a key.
    pub fn change(&mut self, now: Instant, keys: Vec<Key>) -> Result<OpId, Error> {
        if keys.is_empty() {
            return Err(Error::invalid_input("a change needs the keys that it concerns"));
        }
        self.start_write(now, keys, Purpose::Change)
    }

    fn start_write(
        &mut self,
        now: Instant,
        keys: Vec<Key>,
        purpose: Purpose,
    ) -> Result<OpId, Error> {
        self.env.check_batch(keys.iter())?;
        let op = self.writes.start(&mut self.env, Cx::at(now), keys, purpose);
        self.drain(now);
        Ok(op)
    }

    /// Write a value unconditionally. A load of the key that is in progress in any process is not
    /// stored.
    ///
    /// # Errors
    ///
    /// As for [`get_with`](Self::get_with), and [`InvalidInput`](crate::ErrorKind::InvalidInput)
    /// for a value that is too large or equal to the marker for "not found".
    pub fn insert(
        &mut self,
        now: Instant,
        key: Key,
        value: Bytes,
        ttl: Duration,
    ) -> Result<OpId, Error> {
        check_ttl(ttl).map_err(|error| error.about(&key))?;
        self.env.check_value(&key, &value)?;
        let stamp = self.env.stamped(Duration::ZERO);
        self.write(now, Command::Insert { key, payload: value, stamp, ttl })
    }

    /// Write several values in one pipeline.
    ///
    /// # Errors
    ///
    /// As for [`insert`](Self::insert) and [`get_many`](Self::get_many). Nothing was sent, for any
    /// key.
    pub fn insert_many(
        &mut self,
        now: Instant,
        entries: Vec<(Key, Bytes)>,
        ttl: Duration,
    ) -> Result<OpId, Error> {
        check_ttl(ttl)?;
        for (key, value) in &entries {
            self.env.check_value(key, value)?;
        }
        let insert = |(key, payload)| {
            let stamp = self.env.stamped(Duration::ZERO);
            Command::Insert { key, payload, stamp, ttl }
        };
        let inserts = entries.into_iter().map(insert).collect();
        self.write_many(now, inserts)
    }

    /// Delete a key, and void the lock of a load of it.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub fn remove(&mut self, now: Instant, key: Key) -> Result<OpId, Error> {
        self.write(now, Command::Remove { key })
    }

    /// Delete several keys in one pipeline.
    ///
    /// # Errors
    ///
    /// As for [`get_many`](Self::get_many).
    pub fn remove_many(&mut self, now: Instant, keys: Vec<Key>) -> Result<OpId, Error> {
        self.write_many(now, keys.into_iter().map(|key| Command::Remove { key }).collect())
    }

    /// Keep the removal of several keys, as after a [`remove`](Self::remove) that has failed, and
    /// repeat it once Redis replies. Nothing was sent.
    ///
    /// # Errors
    ///
    /// As for [`get_many`](Self::get_many).
    pub fn keep_removals(&mut self, now: Instant, keys: Vec<Key>) -> Result<OpId, Error> {
        self.env.check_batch(keys.iter())?;
        let (cx, op) = (Cx::at(now), self.env.start_op(Machine::Plain));
        for key in &keys {
            self.env.near.remove(key.as_bytes());
            self.on_own_write(cx, &Command::Remove { key: key.clone() }, false);
            self.removals.keep(&mut self.env, cx, op, key);
        }
        self.env.finish(op, Outcome::WrittenMany(Vec::new()));
        self.drain(now);
        Ok(op)
    }

    /// Set a value's TTL. An absent or locked key stays as it is.
    ///
    /// # Errors
    ///
    /// As for [`get_with`](Self::get_with).
    pub fn touch(&mut self, now: Instant, key: Key, ttl: Duration) -> Result<OpId, Error> {
        check_ttl(ttl).map_err(|error| error.about(&key))?;
        self.write(now, Command::Touch { key, ttl })
    }

    /// Set the TTL of several values.
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

    fn write(&mut self, now: Instant, command: Command) -> Result<OpId, Error> {
        self.env.check_open()?;
        self.env.check_key(command.key())?;
        let op = self.plain.write(&mut self.env, Cx::at(now), command);
        self.drain(now);
        Ok(op)
    }

    fn write_many(&mut self, now: Instant, commands: Vec<Command>) -> Result<OpId, Error> {
        self.env.check_batch(commands.iter().map(Command::key))?;
        let op = self.plain.write_many(&mut self.env, Cx::at(now), commands);
        self.drain(now);
        Ok(op)
    }

    /// Register a loader for refreshes. Its policy decides which hits of the near cache the adapter
    /// reports with [`refresh`](Self::refresh).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an option out of its range,
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) if the cache is closed.
    pub fn register_refresh(
        &mut self,
        now: Instant,
        options: RefreshOptions,
    ) -> Result<RefreshPolicy, Error> {
        self.env.check_open()?;
        self.refreshes.register(&mut self.env, now, options)
    }

    /// Unregister a loader. A load that it has begun is still published.
    pub fn unregister_refresh(&mut self, loader: LoaderId) {
        self.refreshes.unregister(loader);
    }

    /// Queue a key that a hit has found due for a refresh. Its value expires at `expires_at`.
    pub fn refresh(&mut self, now: Instant, loader: LoaderId, key: Key, expires_at: Instant) {
        self.refreshes.trigger(&mut self.env, Cx::at(now), loader, (key, expires_at));
    }

    /// Start a worker on all due keys of its loader.
    /// [`Event::LoadMany`](crate::engine::Event::LoadMany) and then
    /// [`Event::Done`](crate::engine::Event::Done) follow, or only the latter if no key is due any
    /// longer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) if the cache is closed, or the loader is no
    /// longer registered.
    pub fn begin_refresh(&mut self, now: Instant, loader: LoaderId) -> Result<OpId, Error> {
        self.env.check_open()?;
        let op = self.refreshes.begin(&mut self.env, Cx::at(now), loader)?;
        self.drain(now);
        Ok(op)
    }

    /// Handle the end of a worker, which may have failed.
    pub fn handle_refresh_over(&mut self, now: Instant, loader: LoaderId) {
        self.refreshes.on_worker_over(&mut self.env, loader);
        self.drain(now);
    }
}
