//! The exchanges that show the round trip.

use bytes::Bytes;

use super::pieces::piece;
use super::*;

const STEP: Duration = Duration::from_millis(1);

/// A length of which a value takes longer than a round trip on a slow line.
const LONG: usize = 70 << 10;

impl Line {
    /// Deliver bytes a step later. Return the round trip that they show.
    fn trip(&mut self, bytes: &[u8]) -> Option<Duration> {
        self.said();
        self.now += STEP;
        self.hear(bytes);
        self.conn.take_trip().map(|sent_at| self.now - sent_at)
    }
}

#[test]
fn an_answer_and_a_heartbeat_show_the_round_trip() {
    let mut line = Line::new();
    line.send(1, read("a"));
    assert_eq!(line.trip(b"_\r\n"), None, "a reply is missing");
    assert_eq!(line.trip(b":-2\r\n"), Some(2 * STEP));
    line.conn.probe(line.now);
    assert_eq!(line.trip(b"$1\r\n1\r\n"), Some(STEP));
    assert_eq!(line.trip(b""), None);
}

#[test]
fn a_long_reply_and_what_waits_behind_it_show_no_round_trip() {
    let mut line = Line::new();
    line.send(1, read("a"));
    line.said();
    line.send(2, read("b"));
    let value = format!("${LONG}\r\n{}\r\n:1\r\n", "v".repeat(LONG));
    let (part, rest) = value.split_at(LONG);
    assert_eq!(line.trip(part.as_bytes()), None);
    line.send(3, read("c"));
    assert_eq!(line.trip(rest.as_bytes()), None);
    assert_eq!(line.trip(b"_\r\n:-2\r\n_\r\n:-2\r\n"), None);
    line.send(4, read("d"));
    assert_eq!(line.trip(b"_\r\n:-2\r\n"), Some(STEP));
}

#[test]
fn long_requests_and_what_waits_behind_them_show_no_round_trip() {
    let mut line = Line::new();
    line.publish(1, "a");
    assert_eq!(line.trip(b":1\r\n"), Some(STEP));
    line.publish_value(2, "a", Bytes::from(vec![b'v'; LONG]));
    line.said();
    line.send(3, read("b"));
    assert_eq!(line.trip(b":1\r\n"), None);
    assert_eq!(line.trip(b"_\r\n:-2\r\n"), None);
}

#[test]
fn only_the_first_exchange_of_a_read_in_pieces_shows_the_round_trip() {
    let mut line = Line::in_pieces();
    line.read_large(1, "a");
    assert_eq!(line.trip(format!("{}:1\r\n", piece("x", 32)).as_bytes()), Some(STEP));
    assert_eq!(line.trip(piece("x", 32).repeat(2).as_bytes()), None);
    assert_eq!(line.trip(piece("x", 4).as_bytes()), None);
    assert_eq!(line.conn.awaited(), 0);
}
