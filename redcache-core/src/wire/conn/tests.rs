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

mod native;
mod pieces;

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
        let key = Key::from(key);
        let ttl = Duration::from_secs(1);
        let (payload, compute_time) = (bytes::Bytes::from_static(b"v"), Duration::ZERO);
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
            let mut input = Input(byte);
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
    let mut input = Input(b"$1\r\nA\r\n:1\r\n");
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
        let mut input = Input(reply.as_bytes());
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
        let mut input = Input(nonsense);
        let error = line.conn.next(line.now, &mut input, &line.config, &line.locks).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
    let mut line = Line::new();
    line.send(1, read("a"));
    let mut input = Input(b":1\r\n");
    assert!(line.conn.next(line.now, &mut input, &line.config, &line.locks).is_err());
}

/// Read three keys at once, the second with the lock.
fn three_reads(line: &mut Line) {
    line.send(1, read("a"));
    line.send(2, Command::ReadOrLock { key: Key::from("b"), lock: line.lock, asks_ttl: true });
    line.send(3, read("c"));
}

#[test]
fn neighbouring_reads_are_one_mget() {
    let mut line = Line::new();
    three_reads(&mut line);
    assert_eq!(line.conn.awaited(), 3);
    line.send(4, Command::Remove { key: Key::from("d") });
    line.send(5, read("e"));
    let lock = String::from_utf8(line.locks.lock_base.clone()).unwrap() + "1";
    let set = format!("SET b {lock} NX PX 10000");
    assert_eq!(
        line.lines(),
        ["MGET a b c", "PTTL a", "PTTL b", &set, "PTTL c", "DEL d", "GET e", "PTTL e"]
    );
    // A read after the write is not part of the batch.
    line.send(6, read("f"));
    assert_eq!(line.lines(), ["GET f", "PTTL f"]);
    let heard = line.hear(
        b"*3\r\n$1\r\nA\r\n_\r\n$1\r\nC\r\n:5\r\n:-2\r\n+OK\r\n:7\r\n\
          :1\r\n_\r\n:-2\r\n_\r\n:-2\r\n",
    );
    assert_eq!(senders(&heard), [1, 2, 3, 4, 5, 6]);
    assert_eq!(line.conn.awaited(), 0);
    let Inbound::Reply { reply: Reply::Read(third), .. } = &heard[2] else { panic!("{heard:?}") };
    assert!(matches!(&third.stored, Stored::Value(value) if value.payload == "C"));
    assert_eq!(third.ttl, crate::protocol::reply::Ttl::Left(Duration::from_millis(7)));
}

/// Return a read of the value alone.
fn bare(key: &str) -> Command {
    Command::Read { key: Key::from(key), asks_ttl: false }
}

#[test]
fn reads_without_the_ttl_are_answered_by_their_mget_in_the_order_of_the_batch() {
    let mut line = Line::new();
    for (sender, command) in
        [bare("a"), read("b"), bare("c"), bare("d"), read("e"), bare("f")].into_iter().enumerate()
    {
        line.send(sender as u64, command);
    }
    assert_eq!(line.lines(), ["MGET a b c d e f", "PTTL b", "PTTL e"]);
    let heard = line.hear(b"*6\r\n$1\r\nA\r\n_\r\n$1\r\nC\r\n$1\r\nD\r\n$1\r\nE\r\n$1\r\nF\r\n");
    assert_eq!(senders(&heard), [0]);
    let heard = line.hear(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nd\r\n:-2\r\n:7\r\n");
    assert_eq!(senders(&heard), [1, 2, 3, 4, 5]);
    let read = |inbound: &Inbound| match inbound {
        Inbound::Reply { issued, reply: Reply::Read(read) } => {
            let payload = match &read.stored {
                Stored::Value(value) => String::from_utf8(value.payload.to_vec()).unwrap(),
                Stored::Missing | Stored::Lock(_) => String::new(),
            };
            Some((issued.command.key().to_string(), payload, read.ttl, read.invalidated))
        }
        _ => None,
    };
    let unknown = crate::protocol::reply::Ttl::Unknown;
    let reads: Vec<_> = heard.iter().filter_map(read).collect();
    assert_eq!(reads[1], ("c".into(), "C".into(), unknown, false));
    assert_eq!(reads[2], ("d".into(), "D".into(), unknown, true));
    assert_eq!(reads[4], ("f".into(), "F".into(), unknown, false));
    assert_eq!(line.conn.awaited(), 0);
}

#[test]
fn a_read_that_is_sent_again_alone_asks_for_the_ttl() {
    let mut line = Line::new();
    line.send(1, bare("a"));
    line.send(2, Command::ReadOrLock { key: Key::from("b"), lock: line.lock, asks_ttl: false });
    line.said();
    // The second key holds no string.
    assert_eq!(senders(&line.hear(b"*2\r\n$1\r\nA\r\n_\r\n_\r\n")), [1]);
    assert_eq!(line.lines()[..2], ["GET b", "PTTL b"]);
    line.hear(b"-WRONGTYPE Operation\r\n:-1\r\n_\r\n");
    line.send(3, bare("c"));
    line.send(4, bare("d"));
    assert_eq!(line.lines(), ["MGET c d"]);
    line.hear(b"-NOPERM no permissions\r\n");
    assert_eq!(line.lines(), ["GET c", "PTTL c", "GET d", "PTTL d"]);
}

#[test]
fn an_invalidation_after_a_batched_read_marks_the_read_of_its_key() {
    let mut line = Line::new();
    three_reads(&mut line);
    let heard = line.hear(
        b"*3\r\n$1\r\nA\r\n$1\r\nB\r\n$1\r\nC\r\n:5\r\n\
          >2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nc\r\n:6\r\n_\r\n:7\r\n",
    );
    let outdated = |inbound: &Inbound| match inbound {
        Inbound::Reply { reply: Reply::Read(read), .. } => Some(read.invalidated),
        _ => None,
    };
    assert_eq!(heard.iter().filter_map(outdated).collect::<Vec<_>>(), [false, false, true]);
}

#[test]
fn the_lock_of_an_expired_key_gives_its_ttl_to_no_value_of_the_batch() {
    let mut line = Line::new();
    line.send(1, Command::ReadOrLock { key: Key::from("a"), lock: line.lock, asks_ttl: true });
    line.send(2, read("a"));
    // The key expires after its PTTL, so the lock is granted.
    let heard = line.hear(
        b"*2\r\n$1\r\nA\r\n$1\r\nA\r\n:0\r\n+OK\r\n\
          >2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n:400\r\n",
    );
    let outdated = |inbound: &Inbound| match inbound {
        Inbound::Reply { reply: Reply::Read(read), .. } => read.invalidated,
        other => panic!("{other:?}"),
    };
    assert_eq!(heard.iter().map(outdated).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_read_that_its_batch_left_unclear_is_sent_again_alone() {
    let mut line = Line::new();
    three_reads(&mut line);
    line.said();
    // The first key holds no string; the second does not exist; the third was just locked.
    let heard = line.hear(b"*3\r\n_\r\n_\r\n_\r\n:-1\r\n:-2\r\n+OK\r\n:9\r\n");
    assert_eq!(senders(&heard), [2]);
    assert_eq!(line.lines(), ["GET a", "PTTL a", "GET c", "PTTL c"]);
    let heard = line.hear(b"-WRONGTYPE Operation\r\n:-1\r\n$6\r\nlock:x\r\n:9\r\n");
    assert!(matches!(&heard[0], Inbound::Reply { reply: Reply::Refused(_), .. }));
    let Inbound::Reply { reply: Reply::Read(third), .. } = &heard[1] else { panic!("{heard:?}") };
    assert!(matches!(&third.stored, Stored::Lock(lock) if lock == "lock:x"));
}

#[test]
fn a_batch_that_is_refused_for_one_command_is_sent_again_alone_and_batching_ends() {
    for refusal in [
        "NOPERM no permissions",
        "CROSSSLOT Keys in request",
        "ERR unknown command",
        "unsupported command 'MGET'",
        "no batches here",
        "",
    ] {
        let mut line = Line::new();
        three_reads(&mut line);
        line.said();
        let replies = format!("-{refusal}\r\n:-1\r\n:-2\r\n+OK\r\n:-2\r\n");
        // The lock was granted nevertheless, and its owner must learn of it.
        assert_eq!(senders(&line.hear(replies.as_bytes())), [2], "{refusal}");
        assert_eq!(line.lines(), ["GET a", "PTTL a", "GET c", "PTTL c"], "{refusal}");
        let heard = line.hear(format!("-{refusal}\r\n:-2\r\n_\r\n:-2\r\n").as_bytes());
        assert!(matches!(&heard[0], Inbound::Reply { reply: Reply::Refused(_), .. }), "{refusal}");
        assert_eq!(senders(&heard), [1, 3], "{refusal}");
        three_reads(&mut line);
        assert!(!line.said().contains("MGET"), "{refusal}");
    }
    // A refusal because of the server's state applies to each.
    for code in ["LOADING", "NOAUTH", "CLUSTERDOWN"] {
        let mut line = Line::new();
        three_reads(&mut line);
        line.said();
        let heard = line.hear(format!("-{code} x\r\n").repeat(5).as_bytes());
        assert_eq!(senders(&heard), [1, 2, 3], "{code}");
        assert!(line.said().is_empty());
    }
}

#[test]
fn publications_to_a_server_without_hello_share_no_script_because_it_may_be_a_proxy_for_several() {
    let config = Config::from_url("redis://h").unwrap();
    let handshake = b"-ERR unknown command\r\n+PONG\r\n+OK\r\n+OK\r\n";
    let (mut line, untracked) = Line::shaken(config, handshake);
    assert!(untracked.is_some());
    line.said();
    ["a", "b", "c"].into_iter().for_each(|key| line.publish(1, key));
    let lines = line.lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(line.hear(b":1\r\n:1\r\n:1\r\n").len(), 3);
    three_reads(&mut line);
    assert!(line.said().contains("MGET"), "a proxy splits an `MGET`");
}

#[test]
fn neighbouring_publications_are_one_script_call() {
    let mut line = Line::new();
    line.publish(1, "first");
    line.said();
    line.hear(b":1\r\n");
    for (sender, key) in [(2, "a"), (3, "b"), (4, "c")] {
        line.publish(sender, key);
    }
    line.send(5, read("a"));
    let said = line.lines();
    let lock = String::from_utf8(line.locks.lock_base.clone()).unwrap() + "1";
    let each = format!("{lock} __redcache:v1:0:v 1000");
    let sha = Script::Publish.sha1();
    assert_eq!(said[0], format!("EVALSHA {sha} 3 a b c {each} {each} {each}"));
    let heard = line.hear(b"*3\r\n:1\r\n:0\r\n:1\r\n_\r\n:-2\r\n");
    assert_eq!(senders(&heard), [2, 3, 4, 5]);
    let done = |inbound: &Inbound| match inbound {
        Inbound::Reply { reply: Reply::Effect(done), .. } => Some(*done),
        _ => None,
    };
    assert_eq!(heard.iter().filter_map(done).collect::<Vec<_>>(), [true, false, true]);
    // A refusal applies to each of them.
    line.publish(6, "a");
    line.publish(7, "b");
    assert_eq!(senders(&line.hear(b"-OOM command not allowed\r\n")), [6, 7]);
    // The script may have stored a value before the server refused one of its commands.
    let mut line = Line::new();
    line.publish(1, "first");
    line.hear(b":1\r\n");
    line.publish(2, "a");
    line.publish(3, "b");
    line.said();
    assert!(line.hear(b"-NOPERM no permissions to run the 'exists' command\r\n").is_empty());
    assert_eq!(line.lines().len(), 2);
    let heard = line.hear(b":0\r\n:0\r\n");
    let interrupted = |inbound: &Inbound| match inbound {
        Inbound::Reply { issued, .. } => Some(issued.interrupted),
        _ => None,
    };
    assert_eq!(heard.iter().filter_map(interrupted).collect::<Vec<_>>(), [true, true]);
    // The first one carries a forgotten script again.
    let mut line = Line::new();
    line.publish(1, "first");
    line.hear(b":1\r\n");
    line.publish(8, "a");
    line.publish(9, "b");
    line.said();
    assert!(line.hear(b"-NOSCRIPT No matching script.\r\n").is_empty());
    assert_eq!(line.said().matches("EVAL\r\n").count(), 1);
    assert_eq!(senders(&line.hear(b":1\r\n:1\r\n")), [8, 9]);
}

#[test]
fn a_batch_reply_of_another_size_ends_the_connection_and_loses_no_command() {
    for answer in
        ["*2\r\n_\r\n_\r\n", "*4\r\n_\r\n_\r\n_\r\n_\r\n", "+OK\r\n", "*3\r\n_\r\n:1\r\n_\r\n"]
    {
        let mut line = Line::new();
        three_reads(&mut line);
        let mut input = Input(answer.as_bytes());
        let error = line.conn.next(line.now, &mut input, &line.config, &line.locks).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{answer:?}");
        let unanswered =
            line.conn.end().filter_map(|issued| issued.token.map(|token| token.sender));
        assert_eq!(unanswered.collect::<Vec<_>>(), [1, 2, 3], "{answer:?}");
    }
    let mut line = Line::new();
    line.publish(1, "first");
    line.said();
    line.publish(2, "a");
    line.publish(3, "b");
    let mut input = Input(b":1\r\n*2\r\n:1\r\n+nonsense?\r\n");
    line.conn.next(line.now, &mut input, &line.config, &line.locks).unwrap();
    let unanswered = line.conn.end().filter_map(|issued| issued.token.map(|token| token.sender));
    assert_eq!(unanswered.collect::<Vec<_>>(), [2, 3]);
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
        let mut input = Input(piece);
        heard.extend(line.conn.next(line.now, &mut input, &line.config, &line.locks).unwrap());
    }
    let [Inbound::Topology(Ok(topology))] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((topology.primaries.len(), topology.slots.len()), (2, 16384));
}

#[test]
fn a_large_value_in_a_shared_reply_is_read_again_alone_and_the_next_are_not_shared() {
    let mut line = Line::new();
    three_reads(&mut line);
    line.said();
    let large = format!("$300000\r\n{}\r\n", "x".repeat(300_000));
    let heard =
        line.hear(format!("*3\r\n$1\r\nA\r\n_\r\n{large}:5\r\n:-2\r\n+OK\r\n:7\r\n").as_bytes());
    assert_eq!(senders(&heard), [1, 2]);
    assert_eq!(line.lines(), ["GET c", "PTTL c"]);
    let heard = line.hear(format!("{large}:7\r\n").as_bytes());
    let Inbound::Reply { reply: Reply::Read(third), .. } = &heard[0] else { panic!("{heard:?}") };
    assert!(matches!(&third.stored, Stored::Value(value) if value.payload.len() == 300_000));
    three_reads(&mut line);
    assert!(!line.said().contains("MGET"));
}

#[test]
fn a_batch_reply_that_breaks_the_protocol_makes_its_commands_go_alone() {
    let mut line = Line::new();
    three_reads(&mut line);
    let mut input = Input(b"*3\r\n$1\r\nA\r\n$99999999999\r\n");
    line.conn.next(line.now, &mut input, &line.config, &line.locks).unwrap_err();
    assert!(line.conn.take_front().is_none(), "nobody knows whose answer it is");
    let (fallen, mut line) = (line, Line::new());
    for issued in fallen.conn.end() {
        assert_eq!(issued.attempts, 0);
        line.conn.send(line.now, issued, &line.locks);
    }
    assert!(!line.said().contains("MGET"));
    let mut input = Input(b"$1\r\nA\r\n:1\r\n$99999999999\r\n");
    line.conn.next(line.now, &mut input, &line.config, &line.locks).unwrap();
    line.conn.next(line.now, &mut input, &line.config, &line.locks).unwrap_err();
    let culprit = line.conn.take_front().and_then(|issued| issued.token);
    assert_eq!(culprit.map(|token| token.sender), Some(2));
}

#[test]
fn a_batch_is_smaller_when_values_are_larger() {
    let mut line = Line::new();
    let shared = |line: &mut Line, count: u64| {
        (0..count).for_each(|sender| line.send(sender, read("k")));
        let said = line.lines();
        let firsts = said.iter().filter(|line| line.contains("GET"));
        firsts.map(|line| line.split(' ').count() - 1).collect::<Vec<_>>()
    };
    assert_eq!(shared(&mut line, 40), [32, 8]);
    let nothing =
        |count: usize| format!("*{count}\r\n{}{}", "_\r\n".repeat(count), ":-2\r\n".repeat(count));
    line.hear(format!("{}{}", nothing(32), nothing(8)).as_bytes());
    line.send(0, read("k"));
    line.said();
    line.hear(format!("$30000\r\n{}\r\n:1\r\n", "x".repeat(30_000)).as_bytes());
    assert_eq!(shared(&mut line, 5), [2, 2, 1]);
}

#[test]
fn commands_to_a_cluster_are_not_batched() {
    let config = Config::from_url("redis-cluster://h:1").unwrap();
    let mut line =
        Line { conn: Conn::open(Line::new().now, Expectation::default(), &config), ..Line::new() };
    line.hear(HANDSHAKE);
    line.said();
    three_reads(&mut line);
    assert!(!line.said().contains("MGET"));
}
