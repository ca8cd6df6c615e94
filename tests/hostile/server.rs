//! A server that answers one command wrongly, and all others like the model.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redcache_core::resp::{self, Frame, Limits, Scanner};
use redcache_sim::listen::EmbeddedServer;

use crate::replies::Reply;

pub(crate) struct HostileServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    model: EmbeddedServer,
    /// The command that is answered wrongly, and the reply.
    wrong: Option<(String, Reply)>,
    dials: AtomicUsize,
    commands: Mutex<BTreeSet<String>>,
    stopping: AtomicBool,
}

impl HostileServer {
    pub(crate) fn start(wrong: Option<(String, Reply)>) -> Self {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            model: EmbeddedServer::start().expect("the model starts"),
            wrong,
            dials: AtomicUsize::new(0),
            commands: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accepting.accept(&listener));
        Self { address, shared, acceptor: Some(acceptor) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Return the number of connections so far.
    pub(crate) fn dials(&self) -> usize {
        self.shared.dials.load(Ordering::Relaxed)
    }

    /// Return the names of the commands so far.
    pub(crate) fn commands(&self) -> BTreeSet<String> {
        self.shared.commands.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for HostileServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        // The acceptor sleeps in the kernel until a client connects.
        let woken = TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).is_ok();
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            acceptor.join().expect("the acceptor does not panic");
        }
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.stopping.load(Ordering::Relaxed) {
                return;
            }
            self.dials.fetch_add(1, Ordering::Relaxed);
            let shared = Arc::clone(&self);
            // It ends with its connection.
            thread::spawn(move || {
                // The client sees what becomes of its connection.
                let _ = client.and_then(|client| shared.serve(client));
            });
        }
    }

    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let model = TcpStream::connect(self.model.address())?;
        client.set_nodelay(true)?;
        model.set_nodelay(true)?;
        let mut requests = Frames::new(client.try_clone()?);
        let mut replies = Frames::new(model);
        loop {
            let request = requests.next()?;
            let name = name(&request);
            self.commands.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
            match &self.wrong {
                Some((wrong, reply)) if *wrong == name => send(&mut client, *reply)?,
                _ => {
                    replies.socket.write_all(&request)?;
                    // Pushes before the reply are part of the conversation.
                    loop {
                        let reply = replies.next()?;
                        client.write_all(&reply)?;
                        if reply[0] != b'>' {
                            break;
                        }
                    }
                }
            }
        }
    }
}

fn send(client: &mut TcpStream, reply: Reply) -> io::Result<()> {
    match reply {
        Reply::Bytes(bytes) => client.write_all(bytes),
        Reply::Half(bytes) => {
            client.write_all(bytes)?;
            io::copy(client, &mut io::sink())?;
            Err(io::ErrorKind::UnexpectedEof.into())
        }
        Reply::Endless(bytes) => {
            client.write_all(bytes)?;
            let piece = if bytes.starts_with(b"*") { bytes.repeat(1000) } else { vec![b'x'; 4096] };
            loop {
                client.write_all(&piece)?;
            }
        }
        Reply::HangUp => {
            client.shutdown(Shutdown::Both)?;
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// Return the name of a command, with its subcommand: `client tracking`.
fn name(request: &[u8]) -> String {
    let Ok(Frame::Array(words)) = resp::decode(request) else { return String::new() };
    let words = words.iter().filter_map(|word| match word {
        Frame::Bulk(bytes) => Some(String::from_utf8_lossy(bytes).to_ascii_lowercase()),
        _ => None,
    });
    let words: Vec<_> = words.take(2).collect();
    match words.as_slice() {
        [name, part] if name == "client" => format!("{name} {part}"),
        [name, ..] => name.clone(),
        [] => String::new(),
    }
}

/// The frames of one direction.
struct Frames {
    socket: TcpStream,
    buffer: Vec<u8>,
    scanner: Scanner,
}

impl Frames {
    fn new(socket: TcpStream) -> Self {
        Self { socket, buffer: Vec::new(), scanner: Scanner::new(Limits::default()) }
    }

    fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut piece = [0; 4096];
        loop {
            let end = self.scanner.scan(&self.buffer);
            if let Some(end) = end.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))? {
                return Ok(self.buffer.drain(..end).collect());
            }
            match self.socket.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.buffer.extend_from_slice(&piece[..length]),
            }
        }
    }
}
