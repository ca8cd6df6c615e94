//! A server that answers one command wrongly, and all others like the model.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::mem;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redcache_core::resp::{self, Frame, Limits, Scanner};
use redcache_sim::listen::EmbeddedServer;

use crate::replies::Reply;

/// A server that lives as long as this value. Dropping it ends its connections and its threads: the
/// kernel may take a minute to notify a writing thread that its client has closed.
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
    /// The connections, and the threads that serve them.
    connections: Mutex<Vec<(Arc<Served>, JoinHandle<()>)>>,
    stopping: AtomicBool,
}

/// A connection of a client, and its own connection to the model.
struct Served {
    client: TcpStream,
    model: TcpStream,
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
            connections: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = thread::Builder::new().name("hostile-accept".to_owned());
        let acceptor = acceptor.spawn(move || accepting.accept(&listener));
        let acceptor = acceptor.expect("a thread starts");
        Self { address, shared, acceptor: Some(acceptor) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Return the number of accepted connections.
    pub(crate) fn dials(&self) -> usize {
        self.shared.dials.load(Ordering::Relaxed)
    }

    /// Return the names of the received commands.
    pub(crate) fn commands(&self) -> BTreeSet<String> {
        self.shared.commands.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for HostileServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let acceptor = self.acceptor.take().expect("the server is dropped once");
        // The acceptor sleeps in the kernel until a client connects.
        while TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).is_err() {}
        acceptor.join().expect("the acceptor does not panic");
        let connections = mem::take(&mut *self.shared.connections());
        connections.iter().for_each(|(served, _)| served.end());
        for (_, thread) in connections {
            thread.join().expect("a connection does not panic");
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
            // Without a connection to the model the client sees its own end.
            let Ok(served) = client.and_then(|client| self.admit(client)) else { continue };
            let (shared, serving) = (Arc::clone(&self), Arc::clone(&served));
            let serve = move || {
                // The client sees the end of its connection.
                let _ = shared.serve(&serving);
                serving.end();
            };
            let thread = thread::Builder::new().name("hostile-serve".to_owned()).spawn(serve);
            let thread = thread.expect("a thread starts");
            let mut connections = self.connections();
            connections.retain(|(_, thread)| !thread.is_finished());
            connections.push((served, thread));
        }
    }

    fn admit(&self, client: TcpStream) -> io::Result<Arc<Served>> {
        let model = TcpStream::connect(self.model.address())?;
        client.set_nodelay(true)?;
        model.set_nodelay(true)?;
        Ok(Arc::new(Served { client, model }))
    }

    fn connections(&self) -> MutexGuard<'_, Vec<(Arc<Served>, JoinHandle<()>)>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, served: &Served) -> io::Result<()> {
        let mut client = &served.client;
        let mut requests = Frames::new(client);
        let mut replies = Frames::new(&served.model);
        loop {
            let request = requests.next()?;
            let name = name(&request);
            self.commands.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
            match &self.wrong {
                Some((wrong, reply)) if *wrong == name => send(client, *reply)?,
                _ => {
                    replies.socket.write_all(&request)?;
                    // Pushes before the reply are forwarded, too.
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

impl Served {
    /// End both connections, and the reads and writes that wait for them.
    fn end(&self) {
        for socket in [&self.client, &self.model] {
            // It fails if the peer has closed the connection already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn send(mut client: &TcpStream, reply: Reply) -> io::Result<()> {
    match reply {
        Reply::Bytes(bytes) => client.write_all(bytes),
        Reply::Half(bytes) => {
            client.write_all(bytes)?;
            io::copy(&mut client, &mut io::sink())?;
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
struct Frames<'a> {
    socket: &'a TcpStream,
    buffer: Vec<u8>,
    scanner: Scanner,
}

impl<'a> Frames<'a> {
    fn new(socket: &'a TcpStream) -> Self {
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
