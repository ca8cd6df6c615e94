use super::*;
use crate::protocol::refusal::Refusal;

/// Return the replies to the handshake of a server with native commands, up to the answer to the
/// empty transaction.
fn handshake(server: &str, version: &str) -> String {
    let (server_length, version_length) = (server.len(), version.len());
    format!(
        "%3\r\n$6\r\nserver\r\n${server_length}\r\n{server}\r\n\
         $7\r\nversion\r\n${version_length}\r\n{version}\r\n$5\r\nproto\r\n:3\r\n\
         +OK\r\n+PONG\r\n+OK\r\n+OK\r\n"
    )
}

fn connected(server: &str, version: &str) -> Line {
    let mut line = Line::greeted(handshake(server, version).as_bytes());
    assert!(line.said().contains("MULTI"));
    line.hear(b"+OK\r\n*0\r\n");
    line
}

fn valkey() -> Line {
    connected("valkey", "9.1.2")
}

impl Line {
    fn renew(&mut self, sender: u64) {
        let lock = self.lock;
        self.send(sender, Command::Renew { key: Key::from("k"), lock });
    }

    fn restore(&mut self, sender: u64, ttl: Option<Duration>) {
        let (lock, raw) = (self.lock, bytes::Bytes::from_static(b"old"));
        self.send(sender, Command::Restore { key: Key::from("k"), lock, raw, ttl });
    }
}

/// Return the effects of the answered commands, in the order of the answers.
fn effects(heard: &[Inbound]) -> Vec<(u64, Option<bool>)> {
    let effect = |inbound: &Inbound| {
        let Inbound::Reply { issued, reply } = inbound else { return None };
        let done = match reply {
            Reply::Effect(done) => Some(*done),
            _ => None,
        };
        Some((issued.token.unwrap().sender, done))
    };
    heard.iter().filter_map(effect).collect()
}

fn refusal(heard: &[Inbound]) -> &str {
    let [Inbound::Reply { reply: Reply::Refused(Refusal(text)), .. }] = heard else {
        panic!("{heard:?}")
    };
    text
}

#[test]
fn locks_are_released_renewed_and_replaced_by_native_commands() {
    for (mut line, release) in
        [(valkey(), "DELIFEQ k lock:me"), (connected("redis", "8.4.0"), "DELEX k IFEQ lock:me")]
    {
        line.release(1);
        line.renew(2);
        line.restore(3, Some(Duration::from_millis(7)));
        line.restore(4, None);
        let lock = line.lock_name();
        let release = release.replace("lock:me", &lock);
        assert_eq!(
            line.lines(),
            [
                release,
                format!("SET k {lock} IFEQ {lock} PX 10000"),
                format!("SET k old PX 7 IFEQ {lock}"),
                format!("SET k old IFEQ {lock}"),
            ]
        );
        let heard = line.hear(b":1\r\n+OK\r\n_\r\n+OK\r\n");
        let expected = [(1, Some(true)), (2, Some(true)), (3, Some(false)), (4, Some(true))];
        assert_eq!(effects(&heard), expected);
    }
}

#[test]
fn an_older_server_gets_scripts() {
    for (server, version) in [("redis", "8.2.3"), ("valkey", "8.0.1")] {
        let mut line = Line::greeted(handshake(server, version).as_bytes());
        assert!(!line.said().contains("MULTI"));
        line.release(1);
        line.publish(2, "k");
        assert_eq!(line.said().matches("EVAL\r\n").count(), 2);
    }
    let mut line = connected("valkey", "8.1.0");
    line.release(1);
    line.renew(2);
    let lines = line.lines();
    assert!(lines[0].starts_with("EVAL ") && lines[1].starts_with("SET k "), "{lines:?}");
}

#[test]
fn publications_share_a_transaction_that_reads_their_keys_back() {
    let mut line = valkey();
    line.publish(1, "a");
    line.publish(2, "b");
    line.publish(3, "c");
    let lock = line.lock_name();
    let set = |key: &str| format!("SET {key} __redcache:v1:0:v IFEQ {lock} PX 1000");
    let expected = ["MULTI", &set("a"), &set("b"), &set("c"), "EXISTS a b c", "EXEC"];
    assert_eq!(line.lines(), expected);
    let push = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nb\r\n";
    let heard = line.hear(
        format!(
            "+OK\r\n+QUEUED\r\n{push}+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n\
             *4\r\n+OK\r\n_\r\n-WRONGTYPE Operation against a key\r\n:3\r\n"
        )
        .as_bytes(),
    );
    assert!(matches!(heard[0], Inbound::Invalidated(_)));
    assert_eq!(effects(&heard), [(1, Some(true)), (2, Some(false)), (3, Some(false))]);
    line.publish(4, "d");
    assert_eq!(line.lines()[2..], ["EXISTS d", "EXEC"]);
    let heard = line.hear(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:1\r\n");
    assert_eq!(effects(&heard), [(4, Some(true))]);
    assert_eq!(line.conn.awaited(), 0);
}

#[test]
fn a_refused_transaction_answers_with_its_first_refusal() {
    for (replies, expected) in [
        ("+OK\r\n-OOM command not allowed\r\n+QUEUED\r\n-EXECABORT\r\n", "OOM"),
        ("+OK\r\n-MOVED 1 h:2\r\n-MOVED 1 h:2\r\n-EXECABORT\r\n", "MOVED 1 h:2"),
        ("+OK\r\n+QUEUED\r\n+QUEUED\r\n-MOVED 1 h:2\r\n", "MOVED 1 h:2"),
        (
            "+OK\r\n+QUEUED\r\n+QUEUED\r\n\
             -EXECABORT Transaction discarded because of: LOADING Redis is loading\r\n",
            "LOADING",
        ),
        ("-NOAUTH a\r\n-NOAUTH b\r\n-NOAUTH c\r\n-NOAUTH d\r\n", "NOAUTH"),
    ] {
        let mut line = valkey();
        line.publish(1, "k");
        let heard = line.hear(replies.as_bytes());
        assert!(refusal(&heard).starts_with(expected), "{heard:?}");
        line.lines();
        line.publish(2, "k");
        assert_eq!(line.lines()[0], "MULTI");
    }
}

#[test]
fn a_refused_transaction_of_many_is_sent_again_one_by_one() {
    let mut line = valkey();
    line.publish(1, "a");
    line.publish(2, "b");
    line.lines();
    let noperm = "-NOPERM No permissions to access a key";
    let replies = format!("+OK\r\n+QUEUED\r\n{noperm}\r\n{noperm}\r\n-EXECABORT\r\n");
    assert!(line.hear(replies.as_bytes()).is_empty());
    assert_eq!(line.lines().iter().filter(|line| *line == "MULTI").count(), 2);
    let mut replies = "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:1\r\n".to_owned();
    replies += &format!("+OK\r\n{noperm}\r\n{noperm}\r\n-EXECABORT\r\n");
    let heard = line.hear(replies.as_bytes());
    assert_eq!(effects(&heard), [(1, Some(true)), (2, None)]);
    assert!(matches!(&heard[0], Inbound::Reply { issued, .. } if !issued.interrupted));
}

#[test]
fn a_lasting_refusal_leads_to_scripts_for_good() {
    for (refusal, rest) in [
        ("-ERR unknown command 'DELIFEQ'", 0),
        ("-NOPERM User app has no permissions to run the 'delifeq' command", 0),
        ("-NOPERM No permissions to access a key", 1),
        ("-READONLY You can't write against a read only replica.", 1),
    ] {
        let mut line = valkey();
        line.release(1);
        line.lines();
        let heard = line.hear(format!("{refusal}\r\n").as_bytes());
        assert_eq!(heard.len(), rest, "{refusal}");
        if rest == 0 {
            assert!(line.lines()[0].starts_with("EVAL "));
            assert_eq!(effects(&line.hear(b":1\r\n")), [(1, Some(true))]);
        }
        line.release(2);
        assert_eq!(line.lines()[0].starts_with("DELIFEQ"), rest == 1, "{refusal}");
    }
}

#[test]
fn publications_go_as_scripts_once_the_server_does_not_execute_a_transaction() {
    let noperm = "NOPERM User app has no permissions to run the 'exec' command";
    for replies in [
        format!(
            "+OK\r\n+QUEUED\r\n+QUEUED\r\n-EXECABORT Transaction discarded because of: {noperm}\r\n"
        ),
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n-ERR syntax error\r\n:1\r\n".to_owned(),
        format!("+OK\r\n+QUEUED\r\n-{noperm}\r\n-EXECABORT Transaction discarded\r\n"),
    ] {
        let mut line = valkey();
        line.publish(1, "k");
        line.lines();
        assert!(line.hear(replies.as_bytes()).is_empty());
        assert!(line.lines()[0].starts_with("EVAL "));
        let heard = line.hear(b":1\r\n");
        assert!(matches!(&heard[0], Inbound::Reply { issued, .. } if !issued.interrupted));
        line.publish(2, "k");
        assert!(line.lines()[0].starts_with("EVALSHA "));
    }
}

#[test]
fn a_publication_that_ran_without_its_transaction_is_in_doubt() {
    let mut line = valkey();
    line.publish(1, "k");
    line.lines();
    let refused = "-NOPERM this user has no permissions to run the 'multi' command\r\n";
    assert!(
        line.hear(format!("{refused}+OK\r\n:1\r\n-ERR EXEC without\r\n").as_bytes()).is_empty()
    );
    assert!(line.lines()[0].starts_with("EVAL "));
    let heard = line.hear(b":0\r\n");
    assert!(matches!(&heard[0], Inbound::Reply { issued, .. } if issued.interrupted));
}

#[test]
fn a_server_that_refuses_an_empty_transaction_gets_scripts_for_publications() {
    let noperm = "-NOPERM User app has no permissions to run the 'multi' command\r\n";
    let mut line = Line::greeted(handshake("valkey", "9.1.2").as_bytes());
    // A publication does not wait for the answer.
    line.publish(1, "k");
    line.hear(format!("{noperm}-ERR EXEC without MULTI\r\n").as_bytes());
    line.publish(2, "k");
    let said = line.said();
    assert_eq!(said.matches("EVAL").count(), 2, "{said}");
    line.renew(3);
    assert!(line.said().contains("IFEQ"));
}

#[test]
fn a_publication_of_which_no_copy_is_kept_is_one_command() {
    let config = Config::builder().server("h", 1).near_cache_bytes(0).build().unwrap();
    let mut line = Line::with(config, handshake("valkey", "9.1.2").as_bytes());
    assert!(!line.said().contains("MULTI"));
    line.publish(1, "a");
    line.publish(2, "b");
    let lock = line.lock_name();
    let set = |key: &str| format!("SET {key} __redcache:v1:0:v IFEQ {lock} PX 1000");
    assert_eq!(line.lines(), [set("a"), set("b")]);
    let heard = line.hear(b"-WRONGTYPE Operation against a key\r\n+OK\r\n");
    assert_eq!(effects(&heard), [(1, Some(false)), (2, Some(true))]);
}

#[test]
fn a_renewal_that_the_server_has_no_memory_for_goes_as_a_script() {
    let mut line = valkey();
    line.renew(1);
    line.lines();
    assert!(line.hear(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n").is_empty());
    assert!(line.lines()[0].starts_with("EVAL "));
    assert_eq!(effects(&line.hear(b":1\r\n")), [(1, Some(true))]);
    line.renew(2);
    assert!(line.lines()[0].starts_with("SET k "));
}

#[test]
fn a_native_command_that_waits_until_its_ttl_has_ended_deletes_the_lock() {
    for (mut line, release) in
        [(valkey(), "DELIFEQ k lock:me"), (connected("redis", "8.4.0"), "DELEX k IFEQ lock:me")]
    {
        let (lock, raw, key) = (line.lock, bytes::Bytes::from_static(b"old"), Key::from("k"));
        let (payload, compute_time, ttl) = (raw.clone(), Duration::ZERO, Duration::from_secs(1));
        let late = [
            Command::Publish { key: key.clone(), lock, payload, compute_time, ttl },
            Command::Restore { key, lock, raw, ttl: Some(ttl) },
        ];
        let issued_at = line.now;
        line.now += ttl;
        for (sender, command) in (1..).zip(late) {
            let issued = Issued::new(issued_at, Token { sender, slot: 0 }, command, Slot::FIRST);
            line.conn.send(line.now, issued, &line.locks);
        }
        let release = release.replace("lock:me", &line.lock_name());
        assert_eq!(line.lines(), [release.clone(), release]);
        // A refusal concerns the command that was sent.
        assert!(line.hear(b"-ERR unknown command\r\n").is_empty());
        assert!(line.said().contains(Script::Release.source()));
        line.renew(3);
        line.release(4);
        let lines = line.lines();
        assert!(lines[0].starts_with("SET k") && lines[1].starts_with("EVALSHA"), "{lines:?}");
    }
}

#[test]
fn a_reply_that_no_transaction_has_breaks_the_connection() {
    for replies in ["+OK\r\n:1\r\n", "$1\r\nx\r\n", "+OK\r\n+QUEUED\r\n+QUEUED\r\n*1\r\n:1\r\n"] {
        let mut line = valkey();
        line.publish(1, "k");
        line.lines();
        let mut input = Input::new(replies.as_bytes());
        let (now, config, locks) = (line.now, &line.config, &line.locks);
        assert!(line.conn.next(now, &mut input, config, locks).is_err(), "{replies}");
    }
}

fn read_or_lock(line: &mut Line, sender: u64, key: &str) {
    let (key, lock) = (Key::from(key), line.lock);
    line.send(sender, Command::ReadOrLock { key, lock, asks_ttl: false });
}

#[test]
fn a_read_without_the_ttl_takes_the_lock_in_the_same_command() {
    let mut line = Line::greeted(handshake("redis", "7.0.15").as_bytes());
    line.said();
    for (sender, key) in [(1, "a"), (2, "b"), (3, "c")] {
        read_or_lock(&mut line, sender, key);
    }
    line.send(4, bare("d"));
    let lock = line.lock_name();
    let set = |key: &str| format!("SET {key} {lock} NX GET PX 10000");
    assert_eq!(line.lines(), [set("a"), set("b"), set("c"), "GET d".to_owned()]);
    let heard = line.hear(b"_\r\n$1\r\nB\r\n$8\r\nlock:foo\r\n_\r\n");
    let read = |inbound: &Inbound| match inbound {
        Inbound::Reply { reply: Reply::Read(read), .. } => {
            let stored = match &read.stored {
                Stored::Missing => "missing",
                Stored::Lock(_) => "a lock",
                Stored::Value(_) => "a value",
            };
            (stored, read.lock.clone())
        }
        other => panic!("{other:?} answers no read"),
    };
    let expected = [
        ("missing", LockReply::Granted),
        ("a value", LockReply::Taken),
        ("a lock", LockReply::Taken),
        ("missing", LockReply::NotTried),
    ];
    assert_eq!(heard.iter().map(read).collect::<Vec<_>>(), expected);
}

#[test]
fn a_read_is_answered_by_a_server_that_refuses_to_write() {
    for (refused, is_lasting) in [
        ("-OOM command not allowed when used memory > 'maxmemory'.", false),
        ("-MISCONF Redis is configured to save RDB snapshots", false),
        ("-ERR syntax error", true),
        ("-NOPERM User app has no permissions to run the 'set' command", true),
    ] {
        let mut line = valkey();
        read_or_lock(&mut line, 1, "k");
        line.lines();
        assert!(line.hear(format!("{refused}\r\n").as_bytes()).is_empty());
        let plain = ["GET k".to_owned(), format!("SET k {} NX PX 10000", line.lock_name())];
        assert_eq!(line.lines(), plain);
        let heard = line.hear(format!("$1\r\nv\r\n{refused}\r\n").as_bytes());
        let [Inbound::Reply { reply: Reply::Read(read), .. }] = &heard[..] else {
            panic!("{heard:?}")
        };
        assert!(matches!(read.stored, Stored::Value(_)));
        read_or_lock(&mut line, 2, "k");
        assert_eq!(line.lines().len(), if is_lasting { 2 } else { 1 }, "{refused}");
    }
}

#[test]
fn a_refusal_that_a_read_would_get_too_is_its_answer() {
    for refused in ["WRONGTYPE Operation against a key", "MOVED 1 h:2", "READONLY", "LOADING"] {
        let mut line = valkey();
        read_or_lock(&mut line, 1, "k");
        let heard = line.hear(format!("-{refused}\r\n").as_bytes());
        assert!(refusal(&heard).starts_with(refused.split(' ').next().unwrap()), "{heard:?}");
    }
}

#[test]
fn a_batch_of_which_nothing_is_kept_is_not_tracked() {
    const UNTRACK: &str = "CLIENT CACHING NO";
    let mut line = Line::greeted(handshake("redis", "7.0.15").as_bytes());
    assert!(line.said().contains("CLIENT\r\n$8\r\nTRACKING\r\n$2\r\nON\r\n$6\r\nOPTOUT"));
    let bare_reads = |line: &mut Line| {
        for (sender, key) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
            line.send(sender, bare(key));
        }
    };
    bare_reads(&mut line);
    line.send(5, read("e"));
    assert_eq!(line.lines(), ["MGET a b c d e", "PTTL e"]);
    let values = |count: usize| format!("*{count}\r\n{}", "$1\r\nv\r\n".repeat(count));
    assert_eq!(senders(&line.hear(format!("{}:7\r\n", values(5)).as_bytes())), [1, 2, 3, 4, 5]);
    bare_reads(&mut line);
    line.release(5);
    assert_eq!(line.lines()[..2], [UNTRACK, "MGET a b c d"]);
    let heard = line.hear(format!("+OK\r\n{}:1\r\n", values(4)).as_bytes());
    assert_eq!(senders(&heard), [1, 2, 3, 4, 5]);
    // A lone read costs less with its tracking than with a command that turns it off.
    line.send(1, bare("a"));
    assert_eq!(line.lines(), ["GET a"]);
    line.hear(b"_\r\n");
    bare_reads(&mut line);
    line.lines();
    let noperm = "-NOPERM User app has no permissions to run the 'client|caching' command";
    let heard = line.hear(format!("{noperm}\r\n{}", values(4)).as_bytes());
    assert_eq!(senders(&heard), [1, 2, 3, 4]);
    bare_reads(&mut line);
    assert_eq!(line.lines(), ["MGET a b c d"]);
}
