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

use redcache_adapter::address_of;
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
    /// Connect to the first of several addresses that accepts, and return its place. Each attempt
    /// gets an equal share of the remaining time, so a silent address leaves time for the next
    /// ones.
    ///
    /// `timeout` limits neither a name lookup nor the wait for a Unix socket whose server does not
    /// accept.
    pub(crate) fn connect_any(peers: &[Address], timeout: Duration) -> io::Result<(usize, Self)> {
        let until = Instant::now() + timeout;
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for (place, peer) in peers.iter().enumerate() {
            let left = until.saturating_duration_since(Instant::now());
            // A host has few addresses.
            let share = left / u32::try_from(peers.len() - place).unwrap_or(u32::MAX);
            if share.is_zero() {
                return Err(timed_out());
            }
            match Self::connect(peer, share) {
                Ok(socket) => return Ok((place, socket)),
                // A timeout of the system has an error number; one of `connect_timeout` has none.
                Err(error)
                    if error.kind() == io::ErrorKind::TimedOut
                        && error.raw_os_error().is_none() =>
                {
                    failure = timed_out();
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn connect(address: &Address, timeout: Duration) -> io::Result<Self> {
        match address {
            Address::Tcp { host, port } => {
                let address = (host.as_str(), *port).to_socket_addrs()?.next();
                let address = address.ok_or(io::ErrorKind::NotFound)?;
                let stream = TcpStream::connect_timeout(&address, timeout)?;
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

/// Return the addresses that a host name resolves to.
pub(crate) fn resolve(address: &Address) -> io::Result<Vec<Address>> {
    match address {
        Address::Tcp { host, port } => {
            Ok((host.as_str(), *port).to_socket_addrs()?.map(address_of).collect())
        }
        Address::Unix(_) => Ok(vec![address.clone()]),
    }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no connection within `connect_timeout`")
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use super::*;

    #[test]
    fn an_address_that_refuses_keeps_no_other_from_its_chance() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = address_of(listener.local_addr().unwrap());
        let refusing = address_of("127.0.0.1:1".parse::<SocketAddr>().unwrap());
        let timeout = Duration::from_secs(5);
        assert_eq!(resolve(&open).unwrap(), std::slice::from_ref(&open));
        let peers = [refusing.clone(), open];
        assert_eq!(Socket::connect_any(&peers, timeout).map(|(place, _)| place).unwrap(), 1);
        assert!(Socket::connect_any(&[refusing], timeout).is_err());
        let none = Socket::connect_any(&[], timeout).map(|_| ()).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
    }
}
