//! Large values in pieces.

use super::*;
use crate::wire::pieces::Pieces;

const CHANGE: &str = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n";

/// The length of a value of which pieces of 32 bytes are requested.
const EXPECTED: usize = 100;

impl Line {
    /// Return a connection that reads large values in pieces of 32 bytes.
    pub(super) fn in_pieces() -> Self {
        let mut line = Self::new();
        let config = Config::builder().server("h", 1).large_value_bytes(16).build().unwrap();
        line.conn.carry_large(&config);
        line
    }

    fn send_large(&mut self, sender: u64, command: Command) {
        let token = Token { sender, slot: 0 };
        let mut issued = Issued::new(self.now, token, command, Slot::FIRST);
        issued.pieces = Some(Box::new(Pieces::new(EXPECTED - 12 - 14)));
        self.conn.send(self.now, issued, &self.locks);
    }

    pub(super) fn read_large(&mut self, sender: u64, key: &str) {
        self.send_large(sender, Command::Read { key: Key::from(key), asks_ttl: true });
    }

    fn read_or_lock(&mut self) {
        let (key, lock) = (Key::from("a"), self.lock);
        self.send_large(1, Command::ReadOrLock { key, lock, asks_ttl: false });
    }
}

/// Return a piece with this letter.
pub(super) fn piece(letter: &str, len: usize) -> String {
    format!("${len}\r\n{}\r\n", letter.repeat(len))
}

fn payload(heard: &[Inbound]) -> String {
    let [Inbound::Reply { reply: Reply::Read(read), .. }] = heard else { panic!("{heard:?}") };
    assert!(!read.invalidated);
    let Stored::Value(value) = &read.stored else { panic!("{read:?}") };
    String::from_utf8(value.payload.to_vec()).unwrap()
}

#[test]
fn a_large_value_is_put_together_from_its_pieces() {
    let mut line = Line::in_pieces();
    line.read_large(1, "a");
    assert_eq!(line.lines(), ["GETRANGE a 0 31", "PTTL a", "GETRANGE a 32 63"]);
    assert!(line.hear(format!("{}:5000\r\n", piece("x", 32)).as_bytes()).is_empty());
    assert_eq!(line.lines(), ["GETRANGE a 64 95"]);
    assert!(line.conn.awaits(&Key::from("a")));
    assert!(line.hear(piece("y", 32).as_bytes()).is_empty());
    assert_eq!(line.lines(), ["GETRANGE a 96 127"]);
    assert!(line.hear(piece("z", 32).as_bytes()).is_empty());
    assert_eq!(line.lines(), [""; 0]);
    let heard = line.hear(piece("z", 4).as_bytes());
    let expected = format!("{}{}{}", "x".repeat(32), "y".repeat(32), "z".repeat(36));
    assert_eq!(payload(&heard), expected);
    assert_eq!((senders(&heard), line.conn.awaited(), line.conn.unanswered()), (vec![1], 0, 0));
}

#[test]
fn parts_of_a_piece_are_put_together_wherever_the_bytes_are_cut() {
    let letters = ["x", "y", "z"];
    let first = format!("{}:5000\r\n", piece("x", 32));
    let bytes = [first, piece("y", 32), piece("z", 32), piece("z", 4)].concat();
    for size in 1..bytes.len() {
        let mut line = Line::in_pieces();
        line.read_large(1, "a");
        let mut heard = Vec::new();
        for cut in bytes.as_bytes().chunks(size) {
            line.lines();
            heard.extend(line.hear(cut));
        }
        let expected = letters.map(|letter| letter.repeat(32)).concat() + "zzzz";
        assert_eq!(payload(&heard), expected, "{size}");
        assert_eq!((line.conn.awaited(), line.conn.unanswered()), (0, 0));
    }
}

#[test]
fn a_piece_in_parts_does_not_survive_its_connection() {
    let mut line = Line::in_pieces();
    line.read_large(1, "a");
    line.lines();
    line.hear(b"$32\r\nxxxx");
    let issued: Vec<_> = line.conn.end().collect();
    assert!(issued.len() == 1 && issued[0].pieces.is_none());
}

#[test]
fn a_change_before_a_piece_in_parts_ends_the_read_in_pieces() {
    let mut line = Line::in_pieces();
    line.read_large(1, "a");
    line.hear(format!("{}:5000\r\n{CHANGE}$32\r\nyy", piece("x", 32)).as_bytes());
    line.lines();
    line.hear(format!("{}\r\n", "y".repeat(30)).as_bytes());
    assert_eq!(line.lines(), ["GET a", "PTTL a"]);
    assert!(line.hear(piece("z", 4).as_bytes()).is_empty());
    assert_eq!(payload(&line.hear(b"$3\r\nnew\r\n:5000\r\n")), "new");
}

#[test]
fn other_commands_are_answered_between_the_pieces() {
    let mut line = Line::in_pieces();
    line.read_large(1, "a");
    line.read_large(2, "b");
    line.send(3, read("c"));
    line.lines();
    let both = format!("{}:1\r\n{}", piece("a", 32), piece("a", 32)).replace('a', "b");
    let first = format!("{}:1\r\n{}", piece("a", 32), piece("a", 32));
    assert!(line.hear((first + &both).as_bytes()).is_empty());
    assert_eq!(line.lines().len(), 4);
    assert_eq!(senders(&line.hear(b"$1\r\nc\r\n:1\r\n")), [3]);
    let [a, b] = ["a", "b"].map(|key| (piece(key, 32), piece(key, 4)));
    // The requests of both alternate.
    assert!(line.hear(a.0.as_bytes()).is_empty());
    let heard = line.hear(a.1.as_bytes());
    assert_eq!(payload(&heard), "a".repeat(100));
    assert!(line.hear(b.0.as_bytes()).is_empty());
    let heard = line.hear(b.1.as_bytes());
    assert_eq!((payload(&heard), senders(&heard)), ("b".repeat(100), vec![2]));
}

#[test]
fn a_value_that_changes_between_its_pieces_is_read_again_at_once() {
    const FLUSH: &str = ">2\r\n$10\r\ninvalidate\r\n_\r\n";
    for change in [CHANGE, FLUSH] {
        let mut line = Line::in_pieces();
        line.read_large(1, "a");
        line.hear(format!("{}:5000\r\n", piece("x", 32)).as_bytes());
        line.lines();
        let heard = line.hear(format!("{change}{}", piece("x", 32)).as_bytes());
        assert!(senders(&heard).is_empty());
        assert_eq!(line.lines(), ["GET a", "PTTL a"]);
        // The piece that was requested before is ignored.
        assert!(line.hear(piece("y", 4).as_bytes()).is_empty());
        assert_eq!(payload(&line.hear(b"$3\r\nnew\r\n:5000\r\n")), "new");
        assert_eq!(line.conn.awaited(), 0);
    }
}

#[test]
fn a_change_before_the_first_piece_or_of_another_key_repeats_nothing() {
    let mut line = Line::in_pieces();
    line.read_large(1, "a");
    let other = CHANGE.replace("\r\na", "\r\nb");
    line.hear(format!("{CHANGE}{}:1\r\n{other}{}", piece("x", 32), piece("x", 32)).as_bytes());
    let heard = line.hear(format!("{}{}", piece("x", 32), piece("x", 4)).as_bytes());
    assert_eq!(payload(&heard), "x".repeat(100));
}

#[test]
fn a_value_that_has_become_small_is_complete_with_the_first_piece() {
    let mut line = Line::in_pieces();
    line.read_large(1, "a");
    line.lines();
    assert_eq!(payload(&line.hear(b"$3\r\nnew\r\n:5000\r\n")), "new");
    assert!(line.conn.awaits(&Key::from("a")), "a piece is still requested");
    assert!(line.hear(b"$0\r\n\r\n").is_empty());
    assert!(!line.conn.awaits(&Key::from("a")));
    assert_eq!(line.lines(), [""; 0]);
}

#[test]
fn a_value_that_has_grown_by_more_than_a_piece_is_read_at_once() {
    let mut line = Line::in_pieces();
    line.read_large(1, "a");
    let pieces = format!("{}:5000\r\n{}", piece("x", 32), piece("x", 32).repeat(4));
    assert!(line.hear(pieces.as_bytes()).is_empty());
    line.lines();
    assert!(line.hear(piece("x", 32).as_bytes()).is_empty());
    assert_eq!(line.lines(), ["GET a", "PTTL a"]);
}

#[test]
fn a_value_that_expires_between_its_pieces_is_not_cut_short() {
    let mut line = Line::in_pieces();
    line.read_large(1, "a");
    assert!(line.hear(format!("{}:1\r\n", piece("x", 32)).as_bytes()).is_empty());
    line.lines();
    // The invalidation follows the reply at which the key expires.
    let heard = line.hear(format!("$0\r\n\r\n{CHANGE}$0\r\n\r\n").as_bytes());
    assert!(senders(&heard).is_empty());
    assert_eq!(line.lines().last().unwrap(), "PTTL a");
    let heard = line.hear(b"_\r\n:-2\r\n");
    let [Inbound::Reply { reply: Reply::Read(read), .. }] = &heard[..] else { panic!() };
    assert!(matches!(read.stored, Stored::Missing));
}

#[test]
fn a_missing_key_is_locked_by_the_first_exchange() {
    let mut line = Line::in_pieces();
    line.read_or_lock();
    assert!(line.lines()[1].starts_with("SET a "));
    let heard = line.hear(b"$0\r\n\r\n+OK\r\n");
    let [Inbound::Reply { reply: Reply::Read(read), .. }] = &heard[..] else { panic!() };
    assert!(matches!(read.stored, Stored::Missing) && read.lock == LockReply::Granted);
    line.lines();
    // A key that is deleted behind the first piece is locked, too.
    line.hear(b"$0\r\n\r\n");
    line.read_or_lock();
    let heard = line.hear(format!("{}{CHANGE}+OK\r\n", piece("x", 32)).as_bytes());
    let Some(Inbound::Reply { reply: Reply::Read(read), .. }) = heard.last() else { panic!() };
    assert!(matches!(read.stored, Stored::Missing) && read.lock == LockReply::Granted);
}

#[test]
fn a_value_without_bytes_is_read_at_once() {
    let mut line = Line::in_pieces();
    line.read_or_lock();
    line.lines();
    assert!(line.hear(b"$0\r\n\r\n_\r\n").is_empty());
    assert!(line.lines()[0].starts_with("GET a"));
}

#[test]
fn a_login_that_may_not_read_ranges_reads_values_at_once() {
    let mut line = Line::in_pieces();
    line.read_large(1, "a");
    line.lines();
    let refusal = "-NOPERM no permissions to run the 'getrange' command\r\n";
    assert!(line.hear(format!("{refusal}:5000\r\n{refusal}").as_bytes()).is_empty());
    assert_eq!(line.lines(), ["GET a", "PTTL a"]);
    assert_eq!(payload(&line.hear(b"$3\r\nold\r\n:5000\r\n")), "old");
    line.read_large(2, "a");
    assert_eq!(line.lines(), ["GET a", "PTTL a"]);
}

#[test]
fn a_redirect_in_place_of_the_first_piece_refuses_the_read() {
    let mut line = Line::in_pieces();
    line.read_large(1, "a");
    let moved = "-MOVED 1 h:2\r\n";
    let heard = line.hear(moved.repeat(3).as_bytes());
    assert!(matches!(&heard[..], [Inbound::Reply { reply: Reply::Refused(_), .. }]), "{heard:?}");
    assert_eq!(line.conn.awaited(), 0);
}

#[test]
fn a_read_in_pieces_is_overdue_once_and_its_reply_has_no_sender() {
    let mut line = Line::in_pieces();
    line.read_large(1, "a");
    line.hear(format!("{}:5000\r\n", piece("x", 32)).as_bytes());
    let overdue = line.conn.next_overdue(line.now).unwrap();
    assert_eq!(overdue.token.sender, 1);
    assert!(line.conn.next_overdue(line.now).is_none());
    let heard = line.hear(format!("{}{}", piece("x", 32), piece("x", 4)).as_bytes());
    assert!(heard.len() == 1 && senders(&heard).is_empty());
}

#[test]
fn a_distant_server_gets_more_requests_at_once() {
    let mut line = Line::in_pieces();
    line.read_large(1, "a");
    line.lines();
    line.now += Duration::from_millis(1);
    line.hear(format!("{}:5000\r\n", piece("x", 32)).as_bytes());
    assert_eq!(line.lines(), ["GETRANGE a 64 95", "GETRANGE a 96 127"]);
}

#[test]
fn a_redirect_of_any_piece_is_the_answer_to_the_whole_read() {
    const MOVED: &str = "-MOVED 1 h:2\r\n";
    let first = format!("{}{MOVED}{MOVED}", piece("x", 32));
    let further = format!("{}:5000\r\n{MOVED}", piece("x", 32));
    for replies in [first, further] {
        let mut line = Line::in_pieces();
        line.read_large(1, "a");
        let heard = line.hear(replies.as_bytes());
        assert!(
            matches!(&heard[..], [Inbound::Reply { reply: Reply::Refused(_), .. }]),
            "{heard:?}"
        );
        let sent = line.lines();
        assert!(!sent.iter().any(|line| line.starts_with("GET ")), "{sent:?}");
    }
}
