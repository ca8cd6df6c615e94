//! The form of values in Redis.

#[cfg(feature = "lz4")]
pub(crate) mod compressed;
pub(crate) mod json;
#[cfg(feature = "messagepack")]
pub(crate) mod messagepack;
#[cfg(feature = "postcard")]
pub(crate) mod postcard;
#[cfg(any(feature = "messagepack", feature = "postcard"))]
mod schema;

use std::borrow::Cow;
use std::fmt;

/// A form of values of type `V` in Redis.
///
/// # Examples
///
/// ```
/// use std::borrow::Cow;
/// use redcache::{Codec, CodecError};
///
/// /// Temperatures as two bytes.
/// struct Celsius;
///
/// impl Codec<i16> for Celsius {
///     fn name(&self) -> Cow<'static, str> {
///         "celsius".into()
///     }
///
///     fn encode(&self, value: &i16, out: &mut Vec<u8>) -> Result<(), CodecError> {
///         out.extend_from_slice(&value.to_be_bytes());
///         Ok(())
///     }
///
///     fn decode(&self, bytes: &[u8]) -> Result<i16, CodecError> {
///         let bytes = bytes.try_into().map_err(|_| CodecError::new("not two bytes"))?;
///         Ok(i16::from_be_bytes(bytes))
///     }
/// }
/// ```
pub trait Codec<V>: Send + Sync + 'static {
    /// Return the name of the format, for errors and labels.
    fn name(&self) -> Cow<'static, str>;

    /// Return a number that changes with the fields of `V`.
    ///
    /// The number precedes each stored value, so that a version of your program with other fields
    /// does not misread it. Without a number, which is the default, the bytes of
    /// [`encode`](Self::encode) are stored as they are.
    fn schema(&self) -> Option<u64> {
        None
    }

    /// Append the encoded value.
    ///
    /// # Errors
    ///
    /// Fails if the format cannot express the value.
    fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Decode a value.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are not an encoded `V`.
    fn decode(&self, bytes: &[u8]) -> Result<V, CodecError>;

    /// Return the number of bytes that a decoded value occupies on the heap. The default is the
    /// length of its encoding.
    fn heap_bytes(&self, value: &V, encoded: usize) -> usize {
        let _ = value;
        encoded
    }
}

/// The reason why a codec failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecError(Cow<'static, str>);

impl CodecError {
    /// Return an error. The reason must not contain parts of the value, because it is logged.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CodecError {}
