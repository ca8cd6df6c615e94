//! The timer thread: one per cache, for timeouts, attempts to connect and background refreshes.

use std::io;
use std::sync::Arc;
use std::thread;

use redcache_adapter::{Channel, Dial};
use redcache_core::Address;
use redcache_core::engine::ConnId;

use crate::connection::{Connection, ConnectionIo};
use crate::login;
use crate::refresh;
use crate::shared::{Shared, State};
use crate::socket::{Socket, resolve};
use crate::socket_threads;

/// The largest number of attempts to connect to one address at a time. An attempt may be stuck in
/// the operating system, in a name lookup for example.
const STUCK_MAX: usize = 4;

/// Start the timer thread of a cache. It ends once the cache is closed.
pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let thread = shared.spawn_service("redcache-timer", run)?;
    shared.lock().keep(thread);
    Ok(())
}

fn run(shared: &Arc<Shared>) {
    // Timeouts depend on this thread, so its end also ends the calls.
    let _aborts = AbortOnPanic(shared);
    while !shared.lock().host.is_closed() {
        shared.step(|state, now| {
            while let Some(dial) = state.host.dials.start() {
                let conn = dial.conn;
                if let Err(error) = start_dial(shared, state, dial) {
                    state.host.dials.end(conn);
                    state.host.engine.handle_disconnected(now, conn, &error.to_string());
                }
            }
            while let Some(login) = state.host.logins.start() {
                let id = login.id;
                // A provider cannot be interrupted, so `close` does not wait for it.
                let ask = move |shared: &Arc<Shared>| login::run(shared, login);
                if let Err(error) = shared.spawn("redcache-login", ask) {
                    state.host.end_login(now, id, Some(Err(error.to_string())));
                }
            }
            for (id, loader) in state.host.take_refreshes() {
                let run = move |shared: &Arc<Shared>| refresh::run(shared, id, &loader);
                if shared.spawn("redcache-refresh", run).is_err() {
                    state.host.engine.handle_refresh_over(now, id);
                }
            }
            state.host.handle_timeouts(now);
        });
        shared.sleep();
    }
}

fn start_dial(shared: &Arc<Shared>, state: &mut State, dial: Dial) -> io::Result<()> {
    // The count includes this attempt.
    if state.host.dials.count_to(&dial.address) > STUCK_MAX {
        return Err(io::Error::other("earlier attempts to connect have not come to an end"));
    }
    let config = state.host.engine.config().clone();
    let channel = shared.encryption.channel_of(&config, &dial)?;
    let Dial { conn, address } = dial;
    let run = move |shared: &Arc<Shared>| {
        connect(shared, conn, channel, &config.mapped(&address));
    };
    let thread = shared.spawn_service("redcache-reader", run)?;
    state.dialing.push((conn, thread));
    Ok(())
}

/// Connect, and then read the connection to its end.
fn connect(shared: &Arc<Shared>, conn: ConnId, channel: Channel, address: &Address) {
    match try_connect(shared, conn, channel, address) {
        Ok(io) => socket_threads::read(shared, &io),
        Err(error) => shared.step(|state, now| {
            state.host.dials.end(conn);
            state.dialing.retain(|(dialing, _)| *dialing != conn);
            state.host.engine.handle_disconnected(now, conn, &error.to_string());
        }),
    }
}

/// Connect, and start the writer thread.
fn try_connect(
    shared: &Arc<Shared>,
    conn: ConnId,
    channel: Channel,
    address: &Address,
) -> io::Result<Arc<ConnectionIo>> {
    let (timeout, busy_poll) = {
        let state = shared.lock();
        let config = state.host.engine.config();
        (config.connect_timeout(), config.busy_poll())
    };
    let mut peers = resolve(address)?;
    shared.lock().host.engine.order_peers(conn, &mut peers);
    let (place, socket) = Socket::connect_any(&peers, timeout)?;
    let io = Arc::new(ConnectionIo::new(conn, channel, socket, busy_poll));
    shared.step(|state, now| {
        let written = Arc::clone(&io);
        let write = move |shared: &Arc<Shared>| socket_threads::write(shared, &written);
        let thread = shared.spawn_service("redcache-writer", write)?;
        let writer = thread.thread().clone();
        io.set_writer(&writer);
        state.keep(thread);
        state.host.dials.end(conn);
        state.add_connection(Connection { io: Arc::clone(&io), writer });
        state.host.engine.note_peer(conn, peers[place].clone(), &peers[place + 1..]);
        state.host.engine.handle_connected(now, conn);
        Ok::<_, io::Error>(())
    })?;
    Ok(io)
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
    use redcache_core::Config;
    use redcache_core::engine::Seed;

    use super::*;

    #[test]
    fn attempts_that_do_not_end_are_not_added_to_without_limit() {
        let config = Config::from_url("redis://localhost").unwrap();
        let shared = Arc::new(Shared::new(config, &Seed::new([7; 32], 0)).unwrap());
        // The engine wants to connect first of all.
        shared.step(|_, _| ());
        shared.step(|state, _| {
            let dial = state.host.dials.start().unwrap();
            for _ in 0..STUCK_MAX {
                state.host.dials.push(dial.clone());
                assert!(state.host.dials.start().is_some());
            }
            let refused = start_dial(&shared, state, dial).unwrap_err();
            assert!(refused.to_string().starts_with("earlier attempts"), "{refused}");
        });
    }
}
