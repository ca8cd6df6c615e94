//! Compression of large values.

use std::borrow::Cow;

use super::{Codec, CodecError};

/// The first bytes of a compressed value. No JSON text begins like this.
const MARK: &[u8] = b"\xc1LZ4";

/// The size from which values are compressed.
const SIZE_MIN: usize = 1024;

/// The longest value that is decompressed.
const SIZE_MAX: usize = 256 << 20;

/// A codec that compresses values of 1 KiB or more with LZ4. Smaller values are stored as the codec
/// `C` encodes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compressed<C> {
    codec: C,
    size_min: usize,
}

impl<C> Compressed<C> {
    /// Create the codec around another one.
    pub fn new(codec: C) -> Self {
        Self { codec, size_min: SIZE_MIN }
    }

    /// Set the size in bytes from which values are compressed.
    #[must_use]
    pub fn size_min(mut self, bytes: usize) -> Self {
        self.size_min = bytes;
        self
    }
}

impl<V, C: Codec<V>> Codec<V> for Compressed<C> {
    fn name(&self) -> Cow<'static, str> {
        format!("lz4+{}", self.codec.name()).into()
    }

    fn schema(&self) -> Option<u64> {
        self.codec.schema()
    }

    fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let start = out.len();
        self.codec.encode(value, out)?;
        let plain = &out[start..];
        // Plain bytes that look like compressed ones are compressed, too.
        if plain.len() < self.size_min && !plain.starts_with(MARK) {
            return Ok(());
        }
        let length = u32::try_from(plain.len()).map_err(|_| CodecError::new("too large"))?;
        let packed = lz4_flex::block::compress(plain);
        out.truncate(start);
        out.extend_from_slice(MARK);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&packed);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, CodecError> {
        let Some(rest) = bytes.strip_prefix(MARK) else { return self.codec.decode(bytes) };
        let malformed = || CodecError::new("malformed compression");
        let (length, packed) = rest.split_first_chunk().ok_or_else(malformed)?;
        let length = u32::from_le_bytes(*length) as usize;
        // LZ4 compresses by a factor of 255 at most.
        if length > SIZE_MAX || length / 256 > packed.len() {
            return Err(malformed());
        }
        let plain = lz4_flex::block::decompress(packed, length).map_err(|_| malformed())?;
        if plain.len() != length {
            return Err(malformed());
        }
        self.codec.decode(&plain)
    }
}
