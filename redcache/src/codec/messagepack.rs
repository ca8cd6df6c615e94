//! MessagePack.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::schema;
use super::{Codec, CodecError};

/// MessagePack by serde, with the names of fields, stored behind a fingerprint of the fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessagePack;

impl<V: Serialize + DeserializeOwned> Codec<V> for MessagePack {
    fn name(&self) -> Cow<'static, str> {
        "messagepack".into()
    }

    fn schema(&self) -> Option<u64> {
        Some(schema::fingerprint::<V>())
    }

    fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), CodecError> {
        rmp_serde::encode::write_named(out, value).map_err(|_| CodecError::new("not expressible"))
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, CodecError> {
        let mut rest = bytes;
        let value = rmp_serde::decode::from_read(&mut rest);
        match (value, rest) {
            (Ok(value), []) => Ok(value),
            (Ok(_), _) => Err(CodecError::new("bytes after the end")),
            (Err(_), _) => Err(CodecError::new("malformed")),
        }
    }
}
