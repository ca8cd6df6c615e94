//! Servers that do not run everything: each scenario once, run on every adapter against a real
//! server of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use redcache_core::{ErrorKind, Source};
use redcache_tests::{Raw, RedisServer};

use crate::conformance::cache::Cache;
use crate::conformance::scene::{
    Kind, LONG_LOCK, Notices, TTL, cache_error, found, gate, observed, wait_until,
};

with_a_server_of_its_own![
    a_login_without_scripts_takes_no_locks_and_loads_one_at_a_time,
    a_server_without_scripts_takes_no_locks_and_loads_one_at_a_time,
    a_login_without_tracking_works_without_a_near_cache,
];

fn with_login(server: &RedisServer, denied: &[&str]) -> String {
    let login = ["ACL", "SETUSER", "app", "on", ">password", "~*", "+@all"];
    let command: Vec<&str> = login.iter().chain(denied).copied().collect();
    server.connect().ok(&command);
    server.url().replacen("://", "://app:password@", 1)
}

fn a_login_without_scripts_takes_no_locks_and_loads_one_at_a_time<C: Cache>() {
    let server = RedisServer::start();
    let url = with_login(&server, &["-eval", "-evalsha"]);
    check_without_scripts::<C>(&url, &mut server.connect());
}

fn a_server_without_scripts_takes_no_locks_and_loads_one_at_a_time<C: Cache>() {
    let server = RedisServer::start_with(&[
        "--rename-command",
        "EVAL",
        "",
        "--rename-command",
        "EVALSHA",
        "",
    ]);
    check_without_scripts::<C>(&server.url(), &mut server.connect());
}

fn check_without_scripts<C: Cache>(url: &str, client: &mut Raw) {
    let notices = Notices::default();
    let cache: C = observed(format!("{url}{LONG_LOCK}"), notices.clone());
    // One lock tells that it cannot be released. It ends with its ttl.
    assert_eq!(cache.get_with("first", TTL, || found("v")).unwrap().source, Source::Loaded);
    notices.wait_for(1, Kind::NotStored);
    assert!(notices.text().contains("allow `EVAL`"), "{}", notices.text());
    for round in 0..10 {
        let key = format!("k{round}");
        assert_eq!(cache.get_with(&key, TTL, || found("v")).unwrap().source, Source::Loaded);
        assert_eq!(client.get(&key), None, "a lock is left");
    }
    // The process runs one load of a key at a time. Nobody knows of writes during the first one, so
    // it answers no caller that came later.
    let (has_ended, (gate, door)) = (AtomicBool::new(false), gate());
    let (cache, has_ended) = (&cache, &has_ended);
    thread::scope(|scope| {
        let lead = scope.spawn(move || {
            let load = || {
                let loaded = door.then(found("first"));
                has_ended.store(true, Ordering::SeqCst);
                loaded
            };
            cache.get_with("shared", TTL, load).unwrap()
        });
        gate.reached();
        let follow = scope.spawn(move || {
            let load = || {
                assert!(has_ended.load(Ordering::SeqCst), "two loads at a time");
                found("second")
            };
            cache.get_with("shared", TTL, load).unwrap()
        });
        wait_until("the second caller waits", || cache.stats().calls == 2);
        gate.open();
        for (caller, value) in [(lead, "first"), (follow, "second")] {
            assert_eq!(caller.join().unwrap().value.as_deref(), Some(value.as_bytes()));
        }
    });
    // Writes, reads and the near cache go on.
    cache.insert("written", "v", TTL).unwrap();
    assert_eq!(cache.get("written").unwrap().value.as_deref(), Some(&b"v"[..]));
    wait_until("the value is near", || cache.get("written").unwrap().source == Source::Near);
    client.ok(&["SET", "written", "w"]);
    wait_until("the copy is invalidated", || {
        cache.get("written").unwrap().value.as_deref() == Some(b"w")
    });
    let error = cache_error(cache.insert_with("locked", TTL, || found("v")));
    assert_eq!(error.kind(), ErrorKind::Server);
    assert_eq!((client.get("locked"), notices.count(Kind::NotStored)), (None, 1));
}

fn a_login_without_tracking_works_without_a_near_cache<C: Cache>() {
    let server = RedisServer::start();
    let (url, notices) = (with_login(&server, &["-client|tracking"]), Notices::default());
    let cache: C = observed(url, notices.clone());
    notices.wait_for(1, Kind::Untracked);
    assert!(!cache.is_tracked());
    assert_eq!(cache.get_with("k", TTL, || found("v")).unwrap().source, Source::Loaded);
    assert_eq!(cache.get("k").unwrap().source, Source::Redis);
    server.connect().ok(&["SET", "k", "w"]);
    assert_eq!(cache.get("k").unwrap().value.as_deref(), Some(&b"w"[..]));
}
