//! Servers that refuse some commands. Each scenario runs on every adapter against its own real
//! server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use redcache_core::{ErrorKind, RefreshOptions, Source};
use redcache_tests::{Raw, RedisServer};

use crate::conformance::cache::Cache;
use crate::conformance::scene::{
    Boom, Kind, LONG_LOCK, Notices, TTL, all_found, cache_error, found, gate, observed, wait_until,
};

with_a_server_of_its_own![
    a_login_without_scripts_takes_no_locks_and_loads_one_at_a_time,
    a_server_without_scripts_takes_no_locks_and_loads_one_at_a_time,
    a_login_without_scripts_takes_locks_where_the_server_compares,
    a_login_without_tracking_works_without_a_near_cache,
    a_login_without_a_command_of_the_scripts_leaves_no_lock_and_has_a_notice,
    a_login_that_may_not_write_has_a_notice_for_each_load,
    a_server_that_cannot_save_its_data_is_connected_to_and_read,
];

fn with_login(server: &RedisServer, denied: &[&str]) -> String {
    let login = ["ACL", "SETUSER", "app", "on", ">password", "~*", "+@all"];
    let command: Vec<&str> = login.iter().chain(denied).copied().collect();
    server.connect().ok(&command);
    server.url().replacen("://", "://app:password@", 1)
}

fn a_login_without_scripts_takes_no_locks_and_loads_one_at_a_time<C: Cache>() {
    let server = RedisServer::start();
    let native: &[&str] = if server.is_valkey() { &["-delifeq", "-multi"] } else { &[] };
    let url = with_login(&server, &[&["-eval", "-evalsha"], native].concat());
    check_without_scripts::<C>(&url, &mut server.connect());
}

fn a_server_without_scripts_takes_no_locks_and_loads_one_at_a_time<C: Cache>() {
    let native: &[&str] =
        if RedisServer::start().is_valkey() { &["DELIFEQ", "MULTI"] } else { &[] };
    let commands = [&["EVAL", "EVALSHA"], native].concat();
    let args = commands.into_iter().flat_map(|command| ["--rename-command", command, ""]);
    let server = RedisServer::start_with(&args.collect::<Vec<_>>());
    check_without_scripts::<C>(&server.url(), &mut server.connect());
}

fn check_without_scripts<C: Cache>(url: &str, client: &mut Raw) {
    let notices = Notices::default();
    let cache: C = observed(format!("{url}{LONG_LOCK}"), notices.clone());
    // The first lock shows that scripts cannot release it. It is released without a script.
    assert_eq!(cache.get_with("first", TTL, || found("v")).unwrap().source, Source::Loaded);
    notices.wait_for(1, Kind::NotStored);
    wait_until("the lock is given back", || client.get("first").is_none());
    assert!(notices.text().contains("allow `EVAL`"), "{}", notices.text());
    for round in 0..10 {
        let key = format!("k{round}");
        assert_eq!(cache.get_with(&key, TTL, || found("v")).unwrap().source, Source::Loaded);
        assert_eq!(client.get(&key), None, "a lock is left");
    }
    // The process runs one load of a key at a time. Writes during the first load are unknown, so
    // the load answers no caller that came later.
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
    check_refresh_without_scripts(cache, client);
    // Writes, reads and the near cache continue to work.
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

/// Check that a due value is not refreshed, because that takes a lock.
fn check_refresh_without_scripts<C: Cache>(cache: &C, client: &mut Raw) {
    let options = RefreshOptions::new(TTL).refresh_at_fraction(0.1);
    let reader = cache.refreshing(options, |keys| all_found(keys, "new")).unwrap();
    cache.insert("due", "old", TTL / 2).unwrap();
    let before = cache.stats();
    wait_until("a refresh is skipped", || {
        assert_eq!(reader("due").unwrap().value.as_deref(), Some(&b"old"[..]));
        cache.stats().refreshes_skipped > before.refreshes_skipped
    });
    assert_eq!(cache.stats().refreshes_triggered, before.refreshes_triggered);
    assert_eq!(client.call(&["KEYS", "__redcache:refresh:*"]), b"*0\r\n");
}

fn a_login_without_scripts_takes_locks_where_the_server_compares<C: Cache>() {
    let server = RedisServer::start();
    if !server.is_valkey() {
        return;
    }
    let (url, notices) = (with_login(&server, &["-eval", "-evalsha"]), Notices::default());
    let (cache, mut client): (C, _) = (observed(url, notices.clone()), server.connect());
    for round in 0..10 {
        let key = format!("k{round}");
        assert_eq!(cache.get_with(&key, TTL, || found("v")).unwrap().source, Source::Loaded);
        assert!(client.get(&key).unwrap().ends_with(b":v"), "the value is not stored");
        assert_eq!(cache.get(&key).unwrap().source, Source::Near);
        client.ok(&["SET", &key, "w"]);
        wait_until("the copy is invalidated", || {
            cache.get(&key).unwrap().value.as_deref() == Some(b"w")
        });
    }
    cache.get_with("failed", TTL, || Err(Boom("no such table"))).unwrap_err();
    wait_until("the lock is released", || client.get("failed").is_none());
    let error = cache_error(cache.insert_with("locked", TTL, || found("v")));
    assert_eq!(error.kind(), ErrorKind::Server);
    cache.get_with("after", TTL, || found("v")).unwrap();
    assert!(client.get("after").is_some());
    assert_eq!(notices.count(Kind::NotStored), 0);
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

fn a_login_without_a_command_of_the_scripts_leaves_no_lock_and_has_a_notice<C: Cache>() {
    for denied in ["-getex", "-exists", "-del"] {
        let server = RedisServer::start();
        // A publication of Valkey is a transaction with `EXISTS`.
        let is_stored = denied == "-del" || server.is_valkey() && denied == "-getex";
        let (url, notices) = (with_login(&server, &[denied]), Notices::default());
        let cache: C = observed(format!("{url}{LONG_LOCK}"), notices.clone());
        for key in ["first", "second"] {
            assert_eq!(cache.get_with(key, TTL, || found("v")).unwrap().source, Source::Loaded);
        }
        let mut client = server.connect();
        if is_stored {
            assert!(client.get("second").unwrap().ends_with(b":v"), "{denied}");
        } else {
            wait_until("no lock is left", || client.get("second").is_none());
            notices.wait_for(1, Kind::NotStored);
        }
    }
}

fn a_login_that_may_not_write_has_a_notice_for_each_load<C: Cache>() {
    let server = RedisServer::start();
    let (url, notices) = (with_login(&server, &["-set"]), Notices::default());
    let cache: C = observed(url, notices.clone());
    for key in ["first", "second"] {
        assert_eq!(cache.get_with(key, TTL, || found("v")).unwrap().source, Source::Loaded);
    }
    notices.wait_for(2, Kind::NotStored);
    assert!(notices.text().contains("NOPERM"), "{}", notices.text());
    assert_eq!(cache.stats().not_stored, 2);
}

fn a_server_that_cannot_save_its_data_is_connected_to_and_read<C: Cache>() {
    let server = RedisServer::start_with(&["--enable-protected-configs", "local"]);
    let mut client = server.connect();
    client.ok(&["SET", "k", "v"]);
    // The directory cannot be replaced with a file.
    client.ok(&["CONFIG", "SET", "dbfilename", "."]);
    client.call(&["BGSAVE"]);
    wait_until("the server cannot save", || {
        let info = String::from_utf8(client.call(&["INFO", "persistence"])).unwrap();
        info.contains("rdb_last_bgsave_status:err")
    });
    client.ok(&["CONFIG", "SET", "save", "3600 1"]);
    assert!(client.call(&["PING"]).starts_with(b"-MISCONF"));
    let notices = Notices::default();
    let cache: C = observed(server.url(), notices.clone());
    assert!(cache.is_tracked());
    assert_eq!(cache.get("k").unwrap().value.as_deref(), Some(&b"v"[..]));
    assert_eq!(cache.get("k").unwrap().source, Source::Near);
    assert_eq!(cache.get_with("absent", TTL, || found("w")).unwrap().source, Source::Loaded);
    notices.wait_for(1, Kind::NotStored);
    let error = cache_error(cache.insert("k", "w", TTL));
    assert!(error.is_retryable() && error.to_string().contains("MISCONF"), "{error}");
}
