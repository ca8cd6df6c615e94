//! What becomes of a command that a node has refused to execute: it goes elsewhere, or to the same node later.
//!
//! It was not executed, so any command may be sent again, and one that travels as several frames goes again whole.

use super::cluster::IDLE_KEPT;
use super::{Context, NodeId, RETRY_PAUSE, Router, RouterEvent};
use crate::api::config::Address;
use crate::api::error::{Error, ErrorKind, Transient};
use crate::protocol::redirect::Redirect;
use crate::protocol::reply::Refusal;
use crate::protocol::slot::SlotSet;
use crate::wire::issued::Issued;

/// How often a command is sent on before its failure is final.
const REDIRECTS_MAX: u8 = 8;
/// From this redirect on there is a pause before the next try: two nodes that each send to the other need time.
const PAUSED_FROM: u8 = 3;

impl Router {
    /// Sends a refused command on; gives it back if the refusal is the answer.
    pub(super) fn send_on(
        &mut self,
        ctx: Context<'_>,
        from: NodeId,
        mut issued: Issued,
        refusal: &Refusal,
    ) -> Option<Issued> {
        let redirect = match &self.cluster {
            Some(_) => Redirect::of(&refusal.0),
            None => {
                Transient::of(refusal.0.as_bytes()).map(|_| Redirect::Later { outdated: false })
            }
        };
        let Some(redirect) = redirect.filter(|_| issued.token.is_some()) else {
            return Some(issued);
        };
        // A try that was refused does not count against a command whose connection is lost later.
        issued.attempts = issued.attempts.saturating_sub(1);
        match redirect {
            Redirect::Later { outdated } => {
                if outdated {
                    self.request_discovery(ctx, None);
                }
                self.pause(ctx, issued)
            }
            Redirect::Moved(_) | Redirect::Ask(_) | Redirect::Unparsable
                if issued.redirects >= REDIRECTS_MAX && !mutant!(RedirectsUnbounded) =>
            {
                self.give_up(issued, refusal);
                None
            }
            Redirect::Moved(endpoint) => {
                issued.redirects = issued.redirects.saturating_add(1);
                let asked = self.nodes.get(from.index())?.address.clone();
                self.on_moved(ctx, from, issued, (endpoint.address(&asked), asked))
            }
            Redirect::Ask(endpoint) => {
                issued.redirects = issued.redirects.saturating_add(1);
                let asked = self.nodes.get(from.index())?.address.clone();
                if mutant!(AskChangesMap) {
                    return self.on_moved(ctx, from, issued, (endpoint.address(&asked), asked));
                }
                self.on_ask(ctx, endpoint.address(&asked), issued)
            }
            Redirect::Unparsable => {
                issued.redirects = issued.redirects.saturating_add(1);
                self.request_discovery(ctx, None);
                self.pause(ctx, issued)
            }
        }
    }

    /// The slot has another owner, and everybody learns of it before the command goes on.
    fn on_moved(
        &mut self,
        ctx: Context<'_>,
        from: NodeId,
        mut issued: Issued,
        (to, asked): (Address, Address),
    ) -> Option<Issued> {
        issued.asking = false;
        if to == asked {
            let text = format!("{asked}: it sends to itself what it does not take");
            let refused = self.pause(ctx, issued);
            self.drop_link(ctx, from, &Error::new(ErrorKind::Unavailable, text));
            return refused;
        }
        self.request_discovery(ctx, Some(to.clone()));
        // Only the owner knows better than our map. Another may have fallen behind it.
        if self.owner(issued.slot).is_none_or(|owner| owner == from) {
            let Some(id) = self.node_at(ctx, to) else { return self.pause(ctx, issued) };
            self.assign(ctx, issued.slot, Some(id));
            let slots: SlotSet = [issued.slot].into_iter().collect();
            self.effects.events.push_back(RouterEvent::Moved { slots });
            self.announce_owners();
        }
        if issued.redirects >= PAUSED_FROM {
            return self.pause(ctx, issued);
        }
        self.route(ctx, issued);
        None
    }

    /// The slot is on its way; for this key the node that it goes to is to be asked, this once.
    fn on_ask(&mut self, ctx: Context<'_>, to: Address, mut issued: Issued) -> Option<Issued> {
        issued.asking = true;
        let id = self.node_at(ctx, to);
        match id.and_then(|id| self.nodes.get_mut(id.index())) {
            Some(node) => {
                node.idle_until = ctx.now + IDLE_KEPT;
                node.send(ctx.now, issued, ctx.lock_settings);
                None
            }
            None => self.pause(ctx, issued),
        }
    }

    fn request_discovery(&mut self, ctx: Context<'_>, hint: Option<Address>) {
        if let Some(cluster) = &mut self.cluster {
            cluster.request_discovery(ctx.now, hint);
        }
    }

    /// Tries a command again a little later, if it has the time; else gives it back.
    fn pause(&mut self, ctx: Context<'_>, mut issued: Issued) -> Option<Issued> {
        let at = ctx.now + RETRY_PAUSE;
        if at >= issued.issued_at + ctx.config.command_timeout {
            return Some(issued);
        }
        issued.asking = false;
        if !mutant!(RefusedForgotten) {
            self.paused.push_back((at, issued));
        }
        None
    }

    fn give_up(&mut self, issued: Issued, refusal: &Refusal) {
        let (name, last) = (issued.command.name(), &refusal.0);
        let text = format!("the {name} was sent on {REDIRECTS_MAX} times, at last with `{last}`");
        self.effects.fail(issued, Error::new(ErrorKind::Unavailable, text));
    }
}
