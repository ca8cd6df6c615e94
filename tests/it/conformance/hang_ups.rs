//! One caller's command on which the server hangs up, while others read.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use redcache_core::{Error, ErrorKind};
use redcache_tests::RedisServer;

use super::cache::Cache;
use super::scene::{LONG_LOCK, TTL, cache_error, connected, found, seen, wait_until};

with_a_server_of_its_own![
    a_reply_beyond_the_output_limit_of_the_server_fails_its_reader_alone,
    a_value_beyond_the_bulk_limit_of_the_server_fails_its_writer_alone,
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
