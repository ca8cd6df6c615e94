//! The search of the router for its primary through sentinels.

use std::time::Instant;

use super::context::Context;
use super::effects::{Action, RouterEvent};
use super::id::{ConnId, LoginId, NodeId};
use super::routing::Router;
use super::sentinel::{Failure, News, Settings};
use crate::api::config::{Address, Config, Servers};
use crate::api::credentials::{Credentials, LoginRequest};
use crate::api::error::{Error, ErrorKind};
use crate::api::secret::Secret;
use crate::protocol::sentinel::Login;
use crate::wire::input::Input;

impl Router {
    /// Dial or query a sentinel, if that is due.
    pub(super) fn consult(&mut self, ctx: Context<'_>) {
        let Some(settings) = settings(ctx.config).filter(|_| !self.is_closed) else { return };
        let Some(sentinels) = &mut self.sentinels else { return };
        if let Some(failure) = sentinels.handle_timeout(ctx, settings) {
            self.leave_sentinel(ctx, failure);
        }
        self.ask_sentinel_credentials(ctx, settings);
        let Some(sentinels) = &mut self.sentinels else { return };
        if let Some(address) = sentinels.dial_due(ctx.now).cloned() {
            self.dialed += 1;
            let conn = ConnId { number: self.dialed, node: NodeId::SENTINEL };
            sentinels.on_dialing(ctx.now, conn, settings);
            self.effects.actions.push_back(Action::Dial { conn, address });
        }
    }

    /// Hang up on the current sentinel, and continue with the next one.
    fn leave_sentinel(&mut self, ctx: Context<'_>, failure: Failure) {
        let conn = self.sentinels.as_ref().and_then(|sentinels| sentinels.conn());
        if let Some(conn) = conn {
            self.effects.actions.push_back(Action::HangUp { conn });
        }
        self.on_sentinel_failed(ctx, conn, failure);
    }

    fn on_sentinel_failed(&mut self, ctx: Context<'_>, conn: Option<ConnId>, failure: Failure) {
        let Some(sentinels) = &mut self.sentinels else { return };
        if conn.is_some_and(|conn| self.peers.others(conn) > 0) {
            return sentinels.repeat(ctx.now);
        }
        let Some(News::NoneAnswers(reason)) = sentinels.on_failed(ctx.now, failure, &mut self.rng)
        else {
            return;
        };
        // A connected primary remains in use.
        if let Some(node) = self.nodes.get_mut(NodeId::ONLY)
            && !node.is_ready()
        {
            node.fault = Some(reason.clone());
            node.down_since.get_or_insert(ctx.now);
            self.push_event(RouterEvent::NotUp { address: None, reason });
        }
    }

    pub(super) fn on_sentinel_connected(&mut self, ctx: Context<'_>, conn: ConnId) {
        let is_wanted = match (&mut self.sentinels, settings(ctx.config)) {
            (Some(sentinels), Some(settings)) => {
                sentinels.handle_connected(ctx.now, conn, settings)
            }
            (None, _) | (_, None) => false,
        };
        if !is_wanted {
            self.effects.actions.push_back(Action::HangUp { conn });
        } else if let Some(settings) = settings(ctx.config) {
            self.ask_sentinel_credentials(ctx, settings);
        }
    }

    /// Request the credentials of the sentinel, if that is due.
    fn ask_sentinel_credentials(&mut self, ctx: Context<'_>, settings: Settings<'_>) {
        let Some(sentinels) = &mut self.sentinels else { return };
        let Some(address) = sentinels.address().cloned() else { return };
        let Some((conn, session)) = sentinels.session_mut() else { return };
        if let Some(question) = session.ask_credentials(ctx.now, settings, &mut self.rng) {
            let login = LoginId { conn, number: question.number };
            let request = LoginRequest::new(address, question.was_refused);
            self.effects.actions.push_back(Action::Login { login, request });
        }
    }

    pub(super) fn on_sentinel_credentials(
        &mut self,
        ctx: Context<'_>,
        login: LoginId,
        answer: Result<Credentials, String>,
    ) {
        let (Some(sentinels), Some(settings)) = (&mut self.sentinels, settings(ctx.config)) else {
            return;
        };
        let name = sentinels.name();
        let Some((_, session)) = sentinels.session_mut().filter(|(conn, _)| *conn == login.conn)
        else {
            return;
        };
        let at = (ctx.now, settings);
        if let Err(error) = session.on_credentials(at, login.number, answer, &mut self.rng) {
            let text = format!("sentinel {name}: {}", error.text());
            self.leave_sentinel(ctx, Failure::Told(Error::new(error.kind(), text)));
        }
    }

    fn on_sentinel_logged_in(&mut self, ctx: Context<'_>, is_accepted: bool) {
        let session = self.sentinels.as_mut().and_then(|sentinels| sentinels.session_mut());
        if let Some((_, session)) = session {
            session.on_logged_in(ctx.now, is_accepted, &mut self.rng);
        }
        if let Some(settings) = settings(ctx.config) {
            self.ask_sentinel_credentials(ctx, settings);
        }
    }

    pub(super) fn on_sentinel_disconnected(&mut self, ctx: Context<'_>, conn: ConnId, why: &str) {
        let Some(sentinels) = &self.sentinels else { return };
        if sentinels.has(conn) {
            // The reason of an encrypted connection contains the advice.
            let is_plain = ctx.config.sentinel_tls().is_none();
            let advice = if is_plain { sentinels.advice(ctx.config) } else { "" };
            let name = sentinels.name();
            let text = format!("sentinel {name}: {why}{advice}");
            let lost = Failure::Lost(Error::new(ErrorKind::Unavailable, text));
            self.on_sentinel_failed(ctx, Some(conn), lost);
        }
    }

    /// Handle the bytes of a sentinel, and follow the primary that it names.
    pub(super) fn on_sentinel_bytes(
        &mut self,
        ctx: Context<'_>,
        conn: ConnId,
        input: &mut Input<'_>,
    ) {
        let Some(settings) = settings(ctx.config) else { return };
        loop {
            let Some(sentinels) = &mut self.sentinels else { return };
            match sentinels.receive(ctx.now, conn, input, settings) {
                Ok(Some(News::Primary(address))) => {
                    self.peers.on_ready(conn);
                    self.follow(ctx, address);
                }
                Ok(Some(News::LoggedIn { is_accepted })) => {
                    self.on_sentinel_logged_in(ctx, is_accepted);
                }
                Ok(Some(News::NoneAnswers(_)) | None) => return,
                Err(reason) => {
                    let text = format!("sentinel {}: {}", sentinels.name(), reason.text());
                    let failure = Failure::Told(Error::new(reason.kind(), text));
                    return self.leave_sentinel(ctx, failure);
                }
            }
        }
    }

    /// Switch to the primary at `address`. The connection to another primary is closed at once,
    /// because that server may still return values without invalidations.
    fn follow(&mut self, ctx: Context<'_>, address: Address) {
        let Some(node) = self.nodes.get_mut(NodeId::ONLY) else { return };
        let is_kept = node.is_ready() && mutant!(OldConnectionKept);
        if is_kept || (node.is_located && node.address == address) {
            return;
        }
        if node.address != address {
            if let Some(conn) = node.link.conn() {
                let text = format!("the primary is {address} now");
                self.effects.actions.push_back(Action::HangUp { conn });
                self.on_disconnect(ctx, NodeId::ONLY, &Error::new(ErrorKind::Unavailable, text));
            }
            if let Some(node) = self.nodes.get_mut(NodeId::ONLY) {
                node.relocate(ctx.now, address);
            }
        } else {
            node.is_located = true;
        }
        self.dial(ctx, NodeId::ONLY);
    }

    /// Search the primary after the loss of its connection. It is dialed again once a sentinel has
    /// named it.
    pub(super) fn search_primary(&mut self, ctx: Context<'_>) {
        let Some(sentinels) = &mut self.sentinels else { return };
        if let Some(node) = self.nodes.get_mut(NodeId::ONLY) {
            node.is_located = false;
        }
        sentinels.search();
        self.consult(ctx);
    }

    pub(super) fn consult_at(&self, config: &Config) -> Option<Instant> {
        let sentinels = self.sentinels.as_ref().filter(|_| !self.is_closed)?;
        sentinels.poll_timeout(settings(config)?)
    }

    pub(super) fn hang_up_on_sentinel(&mut self) {
        if let Some(conn) = self.sentinels.take().and_then(|sentinels| sentinels.conn()) {
            self.effects.actions.push_back(Action::HangUp { conn });
        }
    }
}

fn settings(config: &Config) -> Option<Settings<'_>> {
    match &config.servers {
        Servers::Sentinel { service, .. } => Some(Settings {
            service,
            login: password(config).map(|password| Login {
                username: config.sentinel_username.as_deref().unwrap_or("default"),
                password: password.reveal(),
            }),
            has_provider: config.sentinel_provider.is_some(),
            pause_max: config.reconnect_delay_max,
            connect_timeout: config.connect_timeout,
            answer_timeout: config.command_timeout,
            interval: config.discovery_interval.min(config.heartbeat_interval),
        }),
        Servers::None | Servers::One(_) | Servers::Cluster { .. } => None,
    }
}

fn password(config: &Config) -> Option<&Secret> {
    let of_servers = if mutant!(SentinelSharesLogin) { config.password.as_ref() } else { None };
    config.sentinel_password.as_ref().or(of_servers)
}

#[cfg(test)]
mod tests;
