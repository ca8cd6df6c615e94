use super::*;
use crate::lock::{LockId, Locks};
use crate::reply::LockReply;
use crate::stored::Stored;

/// A connection after its handshake, and the words of its server.
struct Line {
    conn: Conn,
    config: Config,
    wire: Wire,
    lock: LockId,
    now: Instant,
}

const HANDSHAKE: &[u8] = b"%1\r\n$5\r\nproto\r\n:3\r\n+OK\r\n-ERR unknown subcommand\r\n+OK\r\n";

impl Line {
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        let config = Config::builder("h", 1).build().unwrap();
        let mut locks = Locks::new(b"lock:", 0, &[7; 10]);
        let wire = Wire {
            lock_prefix: b"lock:".to_vec(),
            lock_base: locks.base().to_vec(),
            lock_ttl: Duration::from_secs(10),
        };
        let conn = Conn::open(now, &config);
        let mut line = Self { conn, config, wire, lock: locks.issue(), now };
        let heard = line.hear(HANDSHAKE);
        assert!(matches!(heard[..], [Inbound::Ready { untracked: None }]), "{heard:?}");
        line.said();
        line
    }

    fn send(&mut self, sender: u64, command: Command) {
        let token = Token { sender, slot: 0 };
        let issued = Issued::new(self.now, token, command, Slot::FIRST);
        self.conn.send(self.now, issued, &self.wire);
    }

    fn publish(&mut self, sender: u64) {
        let key = Key::from("k");
        let ttl = Duration::from_secs(1);
        let (payload, compute_time) = (bytes::Bytes::from_static(b"v"), Duration::ZERO);
        let lock = self.lock;
        self.send(sender, Command::Publish { key, lock, payload, compute_time, ttl });
    }

    /// Feeds one byte at a time.
    fn hear(&mut self, bytes: &[u8]) -> Vec<Inbound> {
        let mut heard = Vec::new();
        for byte in bytes.chunks(1) {
            let mut input = Input(byte);
            while let Some(inbound) =
                self.conn.next(self.now, &mut input, &self.config, &self.wire).unwrap()
            {
                heard.push(inbound);
            }
        }
        heard
    }

    fn said(&mut self) -> String {
        let mut out = Vec::new();
        self.conn.take_transmit(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

fn read(key: &str) -> Command {
    Command::Read { key: Key::from(key) }
}

fn senders(heard: &[Inbound]) -> Vec<u64> {
    let sender = |inbound: &Inbound| match inbound {
        Inbound::Reply { issued, .. } => issued.token.map(|token| token.sender),
        _ => None,
    };
    heard.iter().filter_map(sender).collect()
}

#[test]
fn replies_pair_with_commands_by_position_and_pushes_take_none() {
    let mut line = Line::new();
    line.send(1, read("a"));
    line.send(2, Command::Remove { key: Key::from("b") });
    line.send(3, read("c"));
    let heard = line.hear(
        b"$1\r\nA\r\n:5000\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nz\r\n:1\r\n>1\r\n+else\r\n_\r\n:-2\r\n",
    );
    assert_eq!(senders(&heard), [1, 2, 3]);
    assert!(matches!(&heard[1], Inbound::Invalidated(keys) if keys == &[Key::from("z")]));
    let Inbound::Reply { reply: Reply::Read(read), .. } = &heard[0] else { panic!("{heard:?}") };
    assert!(matches!(&read.stored, Stored::Value(value) if value.payload == "A"));
    assert_eq!(line.conn.awaited(), 0);
}

#[test]
fn a_change_between_the_replies_of_a_read_is_noticed() {
    const CHANGE: &str = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n";
    const FLUSH: &str = ">2\r\n$10\r\ninvalidate\r\n_\r\n";
    for (replies, noticed) in [
        (format!("{CHANGE}$1\r\nA\r\n:5000\r\n"), false),
        (format!("$1\r\nA\r\n{CHANGE}:5000\r\n"), true),
        (format!("$1\r\nA\r\n{FLUSH}:5000\r\n"), true),
        (format!("$1\r\nA\r\n{}:5000\r\n", CHANGE.replace("\r\na", "\r\nb")), false),
    ] {
        let mut line = Line::new();
        line.send(1, read("a"));
        let heard = line.hear(replies.as_bytes());
        let read = heard.iter().find_map(|inbound| match inbound {
            Inbound::Reply { reply: Reply::Read(read), .. } => Some(read),
            _ => None,
        });
        assert_eq!(read.unwrap().invalidated, noticed, "{replies:?}");
    }
}

#[test]
fn the_lock_attempt_is_part_of_the_read() {
    for (reply, expected) in [("+OK", LockReply::Granted), ("_", LockReply::Taken)] {
        let mut line = Line::new();
        line.send(1, Command::ReadOrLock { key: Key::from("a"), lock: line.lock });
        let heard = line.hear(format!("_\r\n:-2\r\n{reply}\r\n").as_bytes());
        let Inbound::Reply { reply: Reply::Read(read), .. } = &heard[0] else { panic!() };
        assert_eq!(read.lock, expected);
    }
}

#[test]
fn the_first_use_of_a_script_brings_its_source_and_a_forgotten_one_is_brought_once() {
    let mut line = Line::new();
    (1..=3).for_each(|sender| line.publish(sender));
    let said = line.said();
    assert_eq!((said.matches("EVAL\r\n").count(), said.matches("EVALSHA").count()), (1, 2));
    assert_eq!(senders(&line.hear(b":1\r\n:0\r\n:0\r\n")), [1, 2, 3]);
    (4..=6).for_each(|sender| line.publish(sender));
    line.said();
    let noscript = b"-NOSCRIPT No matching script.\r\n".repeat(3);
    assert!(line.hear(&noscript).is_empty());
    let said = line.said();
    assert_eq!((said.matches("EVAL\r\n").count(), said.matches("EVALSHA").count()), (1, 2));
    assert_eq!(senders(&line.hear(b":1\r\n:0\r\n:0\r\n")), [4, 5, 6]);
}

#[test]
fn the_echo_of_an_own_write_is_passed_over_once() {
    const PUSH: &[u8] = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
    let mut line = Line::new();
    line.publish(1);
    line.publish(2);
    assert_eq!(line.hear(&[b":1\r\n", PUSH].concat()).len(), 1);
    assert!(matches!(line.hear(PUSH)[..], [Inbound::Invalidated(_)]));
    // A publish that lost has written nothing, so a push behind it is somebody else's.
    assert_eq!(line.hear(&[b":0\r\n", PUSH].concat()).len(), 2);
    line.send(3, Command::ReadOrLock { key: Key::from("k"), lock: line.lock });
    assert_eq!(line.hear(&[b"_\r\n:-2\r\n+OK\r\n", PUSH].concat()).len(), 1);
    // What comes later, or names another key, is news.
    line.send(4, Command::Remove { key: Key::from("other") });
    line.send(5, Command::Remove { key: Key::from("k") });
    assert_eq!(line.hear(&[b":1\r\n", PUSH, b":1\r\n"].concat()).len(), 3);
}

#[test]
fn an_overdue_command_keeps_its_place() {
    let mut line = Line::new();
    line.send(1, read("a"));
    line.now += Duration::from_secs(1);
    line.send(2, read("b"));
    let limit = line.now - Duration::from_millis(500);
    assert_eq!(line.conn.next_overdue(limit).map(|(token, _)| token.sender), Some(1));
    assert!(line.conn.next_overdue(limit).is_none());
    let heard = line.hear(b"$1\r\nA\r\n:1\r\n$1\r\nB\r\n:1\r\n");
    assert_eq!((heard.len(), senders(&heard)), (2, vec![2]));
}

#[test]
fn a_silent_connection_is_probed_and_then_given_up() {
    let interval = Duration::from_secs(5);
    let mut line = Line::new();
    line.now += interval;
    assert!(!line.conn.heartbeat(line.now, interval));
    assert!(line.said().contains("PING"));
    line.now += interval;
    assert!(line.conn.heartbeat(line.now, interval));
    line.hear(b"-BUSY Redis is busy\r\n");
    assert!(!line.conn.heartbeat(line.now, interval));
}

#[test]
fn what_makes_no_sense_ends_the_connection() {
    for nonsense in [
        &b"+nobody asked\r\n"[..],
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"*1\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n",
    ] {
        let mut line = Line::new();
        let mut input = Input(nonsense);
        let error = line.conn.next(line.now, &mut input, &line.config, &line.wire).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
    let mut line = Line::new();
    line.send(1, read("a"));
    let mut input = Input(b":1\r\n");
    assert!(line.conn.next(line.now, &mut input, &line.config, &line.wire).is_err());
}
