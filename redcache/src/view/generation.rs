//! The generation of a namespace that can be cleared: a random text under a tracked key of the
//! namespace, which is part of the name of each of its keys.
//!
//! To clear the namespace is to write another generation. Redis invalidates the old one in every
//! process, and no call finds the old names any more. A load that began before stores its value
//! under an old name. A generation that Redis has lost, by an eviction or a flush, is replaced by a
//! new one, so its loss is a clear.

use std::time::Duration;

use redcache_adapter::{GetWith, Insert, LoadResult};
use redcache_core::engine::{CallError, LoadOptions};
use redcache_core::{CallOptions, Error, Key};

use crate::answer::TypedLoaded;
use crate::codec::Codec;
use crate::key::{CacheKey, Name};
use crate::view::View;
use crate::view::loads::LoadedMany;
use crate::view::space::Space;

/// The TTL of a generation: as good as none.
const TTL: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The names of the keys of one view, in the present generation.
pub(crate) struct Names<'s, V, C> {
    space: &'s Space<V, C>,
    generation: Option<[u8; 16]>,
}

impl<V: Send + Sync + 'static, C: Codec<V>> Names<'_, V, C> {
    /// Return the name of a key.
    #[inline]
    pub(crate) fn of(&self, key: &(impl CacheKey + ?Sized)) -> Name {
        // It is written in its place, because it is large to move.
        let mut name = Name::new();
        self.space.write_name(key, &mut name);
        if let Some(generation) = &self.generation {
            name.extend_from_slice(b"%~g");
            name.extend_from_slice(generation);
        }
        name
    }

    /// Return loaded values by the names of their keys.
    pub(crate) fn loaded<K: CacheKey, T: Into<TypedLoaded<V>>>(
        &self,
        loaded: impl IntoIterator<Item = (K, T)>,
    ) -> LoadedMany<V> {
        let named = |(key, loaded): (K, T)| (Key::copy_from(&self.of(&key)), loaded.into());
        loaded.into_iter().map(named).collect()
    }
}

impl<K: ?Sized, V: Send + Sync + 'static, C: Codec<V>> View<K, V, C> {
    /// Return the names of keys.
    pub(crate) async fn names(&self) -> Result<Names<'_, V, C>, Error> {
        let space = self.space();
        let generation = match space.generation_key() {
            // Calls share loads by the names of their keys, so that these must not change.
            Some(_) if self.face().near().is_disabled() => Some(digits(0)),
            Some(key) => Some(self.generation(key).await?),
            None => None,
        };
        Ok(Names { space, generation })
    }

    async fn generation(&self, key: &[u8]) -> Result<[u8; 16], Error> {
        let face = self.face();
        // A generation that is too old names keys that may have been cleared since.
        let options = match face.options().staleness_max() {
            Some(max) => CallOptions::new().max_staleness(max),
            None => CallOptions::new(),
        };
        let near = face.near().get(key, &options, || face.coarse_now(), |hit| hit.value);
        let value = match near {
            Some(value) => value,
            None => {
                let load = |_| {
                    let loaded = LoadResult::one(Ok::<_, Error>(random().to_vec()));
                    Some(std::future::ready(loaded))
                };
                let request = GetWith::new(key, LoadOptions::new(TTL, options));
                let answer: Result<_, CallError> = face.run_with(request, load).await;
                answer?.value
            }
        };
        // Another program may have written anything.
        let value = value.unwrap_or_default();
        Ok(<[u8; 16]>::try_from(&*value).unwrap_or_else(|_| digest(&value)))
    }

    /// Write another generation.
    pub(crate) async fn clear(&self) -> Result<(), Error> {
        match self.space().generation_key() {
            Some(key) => self.face().run(Insert::new(key, random().to_vec(), TTL)).await,
            None => Err(Error::invalid_input(
                "the view cannot be cleared; make it with `clearable` in each process",
            )),
        }
    }
}

/// Return 16 random hexadecimal digits.
fn random() -> [u8; 16] {
    digits(fastrand::u64(..))
}

fn digest(bytes: &[u8]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, ..] = sha1_smol::Sha1::from(bytes).digest().bytes();
    digits(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

fn digits(number: u64) -> [u8; 16] {
    std::array::from_fn(|place| {
        let digit = number >> (60 - 4 * place) & 15;
        b"0123456789abcdef"[digit as usize]
    })
}
