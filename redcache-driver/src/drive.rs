//! The driver: one task per cache, for timeouts, attempts to connect and background refreshes.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use redcache_adapter::{Dial, Login};
use redcache_core::Address;
use redcache_core::engine::{ConnId, LoaderId};

use crate::any_runtime::{BoxFuture, Reader, Writer};
use crate::connect_any::connect_any;
use crate::connection::Connection;
use crate::login;
use crate::refresh;
use crate::shared::{Loader, Shared, Watch};
use crate::socket_task;
use crate::write_half::WriteHalf;

/// Start the tasks of a cache. They end once it is closed.
pub(crate) fn start(shared: &Arc<Shared>) {
    // If the runtime ends, it drops the task, maybe before its first poll. That closes the cache.
    let closes = CloseOnDrop(Arc::clone(shared));
    spawn(shared, |shared| async move {
        let closes = closes;
        Driver { shared: &shared, sleep: None }.run().await;
        drop(closes);
    });
}

/// The driver's task.
struct Driver<'a> {
    shared: &'a Arc<Shared>,
    /// The sleep until the engine's next timeout.
    sleep: Option<(Instant, BoxFuture<'a, ()>)>,
}

/// The next work of the driver.
enum Work {
    Start { dials: Vec<Dial>, logins: Vec<Login>, refreshes: Vec<(LoaderId, Loader)> },
    Timeout,
    End,
}

impl Driver<'_> {
    async fn run(&mut self) {
        // The engine of a new cache requests its first connection.
        self.shared.step(|state, now| state.host.handle_timeouts(now));
        loop {
            match poll_fn(|cx| self.poll_work(cx)).await {
                Work::Start { dials, logins, refreshes } => {
                    for dial in dials {
                        spawn(self.shared, move |shared| async move {
                            connect(&shared, dial).await;
                        });
                    }
                    for login in logins {
                        spawn(self.shared, move |shared| async move {
                            login::run(&shared, login).await;
                        });
                    }
                    for (id, loader) in refreshes {
                        spawn(self.shared, move |shared| async move {
                            refresh::run(&shared, id, loader).await;
                        });
                    }
                }
                Work::Timeout => self.shared.step(|state, now| state.host.handle_timeouts(now)),
                Work::End => return,
            }
        }
    }

    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<Work> {
        let (shared, waker) = (self.shared, cx.waker().clone());
        let mut state = shared.lock();
        if state.host.is_closed() {
            return Poll::Ready(Work::End);
        }
        if state.host.has_work() {
            let dials = std::iter::from_fn(|| state.host.dials.start()).collect();
            let logins = std::iter::from_fn(|| state.host.logins.start()).collect();
            let refreshes = state.host.take_refreshes();
            return Poll::Ready(Work::Start { dials, logins, refreshes });
        }
        let due = state.host.begin_sleep();
        let replaced = state.driver.replace(waker);
        drop(state);
        drop(replaced);
        let Some(due) = due else { return Poll::Pending };
        let (_, sleep) = match &mut self.sleep {
            Some(sleep) if sleep.0 == due => sleep,
            sleep => sleep.insert((due, shared.runtime.sleep_until(due))),
        };
        if sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.sleep = None;
        Poll::Ready(Work::Timeout)
    }
}

/// Connect, then carry the bytes of the connection until it ends.
async fn connect(shared: &Shared, dial: Dial) {
    let config = shared.lock().host.engine.config().clone();
    let channel = shared.encryption.channel_of(&config, &dial);
    let Dial { conn, address } = dial;
    let address = config.mapped(&address);
    let Some(connected) = try_connect(shared, conn, &address, config.connect_timeout()).await
    else {
        return;
    };
    let connected = connected.and_then(|connected| Ok((connected, channel?)));
    let (Connected { peers, place, reader, writer }, channel) = match connected {
        Ok(connected) => connected,
        Err(error) => {
            let reason = error.to_string();
            return shared.step(|state, now| {
                state.host.dials.end(conn);
                state.host.engine.handle_disconnected(now, conn, &reason);
            });
        }
    };
    let write_half = Arc::new(WriteHalf::new(conn, channel, writer));
    shared.step(|state, now| {
        if state.host.dials.end(conn) {
            let connection = Connection::new(Arc::clone(&write_half), config.busy_poll());
            state.connections.push(connection);
            state.host.engine.note_peer(conn, peers[place].clone(), &peers[place + 1..]);
            state.host.engine.handle_connected(now, conn);
        }
    });
    socket_task::run(shared, &write_half, reader).await;
}

/// Connect. Return `None` if the engine no longer wants the connection.
async fn try_connect(
    shared: &Shared,
    conn: ConnId,
    address: &Address,
    timeout: Duration,
) -> Option<io::Result<Connected>> {
    let mut connect = pin!(connect_to_any(shared, conn, address, timeout));
    let mut watch = Watch { shared, key: None };
    poll_fn(|cx| {
        let waker = cx.waker().clone();
        let state = shared.lock();
        if !state.host.dials.is_under_way(conn) {
            return Poll::Ready(None);
        }
        watch.renew(state, waker);
        connect.as_mut().poll(cx).map(Some)
    })
    .await
}

/// A connection to one of the addresses of a host name.
struct Connected {
    /// The addresses in the order in which they were tried.
    peers: Vec<Address>,
    /// The place of the one that is connected.
    place: usize,
    reader: Reader,
    writer: Writer,
}

async fn connect_to_any(
    shared: &Shared,
    conn: ConnId,
    address: &Address,
    timeout: Duration,
) -> io::Result<Connected> {
    let mut peers = shared.runtime.resolve(address).await?;
    shared.lock().host.engine.order_peers(conn, &mut peers);
    let connect = |place: usize| {
        let connect = shared.runtime.connect(&peers[place], timeout);
        async move { Ok((place, connect.await?)) }
    };
    let sleep = |delay| shared.runtime.sleep_until(shared.runtime.now() + delay);
    let (place, (reader, writer)) = connect_any(0..peers.len(), timeout, connect, sleep).await?;
    Ok(Connected { peers, place, reader, writer })
}

/// Spawn a task that `close` waits for.
fn spawn<F>(shared: &Arc<Shared>, task: impl FnOnce(Arc<Shared>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    shared.lock().tasks += 1;
    let ends = TaskEnds(Arc::clone(shared));
    let task = task(Arc::clone(shared));
    shared.runtime.spawn(Box::pin(async move {
        task.await;
        drop(ends);
    }));
}

/// Counts the end of a task.
struct TaskEnds(Arc<Shared>);

impl Drop for TaskEnds {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.tasks -= 1;
        let watchers: Vec<_> = state.watchers.take_all().collect();
        drop(state);
        for watcher in watchers {
            watcher.wake();
        }
    }
}

const RUNTIME_ENDED: &str = "the runtime on which it was opened has ended: connect again";

/// Closes the cache if the driver's task ends before the cache is closed.
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.step(|state, now| state.host.abort(now, RUNTIME_ENDED));
    }
}
