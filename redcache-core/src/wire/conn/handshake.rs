//! The handshake of a new connection, one round trip at a time.
//!
//! | waiting for | reply                  | sends                        | then       |
//! |-------------|------------------------|------------------------------|------------|
//! | `Hello`     | proto 3                | `SELECT` if db ≠ 0           | `Select`   |
//! | `Hello`     | proto 3                | `CLIENT TRACKING`, `PING`    | `Tracking` |
//! | `Hello`     | proto 2                | `SELECT` if db ≠ 0           | `Select`   |
//! | `Hello`     | proto 2                | `PING`                       | `Probe`    |
//! | `Hello`     | another mode or role   |                              | failed     |
//! | `Hello`     | login refused, or busy |                              | failed     |
//! | `Hello`     | any other error        | `AUTH` if there is a login   | `Auth`     |
//! | `Hello`     | any other error        | as after proto 2             |            |
//! | `Hello`     | the same, wants role   | `ROLE`, after the login      | `Role`     |
//! | `Role`      | `master`               | `PING`                       | `Probe`    |
//! | `Role`      | anything else          |                              | failed     |
//! | `Auth`      | OK                     | as after proto 2             |            |
//! | `Select`    | OK, RESP3              | `CLIENT TRACKING`, `PING`    | `Tracking` |
//! | `Select`    | OK, RESP2              | `PING`                       | `Probe`    |
//! | `Tracking`  | OK, or an error        |                              | `Probe`    |
//! | `Probe`     | `PONG`                 | `CLIENT SETINFO` twice       | ready      |
//! | `Probe`     | only `PING` is refused | `CLIENT SETINFO` twice       | ready      |
//! | `Probe`     | another error          |                              | failed     |
//!
//! Any refusal of `HELLO` that is not about the login means that the server has no RESP3, and so
//! does a reply without `proto`. Such a server cannot track keys, so the connection is used
//! untracked. The probe detects a server that accepts connections but refuses commands, because it
//! is loading or requires a login.
//!
//! A proxy that hangs up at `HELLO` hangs up at `CLIENT` too, so a connection without `HELLO` sends
//! no `CLIENT` either. It is also used with a proxy that hangs up at `CLIENT` alone.
//!
//! Each step waits for the reply to the previous step: some servers drop a reply when `AUTH` fails
//! in a pipeline, which would shift every later reply. Only the probe shares the round trip of
//! tracking.

use super::greeting::{Greeting, Mode};
use crate::api::config::Config;
use crate::api::credentials::Credentials;
use crate::api::error::{Error, ErrorKind, Transient};
use crate::protocol::authentication::{auth, hello, login};
use crate::protocol::refusal::Refusal;
use crate::resp::{Frame, command};

/// The first byte of the alert that a TLS server sends to other clients. No frame begins with it.
pub(super) const TLS_ALERT: u8 = 0x15;

/// The knowledge of a node about its server before a handshake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Expectation {
    /// The server hangs up at `HELLO` or `CLIENT`.
    pub(crate) without_hello: bool,
    /// A replica at this address has refused a write.
    pub(crate) needs_primary: bool,
}

/// The reply that a handshake waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handshake {
    Hello { needs_primary: bool },
    Auth(Dialect),
    Select(Dialect),
    Role,
    Tracking,
    Probe(Dialect),
}

/// The protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Resp3,
    /// RESP3 of a server whose commands are known.
    Known,
    Resp2,
    /// RESP2 of a server that must say that it is a primary, and has refused `HELLO`.
    Unproven,
    /// RESP2 without `HELLO` and `CLIENT`: the server hangs up at them.
    Bare,
}

/// The step that follows a reply.
#[derive(Debug)]
pub(super) enum Next {
    Wait(Handshake),
    /// The server does not track keys, for this reason. The handshake continues.
    Untracked(Handshake, String),
    /// Commands may be sent. The replies to the last commands of the handshake will be ignored.
    Ready {
        ignored: usize,
    },
    Fail(Error),
}

const NO_RESP3: &str = "the server does not speak RESP3";

impl Handshake {
    /// Append the first command of a new connection to `out`. Credentials of a provider replace
    /// those of the settings. Also return the reason if the server cannot track keys.
    pub(super) fn start(
        expected: Expectation,
        (config, given): (&Config, Option<&Credentials>),
        out: &mut Vec<u8>,
    ) -> (Self, Option<String>) {
        if expected.without_hello {
            return (log_in(config, given, Dialect::Bare, out), Some(NO_RESP3.to_owned()));
        }
        hello(config, given, out);
        (Self::Hello { needs_primary: expected.needs_primary }, None)
    }

    /// Return whether the reply to `HELLO` is awaited.
    pub(super) fn is_hello(self) -> bool {
        matches!(self, Self::Hello { .. })
    }

    /// Return whether the server may hang up because it does not know `HELLO` or `CLIENT`.
    pub(super) fn may_be_unknown(self) -> bool {
        matches!(self, Self::Hello { .. } | Self::Tracking)
    }

    pub(super) fn on_reply(
        self,
        frame: &Frame<'_>,
        (config, given): (&Config, Option<&Credentials>),
        out: &mut Vec<u8>,
    ) -> Next {
        match (self, frame) {
            (Self::Hello { needs_primary }, Frame::Error(text)) => {
                match hello_fault(text, login(config, given).is_some()) {
                    Some(error) => Next::Fail(error),
                    None => {
                        let dialect =
                            if needs_primary { Dialect::Unproven } else { Dialect::Resp2 };
                        go_on(log_in(config, given, dialect, out), dialect)
                    }
                }
            }
            (Self::Hello { needs_primary }, _) => match Greeting::of(frame) {
                Some(greeting) => greet(greeting, needs_primary, config, out),
                // A proxy may leave fields out.
                None if is_greeting(frame) => {
                    let dialect = Dialect::Resp2;
                    go_on(log_in(config, given, dialect, out), dialect)
                }
                None => Next::Fail(malformed()),
            },
            (Self::Auth(dialect), Frame::Simple(_)) => go_on(select(config, dialect, out), dialect),
            (Self::Select(dialect), Frame::Simple(_)) => go_on(prepare(dialect, out), dialect),
            (Self::Role, Frame::Array(parts)) if is_primary(parts) => {
                Next::Wait(prepare(Dialect::Resp2, out))
            }
            (Self::Role, Frame::Array(_)) => Next::Fail(replica()),
            (Self::Role, Frame::Error(text)) => {
                let Refusal(text) = Refusal::of(text);
                let text = format!("HELLO and ROLE are refused, so it may be a replica: {text}");
                Next::Fail(Error::new(ErrorKind::Unavailable, text))
            }
            (Self::Select(_), Frame::Error(text)) => Next::Fail(select_fault(text, config)),
            (Self::Tracking, Frame::Simple(_)) => Next::Wait(Self::Probe(Dialect::Resp3)),
            // A new attempt is better than a connection that stays untracked.
            (Self::Tracking, Frame::Error(text))
                if Transient::of(text).is_some() && !mutant!(BusyHandshakeAccepted) =>
            {
                Next::Fail(refused(text))
            }
            (Self::Tracking, Frame::Error(text)) => {
                let Refusal(text) = Refusal::of(text);
                let why = format!("CLIENT TRACKING was refused: {text}");
                Next::Untracked(Self::Probe(Dialect::Resp3), why)
            }
            (Self::Probe(dialect), Frame::Error(text)) if is_about_ping(text) => {
                introduce(dialect, out)
            }
            (Self::Probe(_), Frame::Error(text)) if !mutant!(BusyHandshakeAccepted) => {
                Next::Fail(refused(text))
            }
            (
                Self::Probe(dialect),
                Frame::Simple(b"PONG") | Frame::Bulk(b"PONG") | Frame::Error(_),
            ) => introduce(dialect, out),
            (Self::Auth(_), Frame::Error(text)) => Next::Fail(refused(text)),
            (Self::Auth(_) | Self::Select(_) | Self::Role | Self::Tracking | Self::Probe(_), _) => {
                Next::Fail(malformed())
            }
        }
    }
}

/// Compare the server with the configuration.
fn greet(greeting: Greeting, needs_primary: bool, config: &Config, out: &mut Vec<u8>) -> Next {
    let text = match greeting.mode {
        Mode::Sentinel => {
            "the server is a sentinel, which stores no keys; configure the address of the Redis \
             server that it watches"
        }
        Mode::Cluster if !config.servers.is_cluster() => {
            "the server is a node of a cluster; configure `redis-cluster://` with its address, or \
             `Config::builder().cluster(…)`"
        }
        Mode::Cluster | Mode::Standalone => "",
    };
    if !text.is_empty() {
        return Next::Fail(Error::new(ErrorKind::Config, text));
    }
    if greeting.is_replica && needs_primary {
        return Next::Fail(replica());
    }
    let dialect = match (greeting.resp3, greeting.native.set_get) {
        (true, true) => Dialect::Known,
        (true, false) => Dialect::Resp3,
        (false, _) => Dialect::Resp2,
    };
    go_on(select(config, dialect, out), dialect)
}

fn go_on(handshake: Handshake, dialect: Dialect) -> Next {
    match dialect {
        Dialect::Resp3 | Dialect::Known => Next::Wait(handshake),
        Dialect::Resp2 | Dialect::Unproven | Dialect::Bare => {
            Next::Untracked(handshake, NO_RESP3.to_owned())
        }
    }
}

fn log_in(
    config: &Config,
    given: Option<&Credentials>,
    dialect: Dialect,
    out: &mut Vec<u8>,
) -> Handshake {
    let Some((username, password)) = login(config, given) else {
        return select(config, dialect, out);
    };
    auth(username, password, out);
    Handshake::Auth(dialect)
}

fn select(config: &Config, dialect: Dialect, out: &mut Vec<u8>) -> Handshake {
    if config.db == 0 {
        return prepare(dialect, out);
    }
    command(out, &[b"SELECT", config.db.to_string().as_bytes()]);
    Handshake::Select(dialect)
}

/// Append the commands that turn tracking on and probe the server.
///
/// Tracking is turned on without `NOLOOP`, which suppresses every invalidation during our own
/// commands, including those for evicted keys and for a full tracking table. `OPTOUT` allows reads
/// that are not tracked.
fn prepare(dialect: Dialect, out: &mut Vec<u8>) -> Handshake {
    let next = match dialect {
        Dialect::Resp3 => {
            command(out, &[b"CLIENT", b"TRACKING", b"ON"]);
            Handshake::Tracking
        }
        Dialect::Known => {
            command(out, &[b"CLIENT", b"TRACKING", b"ON", b"OPTOUT"]);
            Handshake::Tracking
        }
        Dialect::Unproven => {
            command(out, &[b"ROLE"]);
            return Handshake::Role;
        }
        Dialect::Resp2 | Dialect::Bare => Handshake::Probe(dialect),
    };
    command(out, &[b"PING"]);
    next
}

/// Return whether the reply to `ROLE` is that of a primary.
fn is_primary(role: &[Frame<'_>]) -> bool {
    matches!(role.first(), Some(Frame::Bulk(b"master") | Frame::Simple(b"master")))
}

fn replica() -> Error {
    Error::new(ErrorKind::Unavailable, "the server is a replica, which accepts no writes")
}

/// Append the commands that name this library.
fn introduce(dialect: Dialect, out: &mut Vec<u8>) -> Next {
    if dialect == Dialect::Bare && !mutant!(BareIntroduced) {
        return Next::Ready { ignored: 0 };
    }
    command(out, &[b"CLIENT", b"SETINFO", b"LIB-NAME", b"redcache"]);
    let version = env!("CARGO_PKG_VERSION").as_bytes();
    command(out, &[b"CLIENT", b"SETINFO", b"LIB-VER", version]);
    Next::Ready { ignored: 2 }
}

/// Return the reason why a refusal of `HELLO` ends the handshake; `None` if the server has no
/// RESP3.
fn hello_fault(text: &[u8], has_login: bool) -> Option<Error> {
    let error = refused(text);
    let is_about_login = error.kind() == ErrorKind::Authentication;
    // An old server demands the login that the unknown `HELLO` carried.
    let is_answered_by_auth = code(text) == b"NOAUTH" && has_login;
    let is_busy = Transient::of(text).is_some() || is_full(text);
    (is_busy || (is_about_login && !is_answered_by_auth)).then_some(error)
}

fn select_fault(text: &[u8], config: &Config) -> Error {
    if Transient::of(text).is_some() || code(text) == b"NOAUTH" {
        return refused(text);
    }
    let text = format!("the server refuses `db` {}", config.db);
    Error::new(ErrorKind::Config, text)
}

/// Return whether a reply to `HELLO` has the type of a greeting.
fn is_greeting(frame: &Frame<'_>) -> bool {
    matches!(frame, Frame::Map(_) | Frame::Array(_))
}

/// Return whether a server that has refused `PING` may accept other commands: the login or the
/// server has no `PING`, or the server cannot save its data. In the last case it refuses writes and
/// `PING` with `MISCONF`, and answers reads.
fn is_about_ping(text: &[u8]) -> bool {
    matches!(code(text), b"NOPERM" | b"MISCONF") || Refusal::of(text).is_unknown_command()
}

fn code(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == b' ').next().unwrap_or_default()
}

fn is_full(text: &[u8]) -> bool {
    text.starts_with(b"ERR max number of clients")
}

pub(super) fn refused(text: &[u8]) -> Error {
    let is_about_login = match code(text) {
        b"WRONGPASS" | b"NOAUTH" | b"DENIED" => true,
        b"ERR" => [&b"ERR AUTH"[..], b"ERR invalid password", b"ERR Client sent AUTH"]
            .iter()
            .any(|begins| text.starts_with(begins)),
        _ => false,
    };
    // Otherwise the server is full or not ready.
    let kind = if is_about_login { ErrorKind::Authentication } else { ErrorKind::Unavailable };
    Error::new(kind, String::from(Refusal::of(text).0))
}

fn malformed() -> Error {
    let text = "the server's reply to the handshake is not one of Redis";
    Error::new(ErrorKind::Protocol, text)
}

/// Return the error for a server that sends a frame, such as a refusal, before any command.
pub(super) fn spoke_first(frame: &Frame<'_>) -> Error {
    match frame {
        Frame::Error(text) => refused(text),
        _ => Error::new(ErrorKind::Protocol, "a reply came that nobody asked for"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Config {
        Config::from_url(url).unwrap()
    }

    fn hello(proto: i64) -> Frame<'static> {
        greeting(proto, b"standalone", b"master")
    }

    fn greeting(proto: i64, mode: &'static [u8], role: &'static [u8]) -> Frame<'static> {
        Frame::Map(vec![
            (Frame::Bulk(b"server"), Frame::Bulk(b"redis")),
            (Frame::Bulk(b"proto"), Frame::Integer(proto)),
            (Frame::Bulk(b"mode"), Frame::Bulk(mode)),
            (Frame::Bulk(b"role"), Frame::Bulk(role)),
        ])
    }

    /// The end of a handshake.
    #[derive(Debug)]
    struct Played {
        said: String,
        next: Next,
        untracked: Option<String>,
    }

    impl Played {
        fn error(&self) -> &Error {
            let Next::Fail(error) = &self.next else { panic!("{self:?}") };
            error
        }

        fn is_ready(&self) -> bool {
            matches!(self.next, Next::Ready { ignored: 2 })
        }
    }

    fn play(url: &str, replies: &[Frame<'_>]) -> Played {
        play_with(Expectation::default(), url, replies)
    }

    /// Pass the replies to a handshake. Return the commands that were sent and the last step.
    fn play_with(expected: Expectation, url: &str, replies: &[Frame<'_>]) -> Played {
        let (config, mut out) = (config(url), Vec::new());
        let (state, mut untracked) = Handshake::start(expected, (&config, None), &mut out);
        let mut next = Next::Wait(state);
        let mut replies = replies.iter();
        loop {
            let state = match next {
                Next::Wait(state) => state,
                Next::Untracked(state, why) => {
                    untracked.get_or_insert(why);
                    state
                }
                Next::Ready { .. } | Next::Fail(_) => break,
            };
            let Some(reply) = replies.next() else {
                next = Next::Wait(state);
                break;
            };
            out.extend_from_slice(b"|");
            next = state.on_reply(reply, (&config, None), &mut out);
        }
        assert_eq!(replies.next(), None, "the handshake is over");
        let said = String::from_utf8(out).unwrap();
        let words = said.split("\r\n").filter(|word| !word.starts_with(['*', '$']));
        let said = words.map(|word| word.trim_start_matches('|')).collect::<Vec<_>>().join(" ");
        Played { said, next, untracked }
    }

    const OK: Frame<'static> = Frame::Simple(b"OK");
    const PONG: Frame<'static> = Frame::Simple(b"PONG");

    #[test]
    fn hello_carries_the_login_and_nothing_is_sent_ahead() {
        let played = play("redis://u:p@h/3?client_name=me", &[]);
        assert_eq!(played.said.trim(), "HELLO 3 AUTH u p SETNAME me");
    }

    #[test]
    fn a_server_with_resp3_tracks() {
        let played = play("redis://h/3", &[hello(3), OK, OK, PONG]);
        let said = &played.said;
        assert!(said.contains("SELECT 3") && said.contains("CLIENT TRACKING ON"), "{said}");
        assert!(played.is_ready() && played.untracked.is_none(), "{played:?}");
    }

    #[test]
    fn a_refusal_of_hello_in_any_words_means_an_untracked_connection() {
        for refusal in [
            "ERR unknown command 'HELLO'",
            "unsupported command 'HELLO'",
            "ERR unsupported command",
            "NOPROTO unsupported protocol version",
            "NOPERM this user has no permissions to run the 'hello' command",
            "NOAUTH Authentication required.",
            "unknown",
            "",
        ] {
            let played = play("redis://:p@h", &[Frame::Error(refusal.as_bytes()), OK, PONG]);
            assert!(played.said.contains("AUTH p"), "{refusal}: {played:?}");
            assert!(played.is_ready() && played.untracked.is_some(), "{refusal}: {played:?}");
        }
    }

    #[test]
    fn a_server_that_must_be_a_primary_and_refuses_hello_is_asked_for_its_role() {
        let expected = Expectation { without_hello: false, needs_primary: true };
        let role = |role| Frame::Array(vec![Frame::Bulk(role), Frame::Integer(0)]);
        let unknown = Frame::Error(b"ERR unknown command 'HELLO'");
        let play = |role| play_with(expected, "redis://:p@h", &[unknown.clone(), OK, role]);
        let played =
            play_with(expected, "redis://:p@h", &[unknown.clone(), OK, role(b"master"), PONG]);
        assert!(played.said.contains("AUTH p *1 ROLE *1 PING"), "{played:?}");
        assert!(played.is_ready() && played.untracked.is_some(), "{played:?}");
        assert!(play(role(b"slave")).error().to_string().contains("replica"));
        let refused = play(Frame::Error(b"NOPERM no"));
        assert!(refused.error().to_string().contains("ROLE"), "{refused:?}");
    }

    #[test]
    fn a_server_that_answers_hello_without_a_protocol_is_logged_in_to_and_used_untracked() {
        let field = || (Frame::Bulk(b"server"), Frame::Bulk(b"redis"));
        let flat = Frame::Array(vec![field().0, field().1]);
        for hello in [Frame::Map(vec![field()]), flat] {
            let played = play("redis://:p@h", &[hello, OK, PONG]);
            assert!(played.said.contains("AUTH p"), "{played:?}");
            assert!(played.is_ready() && played.untracked.is_some(), "{played:?}");
        }
        let text = Frame::Map(vec![(Frame::Simple(b"proto"), Frame::Bulk(b"3"))]);
        let played = play("redis://h", &[text, OK, PONG]);
        assert!(played.is_ready() && played.untracked.is_none(), "{played:?}");
        for other in [OK, Frame::Bulk(b"hello"), Frame::Integer(3), Frame::Null] {
            let played = play("redis://h", &[other]);
            assert_eq!(played.error().kind(), ErrorKind::Protocol, "{played:?}");
        }
    }

    #[test]
    fn a_server_that_refuses_only_ping_is_ready() {
        for refusal in [
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to",
            "NOPERM User app has no permissions to run the 'ping' command",
            "ERR unknown command 'PING', with args beginning with: ",
            "unsupported command",
        ] {
            let played = play("redis://h", &[hello(3), OK, Frame::Error(refusal.as_bytes())]);
            assert!(played.is_ready() && played.untracked.is_none(), "{refusal}: {played:?}");
        }
    }

    #[test]
    fn a_reply_to_ping_that_is_none_ends_the_handshake() {
        for reply in [OK, Frame::Integer(1), Frame::Null, Frame::Bulk(b"1")] {
            let played = play("redis://h", &[hello(3), OK, reply]);
            assert_eq!(played.error().kind(), ErrorKind::Protocol, "{played:?}");
        }
    }

    #[test]
    fn a_server_that_answers_hello_with_resp2_is_used_untracked() {
        let fields = [&b"server"[..], b"redis"].map(Frame::Bulk);
        let proto = [Frame::Bulk(b"proto"), Frame::Integer(2)];
        let flat = Frame::Array(fields.into_iter().chain(proto).collect());
        for hello in [hello(2), flat] {
            let played = play("redis://h", &[hello, PONG]);
            assert!(played.is_ready() && played.untracked.is_some(), "{played:?}");
            assert!(!played.said.contains("TRACKING"), "{played:?}");
        }
    }

    #[test]
    fn a_server_that_hangs_up_at_hello_is_greeted_without_it() {
        let expected = Expectation { without_hello: true, ..Expectation::default() };
        let played = play_with(expected, "redis://:p@h", &[OK, PONG]);
        assert!(played.said.starts_with(" AUTH p") || played.said.starts_with("AUTH p"));
        assert!(matches!(played.next, Next::Ready { ignored: 0 }), "{played:?}");
        assert!(!played.said.contains("HELLO") && !played.said.contains("CLIENT"), "{played:?}");
        assert!(played.untracked.is_some());
    }

    #[test]
    fn a_server_without_tracking_is_used_untracked() {
        let noperm = Frame::Error(b"NOPERM this user has no permissions");
        let played = play("redis://h", &[hello(3), noperm, PONG]);
        assert!(played.untracked.as_ref().unwrap().contains("NOPERM"), "{played:?}");
        assert!(played.is_ready(), "{played:?}");
    }

    #[test]
    fn a_server_that_is_busy_or_loading_is_tried_again() {
        let busy = Frame::Error(b"BUSY Redis is busy running a script.");
        let loading = Frame::Error(b"LOADING Redis is loading the dataset in memory");
        for replies in [
            &[hello(3), busy, PONG][..2],
            std::slice::from_ref(&loading),
            &[hello(3), OK, loading.clone()],
            &[hello(3), OK, Frame::Error(b"MASTERDOWN Link with MASTER is down")],
        ] {
            let played = play("redis://h", replies);
            assert!(played.error().is_retryable(), "{played:?}");
        }
    }

    #[test]
    fn a_sentinel_and_a_node_of_a_cluster_are_refused_with_what_to_configure() {
        for (mode, hint) in [(&b"sentinel"[..], "sentinel"), (b"cluster", "redis-cluster://")] {
            let played = play("redis://h", &[greeting(3, mode, b"master")]);
            assert_eq!(played.error().kind(), ErrorKind::Config);
            assert!(played.error().to_string().contains(hint), "{played:?}");
        }
        let played = play("redis-cluster://h", &[greeting(3, b"cluster", b"slave"), OK, PONG]);
        assert!(played.is_ready(), "{played:?}");
    }

    #[test]
    fn a_replica_is_accepted_until_a_write_was_refused() {
        let replica = || greeting(3, b"standalone", b"replica");
        assert!(play("redis://h", &[replica(), OK, PONG]).is_ready());
        let expected = Expectation { needs_primary: true, ..Expectation::default() };
        let played = play_with(expected, "redis://h", &[replica()]);
        assert!(played.error().to_string().contains("replica"), "{played:?}");
        assert!(played.error().is_retryable());
        assert!(play_with(expected, "redis://h", &[hello(3), OK, PONG]).is_ready());
    }

    #[test]
    fn a_refused_login_is_an_authentication_error_and_a_full_server_is_not() {
        let wrong = Frame::Error(b"WRONGPASS invalid username-password pair");
        let noauth = Frame::Error(b"NOAUTH Authentication required.");
        let denied = Frame::Error(b"DENIED Redis is running in protected mode");
        for (url, reply) in [("redis://:p@h", wrong), ("redis://h", noauth), ("redis://h", denied)]
        {
            let played = play(url, &[reply]);
            assert_eq!(played.error().kind(), ErrorKind::Authentication, "{played:?}");
        }
        let played = play("redis://h", &[Frame::Error(b"ERR max number of clients reached")]);
        assert!(played.error().is_retryable(), "{played:?}");
    }

    #[test]
    fn a_database_that_the_server_refuses_is_a_fault_of_the_configuration() {
        let played =
            play("redis://h/99", &[hello(3), Frame::Error(b"ERR DB index is out of range")]);
        assert_eq!(played.error().kind(), ErrorKind::Config);
        assert!(played.error().to_string().contains("99"), "{played:?}");
    }
}
