//! One connection through the proxy: two sockets, and for each direction a thread that reads and
//! one that writes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::observer::Observer;
use super::shared::{Direction, Shared};

/// Bytes in transit, and their arrival time.
type Parcel = (Instant, Vec<u8>);

/// Forward between `client` and a new connection to `server`, in new threads.
pub(super) fn connect(
    shared: &Arc<Shared>,
    client: TcpStream,
    server: SocketAddr,
) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let observer = Arc::new(Mutex::new(Observer::default()));
    let ways = [
        (Direction::ToServer, client.try_clone()?, server.try_clone()?),
        (Direction::ToClient, server.try_clone()?, client.try_clone()?),
    ];
    let mut state = shared.lock();
    if state.stopping {
        return Ok(());
    }
    state.connections += 1;
    state.sockets.extend([client, server]);
    state.threads.retain(|thread| !thread.is_finished());
    for (direction, from, to) in ways {
        let (sender, receiver) = mpsc::channel();
        let (reader, asked) = (Arc::clone(shared), Arc::clone(&observer));
        state.threads.push(thread::spawn(move || {
            reader.read_way(direction, from, &sender, &asked);
        }));
        let (writer, answered) = (Arc::clone(shared), Arc::clone(&observer));
        state.threads.push(thread::spawn(move || {
            writer.write_way(direction, to, &receiver, &answered);
        }));
    }
    Ok(())
}

impl Shared {
    fn read_way(
        &self,
        direction: Direction,
        mut from: TcpStream,
        sender: &Sender<Parcel>,
        observer: &Mutex<Observer>,
    ) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let bytes = &buffer[..length];
            let mut observer = observer.lock().unwrap_or_else(PoisonError::into_inner);
            let mut state = self.lock();
            if direction == Direction::ToServer {
                let seen = observer.on_request_bytes(bytes);
                state.round_trips += seen.round_trips;
                state.commands.extend(seen.commands);
            }
            let way = &mut state.ways[direction as usize];
            way.queued += length;
            if sender.send((Instant::now() + way.delay, bytes.to_vec())).is_err() {
                return;
            }
        }
    }

    fn write_way(
        &self,
        direction: Direction,
        mut to: TcpStream,
        receiver: &Receiver<Parcel>,
        observer: &Mutex<Observer>,
    ) {
        let mut next = receiver.recv().ok();
        while let Some((due_at, mut bytes)) = next {
            let chunk_max = self.wait_until_free(direction, due_at);
            // Add the bytes that are due by now.
            let now = Instant::now();
            next = loop {
                match receiver.try_recv() {
                    Ok((due_at, more)) if due_at <= now => bytes.extend_from_slice(&more),
                    Ok(parcel) => break Some(parcel),
                    Err(_) => break None,
                }
            };
            if direction == Direction::ToClient {
                // A command waits until the client has its reply.
                observer.lock().unwrap_or_else(PoisonError::into_inner).on_reply_bytes(&bytes);
            }
            if self.write(direction, &mut to, &bytes, chunk_max).is_err() {
                break;
            }
            next = next.or_else(|| receiver.recv().ok());
        }
        // It fails if the connection was cut.
        let _ = to.shutdown(Shutdown::Write);
    }

    /// Wait until `due_at` and until this direction is released. Return the limit of one write.
    fn wait_until_free(&self, direction: Direction, due_at: Instant) -> Option<usize> {
        let mut state = self.lock();
        loop {
            let way = &state.ways[direction as usize];
            let left = due_at.saturating_duration_since(Instant::now());
            if state.stopping || !way.held && left.is_zero() {
                return way.chunk_max;
            }
            state = if way.held {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                let woken = self.changed.wait_timeout(state, left);
                woken.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    fn write(
        &self,
        direction: Direction,
        to: &mut TcpStream,
        bytes: &[u8],
        chunk_max: Option<usize>,
    ) -> io::Result<()> {
        self.lock().ways[direction as usize].queued -= bytes.len();
        for chunk in bytes.chunks(chunk_max.unwrap_or(bytes.len()).max(1)) {
            to.write_all(chunk)?;
        }
        Ok(())
    }
}
