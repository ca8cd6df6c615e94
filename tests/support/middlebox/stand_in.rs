//! A proxy in this process that treats its clients as twemproxy or HAProxy does.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redcache_core::resp::{Frame, Limits, Scanner, decode};

/// The commands of a cache that twemproxy 0.5 knows.
const KNOWN: [&str; 12] = [
    "AUTH", "DEL", "EVAL", "EVALSHA", "EXPIRE", "GET", "MGET", "PEXPIRE", "PING", "PTTL", "SET",
    "UNLINK",
];

/// The treatment of a client.
#[derive(Debug, Clone, Copy)]
pub(super) enum Manner {
    /// Like twemproxy: a connection ends at a command that the proxy does not know.
    HangsUpAtUnknownCommands,
    /// Like HAProxy in TCP mode: a connection ends when its client has been silent for this time.
    EndsIdle(Duration),
}

/// A proxy in front of one server. Its connections end with those of the clients.
#[derive(Debug)]
pub(super) struct StandIn {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl StandIn {
    /// Listen on a free port.
    pub(super) fn start(server: SocketAddr, manner: Manner) -> Self {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let is_over = Arc::new(AtomicBool::new(false));
        let acceptor = {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    // The connection of a client ends if its server has stopped.
                    let _ = forward(&client, server, manner);
                }
            })
        };
        Self { address, is_over, acceptor: Some(acceptor) }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // The acceptor reads the flag when a client connects.
        let is_awake = TcpStream::connect(self.address).is_ok();
        if let Some(acceptor) = self.acceptor.take().filter(|_| is_awake) {
            let _ = acceptor.join();
        }
    }
}

/// Forward the bytes of one client in two threads.
fn forward(client: &TcpStream, server: SocketAddr, manner: Manner) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    let mut filter = match manner {
        Manner::HangsUpAtUnknownCommands => Some(Filter::default()),
        Manner::EndsIdle(idle) => {
            client.set_read_timeout(Some(idle))?;
            None
        }
    };
    let [client_to, client_from] = [client.try_clone()?, client.try_clone()?];
    let [server_to, server_from] = [server.try_clone()?, server];
    thread::spawn(move || {
        carry(client_from, server_to, |bytes| filter.as_mut().is_none_or(|it| it.passes(bytes)));
    });
    thread::spawn(move || carry(server_from, client_to, |_| true));
    Ok(())
}

/// Forward bytes until either side ends, the time-out is reached, or `passes` returns `false`.
fn carry(mut from: TcpStream, mut to: TcpStream, mut passes: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if !passes(&buffer[..count]) || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    for end in [from, to] {
        // It fails if the peer has closed the connection already.
        let _ = end.shutdown(Shutdown::Both);
    }
}

/// The commands of one client.
#[derive(Debug, Default)]
struct Filter {
    unread: Vec<u8>,
}

impl Filter {
    /// Return whether every command that is complete with these bytes is known.
    fn passes(&mut self, bytes: &[u8]) -> bool {
        self.unread.extend_from_slice(bytes);
        let mut rest = &self.unread[..];
        while let Ok(Some(end)) = Scanner::new(Limits::default()).scan(rest) {
            let (command, others) = rest.split_at(end);
            rest = others;
            if !is_known(command) {
                return false;
            }
        }
        self.unread = rest.to_vec();
        true
    }
}

fn is_known(command: &[u8]) -> bool {
    let Ok(Frame::Array(words)) = decode(command) else { return false };
    let Some(Frame::Bulk(name)) = words.first() else { return false };
    KNOWN.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Raw, RedisServer};

    #[test]
    fn a_connection_ends_at_a_command_that_twemproxy_does_not_know() {
        let server = RedisServer::start();
        let proxy = StandIn::start(server.address(), Manner::HangsUpAtUnknownCommands);
        for unknown in [&["HELLO", "3"][..], &["CLIENT", "SETINFO", "LIB-NAME", "x"]] {
            let mut client = Raw::connect(proxy.address());
            assert_eq!(client.call(&["PING"]), b"+PONG\r\n");
            assert!(client.try_call(unknown).is_err());
        }
    }

    #[test]
    fn a_connection_ends_when_its_client_is_silent() {
        let server = RedisServer::start();
        let proxy = StandIn::start(server.address(), Manner::EndsIdle(Duration::from_millis(50)));
        let mut client = Raw::connect(proxy.address());
        assert_eq!(client.call(&["PING"]), b"+PONG\r\n");
        assert!(client.read_frame().is_err());
    }
}
