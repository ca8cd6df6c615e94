//! Decoded values beside near entries.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use redcache::{Cache, Codec, CodecError, Source, Typed, TypedCache};
use redcache_sim::listen::EmbeddedServer;

const TTL: Duration = Duration::from_secs(60);

/// The calls of a codec.
#[derive(Debug, Clone, Default)]
struct Counts {
    decoded: Arc<AtomicUsize>,
    dropped: Arc<Mutex<Vec<String>>>,
    cache: Arc<OnceLock<Cache>>,
}

/// A text whose drop is counted.
struct Text {
    text: String,
    counts: Counts,
}

impl Drop for Text {
    fn drop(&mut self) {
        // Under a lock of the cache, this would not return.
        if let Some(cache) = self.counts.cache.get() {
            cache.stats();
        }
        self.counts.dropped.lock().unwrap().push(self.text.clone());
    }
}

impl Codec<Text> for Counts {
    fn name(&self) -> Cow<'static, str> {
        "text".into()
    }

    fn encode(&self, value: &Text, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(value.text.as_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Text, CodecError> {
        self.decoded.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8(bytes.to_vec()).map_err(|_| CodecError::new("no text"))?;
        Ok(Text { text, counts: self.clone() })
    }
}

impl Counts {
    fn decoded(&self) -> usize {
        self.decoded.load(Ordering::Relaxed)
    }

    fn view(&self, cache: &Cache) -> TypedCache<u64, Text, Self> {
        cache.typed("text", self.clone()).ttl(TTL).build().unwrap()
    }

    fn text(&self, text: &str) -> Text {
        Text { text: text.to_owned(), counts: self.clone() }
    }
}

#[tokio::test]
async fn a_copy_is_decoded_once_and_its_object_is_dropped_with_it() {
    let server = EmbeddedServer::start().unwrap();
    let cache = redcache::connect(server.url()).await.unwrap();
    let other = redcache::connect(server.url()).await.unwrap();
    let counts = Counts::default();
    counts.cache.set(cache.clone()).unwrap();
    let texts = counts.view(&cache);
    other.insert("text:1", "one", TTL).await.unwrap();
    let mut objects = Vec::new();
    for _ in 0..3 {
        objects.push(texts.get(&1).await.unwrap().value.unwrap());
        objects.push(texts.get_many([1]).await.unwrap().remove(0).unwrap().value.unwrap());
        let load = async || Ok::<Text, String>(counts.text("not loaded"));
        objects.push(texts.get_with(&1, load).await.unwrap().value.unwrap());
    }
    assert_eq!(counts.decoded(), 1);
    assert!(objects.iter().all(|object| Arc::ptr_eq(object, &objects[0])));
    drop(objects);
    assert!(counts.dropped.lock().unwrap().is_empty());
    // The invalidation drops the object, or else the next read does.
    other.insert("text:1", "two", TTL).await.unwrap();
    while texts.get(&1).await.unwrap().value.unwrap().text == "one" {
        tokio::task::yield_now().await;
    }
    assert_eq!(*counts.dropped.lock().unwrap(), ["one"]);
    assert_eq!(counts.decoded(), 2);
    assert!(texts.remove(&1).await.unwrap());
    assert_eq!(*counts.dropped.lock().unwrap(), ["one", "two"]);
}

#[tokio::test]
async fn a_loaded_object_is_kept_and_shared_by_the_callers_of_its_load() {
    let server = EmbeddedServer::start().unwrap();
    let cache = redcache::connect(server.url()).await.unwrap();
    let counts = Counts::default();
    let texts = counts.view(&cache);
    let load = async || Ok::<Text, String>(counts.text("loaded"));
    let loaded = texts.get_with(&1, load).await.unwrap();
    let near = texts.get(&1).await.unwrap();
    assert_eq!((loaded.source, near.source), (Source::Loaded, Source::Near));
    assert!(Arc::ptr_eq(&loaded.value.unwrap(), &near.value.unwrap()));
    assert_eq!(counts.decoded(), 0);
}

#[tokio::test]
async fn the_memory_of_objects_counts_against_the_limit_and_evicted_objects_are_dropped() {
    let server = EmbeddedServer::start().unwrap();
    let url = format!("{}?near_cache_bytes=1MiB", server.url());
    let cache = redcache::connect(&*url).await.unwrap();
    let counts = Counts::default();
    counts.cache.set(cache.clone()).unwrap();
    let texts = counts.view(&cache);
    let text = "x".repeat(1000);
    for key in 0..2000 {
        let load = async || Ok::<Text, String>(counts.text(&text));
        texts.get_with(&key, load).await.unwrap();
    }
    assert!(cache.stats().near_bytes <= 1 << 20, "{:?}", cache.stats());
    assert!(counts.dropped.lock().unwrap().len() > 1000);
}
