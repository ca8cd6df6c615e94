//! The names and the stored form of one view.

use std::fmt::Write as _;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redcache_adapter::Namespace;
use redcache_core::engine::{GENERATION_KEY, GENERATION_MARK, RawValue};
use redcache_core::observer::UndecodableEvent;
use redcache_core::{Answer, Error, Key, Loaded, Source};

use crate::answer::{TypedAnswer, TypedLoaded};
use crate::codec::Codec;
use crate::key::{CacheKey, KeyWriter, Name, Style};
use crate::view::settings::Settings;

/// The first byte of a value with a header. Neither UTF-8 nor MessagePack begins with this byte.
const MARK: u8 = 0xc1;

/// The length of the mark of a generation and its digits in the name of a key.
const GENERATION_LEN: usize = GENERATION_MARK.len() + 16;

/// The mark, three bytes of the codec's name, and eight of the schema.
type Header = [u8; 12];

/// The names, the codec and the settings of a view.
pub(crate) struct Space<V, C> {
    codec: C,
    namespace: Arc<Namespace>,
    pub(crate) settings: Settings,
    prefix: Box<[u8]>,
    style: Style,
    header: Option<Header>,
    /// The key of the generation, if the namespace can be cleared.
    generation_key: Option<Box<[u8]>>,
    /// The version of this program in the names of its side keys, in hexadecimal digits.
    version: String,
    values: PhantomData<fn() -> V>,
}

impl<V: Send + Sync + 'static, C: Codec<V>> Space<V, C> {
    pub(crate) fn new(
        codec: C,
        namespace: Arc<Namespace>,
        settings: Settings,
        style: Style,
    ) -> Self {
        let prefix = match style {
            Style::Escaped => format!("{}:", namespace.name()),
            Style::Plain => String::new(),
        };
        let mut schema = codec.schema();
        if settings.schema_version != 0 || schema.is_some() {
            let version = u64::from(settings.schema_version);
            schema = schema.map(|schema| schema ^ version.rotate_left(32));
        }
        let name = sha1_smol::Sha1::from(&*codec.name()).digest().bytes();
        let header = schema.map(|schema| {
            let mut header = [MARK; 12];
            header[1..4].copy_from_slice(&name[..3]);
            header[4..].copy_from_slice(&schema.to_be_bytes());
            header
        });
        let mut version = sha1_smol::Sha1::from(&*codec.name());
        version.update(std::any::type_name::<V>().as_bytes());
        version.update(&settings.schema_version.to_be_bytes());
        version.update(&schema.unwrap_or_default().to_be_bytes());
        let version = hex(&version.digest().bytes()[..8]);
        let generation_key =
            settings.is_clearable.then(|| format!("{prefix}{GENERATION_KEY}").into_bytes().into());
        let prefix = prefix.into_bytes().into();
        let values = PhantomData;
        Self { codec, namespace, settings, prefix, style, header, generation_key, version, values }
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Return the key of the generation, if the namespace can be cleared.
    pub(crate) fn generation_key(&self) -> Option<&[u8]> {
        self.generation_key.as_deref()
    }

    /// Append the name of a key without its generation.
    #[inline]
    pub(crate) fn write_name(&self, key: &(impl CacheKey + ?Sized), name: &mut Name) {
        name.extend_from_slice(&self.prefix);
        key.write_to(&mut KeyWriter::new(name, self.style));
    }

    /// Return the name of a key without its generation and its namespace.
    pub(crate) fn parts_of<'a>(&self, name: &'a Key) -> Option<&'a [u8]> {
        let parts = name.as_bytes().strip_prefix(&*self.prefix)?;
        match self.generation_key {
            // The suffix of a generation, as `Names::of` appends it.
            Some(_) => parts.len().checked_sub(GENERATION_LEN).map(|end| &parts[..end]),
            None => Some(parts),
        }
    }

    /// Return the parts of a key, as they are in its name.
    pub(crate) fn parts(&self, key: &(impl CacheKey + ?Sized)) -> Name {
        let mut parts = Name::new();
        key.write_to(&mut KeyWriter::new(&mut parts, self.style));
        parts
    }

    /// Return `true` if the names of keys have no namespace and no escapes.
    pub(crate) fn has_plain_keys(&self) -> bool {
        self.style == Style::Plain
    }

    /// Return the side key under which programs of this version keep their value while the key
    /// `name` holds another version's value `raw`. No key of the application contains `%~`.
    pub(crate) fn side(&self, name: &Key, raw: &[u8]) -> Key {
        let content = sha1_smol::Sha1::from(raw).digest().bytes();
        let content = hex(&content[..8]);
        let suffix = format!("%~v{}{content}", self.version);
        [name.as_bytes(), suffix.as_bytes()].concat().into()
    }

    /// Return the key that exists if programs of this version have replaced the value of `name`
    /// within its TTL.
    pub(crate) fn replaced_mark(&self, name: &Key) -> Key {
        let suffix = format!("%~r{}", self.version);
        [name.as_bytes(), suffix.as_bytes()].concat().into()
    }

    /// Encode a value for the key `name`.
    pub(crate) fn encode(&self, name: &[u8], value: &V) -> Result<Bytes, Error> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(self.header.as_ref().map_or(&[][..], |header| header));
        match self.codec.encode(value, &mut out) {
            Ok(()) => Ok(out.into()),
            Err(reason) => {
                Err(Error::unencodable(&Key::copy_from(name), self.namespace.codec(), reason))
            }
        }
    }

    /// Decode a stored value. Return `None` if another version or program has written it.
    pub(crate) fn decode(&self, stored: &[u8]) -> Option<Arc<V>> {
        let encoded = match &self.header {
            Some(header) => stored.strip_prefix(header)?,
            None => stored,
        };
        self.codec.decode(encoded).ok().map(Arc::new)
    }

    /// Return the weight of a decoded value in bytes.
    pub(crate) fn weight(&self, value: &V, encoded: usize) -> usize {
        // The value and the two counters of its `Arc`.
        size_of::<(V, usize, usize)>() + self.codec.heap_bytes(value, encoded)
    }

    /// Convert the exact content of a key. Return `None` if it cannot be decoded.
    pub(crate) fn open_raw(&self, raw: &RawValue) -> Option<TypedAnswer<V>> {
        let value = match &raw.value {
            Some(stored) => Some(self.decode(stored)?),
            None => None,
        };
        let (source, ttl) = (Source::Redis, raw.ttl);
        Some(TypedAnswer { value, source, ttl, age: None, fresh_as_of: None })
    }

    /// Return the TTL of a loaded value.
    pub(crate) fn ttl_of(&self, loaded: &TypedLoaded<V>) -> Duration {
        let ttl = match loaded.value {
            Some(_) => self.settings.ttl(),
            None => self.settings.not_found_ttl(),
        };
        loaded.ttl.unwrap_or(ttl)
    }

    /// Return an event for a value that cannot be decoded, and count it.
    pub(crate) fn undecodable(&self, name: &Key) -> UndecodableEvent {
        let (namespace, codec) = (self.namespace.name().clone(), self.namespace.codec().clone());
        let is_first = self.namespace.count_undecodable();
        UndecodableEvent::new(namespace, codec, name.clone(), is_first)
    }
}

/// Return an answer with a value of another type.
pub(crate) fn retyped<V>(answer: &Answer, value: Option<Arc<V>>) -> TypedAnswer<V> {
    let Answer { source, ttl, age, fresh_as_of, .. } = *answer;
    TypedAnswer { value, source, ttl, age, fresh_as_of }
}

/// Return a loader's result in stored form.
pub(crate) fn stored(encoded: Option<Bytes>, ttl: Duration, store: bool) -> Loaded {
    let loaded = encoded.map_or_else(Loaded::not_found, Loaded::value).with_ttl(ttl);
    if store { loaded } else { loaded.do_not_store() }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        // Writing to text does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
