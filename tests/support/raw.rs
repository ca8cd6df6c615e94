//! A client that shows the bytes of its replies: the "other client" of the tests.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use redcache_core::resp::{self, Frame, Limits, Scanner};

/// The limit for a reply.
const PATIENCE: Duration = Duration::from_secs(10);

/// A blocking connection that sends commands and returns whole frames, byte for byte.
///
/// A connection begins with RESP2; send `HELLO 3` to receive pushes.
#[derive(Debug)]
pub struct Raw {
    socket: TcpStream,
    buffer: Vec<u8>,
    scanner: Scanner,
    pushes: VecDeque<Vec<u8>>,
}

impl Raw {
    /// Connect to a server.
    ///
    /// # Panics
    ///
    /// Panics if no server accepts.
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"))
    }

    /// Connect to a server that may not be running.
    ///
    /// # Errors
    ///
    /// Fails if no server accepts.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            socket,
            buffer: Vec::new(),
            scanner: Scanner::new(Limits::default()),
            pushes: VecDeque::new(),
        })
    }

    /// Send a command and return its reply. Pushes before it are kept for
    /// [`read_push`](Self::read_push).
    ///
    /// # Panics
    ///
    /// Panics if the connection ends or is silent for ten seconds.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Vec<u8> {
        self.try_call(args).unwrap_or_else(|error| panic!("{}: {error}", show(args)))
    }

    /// Send a command to a server that may stop, and return its reply.
    ///
    /// # Errors
    ///
    /// Fails if the connection ends or is silent for ten seconds.
    pub fn try_call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Vec<u8>> {
        self.send(args)?;
        loop {
            let frame = self.read_frame()?;
            if frame[0] != b'>' {
                return Ok(frame);
            }
            self.pushes.push_back(frame);
        }
    }

    /// Send a command that must be answered with `+OK`.
    ///
    /// # Panics
    ///
    /// Panics if the reply is another one, or the connection fails.
    pub fn ok<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        let reply = self.call(args);
        assert_eq!(reply.escape_ascii().to_string(), r"+OK\r\n", "{}", show(args));
    }

    /// Write several string keys: a key and its value in turn.
    ///
    /// # Panics
    ///
    /// Panics if one is refused, or the connection fails.
    pub fn set_each<A: AsRef<[u8]>>(&mut self, words: &[A]) {
        for pair in words.chunks_exact(2) {
            self.ok(&[b"SET".as_slice(), pair[0].as_ref(), pair[1].as_ref()]);
        }
    }

    /// Send a command that answers with a number.
    ///
    /// # Panics
    ///
    /// Panics if the reply is no number, or the connection fails.
    pub fn integer<A: AsRef<[u8]>>(&mut self, args: &[A]) -> i64 {
        let reply = self.call(args);
        match resp::decode(&reply) {
            Ok(Frame::Integer(number)) => number,
            _ => panic!("{} answered {}", show(args), reply.escape_ascii()),
        }
    }

    /// Read a string key.
    ///
    /// # Panics
    ///
    /// Panics if the key is of another type, or the connection fails.
    pub fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        let reply = self.call(&["GET", key]);
        match resp::decode(&reply) {
            Ok(Frame::Bulk(value)) => Some(value.to_vec()),
            Ok(Frame::Null) => None,
            _ => panic!("GET {key} answered {}", reply.escape_ascii()),
        }
    }

    /// Wait for the next push.
    ///
    /// # Panics
    ///
    /// Panics if a reply comes instead, or nothing for ten seconds.
    pub fn read_push(&mut self) -> Vec<u8> {
        if let Some(push) = self.pushes.pop_front() {
            return push;
        }
        let frame = self.read_frame().unwrap_or_else(|error| panic!("waiting for a push: {error}"));
        assert_eq!(frame[0], b'>', "not a push: {}", frame.escape_ascii());
        frame
    }

    /// Return every push of changes up to now.
    ///
    /// # Panics
    ///
    /// Panics if the connection fails.
    pub fn pushes(&mut self) -> Vec<Vec<u8>> {
        // Pushes for earlier changes come before the reply to this.
        self.call(&["PING"]);
        self.pushes.drain(..).collect()
    }

    /// Write a command without waiting for its reply.
    ///
    /// # Errors
    ///
    /// Fails if the connection has ended.
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<()> {
        let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
        let mut request = Vec::new();
        resp::command(&mut request, &args);
        self.send_bytes(&request)
    }

    /// Write arbitrary bytes.
    ///
    /// # Errors
    ///
    /// Fails if the connection has ended.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Wait for the next frame, a reply or a push, and return its bytes.
    ///
    /// # Errors
    ///
    /// Fails if the connection ends (`UnexpectedEof`), is silent for ten seconds, or sends bytes
    /// that are not a frame.
    pub fn read_frame(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let end = self.scanner.scan(&self.buffer);
            if let Some(end) = end.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))? {
                return Ok(self.buffer.drain(..end).collect());
            }
            let mut piece = [0; 16 * 1024];
            match self.socket.read(&mut piece)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                length => self.buffer.extend_from_slice(&piece[..length]),
            }
        }
    }
}

fn show<A: AsRef<[u8]>>(args: &[A]) -> String {
    let words = args.iter().map(|arg| arg.as_ref().escape_ascii().to_string());
    words.collect::<Vec<_>>().join(" ")
}
