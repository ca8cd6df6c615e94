//! Logins with credentials of a provider: the requests of all connections, and the answers.

use super::context::Context;
use super::effects::Action;
use super::id::{ConnId, LoginId, NodeId};
use super::link::Link;
use super::routing::Router;
use crate::api::credentials::{Credentials, LoginRequest};
use crate::api::error::Error;

impl Router {
    /// Request the credentials of a node's connections, if that is due.
    pub(super) fn ask_credentials(&mut self, ctx: Context<'_>, id: NodeId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        let (address, timeout) = (node.address.clone(), ctx.config.connect_timeout);
        for (conn, open) in node.links_mut().filter_map(Link::open_mut) {
            if let Some(question) = open.ask_credentials(ctx.now, timeout, &mut self.rng) {
                let login = LoginId { conn, number: question.number };
                let request = LoginRequest::new(address.clone(), question.was_refused);
                self.effects.actions.push_back(Action::Login { login, request });
            }
        }
    }

    /// Handle the provider's answer. A late answer, or one for a connection that was lost, is
    /// ignored.
    pub(crate) fn handle_credentials(
        &mut self,
        ctx: Context<'_>,
        login: LoginId,
        answer: Result<Credentials, String>,
    ) {
        let id = login.conn.node;
        if id == NodeId::SENTINEL {
            return self.on_sentinel_credentials(ctx, login, answer);
        }
        let Some(node) = self.nodes.get_mut(id) else { return };
        let is_known = node.lane(login.conn).is_some();
        let misdirected = node.link.conn().filter(|_| mutant!(CredentialsMisdirected));
        let conn = if is_known { Some(login.conn) } else { misdirected };
        let Some(conn) = conn else { return };
        let Some(open) = node.open_mut(conn) else { return };
        let at = (ctx.now, ctx.config);
        if let Err(error) = open.on_credentials(at, login.number, answer, &mut self.rng) {
            let text = format!("{}: {}", node.address, error.text());
            self.leave(ctx, conn, &Error::new(error.kind(), text));
        }
    }

    /// Handle the server's answer to a login, and request other credentials after a refusal.
    pub(super) fn on_logged_in(&mut self, ctx: Context<'_>, conn: ConnId, is_accepted: bool) {
        if let Some(open) = self.nodes.get_mut(conn.node).and_then(|node| node.open_mut(conn)) {
            open.on_logged_in(ctx.now, is_accepted, &mut self.rng);
        }
        self.ask_credentials(ctx, conn.node);
    }
}
