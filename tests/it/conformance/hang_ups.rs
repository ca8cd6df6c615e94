//! One caller's command on which the server hangs up, while others read.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use redcache_core::{Error, ErrorKind};
use redcache_tests::RedisServer;

use super::cache::Cache;
use super::scene::{LONG_LOCK, TTL, cache_error, connected, found, seen, wait_until};

with_a_server_of_its_own![
    a_reply_beyond_the_output_limit_of_the_server_fails_its_reader_alone,
    a_value_beyond_the_bulk_limit_of_the_server_fails_its_writer_alone,
    replies_beyond_the_output_limit_together_are_read_after_a_few_hang_ups,
    a_proxy_that_hangs_up_at_scripts_costs_a_few_connections,
];

/// The number of callers that read other keys.
const NEIGHBOURS: usize = 8;
/// The number of reads of each caller while nothing else is in flight.
const READS: usize = 20;

/// Connect a cache to a server with this setting, and without a near cache.
fn cache_of<C: Cache>(server: &RedisServer, setting: &[&str]) -> C {
    let mut raw = server.connect();
    raw.ok(&[&["CONFIG", "SET"], setting].concat());
    (0..NEIGHBOURS).for_each(|number| raw.ok(&["SET", &number.to_string(), "v"]));
    let options = "&near_cache_bytes=0&command_timeout=60s&reconnect_delay_max=50ms";
    connected(server.url() + LONG_LOCK + options)
}

/// Run `act` while others read their keys. No read of theirs may fail.
fn beside_readers<C: Cache>(cache: &C, act: impl FnOnce()) {
    let (is_over, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for number in 0..NEIGHBOURS {
            let (is_over, reads) = (&is_over, &reads);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(seen(cache.get(number.to_string())), "v from redis");
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let begun = || reads.load(Ordering::Relaxed) >= NEIGHBOURS * READS;
        wait_until("the neighbours read", begun);
        act();
        reads.store(0, Ordering::Relaxed);
        wait_until("the neighbours still read", begun);
        is_over.store(true, Ordering::Relaxed);
    });
}

fn is_of_a_hang_up(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::OutcomeUnknown | ErrorKind::Unavailable)
        && error.to_string().contains("hung up")
}

fn a_reply_beyond_the_output_limit_of_the_server_fails_its_reader_alone<C: Cache>() {
    let server = RedisServer::start();
    // Valkey 9 writes large values without a copy in the output, unless this setting is 0. Other
    // servers do not have it.
    server.connect().call(&["CONFIG", "SET", "min-string-size-avoid-copy-reply", "0"]);
    let limit = ["client-output-buffer-limit", "normal 1mb 0 0"];
    let cache = cache_of::<C>(&server, &limit);
    server.connect().ok(&["SET", "large", &"x".repeat(4 << 20)]);
    beside_readers(&cache, || {
        for _ in 0..3 {
            let error = cache_error(cache.get("large"));
            assert!(is_of_a_hang_up(&error), "{error}");
        }
        assert!(cache.remove("large").unwrap());
    });
    wait_until("the key is read again", || cache.get("large").is_ok());
}

fn a_value_beyond_the_bulk_limit_of_the_server_fails_its_writer_alone<C: Cache>() {
    let server = RedisServer::start();
    let cache = cache_of::<C>(&server, &["proto-max-bulk-len", "1mb"]);
    let large = "x".repeat(2 << 20);
    beside_readers(&cache, || {
        let answer = cache.get_with("large", TTL, || found(&large)).unwrap();
        assert_eq!(answer.value.unwrap().len(), large.len());
        assert!(cache.insert("large", large.clone(), TTL).is_err());
    });
    assert_eq!(server.connect().get("large"), None);
    assert_eq!(seen(cache.get_with("small", TTL, || found("v"))), "v from loaded");
}

fn replies_beyond_the_output_limit_together_are_read_after_a_few_hang_ups<C: Cache>() {
    let server = RedisServer::start();
    server.connect().call(&["CONFIG", "SET", "min-string-size-avoid-copy-reply", "0"]);
    let cache = cache_of::<C>(&server, &["client-output-buffer-limit", "normal 1mb 0 0"]);
    let keys: Vec<_> = (0..40).map(|number| format!("large{number}")).collect();
    let mut raw = server.connect();
    keys.iter().for_each(|key| raw.ok(&["SET", key, &"x".repeat(100_000)]));
    let read = || {
        let answers = cache.get_many(&keys).unwrap().into_iter();
        answers.filter(|answer| answer.as_ref().is_ok_and(|it| it.value.is_some())).count()
    };
    wait_until("all are read", || read() == keys.len());
    let connections = cache.stats().connections;
    (0..20).for_each(|_| assert_eq!(read(), keys.len()));
    // The expected length of the first replies is unknown.
    assert!(cache.stats().connections <= connections + 1);
}

/// Forward bytes to a server. Return the address. A connection ends at the first script.
fn without_scripts(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut upstream) = (client.unwrap(), TcpStream::connect(server).unwrap());
            let (mut to_client, mut replies) =
                (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            thread::spawn(move || io::copy(&mut replies, &mut to_client));
            thread::spawn(move || {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(count @ 1..) = client.read(&mut buffer) {
                    let bytes = &buffer[..count];
                    if bytes.windows(4).any(|word| word == b"EVAL")
                        || upstream.write_all(bytes).is_err()
                    {
                        break;
                    }
                }
                let _ = client.shutdown(Shutdown::Both);
                let _ = upstream.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

fn a_proxy_that_hangs_up_at_scripts_costs_a_few_connections<C: Cache>() {
    let server = RedisServer::start();
    // These servers have native commands for locks.
    if server.is_valkey() || server.connect().call(&["DELEX", "k"]).starts_with(b":") {
        return;
    }
    let proxy = without_scripts(server.address());
    let options = "&near_cache_bytes=0&command_timeout=60s&reconnect_delay_max=50ms";
    let cache: C = connected(format!("redis://{proxy}{LONG_LOCK}{options}"));
    for number in 0..20 {
        let answer = cache.get_with(format!("k{number}"), TTL, || found("v"));
        assert_eq!(seen(answer), "v from loaded");
        assert_eq!(seen(cache.get("other")), "nothing from redis");
    }
    let error = cache_error(cache.touch("k0", TTL));
    assert!(error.to_string().contains("`EVAL`"), "{error}");
    assert!(cache.stats().connections <= 12, "{:?}", cache.stats());
    wait_until("no lock is left", || server.connect().get("k0").is_none());
}
