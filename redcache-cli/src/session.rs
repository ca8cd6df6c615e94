//! A connection that sends one command after another and shows the replies as they are.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use redcache_adapter::{Channel, Encryption};
use redcache_core::resp::{self, Frame, Limits, Scanner};
use redcache_core::{Address, Config, protocol};

/// A connection to one server.
pub(crate) struct Session {
    stream: Stream,
    channel: Channel,
    scanner: Scanner,
    /// Bytes that were received and not consumed.
    buffer: Vec<u8>,
    pushes: VecDeque<Vec<u8>>,
    timeout: Duration,
}

enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// One whole frame from a server.
pub(crate) struct Reply(Vec<u8>);

impl Reply {
    /// Return the decoded frame.
    pub(crate) fn frame(&self) -> Frame<'_> {
        // The scanner accepted the whole frame, so the decoder does not fail on it.
        resp::decode(&self.0).unwrap_or(Frame::Null)
    }

    /// Return the text of an error in a printable form.
    pub(crate) fn refusal(&self) -> Option<String> {
        match self.frame() {
            Frame::Error(text) => Some(protocol::show_refusal(text)),
            _ => None,
        }
    }
}

impl Session {
    /// Connect to the server at `address`, and do not log in.
    ///
    /// # Errors
    ///
    /// Fails with the reason why there is no connection.
    pub(crate) fn connect(
        config: &Config,
        address: &Address,
        timeout: Duration,
    ) -> io::Result<Self> {
        let encryption = Encryption::new(config).map_err(io::Error::other)?;
        let channel = encryption.channel(config, address)?;
        let stream = Stream::connect(&config.mapped(address), timeout)?;
        let mut session = Self {
            stream,
            channel,
            scanner: Scanner::new(Limits::default()),
            buffer: Vec::new(),
            pushes: VecDeque::new(),
            timeout,
        };
        session.send(&[])?;
        Ok(session)
    }

    /// Send a command and wait for its reply. Pushes are kept for [`next_push`](Self::next_push).
    ///
    /// # Errors
    ///
    /// Fails if the connection ends, or the server does not reply in time.
    pub(crate) fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> io::Result<Reply> {
        let mut out = Vec::new();
        let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
        resp::command(&mut out, &words);
        self.exchange(&out)
    }

    /// Send the bytes of one command and wait for its reply.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call).
    pub(crate) fn exchange(&mut self, command: &[u8]) -> io::Result<Reply> {
        self.send(command)?;
        let until = Instant::now() + self.timeout;
        loop {
            match self.read_frame(until)? {
                Some(frame) if frame.first() == Some(&b'>') => self.pushes.push_back(frame),
                Some(frame) => return Ok(Reply(frame)),
                None => {
                    let text = format!("the server did not reply within {:?}", self.timeout);
                    return Err(io::Error::new(ErrorKind::TimedOut, text));
                }
            }
        }
    }

    /// Wait for the next push until the given time; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Fails if the connection ends.
    pub(crate) fn next_push(&mut self, until: Instant) -> io::Result<Option<Reply>> {
        if let Some(push) = self.pushes.pop_front() {
            return Ok(Some(Reply(push)));
        }
        Ok(self.read_frame(until)?.map(Reply))
    }

    fn send(&mut self, command: &[u8]) -> io::Result<()> {
        let mut bytes = command.to_vec();
        self.channel.seal(&mut bytes)?;
        self.stream.write_all(&bytes, self.timeout)
    }

    fn read_frame(&mut self, until: Instant) -> io::Result<Option<Vec<u8>>> {
        loop {
            let end = self.scanner.scan(&self.buffer);
            let end = end.map_err(|error| {
                let text = format!("the server does not speak the protocol of Redis: {error}");
                io::Error::new(ErrorKind::InvalidData, text)
            })?;
            if let Some(end) = end {
                return Ok(Some(self.buffer.drain(..end).collect()));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let mut piece = [0; 16 << 10];
            match self.stream.read(&mut piece, left) {
                Ok(0) => {
                    let text = "the server closed the connection";
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, text));
                }
                Ok(length) => self.receive(&piece[..length])?,
                Err(error) if is_silence(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn receive(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut plaintext = Vec::new();
        let opened = self.channel.open(bytes, &mut plaintext)?;
        self.buffer.extend_from_slice(opened);
        if self.channel.has_output() {
            self.send(&[])?;
        }
        Ok(())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

impl Stream {
    fn connect(address: &Address, timeout: Duration) -> io::Result<Self> {
        match address {
            Address::Tcp { host, port } => {
                let mut failure = io::Error::new(ErrorKind::NotFound, "the name has no address");
                for address in (host.as_str(), *port).to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, timeout) {
                        Ok(stream) => {
                            stream.set_nodelay(true)?;
                            return Ok(Self::Tcp(stream));
                        }
                        Err(error) => failure = error,
                    }
                }
                Err(failure)
            }
            #[cfg(unix)]
            Address::Unix(path) => Ok(Self::Unix(UnixStream::connect(path)?)),
            #[cfg(not(unix))]
            Address::Unix(_) => Err(ErrorKind::Unsupported.into()),
        }
    }

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.read(buffer)
            }
            #[cfg(unix)]
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.read(buffer)
            }
        }
    }

    fn write_all(&mut self, bytes: &[u8], timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_write_timeout(Some(timeout))?;
                stream.write_all(bytes)
            }
            #[cfg(unix)]
            Self::Unix(stream) => {
                stream.set_write_timeout(Some(timeout))?;
                stream.write_all(bytes)
            }
        }
    }
}
