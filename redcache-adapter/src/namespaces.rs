//! The namespaces of the typed views of one cache.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use redcache_core::Error;
use redcache_core::engine::LastGeneration;

/// The longest name in bytes.
const NAME_MAX: usize = 256;

/// The least number of namespaces after which those without views are removed.
const SWEEP_MIN: usize = 64;

/// The namespaces that typed views of one cache use.
#[derive(Debug)]
pub struct Namespaces {
    tag: Tag,
    /// Is dropped with the cache, which ends its tags.
    _identity: Arc<()>,
    lock_prefixes: Vec<String>,
    open: Mutex<Open>,
}

/// The namespaces by their names, those without views included until the next sweep.
#[derive(Debug, Default)]
struct Open {
    namespaces: BTreeMap<Arc<str>, Weak<Namespace>>,
    /// The number of namespaces at which those without views are removed.
    sweep_at: usize,
}

impl Open {
    /// Add a namespace. A sweep doubles the number at which the next one follows, so that the cost
    /// of an addition does not depend on the number of namespaces.
    fn add(&mut self, namespace: &Arc<Namespace>) {
        if self.namespaces.len() >= self.sweep_at {
            self.namespaces.retain(|_, namespace| namespace.strong_count() > 0);
            self.sweep_at = 2 * self.namespaces.len().max(SWEEP_MIN);
        }
        self.namespaces.insert(Arc::clone(&namespace.name), Arc::downgrade(namespace));
    }
}

/// The identity of one cache. It does not keep the cache alive, and no later cache has the same
/// identity.
#[derive(Debug, Clone)]
pub struct Tag(Weak<()>);

impl Tag {
    /// Return `true` if the cache has been dropped.
    pub fn is_dropped(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }
}

impl Eq for Tag {}

/// One namespace, shared by its views.
#[derive(Debug)]
pub struct Namespace {
    name: Arc<str>,
    codec: Arc<str>,
    generation: LastGeneration,
    undecodable: AtomicU64,
    replaced: AtomicU64,
}

impl Namespaces {
    pub(crate) fn new(lock_prefixes: Vec<String>) -> Self {
        let identity = Arc::new(());
        let tag = Tag(Arc::downgrade(&identity));
        Self { tag, _identity: identity, lock_prefixes, open: Mutex::default() }
    }

    /// Return the identity of the cache.
    pub fn tag(&self) -> &Tag {
        &self.tag
    }

    /// Return the namespace of this name, for views that use `codec`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](redcache_core::ErrorKind::InvalidInput) if the name is invalid,
    /// or if another view uses the namespace with another codec.
    pub fn open(&self, name: &str, codec: &str) -> Result<Arc<Namespace>, Error> {
        self.check(name)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(namespace) = open.namespaces.get(name).and_then(Weak::upgrade) {
            if *namespace.codec == *codec {
                return Ok(namespace);
            }
            let text = format!(
                "the namespace `{name}` is open with the codec {}; use that codec instead of {codec}",
                namespace.codec
            );
            return Err(Error::invalid_input(text));
        }
        let namespace = Arc::new(Namespace::new(Arc::from(name), codec));
        open.add(&namespace);
        Ok(namespace)
    }

    fn check(&self, name: &str) -> Result<(), Error> {
        let invalid = |text: String| Err(Error::invalid_input(text));
        if name.is_empty() {
            return invalid("the namespace is empty; give it a name, such as `user`".to_owned());
        }
        if name.len() > NAME_MAX {
            let length = name.len();
            return invalid(format!("the namespace has {length} bytes; use {NAME_MAX} at most"));
        }
        if name.contains(|c: char| c.is_control() || c.is_whitespace()) {
            let name = name.escape_debug();
            return invalid(format!("the namespace `{name}` has white space; leave it out"));
        }
        let is_prefix = |prefix: &&String| !prefix.is_empty() && name.contains(prefix.as_str());
        match self.lock_prefixes.iter().find(is_prefix) {
            Some(prefix) => invalid(format!(
                "the namespace `{name}` contains `{prefix}`, which marks locks; use another name"
            )),
            None => Ok(()),
        }
    }
}

impl Namespace {
    /// Create a namespace that no other view shares.
    pub fn new(name: Arc<str>, codec: &str) -> Self {
        let (undecodable, replaced) = (AtomicU64::new(0), AtomicU64::new(0));
        let (codec, generation) = (Arc::from(codec), LastGeneration::default());
        Self { name, codec, generation, undecodable, replaced }
    }

    /// Return the name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Return the name of the codec.
    pub fn codec(&self) -> &Arc<str> {
        &self.codec
    }

    /// Return the generation that was found last.
    pub fn generation(&self) -> &LastGeneration {
        &self.generation
    }

    /// Count a value that cannot be decoded. Return `true` for the first one.
    pub fn count_undecodable(&self) -> bool {
        self.undecodable.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// Count values that were replaced because they could not be decoded.
    pub fn count_replaced(&self, values: u64) {
        self.replaced.fetch_add(values, Ordering::Relaxed);
    }

    /// Return the number of values that could not be decoded.
    pub fn undecodable(&self) -> u64 {
        self.undecodable.load(Ordering::Relaxed)
    }

    /// Return the number of values that were replaced because they could not be decoded.
    pub fn replaced(&self) -> u64 {
        self.replaced.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces() -> Namespaces {
        Namespaces::new(vec!["__redcache:lock:".to_owned()])
    }

    #[test]
    fn an_invalid_name_is_refused_with_the_reason() {
        let long = "n".repeat(NAME_MAX + 1);
        for (name, reason) in [
            ("", "is empty"),
            ("a b", "white space"),
            ("a\n", "white space"),
            ("x__redcache:lock:y", "marks locks"),
            (&*long, "257 bytes"),
        ] {
            let error = namespaces().open(name, "json").unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
        assert!(namespaces().open("app:user", "json").is_ok());
    }

    #[test]
    fn a_tag_names_one_cache_and_outlives_it() {
        let (one, other) = (namespaces(), namespaces());
        let tag = one.tag().clone();
        assert!(tag == *one.tag() && tag != *other.tag() && !tag.is_dropped());
        drop(one);
        assert!(tag.is_dropped() && tag != *namespaces().tag());
    }

    #[test]
    fn namespaces_without_views_are_removed_in_sweeps_that_become_rarer_with_the_others() {
        let namespaces = namespaces();
        for number in 0..10_000 {
            namespaces.open(&format!("dropped:{number}"), "json").unwrap();
        }
        assert!(namespaces.open.lock().unwrap().namespaces.len() <= 2 * SWEEP_MIN);
        let kept: Vec<_> =
            (0..1000).map(|it| namespaces.open(&format!("kept:{it}"), "json").unwrap()).collect();
        let open = namespaces.open.lock().unwrap();
        assert!(open.sweep_at > kept.len() && open.sweep_at <= 2 * kept.len() + 4 * SWEEP_MIN);
    }

    #[test]
    fn a_namespace_has_one_codec_as_long_as_a_view_uses_it() {
        let namespaces = namespaces();
        let json = namespaces.open("user", "json").unwrap();
        assert!(Arc::ptr_eq(&json, &namespaces.open("user", "json").unwrap()));
        let error = namespaces.open("user", "postcard").unwrap_err();
        assert!(error.to_string().contains("open with the codec json"), "{error}");
        drop(json);
        assert!(namespaces.open("user", "postcard").is_ok());
    }
}
