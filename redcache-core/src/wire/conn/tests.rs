use std::time::Duration;

use super::*;
use crate::api::error::ErrorKind;
use crate::api::key::Key;
use crate::protocol::command::{Command, Token};
use crate::protocol::envelope::Stored;
use crate::protocol::lock::{LockId, LockSettings, Locks};
use crate::protocol::reply::{LockReply, Reply, WriteLockReply};
use crate::protocol::script::Script;
use crate::protocol::slot::Slot;

mod batches;
mod native;
mod pieces;
mod trips;

/// A connection after its handshake, and the peer that the test controls.
struct Line {
    conn: Conn,
    config: Config,
    locks: LockSettings,
    lock: LockId,
    now: Instant,
    /// The sent bytes that the test has not read.
    unread: String,
}

const HANDSHAKE: &[u8] =
    b"%1\r\n$5\r\nproto\r\n:3\r\n+OK\r\n+PONG\r\n-ERR unknown subcommand\r\n+OK\r\n";

impl Line {
    fn new() -> Self {
        let mut line = Self::greeted(HANDSHAKE);
        line.said();
        line
    }

    fn greeted(handshake: &[u8]) -> Self {
        Self::with(Config::builder().server("h", 1).build().unwrap(), handshake)
    }

    fn with(config: Config, handshake: &[u8]) -> Self {
        let (line, untracked) = Self::shaken(config, handshake);
        assert_eq!(untracked, None);
        line
    }

    /// Return a connection after a handshake, and the reason why its server does not track keys.
    fn shaken(config: Config, handshake: &[u8]) -> (Self, Option<String>) {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        let mut issuer = Locks::new(b"lock:", 0, &[7; 10]);
        let locks = LockSettings {
            lock_prefix: b"lock:".to_vec(),
            lock_base: issuer.base().to_vec(),
            lock_ttl: Duration::from_secs(10),
        };
        let conn = Conn::open(now, Expectation::default(), &config);
        let mut line =
            Self { conn, config, locks, lock: issuer.issue(), now, unread: String::new() };
        let mut heard = line.hear(handshake);
        let Some(Inbound::Ready { untracked }) = heard.pop() else { panic!("no end") };
        assert!(heard.is_empty(), "{heard:?}");
        (line, untracked)
    }

    fn lock_name(&self) -> String {
        let mut name = Vec::new();
        self.lock.write(&self.locks.lock_base, &mut name);
        String::from_utf8(name).unwrap()
    }

    fn send(&mut self, sender: u64, command: Command) {
        let token = Token { sender, slot: 0 };
        let issued = Issued::new(self.now, token, command, Slot::FIRST);
        self.conn.send(self.now, issued, &self.locks);
    }

    fn release(&mut self, sender: u64) {
        let lock = self.lock;
        self.send(sender, Command::Release { key: Key::from("k"), lock });
    }

    fn publish(&mut self, sender: u64, key: &str) {
        self.publish_value(sender, key, bytes::Bytes::from_static(b"v"));
    }

    fn publish_value(&mut self, sender: u64, key: &str, payload: bytes::Bytes) {
        let key = Key::from(key);
        let (ttl, compute_time) = (Duration::from_secs(1), Duration::ZERO);
        let lock = self.lock;
        self.send(sender, Command::Publish { key, lock, payload, compute_time, ttl });
    }

    /// Return the commands sent since the last call, one per line, with spaces between the
    /// arguments.
    fn lines(&mut self) -> Vec<String> {
        let said = self.said();
        let mut lines: Vec<String> = Vec::new();
        for word in said.split("\r\n").filter(|word| !word.starts_with('$') && !word.is_empty()) {
            match lines.last_mut() {
                Some(line) if !word.starts_with('*') => {
                    line.push_str(if line.is_empty() { "" } else { " " });
                    line.push_str(word);
                }
                _ => lines.push(String::new()),
            }
        }
        lines
    }

    /// Take the sent bytes, then deliver these bytes one by one. Return the messages.
    fn hear(&mut self, bytes: &[u8]) -> Vec<Inbound> {
        let mut heard = Vec::new();
        for byte in bytes.chunks(1) {
            let unread = self.said();
            self.unread.push_str(&unread);
            let mut input = Input::new(byte);
            while let Some(inbound) =
                self.conn.next(self.now, &mut input, &self.config, &self.locks).unwrap()
            {
                heard.push(inbound);
            }
        }
        heard
    }

    fn said(&mut self) -> String {
        let mut out = Vec::new();
        self.conn.take_transmit(&mut out);
        std::mem::take(&mut self.unread) + &String::from_utf8_lossy(&out)
    }
}

fn read(key: &str) -> Command {
    Command::Read { key: Key::from(key), asks_ttl: true }
}

/// Return a read of the value alone.
fn bare(key: &str) -> Command {
    Command::Read { key: Key::from(key), asks_ttl: false }
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
        b"$1\r\nA\r\n:5000\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nz\r\n:1\r\n\
          >1\r\n+else\r\n_\r\n:-2\r\n",
    );
    assert_eq!(senders(&heard), [1, 2, 3]);
    assert!(matches!(&heard[1], Inbound::Invalidated(keys) if keys == &[Key::from("z")]));
    let Inbound::Reply { reply: Reply::Read(read), .. } = &heard[0] else { panic!("{heard:?}") };
    assert!(matches!(&read.stored, Stored::Value(value) if value.payload == "A"));
    assert_eq!(line.conn.awaited(), 0);
}

#[test]
fn an_invalidation_between_the_replies_of_a_read_marks_it() {
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
fn a_read_includes_the_lock_attempt() {
    for (reply, expected) in [("+OK", LockReply::Granted), ("_", LockReply::Taken)] {
        let mut line = Line::new();
        line.send(1, Command::ReadOrLock { key: Key::from("a"), lock: line.lock, asks_ttl: true });
        let heard = line.hear(format!("_\r\n:-2\r\n{reply}\r\n").as_bytes());
        let Inbound::Reply { reply: Reply::Read(read), .. } = &heard[0] else { panic!() };
        assert_eq!(read.lock, expected);
    }
}

#[test]
fn the_first_use_of_a_script_carries_its_source_and_a_forgotten_one_is_sent_once() {
    let mut line = Line::new();
    (1..=3).for_each(|sender| line.release(sender));
    let said = line.said();
    assert_eq!((said.matches("EVAL\r\n").count(), said.matches("EVALSHA").count()), (1, 2));
    assert_eq!(senders(&line.hear(b":1\r\n:0\r\n:0\r\n")), [1, 2, 3]);
    (4..=6).for_each(|sender| line.release(sender));
    line.said();
    let noscript = b"-NOSCRIPT No matching script.\r\n".repeat(3);
    assert!(line.hear(&noscript).is_empty());
    let said = line.said();
    assert_eq!((said.matches("EVAL\r\n").count(), said.matches("EVALSHA").count()), (1, 2));
    assert_eq!(senders(&line.hear(b":1\r\n:0\r\n:0\r\n")), [4, 5, 6]);
}

#[test]
fn a_script_that_is_repeated_after_its_ttl_deletes_the_lock() {
    let mut line = Line::new();
    line.publish(1, "k");
    assert_eq!(senders(&line.hear(b":1\r\n")), [1]);
    for (waits, is_over) in [(400, false), (1_000, true)] {
        line.publish(2, "k");
        line.said();
        line.now += Duration::from_millis(waits);
        assert!(line.hear(b"-NOSCRIPT No matching script.\r\n").is_empty());
        let said = line.said();
        assert_eq!(said.contains("$3\r\n600\r\n"), !is_over, "{said}");
        assert_eq!(said.contains(Script::Release.source()), is_over, "{said}");
        assert_eq!(senders(&line.hear(b":1\r\n")), [2]);
    }
}

#[test]
fn the_invalidation_by_an_own_write_is_skipped_once() {
    const PUSH: &[u8] = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
    let mut line = Line::new();
    line.release(1);
    line.release(2);
    assert_eq!(line.hear(&[b":1\r\n", PUSH].concat()).len(), 1);
    assert!(matches!(line.hear(PUSH)[..], [Inbound::Invalidated(_)]));
    // A release without effect has written nothing, so a push after it comes from the write of
    // another client.
    assert_eq!(line.hear(&[b":0\r\n", PUSH].concat()).len(), 2);
    line.send(3, Command::ReadOrLock { key: Key::from("k"), lock: line.lock, asks_ttl: true });
    assert_eq!(line.hear(&[b"_\r\n:-2\r\n+OK\r\n", PUSH].concat()).len(), 1);
    // The server does not track the compared key, so a publication has no echo.
    line.publish(6, "k");
    assert_eq!(line.hear(&[b":1\r\n", PUSH].concat()).len(), 2);
    // A later push, or one for another key, counts.
    line.send(4, Command::Remove { key: Key::from("other") });
    line.send(5, Command::Remove { key: Key::from("k") });
    assert_eq!(line.hear(&[b":1\r\n", PUSH, b":1\r\n"].concat()).len(), 3);
}

#[test]
fn an_invalidation_of_very_many_keys_is_taken_for_a_flush() {
    for (count, is_named) in [(4096, true), (4097, false), (100_000, false)] {
        let mut line = Line::new();
        let keys = "$1\r\nk\r\n".repeat(count);
        let push = format!(">2\r\n$10\r\ninvalidate\r\n*{count}\r\n{keys}");
        let heard = line.hear(push.as_bytes());
        let named = heard.iter().filter(|it| matches!(it, Inbound::Invalidated(_))).count();
        let flushed = heard.iter().filter(|it| matches!(it, Inbound::Flushed)).count();
        assert_eq!((named, flushed), (usize::from(is_named), usize::from(!is_named)), "{count}");
    }
}

#[test]
fn an_overdue_command_keeps_its_place() {
    let mut line = Line::new();
    line.send(1, read("a"));
    line.said();
    line.now += Duration::from_secs(1);
    line.send(2, read("b"));
    let limit = line.now - Duration::from_millis(500);
    assert_eq!(line.conn.next_overdue(limit).map(|overdue| overdue.token.sender), Some(1));
    assert!(line.conn.next_overdue(limit).is_none());
    let heard = line.hear(b"$1\r\nA\r\n:1\r\n$1\r\nB\r\n:1\r\n");
    assert_eq!((heard.len(), senders(&heard)), (2, vec![2]));
}

#[test]
fn a_silent_connection_is_probed_and_then_dropped() {
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
fn pushes_and_single_bytes_do_not_keep_a_connection_whose_commands_go_unanswered() {
    let interval = Duration::from_secs(5);
    for bytes in [&b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nz\r\n"[..], b"$9\r\n123"] {
        let mut line = Line::new();
        line.send(1, read("a"));
        line.said();
        line.now += interval;
        line.hear(bytes);
        assert!(!line.conn.heartbeat(line.now, interval));
        line.now += interval;
        assert!(line.conn.heartbeat(line.now, interval));
    }
}

#[test]
fn a_large_upload_that_makes_progress_is_a_sign_of_life() {
    let interval = Duration::from_secs(5);
    let mut line = Line::new();
    for _ in 0..10 {
        line.now += interval;
        line.conn.on_written(line.now - Duration::from_secs(1));
        assert!(!line.conn.heartbeat(line.now, interval));
    }
    line.now += 2 * interval;
    assert!(!line.conn.heartbeat(line.now, interval), "it is probed first");
    line.now += interval;
    assert!(line.conn.heartbeat(line.now, interval));
}

#[test]
fn a_reply_to_a_command_that_was_not_taken_ends_the_connection() {
    let mut line = Line::new();
    line.send(1, read("a"));
    line.said();
    line.hear(b"_\r\n:-2\r\n");
    line.send(2, read("b"));
    let mut input = Input::new(b"$1\r\nA\r\n:1\r\n");
    let error = line.conn.next(line.now, &mut input, &line.config, &line.locks).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}

#[test]
fn a_reply_that_is_not_of_its_request_ends_the_connection() {
    let interval = Duration::from_secs(5);
    for (reply, is_its_own) in [
        ("$1\r\n1\r\n", true),
        ("+PONG\r\n", true),
        ("-BUSY Redis is busy\r\n", true),
        ("$1\r\n2\r\n", false),
        ("$1\r\nA\r\n", false),
        (":1\r\n", false),
    ] {
        let mut line = Line::new();
        line.now += interval;
        line.conn.heartbeat(line.now, interval);
        assert!(line.said().contains("PING\r\n$1\r\n1"));
        let mut input = Input::new(reply.as_bytes());
        let next = line.conn.next(line.now, &mut input, &line.config, &line.locks);
        assert_eq!(next.is_ok(), is_its_own, "{reply:?}");
    }
}

#[test]
fn the_refusal_of_asking_is_the_answer_to_its_command() {
    let mut line = Line::new();
    let token = Token { sender: 1, slot: 0 };
    let mut issued = Issued::new(line.now, token, read("a"), Slot::FIRST);
    issued.asking = true;
    line.conn.send(line.now, issued, &line.locks);
    let noperm = "-NOPERM this user has no permissions to run the 'asking' command\r\n";
    let moved = "-MOVED 1 h:2\r\n";
    let heard = line.hear(format!("{noperm}{moved}{noperm}{moved}").as_bytes());
    let Inbound::Reply { reply: Reply::Refused(refusal), .. } = &heard[0] else { panic!() };
    assert!(refusal.0.starts_with("NOPERM"), "{refusal:?}");
}

#[test]
fn malformed_bytes_end_the_connection() {
    for nonsense in [
        &b"+nobody asked\r\n"[..],
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"*1\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n",
    ] {
        let mut line = Line::new();
        let mut input = Input::new(nonsense);
        let error = line.conn.next(line.now, &mut input, &line.config, &line.locks).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
    let mut line = Line::new();
    line.send(1, read("a"));
    let mut input = Input::new(b":1\r\n");
    assert!(line.conn.next(line.now, &mut input, &line.config, &line.locks).is_err());
}

#[test]
fn a_value_beyond_the_limit_fails_its_own_reader_and_the_connection_lives() {
    let mut line = Line::new();
    line.config = Config::from_url("redis://h?value_max=1KiB").unwrap();
    line.send(1, Command::ReadOrLock { key: Key::from("a"), lock: line.lock, asks_ttl: true });
    line.send(2, Command::Remove { key: Key::from("b") });
    line.said();
    let large = format!("$4000\r\n{}\r\n", "x".repeat(4000));
    let heard = line.hear(format!("{large}:5\r\n_\r\n:1\r\n").as_bytes());
    assert_eq!(senders(&heard), [1, 2]);
    let Inbound::Reply { reply: Reply::Refused(refusal), .. } = &heard[0] else { panic!() };
    let error = refusal.clone().into_error();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("4000 bytes, more than `value_max` allows"), "{error}");
    // The write has taken effect, and the value that it replaced cannot be restored.
    line.send(3, Command::WriteLock { key: Key::from("a"), lock: line.lock });
    line.said();
    let heard = line.hear(format!("*3\r\n:1\r\n{large}:5\r\n").as_bytes());
    let Inbound::Reply { reply, .. } = &heard[0] else { panic!() };
    assert!(matches!(reply, Reply::WriteLock(WriteLockReply::Granted(None))), "{reply:?}");
}

#[test]
fn a_slot_map_in_pieces_may_be_longer_than_values() {
    let config = Config::from_url("redis-cluster://h?value_max=1KiB").unwrap();
    let mut line = Line::with(config, HANDSHAKE);
    line.conn.ask_topology(Question::Slots);
    line.said();
    // Two primaries with two replicas each own the slots in turn.
    let mut slots = String::from("*16384\r\n");
    for slot in 0..16384 {
        slots += &format!("*5\r\n:{slot}\r\n:{slot}\r\n");
        for node in 0..3 {
            let (port, id) = (7000 + slot % 2 * 3 + node, "0123456789".repeat(4));
            slots += &format!("*3\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$40\r\n{id}\r\n");
        }
    }
    let mut heard = Vec::new();
    for piece in ["+none\r\n".as_bytes()].into_iter().chain(slots.as_bytes().chunks(60_000)) {
        let mut input = Input::new(piece);
        heard.extend(line.conn.next(line.now, &mut input, &line.config, &line.locks).unwrap());
    }
    let [Inbound::Topology(Ok(topology))] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((topology.primaries.len(), topology.slots.len()), (2, 16384));
}
