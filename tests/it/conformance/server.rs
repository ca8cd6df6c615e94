//! The server of a scenario: a real one or the embedded one, chosen by the harness. With
//! `REDCACHE_TLS=1` the real ones speak TLS.

use std::cell::Cell;
use std::env;
use std::net::SocketAddr;

use redcache_core::{Config, ConfigError, IntoConfig, TlsConfig};
use redcache_sim::listen::EmbeddedServer;
use redcache_tests::{Raw, RedisServer, TlsServer};

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
    /// A real server that caches reach by TLS, and clients of the tests without it.
    Encrypted(TlsServer),
    Embedded(EmbeddedServer),
}

fn is_encrypted() -> bool {
    env::var("REDCACHE_TLS").is_ok_and(|flag| flag == "1")
}

/// Return the settings of a cache, which trusts every encrypted server of a scenario.
pub(crate) fn trusting(config: impl IntoConfig) -> Result<Config, ConfigError> {
    let config = config.into_config()?;
    if !is_encrypted() || config.tls() != Some(&TlsConfig::new()) {
        return Ok(config);
    }
    config.into_builder().tls(TlsConfig::new().insecure(true)).build()
}

impl Server {
    /// Start a server of the chosen kind.
    pub(crate) fn start() -> Self {
        match KIND.get() {
            Kind::Real if is_encrypted() => Self::Encrypted(TlsServer::start("server", false)),
            Kind::Real => Self::Real(RedisServer::start()),
            Kind::Embedded => Self::Embedded(EmbeddedServer::start().unwrap()),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Real(server) => server.address(),
            Self::Encrypted(server) => server.server().address(),
            Self::Embedded(server) => server.address(),
        }
    }

    /// Return the address by which caches name the server.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Real(_) | Self::Embedded(_) => self.address().to_string(),
            Self::Encrypted(server) => format!("localhost:{}", server.port()),
        }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Real(_) | Self::Embedded(_) => format!("redis://{}", self.name()),
            Self::Encrypted(_) => format!("rediss://{}", self.name()),
        }
    }

    /// Return whether the server publishes values without scripts, in transactions.
    pub(crate) fn is_valkey(&self) -> bool {
        match self {
            Self::Real(server) => server.is_valkey(),
            Self::Encrypted(server) => server.server().is_valkey(),
            Self::Embedded(_) => false,
        }
    }

    /// Connect a client of the tests.
    pub(crate) fn connect(&self) -> Raw {
        Raw::connect(self.address())
    }
}
