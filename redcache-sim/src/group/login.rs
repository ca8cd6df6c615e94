//! The logins of processes at the servers, with credentials of a provider.

use redcache_core::engine::LoginId;

use super::world::{Event, Node, Phase, World};
use crate::clock::Micros;
use crate::invariant::Checked;
use crate::provider::{Answered, Asked, Asker, Provider};
use crate::wiring::Wiring;

impl World {
    /// Ask the provider on behalf of a process.
    pub(super) fn ask_provider(&mut self, process: usize, id: LoginId) -> Checked {
        // The link of a question that comes with the end of its connection is gone.
        let found = self.link_of(process, id.conn());
        let (Some(link), Some(provider)) = (found, &mut self.provider) else { return Ok(()) };
        let (connect, is_disturbed) = (self.plan.connect, self.phase == Phase::Disturbed);
        let asker = Asker { process, life: 0, link, id };
        let asked = provider.ask(
            self.timeline.now,
            asker,
            (connect, is_disturbed),
            &mut self.timeline.tally,
        );
        let Asked { login, password, takes, is_refused } = asked;
        provider.check_questions(self.timeline.now, process, &mut self.timeline.tally)?;
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
        let Some(provider) = &mut self.provider else { return Ok(()) };
        let Answered { asker, answer } = provider.answer(now, login);
        let expires_at = now + lifetime(provider) + 1_000;
        let Asker { process, id, .. } = asker;
        self.timeline.trace.line(now, || format!("the provider answers p{process}: {answer:?}"));
        if answer.is_ok() {
            self.timeline.schedule(expires_at, Event::Expiry(login));
        }
        self.processes[process].port.engine.handle_credentials(at, id, answer);
        self.drain(process)
    }

    /// Check that a login uses the answer to a question of its own link.
    pub(super) fn check_login(&mut self, link: usize, frame: &[u8]) -> Checked {
        let Some(provider) = &self.provider else { return Ok(()) };
        let expiry = |answered_at| answered_at + lifetime(provider);
        provider.check_login(self.timeline.now, (link, frame), expiry, &mut self.timeline.tally)
    }

    /// Check that a link whose credentials expire now has asked for others.
    pub(super) fn check_renewal(&mut self, login: usize) -> Checked {
        let Some(provider) = &self.provider else { return Ok(()) };
        let link = provider.asker(login).link;
        let Some(server) = self.links[link].server() else { return Ok(()) };
        let Some(answered_at) = provider.accepted_at(login) else { return Ok(()) };
        // A process asks again once the server has accepted what it was given.
        let Node { is_frozen, resumed_at, .. } = self.nodes[server];
        let is_slow = is_frozen || resumed_at.is_some_and(|at| at >= answered_at);
        if !self.links[link].wire.is_current || is_slow {
            return Ok(());
        }
        provider.check_renewal(login, &mut self.timeline.tally)
    }
}

fn lifetime(provider: &Provider) -> Micros {
    u64::try_from(provider.plan.lifetime.as_micros()).unwrap_or(0)
}
