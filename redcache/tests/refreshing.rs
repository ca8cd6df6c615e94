//! Typed views with a registered loader.
#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redcache::{
    Cache, ErrorKind, Json, LoadError, RefreshOptions, Source, Typed, TypedCache,
    TypedRefreshingCache,
};
use redcache_sim::listen::EmbeddedServer;

const TTL: Duration = Duration::from_secs(600);

/// A part of the TTL so small that every later reading of the clock exceeds it.
const AT_ONCE: f64 = 1e-9;

type Key = (String, u32);

async fn connect(server: &EmbeddedServer) -> Cache {
    redcache::connect(server.url()).await.unwrap()
}

/// The keys of each load.
type Asked = Arc<Mutex<Vec<Vec<Key>>>>;

fn refreshing(
    view: &TypedCache<Key, String>,
    options: RefreshOptions,
) -> (TypedRefreshingCache<Key, String, std::io::Error>, Asked) {
    let asked = Asked::default();
    let loader = {
        let asked = Arc::clone(&asked);
        move |keys: Vec<Key>| {
            let mut asked = asked.lock().unwrap();
            asked.push(keys.clone());
            let load = asked.len();
            async move {
                let loaded = keys.into_iter().filter(|(name, _)| name != "absent");
                Ok(loaded.map(move |key| (key, format!("load {load}"))))
            }
        }
    };
    (view.refreshing(options, loader).unwrap(), asked)
}

fn key(name: &str, number: u32) -> Key {
    (name.to_owned(), number)
}

#[tokio::test]
async fn a_registered_loader_gets_typed_keys_of_all_reads_that_miss() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connect(&server).await;
    for is_clearable in [false, true] {
        let view = cache.typed(format!("n{is_clearable}"), Json).not_found_ttl(TTL / 10);
        let view: TypedCache<Key, String> =
            if is_clearable { view.clearable() } else { view }.build().unwrap();
        let (names, asked) = refreshing(&view, RefreshOptions::new(TTL));
        let answer = names.get(&key("a/b", 1)).await.unwrap();
        assert_eq!((answer.source, answer.value.unwrap().as_str()), (Source::Loaded, "load 1"));
        let answer = names.get(&key("a/b", 1)).await.unwrap();
        assert_eq!((answer.source, answer.value.unwrap().as_str()), (Source::Near, "load 1"));
        let keys = [key("a/b", 1), key("absent", 2), key("%:", 3), key("%:", 3)];
        let found = names.get_many(keys.clone()).await.unwrap();
        let found: Vec<_> = found.into_iter().map(|it| it.unwrap().value).collect();
        let texts = found.iter().map(|it| it.as_ref().map(|it| it.as_str()));
        let expected = [Some("load 1"), None, Some("load 2"), Some("load 2")];
        assert_eq!(texts.collect::<Vec<_>>(), expected);
        let mut asked = asked.lock().unwrap().clone();
        asked[1].sort();
        assert_eq!(asked, [vec![key("a/b", 1)], vec![key("%:", 3), key("absent", 2)]]);
        let ttl = async |key| view.get(key).await.unwrap().ttl.unwrap();
        assert!(ttl(&keys[0]).await > TTL / 2 && ttl(&keys[1]).await <= TTL / 10);
        assert!(names.view().remove(&keys[0]).await.unwrap());
    }
}

#[tokio::test]
async fn a_read_of_a_value_that_is_due_refreshes_it_in_the_background() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connect(&server).await;
    let view: TypedCache<Key, String> = cache.typed("n", Json).build().unwrap();
    let options = RefreshOptions::new(TTL).refresh_at_fraction(AT_ONCE);
    let (names, asked) = refreshing(&view, options);
    let key = key("a", 1);
    assert_eq!(*names.get(&key).await.unwrap().value.unwrap(), "load 1");
    while *names.get(&key).await.unwrap().value.unwrap() == "load 1" {
        tokio::task::yield_now().await;
    }
    assert!(asked.lock().unwrap().iter().all(|keys| *keys == [key.clone()]));
}

#[tokio::test]
async fn a_value_of_another_version_is_loaded_and_replaced() {
    let server = EmbeddedServer::start().unwrap();
    let (cache, other) = (connect(&server).await, connect(&server).await);
    let view: TypedCache<Key, String> = cache.typed("n", Json).build().unwrap();
    let (names, asked) = refreshing(&view, RefreshOptions::new(TTL));
    for stored in ["n:a/1", "n:b/1"] {
        other.insert(stored, "7", TTL).await.unwrap();
    }
    assert_eq!(*names.get(&key("a", 1)).await.unwrap().value.unwrap(), "load 1");
    let found = names.get_many([key("a", 1), key("b", 1)]).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|it| it.unwrap().value.unwrap()).collect();
    assert_eq!(found.iter().map(|it| it.as_str()).collect::<Vec<_>>(), ["load 1", "load 2"]);
    assert_eq!((view.undecodable(), view.replaced()), (2, 2));
    assert_eq!(asked.lock().unwrap().len(), 2);
    assert_eq!(*other.get("n:b/1").await.unwrap().value.unwrap(), *br#""load 2""#);
}

#[tokio::test]
async fn errors_of_a_registered_loader_keep_their_type() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connect(&server).await;
    let view: TypedCache<u8, u8> = cache.typed("n", Json).build().unwrap();
    let failing = view.refreshing(RefreshOptions::new(TTL), async |_| {
        Err::<Vec<(u8, u8)>, _>(std::io::Error::other("no rows"))
    });
    let error = failing.unwrap().get(&1).await.unwrap_err();
    let LoadError::Loader(error) = error else { panic!("{error}") };
    assert_eq!(error.kind(), std::io::ErrorKind::Other);
    let plain: TypedCache<u8, u8> = cache.typed("", Json).plain_keys().build().unwrap();
    let error = plain
        .refreshing(RefreshOptions::new(TTL), async |_| Ok::<_, std::io::Error>([(1, 1)]))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[cfg(feature = "blocking")]
#[test]
fn the_blocking_face_refreshes_typed_values_too() {
    let server = EmbeddedServer::start().unwrap();
    let cache = redcache::blocking::connect(server.url()).unwrap();
    let view: redcache::blocking::TypedCache<u64, u32> = cache.typed("n", Json).build().unwrap();
    let loads = Arc::new(AtomicU32::new(0));
    let loader = {
        let loads = Arc::clone(&loads);
        move |keys: Vec<u64>| {
            let load = loads.fetch_add(1, Ordering::Relaxed) + 1;
            Ok::<_, std::io::Error>(keys.into_iter().map(move |key| (key, load)))
        }
    };
    let options = RefreshOptions::new(TTL).refresh_at_fraction(AT_ONCE);
    let names: redcache::blocking::TypedRefreshingCache<u64, u32, std::io::Error> =
        view.refreshing(options, loader).unwrap();
    assert_eq!(names.get(&1).unwrap().value.as_deref(), Some(&1));
    while names.get(&1).unwrap().value.as_deref() == Some(&1) {
        std::thread::yield_now();
    }
    let found = names.get_many([1, 2]).unwrap();
    assert!(found.into_iter().all(|it| it.unwrap().value.is_some()));
    assert!(names.view().remove(&1).unwrap());
}
