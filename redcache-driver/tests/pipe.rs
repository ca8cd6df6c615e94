//! A custom runtime: smol's tasks and timers, with in-memory pipes to a model of Redis instead of
//! sockets.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};
use redcache_driver::{Address, Cache, Config, Runtime, Source, address_of};
use redcache_sim::server::{ClientId, Event, Server};

const TTL: Duration = Duration::from_secs(60);

/// A runtime whose connections are all pipes to one server.
#[derive(Clone)]
struct Piped(Arc<Mutex<World>>);

struct World {
    server: Server,
    pipes: BTreeMap<ClientId, Pipe>,
}

/// Bytes of the server that the client has not read yet.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    reader: Option<Waker>,
}

impl Piped {
    fn new() -> Self {
        let server = Server::new(Instant::now(), redcache_sim::server::Config::default());
        Self(Arc::new(Mutex::new(World { server, pipes: BTreeMap::new() })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut_all(&self) {
        let mut world = self.world();
        let pipes = std::mem::take(&mut world.pipes);
        for (client, pipe) in pipes {
            world.server.disconnect(client);
            pipe.reader.into_iter().for_each(Waker::wake);
        }
    }
}

impl World {
    /// Move the server's output into the pipes.
    fn settle(&mut self) {
        while let Some(event) = self.server.poll_event() {
            match event {
                Event::Transmit { client, bytes } => {
                    if let Some(pipe) = self.pipes.get_mut(&client) {
                        pipe.bytes.extend(&bytes[..]);
                        pipe.reader.take().into_iter().for_each(Waker::wake);
                    }
                }
                Event::HangUp { client } => {
                    let pipe = self.pipes.remove(&client);
                    pipe.and_then(|pipe| pipe.reader).into_iter().for_each(Waker::wake);
                }
            }
        }
    }
}

impl Runtime for Piped {
    type Reader = Reader;
    type Writer = Writer;

    async fn connect(&self, _: &Address, _: Duration) -> io::Result<(Reader, Writer)> {
        let mut world = self.world();
        let client = world.server.connect(Instant::now());
        world.pipes.insert(client, Pipe::default());
        world.settle();
        drop(world);
        Ok((Reader(self.clone(), client), Writer(self.clone(), client)))
    }

    async fn sleep_until(&self, at: Instant) {
        smol::Timer::at(at).await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(task).detach();
    }
}

struct Reader(Piped, ClientId);

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut world = self.0.world();
        // A dropped pipe reads as closed.
        let Some(pipe) = world.pipes.get_mut(&self.1) else { return Poll::Ready(Ok(0)) };
        if pipe.bytes.is_empty() {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = pipe.bytes.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(pipe.bytes.drain(..length)) {
            *to = from;
        }
        Poll::Ready(Ok(length))
    }
}

struct Writer(Piped, ClientId);

impl AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut world = self.0.world();
        if !world.pipes.contains_key(&self.1) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        world.server.handle_bytes(Instant::now(), self.1, bytes);
        world.settle();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut world = self.0.world();
        if world.pipes.remove(&self.1).is_some() {
            world.server.disconnect(self.1);
            world.settle();
        }
    }
}

fn open(runtime: &Piped) -> Cache {
    // This transport ignores the address.
    let config = Config::builder().server("nowhere", 1).build().expect("the settings are right");
    Cache::connect_lazy_on(runtime.clone(), config).expect("the system is able")
}

async fn source_of(cache: &Cache, key: &str) -> Source {
    let load = || async { Ok::<_, io::Error>("v") };
    cache.get_with(key, TTL, load).await.expect("the call succeeds").source
}

/// Let other tasks run until `is_so` returns `true`, for a bounded time.
async fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let given_up_at = Instant::now() + Duration::from_secs(15);
    while !is_so() {
        assert!(Instant::now() < given_up_at, "not in time: {what}");
        smol::Timer::after(Duration::from_micros(200)).await;
    }
}

#[test]
fn two_caches_share_a_server_without_any_socket() {
    smol::block_on(async {
        let runtime = Piped::new();
        let (one, other) = (open(&runtime), open(&runtime));
        one.ready().await.unwrap();
        assert_eq!(source_of(&one, "k").await, Source::Loaded);
        assert_eq!(source_of(&one, "k").await, Source::Near);
        assert_eq!(source_of(&other, "k").await, Source::Redis);
        assert_eq!(source_of(&other, "k").await, Source::Near);
        assert!(one.remove("k").await.unwrap());
        wait_until("the push arrives", || other.stats().invalidations == 1).await;
        assert_eq!(source_of(&other, "k").await, Source::Loaded);
        one.close().await;
        other.close().await;
        assert_eq!(runtime.world().server.clients().count(), 0);
    });
}

/// A runtime with a name of two addresses. The first accepts connections and is silent.
#[derive(Clone)]
struct Named(Piped);

impl Runtime for Named {
    type Reader = Box<dyn AsyncRead + Send + Unpin>;
    type Writer = Box<dyn AsyncWrite + Send + Unpin>;

    async fn resolve(&self, _: &Address) -> io::Result<Vec<Address>> {
        Ok(["192.0.2.1:1", "192.0.2.2:1"]
            .map(|it| address_of(it.parse().expect("an address")))
            .into())
    }

    async fn connect(
        &self,
        address: &Address,
        timeout: Duration,
    ) -> io::Result<(Self::Reader, Self::Writer)> {
        if address.to_string() == "192.0.2.1:1" {
            return Ok((Box::new(Silent), Box::new(Silent)));
        }
        let (reader, writer) = self.0.connect(address, timeout).await?;
        Ok((Box::new(reader), Box::new(writer)))
    }

    async fn sleep_until(&self, at: Instant) {
        self.0.sleep_until(at).await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }
}

struct Silent;

impl AsyncRead for Silent {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }
}

impl AsyncWrite for Silent {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn the_second_address_of_a_name_serves_if_the_first_accepts_and_is_silent() {
    smol::block_on(async {
        let config =
            Config::builder().server("name", 1).connect_timeout(Duration::from_millis(100));
        let runtime = Piped::new();
        let cache = Cache::connect_on(Named(runtime.clone()), config).await.unwrap();
        assert_eq!(source_of(&cache, "k").await, Source::Loaded);
        runtime.cut_all();
        wait_until("it is connected again", || cache.stats().connections == 2).await;
        assert_eq!(source_of(&cache, "k").await, Source::Redis);
        cache.close().await;
    });
}

#[test]
fn a_pipe_that_breaks_is_replaced() {
    smol::block_on(async {
        let runtime = Piped::new();
        let cache = open(&runtime);
        assert_eq!(source_of(&cache, "k").await, Source::Loaded);
        runtime.cut_all();
        wait_until("it is connected again", || cache.stats().connections == 2).await;
        assert_eq!(source_of(&cache, "k").await, Source::Redis);
        cache.close().await;
    });
}
