//! The names of the keys of a namespace that can be cleared: each has the generation of the
//! namespace in it, a random text under a tracked key.
//!
//! `NamespaceCall` in the core decides which generation a call uses, and when a write has to look
//! it up again.

use std::time::{Duration, Instant};

use redcache_adapter::{Get, GetWith, Insert, KeepRemovals, LoadResult, RemoveMany};
use redcache_core::engine::{
    CallError, GENERATION_MARK, Generation, LoadOptions, NamespaceCall, NamespaceStep, NearHit,
};
use redcache_core::{Answer, CallOptions, Error, Key, Source};

use crate::answer::TypedLoaded;
use crate::codec::Codec;
use crate::key::{CacheKey, Name};
use crate::view::View;
use crate::view::loads::LoadedMany;
use crate::view::space::Space;

/// The TTL of a generation, which is long enough to count as unlimited.
const TTL: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The names of the keys of one view, in the current generation.
pub(crate) struct Names<'s, V, C> {
    space: &'s Space<V, C>,
    generation: Option<Generation>,
    /// The names are only those of loads without Redis.
    is_direct: bool,
}

impl<V: Send + Sync + 'static, C: Codec<V>> Names<'_, V, C> {
    /// Return the name of a key.
    #[inline]
    pub(crate) fn of(&self, key: &(impl CacheKey + ?Sized)) -> Name {
        let mut name = Name::new();
        self.write(key, &mut name);
        name
    }

    /// Append the name of a key. A name is large, and this moves none.
    #[inline]
    pub(crate) fn write(&self, key: &(impl CacheKey + ?Sized), name: &mut Name) {
        self.space.write_name(key, name);
        if let Some(generation) = &self.generation {
            name.extend_from_slice(GENERATION_MARK);
            name.extend_from_slice(generation.as_bytes());
        }
    }

    /// Return the options of a call with a loader.
    pub(crate) fn load_options(&self, options: CallOptions) -> LoadOptions {
        let load = LoadOptions::new(self.space.settings.ttl, options);
        if self.is_direct { load.only_direct() } else { load }
    }

    /// Return `true` if the names are only those of loads without Redis.
    pub(crate) fn is_direct(&self) -> bool {
        self.is_direct
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

/// A write on its way.
pub(crate) struct Write {
    /// `None` if the namespace cannot be cleared.
    call: Option<NamespaceCall>,
    /// The error of the lookup of the generation.
    failure: Option<Error>,
}

impl Write {
    /// Return the error of a write whose generation is unknown. Nothing has changed yet.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        self.failure.take().map_or(Ok(()), Err)
    }
}

impl<K: ?Sized, V: Send + Sync + 'static, C: Codec<V>> View<K, V, C> {
    /// Return the names of keys, if the namespace cannot be cleared. No future is polled for them.
    #[inline]
    pub(crate) fn fixed_names(&self) -> Option<Names<'_, V, C>> {
        let space = self.space();
        match space.generation_key() {
            Some(_) => None,
            None => Some(Names { space, generation: None, is_direct: false }),
        }
    }

    /// Return the names of keys for a read.
    #[inline]
    pub(crate) async fn names(&self) -> Result<Names<'_, V, C>, Error> {
        let space = self.space();
        let generation = match space.generation_key() {
            Some(key) => match self.near_generation(key) {
                Some(generation) => Some(generation),
                None => self.generation(key).await?,
            },
            None => None,
        };
        Ok(Names { space, generation, is_direct: false })
    }

    /// Return the names of keys for a read with a loader.
    #[inline]
    pub(crate) async fn names_to_load(&self) -> Result<Names<'_, V, C>, Error> {
        let (space, near) = (self.space(), self.face().near());
        match space.generation_key().filter(|_| near.loads_direct() && !near.is_disabled()) {
            Some(key) if self.near_generation(key).is_none() => {
                let mut call = NamespaceCall::read(*self.face().options()).loading_direct();
                let step = match self.look_up(key, &mut call, None).await {
                    Ok(step) => step,
                    Err(error) => {
                        call.on_failed(&error, space.namespace().generation()).ok_or(error)?
                    }
                };
                let is_direct = matches!(step, NamespaceStep::Load(_));
                Ok(Names { space, generation: step.generation(), is_direct })
            }
            Some(_) | None => self.names().await,
        }
    }

    /// Return the generation of the namespace for a read, if it is in the near cache.
    #[inline]
    fn near_generation(&self, key: &[u8]) -> Option<Generation> {
        let (face, last) = (self.face(), self.space().namespace().generation());
        let mut call = NamespaceCall::read(*face.options());
        let options = call.lookup_options();
        let on_hit = |hit: NearHit| call.on_found(hit.value().map(AsRef::as_ref), last);
        face.near().get(key, &options, |limited| face.near_now(limited), on_hit)?.generation()
    }

    /// Return the generation of the namespace for a read.
    async fn generation(&self, key: &[u8]) -> Result<Option<Generation>, Error> {
        // Calls share loads by the names of their keys, so that these must not change.
        if self.face().near().is_disabled() {
            return Ok(Some(Generation::of_number(0)));
        }
        // A generation that is too old names keys that may have been cleared since.
        let mut call = NamespaceCall::read(*self.face().options());
        Ok(self.look_up(key, &mut call, None).await?.generation())
    }

    /// Begin a write. Return the names of keys for it.
    pub(crate) async fn begin_write(&self) -> Result<(Names<'_, V, C>, Write), Error> {
        let space = self.space();
        let key = space.generation_key().filter(|_| !self.face().near().is_disabled());
        let Some(key) = key else {
            return Ok((self.names().await?, Write { call: None, failure: None }));
        };
        let mut call = NamespaceCall::write(self.face().now());
        let (step, failure) = match self.look_up(key, &mut call, None).await {
            Ok(step) => (Some(step), None),
            Err(error) => (call.on_failed(&error, space.namespace().generation()), Some(error)),
        };
        let generation = step.and_then(NamespaceStep::generation);
        let names = Names { space, generation, is_direct: false };
        Ok((names, Write { call: Some(call), failure }))
    }

    /// Check that a write can run that follows a change of the application's data. If the
    /// generation is unknown, keep the removal of the keys with these names.
    pub(crate) async fn check_write(
        &self,
        write: &mut Write,
        names: &[impl AsRef<[u8]>],
    ) -> Result<(), Error> {
        match write.check() {
            Ok(()) => Ok(()),
            Err(error) => Err(self.keep_removals(names, error).await),
        }
    }

    /// Keep the removal of the keys of a failed write, and return its error.
    async fn keep_removals(&self, names: &[impl AsRef<[u8]>], error: Error) -> Error {
        // A closed cache keeps nothing, and returns the same error.
        let _ = self.face().run(KeepRemovals::new(names)).await;
        error
    }

    /// End a write of the keys with these names. If the namespace was cleared before the write
    /// began, remove the keys under their newer names, and return the results of that.
    pub(crate) async fn end_write(
        &self,
        write: Write,
        names: &[impl AsRef<[u8]>],
    ) -> Result<Option<Vec<Result<bool, Error>>>, Error> {
        let (Some(mut call), Some(key)) = (write.call, self.space().generation_key()) else {
            return Ok(None);
        };
        if call.on_ran() == NamespaceStep::Done {
            return Ok(None);
        }
        let now = self.face().now();
        let step = match self.look_up(key, &mut call, Some(now)).await {
            Ok(step) => step,
            Err(error) => return Err(self.keep_removals(names, error).await),
        };
        match step {
            NamespaceStep::Remove(generation) => {
                let renamed = names.iter().map(|name| renamed(name.as_ref(), generation));
                self.face().run(RemoveMany::new(renamed)).await.map(Some)
            }
            NamespaceStep::LookUp
            | NamespaceStep::Run(_)
            | NamespaceStep::Load(_)
            | NamespaceStep::Keep(_)
            | NamespaceStep::Done => Ok(None),
        }
    }

    /// Return the step after the lookups of a call. Those after a write begin at `repeated_at`.
    async fn look_up(
        &self,
        key: &[u8],
        call: &mut NamespaceCall,
        repeated_at: Option<Instant>,
    ) -> Result<NamespaceStep, Error> {
        let last = self.space().namespace().generation();
        loop {
            let face = self.face();
            let (options, now) = match repeated_at {
                // The limit and the age of a hit count from one instant.
                Some(at) => (call.repeated_lookup_options(at), Some(face.near().time_of(at))),
                None => (call.lookup_options(), None),
            };
            let now = |limited| now.unwrap_or_else(|| face.near_now(limited));
            let step = match face.near().get(key, &options, now, NearHit::into_value) {
                Some(value) => call.on_found(value.as_deref(), last),
                None => match self.read_generation(key, call, options).await {
                    Ok(answer) => {
                        let step = call.on_found(answer.value.as_deref(), last);
                        self.record_generation(key, &answer);
                        step
                    }
                    Err(error) => return Err(error),
                },
            };
            if step != NamespaceStep::LookUp {
                return Ok(step);
            }
        }
    }

    async fn read_generation(
        &self,
        key: &[u8],
        call: &NamespaceCall,
        options: CallOptions,
    ) -> Result<Answer, Error> {
        let face = self.face();
        if !call.creates() {
            return face.run(Get::new(key, options)).await;
        }
        let load = |_| {
            let last = self.space().namespace().generation();
            let text = last.successor(fastrand::u64(..)).as_bytes().to_vec();
            Some(std::future::ready(LoadResult::one(Ok::<_, Error>(text))))
        };
        let request = GetWith::new(key, call.load_options(TTL, options));
        let answer: Result<_, CallError> = face.run_with(request, load).await;
        Ok(answer?)
    }

    /// Record a generation, unless it was loaded and not stored.
    fn record_generation(&self, key: &[u8], answer: &Answer) {
        let (face, last) = (self.face(), self.space().namespace().generation());
        let options = CallOptions::new();
        let hit = || face.near().get(key, &options, |limited| face.near_now(limited), drop);
        if let Some(value) = &answer.value
            && (answer.source == Source::Redis || hit().is_some())
        {
            last.record(Generation::of_stored(Some(value)));
        }
    }

    /// Clear the namespace by writing another generation.
    pub(crate) async fn clear(&self) -> Result<(), Error> {
        match self.space().generation_key() {
            Some(key) => {
                let generation = Generation::of_number(fastrand::u64(..));
                let text = generation.as_bytes().to_vec();
                self.face().run(Insert::new(key, text, TTL)).await
            }
            None => Err(Error::invalid_input(
                "the view cannot be cleared; make it with `clearable` in each process",
            )),
        }
    }
}

/// Return the first error of a write to newer names.
pub(crate) fn first_error(removed: Option<Vec<Result<bool, Error>>>) -> Result<(), Error> {
    removed.into_iter().flatten().try_for_each(|result| result.map(drop))
}

/// Return a name in another generation.
fn renamed(name: &[u8], generation: Generation) -> Name {
    let end = name.len().saturating_sub(generation.as_bytes().len());
    let mut renamed = Name::from_slice(&name[..end]);
    renamed.extend_from_slice(generation.as_bytes());
    renamed
}
