//! The threads and sockets of the blocking adapter, on the embedded server.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::io;
use std::time::Duration;

use redcache_blocking::{Cache, ErrorKind, Loaded, Source, connect};
use redcache_sim::listen::EmbeddedServer;

const TTL: Duration = Duration::from_secs(60);

fn start() -> (EmbeddedServer, Cache) {
    let server = EmbeddedServer::start().unwrap();
    let cache = connect(server.url()).unwrap();
    (server, cache)
}

#[test]
fn a_value_is_loaded_once_and_then_near() {
    let (_server, cache) = start();
    let load = || Ok::<_, io::Error>("Ada");
    let first = cache.get_with("user:1", TTL, load).unwrap();
    assert_eq!((first.value.as_deref(), first.source), (Some(&b"Ada"[..]), Source::Loaded));
    let again = cache.get_with("user:1", TTL, load).unwrap();
    assert_eq!((again.value.as_deref(), again.source), (Some(&b"Ada"[..]), Source::Near));
    assert!(cache.is_tracked());
    assert_eq!(cache.stats().loads, 1);
}

#[test]
fn every_call_gives_what_it_says() {
    let (_server, cache) = start();
    cache.insert("a", "1", TTL).unwrap();
    let inserted = cache.insert_many([("b", "2"), ("c", "3")], TTL).unwrap();
    assert!(inserted.iter().all(Result::is_ok));
    assert_eq!(cache.get("a").unwrap().value.unwrap(), "1");
    let found = cache.get_many(["c", "none", "b"]).unwrap();
    let values: Vec<_> = found.into_iter().map(|answer| answer.unwrap().value).collect();
    assert_eq!(values, [Some("3".into()), None, Some("2".into())]);
    assert!(cache.touch("a", TTL).unwrap());
    let touched = cache.touch_many(["b", "none"], TTL).unwrap();
    assert_eq!(touched.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [true, false]);
    assert!(cache.remove("a").unwrap());
    let removed = cache.remove_many(["a", "b"]).unwrap();
    assert_eq!(removed.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [false, true]);
    let loaded = cache.get_many_with(["c", "d", "e"], TTL, |keys| {
        assert_eq!(keys, ["d".into(), "e".into()]);
        Ok::<_, io::Error>([("d", Loaded::value("4"))])
    });
    let values: Vec<_> = loaded.unwrap().into_iter().map(|answer| answer.unwrap().value).collect();
    assert_eq!(values, [Some("3".into()), Some("4".into()), None]);
    let failed = cache.get_with("f", TTL, || Err::<Loaded, _>("no such table")).unwrap_err();
    assert_eq!(failed.loader_error().unwrap().to_string(), "no such table");
    cache.close();
    let closed = cache.get("c").unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed);
}
