//! A runtime of the checker's tasks, on which every connection is a pipe to a model of Redis that
//! runs as one more task.

use std::collections::{BTreeMap, VecDeque};
use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};
use redcache_core::Address;
use redcache_sim::server::{ClientId, Config, Event, Server};
use shuttle::sync::{Mutex, MutexGuard};

use crate::runtime::Runtime;

#[derive(Clone)]
pub(super) struct Piped(Arc<World>);

struct World {
    start: Instant,
    /// The number of readings of the clock, which advances by a microsecond per reading.
    ticks: AtomicU64,
    /// The largest number of bytes in transit to the server.
    room: usize,
    net: Mutex<Net>,
}

struct Net {
    server: Server,
    pipes: BTreeMap<ClientId, Pipe>,
}

/// One connection, and the tasks that wait for it.
#[derive(Default)]
struct Pipe {
    up: VecDeque<u8>,
    down: VecDeque<u8>,
    writer: Option<Waker>,
    server: Option<Waker>,
    reader: Option<Waker>,
}

impl Piped {
    pub(super) fn new(room: usize) -> Self {
        let start = Instant::now();
        let net = Net { server: Server::new(start, Config::default()), pipes: BTreeMap::new() };
        Self(Arc::new(World { start, ticks: AtomicU64::new(0), room, net: Mutex::new(net) }))
    }

    fn net(&self) -> MutexGuard<'_, Net> {
        self.0.net.lock().unwrap()
    }

    /// Answer the commands of a pipe until its client drops it.
    async fn serve(self, client: ClientId) {
        poll_fn(|cx| {
            let mut net = self.net();
            let Some(pipe) = net.pipes.get_mut(&client) else { return Poll::Ready(()) };
            if pipe.up.is_empty() {
                pipe.server = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let bytes: Vec<u8> = pipe.up.drain(..).collect();
            pipe.writer.take().into_iter().for_each(Waker::wake);
            net.server.handle_bytes(self.now(), client, &bytes);
            net.settle();
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

impl Net {
    /// Move the server's output into the pipes.
    fn settle(&mut self) {
        while let Some(event) = self.server.poll_event() {
            match event {
                Event::Transmit { client, bytes } => {
                    if let Some(pipe) = self.pipes.get_mut(&client) {
                        pipe.down.extend(&bytes[..]);
                        pipe.reader.take().into_iter().for_each(Waker::wake);
                    }
                }
                Event::HangUp { client } => self.cut(client),
            }
        }
    }

    fn cut(&mut self, client: ClientId) {
        let Some(pipe) = self.pipes.remove(&client) else { return };
        let wakers = [pipe.writer, pipe.server, pipe.reader];
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Runtime for Piped {
    type Reader = Reader;
    type Writer = Writer;

    async fn connect(&self, _: &Address, _: Duration) -> io::Result<(Reader, Writer)> {
        let client = {
            let mut net = self.net();
            let client = net.server.connect(self.now());
            net.pipes.insert(client, Pipe::default());
            net.settle();
            client
        };
        drop(shuttle::future::spawn(self.clone().serve(client)));
        Ok((Reader(self.clone(), client), Writer(self.clone(), client)))
    }

    async fn sleep_until(&self, _: Instant) {
        pending().await
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(shuttle::future::spawn(task));
    }

    fn now(&self) -> Instant {
        let ticks = self.0.ticks.fetch_add(1, Ordering::Relaxed);
        self.0.start + Duration::from_micros(ticks)
    }
}

pub(super) struct Reader(Piped, ClientId);

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut net = self.0.net();
        // A dropped pipe reads as closed.
        let Some(pipe) = net.pipes.get_mut(&self.1) else { return Poll::Ready(Ok(0)) };
        if pipe.down.is_empty() {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = pipe.down.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(pipe.down.drain(..length)) {
            *to = from;
        }
        Poll::Ready(Ok(length))
    }
}

pub(super) struct Writer(Piped, ClientId);

impl AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut net = self.0.net();
        let Some(pipe) = net.pipes.get_mut(&self.1) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let length = bytes.len().min(self.0.0.room - pipe.up.len());
        if length == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        pipe.up.extend(&bytes[..length]);
        pipe.server.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(length))
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
        let mut net = self.0.net();
        net.server.disconnect(self.1);
        net.cut(self.1);
        net.settle();
    }
}
