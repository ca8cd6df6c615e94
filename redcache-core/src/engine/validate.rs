//! The checks of a call's arguments and of a loader's result.

use std::time::Duration;

use super::env::Env;
use crate::api::answer::Loaded;
use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;

/// Check a value's TTL.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`] if it is under one millisecond: Redis counts whole milliseconds and
/// deletes a key whose ttl is zero.
#[inline]
pub fn check_ttl(ttl: Duration) -> Result<(), Error> {
    if ttl < Duration::from_millis(1) { Err(refused_ttl(ttl)) } else { Ok(()) }
}

#[cold]
fn refused_ttl(ttl: Duration) -> Error {
    let text = format!("the ttl is {ttl:?}; it must be at least 1ms");
    Error::new(ErrorKind::InvalidInput, text)
}

impl Env {
    pub(crate) fn check_key(&self, key: &Key) -> Result<(), Error> {
        let (length, limit) = (key.as_bytes().len(), self.config.value_max);
        if length > limit {
            let text = format!("the key has {length} bytes; `value_max` allows {limit}");
            return Err(Error::new(ErrorKind::InvalidInput, text).about(key));
        }
        Ok(())
    }

    /// Check the keys of a batch, and that the cache is open.
    pub(crate) fn check_batch<'a>(
        &self,
        mut keys: impl ExactSizeIterator<Item = &'a Key>,
    ) -> Result<(), Error> {
        self.check_open()?;
        let (count, limit) = (keys.len(), self.config.keys_max);
        if count > limit {
            let text = format!("the batch has {count} keys; `keys_max` allows {limit}");
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        keys.try_for_each(|key| self.check_key(key))
    }

    pub(crate) fn check_value(&self, key: &Key, value: &[u8]) -> Result<(), Error> {
        match self.unstorable(value) {
            Some(why) => Err(Error::new(ErrorKind::InvalidInput, why).about(key)),
            None => Ok(()),
        }
    }

    /// Return the reason why Redis cannot store a loader's result, if there is one.
    pub(crate) fn unstorable_load(&self, loaded: &Loaded, ttl: Duration) -> Option<String> {
        let reason = loaded.value.as_ref().and_then(|value| self.unstorable(value));
        let ttl = loaded.ttl.unwrap_or(ttl);
        reason.or_else(|| check_ttl(ttl).err().map(|error| error.to_string()))
    }

    fn unstorable(&self, value: &[u8]) -> Option<String> {
        let (length, limit) = (value.len(), self.config.value_max);
        if length > limit {
            return Some(format!("the value has {length} bytes; `value_max` allows {limit}"));
        }
        (value == self.config.not_found_marker)
            .then(|| "the value equals `not_found_marker` and would read as not found".to_owned())
    }
}
