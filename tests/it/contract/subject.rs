//! The two servers of a contract test: the model, and a real Redis.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::{env, thread};

use redcache_sim::listen::EmbeddedServer;
use redcache_tests::{Raw, RedisServer};

use super::scripts;

const ADDRESS_VARIABLE: &str = "REDCACHE_CONTRACT_ADDR";

/// A server that probes are sent to.
pub(super) struct Subject {
    kind: Kind,
    /// The connection that puts the server in order between two probes.
    admin: Mutex<Raw>,
}

enum Kind {
    Model(EmbeddedServer),
    Started(RedisServer),
    Named(SocketAddr),
}

impl Subject {
    pub(super) fn model() -> Self {
        let server = EmbeddedServer::start().unwrap();
        server.with(|server| {
            for (_, source, effect) in scripts::TAUGHT {
                server.learn_script(source, effect);
            }
        });
        Self::new(Kind::Model(server))
    }

    pub(super) fn redis() -> Self {
        match env::var(ADDRESS_VARIABLE) {
            Ok(address) => Self::new(Kind::Named(address.parse().expect("an address with a port"))),
            Err(_) => Self::new(Kind::Started(RedisServer::start())),
        }
    }

    fn new(kind: Kind) -> Self {
        let admin = Mutex::new(Raw::connect(kind.address()));
        Self { kind, admin }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.kind.address()
    }

    /// Makes the server what it was when it started, as far as a probe may have changed it.
    pub(super) fn reset(&self) {
        for happening in ["master", "idle", "permits client|tracking", "permits eval"] {
            self.happen(happening);
        }
        let settings = [
            ["maxmemory", "0"],
            ["maxmemory-policy", "noeviction"],
            ["tracking-table-max-keys", "1000000"],
            ["maxclients", "1000"],
            ["requirepass", ""],
        ];
        for [name, value] in settings {
            self.admin_ok(&["CONFIG", "SET", name, value]);
        }
        self.admin_ok(&["DEBUG", "SET-ACTIVE-EXPIRE", "1"]);
        self.admin_ok(&["FLUSHALL"]);
        self.admin_ok(&["SCRIPT", "FLUSH"]);
    }

    /// Lets something happen to the server that no client of a probe can do, on each kind of server in its own way.
    pub(super) fn happen(&self, what: &str) {
        match &self.kind {
            Kind::Model(server) => server.with(|server| match what.split_once(' ') {
                None if what == "replica" => server.set_read_only(true),
                None if what == "master" => server.set_read_only(false),
                None if what == "busy" => server.set_busy(true),
                None if what == "idle" => server.set_busy(false),
                Some(("forbids", command)) => {
                    server.configure(|config| _ = config.forbidden.insert(command.to_owned()));
                }
                Some(("permits", command)) => {
                    server.configure(|config| _ = config.forbidden.remove(command));
                }
                _ => panic!("nobody knows how the server becomes `{what}`"),
            }),
            Kind::Started(_) | Kind::Named(_) => match what.split_once(' ') {
                None if what == "replica" => self.admin_ok(&["REPLICAOF", "127.0.0.1", "1"]),
                None if what == "master" => self.admin_ok(&["REPLICAOF", "NO", "ONE"]),
                None if what == "busy" => self.keep_busy(),
                None if what == "idle" => self.let_go(),
                Some(("forbids", command)) => {
                    self.admin_ok(&["ACL", "SETUSER", "default", &format!("-{command}")]);
                }
                Some(("permits", command)) => {
                    self.admin_ok(&["ACL", "SETUSER", "default", &format!("+{command}")]);
                }
                _ => panic!("nobody knows how the server becomes `{what}`"),
            },
        }
    }

    fn keep_busy(&self) {
        self.admin_ok(&["CONFIG", "SET", "busy-reply-threshold", "1"]);
        let mut busy = Raw::connect(self.address());
        busy.send(&["EVAL", "while true do end", "0"]).unwrap();
        while !self.admin(&["PING"]).starts_with(b"-BUSY") {
            thread::yield_now();
        }
    }

    fn let_go(&self) {
        self.admin(&["SCRIPT", "KILL"]);
        while self.admin(&["PING"]).starts_with(b"-BUSY") {
            thread::yield_now();
        }
    }

    fn admin(&self, args: &[&str]) -> Vec<u8> {
        self.admin.lock().unwrap_or_else(PoisonError::into_inner).call(args)
    }

    fn admin_ok(&self, args: &[&str]) {
        self.admin.lock().unwrap_or_else(PoisonError::into_inner).ok(args);
    }
}

impl Kind {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Model(server) => server.address(),
            Self::Started(server) => server.address(),
            Self::Named(address) => *address,
        }
    }
}
