//! A runtime that runs none of the cache's tasks for a while, because all its threads are busy.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use ::smol::io::AsyncRead;
use redcache_core::Address;
use redcache_driver::{Cache, Runtime};

use super::cache::{AsyncCache, Host};
use super::scene::{TTL, found, seen};
use super::server::{Server, trusting};

on_every_async_adapter![
    near_hits_end_while_no_task_reads_the_invalidations,
    near_hits_end_at_the_limit_of_staleness_while_no_task_runs,
];

/// Stops the reads and the timers of a runtime.
#[derive(Clone, Default)]
struct Brake {
    is_on: Arc<AtomicBool>,
    waiting: Arc<Mutex<Vec<Waker>>>,
}

impl Brake {
    fn pull(&self) {
        self.is_on.store(true, Ordering::SeqCst);
    }

    fn release(&self) {
        self.is_on.store(false, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        waiting.into_iter().for_each(Waker::wake);
    }

    fn poll_off(&self, cx: &Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting.lock().unwrap();
        if !self.is_on.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        waiting.push(cx.waker().clone());
        Poll::Pending
    }
}

struct Braked<R> {
    runtime: R,
    brake: Brake,
}

struct BrakedReader<R> {
    reader: R,
    brake: Brake,
}

impl<R: AsyncRead + Unpin> AsyncRead for BrakedReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.brake.poll_off(cx));
        Pin::new(&mut self.reader).poll_read(cx, buffer)
    }
}

impl<R: Runtime> Runtime for Braked<R> {
    type Reader = BrakedReader<R::Reader>;
    type Writer = R::Writer;

    async fn connect(
        &self,
        address: &Address,
        timeout: Duration,
    ) -> io::Result<(Self::Reader, Self::Writer)> {
        let (reader, writer) = self.runtime.connect(address, timeout).await?;
        Ok((BrakedReader { reader, brake: self.brake.clone() }, writer))
    }

    async fn sleep_until(&self, at: Instant) {
        self.runtime.sleep_until(at).await;
        poll_fn(|cx| self.brake.poll_off(cx)).await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }
}

fn near_hits_end_while_no_task_reads_the_invalidations<C: AsyncCache>() {
    check::<C>("heartbeat_interval=50ms", None);
}

fn near_hits_end_at_the_limit_of_staleness_while_no_task_runs<C: AsyncCache>() {
    check::<C>("near_staleness_max=50ms", Some(Duration::from_millis(50)));
}

/// Look a key up repeatedly while no task of the cache runs. The hits end, and no call that was
/// made more than `limit` after the change is answered with the old value.
fn check<C: AsyncCache>(setting: &str, limit: Option<Duration>) {
    let server = Server::start();
    let url = format!("{}?command_timeout=1h&{setting}", server.url());
    let brake = Brake::default();
    let config = trusting(url).unwrap();
    let connect = async {
        let runtime = Braked { runtime: C::Host::default(), brake: brake.clone() };
        Cache::connect_on(runtime, config).await
    };
    let cache = C::Host::block_on(connect).unwrap();
    C::Host::block_on(async {
        let load = || async { found("old") };
        while seen(cache.get_with("k", TTL, load).await) != "old from near" {}
        brake.pull();
        server.connect().set_each(&["k", "new"]);
        let changed_at = Instant::now();
        // A call that is not answered at once has sent a command.
        let mut asked_at = Instant::now();
        let mut call = Box::pin(cache.get("k"));
        while let Poll::Ready(answer) = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
            assert_eq!(seen(answer), "old from near");
            assert!(limit.is_none_or(|limit| asked_at - changed_at <= limit));
            asked_at = Instant::now();
            call = Box::pin(cache.get("k"));
        }
        brake.release();
        assert_eq!(seen(call.await), "new from redis");
        cache.close().await;
    });
}
