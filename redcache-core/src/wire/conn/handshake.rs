//! The handshake of a new connection, one round trip at a time.
//!
//! | waiting for | reply              | sends                      | then       |
//! |-------------|--------------------|----------------------------|------------|
//! | `Hello`     | proto 3            | `SELECT` if db ≠ 0         | `Select`   |
//! | `Hello`     | proto 3            | `CLIENT TRACKING` if db = 0 | `Tracking` |
//! | `Hello`     | unknown or NOPROTO | `AUTH` if there is a login | `Auth`     |
//! | `Hello`     | unknown or NOPROTO | `SELECT` or `PING` without | `Select`   |
//! | `Hello`     | any other error    |                            | failed     |
//! | `Auth`      | OK                 | `SELECT` or `PING`         | `Select`   |
//! | `Select`    | OK, RESP3          | `CLIENT TRACKING`          | `Tracking` |
//! | `Select`    | OK, RESP2          |                            | ready, not tracked |
//! | `Select`    | `PING` forbidden   |                            | ready, not tracked |
//! | `Tracking`  | OK                 | `CLIENT SETINFO` twice     | ready, tracked     |
//! | `Tracking`  | an error           | `CLIENT SETINFO` twice     | ready, not tracked |
//!
//! Each step waits for the reply of the step before: some servers drop a reply when `AUTH` fails in
//! a pipeline, which would shift every later reply. Only the best-effort `SETINFO` shares its round
//! trip with the first commands.

use crate::api::config::Config;
use crate::api::credentials::Credentials;
use crate::api::error::{Error, ErrorKind, Transient};
use crate::protocol::refusal::Refusal;
use crate::resp::{Frame, command};

const NO_RESP3: &str = "the server does not speak RESP3";

/// The reply that a handshake waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handshake {
    Hello,
    Auth,
    Select { resp3: bool },
    Tracking,
}

/// The step that follows a reply.
#[derive(Debug)]
pub(crate) enum Next {
    Wait(Handshake),
    /// Commands may be sent. `untracked` is the reason why the server does not track keys;
    /// `ignored` replies of no interest are still to come.
    Ready {
        untracked: Option<String>,
        ignored: usize,
    },
    Fail(Error),
}

impl Handshake {
    /// Append the first command of a new connection to `out`. Credentials of a provider take the
    /// place of those in the settings.
    pub(crate) fn start(config: &Config, given: Option<&Credentials>, out: &mut Vec<u8>) -> Self {
        let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some((username, password)) = login(config, given) {
            let username = username.unwrap_or("default").as_bytes();
            hello.extend([&b"AUTH"[..], username, password.as_bytes()]);
        }
        if let Some(name) = &config.client_name {
            hello.extend([&b"SETNAME"[..], name.as_bytes()]);
        }
        command(out, &hello);
        Self::Hello
    }

    pub(crate) fn on_reply(
        self,
        frame: &Frame<'_>,
        (config, given): (&Config, Option<&Credentials>),
        out: &mut Vec<u8>,
    ) -> Next {
        match (self, frame) {
            (Self::Hello, Frame::Map(_) | Frame::Array(_)) if speaks_resp3(frame) => {
                select(config, true, out)
            }
            (Self::Hello, Frame::Error(text)) if is_old_server(text) => log_in(config, given, out),
            (Self::Auth, Frame::Simple(b"OK")) => select(config, false, out),
            (Self::Select { resp3: true }, Frame::Simple(_)) => {
                track(out);
                Next::Wait(Self::Tracking)
            }
            // The server has accepted the login, which may run other commands than `PING`.
            (Self::Select { resp3: false }, Frame::Error(text))
                if config.db == 0 && text.starts_with(b"NOPERM") =>
            {
                Next::Ready { untracked: Some(NO_RESP3.to_owned()), ignored: 0 }
            }
            (Self::Select { resp3: false }, Frame::Simple(_)) => {
                Next::Ready { untracked: Some(NO_RESP3.to_owned()), ignored: 0 }
            }
            (Self::Tracking, Frame::Simple(b"OK")) => introduce(None, out),
            // A new attempt is better than a connection that stays untracked.
            (Self::Tracking, Frame::Error(text))
                if Transient::of(text).is_some() && !mutant!(BusyHandshakeAccepted) =>
            {
                Next::Fail(refused(text))
            }
            (Self::Tracking, Frame::Error(text)) => {
                let Refusal(text) = Refusal::of(text);
                introduce(Some(format!("CLIENT TRACKING was refused: {text}")), out)
            }
            (_, Frame::Error(text)) => Next::Fail(refused(text)),
            _ => Next::Fail(Error::new(
                ErrorKind::Protocol,
                "the server's reply to the handshake is not one of Redis",
            )),
        }
    }
}

fn speaks_resp3(hello: &Frame<'_>) -> bool {
    let Frame::Map(fields) = hello else {
        return false;
    };
    fields.iter().any(|field| matches!(field, (Frame::Bulk(b"proto"), Frame::Integer(3))))
}

fn is_old_server(text: &[u8]) -> bool {
    text.starts_with(b"NOPROTO") || text.starts_with(b"ERR unknown command")
}

/// Return the user name and the password to log in with.
fn login<'a>(
    config: &'a Config,
    given: Option<&'a Credentials>,
) -> Option<(Option<&'a str>, &'a str)> {
    match given {
        Some(given) => Some((given.username(), given.reveal_password())),
        None => {
            let password = config.password.as_ref()?.reveal();
            Some((config.username.as_deref(), password))
        }
    }
}

fn log_in(config: &Config, given: Option<&Credentials>, out: &mut Vec<u8>) -> Next {
    let Some((username, password)) = login(config, given) else {
        return select(config, false, out);
    };
    auth(username, password, out);
    Next::Wait(Handshake::Auth)
}

/// Append the command of a login.
pub(super) fn auth(username: Option<&str>, password: &str, out: &mut Vec<u8>) {
    match username {
        Some(user) => command(out, &[b"AUTH", user.as_bytes(), password.as_bytes()]),
        None => command(out, &[b"AUTH", password.as_bytes()]),
    }
}

fn select(config: &Config, resp3: bool, out: &mut Vec<u8>) -> Next {
    if config.db != 0 {
        command(out, &[b"SELECT", config.db.to_string().as_bytes()]);
    } else if resp3 {
        track(out);
        return Next::Wait(Handshake::Tracking);
    } else {
        // A server that requires a login refuses the first command, which must not be a caller's.
        command(out, &[b"PING"]);
    }
    Next::Wait(Handshake::Select { resp3 })
}

/// Append the command that turns tracking on, without `NOLOOP`: that suppresses every invalidation
/// during a command of ours, also that of an evicted key or of a full tracking table.
fn track(out: &mut Vec<u8>) {
    command(out, &[b"CLIENT", b"TRACKING", b"ON"]);
}

fn introduce(untracked: Option<String>, out: &mut Vec<u8>) -> Next {
    command(out, &[b"CLIENT", b"SETINFO", b"LIB-NAME", b"redcache"]);
    let version = env!("CARGO_PKG_VERSION").as_bytes();
    command(out, &[b"CLIENT", b"SETINFO", b"LIB-VER", version]);
    Next::Ready { untracked, ignored: 2 }
}

pub(super) fn refused(text: &[u8]) -> Error {
    let code = text.split(|&byte| byte == b' ').next().unwrap_or_default();
    let kind = match code {
        b"WRONGPASS" | b"NOAUTH" | b"NOPERM" => ErrorKind::Authentication,
        _ if text.starts_with(b"ERR AUTH") || text.starts_with(b"ERR invalid password") => {
            ErrorKind::Authentication
        }
        // The server is full or not ready.
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, String::from(Refusal::of(text).0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Config {
        Config::from_url(url).unwrap()
    }

    fn hello(proto: i64) -> Frame<'static> {
        Frame::Map(vec![
            (Frame::Bulk(b"server"), Frame::Bulk(b"redis")),
            (Frame::Bulk(b"proto"), Frame::Integer(proto)),
        ])
    }

    /// Play the replies. Return the commands that were sent and the last step.
    fn play(url: &str, replies: &[Frame<'_>]) -> (String, Next) {
        let (config, mut out) = (config(url), Vec::new());
        let mut next = Next::Wait(Handshake::start(&config, None, &mut out));
        for reply in replies {
            let Next::Wait(state) = next else { panic!("the handshake is over") };
            out.extend_from_slice(b"|");
            next = state.on_reply(reply, (&config, None), &mut out);
        }
        let said = String::from_utf8(out).unwrap();
        let words = said.split("\r\n").filter(|word| !word.starts_with(['*', '$']));
        (words.map(|word| word.trim_start_matches('|')).collect::<Vec<_>>().join(" "), next)
    }

    const OK: Frame<'static> = Frame::Simple(b"OK");

    #[test]
    fn hello_carries_the_login_and_nothing_is_sent_ahead() {
        let (said, next) = play("redis://u:p@h/3?client_name=me", &[]);
        assert_eq!(said.trim(), "HELLO 3 AUTH u p SETNAME me");
        assert!(matches!(next, Next::Wait(Handshake::Hello)));
    }

    #[test]
    fn a_server_with_resp3_tracks() {
        let (said, next) = play("redis://h/3", &[hello(3), OK, OK]);
        assert!(said.contains("SELECT 3") && said.contains("CLIENT TRACKING ON"), "{said}");
        assert!(matches!(next, Next::Ready { untracked: None, ignored: 2 }));
    }

    #[test]
    fn a_server_without_resp3_or_tracking_is_used_untracked() {
        let unknown = Frame::Error(b"ERR unknown command 'HELLO'");
        let (said, next) = play("redis://:p@h", &[unknown, OK, Frame::Simple(b"PONG")]);
        assert!(said.contains("AUTH p"), "{said}");
        assert!(matches!(next, Next::Ready { untracked: Some(_), ignored: 0 }));
        let noperm = Frame::Error(b"NOPERM this user has no permissions");
        let noproto = || Frame::Error(b"NOPROTO unsupported protocol version");
        let (_, next) = play("redis://h", &[noproto(), noperm.clone()]);
        assert!(matches!(next, Next::Ready { untracked: Some(_), ignored: 0 }), "{next:?}");
        let (_, next) = play("redis://h/3", &[noproto(), noperm.clone()]);
        assert!(matches!(next, Next::Fail(_)), "{next:?}");
        let (_, next) = play("redis://h", &[hello(3), noperm]);
        let Next::Ready { untracked: Some(why), .. } = next else { panic!("{next:?}") };
        assert!(why.contains("NOPERM"));
    }

    #[test]
    fn a_busy_server_is_not_used_untracked() {
        let busy = Frame::Error(b"BUSY Redis is busy running a script.");
        let (_, next) = play("redis://h", &[hello(3), busy]);
        let Next::Fail(error) = next else { panic!("{next:?}") };
        assert!(error.is_retryable(), "{error}");
    }

    #[test]
    fn a_refused_login_is_an_authentication_error_and_a_full_server_is_not() {
        let (_, next) =
            play("redis://:p@h", &[Frame::Error(b"WRONGPASS invalid username-password pair")]);
        let Next::Fail(error) = next else { panic!("{next:?}") };
        assert_eq!(error.kind(), ErrorKind::Authentication);
        let (_, next) = play("redis://h", &[Frame::Error(b"ERR max number of clients reached")]);
        let Next::Fail(error) = next else { panic!("{next:?}") };
        assert!(error.is_retryable(), "{error}");
        let (_, next) = play("redis://h", &[hello(2)]);
        assert!(matches!(next, Next::Fail(_)));
    }
}
