//! A large upload on a slow line, in the time of the test.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};
use redcache_driver::observer::{DisconnectedEvent, Observer};
use redcache_driver::{Address, Cache, Config, Runtime};
use redcache_sim::server::{self, ClientId, Event, Server};

const TTL: Duration = Duration::from_secs(60);
const HEARTBEAT: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_millis(50);
const LARGE: usize = 4 << 20;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A runtime whose clock the test moves, with pipes to one server.
#[derive(Clone)]
struct Slow {
    world: Arc<Mutex<World>>,
    /// Whether a task was woken or a pipe has moved bytes.
    moved: Arc<Moved>,
}

struct World {
    now: Instant,
    server: Server,
    tasks: Vec<Task>,
    replies: BTreeMap<ClientId, VecDeque<u8>>,
    /// The number of bytes that the line takes before the clock moves.
    room: usize,
}

struct Moved(AtomicBool);

impl Wake for Moved {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Slow {
    fn new() -> Self {
        let now = Instant::now();
        let world = World {
            now,
            server: Server::new(now, server::Config::default()),
            tasks: Vec::new(),
            replies: BTreeMap::new(),
            room: usize::MAX,
        };
        let moved = Arc::new(Moved(AtomicBool::new(false)));
        Self { world: Arc::new(Mutex::new(world)), moved }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Poll the call and every task until none can continue.
    fn settle<T>(&self, call: &mut Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        let waker = Waker::from(Arc::clone(&self.moved));
        let cx = &mut Context::from_waker(&waker);
        loop {
            self.moved.0.store(false, Ordering::Relaxed);
            let mut tasks = std::mem::take(&mut self.world().tasks);
            tasks.retain_mut(|task| task.as_mut().poll(cx).is_pending());
            self.world().tasks.append(&mut tasks);
            if let Poll::Ready(result) = call.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            if !self.moved.0.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
        }
    }

    /// Drive a call on a line that takes everything at once.
    fn run<T>(&self, call: impl Future<Output = T>) -> T {
        let Poll::Ready(result) = self.settle(&mut pin!(call)) else { panic!("it waits") };
        result
    }

    /// Move the clock. The line takes `room` bytes afterwards.
    fn tick(&self, room: usize) {
        let mut world = self.world();
        world.now += TICK;
        world.room = room;
    }
}

impl Runtime for Slow {
    type Reader = Half;
    type Writer = Half;

    async fn connect(&self, _: &Address, _: Duration) -> io::Result<(Half, Half)> {
        let mut world = self.world();
        let now = world.now;
        let client = world.server.connect(now);
        world.replies.insert(client, VecDeque::new());
        Ok((Half(self.clone(), client), Half(self.clone(), client)))
    }

    async fn sleep_until(&self, at: Instant) {
        let is_due = || self.world().now >= at;
        poll_fn(|_| if is_due() { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.world().tasks.push(Box::pin(task));
        Arc::clone(&self.moved).wake();
    }

    fn now(&self) -> Instant {
        self.world().now
    }
}

/// A half of a connection.
struct Half(Slow, ClientId);

impl AsyncRead for Half {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut world = self.0.world();
        let replies = world.replies.get_mut(&self.1).unwrap();
        if replies.is_empty() {
            Poll::Pending
        } else {
            Poll::Ready(io::Read::read(replies, buffer))
        }
    }
}

impl AsyncWrite for Half {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut guard = self.0.world();
        let world = &mut *guard;
        let length = bytes.len().min(world.room);
        if length == 0 {
            return Poll::Pending;
        }
        world.room -= length;
        world.server.handle_bytes(world.now, self.1, &bytes[..length]);
        while let Some(event) = world.server.poll_event() {
            let Event::Transmit { client, bytes } = event else { panic!("the server hangs up") };
            world.replies.get_mut(&client).unwrap().extend(&bytes[..]);
        }
        Arc::clone(&self.0.moved).wake();
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Counts lost connections.
#[derive(Clone, Default)]
struct Lost(Arc<AtomicUsize>);

impl Observer for Lost {
    fn on_disconnected(&self, _: &DisconnectedEvent) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Return a cache that is connected, and its lost connections.
fn connect(runtime: &Slow) -> (Cache, Lost) {
    let lost = Lost::default();
    let config = Config::builder()
        .server("nowhere", 1)
        .heartbeat_interval(HEARTBEAT)
        .command_timeout(TTL)
        .observer(lost.clone())
        .build()
        .unwrap();
    (runtime.run(Cache::connect_on(runtime.clone(), config)).unwrap(), lost)
}

#[test]
fn an_upload_that_takes_longer_than_many_heartbeats_succeeds_on_the_same_connection() {
    let runtime = Slow::new();
    let (cache, lost) = connect(&runtime);
    let mut insert = pin!(cache.insert("k", vec![b'v'; LARGE], TTL));
    let mut took = Duration::ZERO;
    runtime.tick(0);
    let result = loop {
        if let Poll::Ready(result) = runtime.settle(&mut insert) {
            break result;
        }
        runtime.tick(64 << 10);
        took += TICK;
    };
    result.unwrap();
    assert!(took > 20 * HEARTBEAT, "{took:?}");
    assert_eq!(lost.0.load(Ordering::Relaxed), 0);
    assert!(runtime.world().server.value(0, b"k").unwrap().len() > LARGE);
    runtime.tick(usize::MAX);
    runtime.run(cache.close());
}

#[test]
fn an_upload_that_the_line_no_longer_takes_loses_its_connection() {
    let runtime = Slow::new();
    let (cache, lost) = connect(&runtime);
    let mut insert = pin!(cache.insert("k", vec![b'v'; LARGE], TTL));
    runtime.tick(64 << 10);
    let mut took = Duration::ZERO;
    while runtime.settle(&mut insert).is_pending() && lost.0.load(Ordering::Relaxed) == 0 {
        assert!(took < 10 * HEARTBEAT, "the connection is kept");
        runtime.tick(0);
        took += TICK;
    }
    assert_eq!(lost.0.load(Ordering::Relaxed), 1);
}
