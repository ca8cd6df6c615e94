//! Logins with credentials of a provider: the requests of all connections, and the answers.

use super::context::Context;
use super::effects::Action;
use super::id::{LoginId, NodeId};
use super::routing::Router;
use crate::api::credentials::{Credentials, LoginRequest};
use crate::api::error::Error;

impl Router {
    /// Request the credentials of a node, if that is due.
    pub(super) fn ask_credentials(&mut self, ctx: Context<'_>, id: NodeId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        let Some((conn, open)) = node.link.open_mut() else { return };
        let timeout = ctx.config.connect_timeout;
        if let Some(question) = open.ask_credentials(ctx.now, timeout, &mut self.rng) {
            let login = LoginId { conn, number: question.number };
            let request = LoginRequest::new(node.address.clone(), question.was_refused);
            self.effects.actions.push_back(Action::Login { login, request });
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
        let Some((conn, open)) = node.link.open_mut() else { return };
        if conn != login.conn && !mutant!(CredentialsMisdirected) {
            return;
        }
        let at = (ctx.now, ctx.config);
        if let Err(error) = open.on_credentials(at, login.number, answer, &mut self.rng) {
            let text = format!("{}: {}", node.address, error.text());
            self.hang_up_on(ctx, id, &Error::new(error.kind(), text));
        }
    }

    /// Handle the server's answer to a login, and request other credentials after a refusal.
    pub(super) fn on_logged_in(&mut self, ctx: Context<'_>, id: NodeId, is_accepted: bool) {
        let open = self.nodes.get_mut(id).and_then(|node| node.link.open_mut());
        if let Some((_, open)) = open {
            open.on_logged_in(ctx.now, is_accepted, &mut self.rng);
        }
        self.ask_credentials(ctx, id);
    }
}
