//! JSON by serde.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, CodecError};

/// JSON by serde, stored bare: other programs can read it, and a struct may get fields with
/// defaults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json;

impl<V: Serialize + DeserializeOwned> Codec<V> for Json {
    fn name(&self) -> Cow<'static, str> {
        "json".into()
    }

    fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), CodecError> {
        serde_json::to_writer(out, value).map_err(|error| reason(&error))
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, CodecError> {
        serde_json::from_slice(bytes).map_err(|error| reason(&error))
    }
}

/// Return the reason without the value that the text of `error` may quote.
fn reason(error: &serde_json::Error) -> CodecError {
    let (kind, line, column) = (error.classify(), error.line(), error.column());
    CodecError::new(format!("{kind:?} error at line {line}, column {column}").to_lowercase())
}
