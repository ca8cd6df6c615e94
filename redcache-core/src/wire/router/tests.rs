use std::collections::BTreeMap;
use std::time::Duration;

use super::redirects::RETRY_PAUSE;
use super::*;
use crate::api::config::Address;
use crate::api::key::Key;
use crate::protocol::command::{Command, Token};
use crate::protocol::lock::{LockId, LockSettings, Locks};
use crate::protocol::slot::Slot;
use crate::resp::{Frame, Limits, Scanner, decode};
use crate::rng::Rng;

mod hang_ups;
mod large;
mod peers;
mod redirects;
mod seeds;
mod slot_map;
mod standalone;

/// A router, and nodes whose replies the test scripts.
struct World {
    router: Router,
    config: Config,
    locks: LockSettings,
    lock: LockId,
    now: Instant,
    /// Open connections and the port of each.
    open: Vec<(ConnId, u16)>,
    events: Vec<RouterEvent>,
    /// The sent bytes that the test has not read, by port.
    unread: BTreeMap<u16, Vec<u8>>,
    sent: u64,
    /// The replies to the handshake.
    handshake: Vec<u8>,
}

const HANDSHAKE: &[u8] =
    b"%1\r\n$5\r\nproto\r\n:3\r\n+OK\r\n+PONG\r\n-ERR unknown subcommand\r\n+OK\r\n";

impl World {
    fn new(seeds: &[u16]) -> Self {
        let seeds = seeds.iter().map(|port| ("h", *port));
        Self::with(Config::builder().cluster(seeds).build().unwrap())
    }

    fn with(config: Config) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        let mut issuer = Locks::new(b"lock:", 0, &[7; 10]);
        let locks = LockSettings {
            lock_prefix: b"lock:".to_vec(),
            lock_base: issuer.base().to_vec(),
            lock_ttl: Duration::from_secs(10),
        };
        let router = Router::new(now, &config, Rng::new(7));
        let lock = issuer.issue();
        Self {
            router,
            config,
            locks,
            lock,
            now,
            open: Vec::new(),
            events: Vec::new(),
            unread: BTreeMap::new(),
            sent: 0,
            handshake: HANDSHAKE.to_vec(),
        }
    }

    /// Return a router that knows two nodes: port 1 owns the slots up to 8191, port 2 the others.
    fn of_two() -> Self {
        let mut world = Self::new(&[1]);
        world.settle(&[]);
        world.answer_topology(1, Some(5), &[(1, 0, 8191), (2, 8192, 16383)]);
        world.settle(&[]);
        assert!(world.router.is_ready());
        world.events.clear();
        world
    }

    fn step<T>(&mut self, act: impl FnOnce(&mut Router, Context<'_>) -> T) -> T {
        let Self { router, config, locks, now, events, .. } = self;
        let result = act(router, Context { now: *now, config, lock_settings: locks });
        events.extend(std::iter::from_fn(|| router.poll_event()));
        result
    }

    /// Let the router handle every deadline, and accept every dial except those to the refusing
    /// ports.
    fn settle(&mut self, refusing: &[u16]) {
        for _ in 0..20 {
            self.step(|router, ctx| router.handle_timeout(ctx));
            while let Some(action) = self.router.poll_action() {
                match action {
                    Action::HangUp { conn } => self.open.retain(|(open, _)| *open != conn),
                    Action::Dial { conn, address: Address::Tcp { port, .. } }
                        if !refusing.contains(&port) =>
                    {
                        self.open.push((conn, port));
                        self.step(|router, ctx| router.handle_connected(ctx, conn));
                        self.take_sent(port);
                        let handshake = self.handshake.clone();
                        self.hear_on(conn, &handshake);
                    }
                    Action::Login { .. } => panic!("the settings have no provider"),
                    Action::Dial { conn, .. } => self.step(|router, ctx| {
                        router.handle_disconnected(ctx, conn, "refused");
                    }),
                }
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn conn(&self, port: u16) -> Option<ConnId> {
        self.open.iter().find(|(_, open)| *open == port).map(|(conn, _)| *conn)
    }

    /// Deliver bytes of a node, which has read everything that was sent to it.
    fn hear(&mut self, port: u16, bytes: &[u8]) {
        self.hear_on(self.conn(port).unwrap(), bytes);
    }

    fn hear_on(&mut self, conn: ConnId, bytes: &[u8]) {
        let port = self.open.iter().find(|(open, _)| *open == conn).map(|(_, port)| *port).unwrap();
        for byte in bytes.chunks(1) {
            let mut sent = Vec::new();
            self.router.take_transmit(conn, &mut sent);
            self.unread.entry(port).or_default().extend_from_slice(&sent);
            let mut input = Input::new(byte);
            loop {
                let Self { router, config, locks, now, events, .. } = self;
                let ctx = Context { now: *now, config, lock_settings: locks };
                let event = router.receive(ctx, conn, &mut input);
                let is_last = event.is_none();
                events.extend(event);
                events.extend(std::iter::from_fn(|| router.poll_event()));
                if is_last {
                    break;
                }
            }
        }
    }

    fn lose(&mut self, port: u16) {
        let conn = self.conn(port).unwrap();
        self.open.retain(|(open, _)| *open != conn);
        self.step(|router, ctx| router.handle_disconnected(ctx, conn, "gone"));
    }

    /// Take the bytes that are sent to a node.
    fn transmit(&mut self, port: u16) {
        if let Some(conn) = self.conn(port) {
            let mut sent = Vec::new();
            self.router.take_transmit(conn, &mut sent);
            self.unread.entry(port).or_default().append(&mut sent);
        }
    }

    /// Return the commands sent to a node since the last call, by their first two words.
    fn take_sent(&mut self, port: u16) -> Vec<String> {
        self.transmit(port);
        names(&self.unread.remove(&port).unwrap_or_default())
    }

    fn send(&mut self, command: Command) -> u64 {
        self.sent += 1;
        let token = Token { sender: self.sent, slot: 0 };
        self.step(|router, ctx| router.send(ctx, token, command));
        self.sent
    }

    /// Answer the topology queries. All slots of the map are assigned.
    fn answer_topology(&mut self, port: u16, epoch: Option<u64>, ranges: &[(u16, u16, u16)]) {
        let assigned = ranges.iter().map(|(_, first, last)| last + 1 - first).sum();
        self.answer_in_part(port, (epoch, assigned), ranges, ranges);
    }

    /// Answer the topology queries with these shards and these ranges of slots.
    fn answer_in_part(
        &mut self,
        port: u16,
        (epoch, assigned): (Option<u64>, u16),
        in_shards: &[(u16, u16, u16)],
        in_slots: &[(u16, u16, u16)],
    ) {
        let info = epoch.map_or_else(
            || "-NOPERM\r\n".to_owned(),
            |epoch| {
                let assigned = format!("cluster_slots_assigned:{assigned}\r\n");
                let text = format!("{assigned}cluster_current_epoch:{epoch}\r\n");
                format!("${}\r\n{text}\r\n", text.len())
            },
        );
        let mut shards = format!("*{}\r\n", in_shards.len());
        for (port, first, last) in in_shards {
            shards += &format!("%2\r\n$5\r\nslots\r\n*2\r\n:{first}\r\n:{last}\r\n$5\r\nnodes\r\n");
            shards += "*1\r\n%3\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$8\r\nendpoint\r\n$1\r\nh\r\n";
            shards += &format!("$4\r\nport\r\n:{port}\r\n");
        }
        let mut slots = format!("*{}\r\n", in_slots.len());
        for (port, first, last) in in_slots {
            slots += &format!("*3\r\n:{first}\r\n:{last}\r\n*2\r\n+h\r\n:{port}\r\n");
        }
        let mut is_asked = false;
        loop {
            self.transmit(port);
            let bytes = self.unread.get(&port).cloned().unwrap_or_default();
            let sent = self.take_sent(port);
            if !sent.iter().any(|command| command.starts_with("CLUSTER")) {
                assert!(is_asked, "it was not asked, but {sent:?}");
                self.unread.insert(port, bytes);
                return;
            }
            is_asked = true;
            let reply = |command: &String| match command.as_str() {
                "CLUSTER INFO" => &info,
                "CLUSTER SHARDS" => &shards,
                "CLUSTER SLOTS" => &slots,
                _ => "+PONG\r\n",
            };
            let replies: Vec<_> = sent.iter().map(reply).collect();
            self.hear(port, replies.concat().as_bytes());
        }
    }

    /// Return the node whose topology is awaited.
    fn asked(&self) -> Option<u16> {
        let cluster = self.router.cluster.as_ref()?;
        self.open.iter().find(|(conn, _)| cluster.is_asked(conn.node)).map(|(_, port)| *port)
    }

    fn take_events(&mut self) -> Vec<String> {
        let name = |event: RouterEvent| match event {
            RouterEvent::Reply { issued, is_tracked, reply } => {
                let tracked = if is_tracked { "tracked" } else { "untracked" };
                let refused = if matches!(reply, Reply::Refused(_)) { " refusal" } else { "" };
                format!("{tracked}{refused} {}", issued.token.map_or(0, |token| token.sender))
            }
            RouterEvent::Failed { token, error, .. } => format!("failed {}: {error}", token.sender),
            RouterEvent::Overdue { token, .. } => format!("overdue {}", token.sender),
            RouterEvent::Unanswered { .. } => "unanswered".to_owned(),
            RouterEvent::Invalidated(_) => "invalidated".to_owned(),
            RouterEvent::Flushed { slots } => format!("flushed {}", count(&slots)),
            RouterEvent::Untracked { keys } => format!("untracked {}", keys.len()),
            RouterEvent::Moved { slots } => format!("moved {}", count(&slots)),
            RouterEvent::Up { .. } => "up".to_owned(),
            RouterEvent::Down { slots, .. } => format!("down {}", count(&slots)),
            RouterEvent::NotUp { .. } => "not up".to_owned(),
            RouterEvent::HangsUpAtScripts { .. } => "no scripts".to_owned(),
            RouterEvent::LargeUp => "large up".to_owned(),
        };
        std::mem::take(&mut self.events).into_iter().map(name).collect()
    }

    fn asks_topology(&mut self, port: u16) -> bool {
        self.take_sent(port).iter().any(|command| command.starts_with("CLUSTER"))
    }
}

/// Return the first two words of each command, except commands that `HANDSHAKE` has answered.
fn names(bytes: &[u8]) -> Vec<String> {
    let (mut rest, mut sent) = (bytes, Vec::new());
    while let Some(end) = Scanner::new(Limits::default()).scan(rest).unwrap() {
        let Frame::Array(words) = decode(&rest[..end]).unwrap() else { panic!() };
        let words = words.iter().map(|word| match word {
            Frame::Bulk(word) => String::from_utf8_lossy(word).into_owned(),
            _ => panic!("not a word"),
        });
        sent.push(words.take(2).collect::<Vec<_>>().join(" "));
        rest = &rest[end..];
    }
    sent.retain(|command| !command.starts_with("CLIENT") && command != "PING");
    sent
}

fn count(slots: &SlotSet) -> usize {
    Slot::all().filter(|slot| slots.contains(*slot)).count()
}

/// Return a key of the first node; its slot is 5061.
fn key_of_first() -> Key {
    let key = Key::from("bar");
    assert_eq!(Slot::of(key.as_bytes()).index(), 5061);
    key
}

fn read() -> Command {
    Command::Read { key: key_of_first(), asks_ttl: true }
}

fn remove() -> Command {
    Command::Remove { key: key_of_first() }
}

#[test]
fn a_lost_node_takes_only_its_own_slots_along_and_its_queue_follows_them() {
    let mut world = World::of_two();
    world.send(read());
    world.lose(1);
    assert_eq!(world.take_events(), ["down 8192"]);
    world.pass(Duration::from_millis(60));
    world.settle(&[1]);
    assert_eq!(world.asked(), Some(2), "the remaining node is asked");
    world.events.clear();
    world.answer_topology(2, Some(6), &[(2, 0, 16383)]);
    assert_eq!(world.take_events(), ["moved 8192"]);
    assert_eq!(world.take_sent(2), ["GET bar", "PTTL bar"]);
    world.pass(Duration::from_secs(2));
    world.settle(&[1]);
    assert_eq!(world.router.nodes.len(), 1, "a node without slots is not dialed");
}

#[test]
fn a_node_without_slots_answers_its_commands_and_is_dropped() {
    let mut world = World::of_two();
    world.send(read());
    world.take_sent(1);
    world.pass(world.config.command_timeout / 2);
    world.step(|router, ctx| {
        let cluster = router.cluster.as_mut().unwrap();
        cluster.request_discovery(ctx.now, Some(Address::Tcp { host: "h".to_owned(), port: 2 }));
    });
    world.settle(&[]);
    world.answer_topology(2, Some(6), &[(2, 0, 16383)]);
    world.take_events();
    world.settle(&[]);
    assert!(world.conn(1).is_some(), "an answer is awaited");
    world.hear(1, b"$1\r\nv\r\n:100\r\n");
    assert_eq!(
        world.take_events(),
        ["untracked 1"],
        "a node stops tracking a slot that it no longer owns"
    );
    world.pass(Duration::from_secs(2));
    world.settle(&[]);
    assert_eq!((world.conn(1), world.take_events()), (None, vec![]));
}

#[test]
fn a_closed_router_asks_nothing_and_ends() {
    let mut world = World::of_two();
    world.router.close();
    world.pass(world.config.discovery_interval * 2);
    world.settle(&[]);
    assert!(!world.asks_topology(1) && !world.asks_topology(2));
    world.send(read());
    world.router.hang_up();
    world.settle(&[]);
    assert_eq!((world.open.len(), world.router.in_flight()), (0, 0));
    assert!(world.router.poll_timeout(&world.config).is_none());
}

#[test]
fn commands_beyond_the_limit_of_unanswered_bytes_wait_for_an_answer() {
    let mut world = World::of_two();
    let owner = world.router.owner(Slot::of(b"bar")).unwrap();
    world.router.nodes.get_mut(owner).unwrap().unanswered_max = 1000;
    let insert = || Command::Insert {
        key: key_of_first(),
        payload: bytes::Bytes::from(vec![b'x'; 600]),
        stamp: Duration::ZERO,
        ttl: Duration::from_secs(1),
    };
    (0..4).for_each(|_| _ = world.send(insert()));
    world.send(remove());
    assert_eq!(world.take_sent(1), ["SET bar", "SET bar"]);
    world.hear(1, b"+OK\r\n");
    assert_eq!(world.take_sent(1), ["SET bar"]);
    world.hear(1, b"+OK\r\n+OK\r\n");
    assert_eq!(world.take_sent(1), ["SET bar", "DEL bar"]);
    world.hear(1, b"+OK\r\n:1\r\n");
    let answered = ["tracked 1", "tracked 2", "tracked 3", "tracked 4", "tracked 5"];
    assert_eq!(world.take_events(), answered);
    // Without an answer, the commands fail after their timeout.
    (0..3).for_each(|_| _ = world.send(insert()));
    world.pass(world.config.command_timeout);
    world.step(|router, ctx| router.handle_timeout(ctx));
    let events = world.take_events();
    assert_eq!(events[..2], ["overdue 6", "overdue 7"]);
    assert!(events[2].starts_with("failed 8") && events[2].contains("did not take"), "{events:?}");
}
