//! The two links of a node, and the choice between them for each command.

use std::time::Instant;

use super::context::Context;
use super::effects::Effects;
use super::id::{ConnId, Transmit};
use super::large::{LargeLink, LostLarge};
use super::large_keys::Grouped;
use super::link::Link;
use super::node::Node;
use crate::api::config::Config;
use crate::api::key::Key;
use crate::protocol::lock::LockSettings;
use crate::protocol::reply::Reply;
use crate::rng::Rng;
use crate::wire::conn::{Conn, Overdue};
use crate::wire::issued::Issued;

/// One of the links of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Ordinary,
    Large,
}

impl Node {
    /// Return the link that `id` names.
    pub(super) fn lane(&self, id: ConnId) -> Option<Lane> {
        if self.link.has(id) {
            return Some(Lane::Ordinary);
        }
        self.large.as_ref().filter(|large| large.link.has(id)).map(|_| Lane::Large)
    }

    pub(super) fn link_of(&mut self, lane: Lane) -> Option<&mut Link> {
        match lane {
            Lane::Ordinary => Some(&mut self.link),
            Lane::Large => self.large.as_mut().map(|large| &mut large.link),
        }
    }

    /// Return the open connection that `id` names.
    pub(super) fn open_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        let lane = self.lane(id)?;
        self.link_of(lane)?.open_mut().map(|(_, conn)| conn)
    }

    /// Record the answer to a `PING`. On the ordinary link it closes the breaker: the unanswered
    /// commands may have been those of a dead large link, which no reconnect of the server follows.
    pub(super) fn on_pong(&mut self, now: Instant, lane: Lane) {
        if lane == Lane::Ordinary {
            self.breaker.on_answer(now);
        }
    }

    /// Return both links.
    pub(super) fn links(&self) -> impl Iterator<Item = &Link> {
        [Some(&self.link), self.large.as_ref().map(|large| &large.link)].into_iter().flatten()
    }

    /// Return both links.
    pub(super) fn links_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        let large = self.large.as_mut().map(|large| &mut large.link);
        [Some(&mut self.link), large].into_iter().flatten()
    }

    /// Return whether a command goes to the large link.
    pub(super) fn takes_large(&mut self, now: Instant, issued: &mut Issued) -> bool {
        let written = issued.command.written_len();
        if self.large.is_none() && written.is_none_or(|len| len < self.large_from) {
            return false;
        }
        let key = Grouped::new(issued.command.key());
        let releases = issued.command.releases_lock();
        if let Some(len) = written {
            self.note_value(now, key, len);
        }
        // Commands that wait for the ordinary link were issued before.
        let is_open = self.is_ready() && self.waiting.is_free();
        let ordinary = (&self.link, is_open);
        let carriage = self.large.as_mut().and_then(|it| it.takes(now, (key, releases), ordinary));
        if let Some(carriage) = carriage {
            carriage.prepare(issued);
        }
        carriage.is_some()
    }

    /// Send a command on the large link, or let it wait there.
    pub(super) fn send_large(&mut self, now: Instant, issued: Issued, locks: &LockSettings) {
        let takes = self.is_ready() || self.takes_release(&issued);
        let max = if takes { self.unanswered_max } else { 0 };
        if let Some(large) = &mut self.large {
            large.send(now, issued, locks, max);
        }
    }

    /// Remove the next command that waits, if its link has room for it.
    pub(super) fn next_waiting(&mut self) -> Option<(Lane, Issued)> {
        if self.has_room()
            && let Some(conn) = self.link.ready_mut()
            && let Some(issued) = self.waiting.pop(conn.awaited())
        {
            return Some((Lane::Ordinary, issued));
        }
        self.next_large().map(|issued| (Lane::Large, issued))
    }

    /// Send a command that has waited.
    pub(super) fn send_waited(
        &mut self,
        now: Instant,
        lane: Lane,
        issued: Issued,
        locks: &LockSettings,
    ) {
        // Its key may have changed its link, because no command waits for a release.
        if issued.command.releases_lock() && lane == Lane::Ordinary && !mutant!(ReleaseLeftBehind) {
            return self.send(now, issued, locks);
        }
        let link = match (lane, &mut self.large) {
            (Lane::Large, Some(large)) => &mut large.link,
            (Lane::Large | Lane::Ordinary, _) => &mut self.link,
        };
        match link.ready_mut() {
            Some(conn) => conn.send(now, issued, locks),
            None => self.waiting.push(issued),
        }
    }

    /// Return whether no command waits for a link, and no key has left one unreported.
    pub(super) fn is_at_rest(&self) -> bool {
        self.waiting.is_at_rest() && self.large.as_ref().is_none_or(|large| large.is_at_rest())
    }

    /// Remove the next command that waits for the large link, if that has room for it.
    fn next_large(&mut self) -> Option<Issued> {
        let max = if self.is_ready() { self.unanswered_max } else { 0 };
        self.large.as_mut()?.next_waiting(max)
    }

    /// Record the length of a value that was read, or is to be written.
    fn note_value(&mut self, now: Instant, key: Grouped<'_>, len: usize) {
        let is_large = len >= self.large_from;
        match &mut self.large {
            Some(large) if is_large => large.mark(key, len),
            Some(large) => large.unmark(key),
            None if is_large => {
                let large = LargeLink::new(now, self.backoff.clone());
                self.large.insert(Box::new(large)).mark(key, len);
            }
            None => {}
        }
    }

    /// Handle a reply: record the length of its value, and let its key change its link. Return
    /// whether the server tracks the key on this link.
    pub(super) fn on_lane_reply(
        &mut self,
        now: Instant,
        lane: Lane,
        (key, reply): (&Key, &Reply),
    ) -> bool {
        let is_tracked = self.is_tracked();
        let len = reply.value_len();
        if self.large.is_none() && len.is_none_or(|len| len < self.large_from) {
            return is_tracked;
        }
        let grouped = Grouped::new(key);
        if let Some(len) = len {
            self.note_value(now, grouped, len);
        }
        match (&mut self.large, lane) {
            (Some(large), Lane::Large) => is_tracked && self.is_announced && large.tracks(grouped),
            (Some(large), Lane::Ordinary) => {
                large.on_ordinary_answer(key, &self.link);
                is_tracked && !large.is_assigned(grouped)
            }
            (None, Lane::Large | Lane::Ordinary) => is_tracked,
        }
    }

    /// Return whether the large link is to be dialed.
    pub(super) fn wants_large(&self) -> bool {
        // Without `HELLO`, the ordinary link is about to be replaced.
        let may_dial = self.is_ready() && !self.hello.is_skipped();
        may_dial && self.large.as_ref().is_some_and(|large| large.is_wanted())
    }

    /// Return the earliest deadline of the large link.
    pub(super) fn poll_large(&self, dials: bool, config: &Config) -> Option<Instant> {
        let large = self.large.as_ref()?;
        large.poll_timeout(dials && self.wants_large(), config)
    }

    /// Return the bytes to write on each connection.
    pub(super) fn transmits(&self) -> impl Iterator<Item = Transmit> {
        let open = self.links().filter_map(Link::open);
        open.filter_map(|(id, conn)| Transmit::of(id, conn.unwritten(), conn.unanswered()))
    }

    /// Return the next command that was sent, was issued at `limit` or before, and whose sender
    /// still waits.
    pub(super) fn next_overdue(&mut self, limit: Instant) -> Option<Overdue> {
        let mut open = self.links_mut().filter_map(Link::open_mut);
        open.find_map(|(_, conn)| conn.next_overdue(limit))
    }

    /// Remove a command that waits and was issued at `limit` or before.
    pub(super) fn pop_until(&mut self, limit: Instant) -> Option<Issued> {
        let large = self.large.as_mut();
        self.waiting.pop_until(limit).or_else(|| large?.pop_until(limit))
    }

    /// Hang up the large link. Its commands join the queue.
    pub(super) fn hang_up_large(&mut self, effects: &mut Effects) {
        let Some(large) = self.large.take() else { return };
        for issued in large.hang_up(effects) {
            self.waiting.push(issued);
        }
    }

    /// Give the large link up. Return its connection or attempt to connect, and its remains.
    pub(super) fn lose_large(
        &mut self,
        now: Instant,
        rng: &mut Rng,
    ) -> Option<(ConnId, LostLarge)> {
        let large = self.large.as_mut()?;
        let conn = large.link.conn()?;
        Some((conn, large.on_disconnect(now, rng)))
    }

    /// Begin the handshake. `others` addresses are left to try if it fails. Return `false` if this
    /// attempt was abandoned before.
    pub(super) fn on_connected(&mut self, ctx: Context<'_>, id: ConnId, others: u32) -> bool {
        let expected = self.expectation(ctx.now, ctx.config);
        let Some(lane) = self.lane(id) else { return false };
        let Some(link) = self.link_of(lane) else { return false };
        let is_expected = link.on_connected(ctx.now, id, (expected, ctx.config));
        link.share_time(ctx.now, others);
        if let (Lane::Large, Some((_, conn))) = (lane, link.open_mut()) {
            conn.carry_large(ctx.config);
        }
        is_expected
    }
}
