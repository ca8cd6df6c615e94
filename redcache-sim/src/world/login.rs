//! The logins of processes with credentials of a provider.

use redcache_core::engine::LoginId;

use crate::invariant::Checked;
use crate::provider::{Answered, Asked, Asker};
use crate::state::queue::Event;
use crate::state::world::{Phase, World};

impl World {
    /// Call the provider on behalf of a process.
    pub(crate) fn ask_provider(&mut self, process: usize, id: LoginId) -> Checked {
        let life = self.processes[process].life;
        let mut links = self.processes[process].links.iter().copied();
        // A request that arrives together with the end of its connection no longer has a link.
        let found = links.find(|&link| self.links[link].conn == id.conn());
        let (Some(link), Some(provider)) = (found, &mut self.provider) else { return Ok(()) };
        let (connect, is_disturbed) = (self.plan.times.connect, self.phase == Phase::Disturbed);
        let asker = Asker { process, life, link, id };
        let asked = provider.ask(self.now, asker, (connect, is_disturbed), &mut self.tally);
        let Asked { login, password, takes, is_refused } = asked;
        if let Some(takes) = takes {
            self.queue.plan(self.now + takes, Event::Credentials(login));
        }
        self.trace.line(self.now, || format!("p{process} asks for the {password} of link {link}"));
        if is_refused {
            for node in &mut self.nodes {
                node.server.configure(|config| {
                    config.refused_passwords.insert(password.clone());
                });
            }
        }
        provider.check_questions(self.now, process, &mut self.tally)
    }

    /// Pass the answer of the provider to a process.
    pub(crate) fn answer_login(&mut self, login: usize) -> Checked {
        let now = self.now;
        let Some(provider) = &mut self.provider else { return Ok(()) };
        let Asker { process, life, .. } = provider.asker(login);
        let state = &mut self.processes[process];
        if state.life != life || !state.is_open {
            return Ok(());
        }
        let Answered { asker, answer } = provider.answer(now, login);
        if answer.is_ok() {
            let expires_at = now + state.clock.stretch(provider.plan.lifetime) + 1_000;
            self.queue.plan(expires_at, Event::Expiry(login));
        }
        self.trace.line(now, || format!("the provider answers p{process}: {answer:?}"));
        let at = state.clock.at(now);
        state.engine.handle_credentials(at, asker.id, answer);
        self.drain(process)
    }

    /// Check that a login uses the answer to a request of its own link.
    pub(crate) fn check_login(&mut self, link: usize, frame: &[u8]) -> Checked {
        let Some(provider) = &self.provider else { return Ok(()) };
        let process = &self.processes[self.links[link].process];
        let lifetime = process.clock.stretch(provider.plan.lifetime);
        // A paused process sends later what it has before the pause.
        let expiry = |answered_at| process.paused_until.max(answered_at) + lifetime;
        provider.check_login(self.now, (link, frame), expiry, &mut self.tally)
    }

    /// Check that a link whose credentials expire now has requested others.
    pub(crate) fn check_renewal(&mut self, login: usize) -> Checked {
        let Some(provider) = &self.provider else { return Ok(()) };
        let Asker { process, life, link, .. } = provider.asker(login);
        let Some(answered_at) = provider.accepted_at(login) else { return Ok(()) };
        let (owner, state) = (&self.processes[process], &self.links[link]);
        let is_alive = owner.life == life && owner.is_open && owner.closing_since.is_none();
        let is_slow = owner.paused_until > answered_at
            || state.up.dead
            || state.down.dead
            || state.up.held_until.max(state.down.held_until) > answered_at;
        if !is_alive || !state.is_current || is_slow {
            return Ok(());
        }
        provider.check_renewal(login, &mut self.tally)
    }
}
