//! Typed views on a Redis in this process.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redcache::observer::{Observer, UndecodableEvent};
use redcache::{
    Cache, CacheKey, CallOptions, Config, ErrorKind, Json, LoadError, Source, Typed, TypedCache,
    TypedLoaded,
};
use redcache_sim::listen::EmbeddedServer;
use serde::{Deserialize, Serialize};

const TTL: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
}

/// The same user in the next version of the program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Person {
    first: String,
    last: String,
}

fn user(name: &str) -> User {
    User { name: name.to_owned() }
}

fn person() -> Person {
    Person { first: "Ada".to_owned(), last: "Lovelace".to_owned() }
}

async fn connect(server: &EmbeddedServer) -> Cache {
    redcache::connect(server.url()).await.unwrap()
}

fn users(cache: &Cache) -> TypedCache<u64, User> {
    cache.typed("user", Json).ttl(TTL).build().unwrap()
}

fn persons(cache: &Cache) -> TypedCache<u64, Person> {
    cache.typed("user", Json).ttl(TTL).build().unwrap()
}

#[tokio::test]
async fn a_value_is_loaded_once_and_decoded_afterwards() {
    let server = EmbeddedServer::start().unwrap();
    let (cache, other) = (connect(&server).await, connect(&server).await);
    let users = users(&cache);
    let load = || async { Ok::<_, String>(Some(user("Ada"))) };
    // A call can move to another thread.
    let task = tokio::spawn({
        let users = users.clone();
        async move { users.get_with(&42, load).await.unwrap() }
    });
    let answer = task.await.unwrap();
    assert_eq!((answer.source, answer.value), (Source::Loaded, Some(user("Ada").into())));
    let answer = users.get(&42).await.unwrap();
    assert_eq!((answer.source, answer.value), (Source::Near, Some(user("Ada").into())));
    assert_eq!(*other.get("user:42").await.unwrap().value.unwrap(), *br#"{"name":"Ada"}"#);
    assert!(users.touch(&42).await.unwrap() && users.remove(&42).await.unwrap());
    assert!(users.get(&42).await.unwrap().value.is_none());
    users.insert(&42, &user("Grace")).await.unwrap();
    assert_eq!(users.get(&42).await.unwrap().value, Some(user("Grace").into()));
    assert!(users.insert_with(&42, async || Ok::<_, String>(user("Mary"))).await.unwrap());
    assert_eq!(users.get(&42).await.unwrap().value, Some(user("Mary").into()));
}

#[tokio::test]
async fn the_loader_of_a_batch_gets_keys_and_returns_them_in_any_order() {
    let server = EmbeddedServer::start().unwrap();
    let users = users(&connect(&server).await);
    users.insert(&2, &user("2")).await.unwrap();
    let asked = Mutex::new(Vec::new());
    let load = async |ids: Vec<u64>| {
        asked.lock().unwrap().extend(ids.clone());
        let loaded = ids.into_iter().rev().filter(|id| *id != 4);
        Ok::<_, String>(loaded.map(|id| (id, user(&id.to_string()))).collect::<Vec<_>>())
    };
    let answers = users.get_many_with([1, 2, 3, 4, 1], load).await.unwrap();
    let names = answers.iter().map(|it| Some(it.as_ref().unwrap().value.as_ref()?.name.as_str()));
    assert_eq!(names.collect::<Vec<_>>(), [Some("1"), Some("2"), Some("3"), None, Some("1")]);
    let mut asked = asked.into_inner().unwrap();
    asked.sort_unstable();
    assert_eq!(asked, [1, 3, 4]);
    let found = users.get_many([4, 1]).await.unwrap();
    assert_eq!(found[1].as_ref().unwrap().value, Some(user("1").into()));
    let written = users.insert_many([(5, user("5")), (6, user("6"))]).await.unwrap();
    assert!(written.iter().all(Result::is_ok));
    let load = async |ids: Vec<u64>| Ok::<_, String>(ids.into_iter().map(|id| (id, user("new"))));
    let written = users.insert_many_with([5, 7], load).await.unwrap();
    assert!(written.iter().all(|it| *it.as_ref().unwrap()));
    assert_eq!(users.get(&5).await.unwrap().value, Some(user("new").into()));
    assert_eq!(
        users.change([7], async || Ok::<_, String>("committed")).await.unwrap(),
        "committed"
    );
    assert_eq!(users.get(&7).await.unwrap().value, None);
    let removed = users.remove_many([5, 6, 9]).await.unwrap();
    assert_eq!(removed.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [true, true, false]);
}

fn users_of<K: CacheKey + ?Sized>(cache: &Cache) -> TypedCache<K, User> {
    cache.typed("user", Json).ttl(TTL).not_found_ttl(TTL / 10).build().unwrap()
}

#[tokio::test]
async fn not_found_has_a_ttl_of_its_own_and_a_loader_may_set_another() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connect(&server).await;
    let users: TypedCache<str, User> = users_of(&cache);
    let ttl = async |key: &str, loaded: TypedLoaded<User>| {
        users.get_with(key, async || Ok::<_, String>(loaded)).await.unwrap();
        users.get(key).await.unwrap().ttl.unwrap()
    };
    assert!(ttl("absent", TypedLoaded::not_found()).await <= TTL / 10);
    assert!(ttl("present", TypedLoaded::value(user("Ada"))).await > TTL / 2);
    assert!(ttl("short", TypedLoaded::value(user("Ada")).with_ttl(TTL / 20)).await <= TTL / 20);
    let load = async |_: Vec<_>| Ok::<_, String>(Vec::<(String, User)>::new());
    let by_name: TypedCache<String, User> = users_of(&cache);
    by_name.get_many_with(["left out".to_owned()], load).await.unwrap();
    assert!(users.get("left out").await.unwrap().ttl.unwrap() <= TTL / 10);
    let unstored = TypedLoaded::value(user("Ada")).do_not_store();
    assert!(users.get_with("never", async || Ok::<_, String>(unstored)).await.is_ok());
    assert!(users.get("never").await.unwrap().value.is_none());
}

#[derive(Default)]
struct Events(Mutex<Vec<(String, bool)>>);

impl Observer for Events {
    fn on_undecodable(&self, event: &UndecodableEvent) {
        self.0.lock().unwrap().push((event.key.to_string(), event.is_first));
    }
}

#[tokio::test]
async fn a_value_that_does_not_decode_is_a_miss_that_is_counted_and_replaced() {
    let server = EmbeddedServer::start().unwrap();
    let events = Arc::new(Events::default());
    let address = server.address();
    let config = Config::builder().server(address.ip().to_string(), address.port());
    let config = config.observer(Arc::clone(&events));
    let cache = redcache::connect(config).await.unwrap();
    let users = users(&cache);
    for (id, text) in (1..).zip(["", "plain", "{}", r#"{"name":7}"#, r#"{"name":"Ada"}x"#]) {
        cache.insert(format!("user:{id}"), text, TTL).await.unwrap();
        let error = users.get(&id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Undecodable);
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(&format!("`user:{id}`")) && shown.contains("json"), "{shown}");
        assert!(text.is_empty() || !shown.contains(text), "{shown}");
        let answer = users.get_with(&id, async || Ok::<_, String>(user("new"))).await.unwrap();
        assert_eq!((answer.source, answer.value), (Source::Loaded, Some(user("new").into())));
        assert_eq!(users.get(&id).await.unwrap().value, Some(user("new").into()));
        let stored = cache.get(format!("user:{id}")).await.unwrap().value.unwrap();
        assert_eq!(*stored, *br#"{"name":"new"}"#);
    }
    assert_eq!((users.undecodable(), users.replaced()), (10, 5));
    let events = events.0.lock().unwrap();
    assert_eq!(events.iter().filter(|(_, is_first)| *is_first).count(), 1);
    assert_eq!((events.len(), &*events[0].0), (10, "user:1"));
}

#[tokio::test]
async fn a_batch_replaces_values_that_do_not_decode_with_one_load() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connect(&server).await;
    let users = users(&cache);
    for id in 1..=3 {
        cache.insert(format!("user:{id}"), "old", TTL).await.unwrap();
    }
    users.insert(&4, &user("4")).await.unwrap();
    let loads = Mutex::new(Vec::new());
    let load = async |ids: Vec<u64>| {
        loads.lock().unwrap().push(ids.clone());
        Ok::<_, String>(ids.into_iter().map(|id| (id, user(&id.to_string()))).collect::<Vec<_>>())
    };
    let answers = users.get_many_with(1..=4, load).await.unwrap();
    for (id, answer) in (1..).zip(answers) {
        assert_eq!(answer.unwrap().value, Some(user(&format!("{id}")).into()));
    }
    let mut loads = loads.into_inner().unwrap().concat();
    loads.sort_unstable();
    assert_eq!(loads, [1, 2, 3]);
    assert_eq!(users.replaced(), 3);
}

#[tokio::test]
async fn two_versions_side_by_side_load_once_each_per_change_and_see_each_others_removals() {
    let server = EmbeddedServer::start().unwrap();
    let old = [connect(&server).await, connect(&server).await].map(|cache| users(&cache));
    let new = [connect(&server).await, connect(&server).await].map(|cache| persons(&cache));
    let loads = AtomicU32::new(0);
    let load_old = async || {
        loads.fetch_add(1, Ordering::Relaxed);
        Ok::<_, String>(user("Ada"))
    };
    let load_new = async || {
        loads.fetch_add(1, Ordering::Relaxed);
        Ok::<_, String>(person())
    };
    for changes in 1..=3 {
        for _ in 0..50 {
            for (old, new) in old.iter().zip(&new) {
                let answer = old.get_with(&1, load_old).await.unwrap();
                assert_eq!(answer.value, Some(user("Ada").into()));
                let answer = new.get_with(&1, load_new).await.unwrap();
                assert_eq!(answer.value, Some(person().into()));
            }
        }
        // The first value, one replacement by each version, and a load beside the last of these.
        assert!(loads.load(Ordering::Relaxed) <= 4 * changes, "{loads:?} loads");
        assert!(new[0].remove(&1).await.unwrap());
    }
    let replaced: u64 =
        old.iter().map(|it| it.replaced()).chain(new.iter().map(|it| it.replaced())).sum();
    assert!(replaced <= 2, "{replaced}");
}

#[tokio::test]
async fn a_value_that_cannot_be_encoded_fails_with_a_kind_of_its_own() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connect(&server).await;
    let maps: TypedCache<str, BTreeMap<(u8, u8), u8>> = cache.typed("map", Json).build().unwrap();
    let map = BTreeMap::from([((1, 2), 3)]);
    let error = maps.insert("m", &map).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.key().unwrap().to_string()),
        (ErrorKind::Unencodable, "map:m".to_owned())
    );
    let error = maps.get_with("m", async || Ok::<_, String>(map.clone())).await.unwrap_err();
    assert!(matches!(&error, LoadError::Cache(error) if error.kind() == ErrorKind::Unencodable));
    let error =
        maps.get_with("m", async || Err::<BTreeMap<_, _>, _>("no".to_owned())).await.unwrap_err();
    assert_eq!(error.loader_error().unwrap().to_string(), "no");
}

#[tokio::test]
async fn a_namespace_is_checked_when_its_view_is_made() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connect(&server).await;
    let refused = |namespace: &str| {
        let view: Result<TypedCache<u64, User>, _> = cache.typed(namespace, Json).build();
        view.unwrap_err().kind()
    };
    assert_eq!(refused(""), ErrorKind::InvalidInput);
    assert_eq!(refused("__redcache:lock:"), ErrorKind::InvalidInput);
    let built: Result<TypedCache<u64, User>, _> = cache.typed("user", Json).jitter(2.0).build();
    assert!(built.is_err());
}

/// Write a key as a program without redcache does.
fn write(server: &EmbeddedServer, key: &str, value: &str) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let words = ["SET", key, value].map(|word| format!("${}\r\n{word}\r\n", word.len()));
    stream.write_all(format!("*3\r\n{}", words.concat()).as_bytes()).unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
}

#[tokio::test]
async fn plain_keys_and_json_are_what_other_programs_write() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connect(&server).await;
    let users: TypedCache<(String, u64), User> =
        cache.typed("", Json).plain_keys().build().unwrap();
    // The forms that redcache for Go and a program without redcache store.
    for stored in [r#"__redcache:v1:1500000:{"name":"Ada"}"#, r#"{"name":"Ada"}"#] {
        write(&server, "user:1", stored);
        let key = ("user".to_owned(), 1);
        assert_eq!(users.get(&key).await.unwrap().value, Some(user("Ada").into()));
        users.insert(&key, &user("Grace")).await.unwrap();
        assert_eq!(*cache.get("user:1").await.unwrap().value.unwrap(), *br#"{"name":"Grace"}"#);
        users.remove(&key).await.unwrap();
    }
}

#[cfg(feature = "blocking")]
#[test]
fn the_blocking_face_has_the_same_calls() {
    let server = EmbeddedServer::start().unwrap();
    let cache = redcache::blocking::connect(server.url()).unwrap();
    let users: redcache::blocking::TypedCache<u64, User> =
        cache.typed("user", Json).ttl(TTL).build().unwrap();
    let answer = users.get_with(&1, || Ok::<_, String>(user("Ada"))).unwrap();
    assert_eq!((answer.source, answer.value), (Source::Loaded, Some(user("Ada").into())));
    cache.insert("user:2", "old", TTL).unwrap();
    let load = |ids: Vec<u64>| Ok::<_, String>(ids.into_iter().map(|id| (id, user("new"))));
    let answers = users.get_many_with([1, 2, 3], load).unwrap();
    let names: Vec<_> =
        answers.into_iter().map(|it| it.unwrap().value.unwrap().name.clone()).collect();
    assert_eq!(names, ["Ada", "new", "new"]);
    assert!(users.insert_with(&1, || Ok::<_, String>(user("Mary"))).unwrap());
    assert!(users.insert_many_with([1], load).unwrap()[0].as_ref().unwrap());
    users.insert(&4, &user("4")).unwrap();
    users.insert_many([(5, user("5"))]).unwrap();
    assert!(users.touch(&4).unwrap() && *users.touch_many([5]).unwrap()[0].as_ref().unwrap());
    assert_eq!(users.get(&4).unwrap().value, Some(user("4").into()));
    assert_eq!(users.get_many([5]).unwrap()[0].as_ref().unwrap().value, Some(user("5").into()));
    assert!(users.remove(&4).unwrap() && *users.remove_many([5]).unwrap()[0].as_ref().unwrap());
    assert_eq!(users.change([1, 2], || Ok::<_, String>(7)).unwrap(), 7);
    assert_eq!(users.get(&1).unwrap().value, None);
}

fn clearable(cache: &Cache) -> TypedCache<u64, User> {
    cache.typed("user", Json).ttl(TTL).clearable().build().unwrap()
}

/// Return the number of keys to clear, which `CLEAR_KEYS` sets.
fn keys_to_clear() -> u64 {
    std::env::var("CLEAR_KEYS").map_or(1000, |keys| keys.parse().unwrap())
}

/// Return the numbers below `keys`, in batches.
fn batches(keys: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
    (0..keys).step_by(500).map(move |first| first..(first + 500).min(keys))
}

#[tokio::test]
async fn clear_is_one_write_after_which_no_process_returns_an_old_value() {
    let server = EmbeddedServer::start().unwrap();
    // The machine may be too slow for a batch within the usual limit.
    let url = format!("{}?command_timeout=60s", server.url());
    let cache = redcache::connect(&*url).await.unwrap();
    let other = redcache::connect(&*url).await.unwrap();
    let (users, others) = (clearable(&cache), clearable(&other));
    let keys = keys_to_clear();
    for ids in batches(keys) {
        let written = users.insert_many(ids.clone().map(|id| (id, user("old")))).await.unwrap();
        assert!(written.iter().all(Result::is_ok));
        for answer in others.get_many(ids).await.unwrap() {
            assert_eq!(answer.unwrap().value, Some(user("old").into()));
        }
    }
    let writes = |command| server.with(|server| server.count(command).calls);
    let before = [writes("set"), writes("del"), writes("scan")];
    users.clear().await.unwrap();
    assert_eq!(
        [writes("set"), writes("del"), writes("scan")],
        [before[0] + 1, before[1], before[2]]
    );
    // After one push, the other process has the new generation, too.
    while others.get(&0).await.unwrap().value.is_some() {
        tokio::task::yield_now().await;
    }
    for ids in batches(keys) {
        for view in [&users, &others] {
            let answers = view.get_many(ids.clone()).await.unwrap();
            assert!(answers.into_iter().all(|answer| answer.unwrap().value.is_none()));
        }
    }
    others.insert(&1, &user("new")).await.unwrap();
    assert_eq!(users.get(&1).await.unwrap().value, Some(user("new").into()));
    assert!(users.remove(&1).await.unwrap());
}

#[tokio::test]
async fn a_load_that_began_before_a_clear_is_not_found_after_it() {
    let server = EmbeddedServer::start().unwrap();
    let users = clearable(&connect(&server).await);
    let load = async || {
        users.clear().await.unwrap();
        Ok::<_, String>(user("old"))
    };
    let answer = users.get_with(&1, load).await.unwrap();
    assert_eq!(answer.value, Some(user("old").into()));
    assert!(users.get(&1).await.unwrap().value.is_none());
    let load = async |ids: Vec<u64>| {
        users.clear().await.unwrap();
        Ok::<_, String>(ids.into_iter().map(|id| (id, user("old"))).collect::<Vec<_>>())
    };
    let answers = users.get_many_with([1, 2], load).await.unwrap();
    assert!(answers.into_iter().all(|it| it.unwrap().value == Some(user("old").into())));
    assert!(users.get(&2).await.unwrap().value.is_none());
}

#[tokio::test]
async fn a_write_during_a_clear_removes_what_was_loaded_under_the_new_names() {
    let server = EmbeddedServer::start().unwrap();
    let (cache, other) = (connect(&server).await, connect(&server).await);
    let (users, others) = (clearable(&cache), clearable(&other));
    users.insert(&1, &user("old")).await.unwrap();
    let commit = || async {
        others.clear().await.unwrap();
        let load = || async { Ok::<_, String>(user("old")) };
        assert_eq!(others.get_with(&1, load).await.unwrap().source, Source::Loaded);
        Ok::<_, String>(())
    };
    users.change([1], commit).await.unwrap();
    // The other process may serve its near copy until the push arrives.
    let in_redis = others.with_options(CallOptions::new().skip_near());
    assert_eq!(in_redis.get(&1).await.unwrap().value, None);
}

#[tokio::test]
async fn a_write_finds_the_generation_in_the_near_cache_and_sends_nothing_more() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connect(&server).await;
    let users = clearable(&cache);
    users.insert(&0, &user("first")).await.unwrap();
    let commands = || {
        let commands = ["get", "mget", "set", "del", "eval", "evalsha"];
        commands.map(|command| server.with(|server| server.count(command).calls))
    };
    let before = commands();
    for id in 1..=10 {
        users.insert(&id, &user("written")).await.unwrap();
        users.remove(&id).await.unwrap();
    }
    let [get, mget, set, del, eval, evalsha] = before;
    assert_eq!(commands(), [get, mget, set + 10, del + 10, eval, evalsha]);
}

#[tokio::test]
async fn a_lost_generation_is_a_clear() {
    let server = EmbeddedServer::start().unwrap();
    let (cache, other) = (connect(&server).await, connect(&server).await);
    let users = clearable(&cache);
    users.insert(&1, &user("old")).await.unwrap();
    assert!(users.get(&1).await.unwrap().value.is_some());
    assert!(other.remove("user:%~generation").await.unwrap());
    while users.get(&1).await.unwrap().value.is_some() {
        tokio::task::yield_now().await;
    }
    users.insert(&1, &user("new")).await.unwrap();
    assert_eq!(users.get(&1).await.unwrap().value, Some(user("new").into()));
    // A generation of any other form does not break the namespace either.
    other.insert("user:%~generation", "of another program", TTL).await.unwrap();
    while users.get(&1).await.unwrap().value.is_some() {
        tokio::task::yield_now().await;
    }
    users.insert(&1, &user("newer")).await.unwrap();
    assert_eq!(users.get(&1).await.unwrap().value, Some(user("newer").into()));
}

#[tokio::test]
async fn only_a_clearable_namespace_can_be_cleared() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connect(&server).await;
    let users = users(&cache);
    assert_eq!(users.clear().await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let other: Result<TypedCache<u64, User>, _> = cache.typed("user", Json).clearable().build();
    assert!(other.unwrap_err().to_string().contains("is open with the codec json"));
    let plain: Result<TypedCache<u64, User>, _> =
        cache.typed("", Json).plain_keys().clearable().build();
    assert!(plain.is_err());
}

#[tokio::test]
async fn an_outage_lasts_by_the_clock_of_the_runtime() {
    let server = EmbeddedServer::start().unwrap();
    let cache = connect(&server).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(1000)).await;
    drop(server);
    while cache.health().is_connected {
        tokio::task::yield_now().await;
    }
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(cache.health().disconnected_for.unwrap() >= Duration::from_secs(10));
}
