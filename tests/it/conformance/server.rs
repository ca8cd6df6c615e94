//! The server of a scenario: a real one, or the embedded one, whichever the harness has chosen.

use std::cell::Cell;
use std::net::SocketAddr;

use redcache_sim::listen::EmbeddedServer;
use redcache_tests::{Raw, RedisServer};

/// Which server [`Server::start`] starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Real,
    Embedded,
}

thread_local! {
    /// Each scenario runs on a thread of its own, and starts its servers there.
    static KIND: Cell<Kind> = const { Cell::new(Kind::Real) };
}

impl Kind {
    /// Chooses for everything that this thread starts from now on.
    pub(crate) fn choose(self) {
        KIND.set(self);
    }
}

/// A server of which nothing is asked but that it speaks to clients.
#[derive(Debug)]
pub(crate) enum Server {
    Real(RedisServer),
    Embedded(EmbeddedServer),
}

impl Server {
    /// Starts a server of the kind that was chosen.
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

    /// Connects a client of the tests.
    pub(crate) fn connect(&self) -> Raw {
        Raw::connect(self.address())
    }
}
