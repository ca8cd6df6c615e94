//! The command `redcache` on real servers: one paragraph and one exit status for each kind of
//! server, and no password in any output.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use redcache_cli::Exit;
use redcache_core::protocol::Slot;
use redcache_tests::{RedisCluster, RedisSentinel, RedisServer, TlsServer};
use serde_json::Value;

use crate::conformance::scene::wait_until;

const PASSWORD: &str = "swordfish";

/// The output of one run.
#[derive(Debug)]
struct Run {
    exit: Exit,
    out: String,
    err: String,
}

fn redcache(arguments: &[&str]) -> Run {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = arguments.iter().map(OsString::from);
    let exit = redcache_cli::run(arguments, &mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let run = Run { exit, out: text(out), err: text(err) };
    assert!(!run.out.contains(PASSWORD) && !run.err.contains(PASSWORD), "{run:?}");
    run
}

/// Check the result of `redcache doctor` and the words of its paragraph. Return the JSON form.
#[track_caller]
fn doctor(url: &str, more: &[&str], exit: Exit, words: &[&str]) -> Value {
    let run = redcache(&[&["doctor", url][..], more].concat());
    assert_eq!(run.exit, exit, "{run:?}");
    let (paragraph, rest) = run.out.split_once("\n\n").unwrap();
    let paragraph = paragraph.replace('\n', " ");
    for word in words {
        assert!(paragraph.contains(word), "{word}: {paragraph}");
    }
    assert!(rest.contains(&format!("exit status {}", exit.status())), "{rest}");
    let json = redcache(&[&["doctor", url, "--json"][..], more].concat());
    assert_eq!(json.exit, exit, "{json:?}");
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["status"], exit.status());
    assert_eq!(json["summary"], paragraph);
    json
}

fn with_login(server: &RedisServer, rules: &[&str]) -> String {
    let password = format!(">{PASSWORD}");
    let command = [&["ACL", "SETUSER", "app", "on", &password][..], rules].concat();
    server.connect().ok(&command);
    server.url().replacen("://", &format!("://app:{PASSWORD}@"), 1)
}

#[test]
fn a_good_server_works_with_all_functions_and_keeps_no_key() {
    let server = RedisServer::start();
    let json = doctor(&server.url(), &[], Exit::Good, &["primary, RESP3", "all its functions"]);
    let node = &json["nodes"][0];
    assert_eq!(node["tracked"], true);
    assert!(node["invalidation_ms"].as_f64().is_some() && node["latency_ms"]["median"].is_f64());
    assert_eq!(node["maxmemory_policy"], "noeviction");
    assert_eq!(server.connect().integer(&["DBSIZE"]), 0);
    let socket = format!("redis+unix://{}", server.socket_path().display());
    doctor(&socket, &[], Exit::Good, &["all its functions"]);
}

#[test]
fn a_login_without_scripts_limits_loads_and_writes() {
    let server = RedisServer::start();
    let url = with_login(&server, &["~*", "+@all", "-eval", "-evalsha"]);
    let json = doctor(&url, &[], Exit::Limited, &["limited are: loads, writes"]);
    assert_eq!(json["acl"][1], "ACL SETUSER app +eval +evalsha");
    assert_eq!(json["functions"][0]["works"], true);
}

#[test]
fn a_login_without_tracking_has_no_near_cache() {
    let server = RedisServer::start();
    let url = with_login(&server, &["~*", "+@all", "-client|tracking"]);
    let json = doctor(&url, &[], Exit::Limited, &["limited are: near cache"]);
    assert_eq!(json["acl"][1], "ACL SETUSER app +client|tracking");
    assert_eq!(json["nodes"][0]["tracked"], false);
}

#[test]
fn a_server_without_resp3_has_no_near_cache() {
    let server = RedisServer::start_with(&["--rename-command", "HELLO", ""]);
    let words = ["RESP2 only", "limited are: near cache"];
    doctor(&server.url(), &[], Exit::Limited, &words);
    let url = with_login(&server, &["~*", "+@all"]);
    doctor(&url, &[], Exit::Limited, &words);
    let wrong = url.replace(PASSWORD, "wrong");
    doctor(&wrong, &[], Exit::LoginRefused, &["refuses the login"]);
}

#[test]
fn a_sentinel_is_the_wrong_server_for_a_plain_url_and_finds_the_primary_for_its_own() {
    let group = RedisSentinel::start();
    let first = group.url();
    let first = first.split("://").nth(1).unwrap().split([',', '/']).next().unwrap();
    let url = format!("redis://{first}");
    doctor(&url, &[], Exit::WrongServer, &["the server is a sentinel", "of the Redis server"]);
    let primary = group.server(group.primary()).address().to_string();
    let json = doctor(&group.url(), &[], Exit::Good, &["The primary of the service", &primary]);
    assert!(json["acl"][1].as_str().unwrap().contains("+sentinel|sentinels"));
}

#[test]
fn a_node_of_a_cluster_wants_the_url_of_a_cluster() {
    let cluster = RedisCluster::start();
    let node = cluster.node(cluster.running().next().unwrap()).url();
    doctor(&node, &[], Exit::WrongServer, &["a node of a cluster", "redis-cluster://"]);
    let json = doctor(&cluster.url(), &[], Exit::Good, &["has 3 primaries"]);
    assert_eq!(json["nodes"].as_array().unwrap().len(), 3);
    assert!(json["acl"][0].as_str().unwrap().ends_with("+asking"));
    for number in cluster.running() {
        assert_eq!(cluster.connect(number).integer(&["DBSIZE"]), 0);
    }
}

#[test]
fn a_replica_is_the_wrong_server() {
    let primary = RedisServer::start();
    let port = primary.port().to_string();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
    doctor(&replica.url(), &[], Exit::WrongServer, &["is a replica", "of its primary"]);
}

#[test]
fn a_wrong_or_missing_password_is_told_without_the_password() {
    let server = RedisServer::start_with(&["--requirepass", PASSWORD]);
    let wrong = server.url().replacen("://", "://:hunter2@", 1);
    let json = doctor(&wrong, &[], Exit::LoginRefused, &["refuses the login", "WRONGPASS"]);
    assert!(!json.to_string().contains("hunter2"));
    doctor(&server.url(), &[], Exit::LoginRefused, &["refuses the login", "NOAUTH"]);
    let right = server.url().replacen("://", &format!("://:{PASSWORD}@"), 1);
    doctor(&right, &[], Exit::Good, &["all its functions"]);
    for command in ["inspect", "watch", "bench"] {
        let run = redcache(&[command, &wrong, "k"][..if command == "bench" { 2 } else { 3 }]);
        assert_eq!(run.exit, Exit::LoginRefused, "{run:?}");
        assert!(!run.err.contains("hunter2"), "{run:?}");
    }
}

#[test]
fn a_port_without_a_server_or_with_a_silent_one_is_unreachable() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let more = ["--timeout", "0.1"];
    doctor(&url, &more, Exit::Unreachable, &["no connection to", "the host and the port"]);
    drop(listener);
    let json = doctor(&url, &[], Exit::Unreachable, &["no connection to", "the host and the port"]);
    assert_eq!(json["nodes"].as_array().unwrap().len(), 0);
    let cluster = url.replacen("redis://", "redis-cluster://", 1);
    doctor(&cluster, &[], Exit::Unreachable, &["nodes of the URL"]);
    let sentinel = format!("{}/name", url.replacen("redis://", "redis-sentinel://", 1));
    doctor(&sentinel, &[], Exit::Unreachable, &["Check the sentinels"]);
}

#[test]
fn a_login_for_some_keys_is_examined_with_its_prefix() {
    let server = RedisServer::start();
    let rules: Vec<&str> = redcache_cli::PERMISSIONS.split(' ').collect();
    let url = with_login(&server, &[&["~app:*"][..], &rules].concat());
    doctor(&url, &[], Exit::CommandRefused, &["`SET`", "`--prefix`"]);
    let json = doctor(&url, &["--prefix", "app:"], Exit::Good, &["all its functions"]);
    let line = json["acl"][0].as_str().unwrap();
    assert!(line.contains(" ~app:* ~__redcache:refresh:{app:* "), "{line}");
    let run = redcache(&["bench", &url, "--prefix", "app:", "--calls", "3"]);
    assert_eq!(run.exit, Exit::Good, "{run:?}");
}

#[test]
fn the_doctor_prints_the_permissions_of_the_security_page() {
    let page = include_str!("../../SECURITY.md");
    assert!(page.contains(&format!("~app:* {}\n", redcache_cli::PERMISSIONS)));
}

#[test]
fn a_full_server_that_evicts_nothing_is_told() {
    let server = RedisServer::start_with(&["--maxmemory", "1"]);
    doctor(&server.url(), &[], Exit::CommandRefused, &["`SET`", "OOM", "maxmemory-policy"]);
}

#[test]
fn a_database_that_does_not_exist_is_refused() {
    let server = RedisServer::start_with(&["--databases", "2"]);
    let run = redcache(&["inspect", &format!("{}/7", server.url()), "k"]);
    assert_eq!(run.exit, Exit::CommandRefused);
    assert!(run.err.contains("database 7"), "{run:?}");
    doctor(&format!("{}/7", server.url()), &[], Exit::WrongServer, &["`db` 7"]);
}

#[test]
fn inspect_shows_the_content_and_prints_no_value_unasked() {
    let server = RedisServer::start();
    let url = server.url();
    let inspect = |key: &str, more: &[&str]| {
        let run = redcache(&[&["inspect", &url, key, "--json"][..], more].concat());
        assert_eq!(run.exit, Exit::Good, "{run:?}");
        serde_json::from_str::<Value>(&run.out).unwrap()
    };
    assert_eq!(inspect("k", &[])["content"], "missing");
    server.connect().ok(&["SET", "k", "__redcache:v1:5000000:secret", "PX", "60000"]);
    let shown = inspect("k", &[]);
    assert_eq!((&shown["content"], &shown["length"]), (&"value".into(), &6.into()));
    assert_eq!((&shown["load_ms"], &shown["value"]), (&5.0.into(), &Value::Null));
    assert!((1..=60_000).contains(&shown["ttl_ms"].as_u64().unwrap()));
    assert_eq!(inspect("k", &["--value"])["value"], "secret");
    let run = redcache(&["inspect", &url, "k"]);
    assert!(run.out.contains("6 bytes") && !run.out.contains("secret"), "{run:?}");
    server.connect().ok(&["SET", "k", "__redcache:v1:0:__redcache:not-found"]);
    let shown = inspect("k", &[]);
    assert_eq!((&shown["content"], &shown["ttl_ms"]), (&"not_found".into(), &Value::Null));
    server.connect().integer(&["LPUSH", "list", "a"]);
    let shown = inspect("list", &[]);
    assert_eq!((&shown["content"], &shown["type"]), (&"foreign".into(), &"list".into()));
}

#[test]
fn inspect_tells_the_age_of_a_lock() {
    let server = RedisServer::start();
    let cache = redcache_blocking::connect(server.url()).unwrap();
    let ttl = std::time::Duration::from_secs(60);
    let loaded = cache.get_with("k", ttl, || {
        let run = redcache(&["inspect", &server.url(), "k", "--json"]);
        Ok::<_, io::Error>(run.out)
    });
    let shown: Value = serde_json::from_slice(&loaded.unwrap().value.unwrap()).unwrap();
    assert_eq!((&shown["content"], &shown["acquisition"]), (&"lock".into(), &1.into()));
    let held = shown["held_for_ms"].as_f64().unwrap();
    assert!((0.0..=10_000.0).contains(&held), "{shown}");
    assert!(shown["holder_age_s"].as_f64().unwrap() < 3600.0, "{shown}");
}

#[test]
fn inspect_follows_the_redirects_of_a_cluster() {
    let cluster = RedisCluster::start();
    for key in ["a", "b", "c", "d"] {
        cluster.connect_to_owner(key).ok(&["SET", key, "v"]);
        let run = redcache(&["inspect", &cluster.url(), key]);
        assert_eq!(run.exit, Exit::Good, "{run:?}");
        let owner = cluster.node(cluster.owner(Slot::of(key.as_bytes()))).address().to_string();
        assert!(run.out.contains("a value") && run.out.contains(&owner), "{run:?}");
    }
}

/// Output that another thread reads.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Run `redcache watch` until it has printed `count` changes, which `change` makes.
fn watched(url: &str, prefix: &str, count: &str, change: impl FnOnce()) -> String {
    let out = Shared::default();
    thread::scope(|scope| {
        let mut to = out.clone();
        let arguments = ["watch", url, prefix, "--count", count].map(OsString::from);
        let run = scope.spawn(move || redcache_cli::run(arguments, &mut to, &mut Vec::new()));
        wait_until("it watches", || out.text().contains("watching"));
        change();
        assert_eq!(run.join().unwrap(), Exit::Good);
    });
    out.text()
}

#[test]
fn watch_shows_keys_with_the_prefix_and_flushes() {
    let server = RedisServer::start();
    let text = watched(&server.url(), "user:", "3", || {
        let mut client = server.connect();
        client.set_each(&["other", "v", "user:1", "v", "user:\u{1b}[2J", "v"]);
        client.ok(&["FLUSHALL"]);
    });
    assert!(text.contains(" user:1\n") && text.contains(r"user:\u{1b}[2J"), "{text}");
    assert!(text.contains("all keys") && !text.contains("other"), "{text}");
    let run = redcache(&["watch", &server.url(), "--for", "0.05"]);
    assert_eq!((run.exit, run.out.lines().count()), (Exit::Good, 1));
}

#[test]
fn watch_follows_every_primary_of_a_cluster() {
    let cluster = RedisCluster::start();
    let keys = ["a", "b", "c", "d", "e", "f"];
    let text = watched(&cluster.url(), "", "6", || {
        for key in keys {
            cluster.connect_to_owner(key).ok(&["SET", key, "v"]);
        }
    });
    assert!(keys.iter().all(|key| text.contains(&format!(" {key}\n"))), "{text}");
}

#[test]
fn bench_measures_three_reads_and_leaves_no_key() {
    let server = RedisServer::start();
    let run = redcache(&["bench", &server.url(), "--calls", "20", "--json"]);
    assert_eq!(run.exit, Exit::Good, "{run:?}");
    let lines = run.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let reads: Vec<_> = lines.map(|line| (line["read"].clone(), line["calls"].clone())).collect();
    let expected = ["near_hit", "remote_hit", "cold_miss"].map(|name| (name.into(), 20.into()));
    assert_eq!(reads, expected);
    assert_eq!(server.connect().integer(&["DBSIZE"]), 0);
    let untracked = RedisServer::start_with(&["--rename-command", "HELLO", ""]);
    let run = redcache(&["bench", &untracked.url(), "--calls", "2"]);
    assert!(run.out.contains("near hit    none") && run.out.contains("near cache is off"));
    let group = RedisSentinel::start();
    assert_eq!(redcache(&["bench", &group.url(), "--calls", "2"]).exit, Exit::Good);
}

/// Some servers are built without TLS.
mod tls {
    use super::*;

    #[test]
    fn tls_on_one_side_only_is_told() {
        let server = TlsServer::start("server", false);
        let plain = format!("redis://localhost:{}", server.port());
        doctor(&plain, &[], Exit::Unreachable, &["rediss://"]);
        let json = doctor(&server.url(), &[], Exit::Good, &["all its functions"]);
        assert_eq!(json["tls"], true);
        let encrypted = format!("rediss://localhost:{}", server.server().port());
        doctor(&encrypted, &[], Exit::Unreachable, &["redis://"]);
        let unknown = format!("rediss://localhost:{}", server.port());
        doctor(&unknown, &[], Exit::Unreachable, &["tls_ca"]);
    }

    #[test]
    fn bench_measures_over_tls() {
        let server = TlsServer::start("server", false);
        assert_eq!(redcache(&["bench", &server.url(), "--calls", "2"]).exit, Exit::Good);
    }
}
