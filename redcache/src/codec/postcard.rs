//! Postcard, a compact binary format.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::schema;
use super::{Codec, CodecError};

/// The compact binary format postcard by serde, stored behind a fingerprint of the fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Postcard;

impl<V: Serialize + DeserializeOwned> Codec<V> for Postcard {
    fn name(&self) -> Cow<'static, str> {
        "postcard".into()
    }

    fn schema(&self) -> Option<u64> {
        Some(schema::fingerprint::<V>())
    }

    fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), CodecError> {
        postcard::to_io(value, out).map_err(|_| CodecError::new("not expressible")).map(drop)
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, CodecError> {
        match postcard::take_from_bytes(bytes) {
            Ok((value, [])) => Ok(value),
            Ok(_) => Err(CodecError::new("bytes after the end")),
            Err(_) => Err(CodecError::new("malformed")),
        }
    }
}
