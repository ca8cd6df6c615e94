//! The server of a scenario: a real one or the embedded one, chosen by the harness.

use std::cell::Cell;
use std::net::SocketAddr;

use redcache_sim::listen::EmbeddedServer;
use redcache_tests::{Raw, RedisServer};

/// The kind of server that [`Server::start`] starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Real,
    Embedded,
}

thread_local! {
    /// Each scenario runs on its own thread and starts its servers there.
    static KIND: Cell<Kind> = const { Cell::new(Kind::Real) };
}

impl Kind {
    /// Choose the kind of every server that this thread starts from now on.
    pub(crate) fn choose(self) {
        KIND.set(self);
    }
}

/// A server for scenarios that need no control over it.
#[derive(Debug)]
pub(crate) enum Server {
    Real(RedisServer),
    Embedded(EmbeddedServer),
}

impl Server {
    /// Start a server of the chosen kind.
    pub(crate) fn start() -> Self {
        match KIND.get() {
            Kind::Real => Self::Real(RedisServer::start()),
            Kind::Embedded => Self::Embedded(EmbeddedServer::start().unwrap()),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Real(server) => server.address(),
            Self::Embedded(server) => server.address(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Return whether the server publishes values without scripts, in transactions.
    pub(crate) fn is_valkey(&self) -> bool {
        match self {
            Self::Real(server) => server.is_valkey(),
            Self::Embedded(_) => false,
        }
    }

    /// Connect a client of the tests.
    pub(crate) fn connect(&self) -> Raw {
        Raw::connect(self.address())
    }
}
