//! The provider of the credentials, which may be slow, wrong or silent, and the checks of logins.

use redcache_core::Credentials;
use redcache_core::engine::LoginId;

use crate::clock::Micros;
use crate::fault::Fault;
use crate::invariant::{Checked, Invariant};
use crate::request::words;
use crate::state::login::Login;
use crate::state::queue::Event;
use crate::state::world::{Phase, World};

impl World {
    /// Ask the provider on behalf of a process.
    pub(crate) fn ask_provider(&mut self, process: usize, id: LoginId) -> Checked {
        let life = self.processes[process].life;
        let mut links = self.processes[process].links.iter().copied();
        // The link of a question that comes with the end of its connection is gone.
        let found = links.find(|&link| self.links[link].conn == id.conn());
        let Some(link) = found else { return Ok(()) };
        let is_faulty = self.phase == Phase::Disturbed
            && self.plan.provider.is_some_and(|provider| provider.is_faulty);
        let fault = if is_faulty {
            self.login_rng.weighted(&[
                (5, None),
                (2, Some(Fault::LoginSlow)),
                (1, Some(Fault::LoginHangs)),
                (1, Some(Fault::LoginFails)),
                (1, Some(Fault::LoginOld)),
            ])
        } else {
            None
        };
        let login = self.logins.len();
        let password = format!("password:{login}");
        if let Some(fault) = fault {
            self.tally.fault(fault);
        }
        if fault == Some(Fault::LoginOld) {
            for node in &mut self.nodes {
                node.server.configure(|config| {
                    config.refused_passwords.insert(password.clone());
                });
            }
        }
        let connect = u64::try_from(self.plan.times.connect.as_micros()).unwrap_or(0);
        let takes = match fault {
            Some(Fault::LoginSlow) => self.login_rng.below(2 * connect),
            _ => self.login_rng.below(1_000),
        };
        if fault != Some(Fault::LoginHangs) {
            self.queue.plan(self.now + takes, Event::Credentials(login));
        }
        self.trace.line(self.now, || format!("p{process} asks for the {password} of link {link}"));
        let (answered_at, asked_at) = (None, self.now);
        self.logins.push(Login { process, life, link, id, password, fault, answered_at, asked_at });
        self.check_questions(process)
    }

    /// Check that a process has not asked again and again in the last tenth of a second.
    fn check_questions(&mut self, process: usize) -> Checked {
        const SPAN: Micros = 100_000;
        /// Pauses between dials and questions grow from a few milliseconds.
        const QUESTIONS_MAX: usize = 40;
        let lately = self.logins.iter().rev().take_while(|it| it.asked_at + SPAN > self.now);
        let asked = lately.filter(|login| login.process == process).count();
        self.tally.cover(Invariant::LoginsBounded);
        Invariant::LoginsBounded.holds(asked <= QUESTIONS_MAX, || {
            format!("p{process} has asked for credentials {asked} times in {SPAN} µs")
        })
    }

    /// Give a process the answer of the provider.
    pub(crate) fn answer_login(&mut self, login: usize) -> Checked {
        let now = self.now;
        let Some(provider) = self.plan.provider else { return Ok(()) };
        let Login { process, life, id, ref password, fault, ref mut answered_at, .. } =
            self.logins[login];
        let state = &mut self.processes[process];
        if state.life != life || !state.is_open {
            return Ok(());
        }
        *answered_at = Some(now);
        let answer = if fault == Some(Fault::LoginFails) {
            Err("no network".to_owned())
        } else {
            let expires_at = now + state.clock.stretch(provider.lifetime) + 1_000;
            self.queue.plan(expires_at, Event::Expiry(login));
            Ok(Credentials::new("default", password).expires_in(provider.lifetime))
        };
        self.trace.line(now, || format!("the provider answers p{process}: {answer:?}"));
        let at = state.clock.at(now);
        state.engine.handle_credentials(at, id, answer);
        self.drain(process)
    }

    /// Check that a login uses the answer to a question of its own link.
    pub(crate) fn check_login(&mut self, link: usize, frame: &[u8]) -> Checked {
        if self.plan.provider.is_none() {
            return Ok(());
        }
        let password = match words(frame)[..] {
            [b"HELLO", _, b"AUTH", _, password, ..] | [b"AUTH", _, password] => password,
            [b"HELLO", ..] => {
                return Err(Invariant::OwnLogin.broken(format!("link {link} has no login")));
            }
            _ => return Ok(()),
        };
        self.tally.cover(Invariant::OwnLogin);
        let login = self.logins.iter().find(|login| login.password.as_bytes() == password);
        let is_own = login.is_some_and(|it| it.link == link && it.answered_at.is_some());
        Invariant::OwnLogin
            .holds(is_own, || format!("link {link} logs in with that of {login:?}"))?;
        let lifetime = self.plan.provider.map(|provider| provider.lifetime).unwrap_or_default();
        let process = &self.processes[self.links[link].process];
        let answered_at = login.and_then(|login| login.answered_at).unwrap_or_default();
        // A paused process sends later what it has before the pause.
        let expires_at = process.paused_until.max(answered_at) + process.clock.stretch(lifetime);
        self.tally.cover(Invariant::FreshLogin);
        Invariant::FreshLogin.holds(self.now <= expires_at, || {
            format!("link {link} logs in with credentials that expired at {expires_at} µs")
        })
    }

    /// Check that a link whose credentials expire now has asked for others.
    pub(crate) fn check_renewal(&mut self, login: usize) -> Checked {
        let Login { process, life, link, fault, answered_at, .. } = self.logins[login];
        let Some(answered_at) = answered_at else { return Ok(()) };
        let (owner, state) = (&self.processes[process], &self.links[link]);
        let is_alive = owner.life == life && owner.is_open && owner.closing_since.is_none();
        let is_slow = owner.paused_until > answered_at
            || state.up.dead
            || state.down.dead
            || state.up.held_until.max(state.down.held_until) > answered_at;
        let was_refused = fault == Some(Fault::LoginOld);
        if !is_alive || !state.is_current || is_slow || was_refused {
            return Ok(());
        }
        self.tally.cover(Invariant::Renewal);
        let has_asked = self.logins[login + 1..].iter().any(|later| later.link == link);
        Invariant::Renewal.holds(has_asked, || {
            format!("p{process} keeps link {link} with the expired password:{login}")
        })
    }
}
