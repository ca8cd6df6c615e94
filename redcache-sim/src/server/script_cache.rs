//! The script cache: which sources were sent to the server, and the effect of each.

use std::collections::BTreeMap;

use bytes::Bytes;
use sha1_smol::Sha1;

/// The length of a script's hash in hex.
pub(super) const HASH_LEN: usize = 40;

#[derive(Debug)]
pub(super) struct ScriptCache<E> {
    /// By source.
    known: BTreeMap<Bytes, E>,
    /// By hash; the server's script cache.
    loaded: BTreeMap<String, Loaded<E>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Loaded<E> {
    pub(super) effect: E,
    /// Its first line has the server decide at the start whether it may run.
    pub(super) is_checked_first: bool,
}

impl<E: Copy> ScriptCache<E> {
    /// Makes an empty cache; `known` are the sources whose effects are known.
    pub(super) fn new(known: impl IntoIterator<Item = (&'static str, E)>) -> Self {
        let known = known.into_iter().map(|(source, effect)| (source.into(), effect));
        Self { known: known.collect(), loaded: BTreeMap::new() }
    }

    pub(super) fn learn(&mut self, source: &str, effect: E) {
        self.known.insert(Bytes::copy_from_slice(source.as_bytes()), effect);
    }

    /// Puts a source in the cache and gives its hash; `None` when the model does not know the source.
    pub(super) fn load(&mut self, source: &[u8]) -> Option<String> {
        let effect = *self.known.get(source)?;
        let hash = Sha1::from(source).digest().to_string();
        self.loaded.insert(
            hash.clone(),
            Loaded { effect, is_checked_first: source.starts_with(b"#!lua") },
        );
        Some(hash)
    }

    /// The script of a hash.
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
