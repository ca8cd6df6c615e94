//! The key of a cached value.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;

/// A Redis key: any bytes, cheap to clone.
///
/// Redis stores it exactly as given, without a prefix, so other clients of the same Redis see the
/// same key. `Display` escapes bytes that are not printable ASCII and shows at most 64 bytes.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(Arc<[u8]>);

impl Key {
    /// Return a key with a copy of `bytes`.
    pub fn copy_from(bytes: &[u8]) -> Self {
        Self(Arc::from(bytes))
    }

    /// Return the bytes of the key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Bytes> for Key {
    fn from(bytes: Bytes) -> Self {
        Self::copy_from(&bytes)
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Self::copy_from(&bytes)
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self::copy_from(text.as_bytes())
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self::copy_from(text.as_bytes())
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Self::copy_from(bytes)
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

// A key has the `Hash` of its bytes, so a map of keys accepts a borrowed slice.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// The number of bytes of a key in errors and logs.
const SHOWN_MAX: usize = 64;

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.len().min(SHOWN_MAX);
        write!(f, "{}", self.0[..shown].escape_ascii())?;
        if shown < self.0.len() {
            write!(f, "… ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_key_is_shown_escaped_and_a_long_one_is_cut() {
        assert_eq!(Key::from(&b"a\0\xff"[..]).to_string(), r"a\x00\xff");
        let long = Key::from("k".repeat(100));
        assert_eq!(long.to_string(), format!("{}… (100 bytes)", "k".repeat(64)));
    }

    #[test]
    fn a_key_hashes_like_its_bytes() {
        let mut map = std::collections::HashMap::new();
        map.insert(Key::from("user:1"), 1);
        assert_eq!(map.get(&b"user:1"[..]), Some(&1));
    }
}
