//! One task per cache: deadlines and dials.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use redcache_core::{Address, ConnId};

use crate::conn::{self, Line, Link};
use crate::refresh::work;
use crate::runtime::Runtime;
use crate::shared::Shared;

/// Starts the tasks of a cache. They end after it is closed.
pub(crate) fn start<R: Runtime>(shared: &Arc<Shared<R>>) {
    spawn(shared, |shared| async move {
        // Whatever ends this task early, a runtime that shuts down for instance, ends the calls too.
        let closes = CloseOnDrop(&shared);
        drive(&shared).await;
        drop(closes);
    });
}

async fn drive<R: Runtime>(shared: &Arc<Shared<R>>) {
    loop {
        let (dials, refreshes) = {
            let mut state = shared.lock();
            (std::mem::take(&mut state.dials), std::mem::take(&mut state.refreshes))
        };
        for (family, refresher) in refreshes {
            spawn(shared, move |shared| async move { work(&shared, family, refresher).await });
        }
        for (conn, address) in dials {
            spawn(shared, move |shared| async move { dial(&shared, conn, address).await });
        }
        shared.step(|state, now| {
            if state.engine.poll_timeout().is_some_and(|due| due <= now) {
                state.engine.handle_timeout(now);
            }
        });
        let due = shared.lock().engine.poll_timeout();
        let sleep = async {
            match due {
                Some(at) => shared.runtime.sleep_until(at).await,
                None => pending().await,
            }
        };
        let mut sleep = pin!(sleep);
        let closed = poll_fn(|cx| {
            let mut state = shared.lock();
            if state.closed {
                return Poll::Ready(true);
            }
            if !state.dials.is_empty()
                || !state.refreshes.is_empty()
                || is_earlier(state.engine.poll_timeout(), due)
            {
                return Poll::Ready(false);
            }
            state.driver = Some(cx.waker().clone());
            state.sleeps_until = due;
            drop(state);
            sleep.as_mut().poll(cx).map(|()| false)
        });
        if closed.await {
            return;
        }
    }
}

fn is_earlier(due: Option<Instant>, than: Option<Instant>) -> bool {
    due.is_some_and(|due| than.is_none_or(|than| due < than))
}

/// Connects and then carries the connection to its end.
async fn dial<R: Runtime>(shared: &Shared<R>, conn: ConnId, address: Address) {
    let config = shared.lock().engine.config().clone();
    let address = config.mapped(&address);
    let Some(connected) = connect(shared, conn, &address).await else {
        return;
    };
    let (reader, writer) = match connected {
        Ok(halves) => halves,
        Err(error) => {
            let reason = error.to_string();
            return shared.step(|state, now| {
                state.given_up.retain(|given_up| *given_up != conn);
                state.engine.handle_disconnected(now, conn, &reason);
            });
        }
    };
    let link = Arc::new(Link::new(conn, writer));
    shared.step(|state, now| {
        state.given_up.retain(|given_up| *given_up != conn);
        let line = Line::new(Arc::clone(&link), state.engine.config());
        state.lines.push(line);
        state.engine.handle_connected(now, conn);
    });
    conn::run(shared, &link, reader).await;
}

/// `None` when the attempt was given up.
async fn connect<R: Runtime>(
    shared: &Shared<R>,
    conn: ConnId,
    address: &Address,
) -> Option<io::Result<(R::Reader, R::Writer)>> {
    let mut connect = pin!(shared.runtime.connect(address));
    poll_fn(|cx| {
        let mut state = shared.lock();
        if let Some(at) = state.given_up.iter().position(|given_up| *given_up == conn) {
            state.given_up.swap_remove(at);
            return Poll::Ready(None);
        }
        state.watchers.push(cx.waker().clone());
        drop(state);
        connect.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Spawns a task that `close` waits for.
fn spawn<R: Runtime, F>(shared: &Arc<Shared<R>>, task: impl FnOnce(Arc<Shared<R>>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    shared.lock().tasks += 1;
    let ends = TaskEnds(Arc::clone(shared));
    let task = task(Arc::clone(shared));
    shared.runtime.spawn(async move {
        task.await;
        drop(ends);
    });
}

struct TaskEnds<R: Runtime>(Arc<Shared<R>>);

impl<R: Runtime> Drop for TaskEnds<R> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.tasks -= 1;
        let watchers = std::mem::take(&mut state.watchers);
        drop(state);
        for watcher in watchers {
            watcher.wake();
        }
    }
}

struct CloseOnDrop<'a, R: Runtime>(&'a Shared<R>);

impl<R: Runtime> Drop for CloseOnDrop<'_, R> {
    fn drop(&mut self) {
        self.0.step(|state, now| {
            state.engine.close(now);
            state.closed = true;
        });
    }
}
