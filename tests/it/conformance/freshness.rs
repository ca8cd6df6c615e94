//! The freshness of answers: none is older than its limit, even while the server goes silent.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use redcache_core::{Answer, CallOptions, Source};
use redcache_tests::{Direction, Proxy, Raw};

use super::cache::Cache;
use super::scene::{connected, seen, wait_until};
use super::server::Server;

on_every_adapter![
    no_read_is_older_than_the_limit_of_the_cache_while_the_server_goes_silent,
    no_read_is_older_than_the_limit_of_the_cache_while_the_server_forgets_tracked_keys,
    a_call_with_a_limit_reads_what_an_entry_cannot_promise,
];

const LIMIT: Duration = Duration::from_millis(50);

/// The variable with the number of reads of the long version. Without it, the short version runs.
const READS: &str = "REDCACHE_FRESHNESS_READS";

/// The silences of the short version.
const SILENCES: u64 = 5;

/// The versions of one key. Version `n` was replaced at the latest when the write of `n + 1`
/// returned.
#[derive(Default)]
struct Versions(Mutex<Vec<Instant>>);

impl Versions {
    /// Return the least time for which an answer had already been replaced at `at`; zero if it had
    /// not.
    fn staleness(&self, answer: &Answer, at: Instant) -> Duration {
        let text = String::from_utf8(answer.value.as_ref().unwrap().to_vec()).unwrap();
        let replaced_at = self.0.lock().unwrap().get(text.parse::<usize>().unwrap() + 1).copied();
        replaced_at.map_or(Duration::ZERO, |replaced_at| at.saturating_duration_since(replaced_at))
    }
}

/// Silence the server towards the cache after each write, until a read has been sent to it.
///
/// The limit holds when a call looks the key up, so the answer is compared with the time at which
/// the call was made. The call itself measures the delay that a starved thread adds.
#[expect(clippy::print_stdout, reason = "a run reports its figures")]
fn no_read_is_older_than_the_limit_of_the_cache_while_the_server_goes_silent<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(format!("{}?near_staleness_max=50ms", proxy.url()));
    let reads_min: u64 = std::env::var(READS).map_or(0, |text| text.parse().unwrap());
    let (versions, is_over) = (Versions::default(), AtomicBool::new(false));
    let (reads, hits, silences) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicU64::new(0));
    let mut raw = server.connect();
    raw.ok(&["SET", "k", "0"]);
    versions.0.lock().unwrap().push(Instant::now());
    let (stalest, delay) = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut stalest, mut delay) = (Duration::ZERO, Duration::ZERO);
            while !is_over.load(Ordering::SeqCst) {
                let asked_at = Instant::now();
                let answer = cache.get("k").unwrap();
                delay = delay.max(asked_at.elapsed());
                let staleness = versions.staleness(&answer, asked_at);
                assert!(staleness <= LIMIT, "{} is {staleness:?} old", seen(Ok::<_, ()>(answer)));
                stalest = stalest.max(staleness);
                hits.fetch_add(usize::from(answer.source == Source::Near), Ordering::SeqCst);
                reads.fetch_add(1, Ordering::SeqCst);
            }
            (stalest, delay)
        });
        let is_reading = || !reader.is_finished();
        let sent = || proxy.commands().iter().filter(|command| command[0] == b"GET").count();
        while is_reading()
            && (silences.load(Ordering::SeqCst) < SILENCES
                || (reads.load(Ordering::SeqCst) as u64) < reads_min)
        {
            let before = hits.load(Ordering::SeqCst);
            let is_hit = || hits.load(Ordering::SeqCst) > before || !is_reading();
            wait_until("the new version is a hit", is_hit);
            proxy.clear();
            proxy.hold(Direction::ToClient);
            let version = versions.0.lock().unwrap().len().to_string();
            raw.ok(&["SET", "k", &version]);
            versions.0.lock().unwrap().push(Instant::now());
            wait_until("a read is sent to the server", || sent() > 0 || !is_reading());
            proxy.release(Direction::ToClient);
            silences.fetch_add(1, Ordering::SeqCst);
        }
        is_over.store(true, Ordering::SeqCst);
        reader.join().unwrap()
    });
    println!(
        "{} reads, {} near, {} silences: at most {stalest:?} old when asked for; a call took at \
         most {delay:?}",
        reads.load(Ordering::SeqCst),
        hits.load(Ordering::SeqCst),
        silences.load(Ordering::SeqCst),
    );
}

/// Read keys in turn, twice each, while the server tracks fewer keys than there are: each read of
/// another key ends an entry.
fn no_read_is_older_than_the_limit_of_the_cache_while_the_server_forgets_tracked_keys<C: Cache>() {
    const KEYS: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];
    const WRITES: usize = 200;
    let server = Server::start();
    let mut raw = server.connect();
    raw.ok(&["CONFIG", "SET", "tracking-table-max-keys", "2"]);
    let cache = connected::<C>(format!("{}?near_staleness_max=50ms", server.url()));
    let versions = KEYS.map(|_| Versions::default());
    let write = |raw: &mut Raw, number: usize| {
        let mut written = versions[number].0.lock().unwrap();
        raw.ok(&["SET", KEYS[number], &written.len().to_string()]);
        written.push(Instant::now());
    };
    (0..KEYS.len()).for_each(|number| write(&mut raw, number));
    let (is_over, far) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for number in (0..KEYS.len()).flat_map(|number| [number; 2]).cycle() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let asked_at = Instant::now();
                let answer = cache.get(KEYS[number]).unwrap();
                let staleness = versions[number].staleness(&answer, asked_at);
                assert!(staleness <= LIMIT, "{} is {staleness:?} old", seen(Ok::<_, ()>(answer)));
                far.fetch_add(usize::from(answer.source == Source::Redis), Ordering::SeqCst);
            }
        });
        for number in (0..KEYS.len()).cycle().take(WRITES) {
            let before = far.load(Ordering::SeqCst);
            write(&mut raw, number);
            // The write ends one entry.
            let is_forgotten = || far.load(Ordering::SeqCst) > before + 1;
            wait_until("an entry ends without a write", || is_forgotten() || reader.is_finished());
        }
        is_over.store(true, Ordering::SeqCst);
        reader.join().unwrap();
    });
    for (number, key) in KEYS.into_iter().enumerate() {
        let last = versions[number].0.lock().unwrap().len() - 1;
        wait_until("the last version is read", || {
            seen(cache.get(key)).starts_with(&format!("{last} from"))
        });
    }
}

fn a_call_with_a_limit_reads_what_an_entry_cannot_promise<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url());
    let mut raw = server.connect();
    raw.ok(&["SET", "k", "old"]);
    wait_until("an entry", || seen(cache.get("k")) == "old from near");
    let within = |max| cache.with_options(CallOptions::new().max_staleness(max));
    assert_eq!(seen(within(Duration::MAX).get("k")), "old from near");
    proxy.hold(Direction::ToClient);
    raw.ok(&["SET", "k", "new"]);
    assert_eq!(seen(cache.get("k")), "old from near");
    thread::scope(|scope| {
        let newest = scope.spawn(|| cache_of(&within(Duration::ZERO)));
        wait_until("the read is sent", || proxy.queued(Direction::ToClient) > 0);
        proxy.release(Direction::ToClient);
        assert_eq!(newest.join().unwrap(), "new from redis");
    });
}

fn cache_of<C: Cache>(cache: &C) -> String {
    seen(cache.get("k"))
}
