//! A view with a registered loader, which refreshes values before they expire.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::slice;
use std::sync::Arc;

use bytes::Bytes;
use redcache_adapter::GetManyWith;
use redcache_core::engine::CallError;
use redcache_core::{Answer, BatchResult, BoxError, Error, Key, LoadError, RefreshOptions};

use crate::answer::{TypedAnswer, TypedLoaded};
use crate::codec::Codec;
use crate::face::Refreshing;
use crate::key::CacheKey;
use crate::parsed_key::{self, ParsedKey};
use crate::view::View;
use crate::view::generation::Names;
use crate::view::loads::{LoadedMany, Loads, complete};
use crate::view::settings::Settings;
use crate::view::space::Space;

/// The future of a registered loader.
pub(crate) type Loading<K, V, E> =
    Pin<Box<dyn Future<Output = Result<Vec<(K, TypedLoaded<V>)>, E>> + Send>>;

/// A registered loader with typed keys.
pub(crate) type Loader<K, V, E> = Arc<dyn Fn(Vec<K>) -> Loading<K, V, E> + Send + Sync>;

/// A registered loader with the names of keys.
struct NamedLoader<K, V, C, E> {
    space: Arc<Space<V, C>>,
    settings: Settings,
    load: Loader<K, V, E>,
}

impl<K, V, C, E> Clone for NamedLoader<K, V, C, E> {
    fn clone(&self) -> Self {
        let (space, load) = (Arc::clone(&self.space), Arc::clone(&self.load));
        Self { space, settings: self.settings, load }
    }
}

impl<K, V, C, E> NamedLoader<K, V, C, E>
where
    K: ParsedKey,
    V: Send + Sync + 'static,
    C: Codec<V>,
{
    /// Load keys by their names. A name that belongs to no key is "not found".
    fn load(self, names: Vec<Key>) -> impl Future<Output = Result<LoadedMany<V>, E>> {
        let (mut keys, mut by_parts) = (Vec::new(), BTreeMap::<Vec<u8>, Vec<Key>>::new());
        for name in names {
            let Some(parts) = self.space.parts_of(&name).map(<[u8]>::to_vec) else { continue };
            let Some(key) = parsed_key::parse(&parts) else { continue };
            // A key may have names of two generations.
            let same = by_parts.entry(parts).or_default();
            if same.is_empty() {
                keys.push(key);
            }
            same.push(name);
        }
        let loading = (self.load)(keys);
        async move { Ok(self.named(by_parts, loading.await?)) }
    }

    /// Return loaded values by the names of their keys, with their TTLs.
    fn named(
        &self,
        by_parts: BTreeMap<Vec<u8>, Vec<Key>>,
        loaded: Vec<(K, TypedLoaded<V>)>,
    ) -> LoadedMany<V> {
        let mut named = Vec::with_capacity(loaded.len());
        for (key, loaded) in loaded {
            let names = by_parts.get(&*self.space.parts(&key)).into_iter().flatten();
            named.extend(names.map(|name| (name.clone(), loaded.clone())));
        }
        let mut named = complete(by_parts.into_values().flatten().collect(), named);
        for (_, loaded) in &mut named {
            loaded.ttl.get_or_insert_with(|| match loaded.value {
                Some(_) => self.settings.ttl(),
                None => self.settings.not_found_ttl(),
            });
        }
        named
    }
}

/// A view whose reads refresh values by a registered loader.
pub(crate) struct RefreshingView<K, V, C, E> {
    view: View<K, V, C>,
    loader: NamedLoader<K, V, C, E>,
    registered: Refreshing<E>,
}

impl<K, V, C, E> Clone for RefreshingView<K, V, C, E> {
    fn clone(&self) -> Self {
        let (loader, registered) = (self.loader.clone(), self.registered.clone());
        Self { view: self.view.clone(), loader, registered }
    }
}

impl<K, V, C, E> RefreshingView<K, V, C, E>
where
    K: ParsedKey + 'static,
    V: Send + Sync + 'static,
    C: Codec<V>,
    E: Into<BoxError> + 'static,
{
    pub(crate) fn new(
        view: &View<K, V, C>,
        options: RefreshOptions,
        load: Loader<K, V, E>,
    ) -> Result<Self, Error> {
        let space = view.shared_space();
        if space.has_plain_keys() {
            return Err(Error::invalid_input(
                "plain keys cannot be read back for a refresh; use a namespace, or `refreshing` of \
                 the cache itself",
            ));
        }
        let settings = Settings { ttl: options.ttl(), ..space.settings };
        let loader = NamedLoader { space, settings, load };
        let registered = view.face().register(options, {
            let loader = loader.clone();
            move |names| {
                let loader = loader.clone();
                let space = Arc::clone(&loader.space);
                let loading = loader.load(names);
                // A refresh has no caller that takes the objects.
                async move {
                    let loaded = loading.await;
                    Loads::new(&space).admit(loaded, |name| Some(name.clone()))
                }
            }
        })?;
        Ok(Self { view: view.clone(), loader, registered })
    }

    pub(crate) async fn get<Q>(&self, key: &Q) -> Result<TypedAnswer<V>, LoadError<E>>
    where
        K: Borrow<Q>,
        Q: CacheKey + ?Sized,
    {
        let begun = self.view.begun();
        let view = &*begun;
        let names = view.names_to_load().await?;
        let name = Key::copy_from(&names.of(key));
        let answer = if names.is_direct() {
            let mut loaded = self.load_direct(view, &names, slice::from_ref(&name)).await?;
            loaded.pop().unwrap_or_else(|| Err(Error::closed().into()))?
        } else {
            self.registered_for(view).get(&name).await?
        };
        let seen = match view.open(name.as_bytes(), answer) {
            Ok(answer) => return Ok(answer),
            Err(answer) => answer.value.unwrap_or_default(),
        };
        let mut recovered = self.recover(view, [(name.clone(), seen)].into()).await;
        recovered.remove(&name).unwrap_or_else(|| Err(Error::closed().into()))
    }

    pub(crate) async fn get_many<Q: Borrow<K>>(
        &self,
        keys: impl IntoIterator<Item = Q>,
    ) -> BatchResult<TypedAnswer<V>, LoadError<E>> {
        let begun = self.view.begun();
        let view = &*begun;
        let of_view = view.names_to_load().await?;
        let names: Vec<_> =
            keys.into_iter().map(|key| Key::copy_from(&of_view.of(key.borrow()))).collect();
        let found = if of_view.is_direct() {
            self.load_direct(view, &of_view, &names).await?
        } else {
            self.registered_for(view).get_many(&names).await?
        };
        let mut seen = BTreeMap::new();
        let opened = names.into_iter().zip(found).map(|(name, result)| match result {
            Ok(answer) => view.open(name.as_bytes(), answer).map_err(|answer| {
                seen.insert(name.clone(), answer.value.unwrap_or_default());
                Err(name)
            }),
            Err(error) => Err(Ok(error)),
        });
        let opened: Vec<Result<_, Result<LoadError<E>, Key>>> = opened.collect();
        let recovered = self.recover(view, seen).await;
        let result = |result| match result {
            Ok(answer) => Ok(answer),
            Err(Ok(error)) => Err(error),
            Err(Err(name)) => match recovered.get(&name) {
                Some(result) => result.clone(),
                None => Err(Error::closed().into()),
            },
        };
        Ok(opened.into_iter().map(result).collect())
    }

    /// Return the registered loader with the options of a view.
    fn registered_for(&self, view: &View<K, V, C>) -> Cow<'_, Refreshing<E>> {
        let options = view.face().options();
        if options == self.view.face().options() {
            return Cow::Borrowed(&self.registered);
        }
        Cow::Owned(self.registered.with_options(*options))
    }

    /// Load keys without Redis. Callers of a key share its load.
    async fn load_direct(
        &self,
        view: &View<K, V, C>,
        of_view: &Names<'_, V, C>,
        names: &[Key],
    ) -> BatchResult<Answer, LoadError<E>> {
        let options = of_view.load_options(*view.face().options());
        let run = |names| {
            let (loading, space) = (self.loader.clone().load(names), view.space());
            let same = |name: &Key| Some(name.clone());
            Some(async move { Loads::new(space).admit(loading.await, same) })
        };
        let request = GetManyWith::new(names.to_vec(), options);
        let loaded: Vec<Result<Answer, CallError>> = view.face().run_with(request, run).await?;
        Ok(loaded.into_iter().map(|result| result.map_err(LoadError::from)).collect())
    }

    /// Return values for keys that hold bytes of another version.
    async fn recover(
        &self,
        view: &View<K, V, C>,
        seen: BTreeMap<Key, Bytes>,
    ) -> BTreeMap<Key, Result<TypedAnswer<V>, LoadError<E>>> {
        seen.keys().for_each(|name| view.note_undecodable(name));
        view.recover(seen, &mut |names| Some(self.loader.clone().load(names))).await
    }
}
