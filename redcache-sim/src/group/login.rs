//! The logins of processes at servers and sentinels, with a password or credentials of a provider.

use redcache_core::engine::LoginId;

use super::link::{FarEnd, Link};
use super::plan::LoginPlan;
use super::world::{Event, Node, Phase, World};
use crate::clock::Micros;
use crate::invariant::{Checked, Invariant};
use crate::provider::{Answered, Asked, Asker, Provider};
use crate::request::{is_login, password_of, words};
use crate::wiring::Wiring;

const WRONG_PASSWORD: &[u8] = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";
const NO_LOGIN: &[u8] = b"-NOAUTH Authentication required.\r\n";

impl World {
    /// Ask the provider on behalf of a process.
    pub(super) fn ask_provider(&mut self, process: usize, id: LoginId) -> Checked {
        // The link of a question that comes with the end of its connection is gone.
        let Some(link) = self.link_of(process, id.conn()) else { return Ok(()) };
        let to = self.links[link].to;
        self.timeline.tally.cover(Invariant::LoginOfItsKind);
        let is_to_sentinel = matches!(to, Some(FarEnd::Sentinel(_)));
        let has_provider = self.plan.login(to) == LoginPlan::Provider;
        Invariant::LoginOfItsKind
            .holds(has_provider && is_to_sentinel == id.is_to_sentinel(), || {
                format!("p{process} asks for credentials for {to:?}")
            })?;
        let (connect, is_disturbed) = (self.plan.connect, self.phase == Phase::Disturbed);
        let asker = Asker { process, life: 0, link, id };
        let (now, tally) = (self.timeline.now, &mut self.timeline.tally);
        let asked = self.provider.ask(now, asker, (connect, is_disturbed), tally);
        let Asked { login, password, takes, is_refused } = asked;
        self.provider.check_questions(self.timeline.now, process, &mut self.timeline.tally)?;
        self.timeline.line(|| format!("p{process} asks for the {password} of link {link}"));
        if is_refused {
            for node in &mut self.nodes {
                node.host.server.configure(|config| {
                    config.refused_passwords.insert(password.clone());
                });
            }
        }
        if let Some(takes) = takes {
            self.timeline.schedule(self.timeline.now + takes, Event::Credentials(login));
        }
        Ok(())
    }

    /// Give a process the answer of the provider.
    pub(super) fn answer_login(&mut self, login: usize) -> Checked {
        let (now, at) = (self.timeline.now, self.timeline.time());
        let Answered { asker, answer } = self.provider.answer(now, login);
        let expires_at = now + lifetime(&self.provider) + 1_000;
        let Asker { process, link, id, .. } = asker;
        self.timeline.trace.line(now, || format!("the provider answers p{process}: {answer:?}"));
        if answer.is_ok() {
            self.timeline.schedule(expires_at, Event::Expiry(login));
        }
        let is_given = answer.is_ok();
        self.processes[process].port.engine.handle_credentials(at, id, answer);
        self.drain(process)?;
        let link = &self.links[link];
        if !is_given || !link.wire.is_current || !self.provider.is_due(login, self.plan.connect) {
            return Ok(());
        }
        self.timeline.tally.cover(Invariant::LoginSent);
        let password = self.provider.password(login);
        Invariant::LoginSent.holds(link.sent_password == password, || {
            format!("p{process} does not send {} to {:?}", password.escape_ascii(), link.to)
        })
    }

    /// Check that a login uses the password of its kind, or the answer to a question of its own
    /// link.
    pub(super) fn check_login(&mut self, link: usize, frame: &[u8]) -> Checked {
        let words = words(frame);
        if !is_login(&words) {
            return Ok(());
        }
        let password = password_of(&words);
        self.links[link].sent_password = password.unwrap_or_default().to_vec();
        let (to, tally) = (self.links[link].to, &mut self.timeline.tally);
        let plan = self.plan.login(to);
        if plan == LoginPlan::Provider {
            let expiry = |answered_at| answered_at + lifetime(&self.provider);
            return self.provider.check_login(self.timeline.now, (link, frame), expiry, tally);
        }
        tally.cover(Invariant::LoginOfItsKind);
        let is_own = password == plan.password().map(str::as_bytes);
        Invariant::LoginOfItsKind.holds(is_own, || {
            format!("link {link} to {to:?} logs in with {}", frame.escape_ascii())
        })
    }

    /// Log in at a sentinel, if the command does so. Return the accepted password, or the reply if
    /// the sentinel refuses the command.
    pub(super) fn login_at_sentinel<'a>(
        &self,
        link: usize,
        sentinel: usize,
        words: &[&'a [u8]],
    ) -> Result<Option<&'a [u8]>, &'static [u8]> {
        let is_refusing = self.sentinels[sentinel].is_refusing;
        let is_right = |password| match self.plan.sentinel_login {
            LoginPlan::Open => true,
            LoginPlan::Password(expected) => expected.as_bytes() == password,
            LoginPlan::Provider => !self.provider.is_old(password),
        };
        match password_of(words) {
            Some(password) if is_refusing || !is_right(password) => Err(WRONG_PASSWORD),
            Some(password) => Ok(Some(password)),
            None if self.plan.sentinel_login == LoginPlan::Open => Ok(None),
            None if self.links[link].accepted.is_some() => Ok(None),
            None => Err(NO_LOGIN),
        }
    }

    /// Check that a link whose credentials expire now has asked for others.
    pub(super) fn check_renewal(&mut self, login: usize) -> Checked {
        let link = &self.links[self.provider.asker(login).link];
        // A process asks again once the far end has accepted what it was given.
        let is_accepted = match link.to {
            Some(FarEnd::Server(server)) => {
                let Node { is_frozen, resumed_at, .. } = self.nodes[server];
                self.provider.accepted_at(login).is_some_and(|answered_at| {
                    !is_frozen && resumed_at.is_none_or(|at| at < answered_at)
                })
            }
            Some(FarEnd::Sentinel(_)) => {
                let password = self.provider.password(login);
                let Link { accepted, wire, .. } = link;
                accepted.as_ref().is_some_and(|(end, accepted)| {
                    accepted == password && *end <= wire.down.delivered
                })
            }
            None => false,
        };
        if !link.wire.is_current || !is_accepted {
            return Ok(());
        }
        self.provider.check_renewal(login, &mut self.timeline.tally)
    }
}

fn lifetime(provider: &Provider) -> Micros {
    u64::try_from(provider.plan.lifetime.as_micros()).unwrap_or(0)
}
