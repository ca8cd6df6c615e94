//! The permissions that SECURITY.md lists for a login are sufficient.

use redcache_core::protocol::Slot;
use redcache_core::{RefreshOptions, Source};
use redcache_tests::{Raw, RedisCluster, RedisSentinel, RedisServer};

use crate::conformance::cache::Cache;
use crate::conformance::scene::{TTL, all_found, connected, found, wait_until};

with_a_server_of_its_own![
    the_documented_permissions_are_enough_for_one_server,
    the_documented_permissions_are_enough_for_a_cluster,
    the_documented_permissions_are_enough_for_sentinels,
];

/// Return the `ACL` commands of SECURITY.md, in its order.
fn documented() -> [Vec<&'static str>; 5] {
    let text = include_str!("../../SECURITY.md");
    let commands = text.lines().filter(|line| line.starts_with("ACL SETUSER app "));
    let commands: Vec<Vec<_>> = commands.map(|line| line.split(' ').collect()).collect();
    commands.try_into().expect("one server, Valkey, cluster, refreshes, sentinels")
}

fn log_in(url: &str) -> String {
    url.replacen("://", "://app:password@", 1)
}

/// Make every call of a cache, for keys that begin with `prefix`.
fn use_all_calls<C: Cache>(cache: &C, prefix: &str) {
    let key = |name: &str| format!("{prefix}{name}");
    let batch = [key("b"), key("c")];
    assert!(cache.is_tracked());
    assert_eq!(cache.get_with(key("a"), TTL, || found("1")).unwrap().source, Source::Loaded);
    assert_eq!(cache.get(key("a")).unwrap().source, Source::Near);
    for answer in cache.get_many_with(&batch, TTL, |keys| all_found(keys, "1")).unwrap() {
        answer.unwrap();
    }
    assert!(cache.insert_with(key("a"), TTL, || found("2")).unwrap());
    for outcome in cache.insert_many_with(&batch, TTL, |keys| all_found(keys, "2")).unwrap() {
        assert!(outcome.unwrap());
    }
    cache.insert(key("a"), "3", TTL).unwrap();
    assert!(cache.touch(key("a"), TTL).unwrap());
    let options = RefreshOptions::new(TTL).refresh_at_fraction(1e-6);
    let read = cache.refreshing(options, |keys| all_found(keys, "4")).unwrap();
    wait_until("a refresh", || {
        read(&key("a")).unwrap();
        cache.stats().refreshes > 0
    });
    assert_eq!(cache.stats().refreshes_failed, 0);
    for outcome in cache.remove_many(&batch).unwrap() {
        assert!(outcome.unwrap());
    }
    assert!(cache.remove(key("a")).unwrap());
}

/// Check that the server has denied no command except the one that names the library.
fn check_denials(mut server: Raw) {
    let log = String::from_utf8(server.call(&["ACL", "LOG"])).unwrap();
    let denied: Vec<_> = log
        .split("object\r\n")
        .skip(1)
        .filter_map(|entry| entry.split("\r\n").nth(1))
        .filter(|object| *object != "client|setinfo")
        .collect();
    assert!(denied.is_empty(), "{denied:?}");
}

fn the_documented_permissions_are_enough_for_one_server<C: Cache>() {
    let [one, valkey, _, refreshes, _] = documented();
    let server = RedisServer::start();
    server.connect().ok(&one);
    if server.is_valkey() {
        server.connect().ok(&valkey);
    }
    server.connect().ok(&refreshes);
    let cache: C = connected(format!("{}/2", log_in(&server.url())));
    use_all_calls(&cache, "app:");
    check_denials(server.connect());
}

fn the_documented_permissions_are_enough_for_a_cluster<C: Cache>() {
    let [one, valkey, more, refreshes, _] = documented();
    let cluster = RedisCluster::start();
    for node in cluster.running() {
        for command in [&one, &more, &refreshes] {
            cluster.connect(node).ok(command);
        }
        if cluster.node(node).is_valkey() {
            cluster.connect(node).ok(&valkey);
        }
    }
    let cache: C = connected(log_in(&cluster.url()));
    use_all_calls(&cache, "app:");
    // A key on a slot that moves needs the command `ASKING`.
    let slot = Slot::of(b"app:moved");
    let to = (0..3).find(|number| *number != cluster.owner(slot)).unwrap();
    cluster.begin_move(slot, to);
    assert_eq!(cache.get_with("app:moved", TTL, || found("1")).unwrap().source, Source::Loaded);
    for node in cluster.running() {
        check_denials(cluster.connect(node));
    }
}

fn the_documented_permissions_are_enough_for_sentinels<C: Cache>() {
    let [.., sentinels] = documented();
    let group = RedisSentinel::start();
    group.connect_to_sentinels().for_each(|mut sentinel| sentinel.ok(&sentinels));
    let url = format!("{}?sentinel_username=app&sentinel_password=password", group.url());
    let cache: C = connected(url);
    use_all_calls(&cache, "app:");
    group.connect_to_sentinels().for_each(check_denials);
}
