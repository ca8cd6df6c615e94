//! Commands that share a frame.

use super::*;

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
        let mut input = Input::new(answer.as_bytes());
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
    let mut input = Input::new(b":1\r\n*2\r\n:1\r\n+nonsense?\r\n");
    line.conn.next(line.now, &mut input, &line.config, &line.locks).unwrap();
    let unanswered = line.conn.end().filter_map(|issued| issued.token.map(|token| token.sender));
    assert_eq!(unanswered.collect::<Vec<_>>(), [2, 3]);
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
    let mut input = Input::new(b"*3\r\n$1\r\nA\r\n$99999999999\r\n");
    line.conn.next(line.now, &mut input, &line.config, &line.locks).unwrap_err();
    assert!(line.conn.take_front().is_none(), "nobody knows whose answer it is");
    let (fallen, mut line) = (line, Line::new());
    for issued in fallen.conn.end() {
        assert_eq!(issued.attempts, 0);
        line.conn.send(line.now, issued, &line.locks);
    }
    assert!(!line.said().contains("MGET"));
    let mut input = Input::new(b"$1\r\nA\r\n:1\r\n$99999999999\r\n");
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
