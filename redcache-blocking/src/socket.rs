//! A connected stream: TCP or a Unix domain socket.

#[cfg(not(unix))]
use std::io::Read;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use redcache_core::Address;
#[cfg(unix)]
use rustix::net::RecvFlags;

/// A blocking socket that one thread reads while another writes.
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Socket {
    /// Connect to `address`. `timeout` limits neither a name lookup nor the wait for a Unix socket
    /// whose server does not accept.
    pub(crate) fn connect(address: &Address, timeout: Duration) -> io::Result<Self> {
        match address {
            Address::Tcp { host, port } => {
                let stream = connect_tcp(host, *port, timeout)?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
            #[cfg(unix)]
            Address::Unix(path) => Ok(Self::Unix(UnixStream::connect(path)?)),
            #[cfg(not(unix))]
            Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Wait until there are bytes to read or the connection has ended.
    #[cfg(unix)]
    pub(crate) fn wait_readable(&self) -> io::Result<()> {
        retry(|| Ok(rustix::net::recv(self, &mut [0; 1], RecvFlags::PEEK)?)).map(|_| ())
    }

    /// Return at once: this system has no way to peek at a socket, so the next read waits instead.
    #[cfg(not(unix))]
    pub(crate) fn wait_readable(&self) -> io::Result<()> {
        Ok(())
    }

    /// Read the bytes that have arrived. Return zero at the end of the connection, and `None` if
    /// there are no bytes yet.
    #[cfg(unix)]
    pub(crate) fn read_now(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match retry(|| Ok(rustix::net::recv(self, &mut *buffer, RecvFlags::DONTWAIT)?.0)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            read => read.map(Some),
        }
    }

    /// Wait for bytes and read them. Return zero at the end of the connection.
    #[cfg(not(unix))]
    pub(crate) fn read_now(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Self::Tcp(stream) = self;
        retry(|| (&mut &*stream).read(buffer)).map(Some)
    }

    /// Write all bytes, and wait until the kernel has taken them.
    pub(crate) fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => (&mut &*stream).write_all(bytes),
            #[cfg(unix)]
            Self::Unix(stream) => (&mut &*stream).write_all(bytes),
        }
    }

    /// Shut the connection down, which also ends every read and write that waits.
    pub(crate) fn shut_down(&self) {
        // It fails if the peer has closed the connection already.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            #[cfg(unix)]
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

#[cfg(unix)]
impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// Repeat an operation that a signal interrupts.
fn retry<T>(mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match act() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Try each address of the host. Each attempt gets an equal share of the remaining time, so a
/// silent address leaves time for the next ones.
fn connect_tcp(host: &str, port: u16, timeout: Duration) -> io::Result<TcpStream> {
    let until = Instant::now() + timeout;
    let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (address, addresses_left) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let left = until.saturating_duration_since(Instant::now());
        // A host has few addresses.
        let share = left / u32::try_from(addresses_left).unwrap_or(u32::MAX);
        if share.is_zero() {
            return Err(timed_out());
        }
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => return Ok(stream),
            // A timeout of the system has an error number; one of `connect_timeout` has none.
            Err(error)
                if error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none() =>
            {
                failure = timed_out();
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no connection within `connect_timeout`")
}
