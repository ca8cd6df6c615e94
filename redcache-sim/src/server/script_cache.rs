//! The script cache: the loaded sources and their effects.

use std::collections::BTreeMap;

use bytes::Bytes;
use sha1_smol::Sha1;

/// The length of a script's hash in hex.
pub(super) const HASH_LEN: usize = 40;

#[derive(Debug)]
pub(super) struct ScriptCache<E> {
    /// The effects of scripts, by source.
    known: BTreeMap<Bytes, E>,
    /// The server's script cache, by hash.
    loaded: BTreeMap<String, Loaded<E>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Loaded<E> {
    pub(super) effect: E,
    /// Whether the source has a shebang line, so that the server checks at the start whether the
    /// script may run.
    pub(super) is_checked_first: bool,
}

impl<E: Copy> ScriptCache<E> {
    /// Return an empty cache; `known` are the sources with known effects.
    pub(super) fn new(known: impl IntoIterator<Item = (&'static str, E)>) -> Self {
        let known = known.into_iter().map(|(source, effect)| (source.into(), effect));
        Self { known: known.collect(), loaded: BTreeMap::new() }
    }

    pub(super) fn learn(&mut self, source: &str, effect: E) {
        self.known.insert(Bytes::copy_from_slice(source.as_bytes()), effect);
    }

    /// Load a source and return its hash; `None` if its effect is unknown.
    pub(super) fn load(&mut self, source: &[u8]) -> Option<String> {
        let effect = *self.known.get(source)?;
        let hash = Sha1::from(source).digest().to_string();
        self.loaded.insert(
            hash.clone(),
            Loaded { effect, is_checked_first: source.starts_with(b"#!lua") },
        );
        Some(hash)
    }

    /// Return the script of a hash.
    pub(super) fn get(&self, hash: &str) -> Option<Loaded<E>> {
        self.loaded.get(hash).copied()
    }

    pub(super) fn is_loaded(&self, hash: &str) -> bool {
        self.loaded.contains_key(hash)
    }

    pub(super) fn hashes(&self) -> impl Iterator<Item = &str> + '_ {
        self.loaded.keys().map(String::as_str)
    }

    pub(super) fn flush(&mut self) {
        self.loaded.clear();
    }
}
