//! The session with one sentinel.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::settings::Settings;
use crate::api::config::Address;
use crate::api::credentials::Credentials;
use crate::api::error::{Error, ErrorKind};
use crate::protocol::sentinel::{
    Login as Words, Request, is_sentinel, read_primary, read_sentinels, read_switch,
};
use crate::resp::{self, Frame, Limits};
use crate::rng::Rng;
use crate::wire::framing::{FrameMax, Framing, broken};
use crate::wire::input::Input;
use crate::wire::login::{Login, Question};
use crate::wire::router::context::earliest;

/// The largest size of an answer of a sentinel.
const ANSWER_MAX: FrameMax = FrameMax { payload: 256 << 10, unfinished: 256 << 10 };

/// A message of a sentinel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Primary(Address),
    Sentinels(Vec<Address>),
    /// The answer to a login.
    LoggedIn {
        is_accepted: bool,
    },
}

#[derive(Debug)]
pub(in crate::wire::router) struct Session {
    framing: Framing,
    out: Vec<u8>,
    login: Login,
    /// The credentials of the provider, until they are accepted or refused.
    credentials: Option<Credentials>,
    awaited: VecDeque<Request>,
    /// The deadline of the oldest awaited answer.
    until: Option<Instant>,
    /// Whether the greeting was answered.
    is_ready: bool,
    /// The sentinel has refused `HELLO`. Without RESP3, a subscription would end the queries.
    lacks_hello: bool,
    /// The instant of the last query for the primary.
    asked_at: Instant,
    /// Whether to query the primary as soon as no answer is awaited.
    is_urgent: bool,
}

impl Session {
    /// Send the greeting, unless a provider must return the credentials first.
    pub(super) fn open(now: Instant, settings: Settings<'_>) -> Self {
        let mut session = Self {
            framing: Framing::new(Limits::default()),
            out: Vec::new(),
            login: Login::new(now, settings.has_provider, settings.pause_max),
            credentials: None,
            awaited: VecDeque::new(),
            until: None,
            is_ready: false,
            lacks_hello: false,
            asked_at: now,
            is_urgent: false,
        };
        if !settings.has_provider {
            session.send(now, Request::Hello, settings);
        }
        session
    }

    /// Return the request to the credentials provider, if one is due.
    pub(in crate::wire::router) fn ask_credentials(
        &mut self,
        now: Instant,
        settings: Settings<'_>,
        rng: &mut Rng,
    ) -> Option<Question> {
        self.login.ask(now, settings.connect_timeout, rng)
    }

    /// Handle the provider's answer to a request. An answer that is not awaited is ignored.
    ///
    /// # Errors
    ///
    /// Fails if there are no credentials for the greeting. The sentinel must be left then.
    pub(in crate::wire::router) fn on_credentials(
        &mut self,
        (now, settings): (Instant, Settings<'_>),
        number: u64,
        answer: Result<Credentials, String>,
        rng: &mut Rng,
    ) -> Result<(), Error> {
        if !self.login.awaits(number) {
            return Ok(());
        }
        match answer {
            Ok(credentials) => {
                self.login.on_credentials(now, &credentials);
                self.credentials = Some(credentials);
                let request = match (self.is_ready, self.lacks_hello) {
                    (true, true) => Request::PlainAuth,
                    (true, false) => Request::Auth,
                    (false, _) => Request::Hello,
                };
                if request == Request::Hello || !mutant!(SentinelRenewalDropped) {
                    self.send(now, request, settings);
                }
                Ok(())
            }
            Err(_) if self.is_ready => {
                self.login.on_failure(now, rng);
                Ok(())
            }
            Err(text) => {
                let text = format!("the credentials provider failed: {text}");
                Err(Error::new(ErrorKind::Unavailable, text))
            }
        }
    }

    /// Handle the sentinel's answer to a login.
    pub(in crate::wire::router) fn on_logged_in(
        &mut self,
        now: Instant,
        is_accepted: bool,
        rng: &mut Rng,
    ) {
        self.credentials = None;
        self.login.on_answered(now, is_accepted, rng);
    }

    fn send(&mut self, now: Instant, request: Request, settings: Settings<'_>) {
        request.encode(settings.service, words(&self.credentials, settings), &mut self.out);
        self.awaited.push_back(request);
        self.until.get_or_insert(now + settings.answer_timeout);
        if request == Request::Primary {
            self.asked_at = now;
            self.is_urgent = false;
        }
    }

    /// Return the next message of the sentinel; `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// Fails if the sentinel cannot be used: the server is not a sentinel, it refuses the login, it
    /// does not know the service, or its bytes are malformed.
    pub(super) fn next(
        &mut self,
        now: Instant,
        input: &mut Input<'_>,
        settings: Settings<'_>,
    ) -> Result<Option<Told>, Error> {
        loop {
            // The frame borrows the framing, and the answer to it the rest of the session.
            let Self { framing, .. } = self;
            let Some(framed) = framing.next(input, ANSWER_MAX, None)? else { return Ok(None) };
            let bytes = framed.bytes;
            let front = self.awaited.front().copied();
            let heard = match resp::decode(bytes).map_err(broken)? {
                Frame::Error(text) if front == Some(Request::Hello) && lacks_hello(text) => {
                    Heard::NoHello
                }
                Frame::Push(parts) => Heard::Push(read_switch(&parts, settings.service)),
                Frame::Error(text) if front == Some(Request::PlainAuth) && !self.is_ready => {
                    Heard::Reply(Err(refused(text)))
                }
                frame => Heard::Reply(read(front, &frame, settings)),
            };
            match heard {
                Heard::Push(Some(_)) if mutant!(SwitchIgnored) => {}
                Heard::Push(Some(address)) => return Ok(Some(Told::Primary(address))),
                Heard::NoHello => self.on_no_hello(now, settings),
                Heard::Push(None) => self.on_subscribed(now, settings),
                Heard::Reply(Err(error)) => return self.on_refused(error),
                Heard::Reply(Ok(told)) => {
                    self.on_answered(now, settings);
                    if told.is_some() {
                        return Ok(told);
                    }
                }
            }
        }
    }

    /// Handle the refusal of the greeting. Other credentials may be accepted.
    fn on_refused(&mut self, error: Error) -> Result<Option<Told>, Error> {
        let is_about_login = error.kind() == ErrorKind::Authentication && !self.is_ready;
        if !is_about_login || !self.login.may_ask_again() {
            return Err(error);
        }
        self.awaited.clear();
        self.until = None;
        Ok(Some(Told::LoggedIn { is_accepted: false }))
    }

    /// Handle the push that confirms a subscription. It replaces the reply to `SUBSCRIBE`.
    fn on_subscribed(&mut self, now: Instant, settings: Settings<'_>) {
        if self.awaited.front() == Some(&Request::Subscribe) {
            self.on_answered(now, settings);
        }
    }

    /// Continue with a sentinel that has refused `HELLO`.
    fn on_no_hello(&mut self, now: Instant, settings: Settings<'_>) {
        self.lacks_hello = true;
        self.awaited.pop_front();
        self.until = None;
        if words(&self.credentials, settings).is_some() {
            self.send(now, Request::PlainAuth, settings);
        } else {
            self.begin(now, settings);
        }
    }

    fn on_answered(&mut self, now: Instant, settings: Settings<'_>) {
        let answered = self.awaited.pop_front();
        self.until = (!self.awaited.is_empty()).then(|| now + settings.answer_timeout);
        if !self.is_ready && matches!(answered, Some(Request::Hello | Request::PlainAuth)) {
            self.begin(now, settings);
        }
    }

    /// Send the queries after the greeting.
    fn begin(&mut self, now: Instant, settings: Settings<'_>) {
        self.is_ready = true;
        if !self.lacks_hello {
            // The subscription comes first, so that no switch is missed between the two.
            self.send(now, Request::Subscribe, settings);
        }
        for request in [Request::Primary, Request::Sentinels] {
            self.send(now, request, settings);
        }
    }

    /// Query the primary at the next [`ask_if_due`](Self::ask_if_due).
    pub(super) fn ask_soon(&mut self) {
        self.is_urgent = true;
    }

    /// Query the primary if `interval` has passed since the last query and no answer is awaited.
    pub(super) fn ask_if_due(&mut self, now: Instant, settings: Settings<'_>, interval: Duration) {
        if self.due_at(interval).is_some_and(|due| due <= now) {
            self.send(now, Request::Primary, settings);
        }
    }

    /// Return the instant of the next query for the primary; `None` while an answer is awaited.
    fn due_at(&self, interval: Duration) -> Option<Instant> {
        let may_ask = self.is_ready && self.awaited.is_empty();
        // An urgent query is due at once.
        may_ask.then(|| if self.is_urgent { self.asked_at } else { self.asked_at + interval })
    }

    /// Return the reason to leave the sentinel, if an answer has not arrived in time.
    pub(super) fn silence(&self, now: Instant) -> Option<&'static str> {
        if !self.is_ready && self.login.is_overdue(now) {
            return Some("no credentials from the provider within `connect_timeout`");
        }
        self.until.is_some_and(|until| until <= now).then_some("no answer in time")
    }

    /// Return `true` if the greeting was sent and has no answer.
    pub(super) fn is_unanswered(&self) -> bool {
        !self.is_ready && !self.awaited.is_empty()
    }

    /// Return the earliest deadline, if no message arrives before.
    pub(super) fn poll_timeout(&self, interval: Duration) -> Option<Instant> {
        earliest(self.due_at(interval).or(self.until), self.login.due_at())
    }

    pub(super) fn unwritten(&self) -> usize {
        self.out.len()
    }

    pub(super) fn take_transmit(&mut self, into: &mut Vec<u8>) -> bool {
        std::mem::swap(&mut self.out, into);
        !into.is_empty()
    }
}

enum Heard {
    /// `HELLO` is refused, but not because of the login.
    NoHello,
    Push(Option<Address>),
    Reply(Result<Option<Told>, Error>),
}

fn read(
    request: Option<Request>,
    reply: &Frame<'_>,
    settings: Settings<'_>,
) -> Result<Option<Told>, Error> {
    match (request, reply) {
        (Some(Request::Hello), Frame::Error(text)) => Err(refused(text)),
        (Some(Request::Hello), hello) if is_sentinel(hello) => {
            Ok(Some(Told::LoggedIn { is_accepted: true }))
        }
        (Some(Request::Auth | Request::PlainAuth), reply) => {
            Ok(Some(Told::LoggedIn { is_accepted: *reply == Frame::Simple(b"OK") }))
        }
        (Some(Request::Hello), _) => {
            let text = "this server is no sentinel: name the sentinels in the URL, by default \
                        port 26379";
            Err(Error::new(ErrorKind::Unavailable, text))
        }
        (Some(Request::Subscribe), Frame::Error(text)) => Err(forbidden("SUBSCRIBE", text)),
        (Some(Request::Primary), Frame::Error(text)) => Err(forbidden("SENTINEL", text)),
        (Some(Request::Primary), reply) => match read_primary(reply) {
            Some(address) => Ok(Some(Told::Primary(address))),
            None => {
                let service = settings.service;
                let text = format!("the sentinel knows no service `{service}`: check its name");
                Err(Error::new(ErrorKind::Unavailable, text))
            }
        },
        (Some(Request::Sentinels), reply) => Ok(Some(Told::Sentinels(read_sentinels(reply)))),
        (Some(Request::Subscribe) | None, _) => {
            Err(Error::new(ErrorKind::Protocol, "the sentinel sent a reply that was not asked for"))
        }
    }
}

/// Return the login of a session.
fn words<'a>(given: &'a Option<Credentials>, settings: Settings<'a>) -> Option<Words<'a>> {
    let given = given.as_ref().map(|given| Words {
        username: given.username().unwrap_or("default"),
        password: given.reveal_password(),
    });
    given.or(settings.login)
}

/// Return whether a refusal of `HELLO` means that the sentinel does not know it.
fn lacks_hello(text: &[u8]) -> bool {
    !is_about_login(text) && !text.starts_with(b"ERR max number of clients")
}

fn is_about_login(text: &[u8]) -> bool {
    let code = text.split(|&byte| byte == b' ').next().unwrap_or_default();
    matches!(code, b"WRONGPASS" | b"NOAUTH" | b"NOPERM")
}

fn refused(text: &[u8]) -> Error {
    let is_about_auth = |begin: &[u8]| text.starts_with(begin);
    let without_code: [&[u8]; 3] = [b"ERR invalid password", b"ERR Client sent AUTH", b"ERR AUTH"];
    if is_about_login(text) || without_code.into_iter().any(is_about_auth) {
        return Error::new(
            ErrorKind::Authentication,
            "the sentinel refuses the login: set `sentinel_username` and `sentinel_password`",
        );
    }
    Error::new(ErrorKind::Unavailable, "the sentinel refuses the greeting")
}

fn forbidden(command: &str, text: &[u8]) -> Error {
    if text.starts_with(b"NOPERM") {
        let text = format!(
            "the user of `sentinel_username` may not run `{command}`: allow `SENTINEL` and \
             `SUBSCRIBE` in its ACL"
        );
        return Error::new(ErrorKind::Authentication, text);
    }
    Error::new(ErrorKind::Unavailable, format!("the sentinel refuses `{command}`"))
}
