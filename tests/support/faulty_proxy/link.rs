//! One connection through the proxy: two sockets, and two threads for each direction.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fs, slice};

use socket2::SockRef;

use super::faults::{Fault, Faults, HOLD_MAX, lock};
use super::tape::Tape;
use crate::rng::Rng;

/// Bytes in transit, and the time at which the proxy read them.
type Parcel = (Instant, Vec<u8>);

/// The bytes that are dripped one by one.
const DRIP_MAX: usize = 300;
const DRIP_PAUSE: Duration = Duration::from_micros(50);

#[derive(Debug)]
pub(super) struct Link {
    number: u64,
    sockets: Arc<Sockets>,
    tapes: [Arc<Mutex<Tape>>; 2],
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Sockets {
    client: TcpStream,
    server: TcpStream,
    /// Whether both directions must end.
    closing: AtomicBool,
}

impl Sockets {
    /// End the connection with a reset, which each side sees once all threads have dropped the
    /// sockets.
    fn reset(&self) {
        self.closing.store(true, Ordering::Relaxed);
        for socket in [&self.client, &self.server] {
            // Both fail only if the connection has ended.
            let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
            let _ = socket.shutdown(Shutdown::Read);
        }
    }

    fn cut(&self) {
        self.closing.store(true, Ordering::Relaxed);
        for socket in [&self.client, &self.server] {
            // It fails if the connection has ended.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Link {
    pub(super) fn open(
        faults: &Arc<Faults>,
        server: SocketAddr,
        (number, client): (u64, TcpStream),
        rng: &Rng,
    ) -> io::Result<Self> {
        let server = TcpStream::connect(server)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let sockets = Arc::new(Sockets { client, server, closing: AtomicBool::new(false) });
        let tapes = [(); 2].map(|()| Arc::new(Mutex::new(Tape::new())));
        let mut threads = Vec::new();
        for (way, tape) in tapes.iter().enumerate() {
            let (sender, receiver) = mpsc::channel();
            let (reading, tape) = (Arc::clone(&sockets), Arc::clone(tape));
            threads.push(thread::spawn(move || read(&reading, way, &sender, &tape)));
            let mut writer = Writer {
                faults: Arc::clone(faults),
                sockets: Arc::clone(&sockets),
                way,
                rng: rng.fork(way as u64 + 1),
            };
            threads.push(thread::spawn(move || writer.run(&receiver)));
        }
        Ok(Self { number, sockets, tapes, threads })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    pub(super) fn cut(&self) {
        self.sockets.cut();
    }

    pub(super) fn join(self) {
        for thread in self.threads {
            // A thread that panicked has reported it already.
            let _ = thread.join();
        }
    }

    pub(super) fn dump(&self, folder: &Path, name: &str) -> io::Result<()> {
        for (tape, way) in self.tapes.iter().zip(["to-server", "to-client"]) {
            let file = folder.join(format!("{name}-{}-{way}.txt", self.number));
            fs::write(file, lock(tape).text())?;
        }
        Ok(())
    }
}

/// Return the source and the target socket of a direction: 0 leads to the server, 1 to the client.
fn ends(sockets: &Sockets, way: usize) -> (&TcpStream, &TcpStream) {
    if way == 0 { (&sockets.client, &sockets.server) } else { (&sockets.server, &sockets.client) }
}

fn read(sockets: &Sockets, way: usize, sender: &Sender<Parcel>, tape: &Mutex<Tape>) {
    let (mut from, _) = ends(sockets, way);
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let now = Instant::now();
        lock(tape).record(now, &buffer[..length]);
        if sender.send((now, buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}

/// Writes the bytes of one direction, with faults.
struct Writer {
    faults: Arc<Faults>,
    sockets: Arc<Sockets>,
    way: usize,
    rng: Rng,
}

impl Writer {
    fn run(&mut self, receiver: &Receiver<Parcel>) {
        while let Ok((read_at, mut bytes)) = receiver.recv() {
            if self.sockets.closing.load(Ordering::Relaxed) {
                return;
            }
            let fault = self.faults.draw(&mut self.rng);
            let written = match fault {
                None => self.write(&bytes),
                Some(Fault::Delay) => {
                    self.hold(read_at, 50);
                    self.write(&bytes)
                }
                Some(Fault::Stall) => {
                    self.hold(read_at, 2_000);
                    self.write(&bytes)
                }
                Some(Fault::Coalesce) => {
                    self.hold(read_at, 5);
                    bytes.extend(receiver.try_iter().flat_map(|(_, bytes)| bytes));
                    self.write(&bytes)
                }
                Some(Fault::Split) => self.split(&bytes),
                Some(Fault::Drip) => self.drip(&bytes),
                Some(Fault::Reset) => return self.sockets.reset(),
                Some(Fault::HalfClose) => break,
            };
            if written.is_err() {
                break;
            }
        }
        let (_, to) = ends(&self.sockets, self.way);
        // It fails if the connection has ended.
        let _ = to.shutdown(Shutdown::Write);
        // Bytes that arrive after a half-close are read and dropped.
        receiver.iter().for_each(drop);
    }

    /// Sleep for a part of `millis`, or as long as bytes that were read at `read_at` may stay.
    fn hold(&mut self, read_at: Instant, millis: u64) {
        let pause = Duration::from_micros(self.rng.below(millis * 1000));
        let left = (read_at + HOLD_MAX).saturating_duration_since(Instant::now());
        thread::sleep(pause.min(left));
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let (_, mut to) = ends(&self.sockets, self.way);
        to.write_all(bytes)
    }

    fn split(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(1 + self.rng.below(bytes.len() as u64) as usize);
            self.write(piece)?;
            thread::yield_now();
            bytes = rest;
        }
        Ok(())
    }

    fn drip(&self, bytes: &[u8]) -> io::Result<()> {
        let (dripped, rest) = bytes.split_at(bytes.len().min(DRIP_MAX));
        for byte in dripped {
            self.write(slice::from_ref(byte))?;
            thread::sleep(DRIP_PAUSE);
        }
        self.write(rest)
    }
}
