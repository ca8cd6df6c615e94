//! Disabled caches: the calls of a service without a Redis.
#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redcache::{Config, Json, RefreshOptions, Source, Typed, TypedCache};

const TTL: Duration = Duration::from_secs(60);

#[tokio::test]
async fn views_of_a_disabled_cache_load_always() {
    let cache = redcache::disabled().unwrap();
    cache.ready().await.unwrap();
    for is_clearable in [false, true] {
        let view = cache.typed(format!("n{is_clearable}"), Json).ttl(TTL);
        let view: TypedCache<u32, String> =
            if is_clearable { view.clearable() } else { view }.build().unwrap();
        let loads = AtomicU32::new(0);
        let load = async || {
            loads.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok::<_, std::io::Error>(Some("Ada".to_owned()))
        };
        for _ in 0..2 {
            let answer = view.get_with(&1, load).await.unwrap();
            assert_eq!((answer.source, answer.ttl), (Source::Loaded, None));
            assert_eq!(*answer.value.unwrap(), "Ada");
        }
        assert_eq!(loads.swap(0, Ordering::Relaxed), 2);
        // The first load begins before the other calls, which share the second.
        let calls = (view.get_with(&1, load), view.get_with(&1, load), view.get_with(&1, load));
        let (one, two, three) = tokio::join!(calls.0, calls.1, calls.2);
        assert!([one, two, three].into_iter().all(|it| *it.unwrap().value.unwrap() == "Ada"));
        assert_eq!(loads.swap(0, Ordering::Relaxed), 2);
        let many = |ids: Vec<u32>| {
            loads.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, std::io::Error>(ids.into_iter().map(|id| (id, id.to_string()))) }
        };
        let found = view.get_many_with([1, 2, 1], many).await.unwrap();
        let found: Vec<_> = found.into_iter().map(|it| it.unwrap().value.unwrap()).collect();
        assert_eq!(found.iter().map(|it| it.as_str()).collect::<Vec<_>>(), ["1", "2", "1"]);
        assert_eq!(loads.load(Ordering::Relaxed), 1);
        view.insert(&1, &"Grace".to_owned()).await.unwrap();
        assert!(view.insert_with(&1, load).await.unwrap());
        assert!(view.get(&1).await.unwrap().value.is_none());
        assert!(view.get_many([1]).await.unwrap().remove(0).unwrap().value.is_none());
        assert!(!view.remove(&1).await.unwrap() && !view.touch(&1).await.unwrap());
        assert_eq!(view.clear().await.is_ok(), is_clearable);
    }
    let refreshing = cache.refreshing(RefreshOptions::new(TTL), async |keys| {
        Ok::<_, std::io::Error>(keys.into_iter().map(|key| (key, "Ada")))
    });
    let answer = refreshing.unwrap().get("k").await.unwrap();
    assert_eq!(answer.value.as_deref(), Some(&b"Ada"[..]));
    assert!(!cache.is_tracked());
    assert_eq!(cache.stats().near_entries, 0);
    cache.close().await;
    assert!(cache.get("k").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_url_disables_a_cache_and_sets_its_timeouts() {
    let cache = redcache::connect("disabled://?load_timeout=2s&lock_ttl=1s").await.unwrap();
    let load = async || {
        std::future::pending::<()>().await;
        Ok::<_, std::io::Error>("never")
    };
    let error = cache.get_with("k", TTL, load).await.unwrap_err();
    assert_eq!(error.kind(), redcache::ErrorKind::LoadTimeout);
    assert!(Config::from_url("disabled://localhost").is_err());
}

#[cfg(feature = "blocking")]
#[test]
fn threads_share_the_loads_of_a_disabled_blocking_cache() {
    let cache = redcache::blocking::disabled().unwrap();
    let view: redcache::blocking::TypedCache<u32, u32> =
        cache.typed("n", Json).ttl(TTL).build().unwrap();
    let running = AtomicU32::new(0);
    let load = || {
        assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "one load at a time");
        std::thread::yield_now();
        running.fetch_sub(1, Ordering::SeqCst);
        Ok::<_, std::io::Error>(7)
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(view.get_with(&1, load).unwrap().value.as_deref(), Some(&7)));
        }
    });
    assert!(view.get(&1).unwrap().value.is_none());
    view.insert(&1, &8).unwrap();
    assert!(!view.remove(&1).unwrap());
    cache.close();
}
