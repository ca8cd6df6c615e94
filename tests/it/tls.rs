//! TLS. Each scenario runs on every adapter against its own real server.

use std::time::Instant;

use redcache_core::protocol::Slot;
use redcache_core::{ErrorKind, Source};
use redcache_tests::{RedisCluster, RedisSentinel, TlsServer};

use crate::conformance::cache::Cache;
use crate::conformance::port::Port;
use crate::conformance::scene::{AT_ONCE, TTL, connected, found, wait_until};

with_a_server_of_its_own![
    calls_and_invalidations_pass_through_tls,
    a_client_certificate_is_presented,
    a_large_value_passes_whole,
    a_lost_connection_is_made_again_with_tls,
    a_certificate_that_is_not_accepted_is_explained,
    a_missing_client_certificate_is_explained,
    a_tls_port_is_told_to_a_plain_client,
    a_plain_port_is_told_to_a_tls_client,
    a_tls_port_that_answers_with_an_alert_is_told_at_once,
    a_plain_port_that_answers_is_told_at_once,
    a_sentinel_with_the_other_encryption_is_told,
    certificates_that_cannot_be_read_are_named,
    every_node_of_a_cluster_is_reached_with_mutual_tls,
    a_primary_and_its_sentinels_are_reached_with_mutual_tls,
];

fn calls_and_invalidations_pass_through_tls<C: Cache>() {
    let server = TlsServer::start("server", false);
    let (one, other): (C, C) = (connected(server.url()), connected(server.url()));
    assert!(one.is_tracked());
    assert_eq!(one.get_with("k", TTL, || found("v")).unwrap().source, Source::Loaded);
    assert_eq!(one.get("k").unwrap().source, Source::Near);
    assert_eq!(other.get("k").unwrap().value.as_deref(), Some(&b"v"[..]));
    other.insert("k", "w", TTL).unwrap();
    wait_until("the copy is invalidated", || {
        one.get("k").is_ok_and(|answer| answer.value.as_deref() == Some(b"w"))
    });
    let keys: Vec<_> = (0..500).map(|number| format!("key:{number}")).collect();
    for answer in one.get_many(&keys).unwrap() {
        assert_eq!(answer.unwrap().value, None);
    }
    assert!(server.server().connect().get("k").unwrap().ends_with(b":w"));
}

fn a_client_certificate_is_presented<C: Cache>() {
    let server = TlsServer::start("server", true);
    let cache: C = connected(server.mutual_url());
    cache.insert("k", "v", TTL).unwrap();
    assert_eq!(cache.get("k").unwrap().value.as_deref(), Some(&b"v"[..]));
}

fn a_large_value_passes_whole<C: Cache>() {
    let server = TlsServer::start("server", false);
    let cache: C = connected(server.url());
    let value: Vec<u8> = (0..5_000_000_u32).map(|number| (number * 7 / 3) as u8).collect();
    cache.insert("k", value.clone(), TTL).unwrap();
    let other: C = connected(server.url());
    assert!(other.get("k").unwrap().value.unwrap() == value, "the value has changed on its way");
}

fn a_lost_connection_is_made_again_with_tls<C: Cache>() {
    let server = TlsServer::start("server", false);
    let cache: C = connected(server.url());
    cache.insert("k", "v", TTL).unwrap();
    let mut client = server.server().connect();
    client.integer(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    wait_until("the cache is connected again", || cache.get("k").is_ok() && cache.is_tracked());
}

fn refused<C: Cache>(url: &str, parts: &[&str]) {
    let begun = Instant::now();
    let error = C::connect(url).map(drop).unwrap_err();
    let text = error.to_string();
    assert!(parts.iter().all(|part| text.contains(part)), "{parts:?}: {text}");
    assert!(begun.elapsed() < AT_ONCE, "it took {:?}", begun.elapsed());
}

fn a_certificate_that_is_not_accepted_is_explained<C: Cache>() {
    let server = TlsServer::start("expired", false);
    refused::<C>(&server.url(), &["expired", "renew"]);
    let server = TlsServer::start("elsewhere", false);
    refused::<C>(&server.url(), &["elsewhere.example", "`localhost`", "tls_server_name"]);
    let named = format!("{}&tls_server_name=elsewhere.example", server.url());
    assert!(C::connect(&named).is_ok());
    let unknown = format!("rediss://localhost:{}", server.port());
    refused::<C>(&unknown, &["self-signed", "tls_ca"]);
    let text = C::connect(&unknown).map(drop).unwrap_err().to_string();
    assert!(!text.contains("redis://"), "the server speaks TLS: {text}");
    assert!(C::connect(format!("{unknown}?tls_insecure=true")).is_ok());
}

fn a_missing_client_certificate_is_explained<C: Cache>() {
    let server = TlsServer::start("server", true);
    refused::<C>(&server.url(), &["`tls_cert` and `tls_key`"]);
}

fn a_tls_port_is_told_to_a_plain_client<C: Cache>() {
    let server = TlsServer::start("server", false);
    refused::<C>(&format!("redis://localhost:{}", server.port()), &["rediss://"]);
}

fn a_plain_port_is_told_to_a_tls_client<C: Cache>() {
    let server = TlsServer::start("server", false);
    let port = server.server().port();
    let url = format!("rediss://localhost:{port}/?tls_insecure=true&connect_timeout=500ms");
    refused::<C>(&url, &["redis://"]);
}

fn a_tls_port_that_answers_with_an_alert_is_told_at_once<C: Cache>() {
    let port = Port::that_says(&[0x15, 3, 3, 0, 2, 2, 70]);
    refused::<C>(&port.url(), &["speaks TLS", "`rediss://`"]);
}

fn a_plain_port_that_answers_is_told_at_once<C: Cache>() {
    // The last server hangs up silently.
    for answer in [&b"-ERR unknown command\r\n"[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", b""] {
        let port = Port::that_says(answer);
        let url = port.url().replacen("redis://", "rediss://", 1);
        refused::<C>(&format!("{url}/?tls_insecure=true"), &["without TLS", "redis://"]);
    }
}

fn a_sentinel_with_the_other_encryption_is_told<C: Cache>() {
    // A port that hangs up silently, as a TLS port does.
    let port = Port::that_says(b"");
    let address = port.url().replacen("redis://", "", 1);
    let sentinel = |options| format!("redis-sentinel://{address}/svc?{options}");
    refused::<C>(&sentinel(""), &["sentinel", "rediss-sentinel://", "`sentinel_tls=true`"]);
    let encrypted = sentinel("sentinel_tls=true&tls_insecure=true");
    refused::<C>(&encrypted, &["sentinel", "without TLS", "`sentinel_tls=false`"]);
}

fn every_node_of_a_cluster_is_reached_with_mutual_tls<C: Cache>() {
    let cluster = RedisCluster::start_with_tls();
    let (one, other): (C, C) = (connected(cluster.tls_url()), connected(cluster.tls_url()));
    let keys: Vec<_> = (0..60).map(|number| format!("k{number}")).collect();
    for key in &keys {
        assert_eq!(one.get_with(key, TTL, || found("v")).unwrap().source, Source::Loaded);
        assert_eq!(one.get(key).unwrap().source, Source::Near);
    }
    assert!(one.is_tracked());
    for key in &keys {
        other.insert(key, "w", TTL).unwrap();
    }
    wait_until("every copy is invalidated", || {
        let answers = one.get_many(&keys).unwrap().into_iter();
        answers.map(Result::unwrap).all(|answer| answer.value.as_deref() == Some(b"w"))
    });
    // A redirect names the port for TLS.
    let slot = Slot::of(keys[0].as_bytes());
    let to = (0..3).find(|number| *number != cluster.owner(slot)).unwrap();
    cluster.move_slot(slot, to);
    one.insert(&keys[0], "moved", TTL).unwrap();
    assert!(cluster.connect(to).get(&keys[0]).unwrap().ends_with(b":moved"));
}

fn a_primary_and_its_sentinels_are_reached_with_mutual_tls<C: Cache>() {
    let group = RedisSentinel::start_with_tls();
    let cache: C = connected(format!("{}&heartbeat_interval=1s", group.tls_url()));
    assert!(cache.is_tracked());
    cache.insert("k", "v", TTL).unwrap();
    group.fail_over();
    let mut primary = group.server(group.primary()).connect();
    wait_until("the new primary is followed", || {
        cache.insert("k", "w", TTL).is_ok()
            && primary.get("k").is_some_and(|value| value.ends_with(b":w"))
    });
    // The same sentinels without TLS, in front of servers with TLS.
    let mixed: C = connected(group.mixed_url());
    assert_eq!(mixed.get("k").unwrap().value.as_deref(), Some(&b"w"[..]));
}

fn certificates_that_cannot_be_read_are_named<C: Cache>() {
    for (url, part) in [
        ("rediss://localhost?tls_ca=/nowhere/ca.crt", "`tls_ca`: the file `/nowhere/ca.crt`"),
        ("rediss://localhost?tls_cert=/nowhere/c&tls_key=/nowhere/k", "`tls_cert`"),
    ] {
        let error = C::connect(url).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(part), "{error}");
    }
}
