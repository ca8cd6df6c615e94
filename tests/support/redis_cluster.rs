//! A real Redis Cluster for tests, which is stopped when it is dropped.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use redcache_core::protocol::Slot;
use redcache_core::resp::{Frame, decode};

use crate::raw::Raw;
use crate::redis_server::RedisServer;
use crate::tls_group::TlsGroup;

/// The arguments of every node. No replica takes over without a command, because on a busy machine
/// a node may be silent for long.
const NODE: &[&str] = &[
    "--cluster-node-timeout",
    "3000",
    "--cluster-replica-no-failover",
    "yes",
    "--repl-diskless-sync-delay",
    "0",
];

/// The initial number of primaries. Each has one replica.
const PRIMARIES: usize = 3;

/// The time that a cluster has until all nodes agree.
const AGREE_MAX: Duration = Duration::from_secs(60);

/// The time that a replica has to take over before the command is repeated; a little more than its
/// own limit.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(6);

/// The time for which a node keeps the votes of its last election: twice the node timeout, and a
/// little more. Redis counts them again if the node is promoted once more within that time. The
/// node then promotes itself under its old epoch, and is demoted as soon as it receives the newer
/// one.
const VOTES_LAST: Duration = Duration::from_secs(7);

/// The pause between two polls.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// The number of polls without a redirect after which the clients have left a node.
const LEFT_AFTER: usize = 30;

/// Three primaries with a replica each, on the loopback interface.
///
/// A node keeps its number: 0 to 2 begin as primaries, 3 to 5 as their replicas, further ones join
/// later.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
    tls: Option<TlsGroup>,
    /// The end of the last election that each node may have won.
    elected_at: Mutex<BTreeMap<usize, Instant>>,
}

impl RedisCluster {
    /// Start the nodes and wait until they are one cluster.
    ///
    /// # Panics
    ///
    /// Panics if there is no `redis-server`, or the nodes do not form a cluster.
    pub fn start() -> Self {
        Self::start_with(vec![Vec::new(); 2 * PRIMARIES], None)
    }

    /// Start a cluster whose nodes speak TLS with their clients and with each other, and wait until
    /// they are one.
    ///
    /// # Panics
    ///
    /// Panics if there is no `redis-server` with TLS, or the nodes do not form a cluster.
    pub fn start_with_tls() -> Self {
        let tls = TlsGroup::new(2 * PRIMARIES);
        let args = tls.ports.iter().map(|port| {
            let mut args = tls.args(*port);
            args.extend(["--tls-cluster", "yes"].map(str::to_owned));
            args
        });
        Self::start_with(args.collect(), Some(tls))
    }

    /// Start a cluster whose nodes have this many databases, and wait until they are one. Return
    /// `None` if the clusters of the server have database 0 only.
    ///
    /// # Panics
    ///
    /// Panics if there is no `redis-server`, or the nodes do not form a cluster.
    pub fn start_with_databases(count: usize) -> Option<Self> {
        let reply = RedisServer::start().connect().call(&["CONFIG", "GET", "cluster-databases"]);
        let is_known = matches!(decode(&reply), Ok(Frame::Array(words)) if !words.is_empty());
        let args = ["--cluster-databases".to_owned(), count.to_string()].to_vec();
        is_known.then(|| Self::start_with(vec![args; 2 * PRIMARIES], None))
    }

    /// Start a cluster whose nodes have these further arguments.
    fn start_with(args: Vec<Vec<String>>, tls: Option<TlsGroup>) -> Self {
        let start = |args: Vec<String>| {
            thread::spawn(move || {
                let own = args.iter().map(String::as_str);
                RedisServer::start_node(&NODE.iter().copied().chain(own).collect::<Vec<_>>())
            })
        };
        let starting: Vec<_> = args.into_iter().map(start).collect();
        let nodes = starting.into_iter().map(|node| node.join().expect("the node starts"));
        let cluster = Self { nodes: nodes.collect(), tls, elected_at: Mutex::default() };
        cluster.form();
        cluster
    }

    /// Return the port on which a node talks to the other nodes.
    fn own_port(&self, number: usize) -> u16 {
        let tls = self.tls.as_ref().map(|tls| tls.ports[number]);
        tls.unwrap_or_else(|| self.nodes[number].port())
    }

    /// Return a URL for TLS that names the primaries by the host `localhost`, and presents a
    /// certificate of the client.
    ///
    /// # Panics
    ///
    /// Panics if the cluster does not speak TLS.
    pub fn tls_url(&self) -> String {
        let tls = self.tls.as_ref().expect("the cluster speaks TLS");
        let seeds: Vec<_> =
            tls.ports[..PRIMARIES].iter().map(|port| format!("localhost:{port}")).collect();
        format!("rediss-cluster://{}/?{}", seeds.join(","), tls.url_options())
    }

    fn form(&self) {
        let mut clients: Vec<Raw> = self.nodes.iter().map(RedisServer::connect).collect();
        let share = usize::from(Slot::COUNT).div_ceil(PRIMARIES);
        for (number, client) in clients.iter_mut().enumerate() {
            // Nodes with different epochs have no conflict to resolve.
            client.ok(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            if number < PRIMARIES {
                let (first, end) = (number * share, ((number + 1) * share));
                let last = end.min(usize::from(Slot::COUNT)) - 1;
                let [first, last] = [first, last].map(|slot| slot.to_string());
                client.ok(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            }
        }
        for number in 1..clients.len() {
            for client in &mut clients[..number] {
                self.meet(client, number);
            }
        }
        self.wait_until_known(self.nodes.len());
        for number in PRIMARIES..2 * PRIMARIES {
            self.replicate(number, number - PRIMARIES);
        }
        self.wait_until_healthy();
    }

    fn meet(&self, client: &mut Raw, number: usize) {
        let node = &self.nodes[number];
        let bus_port = node.bus_port().expect("a node has a bus").to_string();
        let port = self.own_port(number).to_string();
        client.ok(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus_port]);
    }

    /// Make a node a replica of another that it knows.
    ///
    /// # Panics
    ///
    /// Panics if the node does not become a replica.
    pub fn replicate(&self, replica: usize, primary: usize) {
        let id = self.id(primary);
        self.wait("a node becomes a replica", || {
            self.connect(replica).call(&["CLUSTER", "REPLICATE", &id]) == b"+OK\r\n"
        });
    }

    /// Start another node without slots, wait until it has joined, and return its number.
    ///
    /// # Panics
    ///
    /// Panics if it does not start or join.
    pub fn add_node(&mut self) -> usize {
        let number = self.nodes.len();
        self.nodes.push(RedisServer::start_node(NODE));
        let running: Vec<usize> = self.running().filter(|other| *other != number).collect();
        for other in &running {
            self.meet(&mut self.connect(*other), number);
        }
        self.wait_until_known(running.len() + 1);
        self.wait_until_healthy();
        number
    }

    /// Remove a node without slots from the cluster, and stop it.
    ///
    /// # Panics
    ///
    /// Panics if the others do not forget it.
    pub fn remove_node(&mut self, number: usize) {
        let id = self.id(number);
        self.nodes[number].stop();
        for other in self.running().collect::<Vec<_>>() {
            self.connect(other).ok(&["CLUSTER", "FORGET", &id]);
        }
    }

    /// Return the server with this number.
    pub fn node(&self, number: usize) -> &RedisServer {
        &self.nodes[number]
    }

    /// Return the server with this number, to stop or restart it.
    pub fn node_mut(&mut self, number: usize) -> &mut RedisServer {
        &mut self.nodes[number]
    }

    /// Connect a client to a node.
    ///
    /// # Panics
    ///
    /// Panics if the node does not accept.
    pub fn connect(&self, number: usize) -> Raw {
        self.nodes[number].connect()
    }

    /// Connect to the node that owns the slot of a key.
    ///
    /// # Panics
    ///
    /// Panics if no node owns it, or the node does not accept.
    pub fn connect_to_owner(&self, key: impl AsRef<[u8]>) -> Raw {
        self.connect(self.owner(Slot::of(key.as_ref())))
    }

    /// Return a URL that names every node.
    pub fn url(&self) -> String {
        self.url_of(&self.running().collect::<Vec<_>>())
    }

    /// Return a URL that names some nodes.
    pub fn url_of(&self, numbers: &[usize]) -> String {
        let seeds: Vec<_> =
            numbers.iter().map(|number| self.nodes[*number].address().to_string()).collect();
        format!("redis-cluster://{}", seeds.join(","))
    }

    /// Return the numbers of the nodes that run.
    pub fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|number| self.nodes[*number].is_running())
    }

    /// Return the number of the node that reports itself as the owner of a slot.
    ///
    /// # Panics
    ///
    /// Panics if no node owns it.
    pub fn owner(&self, slot: Slot) -> usize {
        let mut owners = self.running().filter(|number| self.owns(*number, slot));
        owners.next().unwrap_or_else(|| panic!("nobody owns slot {}", slot.index()))
    }

    fn owns(&self, number: usize, slot: Slot) -> bool {
        let mut ranges = self.ranges_of(number).into_iter();
        ranges.any(|(first, last)| (usize::from(first)..=usize::from(last)).contains(&slot.index()))
    }

    fn ranges_of(&self, number: usize) -> Vec<(u16, u16)> {
        let port = i64::from(self.nodes[number].port());
        let reply = self.connect(number).call(&["CLUSTER", "SLOTS"]);
        let Ok(Frame::Array(ranges)) = decode(&reply) else { panic!("{}", reply.escape_ascii()) };
        let range = |range: &Frame<'_>| match range {
            Frame::Array(range) => match &range[..] {
                [Frame::Integer(first), Frame::Integer(last), Frame::Array(primary), ..]
                    if primary.get(1) == Some(&Frame::Integer(port)) =>
                {
                    Some((u16::try_from(*first).ok()?, u16::try_from(*last).ok()?))
                }
                _ => None,
            },
            _ => None,
        };
        ranges.iter().filter_map(range).collect()
    }

    /// Return the cluster's id of a node.
    ///
    /// # Panics
    ///
    /// Panics if the node does not answer.
    pub fn id(&self, number: usize) -> String {
        let reply = self.connect(number).call(&["CLUSTER", "MYID"]);
        match decode(&reply) {
            Ok(Frame::Bulk(id)) => String::from_utf8_lossy(id).into_owned(),
            _ => panic!("CLUSTER MYID answered {}", reply.escape_ascii()),
        }
    }

    /// Return the replica of a primary.
    ///
    /// # Panics
    ///
    /// Panics if it has none that runs.
    pub fn replica_of(&self, primary: usize) -> usize {
        let id = self.id(primary);
        let mut replicas = self.running().filter(|number| {
            let reply = self.connect(*number).call(&["CLUSTER", "NODES"]);
            let nodes = String::from_utf8_lossy(&reply);
            let myself = nodes.lines().find(|line| line.contains("myself"));
            myself.is_some_and(|line| line.contains(&id) && line.contains("slave"))
        });
        replicas.next().expect("the primary has a replica")
    }

    /// Begin to move a slot: from now on the nodes answer `ASK` for keys that have moved.
    ///
    /// # Panics
    ///
    /// Panics if a node refuses.
    pub fn begin_move(&self, slot: Slot, to: usize) {
        let (from, number) = (self.owner(slot), slot.index().to_string());
        let (from_id, to_id) = (self.id(from), self.id(to));
        self.connect(to).ok(&["CLUSTER", "SETSLOT", &number, "IMPORTING", &from_id]);
        self.connect(from).ok(&["CLUSTER", "SETSLOT", &number, "MIGRATING", &to_id]);
    }

    /// Move all keys of a slot that is being moved.
    ///
    /// # Panics
    ///
    /// Panics if a node refuses.
    pub fn move_keys(&self, slot: Slot, to: usize) {
        let mut from = self.connect(self.owner(slot));
        let port = self.own_port(to).to_string();
        migrate(&mut from, &slot.index().to_string(), &port);
    }

    /// End the move of a slot. Its new owner learns of it first, so that no redirect leads to a
    /// node without the slot.
    ///
    /// # Panics
    ///
    /// Panics if a node refuses.
    pub fn end_move(&self, slot: Slot, to: usize) {
        let (from, number, id) = (self.owner(slot), slot.index().to_string(), self.id(to));
        for node in [to, from] {
            self.connect(node).ok(&["CLUSTER", "SETSLOT", &number, "NODE", &id]);
        }
        self.wait_until_healthy();
    }

    /// Move slots of one node with all of their keys.
    ///
    /// # Panics
    ///
    /// Panics if a node refuses.
    pub fn move_slots(&self, slots: &[Slot], from: usize, to: usize) {
        let ids = [from, to].map(|number| self.id(number));
        let port = self.own_port(to).to_string();
        let (mut source, mut target) = (self.connect(from), self.connect(to));
        for slot in slots {
            let slot = slot.index().to_string();
            target.ok(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[0]]);
            source.ok(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[1]]);
            migrate(&mut source, &slot, &port);
            let owner = ["CLUSTER", "SETSLOT", &slot, "NODE", &ids[1]];
            target.ok(&owner);
            let reply = source.call(&owner);
            // A node without slots becomes a replica without a command.
            let is_replica = reply.ends_with(b"only with masters.\r\n");
            assert!(reply == b"+OK\r\n" || is_replica, "{}", reply.escape_ascii());
        }
    }

    /// Return the slots that a node reports as its own.
    ///
    /// # Panics
    ///
    /// Panics if it does not answer.
    pub fn slots_of(&self, number: usize) -> Vec<Slot> {
        let ranges = self.ranges_of(number);
        let slots = ranges.into_iter().flat_map(|(first, last)| first..=last);
        slots.filter_map(Slot::new).collect()
    }

    /// Move a slot with all of its keys.
    ///
    /// # Panics
    ///
    /// Panics if a node refuses.
    pub fn move_slot(&self, slot: Slot, to: usize) {
        self.begin_move(slot, to);
        self.move_keys(slot, to);
        self.end_move(slot, to);
    }

    /// Promote a replica with the consent of its primary, and wait for it.
    ///
    /// # Panics
    ///
    /// Panics if it is not promoted.
    pub fn fail_over(&self, replica: usize) {
        self.take_over(replica);
        self.wait_until_healthy();
    }

    /// Replace the program of every node, one node after the other. Each replica is promoted before
    /// its primary is restarted. `on_upgraded` gets the number of each node that runs the program
    /// and has joined the others.
    ///
    /// # Panics
    ///
    /// Panics if a node does not start, or the cluster does not become whole again.
    pub fn upgrade(&mut self, program: &str, mut on_upgraded: impl FnMut(&Self, usize)) {
        let owners: Vec<_> =
            self.running().filter(|number| !self.ranges_of(*number).is_empty()).collect();
        for primary in owners {
            let replica = self.replica_of(primary);
            self.nodes[replica].restart_as(program);
            self.wait_until_healthy();
            on_upgraded(self, replica);
            self.take_over(replica);
            self.wait_until_left(primary);
            // An older server cannot follow a newer one, so the cluster is whole only after this
            // restart.
            self.nodes[primary].restart_as(program);
            self.wait_until_healthy();
            on_upgraded(self, primary);
        }
    }

    /// Wait until a node has redirected no client for a while.
    fn wait_until_left(&self, number: usize) {
        let mut client = self.connect(number);
        let mut last = (0, Vec::new());
        self.wait("the clients leave a node", || {
            let errors = client.call(&["INFO", "errorstats"]);
            let polls = if errors == last.1 { last.0 + 1 } else { 0 };
            last = (polls, errors);
            polls == LEFT_AFTER
        });
    }

    /// Promote a replica with the consent of its primary.
    fn take_over(&self, replica: usize) {
        // The replica takes over the slots of its primary that it knows.
        self.wait_until_healthy();
        let mut asked_at = None::<Instant>;
        self.wait("a replica takes over", || {
            let mut client = self.connect(replica);
            let role = client.call(&["ROLE"]);
            let is_primary = String::from_utf8_lossy(&role).contains("master");
            // Voters that have just voted for this shard do not vote again for a while.
            let is_due = asked_at.is_none_or(|at| at.elapsed() > ASK_AGAIN_AFTER);
            if !is_primary && is_due && !self.keeps_votes(replica) {
                client.ok(&["CLUSTER", "FAILOVER"]);
                asked_at = Some(Instant::now());
            }
            is_primary
        });
        self.note_elected([replica]);
    }

    fn note_elected(&self, numbers: impl IntoIterator<Item = usize>) {
        let mut elected_at = self.elected_at.lock().unwrap_or_else(PoisonError::into_inner);
        elected_at.extend(numbers.into_iter().map(|number| (number, Instant::now())));
    }

    fn keeps_votes(&self, number: usize) -> bool {
        let elected_at = self.elected_at.lock().unwrap_or_else(PoisonError::into_inner);
        elected_at.get(&number).is_some_and(|at| at.elapsed() < VOTES_LAST)
    }

    /// Set whether replicas take over when their primary is silent for about a second.
    ///
    /// # Panics
    ///
    /// Panics if a node does not answer.
    pub fn fail_over_by_itself(&self, does: bool) {
        let (timeout, never) = if does { ("1000", "no") } else { ("3000", "yes") };
        for number in self.running() {
            let mut client = self.connect(number);
            client.ok(&["CONFIG", "SET", "cluster-node-timeout", timeout]);
            client.ok(&["CONFIG", "SET", "cluster-replica-no-failover", never]);
        }
        self.note_elected(self.running());
    }

    /// Wait until all running nodes report a whole cluster in which every replica follows its
    /// primary.
    ///
    /// # Panics
    ///
    /// Panics if that does not happen in time.
    pub fn wait_until_healthy(&self) {
        self.wait("the cluster is whole", || {
            self.running().all(|number| {
                let mut client = self.connect(number);
                let cluster = client.call(&["CLUSTER", "INFO"]);
                let replication = client.call(&["INFO", "replication"]);
                String::from_utf8_lossy(&cluster).contains("cluster_state:ok")
                    && !String::from_utf8_lossy(&replication).contains("master_link_status:down")
            }) && self.agree()
        });
    }

    /// Return whether all running nodes name the same owners.
    fn agree(&self) -> bool {
        let mut views = self.running().map(|number| {
            let reply = self.connect(number).call(&["CLUSTER", "NODES"]);
            let nodes = String::from_utf8_lossy(&reply).into_owned();
            let mut owners: Vec<String> = nodes.lines().filter_map(owned).collect();
            owners.sort();
            owners
        });
        let first = views.next();
        views.all(|view| Some(&view) == first.as_ref())
    }

    fn wait_until_known(&self, count: usize) {
        let known = format!("cluster_known_nodes:{count}\r\n");
        self.wait("all nodes know each other", || {
            self.running().all(|number| {
                let mut client = self.connect(number);
                let count = client.call(&["CLUSTER", "INFO"]);
                let nodes = client.call(&["CLUSTER", "NODES"]);
                String::from_utf8_lossy(&count).contains(&known)
                    && !String::from_utf8_lossy(&nodes).contains("handshake")
            })
        });
    }

    fn wait(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let given_up_at = Instant::now() + AGREE_MAX;
        while !is_so() {
            assert!(Instant::now() < given_up_at, "not within {AGREE_MAX:?}: {what}");
            thread::sleep(LOOK_AGAIN_AFTER);
        }
    }
}

/// Return the id and the slots of a healthy primary from a line of `CLUSTER NODES`.
fn owned(line: &str) -> Option<String> {
    let words: Vec<_> = line.split(' ').collect();
    let flags: Vec<_> = words.get(2)?.split(',').collect();
    let is_well =
        flags.contains(&"master") && !flags.contains(&"fail") && !flags.contains(&"fail?");
    // Slots in brackets are being moved.
    let slots: Vec<_> = words.get(8..)?.iter().filter(|word| !word.starts_with('[')).collect();
    is_well.then(|| format!("{} {slots:?}", words[0]))
}

/// Move all keys of a slot to the node at a port.
fn migrate(from: &mut Raw, slot: &str, port: &str) {
    loop {
        let reply = from.call(&["CLUSTER", "GETKEYSINSLOT", slot, "100"]);
        let Ok(Frame::Array(keys)) = decode(&reply) else { panic!("{}", reply.escape_ascii()) };
        if keys.is_empty() {
            return;
        }
        let start: [&[u8]; 7] =
            [b"MIGRATE", b"127.0.0.1", port.as_bytes(), b"", b"0", b"5000", b"KEYS"];
        let keys = keys.iter().map(|key| match key {
            Frame::Bulk(key) => *key,
            _ => panic!("not a key"),
        });
        let reply = from.call(&start.into_iter().chain(keys).collect::<Vec<_>>());
        // A key that was removed meanwhile is not moved.
        assert!(reply == b"+OK\r\n" || reply == b"+NOKEY\r\n", "{}", reply.escape_ascii());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_whole_and_its_slots_and_roles_move() {
        let mut cluster = RedisCluster::start();
        let slot = Slot::of(b"k");
        let from = cluster.owner(slot);
        cluster.connect(from).ok(&["SET", "k", "v"]);
        let to = (from + 1) % PRIMARIES;
        cluster.move_slot(slot, to);
        assert_eq!((cluster.owner(slot), cluster.connect(to).get("k")), (to, Some(b"v".to_vec())));
        let replica = cluster.replica_of(to);
        cluster.fail_over(replica);
        assert_eq!(cluster.owner(slot), replica);
        let new = cluster.add_node();
        cluster.move_slot(slot, new);
        assert_eq!(cluster.connect_to_owner("k").get("k"), Some(b"v".to_vec()));
        cluster.move_slots(&[slot], new, replica);
        cluster.wait_until_healthy();
        cluster.remove_node(new);
        cluster.wait_until_healthy();
    }
}
