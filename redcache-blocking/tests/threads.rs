//! Every thread ends. This is a binary of its own, with one test at a time, because it counts the
//! threads of its process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use redcache_blocking::observer::{ConnectFailedEvent, Observer};
use redcache_blocking::{Config, connect, connect_lazy};
use redcache_sim::listen::EmbeddedServer;

/// The time limit of each step, far above its usual duration: the kernel repeats an attempt to
/// connect after a second.
const SOON: Duration = Duration::from_secs(10);

fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Return the names of the threads that caches run in this process, in alphabetical order.
fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    // A thread may end while the list is read.
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let names = names.map(|name| name.trim_end().to_owned());
    let mut names: Vec<_> = names
        .filter(|name| name.starts_with("redcache-") && !name.starts_with("redcache-sim"))
        .collect();
    names.sort();
    names
}

fn await_end() {
    let given_up_at = Instant::now() + SOON;
    while !threads().is_empty() {
        assert!(Instant::now() < given_up_at, "still there: {:?}", threads());
        thread::yield_now();
    }
}

#[test]
fn a_cache_runs_three_threads_and_they_end_with_its_last_handle() {
    let _one = one_at_a_time();
    let server = EmbeddedServer::start().unwrap();
    let cache = connect(server.url()).unwrap();
    let other = cache.clone();
    drop(cache);
    other.get("k").unwrap();
    // A thread has the name of the thread that started it until it runs.
    let given_up_at = Instant::now() + SOON;
    while threads() != ["redcache-reader", "redcache-timer", "redcache-writer"] {
        assert!(Instant::now() < given_up_at, "{:?}", threads());
        thread::yield_now();
    }
    drop(other);
    await_end();
}

#[test]
fn threads_of_lost_connections_end_while_the_cache_lives_on() {
    let _one = one_at_a_time();
    let server = EmbeddedServer::start().unwrap();
    let cache = connect(server.url()).unwrap();
    for _ in 0..3 {
        server.with(|server| server.restart(Instant::now(), true));
    }
    let given_up_at = Instant::now() + SOON;
    while cache.stats().connections < 2 || threads().len() != 3 {
        assert!(Instant::now() < given_up_at, "{:?}", threads());
        thread::yield_now();
    }
    cache.close();
    await_end();
}

#[test]
fn threads_end_although_the_server_does_not_read_what_is_being_written() {
    let _one = one_at_a_time();
    let server = EmbeddedServer::start().unwrap();
    let config = Config::builder().server("127.0.0.1", server.address().port());
    let cache = connect(config.command_timeout(Duration::from_millis(50))).unwrap();
    server.with(|_| {
        cache.insert("large", vec![0; 48 << 20], SOON).unwrap_err();
        drop(cache);
        await_end();
    });
}

#[test]
fn threads_end_although_nobody_answers_the_attempt_to_connect() {
    let _one = one_at_a_time();
    let (silent, waiting) = black_hole();
    let config = Config::builder().server("127.0.0.1", silent.local_addr().unwrap().port());
    let config = config.connect_timeout(Duration::from_secs(3600));
    let cache = connect_lazy(config.build().unwrap()).unwrap();
    while !threads().iter().any(|name| name == "redcache-reader") {
        thread::yield_now();
    }
    let began = Instant::now();
    cache.close();
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    // The kernel repeats the attempts, which succeed after the cache is closed.
    for _ in waiting {
        silent.accept().unwrap();
    }
    await_end();
}

#[test]
fn attempts_to_connect_that_nobody_answers_do_not_pile_up() {
    let _one = one_at_a_time();
    let (silent, _waiting) = black_hole();
    let config = Config::builder().server("127.0.0.1", silent.local_addr().unwrap().port());
    let config = config.connect_timeout(Duration::from_millis(50));
    let config = config.reconnect_delay_max(Duration::from_millis(1));
    let (failures, failed) = mpsc::channel();
    let cache = connect_lazy(config.observer(Failures(Mutex::new(failures)))).unwrap();
    for _ in 0..6 {
        let reason = failed.recv_timeout(SOON).unwrap();
        assert!(reason.contains("`connect_timeout`"), "{reason}");
        // The attempt that was given up may still be ending.
        assert!(threads().len() <= 1 + 2, "{:?}", threads());
    }
    drop(cache);
    await_end();
}

struct Failures(Mutex<mpsc::Sender<String>>);

impl Observer for Failures {
    fn on_connect_failed(&self, event: &ConnectFailedEvent) {
        // The test may be over.
        let _ = self.0.lock().unwrap().send(event.reason.to_string());
    }
}

/// Return a listener whose queue is full, so that the kernel drops further attempts to connect
/// silently.
fn black_hole() -> (TcpListener, Vec<TcpStream>) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        waiting.push(stream);
    }
    (silent, waiting)
}
