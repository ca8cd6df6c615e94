//! The two servers of a contract test: the model, and a real Redis.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::{env, thread};

use redcache_core::protocol::Slot;
use redcache_sim::listen::EmbeddedServer;
use redcache_sim::server::{Cluster, Config, Member};
use redcache_tests::{Raw, RedisServer};

use super::scripts;

const ADDRESS_VARIABLE: &str = "REDCACHE_CONTRACT_ADDR";

/// The ids of the probed node and of the other node of its cluster, which never runs.
const NODES: [&str; 2] =
    ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"];
const OTHER_PLACE: (&str, u16) = ("127.0.0.9", 7009);
/// The owners of slots; slots after the last have none.
const SLOTS: [(u16, u16); 2] = [(0, 8191), (8192, 16000)];
/// The slots that probes change, and their owners.
const USED_SLOTS: [(&str, &str); 2] = [("3300", NODES[0]), ("12182", NODES[1])];

/// A server that probes are sent to.
pub(super) struct Subject {
    kind: Kind,
    /// The connection that resets the server between two probes.
    admin: Mutex<Raw>,
    is_node: bool,
}

enum Kind {
    Model(EmbeddedServer),
    Started(RedisServer),
    Named(SocketAddr),
}

impl Subject {
    /// Return the model of the same product and version as `redis`.
    pub(super) fn model_of(redis: &Self) -> Self {
        let dialect = redis.dialect();
        let server = EmbeddedServer::start().unwrap();
        server.with(|server| {
            server.configure(|config| *config = dialect);
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

    /// Return the settings with which the model answers like this server.
    fn dialect(&self) -> Config {
        let info = String::from_utf8(self.admin(&["INFO", "server"])).unwrap();
        let field =
            |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let major = field("redis_version").and_then(|version| version.split('.').next()).unwrap();
        match (field("server_name"), major) {
            (Some("valkey"), _) => Config::valkey_9(),
            (_, "7") => Config::default(),
            _ => Config::redis_8(),
        }
    }

    /// Return the model of the same product and version as `redis`, as a node of a cluster.
    pub(super) fn model_node_of(redis: &Self) -> Self {
        let subject = Self { is_node: true, ..Self::model_of(redis) };
        let members = vec![
            Member { epoch: 1, ..Member::new(NODES[0], "127.0.0.1", subject.address().port()) },
            Member { epoch: 2, ..Member::new(NODES[1], OTHER_PLACE.0, OTHER_PLACE.1) },
        ];
        let mut cluster = Cluster::new(members, 0);
        for (owner, (first, last)) in SLOTS.into_iter().enumerate() {
            let [first, last] = [first, last].map(|slot| Slot::new(slot).unwrap());
            cluster.assign_range(first, last, Some(owner));
        }
        if let Kind::Model(server) = &subject.kind {
            server.with(|server| server.join_cluster(cluster));
        }
        subject
    }

    /// Return a real node of a cluster, which knows the other node from a file.
    pub(super) fn redis_node() -> Self {
        let [(first, last), (other_first, other_last)] = SLOTS;
        let (host, port) = OTHER_PLACE;
        let [mine, other] = NODES;
        // Newer servers leave a node out of `CLUSTER SHARDS` whose shard has no id.
        let [shard, other_shard] = match Self::redis().dialect() {
            Config { version: (7, 0, _), .. } => [String::new(), String::new()],
            _ => NODES.map(|id| format!(",,shard-id={id}")),
        };
        let view = format!(
            "{mine} 127.0.0.1:1@2{shard} myself,master - 0 0 1 connected {first}-{last}\n\
             {other} {host}:{port}@17009{other_shard} master - 0 0 2 connected \
             {other_first}-{other_last}\n\
             vars currentEpoch 2 lastVoteEpoch 0\n",
        );
        let server = RedisServer::start_member(&view);
        Self { is_node: true, ..Self::new(Kind::Started(server)) }
    }

    fn new(kind: Kind) -> Self {
        let admin = Mutex::new(Raw::connect(kind.address()));
        Self { kind, admin, is_node: false }
    }

    /// Return the node that a word of a probe stands for.
    pub(super) fn node_id(word: &str) -> Option<&'static str> {
        match word {
            "me" => Some(NODES[0]),
            "peer" => Some(NODES[1]),
            _ => None,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.kind.address()
    }

    /// Undo every change that a probe can make to the server.
    pub(super) fn reset(&self) {
        if self.is_node {
            self.admin_ok(&["FLUSHALL"]);
            self.admin_ok(&["DEBUG", "SET-ACTIVE-EXPIRE", "1"]);
            for (slot, owner) in USED_SLOTS {
                self.admin_ok(&["CLUSTER", "SETSLOT", slot, "STABLE"]);
                self.admin_ok(&["CLUSTER", "SETSLOT", slot, "NODE", owner]);
            }
            return;
        }
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

    /// Cause an event in the server that no client of a probe can cause.
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
