//! Servers that disappear, stop reading or never answer, and observers that call the cache.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::cell::Cell;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use redcache_blocking::observer::{
    AnswerEvent, ConnectFailedEvent, ConnectedEvent, DisconnectedEvent, InvalidationEvent,
    Observer, RoundTripEvent,
};
use redcache_blocking::{
    Cache, Config, Credentials, Error, ErrorKind, LoginRequest, connect, connect_lazy,
};
use redcache_sim::listen::EmbeddedServer;

const TTL: Duration = Duration::from_secs(60);
/// The time limit of each step, far above its usual duration.
const SOON: Duration = Duration::from_secs(5);

fn kind<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// An observer that sends the connection events over a channel.
struct Events(Mutex<mpsc::Sender<Event>>);

#[derive(Debug)]
enum Event {
    Connected,
    Disconnected,
    ConnectFailed(Error),
}

impl Events {
    fn new() -> (Self, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel();
        (Self(Mutex::new(sender)), receiver)
    }

    fn send(&self, event: Event) {
        // The test may be over.
        let _ = self.0.lock().unwrap().send(event);
    }
}

impl Observer for Events {
    fn on_connected(&self, _: &ConnectedEvent) {
        self.send(Event::Connected);
    }

    fn on_disconnected(&self, _: &DisconnectedEvent) {
        self.send(Event::Disconnected);
    }

    fn on_connect_failed(&self, event: &ConnectFailedEvent) {
        self.send(Event::ConnectFailed(event.reason.clone()));
    }
}

#[test]
fn a_restarted_server_is_found_again_and_nothing_old_is_near() {
    let server = EmbeddedServer::start().unwrap();
    let (observer, events) = Events::new();
    let config = Config::from_url(&server.url()).unwrap().into_builder();
    let cache = connect(config.observer(observer)).unwrap();
    assert!(matches!(events.recv_timeout(SOON).unwrap(), Event::Connected));
    cache.insert("k", "v", TTL).unwrap();
    assert!(cache.get("k").unwrap().value.is_some());
    server.with(|server| server.restart(Instant::now(), false));
    assert!(matches!(events.recv_timeout(SOON).unwrap(), Event::Disconnected));
    assert_eq!(cache.get("k").unwrap().value, None);
    cache.insert("k", "v2", TTL).unwrap();
    assert_eq!(cache.get("k").unwrap().value.unwrap(), "v2");
    assert_eq!(cache.stats().connections, 2);
}

#[test]
fn a_refused_connection_fails_connect_at_once_and_calls_by_their_deadline() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config =
        Config::builder().server("127.0.0.1", port).command_timeout(Duration::from_millis(50));
    assert_eq!(kind(connect(config.clone())), ErrorKind::Unavailable);
    let cache = connect_lazy(config.build().unwrap()).unwrap();
    assert_eq!(kind(cache.get("k")), ErrorKind::Unavailable);
    assert_eq!(kind(cache.ready()), ErrorKind::Unavailable);
}

#[test]
fn a_wrong_setting_is_refused_by_name() {
    let error = connect("redis://localhost/?lock_ttl=1ms").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("lock_ttl"), "{error}");
}

#[test]
fn a_server_that_stops_reading_delays_no_call_beyond_its_deadline() {
    let server = EmbeddedServer::start().unwrap();
    let config = Config::builder().server("127.0.0.1", server.address().port());
    let cache = connect(config.command_timeout(Duration::from_millis(100))).unwrap();
    // Wait until the connection is idle, so that the caller would write.
    (0..20).for_each(|_| drop(cache.get("k").unwrap()));
    let began = Instant::now();
    server.with(|_| {
        // The server does not read, and no kernel buffers this many bytes.
        assert_eq!(kind(cache.insert("large", vec![0; 48 << 20], TTL)), ErrorKind::Timeout);
        thread::scope(|scope| {
            for caller in [(); 8].map(|()| scope.spawn(|| cache.get("k"))) {
                assert_eq!(kind(caller.join().unwrap()), ErrorKind::Timeout);
            }
        });
        cache.close();
    });
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn a_server_that_stops_reading_delays_no_call_that_fills_the_last_buffer() {
    let server = EmbeddedServer::start().unwrap();
    let config = Config::builder().server("127.0.0.1", server.address().port());
    let config = config.command_timeout(Duration::from_millis(20)).breaker_failures(0);
    let cache = connect(config).unwrap();
    let began = Instant::now();
    let longest = server.with(|_| {
        // Together the values exceed the kernel's buffers; each is small enough for a caller to
        // write it.
        let insert = || {
            let began = Instant::now();
            assert_eq!(kind(cache.insert("k", vec![0; 15 << 10], TTL)), ErrorKind::Timeout);
            began.elapsed()
        };
        thread::scope(|scope| {
            let inserts = || (0..16).map(|_| insert()).max().unwrap();
            let callers = [(); 64].map(|()| scope.spawn(inserts));
            callers.map(|caller| caller.join().unwrap()).into_iter().max().unwrap()
        })
    });
    assert!(longest < SOON, "{longest:?} of {:?}", began.elapsed());
}

#[test]
fn attempts_to_connect_go_on_however_many_have_failed() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config =
        Config::builder().server("127.0.0.1", port).reconnect_delay_max(Duration::from_millis(1));
    let (observer, events) = Events::new();
    let _cache = connect_lazy(config.observer(observer)).unwrap();
    for _ in 0..8 {
        let Ok(Event::ConnectFailed(reason)) = events.recv_timeout(SOON) else { panic!() };
        assert!(reason.to_string().contains("refused"), "{reason}");
    }
}

#[test]
fn a_peer_that_never_answers_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let config =
        Config::builder().server("127.0.0.1", port).connect_timeout(Duration::from_millis(50));
    let began = Instant::now();
    assert_eq!(kind(connect(config)), ErrorKind::Unavailable);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn an_observer_may_close_the_cache() {
    struct Closes(Arc<OnceLock<Cache>>);
    impl Observer for Closes {
        fn on_answer(&self, _: &AnswerEvent) {
            self.0.get().unwrap().close();
        }
    }
    // A caller polls the connection for some of these replies, and the reader thread for others.
    for busy_poll in ["0ms", "10ms"].into_iter().cycle().take(20) {
        let server = EmbeddedServer::start().unwrap();
        let slot = Arc::new(OnceLock::new());
        let url = format!("{}?busy_poll={busy_poll}", server.url());
        let config = Config::from_url(&url).unwrap().into_builder();
        let cache = connect(config.observer(Closes(Arc::clone(&slot)))).unwrap();
        slot.set(cache.clone()).unwrap();
        cache.get_with("k", TTL, || Ok::<_, Error>("v")).unwrap();
        cache.close();
        assert_eq!(kind(cache.get("other")), ErrorKind::Closed);
    }
}

/// An observer whose events each make one call, and send its result.
struct Calls {
    cache: Arc<OnceLock<Cache>>,
    results: Mutex<mpsc::Sender<Result<bool, ErrorKind>>>,
}

impl Calls {
    fn call(&self) {
        thread_local! { static IS_CALLING: Cell<bool> = const { Cell::new(false) } }
        // The call has events of its own.
        let Some(cache) = self.cache.get().filter(|_| !IS_CALLING.replace(true)) else { return };
        let result = cache.remove("other").map_err(|error| error.kind());
        IS_CALLING.set(false);
        // The test may be over.
        let _ = self.results.lock().unwrap().send(result);
    }
}

impl Observer for Calls {
    fn on_round_trip(&self, _: &RoundTripEvent) {
        self.call();
    }

    fn on_invalidation(&self, _: &InvalidationEvent) {
        self.call();
    }
}

#[test]
fn a_call_of_an_observer_ends_also_on_the_thread_that_reads() {
    let server = EmbeddedServer::start().unwrap();
    let (results, calls) = mpsc::channel();
    let slot = Arc::new(OnceLock::new());
    let observer = Calls { cache: Arc::clone(&slot), results: Mutex::new(results) };
    // Only the time limit of the test ends a call that waits for itself.
    let url = format!("{}?command_timeout=1h&busy_poll=0ms", server.url());
    let cache = connect(Config::from_url(&url).unwrap().into_builder().observer(observer)).unwrap();
    assert_eq!(cache.get("k").unwrap().value, None);
    slot.set(cache.clone()).unwrap();
    // The reader thread sees the reply, so the observer runs there.
    assert_eq!(cache.get_with("k", TTL, || Ok::<_, Error>("v")).unwrap().value, Some("v".into()));
    assert_eq!(calls.recv_timeout(SOON), Ok(Err(ErrorKind::InvalidInput)));
    cache.close();
}

#[test]
fn a_call_of_an_observer_on_the_thread_of_a_caller_is_answered() {
    let server = EmbeddedServer::start().unwrap();
    let (results, calls) = mpsc::channel();
    let slot = Arc::new(OnceLock::new());
    let observer = Calls { cache: Arc::clone(&slot), results: Mutex::new(results) };
    let url = format!("{}?command_timeout=1h&busy_poll=10ms", server.url());
    let cache = connect(Config::from_url(&url).unwrap().into_builder().observer(observer)).unwrap();
    slot.set(cache.clone()).unwrap();
    // The caller reads most of the replies itself.
    let is_answered = |_: &usize| {
        cache.get("k").unwrap();
        calls.try_iter().any(|result| result == Ok(false))
    };
    assert!((0..1_000_000).any(|turn| is_answered(&turn)));
    cache.close();
}

/// An error of a credentials provider whose text panics.
#[derive(Debug)]
struct Panicking;

impl std::fmt::Display for Panicking {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("as the test wants it")
    }
}

impl std::error::Error for Panicking {}

#[test]
fn a_provider_whose_errors_panic_is_asked_again() {
    let server = EmbeddedServer::start().unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let provider = {
        let asked = Arc::clone(&asked);
        move |_: LoginRequest| match asked.fetch_add(1, Ordering::Relaxed) {
            0..20 => Err(Panicking.into()),
            _ => Ok(Credentials::password("p")),
        }
    };
    let address = server.address();
    let config = Config::builder().server(address.ip().to_string(), address.port());
    let config = config.reconnect_delay_max(Duration::from_millis(1));
    let cache = connect_lazy(config.blocking_credentials_provider(provider)).unwrap();
    let end = Instant::now() + 10 * SOON;
    while asked.load(Ordering::Relaxed) <= 20 && Instant::now() < end {
        thread::yield_now();
    }
    assert!(asked.load(Ordering::Relaxed) > 20, "asked {asked:?} times");
    drop(cache);
}
