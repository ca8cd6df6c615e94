//! The credentials provider, which may be slow, wrong or silent, and the checks of logins.

use std::time::Duration;

use redcache_core::Credentials;
use redcache_core::engine::LoginId;

use crate::clock::Micros;
use crate::fault::Fault;
use crate::invariant::{Checked, Invariant};
use crate::request::{is_login, password_of, words};
use crate::rng::Rng;
use crate::tally::Tally;

/// A provider of credentials that expire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProviderPlan {
    pub(crate) lifetime: Duration,
    /// The provider is slow, wrong or silent at times.
    pub(crate) is_faulty: bool,
}

/// The provider, and the questions that it was asked.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) plan: ProviderPlan,
    rng: Rng,
    logins: Vec<Login>,
}

/// The connection that logs in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) process: usize,
    /// The life of the process.
    pub(crate) life: u32,
    pub(crate) link: usize,
    pub(crate) id: LoginId,
}

/// A question for the provider, and its answer.
#[derive(Debug)]
struct Login {
    asker: Asker,
    /// The password that the provider gives. No two questions get the same.
    password: String,
    /// The fault of the answer.
    fault: Option<Fault>,
    asked_at: Micros,
    answered_at: Option<Micros>,
}

/// The consequences of a question.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The number of the question.
    pub(crate) login: usize,
    pub(crate) password: String,
    /// The time until the answer; `None` for no answer.
    pub(crate) takes: Option<Micros>,
    /// The servers refuse the password.
    pub(crate) is_refused: bool,
}

/// The answer to a question.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) asker: Asker,
    pub(crate) answer: Result<Credentials, String>,
}

impl Provider {
    pub(crate) fn new(plan: ProviderPlan, rng: Rng) -> Self {
        Self { plan, rng, logins: Vec::new() }
    }

    /// Take a question. A faulty provider is faulty while the world `is_disturbed`.
    pub(crate) fn ask(
        &mut self,
        now: Micros,
        asker: Asker,
        (connect, is_disturbed): (Duration, bool),
        tally: &mut Tally,
    ) -> Asked {
        let fault = if is_disturbed && self.plan.is_faulty {
            self.rng.weighted(&[
                (5, None),
                (2, Some(Fault::LoginSlow)),
                (1, Some(Fault::LoginHangs)),
                (1, Some(Fault::LoginFails)),
                (1, Some(Fault::LoginOld)),
            ])
        } else {
            None
        };
        if let Some(fault) = fault {
            tally.fault(fault);
        }
        let connect = u64::try_from(connect.as_micros()).unwrap_or(0);
        let takes = match fault {
            Some(Fault::LoginSlow) => self.rng.below(2 * connect),
            _ => self.rng.below(1_000),
        };
        let takes = (fault != Some(Fault::LoginHangs)).then_some(takes);
        let login = self.logins.len();
        let password = format!("password:{login}");
        let is_refused = fault == Some(Fault::LoginOld);
        let asked = Asked { login, password: password.clone(), takes, is_refused };
        let (asked_at, answered_at) = (now, None);
        self.logins.push(Login { asker, password, fault, asked_at, answered_at });
        asked
    }

    /// Check that a process has not asked again and again in the last tenth of a second.
    pub(crate) fn check_questions(
        &self,
        now: Micros,
        process: usize,
        tally: &mut Tally,
    ) -> Checked {
        const SPAN: Micros = 100_000;
        /// Pauses between dials and questions grow from a few milliseconds.
        const QUESTIONS_MAX: usize = 40;
        let lately = self.logins.iter().rev().take_while(|it| it.asked_at + SPAN > now);
        let asked = lately.filter(|login| login.asker.process == process).count();
        tally.cover(Invariant::LoginsBounded);
        Invariant::LoginsBounded.holds(asked <= QUESTIONS_MAX, || {
            format!("p{process} has asked for credentials {asked} times in {SPAN} µs")
        })
    }

    /// Return the connection that asked a question.
    pub(crate) fn asker(&self, login: usize) -> Asker {
        self.logins[login].asker
    }

    /// Answer a question.
    pub(crate) fn answer(&mut self, now: Micros, login: usize) -> Answered {
        let Login { asker, ref password, fault, ref mut answered_at, .. } = self.logins[login];
        *answered_at = Some(now);
        let answer = if fault == Some(Fault::LoginFails) {
            Err("no network".to_owned())
        } else {
            Ok(Credentials::new("default", password).expires_in(self.plan.lifetime))
        };
        Answered { asker, answer }
    }

    /// Return whether the servers have refused a password that was given to a process.
    pub(crate) fn has_given_old(&self, process: usize) -> bool {
        let mut logins = self.logins.iter().filter(|login| login.asker.process == process);
        logins.any(|login| login.fault == Some(Fault::LoginOld))
    }

    /// Check that a login uses the answer to a question of its own link, and that the credentials
    /// have not expired. Credentials that were given at a time expire at `expiry` of that time.
    pub(crate) fn check_login(
        &self,
        now: Micros,
        (link, frame): (usize, &[u8]),
        expiry: impl Fn(Micros) -> Micros,
        tally: &mut Tally,
    ) -> Checked {
        let words = words(frame);
        if !is_login(&words) {
            return Ok(());
        }
        let Some(password) = password_of(&words) else {
            return Err(Invariant::OwnLogin.broken(format!("link {link} has no login")));
        };
        tally.cover(Invariant::OwnLogin);
        let login = self.logins.iter().find(|login| login.password.as_bytes() == password);
        let is_own = login.is_some_and(|it| it.asker.link == link && it.answered_at.is_some());
        Invariant::OwnLogin
            .holds(is_own, || format!("link {link} logs in with that of {login:?}"))?;
        let expires_at = expiry(login.and_then(|login| login.answered_at).unwrap_or_default());
        tally.cover(Invariant::FreshLogin);
        Invariant::FreshLogin.holds(now <= expires_at, || {
            format!("link {link} logs in with credentials that expired at {expires_at} µs")
        })
    }

    /// Return whether the answer to a question is used: it came within `timeout`, and the link has
    /// asked no other question since.
    pub(crate) fn is_due(&self, login: usize, timeout: Duration) -> bool {
        let Login { asker, asked_at, answered_at, .. } = &self.logins[login];
        let timeout = u64::try_from(timeout.as_micros()).unwrap_or(0);
        let is_in_time = answered_at.is_some_and(|at| at < asked_at + timeout);
        let mut later = self.logins[login + 1..].iter();
        is_in_time && !later.any(|later| later.asker.link == asker.link)
    }

    /// Return whether a password is an old one, which servers and sentinels refuse.
    pub(crate) fn is_old(&self, password: &[u8]) -> bool {
        self.logins.iter().any(|login| {
            login.password.as_bytes() == password && login.fault == Some(Fault::LoginOld)
        })
    }

    /// Return the password that answers a question.
    pub(crate) fn password(&self, login: usize) -> &[u8] {
        self.logins[login].password.as_bytes()
    }

    /// Return when a question was answered whose credentials the servers accept.
    pub(crate) fn accepted_at(&self, login: usize) -> Option<Micros> {
        let Login { fault, answered_at, .. } = self.logins[login];
        answered_at.filter(|_| fault != Some(Fault::LoginOld))
    }

    /// Check that a living link whose credentials expire now has asked for others.
    pub(crate) fn check_renewal(&self, login: usize, tally: &mut Tally) -> Checked {
        let Asker { process, link, .. } = self.logins[login].asker;
        tally.cover(Invariant::Renewal);
        let has_asked = self.logins[login + 1..].iter().any(|later| later.asker.link == link);
        Invariant::Renewal.holds(has_asked, || {
            format!("p{process} keeps link {link} with the expired password:{login}")
        })
    }
}
