//! One thread per cache: deadlines and dials.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use redcache_core::{Address, ConnId};

use crate::conn::{self, Line, Link};
use crate::refresh;
use crate::shared::{Dialing, Shared, State};
use crate::socket::Socket;

/// How many attempts to connect to one address may be stuck in the operating system at once, in its name service for
/// instance.
const DIALS_MAX: usize = 4;

/// Starts the threads of a cache. They end after it is closed.
pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let handle = shared.spawn("redcache-timer", run)?;
    shared.lock().keep(handle);
    Ok(())
}

fn run(shared: &Arc<Shared>) {
    // Whatever ends this thread early ends the calls too, for nobody would keep their deadlines.
    let _aborts = AbortOnPanic(shared);
    while !shared.lock().closed {
        shared.step(|state, now| {
            while let Some((conn, address)) = state.dials.pop_front() {
                if let Err(error) = start_dial(shared, state, conn, address) {
                    state.engine.handle_disconnected(now, conn, &error.to_string());
                }
            }
            while let Some((family, refresher)) = state.refreshes.pop_front() {
                let run = move |shared: &Arc<Shared>| refresh::work(shared, family, &refresher);
                if shared.spawn("redcache-refresh", run).is_err() {
                    state.engine.handle_refresh_over(now, family);
                }
            }
            if state.engine.poll_timeout().is_some_and(|due| due <= now) {
                state.engine.handle_timeout(now);
            }
        });
        shared.sleep();
    }
}

fn start_dial(
    shared: &Arc<Shared>,
    state: &mut State,
    conn: ConnId,
    address: Address,
) -> io::Result<()> {
    if state.dialing.iter().filter(|dialing| dialing.address == address).count() >= DIALS_MAX {
        return Err(io::Error::other("earlier attempts to connect have not come to an end"));
    }
    let (config, target) = (state.engine.config().clone(), address.clone());
    let run = move |shared: &Arc<Shared>| {
        dial(shared, conn, &config.mapped(&target), config.connect_timeout());
    };
    let thread = shared.spawn("redcache-reader", run)?;
    state.dialing.push(Dialing { conn, address, thread });
    Ok(())
}

/// Connects and then reads the connection to its end.
fn dial(shared: &Arc<Shared>, conn: ConnId, address: &Address, timeout: Duration) {
    match connect(shared, conn, address, timeout) {
        Ok(link) => conn::read(shared, &link),
        Err(error) => shared.step(|state, now| {
            state.dialing.retain(|dialing| dialing.conn != conn);
            state.engine.handle_disconnected(now, conn, &error.to_string());
        }),
    }
}

/// Connects and starts the thread that writes.
fn connect(
    shared: &Arc<Shared>,
    conn: ConnId,
    address: &Address,
    timeout: Duration,
) -> io::Result<Arc<Link>> {
    let socket = Socket::connect(address, timeout)?;
    let busy_poll = shared.lock().engine.config().busy_poll();
    let link = Arc::new(Link::new(conn, socket, busy_poll));
    shared.step(|state, now| {
        let written = Arc::clone(&link);
        let handle =
            shared.spawn("redcache-writer", move |shared| conn::write(shared, &written))?;
        let writer = handle.thread().clone();
        state.keep(handle);
        state.add_line(Line { link: Arc::clone(&link), writer });
        state.engine.handle_connected(now, conn);
        Ok::<_, io::Error>(())
    })?;
    Ok(link)
}

struct AbortOnPanic<'a>(&'a Shared);

impl Drop for AbortOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use redcache_core::{Config, Seed};

    use super::*;

    #[test]
    fn attempts_that_do_not_end_are_not_added_to_without_limit() {
        let config = Config::from_url("redis://localhost").unwrap();
        let shared = Arc::new(Shared::new(config, &Seed { random: [7; 32], unix_ms: 0 }));
        // The engine's first wish is to connect.
        shared.step(|_, _| ());
        shared.step(|state, _| {
            let (conn, address) = state.dials.pop_front().unwrap();
            let dialing =
                |_| Dialing { conn, address: address.clone(), thread: thread::spawn(|| ()) };
            state.dialing.extend((0..DIALS_MAX).map(dialing));
            let refused = start_dial(&shared, state, conn, address).unwrap_err();
            assert!(refused.to_string().starts_with("earlier attempts"), "{refused}");
        });
    }
}
